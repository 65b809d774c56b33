"""Motion prediction without an encoder: forecasts that need little learning, or none."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float64

from marrow.data.frames import ClipArrays
from marrow.data.recordings import Recordings, sliding
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.prediction.config import PredictionConfig
from marrow.tasks.prediction.linear import continued, fit_weights
from marrow.tasks.prediction.poses import centre_of, held, side_by_side
from marrow.tasks.prediction.scoring import ABOUT, Forecast, report_of
from marrow.tasks.prediction.windows import scored_windows
from marrow.train.run_directory import plain


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
