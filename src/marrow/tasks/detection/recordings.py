"""Untrimmed recordings as a detector needs them: the class of every frame, windows, and the actions reordered."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Int64

from marrow.data.frames import ClipArrays
from marrow.data.recordings import Cuts, Recordings, sliding
from marrow.errors import DataError
from marrow.skeleton.layout import Skeleton
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
        wrong = [segment for segment in segments if not 0 <= segment.label < background]
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
        np.arange(count) if recorded is None else recorded
        for recorded, count in zip(frames, recordings.frame_count.tolist(), strict=True)
    ]


def windows_of(recordings: Recordings, seconds: float, stride_seconds: float) -> Cuts:
    """Cover recordings, of whatever frame rates, with windows of one duration."""
    parts = []
    for rate in sorted(set(recordings.fps)):
        place = np.flatnonzero(np.array(recordings.fps) == rate)
        alike = Recordings(
            tuple(recordings.arrays[number] for number in place),
            recordings.row[place],
            (rate,) * len(place),
            recordings.skeleton,
        )
        cuts = sliding(alike, max(2, round(rate * seconds)), max(1, round(rate * stride_seconds)))
        parts.append(np.concatenate([place[cuts[:, :1]], cuts[:, 1:]], axis=1))
    return np.concatenate(parts)


def reordered(
    clip: ClipArrays,
    segments: Sequence[Segment],
    recorded: Int64[np.ndarray, " recorded"],
    rng: np.random.Generator,
    skeleton: Skeleton,
) -> tuple[ClipArrays, list[Segment], Int64[np.ndarray, " recorded"]]:
    """Put the actions of a recording into another order.

    It is cut in the middle between neighbouring segments, so that each brings half of the background on either side
    along. A piece is moved to where the one before it ends, along the ground: height is part of a pose.

    Args:
        clip: positions in metres and flags.
        segments: its actions.
        recorded: frames that its source recorded.
        rng: draws the order.
        skeleton: its centre is what shall not jump, or its first joint where that is not known.

    Returns:
        The same of the recording in its new order.
    """
    joints, present = (np.asarray(part) for part in clip)
    centre, level = skeleton.anchors.get("centre", 0), 1.0 - np.eye(3, dtype=np.float32)["xyz".index(skeleton.up)]
    ordered = sorted(segments, key=lambda segment: (segment.start_frame, segment.end_frame))
    between = [(earlier.end_frame + later.start_frame) // 2 for earlier, later in pairwise(ordered)]
    bounds = [0, *between, present.shape[1]]
    is_recorded = np.isin(np.arange(present.shape[1]), recorded)

    parts, flags, scored, moved, begin, here = [], [], [], [], 0, None
    for piece in rng.permutation(len(ordered)).tolist():
        start, end = bounds[piece], bounds[piece + 1]
        part = joints[:, start:end].copy()
        seen = np.argwhere(present[:, start:end, centre].T)
        if len(seen):
            if here is not None:
                part += level * (here - part[seen[0, 1], seen[0, 0], centre]) * present[:, start:end, :, None]
            here = part[seen[-1, 1], seen[-1, 0], centre]
        parts.append(part)
        flags.append(present[:, start:end])
        scored.append(is_recorded[start:end])
        own = ordered[piece]
        first, after = max(own.start_frame, start), min(own.end_frame, end)
        if after > first:
            moved.append(Segment(begin + first - start, begin + after - start, own.label))
        begin += end - start
    return (np.concatenate(parts, 1), np.concatenate(flags, 1)), moved, np.flatnonzero(np.concatenate(scored))
