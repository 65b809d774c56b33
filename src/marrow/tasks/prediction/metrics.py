"""Scores of forecasts: how far joints are from where they went, in millimetres. Pure functions of arrays.

MPJPE (mean per-joint position error) at one horizon is the mean over windows of the mean over joints of the distance
between forecast and truth, in the one frame that lies so many milliseconds after the last observed one. Joints that are
absent in the truth are left out of their window's mean. There are two of it:

- global: positions as they are, so that the way of the body through the room counts;
- root-centred: of both sides, in every frame, the skeleton's centre joint is subtracted first, so that the posture
  (and the direction in which it faces) is left. The centre itself stays among the joints, with an error of zero, as in
  the protocol of Human3.6M; where it is absent, the body is left out of that frame.

That protocol (Martinez et al., CVPR 2017; Mao et al., "Learning Trajectory Dependencies", ICCV 2019) is the second half
of this file: which windows, which of the 32 joints are forecast, and what stands for the others.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from marrow.errors import ConfigError, DataError
from marrow.tasks.numbers import About, Quantity

HORIZONS_MS = (80, 160, 320, 400, 560, 720, 880, 1000)
MEASURES = {"global": "mpjpe", "root_centred": "mpjpe_root"}
_COLUMNS_MS = (80, 160, 320, 400, 560, 1000)
_HEADLINES = tuple(f"mpjpe_{horizon}ms_mm" for horizon in (400, 320, 160, 80))
ABOUT = About(
    "motion_prediction",
    "Motion prediction",
    plot="curves",
    columns=tuple(f"{name}_{horizon}ms_mm" for name in MEASURES.values() for horizon in _COLUMNS_MS),
    drawn=_HEADLINES,
    headline=_HEADLINES,
    lead="Mean distance of joints from where they went, so many milliseconds after the last frame that was seen; the "
    "lower, the better. Zero velocity: nothing moves any more; constant velocity: everything goes on as it did; "
    "linear regression: as the last steps lead one to expect.",
    axis="ms ahead",
)


def error_at(measure: str, horizon_ms: int) -> Quantity:
    """Say what the error at a horizon is: "global" or "root_centred"."""
    words, short, chart = f"position error {horizon_ms} ms ahead", f"{horizon_ms} ms", "Position error in the room"
    if measure == "root_centred":
        words, short, chart = (
            f"{words}, root-centred",
            f"{short}, root-centred",
            "Position error, root-centred: the posture alone",
        )
    return Quantity(words, "mm", "lower", heading=short, at=float(horizon_ms), chart=chart)


QUANTITIES = {
    f"{name}_{horizon}ms_mm": error_at(measure, horizon)
    for measure, name in MEASURES.items()
    for horizon in HORIZONS_MS
}

# Joints of Human3.6M's 32 that do not move once the hips are held (hips, their two sides, the base of the spine), and
# those that stay on another joint. The 22 that are left are forecast.
H36M_CONSTANT = (0, 1, 6, 11)
H36M_COPIED = {16: 13, 20: 19, 23: 22, 24: 13, 28: 27, 31: 30}
# The two sets of test windows, by what the field calls them: windows per action, of which each of the two takes has
# half. Scores on one are not comparable with scores on the other.
H36M_SETS = {"8 samples": 4, "256 samples": 128}
_H36M_SEED = 1234567890
# A draw is a place 50 frames before the forecast begins, with room on both sides of it.
_H36M_FIRST, _H36M_LEFT, _H36M_OBSERVED = 16, 150, 50


def frame_of(horizon_ms: int, fps: float) -> int | None:
    """Return the forecast frame that lies at a horizon, counted from 1 (the first one after the last observed).

    80 ms at 25 frames per second is frame 2. None: no frame lies there (80 ms at 30 frames per second is 2.4).
    """
    place = horizon_ms * fps / 1000.0
    frame = round(place)
    return frame if frame >= 1 and abs(place - frame) < 1e-6 * place else None


def horizons_within(frames: int, fps: float, horizons_ms: Sequence[int] = HORIZONS_MS) -> dict[int, int]:
    """Return the horizons that fall on one of the forecast frames, with that frame, counted from 1."""
    places = {horizon: frame_of(horizon, fps) for horizon in horizons_ms}
    return {horizon: frame for horizon, frame in places.items() if frame is not None and frame <= frames}


def joint_errors_mm(
    forecast: Float[np.ndarray, "*batch joint 3"], truth: Float[np.ndarray, "*batch joint 3"], centre: int | None = None
) -> Float64[np.ndarray, "*batch joint"]:
    """Return each joint's distance from its truth.

    Positions are in metres; `centre` is the joint that is subtracted on both sides, None: they count as they are.
    """
    difference = forecast.astype(np.float64) - truth.astype(np.float64)
    if centre is not None:
        difference = difference - difference[..., centre, None, :]
    return 1000.0 * np.linalg.norm(difference, axis=-1)


def window_errors_mm(
    forecast: Float[np.ndarray, "window body frame joint 3"],
    truth: Float[np.ndarray, "window body frame joint 3"],
    present: Bool[np.ndarray, "window body frame joint"],
    centre: int | None = None,
    measured: Bool[np.ndarray, " joint"] | None = None,
) -> tuple[Float64[np.ndarray, "window frame"], Bool[np.ndarray, "window frame"]]:
    """Return the mean error over the joints of all bodies, and in which frames there was one to score.

    `present` says where the truth is known, `measured` which joints count (None: all); the others are those of
    `joint_errors_mm`.
    """
    if centre is not None:
        present = present & present[..., centre, None]
    if measured is not None:
        present = present & measured
    errors = np.where(present, joint_errors_mm(forecast, truth, centre), 0.0)
    count = present.sum((1, 3))
    return errors.sum((1, 3)) / np.maximum(count, 1), count > 0


def mean_error_mm(
    sums_mm: Float64[np.ndarray, "recording horizon"],
    windows: Int64[np.ndarray, "recording horizon"],
    group: Int64[np.ndarray, " recording"] | None = None,
) -> Float64[np.ndarray, " horizon"]:
    """Average errors over windows; or over the windows of each group, and then over groups with equal weight.

    Args:
        sums_mm: sum of the windows' errors in each recording.
        windows: how many were added up.
        group: of each recording (its action); None: every window has the same weight.

    Returns:
        One error per horizon, NaN where no window had anything to score.
    """
    if group is None:
        group = np.zeros(len(sums_mm), np.int64)
    means = []
    for number in np.unique(group):
        count = windows[group == number].sum(0)
        total = sums_mm[group == number].sum(0)
        means.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    stacked = np.stack(means)
    known = ~np.isnan(stacked)
    summed = np.where(known, stacked, 0.0).sum(0)
    return np.where(known.any(0), summed / np.maximum(known.sum(0), 1), np.nan)


def h36m_window_starts(
    take_frames: tuple[int, int], observed_frames: int, draws: int
) -> tuple[Int64[np.ndarray, " draw"], Int64[np.ndarray, " draw"]]:
    """Return the first frames of the official test windows in the two takes of one action.

    With F1 and F2 frames, a generator that starts anew for every action draws i1 in [16, F1 - 150), then i2 in
    [16, F2 - 150), and so on in turn. The observation ends before frame i + 50, however long it is.

    Args:
        take_frames: frames of take 1 and of take 2, at 25 frames per second.
        observed_frames: length of the observation, at most 66.
        draws: per take (`H36M_SETS`).

    Raises:
        ConfigError: the observation would begin before the recording.
        DataError: a take is too short to draw from.
    """
    most = _H36M_FIRST + _H36M_OBSERVED
    if not 1 <= observed_frames <= most:
        raise ConfigError(
            f"the test windows of Human3.6M can hold 1 to {most} observed frames, got {observed_frames}; "
            "papers observe 10 or 50"
        )
    fewest = _H36M_FIRST + _H36M_LEFT + 1
    if min(take_frames) < fewest:
        raise DataError(
            f"the test windows of Human3.6M are drawn from takes of at least {fewest} frames (25 per second), "
            f"got {take_frames[0]} and {take_frames[1]}"
        )
    # The protocol is this generator's sequence of numbers.
    generator = np.random.RandomState(_H36M_SEED)
    starts = np.empty((draws, 2), np.int64)
    for draw in range(draws):
        for take, frames in enumerate(take_frames):
            starts[draw, take] = generator.randint(_H36M_FIRST, frames - _H36M_LEFT)
    starts += _H36M_OBSERVED - observed_frames
    return starts[:, 0].copy(), starts[:, 1].copy()


def h36m_completed(
    forecast: Float[np.ndarray, "*batch frame 32 3"], observed: Float[np.ndarray, "*batch 32 3"]
) -> Float[np.ndarray, "*batch frame 32 3"]:
    """Put what the protocol prescribes in the place of the ten joints that it does not forecast.

    Errors are averaged over all 32 joints. Four of them never move, so that their error is zero and a score is 28/32 of
    what it would be without; six repeat another joint's error.

    Args:
        forecast: of all 32 joints; those of the ten are not read.
        observed: the last observed frame, in which the joints stand that never move.
    """
    completed = forecast.copy()
    constant = list(H36M_CONSTANT)
    completed[..., constant, :] = observed[..., None, constant, :]
    completed[..., list(H36M_COPIED), :] = forecast[..., list(H36M_COPIED.values()), :]
    return completed
