import json
from pathlib import Path

import numpy as np
import pytest
import torch

from marrow.data.window import InputConfig
from marrow.errors import CheckpointError, DataError
from marrow.models.encoder import Features
from marrow.models.export import load_encoder, save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25, Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence


def small(skeleton: Skeleton = KINECT_V1_20) -> PatchTransformer:
    config = PatchTransformerConfig(width=8, depth=1, heads=2, patch_frames=4)
    return PatchTransformer(config, InputConfig(window_frames=8, alignment="yaw"), skeleton)


def sequence(name: str, frames: int, skeleton: Skeleton = KINECT_V1_20) -> SkeletonSequence:
    joints = np.random.default_rng(frames).normal(size=(1, frames, len(skeleton.joints), 3)).astype(np.float32)
    return SkeletonSequence(joints, np.ones(joints.shape[:3], bool), 30.0, skeleton, Record(name))


def test_an_exported_encoder_embeds_as_before(tmp_path: Path) -> None:
    encoder, clips = small(), [sequence("a", 9), sequence("b", 31), sequence("c", 2)]
    save_encoder(encoder, tmp_path / "run" / "encoder", {"steps": 3})
    again = load_encoder(tmp_path / "run")
    assert again.input == encoder.input
    assert again.skeleton == encoder.skeleton
    before, after = encoder.embed(clips), again.embed(clips, batch_clips=2)
    assert before.shape == (3, 8)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)
    assert json.loads((tmp_path / "run" / "encoder" / "encoder.json").read_text())["provenance"] == {"steps": 3}


def test_another_skeleton_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="x: the encoder expects skeleton 'kinect_v1_20' \\(20 joints\\), got"):
        small().embed([sequence("x", 5, KINECT_V2_25)])


@pytest.mark.parametrize("damage", ["missing", "cut", "version", "not json"])
def test_a_damaged_export_names_its_folder(tmp_path: Path, damage: str) -> None:
    save_encoder(small(), tmp_path / "e", {})
    description, weights = tmp_path / "e" / "encoder.json", tmp_path / "e" / "encoder.safetensors"
    if damage == "missing":
        description.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "version":
        description.write_text(description.read_text().replace('"version": 1', '"version": 99'))
    else:
        description.write_text("{")
    with pytest.raises(CheckpointError, match=str(tmp_path / "e")):
        load_encoder(tmp_path / "e")


def test_features_average_over_what_is_present() -> None:
    # One clip, two bodies, one time, two joints, one number: values 1 2 | 6 and an absent one.
    tokens = torch.tensor([1.0, 2.0, 6.0, 0.0]).reshape(1, 2, 1, 2, 1)
    present = torch.tensor([True, True, True, False]).reshape(1, 2, 1, 2)
    features = Features(tokens, present)
    assert features.pooled().tolist() == [[3.0]]  # (1 + 2 + 6) / 3
    assert features.joints_kept().tolist() == [[3.5, 2.0]]  # (1 + 6) / 2 and 2
    assert features.over_time().tolist() == [[[3.0]]]
