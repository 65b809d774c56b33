"""Tables as people's programs write them: text with any separator, or Parquet; as columns of numbers or words.

What the columns mean is not decided here (`importing/tables/columns.py`). A text table may begin with comments (#) or
Excel's "sep=;", may be separated by tabs, semicolons, pipes, commas or blanks, and has decimal commas where the comma
does not separate. Empty cells, NaN, NA and null are not a number.
"""

import csv
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from jaxtyping import Float64, Int64

from marrow.errors import ParseError
from marrow.readers.text_file import MAX_TEXT_BYTES

# How a Parquet file begins.
PARQUET = b"PAR1"

MAX_COLUMNS = 20_000
# Numbers in a table, 1 GB of them: what Parquet packs into a few bytes may be more than fits.
MAX_NUMBERS = 1 << 27
# A row of so many columns is shorter, in characters.
_LONGEST_LINE = 1 << 20
# Rows that are looked at to tell headers and separators.
_FIRST_ROWS = 12
_SEPARATORS = ("\t", ";", "|", ",", " ")
_NOTHING = ["", "nan", "NaN", "NAN", "-nan", "na", "NA", "n/a", "N/A", "#N/A", "null", "NULL", "None", "none", "-"]
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_IS_NUMBER = re.compile(_NUMBER.replace(r"\.", r"[.,]"))


@dataclass(frozen=True)
class FirstRows:
    """The beginning of a text table.

    Args:
        separator: one of tab, semicolon, pipe, comma, blank.
        rows: its cells without blanks around them, those of the headers first.
        lines: 1-based line of each of them.
    """

    separator: str
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]


def is_number(cell: str) -> bool:
    """Tell whether a cell is a number, or says that there is none."""
    return cell in _NOTHING or _IS_NUMBER.match(cell) is not None


def first_rows(text: str) -> FirstRows | None:
    """Return the separator and the first rows of a text; None if it is no table of at least two columns.

    Args:
        text: the beginning of a file, its lines ended by LF.
    """
    lines: list[tuple[int, str]] = []
    comment: tuple[int, str] | None = None
    start = 0
    number = 0
    while start < len(text) and len(lines) < _FIRST_ROWS:
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line = text[start:end]
        start, number = end + 1, number + 1
        if not lines and line.lstrip().startswith("#"):
            comment = (number, line.lstrip().lstrip("#"))
        elif line.strip() and not (not lines and line.lower().startswith("sep=")):
            lines.append((number, line))
    if not lines:
        return None
    found = _best_separated(lines)
    if comment is not None and found is not None and all(is_number(cell) for cell in found.rows[0]):
        # NumPy writes the names of columns as a comment.
        with_comment = _separated([comment, *lines], found.separator)
        if with_comment is not None and len(with_comment.rows[0]) == len(found.rows[0]):
            return with_comment
    return found


def _best_separated(lines: Sequence[tuple[int, str]]) -> FirstRows | None:
    candidates = [found for sign in _SEPARATORS if (found := _separated(lines, sign)) is not None]
    alike = [found for found in candidates if len({len(row) for row in found.rows[:-1]}) <= 1]
    chosen = [found for found in alike if found.separator != " "] or alike or candidates
    return max(chosen, key=lambda found: len(found.rows[0]), default=None)


def _separated(lines: Sequence[tuple[int, str]], separator: str) -> FirstRows | None:
    if any(len(line) > _LONGEST_LINE for _, line in lines):
        return None
    try:
        rows = [_cells(line, separator) for _, line in lines]
    except csv.Error:
        return None
    if len(rows[0]) < 2 or len(rows[0]) > MAX_COLUMNS:
        return None
    return FirstRows(separator, tuple(rows), tuple(number for number, _ in lines))


def _cells(line: str, separator: str) -> tuple[str, ...]:
    line = " ".join(line.split()) if separator == " " else line
    return tuple(cell.strip() for cell in next(csv.reader([line], delimiter=separator), []))


