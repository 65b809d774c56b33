"""Tables of coordinates: CSV and its kin, and Parquet; a row per frame (wide) or a row per joint (long).

What columns are is told by their names (`importing/tables/columns.py`), or said by `--columns`. Rows of one frame and
person are one pose; a joint without a row, an empty cell and NaN are absent; numbers of frames that are missing in the
middle are frames without anybody. A column of clips or videos makes several recordings of a table.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Int64

from marrow.errors import ParseError
from marrow.importing.estimators.frame_numbers import in_order
from marrow.importing.estimators.people import Detections, to_recording
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
from marrow.importing.tables.columns import Columns, columns_of, header_count
from marrow.importing.tables.file import MAX_NUMBERS, PARQUET, first_rows, parquet_names
from marrow.importing.tables.poses import Poses, even_headers, poses_of
from marrow.importing.tables.rate import rate_of
from marrow.readers.base import SkipRecording

_PARQUET_SUFFIXES = (".parquet", ".pq", ".parq")
# A table of fewer joints is more likely something else: a mouse, two eyes.
_FEWEST_JOINTS = 3

_TWO_DIMENSIONS = Doubt("two coordinates per joint: taken for pixels of an image, y down", "--up y")


class Table:
    """Tables of joints' coordinates."""

    name: ClassVar[str] = "table"
    title: ClassVar[str] = "CSV, TSV and Parquet"

    def accepts(self, head: Head) -> bool:
        """Tell by names of columns that are coordinates of joints: a table of anything else, or of numbers, is none."""
        if head.content.startswith(PARQUET):
            return _is_parquet_of_poses(head)
        text = head.text
        if text is None or text.lstrip()[:1] in ("{", "[", "<"):
            return False
        if len(head.content) >= HEAD_BYTES and text.count("\n") > 1:
            text = text.rsplit("\n", 1)[0]
        first = first_rows(text)
        headers = () if first is None else first.rows[: header_count(first.rows)]
        return len(headers) > 0 and _has_poses(head.path, even_headers(headers))

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Return each file as a source of its own."""
        return one_by_one(files)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say which joints and which recordings a table has; it is read for that.

        Raises:
            ParseError: it is no table of joints' coordinates.
            ConfigError: a column that is told is not there.
        """
        poses = poses_of(source.path, options)
        columns = poses.columns
        is_flat = columns.dimensions == 2
        rows = next(iter(poses.by_clip.values()))
        fps, _, clock = rate_of(poses, rows)
        order = in_order(source.path, poses.frames[rows].tolist())
        fps = None if fps is None else fps / order.stride
        doubts = [*([_TWO_DIMENSIONS] if is_flat else []), *order.doubts]
        if clock:
            doubts.append(Doubt(f"times were taken for {clock}, by their size", "--fps RATE"))
        if poses.has_commas:
            doubts.append(Doubt("numbers have decimal commas"))
        return Contents(
            clips=tuple(_entry(poses, clip) for clip in poses.clips),
            joint_count=poses.positions.shape[1],
            joints=poses.joints,
            dimensions=2 if is_flat else 3,
            fps=fps if len(poses.clips) == 1 else None,
            unit_metres=0.0 if is_flat else columns.unit_metres,
            up="-y" if is_flat else None,
            software=_software(columns),
            left_out=columns.left_out,
            doubts=tuple(doubts),
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read one of the recordings.

        Raises:
            ParseError: it is no table of joints' coordinates, or has no recording of this key.
            SkipRecording: nobody is seen.
        """
        poses = poses_of(source.path, options)
        clip = key if key or len(poses.clips) > 1 else next(iter(poses.clips))
        if clip not in poses.by_clip:
            raise ParseError(source.path, 0, f"expected rows of the recording {key!r}, got none")
        rows = poses.by_clip[clip]
        fps, notes, _ = rate_of(poses, rows)
        order = in_order(source.path, poses.frames[rows].tolist())
        fps = None if fps is None else fps / order.stride
        numbers, places = np.unique(poses.frames[rows], return_inverse=True)
        frames = np.array([order.index[number] for number in numbers.tolist()], np.int64)[places.reshape(-1)]
        positions = poses.positions[rows]
        confidence = None if poses.confidence is None else poses.confidence[rows]
        notes = (*order.notes, *notes)
        if poses.people is None:
            if not np.isfinite(positions).all(axis=-1).any():
                raise SkipRecording(f"nobody is seen in any of its {order.count} frames")
            if order.count * positions[0].size > 2 * MAX_NUMBERS:
                raise ParseError(source.path, 0, f"expected a recording of fewer frames, got {order.count:,}")
            return _single(frames, positions, confidence, order.count, fps, notes)
        ids = tuple(poses.names[person] or None for person in poses.people[rows].tolist())
        people = Detections(frames, positions, confidence, ids, order.count)
        recording = to_recording(source.path, people, fps=fps, follow=options.follow)
        return replace(recording, notes=(*notes, *recording.notes))


def _is_parquet_of_poses(head: Head) -> bool:
    try:
        names = parquet_names(head.path)
    except ParseError:  # damaged: reading says so
        return head.suffix in _PARQUET_SUFFIXES
    return _has_poses(head.path, [names])


def _has_poses(path: Path, headers: Sequence[Sequence[str]]) -> bool:
    try:
        columns = columns_of(path, headers, None)
    except ParseError:
        return False
    if columns.is_long:  # names with x and y alone are towns on a map
        return bool({"frame", "time"} & columns.rows.keys())
    return len(columns.joints) >= _FEWEST_JOINTS


def _software(columns: Columns) -> str:
    return "DeepLabCut" if "bodyparts" in columns.names[0] else ""


def _entry(poses: Poses, clip: str) -> ClipEntry:
    return ClipEntry(clip if len(poses.clips) > 1 else "", poses.labels.get(clip))


def _single(
    frames: Int64[np.ndarray, "row"],
    positions: Float32[np.ndarray, "row joint dimension"],
    confidence: Float32[np.ndarray, "row joint"] | None,
    frame_count: int,
    fps: float | None,
    notes: tuple[str, ...],
) -> Recording:
    """Lay the poses of one person out by frame."""
    laid = np.full((1, frame_count, *positions.shape[1:]), np.nan, np.float32)
    laid[0, frames] = positions
    sure = None
    if confidence is not None:
        sure = np.zeros((1, frame_count, positions.shape[1]), np.float32)
        sure[0, frames] = confidence
    return Recording(laid, sure, fps, notes)
