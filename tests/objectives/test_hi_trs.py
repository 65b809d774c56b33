"""Tests of Hi-TRS."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from marrow.data.draws import Draws
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.hierarchical_transformer import HierarchicalTransformer, HierarchicalTransformerConfig
from marrow.objectives.hi_trs import HiTRS, HiTRSConfig, chosen, distant_pair, moving_clips, swapped
from marrow.objectives.hi_trs_parity import compare_hi_trs
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25
from marrow.testing.encoders import example_batch
from marrow.testing.objectives import check_objective

SMALL = HierarchicalTransformerConfig(
    widths=(8, 16, 24), depths=(1, 2, 2), heads=2, head_width=8, max_clips=8, dropout=0.0
)
INPUT = InputConfig(window_frames=28)


def small(config: HiTRSConfig | None = None, encoder: HierarchicalTransformerConfig = SMALL) -> HiTRS:
    torch.manual_seed(0)
    return HiTRS(config or HiTRSConfig(), HierarchicalTransformer(encoder, INPUT, KINECT_V1_20))


def draws(clips: int, seed: int = 0) -> Draws:
    return Draws(seed, 0, torch.arange(clips))


def test_conformance() -> None:
    check_objective(small)


def test_conformance_with_dropout() -> None:
    check_objective(lambda: small(encoder=replace(SMALL, dropout=0.2)), overfit_steps=0)
