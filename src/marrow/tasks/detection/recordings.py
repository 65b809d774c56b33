"""Untrimmed recordings as a detector needs them: the class of every frame, the frames that count, and windows."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from marrow.data.recordings import Cuts, Recordings, sliding
from marrow.errors import DataError
from marrow.skeleton.sequence import Segment
from marrow.store.format import Store
from marrow.tasks.base import TaskData


def why_unsuited(data: TaskData) -> str | None:
    """Say which half of the data has no labelled segment; None where both have."""
    for half, rows in (("training", data.train_rows), ("test", data.test_rows)):
        if not any(data.store.segments(row) for row in rows.tolist()):
            return f"none of the {len(rows)} {half} clips has a labelled segment; it is for untrimmed recordings"
    return None


def training_recordings(data: TaskData) -> Recordings:
    """Return what may be learned from; data that is not for this task is an error."""
    reason = why_unsuited(data)
    if reason is not None:
        raise DataError(f"action detection is not for protocol {data.protocol!r}: {reason}")
    return Recordings.of(data.store, data.train_rows)


def labels_of(store: Store, recordings: Recordings, background: int) -> list[Int64[np.ndarray, " _frame"]]:
    """Return the class of every frame that may be learned from."""
    labels = []
    for row, frames in zip(recordings.row.tolist(), recordings.frame_count.tolist(), strict=True):
        segments = store.segments(row)
        wrong = [one for one in segments if not 0 <= one.label < background]
        if wrong:
            raise DataError(
                f"{store.ids[row]}: the labels of segments must lie in 0..{background - 1} (the store names "
                f"{background} classes), found {wrong[0].label}"
            )
        labels.append(frame_labels(segments, frames, background))
    return labels


def frame_labels(segments: Sequence[Segment], frame_count: int, background: int) -> Int64[np.ndarray, " frame"]:
    """Return the class of every frame, the background where no segment is; of segments that overlap, the later's."""
    labels = np.full(frame_count, background, np.int64)
    for segment in segments:
        labels[segment.start_frame : segment.end_frame] = segment.label
    return labels


def recorded_frames(store: Store, recordings: Recordings) -> list[Int64[np.ndarray, " _recorded"]]:
    """Return the frames of each recording that its source recorded."""
    frames = [store.recorded(int(row)) for row in recordings.row]
    return [
        np.arange(count) if one is None else one
        for one, count in zip(frames, recordings.frame_count.tolist(), strict=True)
    ]


def windows_of(recordings: Recordings, seconds: float, stride_seconds: float) -> Cuts:
    """Cover recordings, of whatever frame rates, with windows of one duration."""
    parts = []
    for rate in sorted(set(recordings.fps)):
        place = np.flatnonzero(np.array(recordings.fps) == rate)
        alike = Recordings(
            tuple(recordings.arrays[one] for one in place),
            recordings.row[place],
            (rate,) * len(place),
            recordings.skeleton,
        )
        cuts = sliding(alike, max(2, round(rate * seconds)), max(1, round(rate * stride_seconds)))
        parts.append(np.concatenate([place[cuts[:, :1]], cuts[:, 1:]], axis=1))
    return np.concatenate(parts)
