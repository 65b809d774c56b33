"""AMR and MAMP where joints are absent throughout, and where a third coordinate does not exist."""

from dataclasses import replace

import pytest
import torch

from marrow.data.batch import Batch, Shapes
from marrow.data.draws import Draws
from marrow.data.window import InputConfig
from marrow.models.blocks import seeded_weights
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.objectives.amr import AMR, AMRConfig
from marrow.objectives.mamp import MAMP, MAMPConfig
from marrow.skeleton.known import get_skeleton

COCO = get_skeleton("coco_17")
SMALL = {"decoder_depth": 1, "decoder_width": 16, "decoder_heads": 2}
OBJECTIVES = {
    "amr": (AMR, AMRConfig(target_frames=8, energy_windows=(4, 8), **SMALL)),
    "amr of positions": (AMR, AMRConfig(target="joint", target_frames=8, energy_windows=(4, 8), **SMALL)),
    "mamp": (MAMP, MAMPConfig(**SMALL)),
    "mamp in metres": (MAMP, MAMPConfig(normalise_target=False, **SMALL)),
}


def objective(name: str, *, dimensions: int = 3, takes_flat: bool = False):
    kind, config = OBJECTIVES[name]
    size = PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4, takes_flat=takes_flat)
    with seeded_weights(0):
        encoder = PatchTransformer(size, InputConfig(window_frames=16), replace(COCO, dimensions=dimensions))
        return kind(config, encoder)  # type: ignore[arg-type]


def batch_of(clips: int = 3, *, flat: list[bool] | None = None) -> Batch:
    joints = torch.randn(clips, 1, 16, 17, 3, generator=torch.Generator().manual_seed(1))
    present = torch.ones(clips, 1, 16, 17, dtype=torch.bool)
    is_flat = None if flat is None else torch.tensor(flat)
    if is_flat is not None:
        joints[is_flat, ..., 2] = 0.0
    numbers = torch.arange(clips)
    return Batch(joints, present, numbers, numbers, flat=is_flat)


def loss(trainable, batch: Batch) -> torch.Tensor:
    draws = Draws(0, 3, torch.arange(len(batch)))
    output = trainable(batch, trainable.sample(batch, draws))
    return output.loss_sum / output.weight


@pytest.mark.parametrize("name", ["amr", "amr of positions"])
def test_targets_of_absent_joints_are_not_asked_for_and_the_loss_is_the_same(name, monkeypatch) -> None:
    trainable, batch = objective(name), batch_of()
    batch.present[..., 5:9] = False
    batch.present[1, ..., 12] = False
    batch.joints[~batch.present] = 0.0
    asked = trainable._asked(trainable._target_exists(batch.present[:, 0]), batch)
    assert asked is not None
    assert asked.shape == (3, 13 * 2), "17 joints less 4, in two patches of 8 frames"
    gathered = loss(trainable, batch)
    fixed = loss(trainable, replace(batch, shapes=Shapes(3, whole=False, joints=13)))
    monkeypatch.setattr(type(trainable), "_asked", lambda *_: None)
    torch.testing.assert_close(gathered, loss(trainable, batch))
    torch.testing.assert_close(fixed, gathered)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_in_a_layout_of_two_dimensions_the_third_coordinate_is_never_looked_at(name) -> None:
    trainable, batch = objective(name, dimensions=2), batch_of(flat=None)
    assert trainable.encoder.grid.patch_values == 4 * 2
    other = replace(batch, joints=batch.joints + torch.tensor([0.0, 0.0, 7.0]) * torch.rand(3, 1, 16, 17, 1))
    assert loss(trainable, other) == loss(trainable, batch)
    turned = replace(batch, joints=batch.joints * torch.tensor([2.0, 1.0, 1.0]))
    assert loss(trainable, turned) != loss(trainable, batch)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_of_flat_clips_what_is_said_of_depth_does_not_count(name) -> None:
    trainable, batch = objective(name, takes_flat=True), batch_of(flat=[True, False, True])
    flat = batch.take(torch.tensor([0, 2]))
    deep = batch.take(torch.tensor([1]))
    third = torch.arange(trainable.predict.out_features) % 3 == 2
    before = loss(trainable, flat), loss(trainable, deep)
    with torch.no_grad():
        trainable.predict.bias[third] += 5.0
    assert loss(trainable, flat) == before[0]
    assert loss(trainable, deep) != before[1]