@dataclass(frozen=True)
class TableFile:
    """The rows of a table below its headers.

    Args:
        path: of the file.
        values: its columns, as words where the file is text.
        lines: text of the file, by which lines are told; "" where it has none.
        first_line: line from which on rows are counted.
    """

    path: Path
    values: pa.Table
    lines: str
    first_line: int

    @property
    def row_count(self) -> int:
        """Return how many rows there are below the headers."""
        return self.values.num_rows

    def has_decimal_commas(self, columns: Sequence[int]) -> bool:
        """Tell whether numbers in some columns of the first rows are written with commas."""
        first = [self.values.column(column).slice(0, 100).to_pylist() for column in columns]
        return any(isinstance(cell, str) and "," in cell for cells in first for cell in cells)

    def numbers(self, column: int, name: str, largest: float = np.inf) -> Float64[np.ndarray, "row"]:
        """Return a column as numbers; not a number where a cell is empty or says so.

        Args:
            column: its place.
            name: of it, for messages.
            largest: numbers have to be below it.

        Raises:
            ParseError: a cell is something else.
        """
        cells: Any = self.values.column(column)
        try:
            if pa.types.is_dictionary(cells.type):
                cells = cells.cast(cells.type.value_type)
            if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
                numbers = _as_numbers(cells)
            elif pa.types.is_timestamp(cells.type):
                numbers = cells.cast(pa.timestamp("us"), safe=False).cast(pa.int64()).cast(pa.float64())
            else:
                numbers = cells.cast(pa.float64(), safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            row = _first_word(cells)
            got = "" if row is None else f", got {str(cells[row].as_py())[:60]!r}"
            problem = f"expected a number in column {column + 1} ({name!r}){got}"
            raise ParseError(self.path, self.line_of(row), problem) from error
        values = np.asarray(numbers.to_numpy(), np.float64)
        wrong = np.abs(values) >= largest  # not a number is not
        if wrong.any():
            row = int(wrong.argmax())
            problem = f"expected a finite number below {largest:g} in column {column + 1} ({name!r})"
            raise ParseError(self.path, self.line_of(row), f"{problem}, got {values[row]:g}")
        return values

    def words(self, column: int) -> tuple[tuple[str, ...], Int64[np.ndarray, "row"]]:
        """Return the words that a column has, in the order in which they first appear, and which each row has.

        An empty cell is the word "". Whole numbers are written without a point.
        """
        cells: Any = self.values.column(column)
        if pa.types.is_dictionary(cells.type):
            cells = cells.cast(cells.type.value_type)
        encoded = cells.combine_chunks().dictionary_encode()
        indices = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)
        words = [_word(value) for value in [*encoded.dictionary.to_pylist(), None]]
        if len(set(words)) < len(words):  # cells that differ by blanks alone, or "" beside null
            places = {word: place for place, word in enumerate(dict.fromkeys(words))}
            indices = np.array([places[word] for word in words], np.int64)[indices]
            words = list(places)
        used = np.bincount(indices, minlength=len(words)) > 0
        kept = [word for word, is_used in zip(words, used, strict=True) if is_used]
        return tuple(kept), (np.cumsum(used) - 1)[indices]

    def line_of(self, row: int | None) -> int:
        """Return the 1-based line of a row; 0 where the file has no lines."""
        if row is None or not self.lines:
            return 0
        for number, line in enumerate(self.lines.split("\n"), 1):
            if number >= self.first_line and line.strip():
                if row == 0:
                    return number
                row -= 1
        return 0


