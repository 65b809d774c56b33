from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from marrow.cli.arguments import parse
from marrow.cli.pretrain import build_parser
from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.grid import PatchGrid
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.objectives.amr import AMR, AMRConfig, energy, focal_weight, mean_and_deviation, motion
from marrow.objectives.masking import HidingDraw
from marrow.pretrain_config import config_of
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25
from marrow.testing import check_objective
from marrow.testing.encoders import example_batch

# The encoder reads 4 frames per token, the decoder predicts 12: 2 x 20 queries for 6 x 20 tokens.
SMALL = AMRConfig(decoder_depth=2, decoder_width=32, decoder_heads=4, mask_ratio=0.75, target_frames=12)


def small_encoder() -> PatchTransformer:
    torch.manual_seed(0)
    config = PatchTransformerConfig(width=32, depth=2, heads=4, patch_frames=4)
    return PatchTransformer(config, InputConfig(window_frames=24), KINECT_V1_20)


def small(config: AMRConfig = SMALL) -> AMR:
    return AMR(replace(config, energy_windows=(4, 8, 12)), small_encoder())


def whole(amr: AMR, clips: int = 4, bodies: int = 2) -> tuple[Batch, HidingDraw]:
    """Return a batch in which nothing is absent, and a draw."""
    larger = example_batch(amr.encoder, clips + 2, bodies)  # something is absent in the last two clips
    batch = Batch(larger.joints[:clips], larger.present[:clips], larger.label[:clips], larger.row[:clips])
    return batch, amr.sample(batch, Draws(0, 0, torch.arange(clips)))


def predict(amr: AMR, joints: Tensor, draw: HidingDraw) -> Tensor:
    return amr._decode(amr._encode(joints, draw.hiding), draw.hiding)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"target": "joint"},
        {"target": "joint", "normalise_target": "none", "masking": "motion"},
        {"normalise_target": "none", "stride": 2},
    ],
    ids=["amr", "positions", "positions in metres", "steps in metres"],
)
def test_conformance(changes: dict[str, object]) -> None:
    # Only positions can be overfitted in so few steps: the motion of the example's random walk is noise.
    overfit_steps = 150 if changes == {"target": "joint"} else 0
    check_objective(lambda: small(replace(SMALL, **changes)), overfit_steps=overfit_steps)


def test_conformance_of_parity_mode() -> None:
    check_objective(lambda: small(replace(SMALL, parity=True)), absent_matters=True, overfit_steps=0)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# Bridge 65,792; query 256; places (5 + 25) * 256 = 7,680; 5 blocks of 789,760; norm 512; prediction 256 * 72 + 72.
def test_parameter_counts() -> None:
    encoder = PatchTransformer(PatchTransformerConfig(), InputConfig(), KINECT_V2_25)
    amr = AMR(AMRConfig(), encoder)
    assert (parameters(encoder), parameters(amr) - parameters(encoder)) == (6_336_000, 4_041_544)


