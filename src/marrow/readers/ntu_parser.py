"""Parse the text of an NTU RGB+D `.skeleton` file into arrays, in one compiled pass over its bytes.

The format, line by line (numbers separated by blanks; lines may end in LF, CR LF or CR; a mark of UTF-8 or UTF-16 may
come first; blank lines are passed over, and one whole frame more or fewer than the first line says is read, both with
a note):

    frame count
    for each frame:
        body count                                   0 when nobody is seen
        for each body:
            id and nine numbers                      clipped edges, hand states, lean, tracking state
            joint count                              always 25
            25 lines of twelve numbers               x y z (metres, camera space, y up, z away from the camera),
                                                     depth x y, colour x y (pixels), orientation w x y z,
                                                     tracking state (0 not tracked, 1 inferred, 2 tracked)

Only x, y and z become numbers; they are the values that `float` gives, rounded to float32. Of the other columns only
the spelling is looked at, since the corpus holds "nan" among the pixel positions. An id is a 64-bit integer that stays
with a person from frame to frame; the order of bodies inside a frame means nothing.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Float32, Int64, UInt64

from marrow.errors import ParseError
from marrow.readers.number_lines import BLANK_LINES, LARGEST, read_bytes
from marrow.readers.text_file import to_plain

JOINT_COUNT = 25
BODY_COLUMNS = 10
JOINT_COLUMNS = 12
# The shortest text of one body: ten columns, a joint count, and 25 lines of twelve columns, one digit each.
_MIN_BODY_BYTES = 2 * BODY_COLUMNS + 3 + JOINT_COUNT * 2 * JOINT_COLUMNS - 1

# What the compiled pass may report, besides a position.
_FINE, _ENDED, _COLUMNS, _SPELLING, _COUNT, _JOINT_COUNT, _NOT_FINITE, _ID, _ID_TWICE, _TRAILING = range(10)

_SPACE, _NEWLINE, _NUMBER = 1, 2, 3
_BYTE_CLASS = np.zeros(256, np.uint8)
_BYTE_CLASS[list(b" \t\r")] = _SPACE
_BYTE_CLASS[list(b"\n")] = _NEWLINE
_BYTE_CLASS[list(b"0123456789+-.eEnNaAiIfF")] = _NUMBER  # the letters of "nan" and "inf"

_POWERS_OF_TEN = np.array([10.0**exponent for exponent in range(23)])  # the last one that a float64 holds exactly
_LARGEST_EXACT = 2**53
_LONGEST_COUNT = 10
_TOKEN = re.compile(rb"\S+")
_BLANK_LINE = re.compile(rb"(\A|\n)[ \t]*\n")


@dataclass(frozen=True)
class ParsedSkeletons:
    """What a `.skeleton` file says, one row per body per frame, in the order of the file.

    Args:
        frame_count: frames announced and read, those without a body included.
        body_ids: the tracker's id of each row.
        frames: 0-based frame of each row; never decreases.
        joints: positions in metres.
        notes: what was unusual, in words that are the same for every file.
    """

    frame_count: int
    body_ids: UInt64[np.ndarray, "row"]
    frames: Int64[np.ndarray, "row"]
    joints: Float32[np.ndarray, "row 25 3"]
    notes: tuple[str, ...] = ()


def parse_skeleton_file(path: Path) -> ParsedSkeletons:
    """Read one `.skeleton` file.

    Raises:
        ParseError: the file cannot be opened or does not follow the format.
    """
    content = to_plain(read_bytes(path))
    scanned = _scanned(content)
    lines = None
    if scanned.problem != _FINE and _BLANK_LINE.search(content):
        # Rare, so looked at only where the text as it stands does not follow the format.
        written = content.split(b"\n")
        lines = [number for number, line in enumerate(written, 1) if line.strip()]
        content = b"\n".join(line for line in written if line.strip())
        scanned = _scanned(content)

    notes = () if lines is None else (BLANK_LINES,)
    if lines is None and scanned.problem in (_ENDED, _TRAILING):
        counted = _scanned_whole_frames(content)
        if counted is not None:
            content, scanned, notes = counted

    def line_in_file(line: int) -> int:
        return line if lines is None else [*lines, lines[-1] + 1 if lines else 1][min(line - 1, len(lines))]

    if scanned.problem != _FINE:
        problem = _describe(scanned.problem, content, scanned.line, scanned.column)
        raise ParseError(path, line_in_file(scanned.line), problem)
    row_count = scanned.row_count
    positions, is_late = scanned.positions[:row_count], scanned.is_late[:row_count]
    late = _parse_late_numbers(content, positions, is_late) if is_late.any() else None
    if late is not None:
        line, column = late
        raise ParseError(path, line_in_file(line), _describe(_NOT_FINITE, content, line, column))
    return ParsedSkeletons(
        frame_count=scanned.frame_count,
        body_ids=scanned.body_ids[:row_count].copy(),
        frames=scanned.frames[:row_count].copy(),
        joints=positions.astype(np.float32).reshape(row_count, JOINT_COUNT, 3),
        notes=notes,
    )


class _Scanned(NamedTuple):
    """What the compiled pass found: the arrays that it filled, and where it ended."""

    positions: np.ndarray
    is_late: np.ndarray
    body_ids: np.ndarray
    frames: np.ndarray
    problem: int
    line: int
    row_count: int
    frame_count: int
    column: int


def _scanned_whole_frames(content: bytes) -> tuple[bytes, _Scanned, tuple[str, ...]] | None:
    """Return the text with the count of frames that there are, and so on, where it is one more or one fewer than said.

    None where it is not: several frames that are missing are a file that was cut.
    """
    first, _, rest = content.partition(b"\n")
    if not first.strip().isdigit() or len(first) > _LONGEST_COUNT:
        return None
    for more, note in ((1, "one frame more than declared"), (-1, "one frame fewer than declared")):
        count = int(first) + more
        if count > 0:
            counted = str(count).encode() + b"\n" + rest
            scanned = _scanned(counted)
            if scanned.problem == _FINE:
                return counted, scanned, (note,)
    return None


def _scanned(content: bytes) -> _Scanned:
    text = np.frombuffer(content, np.uint8)
    rows = len(text) // _MIN_BODY_BYTES + 1
    positions = np.empty((rows, JOINT_COUNT * 3))
    is_late = np.zeros((rows, JOINT_COUNT * 3), np.bool_)
    body_ids = np.empty(rows, np.uint64)
    frames = np.empty(rows, np.int64)
    arguments = (text, _BYTE_CLASS, _POWERS_OF_TEN, positions, is_late, body_ids, frames)
    try:
        ended = _scan(*arguments)
    except OSError:  # compiled, but the cache folder has become unwritable or full: the second call just runs
        ended = _scan(*arguments)
    return _Scanned(positions, is_late, body_ids, frames, *ended)


def _parse_late_numbers(content: bytes, positions: np.ndarray, is_late: np.ndarray) -> tuple[int, int] | None:
    """Let `float` convert the few numbers with more digits than the compiled pass can round correctly.

    Returns:
        line and column of the first that is not finite; None where all are.
    """
    for row, place in np.argwhere(is_late):
        start = int(positions[row, place])
        value = float(_TOKEN.match(content, start).group())  # pyright: ignore[reportOptionalMemberAccess]
        if not abs(value) < LARGEST:
            return content.count(b"\n", 0, start) + 1, int(place) % 3 + 1
        positions[row, place] = value
    return None


def _describe(problem: int, content: bytes, line: int, column: int) -> str:
    lines = content.split(b"\n", line)
    got = repr(lines[line - 1].strip()[:80].decode("ascii", "replace")) if line <= len(lines) else "nothing"
    if not content.strip():
        got = "an empty file"
    elif problem == _ENDED:
        got = "the end of the file"
    wanted = JOINT_COLUMNS if column == JOINT_COLUMNS else BODY_COLUMNS
    return {
        _ENDED: f"expected more lines (was the file cut short, or is a count too large?), got {got}",
        _COLUMNS: f"expected {wanted} numbers ({'a joint' if wanted == JOINT_COLUMNS else 'a body'}), got {got}",
        _SPELLING: f"expected numbers only, got {got}",
        _COUNT: f"expected a single count of frames, bodies or joints (digits only), got {got}",
        _JOINT_COUNT: f"expected the joint count {JOINT_COUNT}, got {got}",
        _NOT_FINITE: f"expected a finite position in metres in column {column}, got {got}",
        _ID: f"expected a line of a body that begins with its id (digits only), got {got}",
        _ID_TWICE: f"expected each body id once in a frame, but this one is there already: {got}",
        _TRAILING: f"expected the file to end after the last frame that line 1 announces, got {got}",
    }[problem]


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:  # no folder to keep the machine code in: compile once per process
        return numba.njit(function)


# The compiled functions are exempt from run-time type checks, which would put a Python function in the compiler's way.


@numba.njit
@no_type_check
def _end_of_line(text, byte_class, at, wanted_columns):
    """Return (problem, start of the next line) after checking the columns that are left on a line."""
    columns = 0
    in_token = False
    while at < text.size:
        kind = byte_class[text[at]]
        at += 1
        if kind == _NUMBER:
            if not in_token:
                columns += 1
            in_token = True
        elif kind == _SPACE:
            in_token = False
        elif kind == _NEWLINE:
            break
        else:
            return _SPELLING, at
    return (_FINE if columns == wanted_columns else _COLUMNS), at


@numba.njit
@no_type_check
def _whole_number(text, byte_class, at):
    """Return (problem, value, end) of an unsigned integer of at most 19 digits."""
    while at < text.size and byte_class[text[at]] == _SPACE:
        at += 1
    start = at
    value = np.uint64(0)
    while at < text.size and 48 <= text[at] <= 57:
        value = value * np.uint64(10) + np.uint64(text[at] - 48)
        at += 1
    ends_well = at == text.size or byte_class[text[at]] in (_SPACE, _NEWLINE)
    return (_FINE if ends_well and 0 < at - start <= 19 else _COUNT), value, at


@numba.njit
@no_type_check
def _count(text, byte_class, at):
    """Return (problem, value, start of the next line) of a line that holds one count."""
    if at >= text.size:
        return _ENDED, np.int64(0), at
    problem, value, at = _whole_number(text, byte_class, at)
    if problem == _FINE and value > np.uint64(2**31):
        problem = _COUNT
    if problem == _FINE:
        problem, at = _end_of_line(text, byte_class, at, 0)
    return (_COUNT if problem == _COLUMNS else problem), np.int64(value), at


@numba.njit
@no_type_check
def _number(text, byte_class, powers, at):
    """Return (problem, value, is_late, end) of a decimal number; a late one is its place in the file instead.

    Up to 2**53 and ten to the 22nd, both the digits as an integer and the power of ten are exact float64, so that one
    product or quotient is rounded once: the same number that `float` gives.
    """
    while at < text.size and byte_class[text[at]] == _SPACE:
        at += 1
    start = at
    if at == text.size or byte_class[text[at]] == _NEWLINE:
        return _COLUMNS, 0.0, False, at
    negative = text[at] == 45
    if negative or text[at] == 43:
        at += 1
    digits = np.int64(0)
    digit_count = 0
    exponent = np.int64(0)
    exact = True
    after_point = False
    while at < text.size:
        byte = text[at]
        if 48 <= byte <= 57:
            digit_count += 1
            if digits < 10**17:
                digits = digits * 10 + np.int64(byte - 48)
            else:
                exact = False
            if after_point:
                exponent -= 1
        elif byte == 46 and not after_point:
            after_point = True
        else:
            break
        at += 1
    if digit_count == 0:
        return _NOT_FINITE, 0.0, False, at
    if at < text.size and (text[at] == 101 or text[at] == 69):
        at += 1
        exponent_negative = at < text.size and text[at] == 45
        if at < text.size and (text[at] == 45 or text[at] == 43):
            at += 1
        exponent_start = at
        written = np.int64(0)
        while at < text.size and 48 <= text[at] <= 57:
            written = min(written * 10 + np.int64(text[at] - 48), 10**6)
            at += 1
        if at == exponent_start:
            return _SPELLING, 0.0, False, at
        exponent += -written if exponent_negative else written
    if at < text.size and byte_class[text[at]] not in (_SPACE, _NEWLINE):
        return _SPELLING, 0.0, False, at
    if not exact or digits > _LARGEST_EXACT or exponent > 22 or exponent < -22:
        return _FINE, float(start), True, at
    value = float(digits)
    value = value * powers[exponent] if exponent >= 0 else value / powers[-exponent]
    if value >= LARGEST:
        return _NOT_FINITE, 0.0, False, at
    return _FINE, (-value if negative else value), False, at


@_compiled
@no_type_check
def _scan(text, byte_class, powers, positions, is_late, body_ids, frames):
    """Fill the arrays; return (problem, 1-based line, rows, frames, column or number of columns)."""
    line = 1
    row = 0
    problem, frame_count, at = _count(text, byte_class, 0)
    if problem != _FINE:
        return problem, line, row, frame_count, 0
    for frame in range(frame_count):
        line += 1
        problem, body_count, at = _count(text, byte_class, at)
        if problem != _FINE:
            return problem, line, row, frame_count, 0
        first_row = row
        for _ in range(body_count):
            line += 1
            if at >= text.size:
                return _ENDED, line, row, frame_count, 0
            problem, body_id, at = _whole_number(text, byte_class, at)
            if problem != _FINE:
                return _ID, line, row, frame_count, 0
            problem, at = _end_of_line(text, byte_class, at, BODY_COLUMNS - 1)
            if problem != _FINE:
                return problem, line, row, frame_count, BODY_COLUMNS
            for other in range(first_row, row):
                if body_ids[other] == body_id:
                    return _ID_TWICE, line, row, frame_count, 0
            line += 1
            problem, joint_count, at = _count(text, byte_class, at)
            if problem == _FINE and joint_count != JOINT_COUNT:
                problem = _JOINT_COUNT
            if problem != _FINE:
                return problem, line, row, frame_count, 0
            for joint in range(JOINT_COUNT):
                line += 1
                if at >= text.size:
                    return _ENDED, line, row, frame_count, 0
                for axis in range(3):
                    problem, value, late, at = _number(text, byte_class, powers, at)
                    if problem != _FINE:
                        return problem, line, row, frame_count, JOINT_COLUMNS if problem == _COLUMNS else axis + 1
                    positions[row, 3 * joint + axis] = value
                    is_late[row, 3 * joint + axis] = late
                problem, at = _end_of_line(text, byte_class, at, JOINT_COLUMNS - 3)
                if problem != _FINE:
                    return problem, line, row, frame_count, JOINT_COLUMNS
            body_ids[row] = body_id
            frames[row] = frame
            row += 1
    while at < text.size:
        if text[at] == 10:
            line += 1
        elif byte_class[text[at]] != _SPACE:
            return _TRAILING, line + 1, row, frame_count, 0
        at += 1
    return _FINE, line, row, frame_count, 0
