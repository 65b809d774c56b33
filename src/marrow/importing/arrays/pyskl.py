"""Pickles of pyskl and mmaction2: a list of annotations, each a clip with its key points, and the splits by name.

An annotation holds `keypoint` (people × frames × joints × coordinates, often in half precision), for 2D also
`keypoint_score`, and `frame_dir`, `label`, `img_shape`, `total_frames`. The pickle is read without running what it asks
for, and once per process: a format of one file has no other way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from marrow.errors import ParseError
from marrow.importing.arrays.clip import recording_of
from marrow.importing.arrays.layout import layout_of
from marrow.importing.arrays.roles import label_names
from marrow.importing.arrays.safe_pickle import is_pickle, read_pickle
from marrow.importing.recording import ClipEntry, Contents, Doubt, Head, ReadOptions, Recording, Source, one_by_one

_LABEL_FILE = "label"
_SHAPE = "people × frames × joints × 2 or 3"
_FPS_OF_NTU = 30.0
LENGTH_DIFFERS = "the frames that are there were read, not as many as total_frames says"


@dataclass(frozen=True)
class _Loaded:
    annotations: Mapping[str, Mapping[str, Any]]
    contents: Contents


class Pyskl:
    """Pickles of annotations, as pyskl and mmaction2 write them."""

    name = "pyskl"
    title = "pyskl, mmaction2 (.pkl)"

    def accepts(self, head: Head) -> bool:
        """See `Format`. The labels of an array beside them are the array's."""
        if not is_pickle(head.content):
            return False
        words = (b"annotations", b"keypoint", b"frame_dir", b"split")
        return _LABEL_FILE not in head.path.stem.lower() or any(word in head.content for word in words)

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """See `Format`."""
        return one_by_one(files)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """See `Format`."""
        contents = _load(source.path).contents
        if options.layout is None:
            return contents
        layout, _ = layout_of(options.layout, contents.joint_count, contents.dimensions)
        doubts = tuple(doubt for doubt in contents.doubts if doubt.option != "--layout NAME")
        return replace(contents, layout=layout, doubts=doubts)

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """See `Format`."""
        annotations = _load(source.path).annotations
        if key not in annotations:
            raise ParseError(source.path, 0, f"expected the name of an annotation in this file, got {key!r}")
        annotation = annotations[key]
        positions = annotation["keypoint"]
        notes = ()
        total = annotation.get("total_frames")
        if isinstance(total, int | np.integer) and total != positions.shape[1]:
            notes = (LENGTH_DIFFERS,)
        coordinates = "xyz"[: positions.shape[-1]]
        score = annotation.get("keypoint_score")
        return recording_of(source.path, f"annotation {key!r}", positions, coordinates, confidence=score, notes=notes)


def _load(path: Path) -> _Loaded:
    try:
        state = path.stat()
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error
    return _load_once(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1)
def _load_once(path: Path, changed: int, size: int) -> _Loaded:
    content = read_pickle(path)
    splits: Any = {}
    items = content
    if isinstance(content, dict):
        items, splits = content.get("annotations"), content.get("split", {})
    if not isinstance(items, list) or not items:
        got = f"a dictionary of {', '.join(map(str, list(content)[:5]))}" if isinstance(content, dict) else "others"
        got = got if not isinstance(items, list) or items else "an empty list"
        raise ParseError(
            path, 0, f'expected a list of annotations, or a dictionary with "annotations"; got {got[:200]}'
        )
    annotations: dict[str, Mapping[str, Any]] = {}
    taken: dict[str, int] = {}
    names = []
    for index, item in enumerate(items):
        _check(path, index, item, items[0])
        name = str(item.get("frame_dir", item.get("filename", f"{index:06d}")))
        names.append(name)
        taken[name] = taken.get(name, 0) + 1
        annotations[name if taken[name] == 1 else f"{name}#{taken[name]}"] = item
    parts = _parts_of(path, splits)
    labels = _labels(path, content, items, names)
    entries = [
        ClipEntry(key, label, {}, parts.get(name, ()))
        for key, name, label in zip(annotations, names, labels, strict=True)
    ]
    return _Loaded(annotations, _contents(tuple(entries), items[0], labels, parts, set(names)))


