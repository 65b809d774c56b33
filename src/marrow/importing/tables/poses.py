"""The poses in a table: rows and columns put together by recording, frame, person and joint.

Rows of one frame and person are one pose. What is absent is not a number; what is there twice, or is no number where
one should be, is an error with its line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int64

from marrow.errors import ParseError, setting
from marrow.importing.estimators.frame_numbers import number_in, stamp
from marrow.importing.recording import ReadOptions
from marrow.importing.tables.columns import Columns, check_roles, columns_of, header_count
from marrow.importing.tables.file import (
    PARQUET,
    TableFile,
    first_rows,
    is_number,
    parquet_names,
    read_parquet,
    read_text_table,
)
from marrow.readers.text_file import read_text

_MAX_JOINTS = 2000
_MAX_CLIPS = 200_000
_LARGEST = 1e6
# Of a table's joints in all frames, so many may be absent for each that is there.
_ABSENT_PER_CELL = 64
_ABSENT_AT_LEAST = 1_000_000
_LARGEST_FRAME = 1e15


@dataclass(frozen=True, eq=False)
class Poses:
    """A table's poses, one row for each person in each frame of each recording.

    Args:
        columns: what its columns are.
        joints: names; None where they are numbers.
        clips: keys of its recordings.
        names: of people.
        clip: of each row, as an index into `clips`.
        frames: number of each row's frame.
        times: as the file has them, or None.
        people: of each row, as an index into `names`; None where nobody is named.
        positions: not a number where a joint is absent.
        confidence: zero where a joint is absent; None where the file has none.
        labels: by key of a clip, where the file says them.
        has_commas: whether numbers are written with decimal commas.
    """

    columns: Columns
    joints: tuple[str, ...] | None
    clips: tuple[str, ...]
    names: tuple[str, ...]
    clip: Int64[np.ndarray, "row"]
    frames: Int64[np.ndarray, "row"]
    times: Float64[np.ndarray, "row"] | None
    people: Int64[np.ndarray, "row"] | None
    positions: Float32[np.ndarray, "row joint dimension"]
    confidence: Float32[np.ndarray, "row joint"] | None
    labels: Mapping[str, str]
    has_commas: bool = False

    @cached_property
    def by_clip(self) -> dict[str, Int64[np.ndarray, "of_clip"]]:
        """Return the rows of each recording, in the order of its frames."""
        order = np.lexsort((self.frames, self.clip))
        starts = np.searchsorted(self.clip[order], np.arange(1, len(self.clips)))
        return dict(zip(self.clips, np.split(order, starts), strict=True))


def even_headers(headers: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return headers of one length, without columns at the end that no row names."""
    columns = max((len(row) for row in headers), default=0)
    rows = [(*row, *("",) * (columns - len(row))) for row in headers]
    while columns > 2 and not any(row[columns - 1] for row in rows):
        columns -= 1
    return [row[:columns] for row in rows]


def poses_of(path: Path, options: ReadOptions) -> Poses:
    """Read a table.

    Raises:
        ParseError: it is no table of joints' coordinates.
        ConfigError: a column that is told is not there.
    """
    check_roles(options.columns)
    return _cached_poses(path, *stamp(path), tuple(sorted((options.columns or {}).items())))


# The recordings of a table are read one after the other.
@lru_cache(maxsize=1)
def _cached_poses(path: Path, _changed: int, _size: int, told: tuple[tuple[str, str], ...]) -> Poses:
    table, columns = _open(path, dict(told) or None)
    if not table.row_count:
        raise ParseError(path, 0, "expected rows of numbers below the names of columns, got none")
    return _long_poses(table, columns) if columns.is_long else _wide_poses(table, columns)


