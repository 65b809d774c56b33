"""Parse Acclaim's two files: a skeleton (.asf), and the motion of it (.amc). And place its bones.

    :units                                        # what is after a # says nothing
      length 0.45                                 1 / 0.45 inches, as CMU writes it
      angle deg
    :root
      order TX TY TZ RX RY RZ                     of the root's numbers in the motion
      axis XYZ
      position 0 0 0
      orientation 0 0 0
    :bonedata
      begin
        name lfemur
        direction 0.34 -0.94 0                    from its beginning to its end in the rest pose, in the scene's axes
        length 7
        axis 0 0 20 XYZ                           its own axes: turned about x first, then y, then z
        dof rx ry rz                              of its numbers in the motion; a bone without is stiff
        limits (-160 20) (-70 70) (-60 70)        ignored, as every other statement
      end
    :hierarchy
      begin
        root lhipjoint rhipjoint                  what begins where the first one ends
        lhipjoint lfemur
      end

    :FULLY-SPECIFIED                              every frame has every bone
    :DEGREES
    1
    root 9.4 17.8 -17.4 -4.4 -10.5 -1.5
    lfemur -7.6 5.1 3.2

With C the matrix of a bone's axes and M that of its numbers (turned in the order of dof, about axes that stay), a bone
turns by C M C⁻¹ against the one above it. Bones end up where they begin; how that becomes joints: `formats/acclaim.py`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from marrow.errors import ParseError
from marrow.readers.number_lines import parse_numbers, shown
from marrow.readers.text_file import decode, read_bytes

# Bones, and frames times bones: more than any recording has, and little enough for the memory.
_MAX_BONES = 4096
_MAX_POSITIONS = 1 << 26
_BLOCK_POSITIONS = 1 << 16
_MAX_BYTES = 1 << 28
_ORDER = re.compile(r"[xyz]{1,3}", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"\d,\d")


@dataclass
class Bone:
    """A bone, or the root, which has no length.

    Args:
        name: as the file has it; "root" for the root.
        line: 1-based line on which it begins.
        parent: index of the bone at whose end it begins; the root is its own.
        offset: from its beginning to its end in the rest pose, in the file's unit.
        axis: turns about x, y and z that lead to its own axes, in radians.
        order: in which they are done.
        channels: ("r" or "t", axis) in the order of its numbers in the motion.
        position: of the root, in the rest pose.
    """

    name: str
    line: int
    parent: int = -1
    direction: tuple[float, float, float] | None = None
    length: float | None = None
    axis: tuple[float, float, float] = (0.0, 0.0, 0.0)
    order: str = "xyz"
    channels: tuple[tuple[str, int], ...] = ()
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def offset(self) -> Float64[np.ndarray, "3"]:
        """From its beginning to its end in the rest pose, in the file's unit."""
        return np.array(self.direction or (0.0, 0.0, 0.0)) * (self.length or 0.0)


@dataclass(frozen=True)
class Acclaim:
    """A skeleton.

    Args:
        bones: each after the one at whose end it begins; the first is the root.
        length_unit: the number behind `length` in `:units`; None where there is none.
        degrees: whether the motion's angles are degrees, unless it says so itself.
    """

    bones: tuple[Bone, ...]
    length_unit: float | None
    degrees: bool


@dataclass
class _Skeleton:
    path: Path
    bones: list[Bone] = field(default_factory=lambda: [Bone("root", 1)])
    children: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    length_unit: float | None = None
    degrees: bool = True
    seen: set[str] = field(default_factory=set)


