import json
from pathlib import Path

import numpy as np
import pytest
import torch

from marrow.data.window import InputConfig
from marrow.errors import CheckpointError, DataError
from marrow.models.encoder import Features
from marrow.models.heads import JointsHead, Recogniser
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25, Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence


@pytest.mark.parametrize(("classes", "count"), [(60, 13_236_284), (120, 13_359_224)])
def test_the_papers_head_has_the_papers_size(classes: int, count: int) -> None:
    with torch.device("meta"):
        head = JointsHead(25, 256, classes)
    assert sum(parameter.numel() for parameter in head.parameters()) == count


def test_head_by_hand() -> None:
    # One joint, one number per token. Clip 0: one body at times 1 and 3 -> 2. Clip 1: bodies at 4 4 and 8 8 -> 6.
    tokens = torch.tensor([[[1.0, 3.0], [0.0, 0.0]], [[4.0, 4.0], [8.0, 8.0]]])[..., None, None]
    present = torch.tensor([[[True, True], [False, False]], [[True, True], [True, True]]])[..., None]
    head = JointsHead(1, 1, 2, hidden_width=1).eval()
    with torch.no_grad():
        head.hidden.weight.fill_(1.0)
        head.norm.running_mean.fill_(3.0)
        head.norm.running_var.fill_(4.0 - 1e-5)  # BatchNorm adds its eps of 1e-5
        head.classify.weight.copy_(torch.tensor([[1.0], [-2.0]]))
        head.classify.bias.copy_(torch.tensor([0.5, 0.0]))
    # Normalised: (2 - 3) / 2 = -0.5 -> ReLU 0; (6 - 3) / 2 = 1.5.
    scores = head(Features(tokens, present))
    torch.testing.assert_close(scores, torch.tensor([[0.5, 0.0], [2.0, -3.0]]))
    # Dropout at 0.5 of the second time: clip 1 becomes (8 + 16) / 4 = 6 again; clip 0 becomes 2 / 2 = 1 -> ReLU 0.
    kept = torch.tensor([True, False])[:, None, None].expand(2, 2, 2, 1, 1)
    torch.testing.assert_close(head(Features(tokens, present), kept, 0.5), scores)
    kept = torch.tensor([False, True])[:, None, None].expand(2, 2, 2, 1, 1)
    # Clip 0: 2 * 3 / 2 = 3 -> 0. Clip 1 as before.
    torch.testing.assert_close(head(Features(tokens, present), kept, 0.5), scores)


def test_an_absent_body_does_not_count() -> None:
    head = JointsHead(2, 3, 4, hidden_width=5).eval()
    one = torch.randn(1, 1, 2, 2, 3)
    both = torch.cat((one, torch.zeros_like(one)), dim=1)
    exists = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    absent = torch.cat((exists, ~exists), dim=1)
    torch.testing.assert_close(head(Features(both, absent)), head(Features(one, exists)))


def recogniser() -> Recogniser:
    torch.manual_seed(1)
    config = PatchTransformerConfig(width=8, depth=1, heads=2, patch_frames=4)
    encoder = PatchTransformer(config, InputConfig(window_frames=8, alignment="yaw"), KINECT_V1_20)
    head = JointsHead(20, 8, 3, hidden_width=6)
    with torch.no_grad():
        head.norm.running_mean.uniform_(-0.5, 0.5)
        head.norm.running_var.uniform_(0.5, 2.0)
    return Recogniser(encoder, head, ("nod", "wave", "kick"))


def sequence(name: str, frames: int, skeleton: Skeleton = KINECT_V1_20) -> SkeletonSequence:
    joints = np.random.default_rng(frames).normal(size=(1, frames, len(skeleton.joints), 3)).astype(np.float32)
    return SkeletonSequence(joints, np.ones(joints.shape[:3], bool), 30.0, skeleton, Record(name))


def test_a_saved_recogniser_predicts_as_before(tmp_path: Path) -> None:
    ours, clips = recogniser(), [sequence("a", 9), sequence("b", 31), sequence("c", 2)]
    ours.save(tmp_path, {"steps": 3})
    before, again = ours.predict(clips), Recogniser.load(tmp_path)
    np.testing.assert_array_equal(again.predict(clips), before)
    np.testing.assert_allclose(again.predict(clips, batch_clips=2), before, rtol=1e-5)
    np.testing.assert_allclose(before.sum(axis=1), 1.0, rtol=1e-6)
    assert before.shape == (3, 3)
    assert again.classes == ("nod", "wave", "kick")
    assert json.loads((tmp_path / "head.json").read_text())["provenance"] == {"steps": 3}


def test_another_skeleton_is_refused() -> None:
    with pytest.raises(DataError, match="x: the encoder expects skeleton 'kinect_v1_20'"):
        recogniser().predict([sequence("x", 5, KINECT_V2_25)])


@pytest.mark.parametrize("damage", ["missing", "cut", "version", "not json", "other encoder", "no encoder"])
def test_a_damaged_recogniser_names_its_folder(tmp_path: Path, damage: str) -> None:
    recogniser().save(tmp_path, {})
    description, weights = tmp_path / "head.json", tmp_path / "head.safetensors"
    if damage == "missing":
        description.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:50])
    elif damage == "version":
        description.write_text(description.read_text().replace('"version": 1', '"version": 99'))
    elif damage == "not json":
        description.write_text("{")
    elif damage == "other encoder":
        description.write_text(description.read_text().replace('"dim": 8', '"dim": 16'))
    else:
        (tmp_path / "encoder" / "encoder.json").unlink()
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        Recogniser.load(tmp_path)
