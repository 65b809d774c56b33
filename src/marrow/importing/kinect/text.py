"""Text of numbers without names, as data sets of the first Kinect have it: a joint per line, or a frame per line.

- A joint per line, x y z or x y z confidence, 20 lines a frame (MSR Action3D's `a01_s01_e01_skeleton3D.txt`).
- MSR DailyActivity3D: a first line "frames joints", then for each frame a line with the number of rows that follow,
  40 for a body: a joint's place in the world and its place on the screen, in turns. The world is read.
- A frame per line: 3 V numbers for V joints, 150 for two bodies of 25; one more where the frame's number comes first.

Nothing in such a file says what its numbers are: how they were taken is a doubt.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from marrow.errors import ParseError, setting
from marrow.importing.estimators.frame_numbers import stamp
from marrow.importing.recording import (
    HEAD_BYTES,
    ClipEntry,
    Contents,
    Doubt,
    Head,
    ReadOptions,
    Recording,
    Source,
    one_by_one,
)
from marrow.readers.base import SkipRecording
from marrow.readers.number_lines import parse_numbers, shown
from marrow.readers.text_file import read_text
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25, Skeleton
from marrow.skeleton.layout_file import get_layout

_MSR = re.compile(r"(?i)(?<![a-z0-9])(a\d{2})_s(\d{2})_e(\d{2})(?!\d)")
_ROW = re.compile(r"\s*([+-]?[\d.][\d.eE+-]*[\s,;]+)*[+-]?[\d.][\d.eE+-]*[\s,;]*")
_SEPARATED = re.compile(r"[\s,;]+")
_V1_JOINTS = len(KINECT_V1_20.joints)
_V2_JOINTS = len(KINECT_V2_25.joints)
# Counts of joints that sensors and estimators have: a table of another number of columns is something else.
_COUNTS = (15, 16, 17, 18, 19, 20, 21, 22, 24, 25, 26, 31, 32, 33)
_LINES = 200
# Half an hour of two bodies.
_MAX_BYTES = 1 << 26

UNEVEN = "the numbers before the joints do not go up evenly: frames were taken as they come"


class KinectText:
    """Numbers without names, by joint or by frame."""

    name: ClassVar[str] = "kinect_text"
    title: ClassVar[str] = "numbers without names (MSR Action3D and its kin)"

    def accepts(self, head: Head) -> bool:
        """Tell by numbers in every line, in a count per line that may be joints."""
        text = head.text
        if text is None:
            return False
        is_whole = len(head.content) < HEAD_BYTES
        lines = [line for line in text.split("\n") if line.strip()]
        if not is_whole and len(lines) > 1:
            lines = lines[:-1]
        if not lines or not all(_ROW.fullmatch(line) for line in lines[:_LINES]):
            return False
        counts = {len(_words(line)) for line in lines[:_LINES]}
        if len(counts) > 1:
            return len(_words(lines[0])) == 2 and counts <= {1, 2, 3, 4} and not counts.isdisjoint((3, 4))
        count = counts.pop()
        if count in (3, 4):  # as many have points and forces
            is_named = _MSR.search(head.path.stem) is not None
            return is_named or (len(lines) >= _V1_JOINTS and not (is_whole and len(lines) % _V1_JOINTS))
        return _joints_per_row(count) is not None

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Return each file as a source of its own."""
        return one_by_one(files)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say how its numbers are taken; they are read for that.

        Raises:
            ParseError: it is no such text.
            ConfigError: the layout that is asked for is unknown.
        """
        body = _body_of(source, options)
        match = _MSR.search(source.path.stem)
        entry = ClipEntry()
        if match is not None:
            entry = ClipEntry(label=match[1].lower(), attributes={"subject": int(match[2]), "episode": int(match[3])})
        layout = body.layout
        return Contents(
            clips=(entry,),
            joint_count=body.values.shape[2],
            joints=None if layout is None else layout.joints[: layout.measured_count],
            layout=layout,
            software="Kinect" if match is not None else "",
            doubts=(Doubt(f"numbers without names were taken for {body.reading}", "--layout NAME"),),
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read the frames of a recording; a joint at zero was not seen.

        Raises:
            ParseError: it is no such text.
            SkipRecording: nobody is seen.
        """
        body = _body_of(source, options)
        positions = body.values[..., :3].astype(np.float32)
        absent = (positions == 0).all(axis=-1)
        positions[absent] = np.nan
        if absent.all():
            raise SkipRecording(f"nobody is seen in any of its {positions.shape[1]} frames")
        seen = ~absent.all(axis=(1, 2))
        confidence = None
        if body.values.shape[-1] == 4:
            confidence = np.where(absent, 0, body.values[..., 3]).astype(np.float32)[seen]
        return Recording(positions[seen], confidence, notes=body.notes)


