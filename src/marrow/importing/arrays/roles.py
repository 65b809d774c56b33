"""What the arrays beside the one with positions are, by their names and sizes: labels, lengths, names, rates.

Names are compared in lower case, without the word that says the part of the data set: `y_train`, `trainLabels`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from marrow.errors import ParseError
from marrow.importing.arrays.file import Rows
from marrow.importing.recording import ClipEntry

PARTS = ("train", "test", "val", "valid", "validation", "eval")

_LABELS = {
    "y",
    "label",
    "labels",
    "target",
    "targets",
    "action",
    "actions",
    "activity",
    "class",
    "class_id",
    "class_ids",
}
_CLASSES = {"classes", "class_names", "label_names", "action_names", "activity_names", "categories", "classnames"}
_LENGTHS = {"len", "lens", "length", "lengths", "frames", "num_frames", "num_frame", "n_frames", "frame_counts"}
_LENGTHS |= {
    "seq_len",
    "seq_lens",
    "seq_length",
    "seq_lengths",
    "valid_frames",
    "frame_count",
    "nframes",
    "total_frames",
}
_NAMES = {
    "id",
    "ids",
    "name",
    "names",
    "sample_name",
    "sample_names",
    "file",
    "files",
    "filename",
    "filenames",
    "clips",
}
_NAMES |= {
    "clip_names",
    "keys",
    "video",
    "videos",
    "frame_dir",
    "sequences",
    "sequence_names",
    "file_names",
    "sample_ids",
}
_RATES = {"fps", "frame_rate", "framerate", "rate", "hz", "sampling_rate", "frequency"}
_JOINTS = {"joint_names", "joints", "keypoint_names", "keypoints", "landmarks", "landmark_names", "joint_labels"}
_PARENTS = {"parents", "parent", "joint_parents", "kintree"}
_CONFIDENCES = {"confidence", "confidences", "conf", "score", "scores", "keypoint_score", "keypoint_scores"}
_CONFIDENCES |= {"visibility", "visible", "present", "mask", "valid", "likelihood"}
_NAME_OF_NTU = re.compile(r"S\d{3}C\d{3}P\d{3}R\d{3}A(\d{3})")
_MOST_WORDS = 10_000_000


@dataclass(frozen=True)
class Beside:
    """What stands beside an array of clips.

    Args:
        labels: name of each clip's class, None where it has none; None as a whole where no array is such.
        classes: how many classes there are, where it is known.
        lengths: frames of each clip.
        keys: name of each clip.
        attributes: other numbers and words of each clip, by name.
        confidence: name of the array with a confidence for each joint.
        fps: frames per second.
        joints: names of the joints.
        parents: of the joints.
        used: names of the arrays that were understood.
        guessed: the array that was taken for labels though its name does not say so; "" if none.
    """

    labels: list[str | None] | None = None
    lengths: list[int] | None = None
    keys: list[str] | None = None
    attributes: dict[str, list[int | str]] = field(default_factory=dict)
    confidence: str = ""
    fps: float | None = None
    joints: tuple[str, ...] | None = None
    parents: tuple[int, ...] | None = None
    used: tuple[str, ...] = ()
    guessed: str = ""


def role_of(name: str) -> tuple[str, str]:
    """Return an array's name without the part that it belongs to, and the part: "x_train" gives "x", "train"."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)]
    part = next((word for word in words if word in PARTS), "")
    words = [word for word in words if word != part]
    return "_".join(words), part


def is_word_array(rows: Rows) -> bool:
    """Tell whether an array holds words."""
    return rows.dtype.kind in "US"


