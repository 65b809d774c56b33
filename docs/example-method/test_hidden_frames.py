"""The shipped checks on the example, as its own package would run them: `pytest` in this folder."""

import torch
from hidden_frames import HiddenFrames, HiddenFramesConfig

from marrow import InputConfig, get_skeleton
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.testing import check_objective


def build() -> HiddenFrames:
    """Make the objective, small and the same every time."""
    torch.manual_seed(0)
    size = PatchTransformerConfig(width=32, depth=1, heads=2)
    encoder = PatchTransformer(size, InputConfig(window_frames=16), get_skeleton("kinect_v1_20"))
    return HiddenFrames(HiddenFramesConfig(), encoder)


def test_it_is_a_method() -> None:
    """The example passes what every method must pass."""
    check_objective(build)
