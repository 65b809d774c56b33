"""What a detector says of the frames of a long recording: windows out of it, what is made of their scores, segments.

The same as `marrow predict --segments` computes; what is NumPy there is from here.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from marrow.errors import ConfigError
from marrow.runtime.description import Description
from marrow.runtime.prepare import Inputs, prepare, readable


class Segment(NamedTuple):
    """A run of frames of one class.

    Args:
        start_seconds: where it begins.
        end_seconds: where it ends.
        name: of the class.
        probability: of the class, its mean over the frames.
    """

    start_seconds: float
    end_seconds: float
    name: str
    probability: float


def frame_probability(
    motion: Any, name: str, description: Description, run: Callable[[Inputs], np.ndarray], batch_clips: int
) -> Float64[np.ndarray, "frame class"]:
    """Return the probability of each class, the background last, in each frame of a recording.

    Args:
        motion: a `Motion` or a `marrow.SkeletonSequence`.
        name: of the recording, for messages.
        description: of a detector.
        run: returns its scores, one row per step of its time axis: [window step class].
        batch_clips: windows that are computed at a time.
    """
    assert description.detector is not None
    sequence = readable(motion, name, description)
    frames, fps = sequence.frame_count, sequence.fps
    length = min(max(2, round(fps * description.detector["window_seconds"])), frames)
    starts = window_starts(frames, length, max(1, round(fps * description.detector["stride_seconds"])))
    windows = [
        replace(
            sequence,
            joints=sequence.joints[:, start : start + length],
            present=sequence.present[:, start : start + length],
            segments=(),
            recorded=None,
        )
        for start in starts
    ]
    whole = replace(description, input={**description.input, "test_crop": 1.0})
    # A window knows its middle best.
    weight = np.minimum(np.arange(length) + 0.5, length - np.arange(length) - 0.5)[:, None]
    total, weights = np.zeros((frames, len(description.classes) + 1)), np.zeros((frames, 1))
    for first in range(0, len(windows), batch_clips):
        scores = run(prepare(windows[first : first + batch_clips], whole))
        exact = np.exp((spread := spread_evenly(scores, length)) - spread.max(2, keepdims=True))
        for start, values in zip(starts[first:], exact / exact.sum(2, keepdims=True), strict=False):
            total[start : start + length] += weight * values
            weights[start : start + length] += weight
    mean = total / weights
    mean[~sequence.present.any((0, 2))] = np.eye(mean.shape[1])[-1]
    return mean


def segments_of(
    probability: Float64[np.ndarray, "frame class"], fps: float, classes: Sequence[str], smoothing_frames: int
) -> list[Segment]:
    """Return runs of frames whose most probable class is the same, without the background, in order.

    Args:
        probability: of each class, the background last, in each frame.
        fps: frames per second.
        classes: names, without the background.
        smoothing_frames: probabilities are averaged over so many frames to either side before.
    """
    smoothed = smooth(probability, smoothing_frames)
    return [
        Segment(start / fps, end / fps, classes[label], float(smoothed[start:end, label].mean()))
        for start, end, label in runs(smoothed.argmax(axis=1))
        if label < len(classes)
    ]


def window_starts(frames: int, length: int, stride: int) -> list[int]:
    """Return where windows begin that cover every frame: at equal distances, and the last one at the end."""
    starts = list(range(0, frames - length + 1, stride))
    if not starts or starts[-1] + length < frames:
        starts.append(max(0, frames - length))
    return starts


def spread_evenly(
    scores: Float[np.ndarray, "window step class"], length: int
) -> Float64[np.ndarray, "window frame class"]:
    """Spread what is said of time steps over the frames of a window, linearly in between.

    Step i of T lies in the middle of the i-th of T equal parts of the window, and a frame in its own middle: frame f of
    L is at (f + 1/2) T / L - 1/2, held at the first and the last step.
    """
    steps = scores.shape[1]
    position = np.clip((np.arange(length) + 0.5) * (steps / length) - 0.5, 0.0, steps - 1.0)
    lower = np.floor(position).astype(np.int64)
    low, high = (scores[:, place].astype(np.float64) for place in (lower, np.minimum(lower + 1, steps - 1)))
    return low + (position - lower)[:, None] * (high - low)


def smooth(probability: Float64[np.ndarray, "frame class"], reach: int) -> Float64[np.ndarray, "frame class"]:
    """Average each frame with the `reach` frames on either side of it, or with as many as there are."""
    if reach < 0:
        raise ConfigError(f"a mean over frames reaches 0 or more frames to either side, got {reach}")
    frames, sums = np.arange(len(probability)), sums_before(probability)
    first, after = np.maximum(frames - reach, 0), np.minimum(frames + reach + 1, len(probability))
    return (sums[after] - sums[first]) / (after - first)[:, None]


def sums_before(probability: Float64[np.ndarray, "frame class"]) -> Float64[np.ndarray, "frame_1 class"]:
    """Return sums over all frames before each, so that a difference of two is the sum over an interval."""
    return np.concatenate([np.zeros((1, probability.shape[1])), np.cumsum(probability, axis=0)])


def runs(values: Int64[np.ndarray, " frame"] | Bool[np.ndarray, " frame"]) -> list[tuple[int, int, int]]:
    """Return (start, end, value) of every longest stretch of one value, in order."""
    if len(values) == 0:
        return []
    bounds = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1, [len(values)]])
    return [(int(start), int(end), int(values[start])) for start, end in pairwise(bounds)]
