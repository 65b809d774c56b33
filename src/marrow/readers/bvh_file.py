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
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from marrow.errors import ParseError
from marrow.readers.number_lines import parse_numbers, read_lines, shown

_AXES = "xyz"
_CHANNEL = re.compile(r"([xyz])(position|rotation)", re.IGNORECASE)
_FRAMES = re.compile(r"frames\s*:\s*(\d{1,9})", re.IGNORECASE)
_FRAME_TIME = re.compile(r"frame\s+time\s*:\s*(\S+)", re.IGNORECASE)


@dataclass
class Node:
    """A joint, or the end of a chain.

    Args:
        name: as the file has it; that of an end is its parent's with "_end".
        parent: index of the parent; the root is its own.
        line: 1-based line on which it begins.
        is_end: whether it is an "End Site", which has no channels.
        offset: from the parent, in the file's unit.
        channels: (axis, "position" or "rotation") in the order of the columns.
    """

    name: str
    parent: int
    line: int
    is_end: bool = False
    offset: tuple[float, float, float] | None = None
    channels: list[tuple[int, str]] | None = None

    @property
    def moves(self) -> bool:
        """Whether its place relative to its parent may change."""
        return any(kind == "position" for _, kind in self.channels or ())


@dataclass
class _Tree:
    """Nodes, and those whose braces are open."""

    path: Path
    nodes: list[Node] = field(default_factory=list)
    open: list[int] = field(default_factory=list)
    # A node was named, and its brace is to follow.
    is_named: bool = False


def read_hierarchy(path: Path) -> list[Node]:
    """Read the tree of a file, and not its frames.

    Raises:
        ParseError: it cannot be read, or does not follow the format.
    """
    try:
        with path.open("rb") as file:
            return _parse_hierarchy(path, file)[0]
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error


def read_motion(path: Path) -> tuple[list[Node], float, Float64[np.ndarray, "frame node 3"]]:
    """Read a file.

    Returns:
        its tree, the seconds between two frames, and where every node is in every frame, in the file's unit.

    Raises:
        ParseError: it cannot be read, or does not follow the format.
    """
    lines = read_lines(path)
    nodes, motion_line = _parse_hierarchy(path, lines)
    at = motion_line
    frame_count, at = _parse_setting(path, lines, at, _FRAMES, "Frames: COUNT")
    seconds_text, at = _parse_setting(path, lines, at, _FRAME_TIME, "Frame Time: SECONDS")
    seconds = _number(seconds_text.encode())
    if seconds is None or seconds <= 0:
        raise ParseError(path, at, f"expected a frame time above 0 seconds, got {seconds_text!r}")
    column_count = sum(len(node.channels or ()) for node in nodes)
    frames_left = len(lines) - at
    if frames_left != int(frame_count):
        line = min(len(lines), at + int(frame_count) + 1)
        raise ParseError(path, line, f"expected {frame_count} frames as declared, got {frames_left}")
    values = parse_numbers(path, lines[at:], column_count, first_line=at + 1)
    return nodes, seconds, _place(nodes, values)


def _parse_hierarchy(path: Path, lines: Iterable[bytes]) -> tuple[list[Node], int]:
    """Return the nodes in the order of the file, and the number of the line with MOTION."""
    tree = _Tree(path)
    number = 0
    has_begun = False
    for number, line in enumerate(lines, start=1):
        for statement in _statements(line.removeprefix(b"\xef\xbb\xbf")):
            keyword = statement[0].upper()
            if not has_begun:
                if keyword != "HIERARCHY" or len(statement) > 1:
                    raise ParseError(path, number, f"expected HIERARCHY, got {shown(line)}")
                has_begun = True
            elif keyword == "MOTION":
                if tree.open or not tree.nodes or tree.is_named:
                    what = f"}} of {tree.nodes[tree.open[-1]].name}" if tree.open else "ROOT and its braces"
                    raise ParseError(path, number, f"expected {what} before MOTION")
                return tree.nodes, number
            else:
                _take(tree, keyword, statement, number, line)
    got = "an empty file" if number == 0 else "the end of the file"
    raise ParseError(path, max(number, 1), f"expected {'MOTION' if has_begun else 'HIERARCHY'}, got {got}")


