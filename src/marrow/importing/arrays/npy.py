"""NPY and NPZ: arrays of positions in any usual order of axes, with labels and lengths beside them.

One array with all clips, one array per clip, archives with `x_train` and `y_train`, and the pairs of ST-GCN and its
successors, `train_data.npy` with `train_label.pkl` (names and labels, pickled). A folder's files are put together by
their names; so is a single file with what lies beside it.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from marrow.errors import ParseError
from marrow.importing.arrays.file import NPY_MAGIC, left_out_of, open_arrays
from marrow.importing.arrays.plan import Plan, plan_of
from marrow.importing.arrays.roles import PARTS, Beside, label_names, labels_of
from marrow.importing.arrays.safe_pickle import is_pickle, read_pickle
from marrow.importing.recording import Contents, Doubt, Head, ReadOptions, Recording, Source

_LABEL_WORDS = {"label", "labels", "y", "target", "targets"}
_FRAME_WORDS = ({"num", "frame"}, {"num", "frames"}, {"lengths"}, {"length"}, {"seq", "len"})
_DERIVED_WORDS = {"bone", "bones", "motion", "velocity", "vel"}
_DATA_WORDS = {"data", "x", "joint", "joints", "position", "positions", "skeleton", "skeletons"}


class Array:
    """NPY and NPZ files of positions."""

    name = "array"
    title = "NPY, NPZ"

    def accepts(self, head: Head) -> bool:
        """See `Format`."""
        content = head.content
        if content.startswith(NPY_MAGIC) or content[:30].startswith(b"PK\x05\x06"):
            return content.startswith(NPY_MAGIC) or head.suffix == ".npz"
        if content.startswith(b"PK\x03\x04"):
            name = content[30 : 30 + int.from_bytes(content[26:28], "little")]
            return name.endswith(b".npy") or head.suffix == ".npz"
        if head.suffix in (".npy", ".npz"):
            return head.text is None or not head.text.strip()
        return is_label_file(head.path) and is_pickle(content)

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """See `Format`: labels, counts of frames and what was derived go with the positions that they belong to."""
        sources: list[Source] = []
        for folder in dict.fromkeys(file.parent for file in files):
            sources += _gather_in(folder, [file for file in files if file.parent == folder])
        return sorted(sources, key=lambda source: source.path)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """See `Format`."""
        return _plan(source, options).contents

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """See `Format`."""
        return _plan(source, options).read(source.path, open_arrays(source.path), key)


def is_label_file(path: Path) -> bool:
    """Tell by its name whether a pickle holds the labels of an array beside it: "train_label.pkl"."""
    return path.suffix.lower() in (".pkl", ".pickle") and _kind(path)[0] in ("label", "frames")


def _kind(path: Path) -> tuple[str, str]:
    """Return what a file is by its name (data, label, frames, derived, other), and the words that it shares."""
    words = re.findall(r"[a-z]+|[0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", path.stem).lower())
    of_frames = next((wanted for wanted in _FRAME_WORDS if wanted <= set(words)), None)
    kinds = (
        ("frames", of_frames or set()),
        ("label", _LABEL_WORDS & set(words)),
        ("derived", _DERIVED_WORDS & set(words)),
        ("data", _DATA_WORDS & set(words)),
    )
    kind = next((kind for kind, which in kinds if which), "other")
    own = next((which for _, which in kinds if which), set()) | (_DATA_WORDS if kind in ("data", "derived") else set())
    return kind, "_".join(word for word in words if word not in own)


def _gather_in(folder: Path, files: list[Path]) -> list[Source]:
    kinds = {file: _kind(file) for file in files if file.suffix.lower() != ".npz"}
    beside = (
        {
            file: kind
            for file in sorted(folder.iterdir())
            if file not in kinds and file.suffix.lower() in (".npy", ".pkl", ".pickle")
            for kind in [_kind(file)]
            if kind[0] in ("label", "frames") and not file.name.startswith(".") and file.is_file()
        }
        if kinds
        else {}
    )
    groups: dict[str, list[Path]] = {}
    for file, (_, base) in {**kinds, **beside}.items():
        groups.setdefault(base, []).append(file)
    sources = [Source(file.stem, (file,)) for file in files if file not in kinds]
    for base, group in groups.items():
        of_kind = {
            kind: [file for file in group if {**kinds, **beside}[file][0] == kind]
            for kind in ("data", "other", "label", "frames", "derived")
        }
        data = [file for file in of_kind["data"] or of_kind["other"] if file.suffix.lower() == ".npy"]
        if data and (of_kind["label"] or of_kind["frames"]):
            companions = [*of_kind["label"][:1], *of_kind["frames"][:1], *of_kind["derived"]]
            names = [base or data[0].stem] if len(data) == 1 else [file.stem for file in data]
            sources += [Source(name, (file, *companions)) for name, file in zip(names, data, strict=True)]
            group = [file for file in group if file not in (*data, *companions)]
        sources += [Source(file.stem, (file,)) for file in group if file in kinds]
    return sources


def _plan(source: Source, options: ReadOptions) -> Plan:
    try:
        state = tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in source.files)
    except OSError as error:
        raise ParseError(source.path, 0, f"expected a readable file: {error.strerror or error}") from error
    return _plan_once(source, options.axes, options.layout, state)


@lru_cache(maxsize=8)
def _plan_once(source: Source, axes: str | None, layout: str | None, state: object) -> Plan:
    path = source.path
    if path.suffix.lower() in (".pkl", ".pickle"):
        raise ParseError(
            path, 0, "expected an array beside these labels (train_data.npy with train_label.pkl), got none"
        )
    arrays = open_arrays(path)
    extra = Beside()
    left_out = left_out_of(path)
    for file in source.files[1:]:
        kind = _kind(file)[0]
        if kind == "label":
            extra = _labels_in(file, arrays[""].shape)
        elif kind == "frames":
            extra = replace(extra, lengths=_frames_in(file))
        else:
            left_out += (file.name,)
    words = set(re.findall(r"[a-z]+", path.stem.lower()))
    part = next((part for part in PARTS if part in words), "")
    options = ReadOptions(axes=axes, layout=layout)
    plan = plan_of(path, arrays, options, left_out=left_out, extra=extra if source.files[1:] else None, part=part)
    if _kind(path)[0] == "derived" and len(arrays) == 1:
        text = f"by its name the array holds {' and '.join(sorted(_DERIVED_WORDS & words))} and not positions"
        contents = replace(plan.contents, doubts=(*plan.contents.doubts, Doubt(text)))
        plan = replace(plan, contents=contents)
    return plan


def _labels_in(path: Path, data_shape: tuple[int, ...]) -> Beside:
    """Return labels and names as a file beside an array says them."""
    if path.suffix.lower() == ".npy":
        return Beside(labels=labels_of(path, open_arrays(path)[""], None, data_shape, None))
    content = read_pickle(path)
    columns = list(content) if isinstance(content, tuple | list) else []
    if columns and not isinstance(columns[0], tuple | list):
        columns = [columns]
    columns = [
        list(getattr(column, "tolist", lambda column=column: column)()) for column in columns if _is_column(column)
    ]
    keys = labels = lengths = None
    for column in columns:
        if column and all(isinstance(value, str | bytes | tuple | list) for value in column) and keys is None:
            keys = [_word(value) for value in column]
        elif labels is None:
            labels = _whole_numbers(path, column)
        elif lengths is None:
            lengths = _whole_numbers(path, column)
    if labels is None or (keys is not None and len(keys) != len(labels)):
        wanted = "a pickle of names and as many labels"
        got = "others" if labels is None else f"{len(keys or ())} names and {len(labels)} labels"
        raise ParseError(path, 0, f"expected {wanted}, got {got}")
    names = label_names(path, labels, None, keys, is_kinect=25 in data_shape)
    return Beside(labels=names, keys=keys, lengths=lengths)


def _frames_in(path: Path) -> list[int]:
    if path.suffix.lower() == ".npy":
        rows = open_arrays(path)[""]
        return _whole_numbers(path, rows.whole().ravel().tolist() if rows.byte_count < 1 << 28 else [None])
    content = read_pickle(path)
    return _whole_numbers(path, content if isinstance(content, list) else getattr(content, "tolist", list)())


def _is_column(column: object) -> bool:
    return isinstance(column, tuple | list) or (hasattr(column, "tolist") and getattr(column, "ndim", 0) == 1)


def _word(value: object) -> str:
    if isinstance(value, tuple | list):
        return _word(value[-1]) if value else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _whole_numbers(path: Path, column: Sequence[object]) -> list[int]:
    numbers = []
    for row, value in enumerate(column):
        number = getattr(value, "item", lambda value=value: value)() if getattr(value, "size", 1) == 1 else None
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if not isinstance(number, int) or not -1 <= number < 1 << 31:
            raise ParseError(path, 0, f"expected a whole number as row {row + 1}, got {str(value)[:60]!r}")
        numbers.append(int(number))
    return numbers
