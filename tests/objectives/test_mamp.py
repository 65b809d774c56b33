from dataclasses import replace
from pathlib import Path

import pytest
import torch

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.objectives.mamp import MAMP, MAMPConfig, mean_and_deviation, motion
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25
from marrow.testing import check_encoder, check_objective
from marrow.testing.encoders import example_batch

SMALL = MAMPConfig(decoder_depth=2, decoder_width=32, decoder_heads=4, mask_ratio=0.75)


def small_encoder() -> PatchTransformer:
    torch.manual_seed(0)
    config = PatchTransformerConfig(width=32, depth=2, heads=4, patch_frames=4)
    return PatchTransformer(config, InputConfig(window_frames=16), KINECT_V1_20)


def small(config: MAMPConfig = SMALL) -> MAMP:
    return MAMP(config, small_encoder())


@pytest.mark.parametrize(
    "changes",
    [{}, {"masking": "uniform", "target": "joint"}, {"normalise_target": False, "stride": 2}],
    ids=["mamp", "mae", "raw target"],
)
def test_conformance(changes: dict[str, object]) -> None:
    check_objective(lambda: small(replace(SMALL, **changes)), overfit_steps=0 if changes else 150)


def test_conformance_of_parity_mode() -> None:
    check_objective(lambda: small(replace(SMALL, parity=True)), absent_matters=True, overfit_steps=0)


def test_encoder_conformance(tmp_path: Path) -> None:
    check_encoder(small_encoder, tmp_path)


# 8 blocks of 789,760; embedding 3,328; joints 6,400; times 7,680; final norm 512. Decoder: bridge 65,792, hidden token
# 256, places 14,080, depth * 789,760, norm 512, prediction 3,084.
@pytest.mark.parametrize(("depth", "decoder"), [(1, 873_484), (3, 2_453_004), (5, 4_032_524)])
def test_parameter_counts(depth: int, decoder: int) -> None:
    encoder = PatchTransformer(PatchTransformerConfig(), InputConfig(), KINECT_V2_25)
    mamp = MAMP(MAMPConfig(decoder_depth=depth), encoder)
    count = sum(parameter.numel() for parameter in mamp.parameters())
    in_encoder = sum(parameter.numel() for parameter in encoder.parameters())
    assert (in_encoder, count - in_encoder) == (6_336_000, decoder)


def test_74_of_750_tokens_stay_visible() -> None:
    config = PatchTransformerConfig(width=8, depth=1, heads=1)
    mamp = MAMP(replace(SMALL, mask_ratio=0.9, parity=True), PatchTransformer(config, InputConfig(), KINECT_V2_25))
    batch = example_batch(mamp.encoder)
    hiding = mamp.sample(batch, Draws(0, 0, torch.arange(4))).hiding
    assert hiding.visible.shape == (8, 74)
    assert hiding.hidden.shape == (8, 676)


def test_motion_is_the_forward_difference() -> None:
    # x = 0, 1, 4 -> 1, 3, 0
    joints = torch.tensor([0.0, 1.0, 4.0]).reshape(1, 3, 1, 1).expand(1, 3, 1, 3)
    assert motion(joints, 1)[0, :, 0, 0].tolist() == [1.0, 3.0, 0.0]
    assert motion(joints, 2)[0, :, 0, 0].tolist() == [4.0, 0.0, 0.0]


def test_mean_and_deviation_by_hand() -> None:
    # 1, 2, 3: mean 2, unbiased variance 1 (the floor of 1e-6 is below this precision). Of zeros it is the floor alone.
    mean, deviation = mean_and_deviation(torch.tensor([[[1.0, 2.0, 3.0]], [[0.0, 0.0, 0.0]]]))
    assert mean.flatten().tolist() == [2.0, 0.0]
    torch.testing.assert_close(deviation.flatten(), torch.tensor([1.0, 1e-3]))


def test_prediction_does_not_see_hidden_patches_and_does_see_visible_ones() -> None:
    mamp = small(replace(SMALL, target="joint", masking="uniform"))
    batch = example_batch(mamp.encoder, clips=2, bodies=1)
    batch.present[:] = True
    draw = mamp.sample(batch, Draws(0, 0, torch.arange(2)))
    joints = batch.joints.clone().requires_grad_()
    encoded = mamp._encode(joints[:, 0], draw.hiding)
    prediction = mamp._decode(encoded, draw.hiding, queries_from=draw.hiding.visible.shape[1])
    (gradient,) = torch.autograd.grad(prediction.square().sum(), joints)
    per_token = mamp.grid.patchify(gradient[:, 0]).abs().sum(-1)
    assert not per_token.gather(1, draw.hiding.hidden).any()
    assert (per_token.gather(1, draw.hiding.visible) > 0).all()