def read_skeleton(path: Path) -> Acclaim:
    """Read an .asf file.

    Raises:
        ParseError: it cannot be read, or does not follow the format.
    """
    found = _Skeleton(path)
    section, is_open = "", False
    lines = _read_text(path).split("\n")
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if words[0].startswith(":"):
            if is_open:
                raise ParseError(path, number, f"expected end, got {shown(line.encode())}")
            section = words[0].lower()
            found.seen.add(section)
        elif not section:
            raise ParseError(path, number, f"expected a section such as :units, got {shown(line.encode())}")
        elif section in (":bonedata", ":hierarchy"):
            is_begin, is_end = words == ["begin"], words == ["end"]
            if is_begin or is_end:
                if is_begin == is_open:
                    raise ParseError(path, number, f"expected {'end' if is_open else 'begin'}, got {words[0]}")
                if section == ":bonedata":
                    _begin_bone(found, number) if is_begin else _end_bone(found, number)
                is_open = is_begin
            elif not is_open:
                raise ParseError(path, number, f"expected begin, got {shown(line.encode())}")
            elif section == ":bonedata":
                _take_of_bone(found, found.bones[-1], words, number)
            else:
                found.children.setdefault(words[0], []).extend((word, number) for word in words[1:])
        elif section == ":root":
            _take_of_bone(found, found.bones[0], words, number)
        elif section == ":units":
            _take_unit(found, words, number)
    for wanted in (":root", ":bonedata", ":hierarchy"):
        if wanted not in found.seen or is_open:
            missing = "end" if is_open else wanted
            raise ParseError(path, len(lines), f"expected {missing}, got the end of the file")
    return Acclaim(_in_order(found), found.length_unit, found.degrees)


def read_motion(
    path: Path, skeleton: Acclaim
) -> tuple[dict[str, Float64[np.ndarray, "frame channel"]], bool, tuple[str, ...]]:
    """Read an .amc file.

    Returns:
        the numbers of each bone that has any, whether angles are degrees, and what is to be noted.

    Raises:
        ParseError: it cannot be read, does not follow the format, or has bones that the skeleton has not.
    """
    columns = {bone.name: len(bone.channels) for bone in skeleton.bones}
    texts: dict[str, list[bytes]] = {name: [] for name in columns}
    lines_of: dict[str, list[int]] = {name: [] for name in columns}
    frames_of: dict[str, list[int]] = {name: [] for name in columns}
    degrees, is_full, last, frame = skeleton.degrees, False, 0, -1
    notes: dict[str, None] = {}
    line_count = 0
    for line_count, line in enumerate(_read_text(path).split("\n"), start=1):
        words = line.partition("#")[0].split(None, 1)
        if not words:
            continue
        name = words[0]
        if name.startswith(":"):
            is_full |= name.upper() in (":FULLY-SPECIFIED", ":FULLY_SPECIFIED")
            degrees = {":DEGREES": True, ":RADIANS": False}.get(name.upper(), degrees)
        elif len(words) == 1 and name.isdecimal() and name.isascii() and len(name) < 10:
            if frame >= 0 and int(name) <= last:
                raise ParseError(path, line_count, f"expected a frame after {last}, got {name}")
            if frame >= 0 and int(name) > last + 1:
                notes["frame numbers are missing: what is there is taken as following on each other"] = None
            if is_full and frame >= 0:
                _check_whole(path, columns, frames_of, frame, line_count)
            last, frame = int(name), frame + 1
        elif name not in columns:
            raise ParseError(path, line_count, f"expected a frame's number or a bone, got {shown(line.encode())}")
        elif frame < 0:
            raise ParseError(path, line_count, f"expected a frame's number before {name}")
        elif frames_of[name] and frames_of[name][-1] == frame:
            raise ParseError(path, line_count, f"expected {name} once in frame {last}, got it twice")
        else:
            texts[name].append((words[1] if len(words) > 1 else "").encode())
            lines_of[name].append(line_count)
            frames_of[name].append(frame)
    if is_full and frame >= 0:
        _check_whole(path, columns, frames_of, frame, line_count)
    if (frame + 1) * len(columns) > _MAX_POSITIONS:
        raise ParseError(path, 0, f"expected at most {_MAX_POSITIONS // len(columns):,} frames, got {frame + 1:,}")
    values = {}
    for name, count in columns.items():
        parsed = _parse(path, texts[name], lines_of[name], count)
        if len(parsed) < frame + 1 and count:  # a bone keeps its last numbers, and has none but zeros before the first
            notes["bones without numbers in some frames: the last ones before stay"] = None
            held = np.searchsorted(np.array(frames_of[name], np.int64), np.arange(frame + 1), side="right")
            parsed = np.vstack([np.zeros((1, count)), parsed])[held]
        if count:
            values[name] = parsed
    return values, degrees, tuple(notes)


