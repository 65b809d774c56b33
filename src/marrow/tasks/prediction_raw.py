"""Motion prediction without an encoder: forecasts that need no learning."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float64

from marrow.data.frames import ClipArrays
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.prediction_config import PredictionConfig
from marrow.tasks.prediction_poses import held, side_by_side
from marrow.tasks.prediction_report import Forecast, report_of
from marrow.tasks.prediction_windows import scored_windows


def raw_prediction(data: TaskData, context: TaskContext, config: PredictionConfig) -> list[Report]:
    """Score the forecasts that need no learning: `motion_prediction/zero velocity` and `.../constant velocity`."""
    baselines = {"zero velocity": 0.0, "constant velocity": 1.0}
    return [
        report_of(
            windows, f"motion_prediction/{name}", _straight_on(config, share), config, {}, "", context, source="raw"
        )
        for windows in scored_windows(data, config)
        for name, share in baselines.items()
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