def _open(path: Path, told: Mapping[str, str] | None) -> tuple[TableFile, Columns]:
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == PARQUET
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error
    if is_parquet:
        columns = columns_of(path, [parquet_names(path)], told)
        return read_parquet(path), columns
    text = read_text(path)
    first = first_rows(text)
    count = 0 if first is None else header_count(first.rows)
    if first is None or not count:
        got = "" if first is None else f"; got {', '.join(first.rows[0][:6])[:80]!r}"
        problem = "expected a table whose first row has the names of columns (frame, head_x, head_y, ...)"
        raise ParseError(path, 1 if first is None else first.lines[0], problem + got)
    count = min(count, len(first.rows))
    headers = first.rows[:count]
    for line, row in zip(first.lines, headers, strict=False):
        if len(row) != len(headers[0]):
            raise ParseError(path, line, f"expected {len(headers[0])} columns as in the first row, got {len(row)}")
    trimmed = even_headers(headers)
    columns = columns_of(path, trimmed, told)
    table = read_text_table(path, text, count, columns.numbers)
    width = len(columns.names)
    if any(table.values.column(at).null_count < table.row_count for at in range(width, table.values.num_columns)):
        problem = f"expected a name of each column, column {width + 1} has none. Name it in the first row"
        raise ParseError(path, first.lines[0], problem)
    return table, columns


def _codes(table: TableFile, columns: Columns, role: str) -> tuple[tuple[str, ...], Int64[np.ndarray, "row"]] | None:
    if role not in columns.rows:
        return None
    words, codes = table.words(columns.rows[role])
    if role == "clip" and len(words) > _MAX_CLIPS:
        raise ParseError(table.path, 0, f"expected at most {_MAX_CLIPS:,} recordings, got {len(words):,}")
    return words, codes


def _frames(
    table: TableFile, columns: Columns
) -> tuple[Int64[np.ndarray, "row"] | None, Float64[np.ndarray, "row"] | None]:
    """Return the number of each row's frame and its time, as far as the table has them."""
    frames = times = None
    if "time" in columns.rows:
        times = table.numbers(columns.rows["time"], columns.names[columns.rows["time"]])
        if np.isnan(times).any():
            line = table.line_of(int(np.isnan(times).argmax()))
            raise ParseError(table.path, line, "expected a time in each row, got an empty cell")
    if "frame" in columns.rows:
        frames = _frame_numbers(table, columns.rows["frame"], columns.names[columns.rows["frame"]])
    return frames, times


def _frame_numbers(table: TableFile, column: int, name: str) -> Int64[np.ndarray, "row"]:
    words, which = table.words(column)
    if not all(is_number(word) for word in words):
        numbers = [number_in(word.replace("\\", "/").rsplit("/", 1)[-1])[1] for word in words]  # names of images
        if None in numbers:
            at = numbers.index(None)
            row = int((which == at).argmax())
            problem = f"expected the number of a frame in column {column + 1} ({name!r}), got {words[at][:60]!r}"
            raise ParseError(table.path, table.line_of(row), problem)
        return np.array(numbers, np.int64)[which]
    values = table.numbers(column, name, _LARGEST_FRAME)
    wrong = ~(np.isfinite(values) & (values == np.round(values)))
    if wrong.any():
        row = int(wrong.argmax())
        problem = f"expected the whole number of a frame in column {column + 1} ({name!r}), got {values[row]:g}"
        raise ParseError(table.path, table.line_of(row), problem)
    return values.astype(np.int64)


