"""Every method in OBJECTIVES passes the shipped checks in a small size."""

import torch

from marrow.data.window import InputConfig
from marrow.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from marrow.models.hierarchical_transformer import HierarchicalTransformer, HierarchicalTransformerConfig
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.objectives import OBJECTIVES
from marrow.objectives.amr import AMR, AMRConfig
from marrow.objectives.base import Objective
from marrow.objectives.hi_trs import HiTRS, HiTRSConfig
from marrow.objectives.mamp import MAMP, MAMPConfig
from marrow.objectives.motion_transformer import MotionTransformer, MotionTransformerConfig
from marrow.skeleton.layout import KINECT_V1_20
from marrow.testing import check_objective


def small_mamp() -> Objective:
    torch.manual_seed(0)
    encoder = PatchTransformer(PatchTransformerConfig(width=16, depth=1, heads=2), InputConfig(8), KINECT_V1_20)
    return MAMP(MAMPConfig(decoder_depth=1, decoder_width=16, decoder_heads=2, mask_ratio=0.75), encoder)


def small_amr() -> Objective:
    torch.manual_seed(0)
    encoder = PatchTransformer(PatchTransformerConfig(width=16, depth=1, heads=2), InputConfig(16), KINECT_V1_20)
    config = AMRConfig(
        target_frames=8, energy_windows=(4, 8), decoder_depth=1, decoder_width=16, decoder_heads=2, mask_ratio=0.75
    )
    return AMR(config, encoder)


def small_motion_transformer() -> Objective:
    torch.manual_seed(0)
    encoder = FrameTransformer(FrameTransformerConfig(width=16, depth=1, heads=2), InputConfig(16), KINECT_V1_20)
    return MotionTransformer(MotionTransformerConfig(), encoder)


def small_hi_trs(input: InputConfig | None = None) -> Objective:
    torch.manual_seed(0)
    size = HierarchicalTransformerConfig(
        widths=(8, 16, 24), depths=(1, 1, 1), heads=2, head_width=8, max_clips=4, dropout=0.0
    )
    return HiTRS(HiTRSConfig(), HierarchicalTransformer(size, input or InputConfig(16), KINECT_V1_20))


SMALL = {
    "mamp": small_mamp,
    "amr": small_amr,
    "hi_trs": small_hi_trs,
    "motion_transformer": small_motion_transformer,
}


def test_every_method_has_a_small_size_here() -> None:
    assert SMALL.keys() == OBJECTIVES.keys()


def test_every_method_passes() -> None:
    for name, build in SMALL.items():
        check_objective(build, overfit_steps=0)
        assert isinstance(build(), OBJECTIVES[name])


def test_hi_trs_passes_with_clips_of_unequal_length() -> None:
    check_objective(lambda: small_hi_trs(InputConfig(20, pace="recorded", min_frames=15)), overfit_steps=0)
