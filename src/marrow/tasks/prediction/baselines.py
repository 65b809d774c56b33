"""Motion prediction without an encoder: that nothing moves, that all goes on, and what the last steps say of the next.

The last is a linear regression, solved by least squares. A joint's displacement in a future frame is a weighted sum of
its last observed steps from frame to frame. The weights are the same for all joints and axes, one set for the centre of
the body and one for what the other joints do relative to it: a walk goes on, a raised arm comes down. They are few
hundred numbers, and do not depend on how the body is turned, where it is, or how large it is. A learned forecast begins
with them too (`forecaster.py`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from marrow.data.frames import ClipArrays
from marrow.data.recordings import Cuts, Recordings, sliding
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.prediction.config import PredictionConfig
from marrow.tasks.prediction.metrics import ABOUT
from marrow.tasks.prediction.scoring import Forecast, report_of
from marrow.tasks.prediction.windows import centre_of, held, scored_windows, side_by_side
from marrow.train.run_directory import plain

# Windows that the weights are solved for, and at a time.
_MOST_WINDOWS, _BLOCK = 4096, 256
# Combinations of steps that vary less than this, relative to the one that varies most, say nothing but noise.
_LEAST_VARIANCE = 1e-7


def fit_weights(
    recordings: Recordings, cuts: Cuts, observed_frames: int, recent_frames: int, centre: int
) -> Float64[np.ndarray, "2 frame step"]:
    """Solve for the weights: of the centre's steps, then of the other joints' steps relative to it.

    Args:
        recordings: to learn from.
        cuts: windows of them, all of one length, observed and future frames together; of many, some thousand at equal
            distances are taken.
        observed_frames: of each window.
        recent_frames: last observed frames, whose steps are weighted.
        centre: the joint that the others are relative to.
    """
    cuts = cuts[np.linspace(0, len(cuts) - 1, min(len(cuts), _MOST_WINDOWS)).round().astype(np.int64)]
    future = int(cuts[0, 2]) - observed_frames
    squares, products = np.zeros((2, recent_frames - 1, recent_frames - 1)), np.zeros((2, future, recent_frames - 1))
    for begin in range(0, len(cuts), _BLOCK):
        windows = [recordings.cut(*cut) for cut in cuts[begin : begin + _BLOCK].tolist()]
        for part, (steps, displacement) in enumerate(_parts(windows, observed_frames, recent_frames, centre)):
            squares[part] += steps.T @ steps
            products[part] += displacement.T @ steps
    return products @ np.linalg.pinv(squares, rcond=_LEAST_VARIANCE, hermitian=True)


def continued(
    weights: Float[Tensor, "2 frame step"], poses: Float[Tensor, "batch body time joint 3"], centre: int
) -> Float[Tensor, "batch body frame joint 3"]:
    """Return the displacement of every joint from the last pose.

    `poses` have no gaps; weights and centre are those of `fit_weights`.
    """
    steps = poses[:, :, -weights.shape[2] - 1 :].diff(dim=2)
    of_centre = steps[..., centre, None, :]
    moved = [weight @ part.flatten(3) for weight, part in zip(weights, (of_centre, steps - of_centre), strict=True)]
    return moved[0].unflatten(3, (1, 3)) + moved[1].unflatten(3, (-1, 3))


def _parts(
    windows: Sequence[ClipArrays], observed_frames: int, recent_frames: int, centre: int
) -> list[tuple[Float64[np.ndarray, "row step"], Float64[np.ndarray, "row frame"]]]:
    """Return steps and displacements, a row per joint and axis: of the centre, and relative to it.

    Joints that are absent in any frame of a window, or whose centre is, are left out.
    """
    joints, present = side_by_side(windows)
    whole = np.asarray(present.all(axis=2))
    known, is_centre = whole & whole[..., centre, None], np.arange(whole.shape[2]) == centre
    steps = np.diff(joints[:, :, observed_frames - recent_frames : observed_frames], axis=2)
    displacement = joints[:, :, observed_frames:] - joints[:, :, observed_frames - 1, None]
    return [
        (_rows(steps, known & is_centre), _rows(displacement, known & is_centre)),
        (
            _rows(steps - steps[..., centre, None, :], known & ~is_centre),
            _rows(displacement - displacement[..., centre, None, :], known & ~is_centre),
        ),
    ]


def _rows(
    values: Float64[np.ndarray, "window body time joint 3"], kept: Bool[np.ndarray, "window body joint"]
) -> Float64[np.ndarray, "row time"]:
    return np.moveaxis(values, 2, -1)[kept].reshape(-1, values.shape[2])


def raw_prediction(data: TaskData, context: TaskContext, config: PredictionConfig) -> list[Report]:
    """Score the forecasts that need no encoder: zero velocity, constant velocity and linear regression.

    Their reports are `motion_prediction/zero velocity` and so on. Linear regression is left out where no training
    recording is as long as a test window.
    """
    forecasts = {"zero velocity": _straight_on(config, 0.0), "constant velocity": _straight_on(config, 1.0)}
    train = Recordings.of(data.store, data.train_rows, config.fps)
    cuts = sliding(train, config.observed_frames + config.predicted_frames, config.train_stride, whole=False)
    if len(cuts):
        centre = centre_of(train.skeleton)
        weights = fit_weights(train, cuts, config.observed_frames, config.recent_frames, centre)
        forecasts["linear regression"] = _linear(weights, centre)
    report = Report("motion_prediction", {}, settings=plain(config), seed=context.seed, source="raw")
    return [
        report_of(
            replace(report, task=f"motion_prediction/{name}", declared=replace(ABOUT, rule=name)),
            windows,
            forecast,
            config,
            context.batch_clips,
        )
        for windows in scored_windows(data, config)
        for name, forecast in forecasts.items()
    ]


def _straight_on(config: PredictionConfig, share: float) -> Forecast:
    """Forecast a share of the last displacement in every frame; a joint that was not seen twice stays."""

    def forecast(observed: Sequence[ClipArrays]) -> Float64[np.ndarray, "window body frame joint 3"]:
        joints, present = side_by_side(observed)
        last = held(torch.from_numpy(joints), torch.from_numpy(present)).numpy()[:, :, -1:]
        seen_twice = (present[:, :, -1:] & present[:, :, -2:-1])[..., None]
        velocity = np.where(seen_twice, joints[:, :, -1:] - joints[:, :, -2:-1], 0.0)
        frame = np.arange(1, config.predicted_frames + 1)[:, None, None]
        return last + share * frame * velocity

    return forecast


def _linear(weights: Float64[np.ndarray, "2 frame step"], centre: int) -> Forecast:
    """Continue the last steps by weights that were solved for on the training windows."""

    def forecast(observed: Sequence[ClipArrays]) -> Float64[np.ndarray, "window body frame joint 3"]:
        poses = held(*map(torch.from_numpy, side_by_side(observed)))
        return (poses[:, :, -1:] + continued(torch.from_numpy(weights), poses, centre)).numpy()

    return forecast
