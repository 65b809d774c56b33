"""Frames by their timestamps: which rate that is, in which unit, and where frames are missing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from marrow.importing.recording import Doubt

UNEVEN = "frames are not evenly spaced in time: they were taken as if they were"
MISSING = "frames that are missing by their timestamps were taken for frames without anybody"
NOT_ASCENDING = "timestamps do not always go up: frames were taken in the order of the file"

# Seconds of a unit, by how a timestamp's name ends.
_UNITS = (
    (re.compile(r"(ms|milli\w*)$", re.IGNORECASE), 1e-3),
    (re.compile(r"(us|micro\w*)$", re.IGNORECASE), 1e-6),
    (re.compile(r"(ns|nano\w*)$", re.IGNORECASE), 1e-9),
    (re.compile(r"(secs?|seconds|_s)$", re.IGNORECASE), 1.0),
)
# A step that is off by more than this share of the usual one is uneven.
_UNEVEN_SHARE = 0.25
# So many frames to put in for each that is there are no gap any more.
_GAPS_PER_FRAME = 100
_ROUNDING = 2e-3
# The rate of a usual step and that of the whole recording are one, up to rounding.
_NEAR = 0.03
_GAPS_AT_LEAST = 1000


@dataclass(frozen=True)
class Timing:
    """What timestamps say of frames.

    Args:
        fps: frames per second; None if they do not say it.
        numbers: of each frame, from 0, those that are missing left out.
        notes: what was mended.
        doubts: what was taken for something that it may not be.
    """

    fps: float | None
    numbers: tuple[int, ...]
    notes: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()


def timing_of(stamps: Sequence[float], name: str) -> Timing:
    """Return rate and numbers of frames by their timestamps.

    Args:
        stamps: one per frame, finite, in the order of the file.
        name: what they are called, which may say their unit; else their size does.
    """
    numbers = tuple(range(len(stamps)))
    steps: Float64[np.ndarray, "step"] = np.diff(np.asarray(stamps, np.float64))
    ascending = steps[steps > 0]
    if not len(ascending):
        return Timing(None, numbers)
    usual = float(np.median(ascending))
    unit = next((seconds for pattern, seconds in _UNITS if pattern.search(name)), None)
    doubts = ()
    if unit is None:
        unit, called = _unit_by_size(usual)
        text = f"timestamps {name!r} go up by {usual:g}: taken for {called}, {1 / (usual * unit):.4g} frames per second"
        doubts = (Doubt(text, "--fps RATE"),)
    fps = 1 / (usual * unit)
    if len(ascending) < len(steps):
        return Timing(fps, numbers, (NOT_ASCENDING,), doubts)
    frames = np.maximum(np.round(steps / usual), 1)
    mean = mean_rate(float(frames.sum()), float(stamps[-1] - stamps[0]) * unit)
    fps = mean if abs(mean - fps) < _NEAR * fps else fps
    notes = ()
    if (np.abs(steps / usual - frames) > _UNEVEN_SHARE).any():
        notes = (UNEVEN,)
    if (frames > 1).any() and frames.sum() <= _GAPS_PER_FRAME * len(stamps) + _GAPS_AT_LEAST:
        notes = (*notes, MISSING)
        numbers = (0, *np.cumsum(frames).astype(np.int64).tolist())
    return Timing(fps, numbers, notes, doubts)


def mean_rate(frames: float, seconds: float) -> float:
    """Return frames per second over a whole recording: times are rounded, which a step of 0.033 s shows most.

    A rate that is a whole number to two thousandths is that.
    """
    rate = frames / seconds
    return float(round(rate)) if abs(round(rate) - rate) < _ROUNDING * rate else rate


def _unit_by_size(step: float) -> tuple[float, str]:
    """Return a unit in seconds, and its name, by a usual step: more than one and fewer than 1,000 frames a second."""
    if step < 1:
        return 1.0, "seconds"
    if step < 1e3:
        return 1e-3, "milliseconds"
    return (1e-6, "microseconds") if step < 1e6 else (1e-9, "nanoseconds")
