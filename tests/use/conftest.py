"""Recordings as files: people who wave one hand, or step from one foot to the other, in tables."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from marrow.data.window import InputConfig
from marrow.models.export import save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.body import BODY

# Joints of a standing person in millimetres, y up, left at +x.
_BODY = {
    "HipLeft": (90, 900, 0), "HipRight": (-90, 900, 0), "KneeLeft": (90, 480, 20), "KneeRight": (-90, 480, 20),
    "AnkleLeft": (90, 80, 0), "AnkleRight": (-90, 80, 0), "ShoulderLeft": (180, 1400, 0),
    "ShoulderRight": (-180, 1400, 0), "WristLeft": (250, 1000, 0), "WristRight": (-250, 1000, 0), "Head": (0, 1650, 0),
}  # fmt: skip

Table = Callable[..., Path]


def _table(path: Path, action: str, number: int = 0, frames: int = 30) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [",".join(["time", *(f"{joint}_{axis}" for joint in _BODY for axis in "xyz")])]
    for frame in range(frames):
        swing = (300 + 10 * number) * math.sin(0.5 * frame + 0.2 * number)
        places = []
        for joint, (x, y, z) in _BODY.items():
            up = swing if (joint == "WristLeft" and action == "wave") else 0.0
            forward = swing if (joint.startswith(("Knee", "Ankle")) and action == "step") else 0.0
            forward = -forward if joint.endswith("Left") else forward
            places.append(f"{x + number:.1f},{y + up:.1f},{z + forward:.1f}")
        rows.append(",".join([f"{frame / 30:.4f}", *places]))
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def table() -> Table:
    """Write a recording: path, action ("wave" or "step"), number of the take, frames at 30 per second."""
    return _table


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """Six recordings of either action, in folders named after it."""
    for action in ("wave", "step"):
        for number in range(6):
            _table(tmp_path / "examples" / action / f"{action}_{number}.csv", action, number)
    return tmp_path / "examples"


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained encoder that reads places of the body."""
    config = PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4)
    encoder = PatchTransformer(config, InputConfig(window_frames=16, alignment="body"), BODY).fresh(3)
    folder = tmp_path_factory.mktemp("encoders") / "body"
    save_encoder(encoder, folder / "encoder", {"method": "none"})
    return folder
