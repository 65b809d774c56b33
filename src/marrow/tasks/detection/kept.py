"""A detector as files: the encoder it was trained with, its head, and the settings that using it takes.

FOLDER/encoder/              as `marrow.models.export` writes it
FOLDER/detector.safetensors  weights of the head
FOLDER/detector.json         classes, windows, what was done
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from marrow.errors import CheckpointError, MarrowError, damaged
from marrow.files import make_folder, write_text_whole, write_whole
from marrow.models.export import load_encoder, plain_weights, save_encoder
from marrow.tasks.detection.config import DetectionConfig
from marrow.tasks.detection.training import Detector, StepHead

WEIGHTS, DESCRIPTION = "detector.safetensors", "detector.json"
VERSION = 1
# What using a detector takes of its settings.
_USED = ("window_seconds", "stride_seconds", "smoothing_frames", "hidden_width")
_DONE = ("layer_decay", "steps", "windows", "cpu_seconds", "wall_seconds")


def save_detector(folder: Path, detector: Detector, classes: Sequence[str], provenance: Mapping[str, Any]) -> None:
    """Write a detector; files of an earlier one are replaced."""
    make_folder(folder)
    (folder / DESCRIPTION).unlink(missing_ok=True)
    save_encoder(detector.encoder, folder / "encoder", provenance)
    weights = plain_weights(detector.head)
    write_whole(folder / WEIGHTS, lambda path: save_file(weights, path))
    description = {
        "version": VERSION,
        "classes": list(classes),
        "config": {name: getattr(detector.config, name) for name in _USED},
        "done": {name: getattr(detector, name) for name in _DONE},
        "provenance": dict(provenance),
    }
    write_text_whole(folder / DESCRIPTION, json.dumps(description, indent=1) + "\n")


def load_detector(folder: Path) -> tuple[Detector, tuple[str, ...]]:
    """Read a detector and the names of its classes.

    Raises:
        CheckpointError: nothing is there, or it is damaged or of another version.
    """
    if not (folder / DESCRIPTION).is_file():
        raise CheckpointError(
            f"{folder} holds no detector ({DESCRIPTION}): `marrow evaluate RUN --store STORE --protocol PROTOCOL "
            "--tasks action_detection --keep FOLDER` leaves one in FOLDER/action_detection"
        )
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if description["version"] != VERSION:
            raise CheckpointError(f"{folder}: detector version {description['version']}, this marrow reads {VERSION}")
        encoder, classes = load_encoder(folder / "encoder"), tuple(description["classes"])
        config = DetectionConfig(**description["config"])
        head = StepHead(encoder.feature_shape.joints, encoder.dim, len(classes) + 1, config.hidden_width)
        head.load_state_dict(load_file(folder / WEIGHTS))
        return Detector(encoder, head.eval(), config, **description["done"]), classes
    except MarrowError:
        raise
    except Exception as error:  # whatever a damaged file brings, the person needs the file's name
        raise damaged(folder, "a detector", error) from error