def _check(path: Path, index: int, item: Any, first: Any) -> None:
    """Check that an annotation is one, and of the same joints as the first."""
    where = f"annotation {index + 1}"
    if not isinstance(item, dict):
        raise ParseError(path, 0, f"{where}: expected a dictionary, got {type(item).__name__}")
    points = item.get("keypoint")
    if not isinstance(points, np.ndarray) or points.dtype.kind not in "fiu":
        raise ParseError(
            path, 0, f'{where}: expected an array of numbers under "keypoint", got {type(points).__name__}'
        )
    shown = " × ".join(map(str, points.shape))
    if points.ndim != 4 or points.shape[-1] not in (2, 3) or not points.shape[2]:
        raise ParseError(path, 0, f"{where}: expected key points as {_SHAPE}, got {shown}")
    if points.shape[2:] != first["keypoint"].shape[2:]:
        wanted = " × ".join(map(str, first["keypoint"].shape[2:]))
        raise ParseError(path, 0, f"{where}: expected joints × coordinates {wanted} as before, got {shown}")
    score = item.get("keypoint_score")
    if score is not None and getattr(score, "shape", None) != points.shape[:3]:
        got = " × ".join(map(str, getattr(score, "shape", ()))) or type(score).__name__
        raise ParseError(path, 0, f"{where}: expected a score for each of {shown} key points, got {got}")
    if score is not None and score.dtype.kind not in "fiub":
        raise ParseError(path, 0, f"{where}: expected scores that are numbers, got {score.dtype}")


def _parts_of(path: Path, splits: Any) -> dict[str, tuple[str, ...]]:
    """Return the parts of each clip by its name."""
    lists = isinstance(splits, dict) and all(isinstance(names, list | tuple | set) for names in splits.values())
    if not lists:
        raise ParseError(path, 0, 'expected lists of names under "split", got others')
    parts: dict[str, list[str]] = {}
    for part, names in splits.items():
        for name in names:
            parts.setdefault(str(name), []).append(str(part))
    return {name: tuple(dict.fromkeys(of_name)) for name, of_name in parts.items()}


def _labels(path: Path, content: Any, items: list[Any], names: list[str]) -> list[str | None]:
    numbers = []
    for index, item in enumerate(items):
        label = item.get("label", -1)
        if isinstance(label, str):
            return [str(other["label"]) if "label" in other else None for other in items]
        if not isinstance(label, int | np.integer) or not -1 <= label < 1 << 31:
            raise ParseError(
                path, 0, f"annotation {index + 1}: expected a whole number as label, got {str(label)[:60]!r}"
            )
        numbers.append(int(label))
    classes = None
    if isinstance(content, dict):
        given = next((content[key] for key in ("classes", "label_names", "class_names") if key in content), None)
        classes = [str(name) for name in given] if isinstance(given, list | tuple) else None
    return label_names(path, numbers, classes, names)


def _contents(
    entries: tuple[ClipEntry, ...],
    first: Any,
    labels: list[str | None],
    parts: Mapping[str, tuple[str, ...]],
    names: set[str],
) -> Contents:
    joint_count, dimensions = (int(size) for size in first["keypoint"].shape[2:])
    of_ntu = all(label is not None and label.startswith("A") and len(label) == 4 for label in labels)
    layout, doubts = layout_of(None, joint_count, dimensions)
    is_kinect = layout is not None and dimensions == 3
    if is_kinect and of_ntu:
        doubts = ()  # the names of the clips are NTU RGB+D's
    if dimensions == 3 and is_kinect and not of_ntu:
        doubts = (
            *doubts,
            Doubt("positions were taken for metres, y up, as those of Kinect are", "--unit_metres METRES"),
        )
    missing = sum(name not in names for name in parts)
    if missing:
        doubts = (*doubts, Doubt(f"{missing} names in the splits are of no annotation"))
    return Contents(
        clips=entries,
        joint_count=joint_count,
        layout=layout,
        dimensions=cast(Literal[2, 3], dimensions),
        fps=_FPS_OF_NTU if of_ntu else None,
        fps_of_format=of_ntu,
        unit_metres=0.0 if dimensions == 2 else 1.0 if is_kinect else None,
        up="-y" if dimensions == 2 else "y" if is_kinect else None,
        axes=f"M T V C, {joint_count} joints of {dimensions} coordinates",
        doubts=doubts,
    )