def _statements(line: bytes) -> Iterator[list[str]]:
    """Split a line into statements: braces, and what stands between them."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text = line.decode("latin-1")
    for piece in re.split(r"([{}])", text):
        words = piece.split()
        if words:
            yield words


def _take(tree: _Tree, keyword: str, statement: list[str], number: int, line: bytes) -> None:
    """Add one statement of the hierarchy to the tree."""
    if (keyword == "{") != tree.is_named:
        expected = "{" if tree.is_named else "ROOT, JOINT, End Site, OFFSET, CHANNELS or }"
        raise ParseError(tree.path, number, f"expected {expected}, got {shown(line)}")
    if keyword == "{":
        tree.open.append(len(tree.nodes) - 1)
        tree.is_named = False
    elif keyword in ("ROOT", "JOINT") or (keyword == "END" and [word.upper() for word in statement[1:]] == ["SITE"]):
        _take_node(tree, keyword, " ".join(statement[1:]), number)
    elif not tree.open:
        raise ParseError(tree.path, number, f"expected ROOT or MOTION, got {shown(line)}")
    elif keyword == "}":
        node = tree.nodes[tree.open.pop()]
        missing = "OFFSET" if node.offset is None else "CHANNELS" if node.channels is None else None
        if missing:
            raise ParseError(tree.path, number, f"expected {missing} of {node.name} before its }}")
    elif keyword == "OFFSET":
        node = tree.nodes[tree.open[-1]]
        values = [_number(word.encode()) for word in statement[1:]]
        if node.offset is not None or len(values) != 3 or None in values:
            raise ParseError(tree.path, number, f"expected one OFFSET of three numbers, got {shown(line)}")
        node.offset = (values[0] or 0.0, values[1] or 0.0, values[2] or 0.0)
    elif keyword == "CHANNELS":
        node = tree.nodes[tree.open[-1]]
        matches = [_CHANNEL.fullmatch(word) for word in statement[2:]]
        channels = [(_AXES.index(match[1].lower()), match[2].lower()) for match in matches if match]
        is_counted = len(statement) > 1 and statement[1] == str(len(matches))
        if node.channels is not None or not is_counted or None in matches or len(set(channels)) < len(channels):
            wanted = "expected one CHANNELS with a count and as many different names, such as 3 Zrotation ..."
            raise ParseError(tree.path, number, f"{wanted}; got {shown(line)}")
        node.channels = channels
    else:
        raise ParseError(
            tree.path, number, f"expected ROOT, JOINT, End Site, OFFSET, CHANNELS or }}, got {shown(line)}"
        )


def _take_node(tree: _Tree, keyword: str, name: str, number: int) -> None:
    if (keyword == "ROOT") != (not tree.open):
        raise ParseError(tree.path, number, f"expected {'JOINT' if tree.open else 'ROOT'}, got {keyword}")
    if keyword == "ROOT" and tree.nodes:
        raise ParseError(tree.path, number, "expected one ROOT; files with several bodies are not read")
    parent = tree.open[-1] if tree.open else 0
    if tree.open and tree.nodes[parent].is_end:
        raise ParseError(tree.path, number, "expected the OFFSET and } of an End Site, got another node")
    if keyword == "END":
        name = f"{tree.nodes[parent].name}_end"
    names = [node.name for node in tree.nodes]
    if keyword == "END" and name in names:  # two ends of one joint, or a joint of that name
        name = next(f"{name}{count}" for count in range(2, len(names) + 3) if f"{name}{count}" not in names)
    if not name or name in names:
        raise ParseError(tree.path, number, f"expected a name that no other joint has, got {name!r}")
    tree.nodes.append(Node(name, parent, number, keyword == "END", None, [] if keyword == "END" else None))
    tree.is_named = True


def _parse_setting(path: Path, lines: list[bytes], at: int, pattern: re.Pattern[str], wanted: str) -> tuple[str, int]:
    """Return the value of the next line that is not blank, and how many lines are behind it."""
    for number, line in enumerate(islice(lines, at, None), start=at + 1):
        if not line.strip():
            continue
        match = pattern.fullmatch(line.decode("latin-1").strip())
        if match is None:
            raise ParseError(path, number, f"expected '{wanted}', got {shown(line)}")
        return match[1], number
    raise ParseError(path, max(len(lines), 1), f"expected '{wanted}', got the end of the file")


def _number(word: bytes) -> float | None:
    try:
        return float(parse_numbers(Path(), [word], 1)[0, 0])
    except ParseError:
        return None


def _place(nodes: list[Node], values: Float64[np.ndarray, "frame column"]) -> Float64[np.ndarray, "frame node 3"]:
    """Return where the nodes are: forward kinematics from the channels of every frame."""
    from pymotion.ops.skeleton_np import fk
    from pymotion.rotations import quat_np

    offsets = np.tile(np.array([node.offset for node in nodes], np.float64), (len(values), 1, 1))
    turns = np.zeros((len(values), len(nodes), 4))
    turns[..., 0] = 1.0
    column = 0
    for place, node in enumerate(nodes):
        for axis, kind in node.channels or ():
            if kind == "position":
                offsets[:, place, axis] = values[:, column]
            else:
                angle = np.radians(values[:, column : column + 1])
                turns[:, place] = quat_np.mul(turns[:, place], quat_np.from_angle_axis(angle, np.eye(3)[axis]))
            column += 1
    parents = np.array([node.parent for node in nodes])
    # Matrices rather than quaternions: those would be normalised once more, to 1e-8.
    places, _ = fk(quat_np.to_matrix(turns), offsets[:, 0], offsets, parents)
    return places