def understand(path: Path, arrays: Mapping[str, Rows], data: str, part: str, counts: frozenset[int]) -> Beside:
    """Return what the arrays beside one with positions say of its clips and joints.

    Args:
        path: of the file.
        arrays: all of them.
        data: name of the one with positions.
        part: of the data set that it belongs to; arrays of other parts are passed over.
        counts: how many clips there may be: the sizes of its first and its last axis.

    Raises:
        ParseError: an array that is understood holds something else.
    """
    found: dict[str, Any] = {}
    used: list[str] = []
    classes: list[str] | None = None
    labels: Rows | None = None
    guess: Rows | None = None
    others: dict[str, Rows] = {}
    shape = arrays[data].shape
    for name, rows in arrays.items():
        role, of_part = role_of(name)
        if name == data or (of_part and of_part != part):
            continue
        is_column = len(rows.shape) <= 1 or (len(rows.shape) == 2 and 1 in rows.shape)
        per_clip = bool(rows.shape) and rows.shape[0] in counts
        is_words = is_word_array(rows)
        is_one = rows.byte_count == rows.dtype.itemsize
        if role in _CLASSES and is_words and is_column:
            classes = words_of(rows)
        elif role in _JOINTS and is_words and is_column:
            found["joints"] = tuple(words_of(rows))
        elif role in _PARENTS and rows.dtype.kind in "iu" and is_column:
            found["parents"] = _parents_of(path, name, rows)
        elif role in _RATES and is_one and not is_words:
            found["fps"] = _rate_of(path, name, rows)
        elif role in _LABELS and (is_column or len(rows.shape) == 2) and (per_clip or is_one):
            labels = rows
        elif role in _LENGTHS and per_clip and is_column and rows.dtype.kind in "iuf":
            found["lengths"] = _lengths_of(path, name, rows)
        elif role in _NAMES and per_clip and is_words and is_column:
            found["keys"] = words_of(rows)
        elif role in _CONFIDENCES and len(rows.shape) == len(shape) - 1 and len(rows.shape) > 1 and not is_words:
            found["confidence"] = name
        elif per_clip and len(rows.shape) == 1 and rows.dtype.kind in "iuUS":
            others[name] = rows
            if re.fullmatch(r"arr_\d+", name) and rows.dtype.kind in "iu":
                guess = rows if guess is None else guess
            continue
        else:
            continue
        used.append(name)
    if labels is None and guess is not None:
        labels = guess
        found["guessed"] = guess.member
        used.append(guess.member)
        del others[guess.member]
    if labels is not None:
        found["labels"] = labels_of(path, labels, classes, shape, found.get("keys"))
    attributes = {}
    for name, rows in others.items():
        attributes[role_of(name)[0] or name.lower()] = (
            words_of(rows) if is_word_array(rows) else _whole(path, name, rows)
        )
        used.append(name)
    return Beside(**found, attributes=attributes, used=tuple(used))


def words_of(rows: Rows) -> list[str]:
    """Return the words of an array."""
    values = rows.whole().ravel()
    if values.nbytes > _MOST_WORDS * 100:
        raise ParseError(rows.path, 0, f"expected {rows.name} to hold names, got {values.nbytes:,} bytes of them")
    if values.dtype.kind == "S":
        return [value.decode("utf-8", "replace").strip() for value in values.tolist()]
    return [str(value).strip() for value in values.tolist()]


def labels_of(
    path: Path, rows: Rows, classes: list[str] | None, data_shape: tuple[int, ...], keys: list[str] | None
) -> list[str | None]:
    """Return the name of each label of an array of words, numbers or one-hot rows.

    Raises:
        ParseError: rows are no such, or there is no name for a number.
    """
    if is_word_array(rows):
        return [word or None for word in words_of(rows)]
    values = rows.whole()
    if not values.size:
        return []
    count = None
    if values.ndim == 2 and 1 not in values.shape:
        count = values.shape[1]
        hot = np.nan_to_num(values)
        if not ((hot != 0).sum(axis=1) == 1).all():
            row = int(np.flatnonzero((hot != 0).sum(axis=1) != 1)[0])
            raise ParseError(
                path, 0, f"row {row + 1} of {rows.name}: expected one class (one-hot), got several or none"
            )
        numbers = hot.argmax(axis=1).tolist()
    else:
        numbers = _whole(path, rows.member, rows)
    return label_names(
        path, numbers, classes, keys, count, is_kinect=25 in data_shape or bool({75, 150} & {*data_shape})
    )