@dataclass(frozen=True, eq=False)
class _Body:
    """Numbers by body, frame and joint, how they were taken in words, and the layout if it is known."""

    values: Float64[np.ndarray, "body frame joint number"]
    reading: str
    layout: Skeleton | None
    notes: tuple[str, ...] = ()


def _body_of(source: Source, options: ReadOptions) -> _Body:
    return _cached_body(source.path, *stamp(source.path), options.layout)


@lru_cache(maxsize=1)
def _cached_body(path: Path, _changed: int, size: int, layout_name: str | None) -> _Body:
    if size > _MAX_BYTES:
        raise ParseError(path, 0, f"expected at most {_MAX_BYTES:,} bytes of one recording, got {size:,}")
    told = None if layout_name is None else get_layout(layout_name)
    text = read_text(path)
    lines = [
        (number, line.replace(";", " ").replace(",", " ").encode())
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip()
    ]
    first = _words(lines[0][1].decode())
    if len(first) == 2 and all(word.isdecimal() for word in first):
        return _counted_frames(path, lines, told)
    if len(first) in (3, 4):
        return _joint_lines(path, lines, len(first), told)
    return _frame_lines(path, lines, len(first), told)


def _words(line: str) -> list[str]:
    return [word for word in _SEPARATED.split(line) if word]


def _rows(path: Path, lines: Sequence[tuple[int, bytes]], columns: int) -> Float64[np.ndarray, "line column"]:
    """Parse lines of numbers; blank lines between them are told from others by their numbers."""
    try:
        return parse_numbers(path, [line for _, line in lines], columns)
    except ParseError as error:
        raise ParseError(path, lines[error.line - 1][0], error.problem) from error


def _joint_lines(path: Path, lines: list[tuple[int, bytes]], columns: int, told: Skeleton | None) -> _Body:
    values = _rows(path, lines, columns)
    layout = told or KINECT_V1_20
    joints = layout.measured_count
    if len(values) % joints:
        raise ParseError(
            path,
            lines[-1][0],
            f"expected {joints} lines a frame, one for each joint; got {len(values)} lines, "
            f"{len(values) % joints} too many. Other joints: {setting('layout', 'NAME')}",
        )
    with_confidence = " and confidence" if columns == 4 else ""
    reading = f"a joint per line (x y z{with_confidence}), {joints} lines a frame: {layout.name}"
    return _Body(values.reshape(1, -1, joints, columns), reading, layout)


