"""What the JSON of pose estimators has in common: keypoints as lists of numbers, joints by their count or names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from marrow.errors import ConfigError, ParseError
from marrow.importing.estimators.frame_numbers import FrameOrder
from marrow.importing.estimators.people import Detections
from marrow.importing.estimators.people import to_recording as followed
from marrow.importing.recording import Doubt, ReadOptions, Recording
from marrow.skeleton.estimators import COCO_17, ESTIMATOR_LAYOUTS
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.layout_file import get_layout

# No image and no sensor reaches farther; its square would overflow float32.
_LARGEST = 1e6
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SIDES = {"l": "left", "r": "right", "left": "left", "right": "right"}


@dataclass(frozen=True, slots=True)
class Person:
    """One person in one frame, as a file has it.

    Args:
        number: of the frame.
        place: where in the file that is, in words.
        numbers: of the keypoints, each with its confidence: flat, or as a list per keypoint.
        who: identity, or None.
    """

    number: int
    place: str
    numbers: Any
    who: int | str | None = None


def to_numbers(
    path: Path, rows: Sequence[Any], places: Sequence[str], columns: int
) -> Float64[np.ndarray, "row joint column"]:
    """Return keypoints as numbers, the same count of them in each row.

    Args:
        path: of the file, for messages.
        rows: flat (x, y, c, x, y, c, ...) or as a list per keypoint.
        places: where in the file each row is, in words, for messages.
        columns: numbers per keypoint.

    Raises:
        ParseError: a row has another count, or something that is no number below a million; null and NaN are taken
            for what was not seen.
    """
    if not rows:
        return np.zeros((0, 0, columns))
    values = _as_array(rows)
    if values is not None and values.ndim == 3 and values.shape[2] == columns:
        pass
    elif values is not None and values.ndim == 2 and values.shape[1] % columns == 0:
        values = values.reshape(len(rows), values.shape[1] // columns, columns)
    else:
        raise _fault(path, rows, places, columns)
    if (np.abs(values) >= _LARGEST).any():  # infinity is, not a number is not
        row = int(np.argwhere(np.abs(values) >= _LARGEST)[0, 0])
        raise ParseError(path, 0, f"expected finite numbers below a million in {places[row]}, got {_shown(rows[row])}")
    return values


def _as_array(rows: Any) -> np.ndarray | None:
    if not isinstance(rows, list | tuple):
        return None
    try:
        return np.array(rows, np.float64)
    except (ValueError, TypeError, OverflowError):
        return None


def _fault(path: Path, rows: Sequence[Any], places: Sequence[str], columns: int) -> ParseError:
    """Say which row is the first that is not as it should be, or not as those before it."""
    count: int | None = None
    for row, place in zip(rows, places, strict=True):
        values = _as_array(row)
        is_right = values is not None and (
            values.shape[1:] == (columns,) or (values.ndim == 1 and values.size % columns == 0)
        )
        if values is None or not is_right:
            return ParseError(path, 0, f"expected {columns} numbers per keypoint in {place}, got {_shown(row)}")
        if count is not None and values.size != count:
            got = f"{values.size // columns} keypoints"
            return ParseError(path, 0, f"expected {count // columns} keypoints in {place} as in {places[0]}, got {got}")
        count = values.size
    return ParseError(path, 0, f"expected {columns} numbers per keypoint, all written alike")


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, list | tuple) else repr(list(value[:12]))
    return text if len(text) <= 80 else f"{text[:80]}…"


def to_recording(
    path: Path,
    rows: Sequence[Person],
    order: FrameOrder,
    *,
    dimensions: int,
    kept: int,
    zero_is_absent: bool,
    options: ReadOptions,
    fps: float | None = None,
) -> Recording:
    """Make a recording of people as a file has them.

    Args:
        path: of the file, for messages.
        rows: one for each person in each frame, in the order of the file.
        order: of the frames.
        dimensions: of a position; the number after them is its confidence, not a number where there is none.
        kept: keypoints that are joints: the first ones.
        zero_is_absent: whether a joint at exactly zero was not seen, whatever its confidence: so in images. Otherwise
            only one at zero without confidence.
        options: whether people are followed.
        fps: frames per second, where the file says it.

    Raises:
        ParseError: keypoints are no numbers, or not as many for everybody.
        SkipRecording: nobody is seen.
    """
    values = to_numbers(path, [row.numbers for row in rows], [row.place for row in rows], dimensions + 1)
    if len(rows) and values.shape[1] < kept:
        problem = f"expected {kept} keypoints, as the first person of the file has, got {values.shape[1]}"
        raise ParseError(path, 0, f"{problem} in {rows[0].place}")
    values = values[:, :kept]
    positions, confidence = values[..., :dimensions], np.nan_to_num(values[..., dimensions], nan=0.0)
    has_confidence = not np.isnan(values[..., dimensions]).all()
    at_zero = (positions == 0).all(axis=-1)
    absent = np.isnan(positions).any(axis=-1) | (at_zero if zero_is_absent else at_zero & (confidence <= 0))
    ids = tuple(row.who for row in rows)
    people = Detections(
        np.array([order.index[row.number] for row in rows], np.int64),
        np.where(absent[..., None], np.nan, positions).astype(np.float32),
        np.where(absent, 0, confidence).astype(np.float32) if has_confidence else None,
        None if all(who is None for who in ids) else ids,
        order.count,
    )
    recording = followed(path, people, fps=fps, follow=options.follow)
    return replace(recording, notes=(*order.notes, *recording.notes))


def identity(value: Any) -> int | str | None:
    """Return who somebody is, as a file says it: -1, [-1], "" and null are nobody's identity."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return None if value in (-1, "", "-1") else value