def place(
    skeleton: Acclaim, values: dict[str, Float64[np.ndarray, "frame channel"]], frame_count: int, degrees: bool
) -> tuple[Float64[np.ndarray, "frame bone 3"], Float64[np.ndarray, "frame bone 3"]]:
    """Return where each bone begins and where it ends, in every frame, in the file's unit."""
    bones = skeleton.bones
    begins, ends = np.empty((frame_count, len(bones), 3)), np.empty((frame_count, len(bones), 3))
    own = [_turn(bone.order, np.array([[bone.axis["xyz".index(axis)] for axis in bone.order]]))[0] for bone in bones]
    block = max(1, _BLOCK_POSITIONS // len(bones))
    for start in range(0, frame_count, block):
        part = slice(start, start + block)
        turns: list[Float64[np.ndarray, "frame 3 3"]] = []
        for index, bone in enumerate(bones):
            numbers = values.get(bone.name, np.zeros((frame_count, len(bone.channels))))[part]
            rotations = [column for column, (kind, _) in enumerate(bone.channels) if kind == "r"]
            angles = np.radians(numbers[:, rotations]) if degrees else numbers[:, rotations]
            turn = (
                own[index] @ _turn([("xyz")[bone.channels[column][1]] for column in rotations], angles) @ own[index].T
            )
            if index == 0:
                begins[part, 0] = bone.position
                for column, (kind, axis) in enumerate(bone.channels):
                    if kind == "t":
                        begins[part, 0, axis] += numbers[:, column]
            else:
                turn = turns[bone.parent] @ turn
                begins[part, index] = ends[part, bone.parent]
            turns.append(turn)
            ends[part, index] = begins[part, index] + turn @ bone.offset
    return begins, ends


def _read_text(path: Path) -> str:
    text = decode(read_bytes(path, _MAX_BYTES))
    if text is None or not text.strip():
        raise ParseError(path, 1, f"expected text, got {'binary data' if text is None else 'an empty file'}")
    return text


def _turn(order: Sequence[str], angles: Float64[np.ndarray, "frame turn"]) -> Float64[np.ndarray, "frame 3 3"]:
    """Return the matrices of turns about axes that stay, the first one first; angles in radians."""
    total = np.tile(np.eye(3), (len(angles), 1, 1))
    for axis, angle in zip(order, angles.T, strict=True):
        one, other = (place for place in range(3) if place != "xyz".index(axis))
        sign = -1.0 if axis == "y" else 1.0
        turn = np.tile(np.eye(3), (len(angles), 1, 1))
        turn[:, one, one] = turn[:, other, other] = np.cos(angle)
        turn[:, other, one] = sign * np.sin(angle)
        turn[:, one, other] = -sign * np.sin(angle)
        total = turn @ total
    return total


def _check_whole(path: Path, columns: dict[str, int], frames_of: dict[str, list[int]], frame: int, line: int) -> None:
    for name, count in columns.items():
        if count and (not frames_of[name] or frames_of[name][-1] != frame):
            raise ParseError(path, line, f"expected numbers of {name} in every frame (:FULLY-SPECIFIED), got none")


def _parse(path: Path, texts: list[bytes], lines: list[int], count: int) -> Float64[np.ndarray, "row channel"]:
    if not texts:
        return np.zeros((0, count))
    try:
        return parse_numbers(path, texts, count)
    except ParseError as error:
        text = texts[error.line - 1].decode()
        raise ParseError(path, lines[error.line - 1], error.problem + _comma(text)) from None


def _comma(text: str) -> str:
    return " (a decimal comma? Numbers are written with a point)" if _DECIMAL_COMMA.search(text) else ""


def _begin_bone(found: _Skeleton, number: int) -> None:
    if len(found.bones) > _MAX_BONES:
        raise ParseError(found.path, number, f"expected at most {_MAX_BONES} bones, got more")
    found.bones.append(Bone("", number))


def _end_bone(found: _Skeleton, number: int) -> None:
    bone = found.bones[-1]
    missing = "name" if not bone.name else "direction" if bone.direction is None else "length"
    if not bone.name or bone.direction is None or bone.length is None:
        raise ParseError(found.path, number, f"expected {missing} of the bone before its end")


def _take_of_bone(found: _Skeleton, bone: Bone, words: list[str], number: int) -> None:
    """Take one statement about a bone or the root; what says nothing of where it is is passed over."""
    keyword, rest = words[0].lower(), words[1:]
    is_root = bone is found.bones[0]
    if keyword == "name" and not is_root:
        bone.name = " ".join(rest)
        if not bone.name or bone.name in {other.name for other in found.bones if other is not bone}:
            problem = f"expected a name that no other bone has, got {bone.name!r}"
            raise ParseError(found.path, number, problem)
    elif keyword == "direction" and not is_root:
        bone.direction = _three(found, rest, number)
    elif keyword == "length" and not is_root:
        bone.length = _numbers(found, rest, 1, number)[0]
        if bone.length < 0:
            raise ParseError(found.path, number, f"expected a length of at least 0, got {rest[0]}")
    elif keyword == "axis":
        if len(rest) != (1 if is_root else 4) or _ORDER.fullmatch(rest[-1]) is None or len(set(rest[-1].lower())) < 3:
            wanted = "an order such as XYZ" if is_root else "three angles and an order such as 0 0 20 XYZ"
            raise ParseError(found.path, number, f"expected axis with {wanted}, got {shown(' '.join(words).encode())}")
        bone.order = rest[-1].lower()
        if not is_root:
            bone.axis = _three(found, rest[:3], number)
    elif keyword == "orientation" and is_root:
        bone.axis = _three(found, rest, number)
    elif keyword == "position" and is_root:
        bone.position = _three(found, rest, number)
    elif keyword == ("order" if is_root else "dof"):
        channels = [(word[0].lower(), "xyz".find(word[1:].lower())) for word in rest]
        known = "rt" if is_root else "r"
        if any(
            kind not in known or axis < 0 or len(word) != 2 for (kind, axis), word in zip(channels, rest, strict=True)
        ):
            wanted = "TX TY TZ RX RY RZ" if is_root else "rx ry rz (bones that move or stretch are not read)"
            raise ParseError(
                found.path, number, f"expected {keyword} of {wanted}, got {shown(' '.join(rest).encode())}"
            )
        if len(set(channels)) < len(channels):
            raise ParseError(
                found.path, number, f"expected each of {keyword} once, got {shown(' '.join(rest).encode())}"
            )
        bone.channels = tuple(channels)


def _take_unit(found: _Skeleton, words: list[str], number: int) -> None:
    if words[0].lower() == "length":
        found.length_unit = _numbers(found, words[1:], 1, number)[0]
    elif words[0].lower() == "angle":
        angle = words[1].lower() if len(words) == 2 else ""
        if not angle.startswith(("deg", "rad")):
            raise ParseError(found.path, number, f"expected angle deg or rad, got {shown(' '.join(words).encode())}")
        found.degrees = angle.startswith("deg")


def _three(found: _Skeleton, words: list[str], number: int) -> tuple[float, float, float]:
    x, y, z = _numbers(found, words, 3, number)
    return x, y, z


def _numbers(found: _Skeleton, words: list[str], count: int, number: int) -> list[float]:
    text = " ".join(words)
    try:
        return parse_numbers(found.path, [text.encode()], count, first_line=number)[0].tolist()
    except ParseError as error:
        raise ParseError(found.path, number, error.problem + _comma(text)) from None


def _in_order(found: _Skeleton) -> tuple[Bone, ...]:
    """Return the bones, each after the one at whose end it begins; angles become radians."""
    by_name = {bone.name: bone for bone in found.bones}
    for parent, children in found.children.items():
        for child, number in children:
            if parent not in by_name or child not in by_name or child == "root":
                stranger = parent if parent not in by_name else child
                raise ParseError(found.path, number, f"expected a bone of :bonedata, got {stranger!r}")
    ordered: list[Bone] = []
    waiting: list[tuple[str, int, int]] = [("root", 0, 1)]
    while waiting:
        name, parent, number = waiting.pop()
        bone = by_name[name]
        if bone.parent >= 0:
            raise ParseError(found.path, number, f"expected {name!r} once in the hierarchy, got it twice")
        bone.parent = parent
        if found.degrees:
            x, y, z = np.radians(bone.axis).tolist()
            bone.axis = (x, y, z)
        ordered.append(bone)
        waiting += [(child, len(ordered) - 1, line) for child, line in reversed(found.children.get(name, []))]
    loose = next((bone for bone in found.bones if bone.parent < 0), None)
    if loose is not None:
        raise ParseError(found.path, loose.line, f"expected {loose.name!r} in the hierarchy below root")
    return tuple(ordered)
