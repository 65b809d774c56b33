"""Parse a BVH file: a tree of joints, then a line of channels per frame. And place its joints.

    HIERARCHY
    ROOT Hips
    {
        OFFSET 0 0 0                                       from the parent, in the file's unit
        CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
        JOINT Spine
        {
            OFFSET 0 10 0
            CHANNELS 3 Zrotation Xrotation Yrotation       degrees, turned in this order
            End Site
            {
                OFFSET 0 12 0
            }
        }
    }
    MOTION
    Frames: 2
    Frame Time: 0.0333333                                  seconds
    0 90 0 0 0 0 0 0 0                                     the channels of all joints, in the order of the tree
    ...

Blanks may be tabs. A joint may have any channels in any order; a position channel takes the place of that coordinate of
OFFSET, in the root and anywhere else. Rotations and forward kinematics are those of `pymotion` (the distribution
`upc-pymotion`); its own parser stops at the first fault with an IndexError, takes surplus and missing frames silently,
and knows no line numbers, which is why the text is parsed here.

What people's software writes otherwise and can mean one thing only is read, with a note: a name after "End Site", blank
lines between frames, frames that are more than declared or one fewer, a second joint of one name (it is called
Parent/Name), a root without a name, CR as the end of lines, UTF-16.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float64

from marrow.errors import ParseError
from marrow.readers.bvh_tree import Node, Tree, number_in, parse_hierarchy, say_comma, shown_line
from marrow.readers.number_lines import BLANK_LINES, parse_numbers, shown
from marrow.readers.text_file import decode, read_bytes

# Frames times nodes: ten hours at 30 Hz of 60 nodes. Ends cost a file nothing, so its size does not bound them.
_MAX_POSITIONS = 1 << 26
_BLOCK_POSITIONS = 1 << 18
_BLOCK_ROWS = 4096
_BEGINNING_BYTES = 1 << 16
# Of trees that are kept to know them again.
_KNOWN_LINES = 10_000
# Below this a rate is none: 1 / 1e-320 is infinite.
_SHORTEST_SECONDS = 1e-6
_FRAMES = re.compile(r"frames\s*:\s*(\d{1,9})", re.IGNORECASE)
_FRAME_TIME = re.compile(r"frame\s+time\s*:\s*(\S+)", re.IGNORECASE)
_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True)
class Beginning:
    """What stands before the frames.

    Args:
        nodes: the tree.
        frame_seconds: time between two frames; None where the file has none that is above 0.
        notes: what had to be mended, in words that are the same for every file.
    """

    nodes: list[Node]
    frame_seconds: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Motion(Beginning):
    """A file.

    Args:
        values: the channels of all nodes, in the order of the file: angles in degrees, places in the file's unit.
    """

    values: Float64[np.ndarray, "frame column"]

    def places(self) -> Float64[np.ndarray, "frame node 3"]:
        """Return where every node is in every frame, in the file's unit."""
        places = np.empty((len(self.values), len(self.nodes), 3))
        block = max(1, _BLOCK_POSITIONS // len(self.nodes))
        for start in range(0, len(self.values), block):
            places[start : start + block] = _place(self.nodes, self.values[start : start + block])
        return places


def read_hierarchy(path: Path) -> list[Node]:
    """Read the tree of a file, and not its frames.

    Raises:
        ParseError: it cannot be read, or does not follow the format.
    """
    return _parse_beginning(path, lambda lines: _parse_tree(path, lines)[0].nodes)


def read_beginning(path: Path, *, needs_rate: bool = True) -> Beginning:
    """Read what stands before the frames.

    Args:
        path: of the file.
        needs_rate: whether a frame time that is not above 0 is refused.

    Raises:
        ParseError: it cannot be read, or does not follow the format.
    """
    return _parse_beginning(path, lambda lines: _parse_settings(path, lines, needs_rate)[0])


def read_file(path: Path, *, needs_rate: bool = True, most_frames: int | None = None) -> Motion:
    """Read a file.

    Args:
        path: of the file.
        needs_rate: whether a frame time that is not above 0 is refused.
        most_frames: how many of the frames to read, from the first on; None for all.

    Raises:
        ParseError: it cannot be read, does not follow the format, or says more than fits into memory.
    """
    lines, notes = _read_lines(path)
    beginning, frame_count, at = _parse_settings(path, lines, needs_rate)
    rows = [line for line in islice(lines, at, None) if line and not line.isspace()]
    notes += beginning.notes
    if len(rows) < len(lines) - at:
        notes += (BLANK_LINES,)
    if len(rows) != frame_count:
        if len(rows) < max(frame_count - 1, 1):
            line = _line_of(lines, at, len(rows) - 1) if rows else max(len(lines), 1)
            raise ParseError(path, line, f"expected {frame_count} frames as declared, got {len(rows)}")
        few, much = len(rows) < frame_count, len(rows) > frame_count + 1
        notes += (f"{'one frame fewer' if few else 'more frames' if much else 'one frame more'} than declared",)
    column_count = sum(len(node.channels or ()) for node in beginning.nodes)
    if len(rows) * len(beginning.nodes) > _MAX_POSITIONS:
        raise ParseError(
            path,
            at,
            f"expected at most {_MAX_POSITIONS // len(beginning.nodes):,} frames of {len(beginning.nodes)} joints in "
            f"one file, got {len(rows):,}",
        )
    values = _parse_rows(path, lines, at, rows[:most_frames], column_count)
    return Motion(beginning.nodes, beginning.frame_seconds, notes, values)


def read_motion(path: Path) -> tuple[list[Node], float, Float64[np.ndarray, "frame node 3"]]:
    """Read a file.

    Returns:
        its tree, the seconds between two frames, and where every node is in every frame, in the file's unit.

    Raises:
        ParseError: it cannot be read, or does not follow the format.
    """
    motion = read_file(path)
    assert motion.frame_seconds is not None
    return motion.nodes, motion.frame_seconds, motion.places()


def _read_lines(path: Path) -> tuple[list[str], tuple[str, ...]]:
    """Return a file's lines, and what is unusual in how they are written."""
    content = read_bytes(path)
    text = decode(content)
    if text is None:
        raise ParseError(path, 1, f"expected HIERARCHY, got {shown(content[:80])}")
    notes = ()
    if b"\0" in content[:64]:
        notes += ("text in UTF-16",)
    if b"\r" in content and b"\n" not in content:
        notes += ("lines that end in CR alone",)
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines, notes


def _parse_beginning(path: Path, parse: Callable[[list[str]], _Parsed]) -> _Parsed:
    """Parse the first lines of a file, and the whole of it where they do not suffice."""
    try:
        with path.open("rb") as file:
            content = file.read(_BEGINNING_BYTES)
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error
    if len(content) == _BEGINNING_BYTES:
        try:
            return parse((decode(content) or "").split("\n")[:-1])
        except ParseError:  # cut where there may be more
            pass
    return parse(_read_lines(path)[0])


def _parse_tree(path: Path, lines: list[str]) -> tuple[Tree, int]:
    """Return what `parse_hierarchy` does; the files of a data set mostly have one tree, which is parsed once."""
    end = next((number for number, line in enumerate(lines, start=1) if line.strip().upper() == "MOTION"), None)
    if end is not None and end <= _KNOWN_LINES:
        try:
            return _parse_known_tree("\n".join(lines[:end]))
        except ParseError:  # it names no file
            pass
    return parse_hierarchy(path, lines)


@lru_cache(maxsize=8)
def _parse_known_tree(text: str) -> tuple[Tree, int]:
    return parse_hierarchy(Path(), text.split("\n"))


def _parse_settings(path: Path, lines: list[str], needs_rate: bool) -> tuple[Beginning, int, int]:
    """Return what stands before the frames, the number of frames that it declares, and how many lines it takes."""
    tree, at = _parse_tree(path, lines)
    frame_count, at = _parse_setting(path, lines, at, _FRAMES, "Frames: COUNT")
    seconds_text, at = _parse_setting(path, lines, at, _FRAME_TIME, "Frame Time: SECONDS")
    seconds = number_in(seconds_text)
    if seconds is None or seconds < _SHORTEST_SECONDS:
        if needs_rate:
            comma = say_comma(seconds_text)
            problem = (
                f"expected a frame time above 0 seconds, got {seconds_text!r}{comma}; the option fps says the rate"
            )
            raise ParseError(path, at, problem)
        seconds = None
    return Beginning(tree.nodes, seconds, tuple(dict.fromkeys(tree.notes))), int(frame_count), at


def _parse_rows(
    path: Path, lines: list[str], at: int, rows: list[str], column_count: int
) -> Float64[np.ndarray, "frame column"]:
    values = np.empty((len(rows), column_count))
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = [row.encode() for row in rows[start : start + _BLOCK_ROWS]]
        try:
            values[start : start + len(block)] = parse_numbers(path, block, column_count)
        except ParseError as error:
            row = start + error.line - 1
            raise ParseError(path, _line_of(lines, at, row), error.problem + say_comma(rows[row])) from None
    return values


def _line_of(lines: list[str], at: int, row: int) -> int:
    """Return the 1-based line of one of the rows behind a line, blank ones not counted."""
    numbers = (number for number, line in enumerate(islice(lines, at, None), start=at + 1) if line.strip())
    return next(islice(numbers, row, None), len(lines))


def _parse_setting(path: Path, lines: list[str], at: int, pattern: re.Pattern[str], wanted: str) -> tuple[str, int]:
    """Return the value of the next line that is not blank, and how many lines are behind it."""
    for number, line in enumerate(islice(lines, at, None), start=at + 1):
        if not line.strip():
            continue
        match = pattern.fullmatch(line.strip())
        if match is None:
            raise ParseError(path, number, f"expected '{wanted}', got {shown_line(line)}")
        return match[1], number
    raise ParseError(path, max(len(lines), 1), f"expected '{wanted}', got the end of the file")


def _axis_vectors(axes: list[int], frame_count: int) -> Float64[np.ndarray, "frame node 3"]:
    return np.broadcast_to(np.eye(3)[axes], (frame_count, len(axes), 3))


def _place(nodes: list[Node], values: Float64[np.ndarray, "frame column"]) -> Float64[np.ndarray, "frame node 3"]:
    """Return where the nodes are: forward kinematics from the channels of every frame."""
    from pymotion.ops.skeleton_np import fk
    from pymotion.rotations import quat_np

    offsets = np.tile(np.array([node.offset for node in nodes], np.float64), (len(values), 1, 1))
    turns = np.zeros((len(values), len(nodes), 4))
    turns[..., 0] = 1.0
    # (node, axis, column) of the first turn of every node, of the second, ...: as many nodes at once as have one.
    rounds: dict[int, list[tuple[int, int, int]]] = {}
    column = 0
    for place, node in enumerate(nodes):
        turn = 0
        for axis, kind in node.channels or ():
            if kind == "position":
                offsets[:, place, axis] = values[:, column]
            else:
                rounds.setdefault(turn, []).append((place, axis, column))
                turn += 1
            column += 1
    for turn in range(len(rounds)):
        turning, axes, columns = map(list, zip(*rounds[turn], strict=True))
        turned = quat_np.from_angle_axis(np.radians(values[:, columns, None]), _axis_vectors(axes, len(values)))
        turns[:, turning] = quat_np.mul(turns[:, turning], turned)
    parents = np.array([node.parent for node in nodes])
    # Matrices rather than quaternions: those would be normalised once more, to 1e-8.
    places, _ = fk(quat_np.to_matrix(turns), offsets[:, 0], offsets, parents)
    return places