def with_scores(path: Path, place: str, points: Any, scores: Any) -> list[list[Any]]:
    """Return keypoints with their confidence as the last number; not a number where there is none.

    Args:
        path: of the file, for messages.
        place: where in the file they are, in words.
        points: a list per keypoint.
        scores: a number per keypoint, or None.

    Raises:
        ParseError: they are no such lists, or not of one length.
    """
    if not isinstance(points, list) or not points or not all(isinstance(point, list) for point in points):
        raise ParseError(
            path, 0, f"expected a list of keypoints, each a list of numbers, in {place}; got {_shown(points)}"
        )
    if scores is None:
        scores = [float("nan")] * len(points)
    if not isinstance(scores, list) or len(scores) != len(points):
        raise ParseError(path, 0, f"expected {len(points)} confidences in {place}, got {_shown(scores)}")
    return [[*point, score] for point, score in zip(points, scores, strict=True)]


@dataclass(frozen=True)
class Joints:
    """Which of a file's keypoints are joints, and of what layout.

    Args:
        count: of keypoints that are read: the first ones.
        layout: that they are in, if it is known.
        left_out: what the others are.
        names: of joints that are in no known layout.
        parents: of such joints.
        doubts: what was taken for something that it may not be.
    """

    count: int
    layout: Skeleton | None = None
    left_out: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    parents: tuple[int, ...] | None = None
    doubts: tuple[Doubt, ...] = field(default=())


FACE_AND_HANDS = ("68 keypoints of the face", "42 keypoints of the hands")
# COCO with feet, face and hands. Its body is read.
WHOLE_BODY_133 = Joints(17, COCO_17, ("6 keypoints of the feet", *FACE_AND_HANDS))


def joints_by_count(
    path: Path, count: int, options: ReadOptions, known: Mapping[int, Joints], otherwise: Joints | None = None
) -> Joints:
    """Return what so many keypoints are.

    Args:
        path: of the file, for messages.
        count: of keypoints per person in the file.
        options: may name the layout.
        known: what the format writes, by count.
        otherwise: what they are if their count is not known.

    Raises:
        ParseError: the format has no layout of so many.
        ConfigError: the layout that is asked for has another count, or is unknown.
    """
    if options.layout is not None:
        layout = get_layout(options.layout)
        if layout.measured_count != count:
            problem = (
                f"layout {layout.name!r} has {layout.measured_count} joints, and {path} has {count} keypoints a person"
            )
            raise ConfigError(problem)
        return Joints(count, layout)
    if count in known:
        return known[count]
    if otherwise is not None:
        return otherwise
    counts = ", ".join(str(one) for one in sorted(known))
    raise ParseError(path, 0, f"expected one of {counts} keypoints a person, got {count}")


def joints_by_names(path: Path, names: Sequence[Any], links: Sequence[tuple[int, int]]) -> Joints:
    """Return the layout that calls its joints so, in this order; else joints of these names.

    Args:
        path: of the file, for messages.
        names: of all keypoints.
        links: pairs of keypoints that are drawn as bones, from 0.

    Raises:
        ParseError: names are no words, or one is there twice.
    """
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise ParseError(path, 0, f"expected names of keypoints, each once; got {_shown(list(names))}")
    spelt = [_spelt(name) for name in names]
    for layout in ESTIMATOR_LAYOUTS.values():
        if spelt == [_spelt(joint) for joint in layout.joints]:
            return Joints(len(names), layout)
    return Joints(len(names), names=tuple(names), parents=tree_of(len(names), links))


def _spelt(name: str) -> tuple[str, ...]:
    """Return the words of a joint's name, the side last: ("shoulder", "left") for left_shoulder and ShoulderLeft."""
    words = [word.lower() for word in _WORD.findall(name)]
    sides = [_SIDES[word] for word in words if word in _SIDES]
    return (*(word for word in words if word not in _SIDES), *sides)


def tree_of(count: int, links: Sequence[tuple[int, int]]) -> tuple[int, ...] | None:
    """Return the parent of each joint in a tree along links, from the joint that has most; None if they leave some out.

    Args:
        count: of joints.
        links: pairs of joints, from 0.
    """
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for one, other in links:
        if not (0 <= one < count and 0 <= other < count):
            return None
        neighbours[one].append(other)
        neighbours[other].append(one)
    root = max(range(count), key=lambda joint: len(set(neighbours[joint])))
    parents = {root: root}
    queue = [root]
    for joint in queue:
        for other in neighbours[joint]:
            if other not in parents:
                parents[other] = joint
                queue.append(other)
    return tuple(parents[joint] for joint in range(count)) if len(parents) == count else None
