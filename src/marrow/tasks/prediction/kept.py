"""A forecaster as files: the encoder it was trained with, its head, its frames, and how far off it was.

FOLDER/encoder/                as `marrow.models.export` writes it
FOLDER/forecaster.safetensors  weights of the head
FOLDER/forecaster.json         frames, rate, measured errors
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from marrow.data.augment import AugmentConfig
from marrow.errors import CheckpointError, MarrowError, damaged
from marrow.files import make_folder, write_text_whole, write_whole
from marrow.models.export import load_encoder, plain_weights, save_encoder
from marrow.tasks.base import Report
from marrow.tasks.prediction.config import PredictionConfig
from marrow.tasks.prediction.forecaster import ForecastHead, Forecasting, TrainedForecaster
from marrow.tasks.prediction.metrics import HORIZONS_MS, MEASURES
from marrow.train.device import make_fabric

WEIGHTS, DESCRIPTION = "forecaster.safetensors", "forecaster.json"
VERSION = 1
# What using a forecaster takes of its settings.
_USED = (
    *("observed_frames", "predicted_frames", "fps", "mode", "step_frames", "hidden_width", "recent_frames"),
    *("functions", "dropout"),
)


def save_forecaster(folder: Path, trained: TrainedForecaster, report: Report, provenance: Mapping[str, Any]) -> None:
    """Write a forecaster and what its report says of its errors; files of an earlier one are replaced."""
    make_folder(folder)
    (folder / DESCRIPTION).unlink(missing_ok=True)
    forecasting = trained.forecasting
    save_encoder(forecasting.encoder, folder / "encoder", provenance)
    weights = plain_weights(forecasting.head)
    write_whole(folder / WEIGHTS, lambda path: save_file(weights, path))
    description = {
        "version": VERSION,
        "config": {name: getattr(forecasting.config, name) for name in _USED},
        "centre": forecasting.head.centre,
        "errors_mm": {
            measure: {
                str(horizon): report.metrics[f"{name}_{horizon}ms_mm"]
                for horizon in HORIZONS_MS
                if f"{name}_{horizon}ms_mm" in report.metrics
            }
            for measure, name in MEASURES.items()
        },
        "done": {"steps": trained.steps, "cpu_seconds": trained.cpu_seconds},
        "provenance": dict(provenance),
    }
    write_text_whole(folder / DESCRIPTION, json.dumps(description, indent=1) + "\n")


def load_forecaster(folder: Path, device: str = "cpu") -> tuple[TrainedForecaster, dict[str, dict[int, float]]]:
    """Read a forecaster.

    Returns:
        it, and its measured errors in millimetres: "global" and "root_centred", by horizon in milliseconds.

    Raises:
        CheckpointError: nothing is there, or it is damaged or of another version.
    """
    if not (folder / DESCRIPTION).is_file():
        raise CheckpointError(
            f"{folder} holds no forecaster ({DESCRIPTION}): `marrow evaluate RUN --store STORE --protocol PROTOCOL "
            "--tasks motion_prediction --keep FOLDER` leaves one in FOLDER/motion_prediction"
        )
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if description["version"] != VERSION:
            raise CheckpointError(f"{folder}: forecaster version {description['version']}, this marrow reads {VERSION}")
        encoder, config = load_encoder(folder / "encoder"), PredictionConfig(**description["config"])
        weights, shape = load_file(folder / WEIGHTS), encoder.feature_shape
        joints = len(encoder.skeleton.joints)
        start = (description["centre"], weights["weights"], config)
        head = ForecastHead(shape.joints, shape.dim, joints, *start, shape.summary_dim)
        head.load_state_dict(weights)
        errors = {
            measure: {int(horizon): error for horizon, error in by_horizon.items()}
            for measure, by_horizon in description["errors_mm"].items()
        }
        fabric = make_fabric(device, "fp32")[0]
        forecasting = Forecasting(encoder, head, config).eval().to(fabric.device)
        return TrainedForecaster(forecasting, fabric, **description["done"], augment=AugmentConfig()), errors
    except MarrowError:
        raise
    except Exception as error:  # whatever a damaged file brings, the person needs the file's name
        raise damaged(folder, "a forecaster", error) from error
