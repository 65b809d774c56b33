"""Parse text that is a table of numbers, and say where it is not: shared by the readers of such formats."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from marrow.errors import ParseError
from marrow.readers.text_file import to_plain

# No sensor sees farther (in metres); what lies beyond is a slip of the pen, and its square would overflow float32 sums.
LARGEST = 1e6
_SPELLING = b"0123456789+-.eE"
# All that `bytes.split` takes for blanks.
_BLANKS = b" \t\r\v\f"

# A note on what was read.
BLANK_LINES = "blank lines among the frames"


def read_bytes(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        ParseError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error


def read_lines(path: Path) -> list[bytes]:
    """Return a file's lines without what ends them, and without blank ones at its end.

    Raises:
        ParseError: it cannot be read.
    """
    lines = to_plain(read_bytes(path)).split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def read_rows(
    path: Path, columns: int, *, separator: bytes | None = None
) -> tuple[Float64[np.ndarray, "line column"], tuple[str, ...]]:
    """Read a file of lines that all hold the same count of finite numbers, at least one of them; blank ones are none.

    Args:
        path: of the file.
        columns: numbers per line.
        separator: what stands between two numbers; any blanks if None.

    Returns:
        the numbers, and what was passed over, in words that are the same for every file.

    Raises:
        ParseError: it cannot be read, is empty, or a line is neither such nor blank.
    """
    lines = read_lines(path)
    if not lines:
        raise ParseError(path, 1, f"expected {columns} numbers per line, got an empty file")
    values = parse_numbers(path, lines, columns, separator=separator, passes_over_blank_lines=True)
    return values, (BLANK_LINES,) if len(values) < len(lines) else ()


def parse_numbers(
    path: Path,
    lines: list[bytes],
    columns: int,
    *,
    separator: bytes | None = None,
    first_line: int = 1,
    passes_over_blank_lines: bool = False,
) -> Float64[np.ndarray, "line column"]:
    """Parse lines that all hold the same count of finite numbers.

    Args:
        path: of the file, for messages.
        lines: of text.
        columns: numbers per line.
        separator: what stands between two numbers; any blanks if None.
        first_line: 1-based number of the first of the lines in its file.
        passes_over_blank_lines: whether a blank line is none, else it is one without a number.

    Raises:
        ParseError: a line has another count of columns, or one that is not a number below a million.
    """
    words: list[bytes] = []
    numbers: list[int] = []
    for number, line in enumerate(lines, first_line):
        row = line.split(separator)
        if passes_over_blank_lines and len(row) <= 1 and not line.strip():
            continue
        numbers.append(number)
        if len(row) != columns:
            raise ParseError(path, number, f"expected {columns} numbers, got {len(row)} columns: {shown(line)}")
        words += row
    # NumPy also takes "nan" and "1_0" for numbers, and has its own mind about other scripts.
    plain = not any(line.translate(None, _SPELLING + _BLANKS + (separator or b"")) for line in lines)
    try:
        values = np.array(words, np.float64) if plain else None
    except ValueError:
        values = None
    if values is None or not (np.abs(values) < LARGEST).all():
        at = next(at for at, word in enumerate(words) if not _is_number(word))
        line, column = numbers[at // columns], at % columns + 1
        comma = " (a decimal comma? Numbers are written with a point)" if b"," in words[at] else ""
        raise ParseError(path, line, f"expected a finite number in column {column}, got {shown(words[at])}{comma}")
    return values.reshape(len(numbers), columns)


def shown(text: bytes) -> str:
    """Return a piece of a file as it may be put into a message."""
    plain = text.strip().decode("utf-8", "replace")
    return repr(plain if len(plain) <= 60 else f"{plain[:60]}…")


def _is_number(word: bytes) -> bool:
    if word.translate(None, _SPELLING + _BLANKS):
        return False
    try:
        return abs(float(word)) < LARGEST
    except ValueError:
        return False