def _wide_poses(table: TableFile, columns: Columns) -> Poses:
    bodies, joint_count = len(columns.bodies), len(columns.joints)
    if joint_count > _MAX_JOINTS:
        raise ParseError(table.path, 1, f"expected at most {_MAX_JOINTS} joints, got {joint_count:,}")
    clips = _codes(table, columns, "clip")
    people = _codes(table, columns, "person")
    frames, times = _frames(table, columns)
    rows = table.row_count
    clip = np.zeros(rows, np.int64) if clips is None else clips[1]
    if frames is None:
        frames = _ranks(clip, times) if times is not None and people is not None else _counted(clip)
    _check_once(table, [clip, frames, *([people[1]] if people is not None else [])], "frame")
    positions = np.empty((rows, bodies, joint_count, columns.dimensions), np.float32)
    confidence = np.ones((rows, bodies, joint_count), np.float32) if columns.has_confidence else None
    for body in range(bodies):
        for joint in range(joint_count):
            for axis, column in enumerate(columns.coordinates[body][joint]):
                positions[:, body, joint, axis] = table.numbers(column, columns.names[column], _LARGEST)
            sure = columns.confidence[body][joint]
            if confidence is not None and sure is not None:
                confidence[:, body, joint] = table.numbers(sure, columns.names[sure], _LARGEST)
    numbered = tuple(range(joint_count))
    joints: tuple[str, ...] | None = columns.joints
    if all(joint.isdecimal() for joint in columns.joints):
        numbered, joints = tuple(sorted(numbered, key=lambda joint: int(columns.joints[joint]))), None
    names = columns.bodies if bodies > 1 else people[0] if people is not None else ()
    if bodies > 1:
        clip, frames = np.repeat(clip, bodies), np.repeat(frames, bodies)
        times = None if times is None else np.repeat(times, bodies)
        of_row: Int64[np.ndarray, "row"] | None = np.tile(np.arange(bodies), rows)
    else:
        of_row = None if people is None else people[1]
    positions = positions.reshape(-1, joint_count, columns.dimensions)[:, list(numbered)]
    if confidence is not None:
        confidence = confidence.reshape(-1, joint_count)[:, list(numbered)]
    positions, confidence = _absent(positions, confidence)
    first = columns.coordinates[0]
    return Poses(
        columns=columns,
        joints=joints,
        clips=("",) if clips is None else clips[0],
        names=names,
        clip=clip,
        frames=frames,
        times=times,
        people=of_row,
        positions=positions,
        confidence=confidence,
        labels=_labels(table, columns, clips),
        has_commas=table.has_decimal_commas([column for joint in first[:3] for column in joint]),
    )


def _long_poses(table: TableFile, columns: Columns) -> Poses:
    clips = _codes(table, columns, "clip")
    people = _codes(table, columns, "person")
    words, joint = table.words(columns.rows["joint"])
    frames, times = _frames(table, columns)
    clip = np.zeros(table.row_count, np.int64) if clips is None else clips[1]
    if frames is None:
        if times is None:
            raise ParseError(
                table.path,
                1,
                f"expected a column with the numbers of frames (frame) or times; {setting('columns')} says which it is",
            )
        frames = _ranks(clip, times)
    if "" in words:
        row = int((joint == words.index("")).argmax())
        raise ParseError(table.path, table.line_of(row), "expected the name of a joint in each row, got an empty cell")
    if len(words) > _MAX_JOINTS:
        raise ParseError(table.path, 0, f"expected at most {_MAX_JOINTS} joints, got {len(words):,}")
    person = np.zeros(table.row_count, np.int64) if people is None else people[1]
    _check_once(table, [clip, frames, person, joint], "joint of a frame and person")
    pose, pose_rows = _grouped([clip, frames, person])
    joints, order = _joint_order(words, joint, pose, len(pose_rows))
    joint, count = order[joint], int(order.max()) + 1
    if len(pose_rows) * count > _ABSENT_PER_CELL * table.row_count + _ABSENT_AT_LEAST:
        problem = f"expected joints that come again in every frame, got {count:,} joints in {table.row_count:,} rows"
        raise ParseError(table.path, 0, problem)
    positions = np.full((len(pose_rows), count, columns.dimensions), np.nan, np.float32)
    for axis, word in enumerate("xyz"[: columns.dimensions]):
        column = columns.rows[word]
        positions[pose, joint, axis] = table.numbers(column, columns.names[column], _LARGEST)
    confidence = None
    if "confidence" in columns.rows:
        column = columns.rows["confidence"]
        confidence = np.zeros((len(pose_rows), count), np.float32)
        confidence[pose, joint] = table.numbers(column, columns.names[column], _LARGEST)
    positions, confidence = _absent(positions, confidence)
    return Poses(
        columns=columns,
        joints=joints,
        clips=("",) if clips is None else clips[0],
        names=() if people is None else people[0],
        clip=clip[pose_rows],
        frames=frames[pose_rows],
        times=None if times is None else times[pose_rows],
        people=None if people is None else people[1][pose_rows],
        positions=positions,
        confidence=confidence,
        labels=_labels(table, columns, clips),
        has_commas=table.has_decimal_commas([columns.rows[word] for word in ("x", "y")]),
    )


