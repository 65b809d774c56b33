"""Frames per second of a table, by its column of times."""

import numpy as np
from jaxtyping import Int64

from marrow.importing.tables.poses import Poses
from marrow.importing.timestamps import mean_rate

UNEVEN = "the times of frames are not even: frames were taken as they come, at the median rate"
# In more of the steps than this a recording is uneven.
_UNEVEN_SHARE = 0.05

# What columns of time are called, by their unit in seconds; else their size tells.
_TIME_UNITS = (
    ("usec", 1e-6),
    ("_us", 1e-6),
    ("(us)", 1e-6),
    ("milli", 1e-3),
    ("msec", 1e-3),
    ("_ms", 1e-3),
    ("(ms)", 1e-3),
)
_TIME_SIZES = (
    (1.0, 1.0, ""),
    (1e3, 1e-3, "milliseconds"),
    (1e6, 1e-6, "microseconds"),
    (np.inf, 1e-9, "nanoseconds"),
)


def rate_of(poses: Poses, rows: Int64[np.ndarray, "of_clip"]) -> tuple[float | None, tuple[str, ...], str]:
    """Return frames per second by the times of frames, what is to be noted, and the unit that times were taken for."""
    if poses.times is None:
        return None, (), ""
    frames, first = np.unique(poses.frames[rows], return_index=True)
    times = poses.times[rows][first]
    if len(frames) < 2:
        return None, (), ""
    steps = np.diff(times) / np.diff(frames)
    step = float(np.median(steps))
    if not step > 0:
        return None, (UNEVEN,), ""
    name = poses.columns.names[poses.columns.rows["time"]].lower()
    unit, meant = next(((unit, "") for word, unit in _TIME_UNITS if word in name), (0.0, ""))
    if not unit:
        unit, meant = next((unit, meant) for most, unit, meant in _TIME_SIZES if step < most)
    uneven = np.mean(np.abs(steps - step) > 0.2 * step) > _UNEVEN_SHARE
    if uneven:
        return 1 / (step * unit), (UNEVEN,), meant
    return mean_rate(float(frames[-1] - frames[0]), float(times[-1] - times[0]) * unit), (), meant