def test_changing_the_hidden_input_changes_the_target_alone() -> None:
    mamp = small(replace(SMALL, masking="uniform"))
    batch = example_batch(mamp.encoder)
    draw = mamp.sample(batch, Draws(0, 0, torch.arange(4)))
    moved = mamp.grid.patchify(batch.joints.flatten(0, 1)[draw.rows.body])
    moved = moved.scatter_add(
        1, draw.hiding.hidden[..., None].expand(-1, -1, 12), torch.randn(*draw.hiding.hidden.shape, 12)
    )
    joints = batch.joints.flatten(0, 1).clone()
    joints[draw.rows.body] = mamp.grid.unpatchify(moved)
    other = Batch(joints.unflatten(0, batch.joints.shape[:2]), batch.present, batch.label, batch.row)
    before, after = mamp.predictions(batch, draw), mamp.predictions(other, draw)
    exists = mamp.grid.all_of_patch(batch.present.flatten(0, 1)[draw.rows.body])
    torch.testing.assert_close(before["prediction"][exists], after["prediction"][exists])
    assert not torch.equal(before["target"], after["target"])


def test_loss_is_the_mean_over_hidden_tokens_of_the_explained_error() -> None:
    mamp = small()
    batch = example_batch(mamp.encoder)
    batch.present[:-1] = True  # whole bodies only, so that every hidden token counts
    draw = mamp.sample(batch, Draws(0, 0, torch.arange(4)))
    output, explained = mamp(batch, draw), mamp.predictions(batch, draw)
    error = (explained["prediction"] - explained["target"]).square().mean(-1)[explained["hidden"]]
    assert output.weight == explained["hidden"].sum()
    torch.testing.assert_close(output.loss_sum / output.weight, error.mean(), rtol=1e-5, atol=1e-6)


def test_motion_into_an_absent_frame_is_no_target() -> None:
    mamp = small()
    present = torch.ones(1, 16, 20, dtype=torch.bool)
    present[0, 8, 3] = False  # the first frame of joint 3's third patch: no motion leads to it from frame 7
    exists = mamp._target_exists(present)[0].unflatten(0, (4, 20))
    assert exists[:, 3].tolist() == [True, False, False, True]
    assert exists[:, 4].all()


def test_parity_counts_absent_bodies_with_target_zero() -> None:
    mamp = small(replace(SMALL, parity=True))
    batch = example_batch(mamp.encoder)
    draw = mamp.sample(batch, Draws(0, 0, torch.arange(4)))
    assert len(draw.rows.body) == 8
    assert not mamp.predictions(batch, draw)["target"][-1].any()
    assert len(small().sample(batch, Draws(0, 0, torch.arange(4))).rows.body) == 7


def test_hidden_tokens_do_not_depend_on_how_the_batch_is_cut() -> None:
    mamp = small()
    batch = example_batch(mamp.encoder)
    batch.present[:] = True
    whole = mamp.sample(batch, Draws(0, 7, torch.arange(4)))
    half = Batch(batch.joints[2:], batch.present[2:], batch.label[2:], batch.row[2:])
    part = mamp.sample(half, Draws(0, 7, torch.arange(2, 4)))
    assert torch.equal(whole.hiding.hidden[4:], part.hiding.hidden)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_ratio": 1.0}, "between 0 and 1"),
        ({"tau": 0.0}, "masking to 'uniform'"),
        ({"stride": 0}, "at least 1"),
        ({"decoder_heads": 5}, "must divide"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **changes)


@pytest.mark.parametrize("target", ["joint", "motion"])
@pytest.mark.parametrize("normalised", [True, False])
def test_a_perfect_prediction_is_pictured_as_the_truth(target: str, normalised: bool) -> None:
    mamp = small(replace(SMALL, target=target, normalise_target=normalised))
    batch = example_batch(mamp.encoder)
    batch.present[:] = True
    perfect = {"prediction": mamp._target(batch.joints.flatten(0, 1))}
    mamp.predictions = lambda *_: perfect
    picture = mamp.explain(batch, mamp.sample(batch, Draws(0, 0, torch.arange(4))))
    torch.testing.assert_close(picture.predicted, batch.joints, rtol=0, atol=1e-4)
    assert ("standardised" in picture.note) == normalised
    assert ("every 4 frames" in picture.note) == (target == "motion")


def test_the_picture_hides_what_the_draw_hides() -> None:
    mamp = small(replace(SMALL, target="joint"))
    batch = example_batch(mamp.encoder)
    draw = mamp.sample(batch, Draws(0, 0, torch.arange(4)))
    picture = mamp.explain(batch, draw)
    per_token = mamp.grid.all_of_patch(picture.hidden.flatten(0, 1)[draw.rows.body])
    assert torch.equal(per_token, mamp.predictions(batch, draw)["hidden"])
    # Of a whole body's 80 tokens of 4 frames, int(80 * 0.25) = 20 stay visible.
    assert int(picture.hidden[0, 0].sum()) == 4 * 60
    assert int(picture.visible[0, 0].sum()) == 4 * 20
    # Joint 1 of the clip before the last is absent in frames 4 to 7, its second patch: neither visible nor hidden.
    assert not (picture.visible | picture.hidden)[-2, 0, 4:8, 1].any()
    assert not picture.hidden[-1, 1].any(), "the last clip has one body"