def _counted_frames(path: Path, lines: list[tuple[int, bytes]], told: Skeleton | None) -> _Body:
    """Read frames that say how many rows they have; the first line says how many frames and joints there are."""
    frame_count, joints = (int(word) if len(word) < 10 else 10**9 for word in _words(lines[0][1].decode()))
    layout = told or {_V1_JOINTS: KINECT_V1_20, _V2_JOINTS: KINECT_V2_25}.get(joints)
    if layout is not None and layout.measured_count != joints:
        raise ParseError(path, lines[0][0], f"expected {layout.measured_count} joints of {layout.name}, got {joints}")
    if not 0 < joints <= 1000 or frame_count >= len(lines):
        raise ParseError(
            path,
            lines[0][0],
            f"expected the number of frames and of joints, fewer than its {len(lines)} lines; got {shown(lines[0][1])}",
        )
    places: list[int] = []  # of the first row of each frame; -1 of one without anybody
    rows: list[tuple[int, bytes]] = []
    at, per_joint = 1, 0
    for _ in range(frame_count):
        if at >= len(lines):
            raise ParseError(path, lines[-1][0], f"expected {frame_count} frames as declared, got {len(places)}")
        number, line = lines[at]
        words = _words(line.decode())
        count = int(words[0]) if len(words) == 1 and words[0].isdecimal() and len(words[0]) < 10 else -1
        if count % joints or count < 0 or count > len(lines):
            raise ParseError(path, number, f"expected the number of rows, a multiple of {joints}; got {shown(line)}")
        if at + count >= len(lines):
            raise ParseError(path, lines[-1][0], f"expected {count} rows of the frame at line {number}, got fewer")
        if count and not per_joint:
            # Rows of the world and of the screen in turns, or just of the world.
            per_joint = 2 if count >= 2 * joints else 1
        if count and count < per_joint * joints:
            raise ParseError(path, number, f"expected {per_joint * joints} rows or more, got {count}")
        places.append(len(rows) if count else -1)
        rows += lines[at + 1 : at + 1 + (per_joint * joints if count else 0)]
        at += count + 1
    if at < len(lines):
        raise ParseError(path, lines[at][0], f"expected the end after {frame_count} frames, got {shown(lines[at][1])}")
    if not rows:
        raise SkipRecording(f"nobody is seen in any of its {frame_count} frames")
    values = _rows(path, rows, len(_words(rows[0][1].decode())))
    if values.shape[1] not in (3, 4):
        raise ParseError(path, rows[0][0], f"expected x y z, or x y z and confidence; got {shown(rows[0][1])}")
    bodies = values.reshape(-1, joints, per_joint, values.shape[1])[:, :, 0]
    laid = np.zeros((1, frame_count, joints, values.shape[1]))
    laid[0, [frame for frame, place in enumerate(places) if place >= 0]] = bodies
    reading = f"frames of {joints} joints, the first body of each, in the coordinates of the world"
    return _Body(laid, reading, layout)


def _joints_per_row(columns: int) -> tuple[int, int, int] | None:
    """Return (bodies, joints, columns before them) of a frame in one line; None where nothing fits."""
    for before in (0, 1):
        if columns - before == 2 * 3 * _V2_JOINTS:
            return 2, _V2_JOINTS, before
        if (columns - before) % 3 == 0 and (columns - before) // 3 in _COUNTS:
            return 1, (columns - before) // 3, before
    return None


def _frame_lines(path: Path, lines: list[tuple[int, bytes]], columns: int, told: Skeleton | None) -> _Body:
    found = _joints_per_row(columns)
    if told is not None:
        found = None
        joints = told.measured_count
        for before in (0, 1):
            if columns > before and (columns - before) % (3 * joints) == 0 and (columns - before) // (3 * joints) <= 8:
                found = (columns - before) // (3 * joints), joints, before
    if found is None:
        wanted = (
            "3 numbers for each joint" if told is None else f"3 for each of the {told.measured_count} of {told.name}"
        )
        raise ParseError(path, lines[0][0], f"expected a frame per line, {wanted}; got {columns} numbers in the first")
    bodies, joints, before = found
    rows = _rows(path, lines, columns)
    values = rows[:, before:].reshape(len(lines), bodies, joints, 3).swapaxes(0, 1)
    steps = np.diff(rows[:, 0]) if before and len(rows) > 1 else np.ones(1)
    is_even = bool((np.abs(steps - np.median(steps)) <= 0.2 * abs(np.median(steps))).all())
    layout = told or {_V1_JOINTS: KINECT_V1_20, _V2_JOINTS: KINECT_V2_25}.get(joints)
    first = " after the number of the frame" if before else ""
    shared = f"{bodies} bodies of {joints} joints" if bodies > 1 else f"{joints} joints"
    named = "" if layout is None else f" of {layout.name}"
    return _Body(values, f"a frame per line: {shared}{named}, x y z each{first}", layout, () if is_even else (UNEVEN,))
