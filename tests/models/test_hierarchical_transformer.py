"""Tests of Hi-TRS's encoder."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from marrow.cli.arguments import recipe_path
from marrow.data.batch import Batch
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.clips import clip_counts, clip_places, flatten, other_frames
from marrow.models.export import save_encoder
from marrow.models.hierarchical_transformer import (
    SIZES,
    HierarchicalTransformer,
    HierarchicalTransformerConfig,
)
from marrow.skeleton.layout import KINECT_V1_20
from marrow.testing.encoders import check_encoder, example_batch

SMALL = HierarchicalTransformerConfig(widths=(8, 12, 16), depths=(1, 2, 1), heads=2, head_width=4, max_clips=6)


def small(config: HierarchicalTransformerConfig = SMALL) -> HierarchicalTransformer:
    torch.manual_seed(0)
    return HierarchicalTransformer(config, InputConfig(28), KINECT_V1_20).eval()


def test_conformance(tmp_path: Path) -> None:
    check_encoder(small, tmp_path, has_joint_axis=False)


@pytest.mark.parametrize(
    ("frames", "clips"), [(19, 3), (50, 8), (77, 11), (78, 12), (100, 15), (150, 22), (200, 29), (300, 43)]
)
def test_clips_of_a_sequence(frames: int, clips: int) -> None:
    """Windows of 13 frames slid by 7 over the sequence and 6 frames at each end: floor((F + 12 - 13) / 7) + 1."""
    assert int(clip_counts(torch.tensor([frames]), 7)) == clips == (frames + 12 - 13) // 7 + 1
    assert HierarchicalTransformerConfig().clip_count(frames) == clips


def test_frames_of_the_clips() -> None:
    """Two sequences of 9 and 8 frames are rows 0 to 8 and 9 to 16; the others, up to row 63, are frames of zeros.

    Clip k is centred on frame 7k and takes every second frame: for the first, -6 ... 6 and 1, 3, ..., 13.
    """
    encoder, joints = small(), torch.randn(2, 9, 20, 3)
    flat = flatten(joints, torch.tensor([9, 8]))
    assert flat.sequence.tolist() == [0] * 9 + [1] * 8 + [2] * 47
    assert torch.equal(flat.joints[9:17], joints[1, :8])
    assert not flat.joints[17:].any()
    sequence, place = clip_places(torch.tensor([2, 2]))
    assert (sequence.tolist(), place.tolist()) == ([0, 0, 1, 1], [0, 1, 0, 1])
    rows = encoder.clip_rows(flat, sequence, place * 7)
    assert rows.tolist() == [
        [63, 63, 63, 0, 2, 4, 6],
        [1, 3, 5, 7, 63, 63, 63],
        [63, 63, 63, 9, 11, 13, 15],
        [10, 12, 14, 16, 63, 63, 63],
    ]


def test_joints_of_one_frame_do_not_meet_in_a_clip() -> None:
    """Of 7 frames of 25 joints: 7 * 25 * 24 = 4,200 blocked pairs, and all 176 tokens see the fusion token."""
    allowed = other_frames(7, 25)
    assert allowed.shape == (176, 176)
    assert int((~allowed).sum()) == 4_200
    assert allowed[-1].all()
    assert allowed[:, -1].all()
    assert allowed.diagonal().all()
    assert not allowed[0, 1:25].any()
    assert allowed[0, 25:].all()


def test_padding_and_absent_bodies_are_not_computed() -> None:
    """Bodies of 28, 28, 28 and 10 frames: 94 frames, filled up to 128; 4 + 4 + 4 + 2 = 14 clips, filled up to 16."""
    encoder = small()
    batch = example_batch(encoder, clips=2, bodies=3)
    batch.present[1, 1:] = False  # 3 bodies, then 1
    batch.frame_count = torch.tensor([28, 10])
    batch.present[1, :, 10:] = False
    shapes: dict[str, list[int]] = {}

    def keep(name: str) -> Any:
        def note(module: Any, inputs: Any, output: Any) -> None:
            shapes.setdefault(name, list(inputs[0].shape[:2]))

        return note

    encoder.frame_layers[0].register_forward_hook(keep("frames"))
    encoder.clip_layers[0].register_forward_hook(keep("clips"))
    features = encoder(batch)
    assert shapes == {"frames": [128, 20], "clips": [16, 141]}
    assert features.tokens.shape == (2, 3, 4, 1, 16)
    assert features.present[..., 0].tolist() == [
        [[True] * 4] * 3,
        [[True, True, False, False], [False] * 4, [False] * 4],
    ]
    assert features.summary is not None
    torch.testing.assert_close(features.pooled()[1], features.summary[1, 0])


def test_the_length_of_the_window_does_not_matter_to_a_shorter_sequence() -> None:
    encoder = small()
    batch = example_batch(encoder, clips=3, bodies=1)
    batch.present[:] = True
    batch.frame_count = torch.tensor([28, 17, 8])
    for clip, frames in enumerate((28, 17, 8)):
        batch.present[clip, :, frames:] = False
    together = encoder(batch)
    for clip, frames in enumerate((28, 17, 8)):
        joints, present = batch.joints[clip : clip + 1, :, :frames], batch.present[clip : clip + 1, :, :frames]
        alone = encoder(Batch(joints, present, batch.label[:1], batch.row[:1]))
        torch.testing.assert_close(alone.pooled()[0], together.pooled()[clip], rtol=1e-4, atol=1e-5)
        times = alone.tokens.shape[2]
        torch.testing.assert_close(alone.tokens[0], together.tokens[clip, :, :times], rtol=1e-4, atol=1e-5)
        assert not together.present[clip, :, times:].any()


def test_a_body_that_is_seen_late_has_no_features_before() -> None:
    encoder = small()
    batch = example_batch(encoder, clips=2, bodies=1).take(slice(1))
    batch.present[:] = True
    batch.present[:, :, :14] = False  # clips are centred on 0, 7, 14, 21 and reach 6 frames
    features = encoder(batch)
    # The second takes frames 1, 3, ..., 13, all of them empty; the first 0, 2, 4, 6.
    assert features.present[0, 0, :, 0].tolist() == [False, False, True, True]
    assert not features.tokens[0, 0, :2].any()


def test_parity_averages_an_absent_body_in() -> None:
    encoder = small(replace(SMALL, parity=True))
    batch = example_batch(encoder, clips=2, bodies=2).take(slice(1))
    batch.present[:, 0], batch.present[:, 1] = True, False
    summary = encoder(batch).summary
    assert summary is not None
    nobody = encoder(
        Batch(torch.zeros(1, 1, 28, 20, 3), torch.ones(1, 1, 28, 20, dtype=torch.bool), batch.label, batch.row)
    )
    somebody = small()(batch)
    expected = (somebody.pooled() + nobody.pooled()) / 2
    torch.testing.assert_close(encoder(batch).pooled(), expected, rtol=1e-4, atol=1e-5)


def test_layers_run_from_the_joints_to_the_sequence() -> None:
    """Depths 1, 2, 1: four groups."""
    encoder = small()
    names = {parameter: name for name, parameter in encoder.named_parameters()}
    firsts = [{names[parameter].split(".")[0] for parameter in layer} for layer in encoder.layers()]
    assert firsts == [
        {"embedding", "joint_position", "frame_layers"},
        {"to_clip", "clip_position", "clip_fusion", "clip_layers"},
        {"clip_layers"},
        {"to_sequence", "sequence_position", "sequence_fusion", "sequence_layers"},
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depths": (1, 0, 1)}, "encoder.depths must be three positive numbers"),
        ({"widths": (8, 10, 16)}, "the second a multiple of 4"),
        ({"clip_frames": 6}, "clip_frames must be odd"),
        ({"heads": 0}, "encoder.heads must be at least 1, got 0"),
        ({"dropout": 1.0}, r"encoder.dropout must lie in \[0, 1\), got 1.0"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **settings)


def test_a_window_with_more_clips_than_positions_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a window of 50 frames has 8 clips, more than encoder\.max_clips = 6"):
        HierarchicalTransformer(SMALL, InputConfig(50), KINECT_V1_20)


def test_sizes_have_names(tmp_path: Path) -> None:
    encoder = HierarchicalTransformer(SIZES["tiny"], InputConfig(28), KINECT_V1_20)
    assert encoder.size_name() == "tiny"
    assert small().size_name() is None
    save_encoder(encoder, tmp_path, {})
    assert json.loads((tmp_path / "encoder.json").read_text())["size"] == "tiny"


@pytest.mark.parametrize(("recipe", "size"), [("hi_trs_ntu60_xsub", "paper"), ("hi_trs_nw_ucla", "tiny")])
def test_recipes_name_their_size(recipe: str, size: str) -> None:
    text = recipe_path(recipe).read_text()
    assert f'size "{size}"' in text
    settings = yaml.safe_load(text)["encoder"]
    for name, value in settings.items():
        kept = getattr(SIZES[size], name)
        assert (list(kept) if isinstance(kept, tuple) else kept) == value, name