@pytest.mark.parametrize("ratio", [1, 2, 3, 5, 6, 10, 15, 30])
def test_there_are_as_many_queries_as_target_patches(ratio: int) -> None:
    encoder = PatchTransformer(PatchTransformerConfig(width=8, depth=1, heads=1), InputConfig(), KINECT_V2_25)
    amr = AMR(AMRConfig(target_frames=4 * ratio, decoder_depth=1, decoder_width=8, decoder_heads=1), encoder)
    batch = example_batch(encoder, clips=2, bodies=1)
    draw = amr.sample(batch, Draws(0, 0, torch.arange(2)))
    assert predict(amr, batch.joints[:, 0], draw).shape == (2, 750 // ratio, 12 * ratio)


def test_the_target_grid_need_not_fit_the_encoders_patches() -> None:
    amr = small(replace(SMALL, target_frames=6))
    batch, draw = whole(amr)
    assert amr(batch, draw).weight == 4 * 2 * 4 * 20  # clips, bodies, patches in time, joints


def test_operations_in_linear_layers_are_as_few_as_published() -> None:
    encoder = PatchTransformer(PatchTransformerConfig(), InputConfig(), KINECT_V2_25)
    amr = AMR(AMRConfig(), encoder)
    joints = torch.randn(1, 2, 120, 25, 3)
    batch = Batch(joints, torch.ones(joints.shape[:-1]) > 0, torch.zeros(1).long(), torch.arange(1))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        amr(batch, amr.sample(batch, Draws(0, 0, torch.arange(1))))
    square = 256**2
    encoded = 75 * (12 * 256 + 8 * 12 * square)
    decoded = 75 * square + 5 * (125 * 10 * square + 75 * 2 * square) + 125 * 256 * 72
    # Two operations each, two bodies; what the queries ask first is the same for both and computed once.
    expected = 2 * 2 * (encoded + decoded) - 2 * 125 * square
    assert counter.get_flop_counts()["Global"][torch.ops.aten.addmm] == expected
    assert expected / 1e9 == pytest.approx(3.8, abs=0.1)  # as published


@pytest.mark.parametrize(("rounded", "visible"), [(True, 75), (False, 74)])
def test_visible_tokens_of_750(rounded: bool, visible: int) -> None:
    encoder = PatchTransformer(PatchTransformerConfig(width=8, depth=1, heads=1), InputConfig(), KINECT_V2_25)
    config = AMRConfig(round_visible=rounded, decoder_depth=1, decoder_width=8, decoder_heads=1)
    amr = AMR(config, encoder)
    batch, draw = whole(amr, clips=1)
    assert draw.hiding.visible.shape == (2, visible)
    batch.present[0, 0, :4, 0] = False  # of 749 usable tokens 74.9 stay visible
    draw = amr.sample(batch, Draws(0, 0, torch.arange(1)))
    assert draw.hiding.visible_exists is not None
    assert draw.hiding.visible_exists.sum(1).tolist() == [75 if rounded else 74, visible]


def test_a_large_patch_is_its_small_ones_in_order_of_time() -> None:
    window = torch.randn(1, 48, 3, 3)
    fine, coarse = PatchGrid(48, 3, 4), PatchGrid(48, 3, 24)
    for joint in range(3):
        parts = [fine.patchify(window)[0, 3 * time + joint] for time in range(6)]
        assert torch.equal(coarse.patchify(window)[0, joint], torch.cat(parts))


def test_energy_by_hand() -> None:
    # Along x 0, 2, 4, 6: mean 3, squared distances 9, 1, 1, 9 -> 5. Along z 1, 1, 5, 5: mean 3, all 4 -> 4 more.
    joints = torch.zeros(1, 8, 1, 3)
    joints[0, :4, 0, 0] = torch.tensor([0.0, 2.0, 4.0, 6.0])
    joints[0, :4, 0, 2] = torch.tensor([1.0, 1.0, 5.0, 5.0])
    present = torch.ones(1, 8, 1, dtype=torch.bool)
    assert energy(joints, present, 4)[0, :, 0].tolist() == [9.0] * 4 + [0.0] * 4
    # Windows of 2: x 0, 2 -> 1, z 1, 1 -> 0; x 4, 6 -> 1, z 5, 5 -> 0.
    assert energy(joints, present, 2)[0, :, 0].tolist() == [1.0] * 4 + [0.0] * 4
    # Without the last frame: x 0, 2, 4: mean 2 -> 8/3; z 1, 1, 5: mean 7/3 -> (16 + 16 + 64) / 9 / 3 = 32/9.
    present[0, 3] = False
    joints[0, 3] = 1000.0
    torch.testing.assert_close(energy(joints, present, 4)[0, 0, 0], torch.tensor(8 / 3 + 32 / 9))


def test_weight_by_hand() -> None:
    # Mean energy 1. k = 0.01: energy 1 -> 1/1.01; 0.01 -> 1/2; 2.99 -> 2.99/3.00; 0 -> 1 / (1 + 0.01 / 1e-8) = 1e-6.
    energies = torch.tensor([1.0, 0.01, 2.99, 0.0]).reshape(1, 4, 1)
    present = torch.tensor([True, True, True, True]).reshape(1, 4, 1)
    weight = focal_weight(energies, present, 0.01, 1e-8)[0, :, 0]
    torch.testing.assert_close(weight, torch.tensor([1 / 1.01, 0.5, 2.99 / 3.0, 1e-6]), rtol=1e-4, atol=1e-7)
    # The mean is over what is present: without the calm two it is 1.995.
    present = torch.tensor([True, False, True, False]).reshape(1, 4, 1)
    weight = focal_weight(energies, present, 1.0, 1e-8)[0, :, 0]
    torch.testing.assert_close(weight[0], torch.tensor(1 / (1 + 1.995)))
    # Nothing moves, or nobody is there: all the same.
    assert (focal_weight(torch.zeros(1, 4, 1), present, 0.01, 1e-8) == 1).all()


def test_the_weights_of_the_window_lengths_are_averaged() -> None:
    # One joint of two moves in one frame of eight: the energies of windows of 4 and 8 frames differ.
    encoder = PatchTransformer(PatchTransformerConfig(width=8, depth=1, heads=1), InputConfig(8), KINECT_V1_20)
    joints = torch.zeros(1, 8, 20, 3)
    joints[0, 0, 0, 0] = 4.0
    present = torch.ones(1, 8, 20, dtype=torch.bool)
    short = energy(joints, present, 4)  # 16 * 3/16 = 3 in the first window of joint 0
    long = energy(joints, present, 8)  # 16 * 7/64 = 1.75 in all its frames
    assert (short[0, 0, 0], short[0, 4, 0], long[0, 4, 0]) == (3.0, 0.0, 1.75)
    config = AMRConfig(
        target_frames=8, energy_windows=(4, 8), focal_k=2.0, decoder_depth=1, decoder_width=8, decoder_heads=1
    )

    amr = AMR(config, encoder)
    of_joint_0 = amr.grid.unpatchify(amr._weight(joints, present))[0, :, 0, 1]
    # Mean energies: 3 * 4 / 160 = 0.075 and 1.75 * 8 / 160 = 0.0875; k e_t = 0.15 and 0.175.
    assert float(of_joint_0[0]) == pytest.approx((3 / 3.15 + 1.75 / 1.925) / 2)
    assert float(of_joint_0[4]) == pytest.approx((0 + 1.75 / 1.925) / 2, rel=1e-5)


def test_weights_lie_between_0_and_1_and_do_not_depend_on_scale() -> None:
    amr = small(replace(SMALL, focal_k=1.0))
    batch, _ = whole(amr)
    joints, present = batch.joints.flatten(0, 1), batch.present.flatten(0, 1)
    joints[:, :, 0] = joints[:, :1, 0]  # a joint that stands still
    weight = amr._weight(joints, present)
    assert 0 < float(weight.min()) < 1e-4
    assert 0.5 < float(weight.max()) <= 1
    moving = PatchGrid(24, 20, 12).patchify(torch.ones(1, 24, 20, 3).index_fill(2, torch.tensor(0), 0.0))[0] > 0
    torch.testing.assert_close(amr._weight(3.0 * joints, present)[:, moving], weight[:, moving], rtol=1e-3, atol=0)


def test_without_weights_the_loss_is_the_mean_squared_error() -> None:
    amr = small(replace(SMALL, focal_k=0.0))
    batch, draw = whole(amr)
    output = amr(batch, draw)
    joints, present = batch.joints.flatten(0, 1), batch.present.flatten(0, 1)
    error = (predict(amr, joints, draw) - amr._target(joints, present)).square().mean()
    assert output.weight == 8 * 40
    torch.testing.assert_close(output.loss_sum / output.weight, error, rtol=1e-5, atol=1e-6)


def test_the_loss_weighs_every_number_of_the_target() -> None:
    amr = small(replace(SMALL, focal_k=1.0))
    batch, draw = whole(amr)
    joints, present = batch.joints.flatten(0, 1), batch.present.flatten(0, 1)
    weight = amr._weight(joints, present)
    error = weight * (predict(amr, joints, draw) - amr._target(joints, present)).square()
    output = amr(batch, draw)
    torch.testing.assert_close(output.loss_sum / output.weight, error.mean(), rtol=1e-5, atol=1e-6)


def with_a_query_for_each_place(amr: AMR) -> AMR:
    amr.query = nn.Parameter(amr.query.detach().repeat(amr.grid.tokens, 1))
    return amr


def test_queries_do_not_see_each_other() -> None:
    batch, draw = whole(amr := with_a_query_for_each_place(small()))
    joints = batch.joints.flatten(0, 1)
    before = predict(amr, joints, draw)
    with torch.no_grad():
        amr.query[7] += 1.0
    change = (predict(amr, joints, draw) - before).abs().sum((0, 2)) > 0
    assert change.nonzero().flatten().tolist() == [7]


def test_the_prediction_does_not_see_hidden_patches_and_does_see_visible_ones() -> None:
    amr = small()
    batch, draw = whole(amr)
    joints = batch.joints.flatten(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(predict(amr, joints, draw).square().sum(), joints)
    per_token = amr.encoder.grid.patchify(gradient).abs().sum(-1)
    assert not per_token.gather(1, draw.hiding.hidden).any()
    assert (per_token.gather(1, draw.hiding.visible) > 0).all()


def test_no_gradient_goes_through_the_weights() -> None:
    amr = small(replace(SMALL, focal_k=1.0))
    joints = example_batch(amr.encoder).joints[:2, 0].requires_grad_()
    present = torch.ones(2, 24, 20, dtype=torch.bool)
    assert not amr._weight(joints, present).requires_grad


def test_changing_the_hidden_input_changes_the_target_alone() -> None:
    amr = small()
    batch, draw = whole(amr)
    joints, present = batch.joints.flatten(0, 1), batch.present.flatten(0, 1)
    place = draw.hiding.hidden[..., None].expand(-1, -1, 12)
    patches = amr.encoder.grid.patchify(joints)
    moved = amr.encoder.grid.unpatchify(patches.scatter_add(1, place, torch.randn(*place.shape)))
    torch.testing.assert_close(predict(amr, moved, draw), predict(amr, joints, draw))
    assert not torch.equal(amr._target(moved, present), amr._target(joints, present))


def test_motion_is_the_forward_difference() -> None:
    # x = 0, 1, 4 -> 1, 3, 0
    joints = torch.tensor([0.0, 1.0, 4.0]).reshape(1, 3, 1, 1).expand(1, 3, 1, 3)
    assert motion(joints, 1)[0, :, 0, 0].tolist() == [1.0, 3.0, 0.0]


def test_targets_are_standardised_as_asked() -> None:
    batch, _ = whole(amr := small())
    joints, present = batch.joints.flatten(0, 1), batch.present.flatten(0, 1)
    # By patch: the 36 numbers of one joint over 12 frames have mean 0 and variance 1 (floor and 1e-6 m² aside).
    target = amr._target(joints, present)
    torch.testing.assert_close(target.mean(-1), torch.zeros(8, 40), rtol=0, atol=1e-4)
    torch.testing.assert_close(target.var(-1), torch.ones(8, 40), rtol=0.01, atol=0)
    # Or not at all.
    amr.config = replace(amr.config, normalise_target="none")
    torch.testing.assert_close(amr.grid.unpatchify(amr._target(joints, present)), motion(joints, 1))


def test_standardisation_leaves_out_absent_frames() -> None:
    amr = small(replace(SMALL, target="joint"))
    joints, present = torch.full((1, 24, 20, 3), 100.0), torch.ones(1, 24, 20, dtype=torch.bool)
    joints[0, 0, 0] = torch.tensor([1.0, 2.0, 3.0])
    present[0, 1:12, 0] = False
    # 1, 2, 3: mean 2, unbiased variance 1 -> -1, 0, 1
    target = amr.grid.unpatchify(amr._target(joints, present))[0, 0, 0]
    torch.testing.assert_close(target, torch.tensor([-1.0, 0.0, 1.0]), rtol=0, atol=1e-5)


def test_absent_frames_of_a_target_patch_do_not_count() -> None:
    present = torch.ones(1, 24, 20, dtype=torch.bool)
    present[0, 12, 3] = False  # the first frame of joint 3's second target patch
    motions = small()._target_exists(present)[0].unflatten(0, (2, 20)).unflatten(-1, (12, 3))
    # The step that leads into it is the last of the first patch, the one that leads out the first of the second.
    assert motions[:, 3].all(-1).tolist() == [[True] * 11 + [False], [False] + [True] * 11]
    assert motions[:, 4].all()
    positions = small(replace(SMALL, target="joint"))._target_exists(present)[0].unflatten(0, (2, 20))
    assert positions[:, 3].sum(-1).tolist() == [36, 33]


@pytest.mark.parametrize("changes", [{}, {"target": "joint"}])
def test_the_loss_does_not_depend_on_what_stands_in_absent_frames(changes: dict[str, object]) -> None:
    amr = small(replace(SMALL, **changes))
    batch, _ = whole(amr)
    batch.present[:, :, 10:14, 5] = False
    draw = amr.sample(batch, Draws(0, 0, torch.arange(4)))
    other = replace(batch, joints=torch.where(batch.present[..., None], batch.joints, 7.0))
    assert not torch.equal(batch.joints, other.joints)
    ours, theirs = amr(batch, draw), amr(other, draw)
    torch.testing.assert_close(ours.loss_sum, theirs.loss_sum)
    torch.testing.assert_close(ours.weight, theirs.weight)
    if changes == {"target": "joint"}:  # 4 of 24 frames of one of 20 joints are missing, of 8 bodies with 40 patches
        assert float(ours.weight) == pytest.approx(8 * (40 - 4 / 12))


def test_mean_and_deviation_are_of_what_exists() -> None:
    values, exists = torch.tensor([[[1.0, 3.0, 99.0], [5.0, 99.0, 99.0]]]), torch.tensor([[[1, 1, 0], [0, 0, 0]]]) > 0
    mean, deviation = mean_and_deviation(values, exists)
    assert mean.tolist() == [[[2.0], [0.0]]]
    torch.testing.assert_close(deviation.square(), torch.tensor([[[2.0], [0.0]]]) + 1e-6)  # the floor


def test_parity_computes_absent_bodies_as_zeros_with_full_weight() -> None:
    amr = small(replace(SMALL, parity=True))
    batch = example_batch(amr.encoder)
    draw = amr.sample(batch, Draws(0, 0, torch.arange(4)))
    assert len(draw.rows.body) == 8
    assert amr(batch, draw).weight == 8 * 40
    zeros, present = torch.zeros(1, 24, 20, 3), torch.ones(1, 24, 20, dtype=torch.bool)
    assert not amr._target(zeros, present).any()
    assert (amr._weight(zeros, present) == 1).all()
    assert len(small().sample(batch, Draws(0, 0, torch.arange(4))).rows.body) == 7


def test_hiding_is_uniform_unless_motion_is_asked_for() -> None:
    encoder = small_encoder()
    batch = example_batch(encoder, clips=400, bodies=1)
    batch.present[:] = True
    batch.joints = torch.randn(400, 1, 1, 20, 3) + torch.zeros(400, 1, 24, 20, 3)
    batch.joints[:, :, :, 0] += 0.1 * torch.randn(400, 1, 24, 3)  # joint 0 alone moves
    shares = {}
    for masking in ("uniform", "motion"):
        amr = AMR(replace(SMALL, masking=masking), encoder)  # pyright: ignore[reportArgumentType]
        visible = amr.sample(batch, Draws(0, 0, torch.arange(400))).hiding.visible
        shares[masking] = float((visible % 20 == 0).float().mean()) * 20
    # A joint's share of the visible tokens, in shares of the even one; 400 x 30 tokens: standard deviation 0.04.
    assert shares["uniform"] == pytest.approx(1.0, abs=0.15)
    assert shares["motion"] < 0.6


@pytest.mark.parametrize("target", ["joint", "motion"])
@pytest.mark.parametrize("normalised", ["patch", "none"])
def test_a_perfect_prediction_is_pictured_as_the_truth(target: str, normalised: str) -> None:
    amr = small(replace(SMALL, target=target, normalise_target=normalised))  # pyright: ignore[reportArgumentType]
    batch, draw = whole(amr)
    amr._decode = lambda *_: amr._target(batch.joints.flatten(0, 1), batch.present.flatten(0, 1))
    picture = amr.explain(batch, draw)
    torch.testing.assert_close(picture.predicted, batch.joints, rtol=0, atol=1e-4)
    assert ("standardised" in picture.note) == (normalised == "patch")
    assert ("every 12 frames" in picture.note) == (target == "motion")


def test_the_picture_hides_what_the_draw_hides() -> None:
    amr = small(replace(SMALL, target="joint"))
    batch = example_batch(amr.encoder)
    draw = amr.sample(batch, Draws(0, 0, torch.arange(4)))
    picture = amr.explain(batch, draw)
    # Of a whole body's 120 tokens of 4 frames, 30 stay visible.
    assert int(picture.visible[0, 0].sum()) == 4 * 30
    assert int(picture.hidden[0, 0].sum()) == 4 * 90
    visible = amr.encoder.grid.all_of_patch(picture.visible.flatten(0, 1)[draw.rows.body])
    assert visible[0].nonzero().flatten().tolist() == sorted(draw.hiding.visible[0].tolist())
    # Joint 1 of the clip before the last is absent in frames 6 to 11: neither of the tokens there is hidden.
    assert not picture.hidden[-2, 0, 4:12, 1].any()
    assert not picture.hidden[-1, 1].any(), "the last clip has one body"


def test_positions_before_a_gap_are_pictured_but_no_motion_across_it() -> None:
    hidden = {}
    for target in ("joint", "motion"):
        amr = small(replace(SMALL, target=target))
        batch = example_batch(amr.encoder)
        noise = torch.rand(4, 2, 120, generator=torch.Generator().manual_seed(0))
        noise[..., 1] = 1.0  # the token of joint 1 in frames 0 to 3 is among the hidden ones
        hidden[target] = amr.explain(batch, amr.hide(batch, noise)).hidden[-2, 0, :12, 1]
    assert hidden["joint"].tolist() == [True] * 4 + [False] * 8
    assert not hidden["motion"].any()


def test_what_is_hidden_is_learned_from_what_is_visible() -> None:
    # Each clip stands at a place of its own, which every visible token tells; no batch is seen twice.
    torch.manual_seed(0)
    amr = small(replace(SMALL, target="joint", normalise_target="none"))
    optimizer = torch.optim.AdamW(amr.parameters(), lr=3e-3)
    pose, shares = torch.randn(20, 3), []
    for step in range(100):
        place = torch.randn(16, 1, 1, 1, 3, generator=torch.Generator().manual_seed(step))
        joints = (place + pose).expand(-1, -1, 24, -1, -1).contiguous()
        batch = Batch(joints, torch.ones(joints.shape[:-1]) > 0, torch.zeros(16).long(), torch.arange(16))
        output = amr(batch, amr.sample(batch, Draws(0, step, torch.arange(16))))
        optimizer.zero_grad()
        (output.loss_sum / output.weight).backward()
        optimizer.step()
        shares.append(float(output.loss_sum.detach() / output.metrics["loss_of_mean"]))
    assert shares[0] > 0.9
    assert max(shares[-10:]) < 0.2  # of the error of the mean, which knows the pose but not the place


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_ratio": 1.0}, "between 0 and 1"),
        ({"tau": 0.0}, "masking to 'uniform'"),
        ({"stride": 0}, "at least 1"),
        ({"focal_k": -0.1}, "set focal_k to 0"),
        ({"energy_floor": 0.0}, "energy_floor must be positive"),
        ({"query_std": 0.0}, "query_std must be positive"),
        ({"energy_windows": ()}, "at least one window"),
        ({"energy_windows": (4, 1)}, r"at least 2 frames, got \[4, 1\]"),
        ({"decoder_heads": 5}, "must divide"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_frames": 7}, r"objective.target_frames: 7 frames do not tile 24 frames; choose from \[1, 2, 3, 4,"),
        ({"target_frames": 0}, "objective.target_frames: 0 frames"),
        ({"energy_windows": (4, 9)}, "objective.energy_windows: 9 frames do not tile 24"),
        ({"stride": 24}, "objective.stride must be less than the 24 frames"),
    ],
)
def test_windows_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AMR(replace(SMALL, **changes), small_encoder())


def test_how_far_apart_queries_begin() -> None:
    usual, apart = (small(replace(SMALL, query_std=std)) for std in (0.02, 0.5))
    assert [float(each.joint_position.detach().std()) for each in (usual, apart)] == pytest.approx(
        [0.02, 0.5], rel=0.15
    )
    assert [float(each.time_position.detach().std()) for each in (usual, apart)] == pytest.approx([0.02, 0.5], rel=0.3)
    assert torch.equal(usual.encoder.joint_position, apart.encoder.joint_position)


def test_settings_can_be_given_on_the_command_line() -> None:
    arguments = ["--method", "amr", "--store", "s", "--out", "r", "--objective.energy-windows", "[8, 24]"]
    parser = build_parser(arguments)
    config = config_of(parser, parse(parser, [*arguments, "--objective.target-frames", "48"]))
    assert config.objective == AMRConfig(energy_windows=(8, 24), target_frames=48)