def _word(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return str(value).strip()


def _as_numbers(cells: Any) -> Any:
    try:
        return cells.cast(pa.float64())
    except pa.ArrowInvalid:
        trimmed = pc.utf8_trim_whitespace(cells)  # pyright: ignore[reportAttributeAccessIssue]
        trimmed = pc.replace_substring(trimmed, ",", ".")  # pyright: ignore[reportAttributeAccessIssue]
        nothing = pc.is_in(trimmed, value_set=pa.array(_NOTHING, trimmed.type))  # pyright: ignore[reportAttributeAccessIssue]
        return pc.if_else(nothing, None, trimmed).cast(pa.float64())  # pyright: ignore[reportAttributeAccessIssue]


def _first_word(cells: Any) -> int | None:
    """Return the first row that is no number."""
    for row, cell in enumerate(cells.to_pylist()):
        if isinstance(cell, str) and not is_number(cell.strip()):
            return row
    return None


def read_text_table(path: Path, text: str, header_count: int, numbers: Collection[int]) -> TableFile:
    """Read a text table.

    Args:
        path: of the file, for messages.
        text: of it.
        header_count: rows of names above its rows.
        numbers: columns that should hold numbers; where one does not, all are words.

    Raises:
        ParseError: a row has more or fewer columns than the names.
    """
    first = first_rows(text)
    if first is None:
        raise ParseError(path, 1, "expected a table of at least two columns with their names in the first row")
    columns = len(first.rows[0])
    last_header = first.lines[header_count - 1]
    body_start = 0
    for _ in range(last_header):
        body_start = text.find("\n", body_start) + 1 or len(text)
    separator, body = first.separator, text[body_start:]
    if separator == " ":
        separator, body = "\t", re.sub(r"(?m)^[ \t]+|[ \t]+$", "", body)
        body = re.sub(r"[ \t]+", "\t", body)
    first_row = [*first.rows[header_count:], ("",)][0]
    if len(first_row) == columns + 1 and not first_row[columns]:  # every row ends with a separator
        columns += 1
    if not body.strip():
        nothing = pa.table({str(column): pa.array([], pa.string()) for column in range(columns)})
        return TableFile(path, nothing, text, last_header + 1)
    content = body.encode("utf-8", "replace")
    try:
        try:
            values = _parsed(content, separator, columns, numbers)
        except pa.ArrowInvalid:  # decimal commas, or what is wrong is to be told with its place
            values = _parsed(content, separator, columns, ())
    except pa.ArrowInvalid as error:
        raise _uneven(path, text, last_header, first.separator, columns, error) from error
    return TableFile(path, values, text, last_header + 1)


def _parsed(content: bytes, separator: str, columns: int, numbers: Collection[int]) -> pa.Table:
    """Parse rows; columns are called by their places.

    Raises:
        pa.ArrowInvalid: a row has more or fewer columns, or something else than numbers where they should be.
    """
    types = {str(column): pa.float64() if column in numbers else pa.string() for column in range(columns)}
    return pyarrow.csv.read_csv(
        pa.BufferReader(content),
        read_options=pyarrow.csv.ReadOptions(
            column_names=list(types),
            use_threads=len(content) > 1 << 22,
            block_size=max(1 << 20, min(1 << 24, len(content))),
        ),
        parse_options=pyarrow.csv.ParseOptions(delimiter=separator),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types, null_values=_NOTHING, strings_can_be_null=True, check_utf8=False
        ),
    )


def _uneven(path: Path, text: str, last_header: int, separator: str, columns: int, error: Exception) -> ParseError:
    for number, line in enumerate(text.split("\n"), 1):
        if number <= last_header or not line.strip():
            continue
        if len(line) > _LONGEST_LINE:
            return ParseError(path, number, f"expected {columns} columns, got a line of {len(line):,} characters")
        try:
            got = len(_cells(line, separator))
        except csv.Error as problem:
            return ParseError(path, number, f"expected a row of {columns} columns: {problem}")
        if got != columns:
            hint = " (decimal commas in a table that commas separate?)" if separator == "," and got > columns else ""
            return ParseError(path, number, f"expected {columns} columns as in the first row, got {got}{hint}")
    return ParseError(path, 0, f"expected a table of {columns} columns: {str(error)[:200]}")


def parquet_names(path: Path) -> tuple[str, ...]:
    """Return the names of a Parquet file's columns.

    Raises:
        ParseError: it is damaged, or holds more than fits into memory.
    """
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names, rows = tuple(file.schema_arrow.names), file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ParseError(path, 0, f"expected a Parquet file: {str(error)[:200]}") from error
    if len(names) > MAX_COLUMNS or rows * len(names) > MAX_NUMBERS:
        raise ParseError(path, 0, f"expected fewer than {MAX_NUMBERS:,} cells, got {rows:,} rows of {len(names):,}")
    return names


def read_parquet(path: Path) -> TableFile:
    """Read a Parquet file.

    Raises:
        ParseError: it is damaged, or holds more than fits into memory.
    """
    parquet_names(path)
    if path.stat().st_size > 2 * MAX_TEXT_BYTES:
        raise ParseError(path, 0, f"expected at most {2 * MAX_TEXT_BYTES:,} bytes, got {path.stat().st_size:,}")
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            values = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ParseError(path, 0, f"expected a Parquet file: {str(error)[:200]}") from error
    return TableFile(path, values, "", 0)