def label_names(
    path: Path,
    numbers: list[int],
    classes: list[str] | None,
    keys: list[str] | None,
    count: int | None = None,
    *,
    is_kinect: bool = False,
) -> list[str | None]:
    """Return the name of each label; those below zero are none.

    Args:
        path: of the file.
        numbers: 0-based labels.
        classes: their names, where they are known.
        keys: names of the clips: where they are NTU RGB+D's, labels are called after its actions, "A001".
        count: of classes, where it is known: 60 and 120 of them on Kinect's joints are NTU RGB+D's.
        is_kinect: whether joints are those of Kinect v2.

    Raises:
        ParseError: there is no class of that number.
    """
    largest = max(numbers, default=-1)
    if classes is not None:
        if largest >= len(classes):
            raise ParseError(path, 0, f"expected labels below {len(classes)}, the number of class names; got {largest}")
        return [classes[number] if number >= 0 else None for number in numbers]
    said = [_NAME_OF_NTU.search(key) for key in keys] if keys else []
    of_ntu = bool(said) and all(
        match is not None and int(match[1]) == number + 1 for match, number in zip(said, numbers, strict=False)
    )
    of_ntu = of_ntu or (is_kinect and count in (60, 120)) or (is_kinect and largest in (59, 119) and not keys)
    form = (lambda number: f"A{number + 1:03d}") if of_ntu else (lambda number: f"{number:03d}")
    return [form(number) if number >= 0 else None for number in numbers]


def entries_of(beside: Beside, count: int, prefix: str, parts: tuple[str, ...]) -> list[ClipEntry]:
    """Return an entry for each clip; one without a name is called by its number, a second of a name is numbered."""
    digits = len(str(max(count - 1, 0)))
    keys = beside.keys if beside.keys is not None else [f"{index:0{digits}d}" for index in range(count)]
    labels = beside.labels or [None] * count
    columns = list(beside.attributes.items())
    entries = []
    taken: dict[str, int] = {}
    for index in range(count):
        key = keys[index].removesuffix(".skeleton") or f"{index:0{digits}d}"
        taken[key] = taken.get(key, 0) + 1
        key = key if taken[key] == 1 else f"{key}#{taken[key]}"
        attributes = {name: values[index] for name, values in columns}
        entries.append(ClipEntry(prefix + key, labels[index], attributes, parts))
    return entries


def _whole(path: Path, name: str, rows: Rows) -> list[int]:
    values = np.asarray(rows.whole()).ravel()
    if values.dtype.kind == "f":
        with np.errstate(all="ignore"):
            values = values.astype(np.float64)
        if not ((values == np.round(values)) & (np.abs(values) < 2**31)).all():
            raise ParseError(path, 0, f"array {name!r}: expected whole numbers, got others")
        values = values.astype(np.int64)
    return [int(value) for value in values]


def _lengths_of(path: Path, name: str, rows: Rows) -> list[int]:
    lengths = _whole(path, name, rows)
    for row, length in enumerate(lengths):
        if length < 0:
            raise ParseError(path, 0, f"row {row + 1} of array {name!r}: expected a count of frames, got {length}")
    return lengths


def _parents_of(path: Path, name: str, rows: Rows) -> tuple[int, ...]:
    parents = _whole(path, name, rows)
    if any(not -1 <= parent < len(parents) for parent in parents):
        raise ParseError(path, 0, f"array {name!r}: expected parents of joints from -1 to {len(parents) - 1}")
    return tuple(joint if parent < 0 else parent for joint, parent in enumerate(parents))


def _rate_of(path: Path, name: str, rows: Rows) -> float:
    rate = float(np.asarray(rows.whole()).ravel()[0])
    if not 0 < rate < 1e6:
        raise ParseError(path, 0, f"array {name!r}: expected frames per second above zero, got {rate:g}")
    return rate