def _absent(
    positions: Float32[np.ndarray, "row joint dimension"], confidence: Float32[np.ndarray, "row joint"] | None
) -> tuple[Float32[np.ndarray, "row joint dimension"], Float32[np.ndarray, "row joint"] | None]:
    """Make joints absent that lack a coordinate, and those without a confidence unsure."""
    absent = np.isnan(positions).any(axis=-1)
    positions[absent] = np.nan
    if confidence is not None:
        confidence = np.where(absent, 0, np.nan_to_num(confidence, nan=0.0)).astype(np.float32)
    return positions, confidence


def _grouped(keys: Sequence[Int64[np.ndarray, "row"]]) -> tuple[Int64[np.ndarray, "row"], Int64[np.ndarray, "group"]]:
    """Return which group of equal keys each row is in, and the first row of each, in the order of the keys."""
    groups = np.zeros(len(keys[0]), np.int64)
    first = np.zeros(1, np.int64)
    for key in keys:
        codes = np.unique(key, return_inverse=True)[1].reshape(-1)
        _, first, groups = np.unique(groups * (codes.max() + 1) + codes, return_index=True, return_inverse=True)
        groups = groups.reshape(-1)
    return groups, first


def _check_once(table: TableFile, keys: Sequence[Int64[np.ndarray, "row"]], what: str) -> None:
    groups, first = _grouped(keys)
    if len(first) < len(groups):
        again = np.ones(len(groups), np.bool_)
        again[first] = False
        row = int(again.argmax())
        frame = int(keys[1][row])
        hint = "" if "person" in what else f". Is a column of people or clips called otherwise? {setting('columns')}"
        raise ParseError(table.path, table.line_of(row), f"expected each {what} once, got frame {frame} again{hint}")


def _joint_order(
    words: tuple[str, ...], joint: Int64[np.ndarray, "row"], pose: Int64[np.ndarray, "row"], pose_count: int
) -> tuple[tuple[str, ...] | None, Int64[np.ndarray, "word"]]:
    """Return names of the joints in order, None where they are numbers, and the place of each word in them.

    Numbers are in their order; words in that of the first pose that has all, or else in that of the file.
    """
    if all(word.isdecimal() and len(word) < 6 for word in words):
        numbers = np.array([int(word) for word in words], np.int64)
        lowest = 0 if numbers.min() == 0 else 1
        if numbers.max() - lowest + 1 <= 2 * len(words):
            return None, numbers - lowest
        return None, np.argsort(np.argsort(numbers))
    whole = np.flatnonzero(np.bincount(pose, minlength=pose_count) == len(words))
    order = joint[pose == whole[0]] if len(whole) else np.arange(len(words))
    places = np.empty(len(words), np.int64)
    places[order] = np.arange(len(words))
    return tuple(words[at] for at in order), places


def _counted(clip: Int64[np.ndarray, "row"]) -> Int64[np.ndarray, "row"]:
    """Number the rows of each recording as they come."""
    order = np.argsort(clip, kind="stable")
    _, starts, counts = np.unique(clip[order], return_index=True, return_counts=True)
    numbers = np.empty(len(clip), np.int64)
    numbers[order] = np.arange(len(clip)) - np.repeat(starts, counts)
    return numbers


def _ranks(clip: Int64[np.ndarray, "row"], times: Float64[np.ndarray, "row"]) -> Int64[np.ndarray, "row"]:
    """Number the times of each recording."""
    ranks = np.unique(times, return_inverse=True)[1].reshape(-1).astype(np.int64)
    groups, first = _grouped([clip, ranks])
    return _counted(clip[first])[groups]


def _labels(
    table: TableFile, columns: Columns, clips: tuple[tuple[str, ...], Int64[np.ndarray, "row"]] | None
) -> dict[str, str]:
    """Return the label of each recording that has one throughout."""
    found = _codes(table, columns, "label")
    if found is None:
        return {}
    names, of_clip = clips if clips is not None else (("",), np.zeros(table.row_count, np.int64))
    _, first = _grouped([of_clip, found[1]])
    kinds = np.bincount(of_clip[first], minlength=len(names))
    labels = {names[of_clip[row]]: found[0][found[1][row]] for row in first.tolist() if kinds[of_clip[row]] == 1}
    return {name: label for name, label in labels.items() if label}
