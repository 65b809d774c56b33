import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from marrow.models.packing import Rows
from marrow.objectives.flow import (
    class_term,
    direction_class,
    direction_vector,
    flow,
    followed,
    hide_spans,
    length_of,
    log_magnitude,
    replace_hidden,
    share_of_body,
    smooth_term,
    span_count,
)
from marrow.objectives.motion_transformer import MotionTransformer, MotionTransformerConfig, MotionTransformerDraw
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25
from marrow.testing import check_objective
from marrow.testing.encoders import example_batch

CAUSAL = FrameTransformerConfig(width=32, depth=2, heads=4, readout="mean", causal=True)


def small(config: MotionTransformerConfig | None = None, frames: int = 16) -> MotionTransformer:
    torch.manual_seed(0)
    config = MotionTransformerConfig() if config is None else config
    size = CAUSAL if config.variant == "causal" else replace(CAUSAL, causal=False, readout="cls")
    return MotionTransformer(config, FrameTransformer(size, InputConfig(frames), KINECT_V1_20))


def draws(clips: int = 4, seed: int = 0) -> Draws:
    return Draws(seed, 0, torch.arange(clips))


def whole(objective: MotionTransformer, clips: int = 4) -> Batch:
    """Return a batch in which nothing is absent."""
    return example_batch(objective.encoder, clips + 2).take(slice(clips))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"variant": "rec"},
        {"variant": "flow-cls", "flow_on": "visible"},
        {"variant": "flow-reg", "flow_on": "all", "drop_path": 0.0},
        {"variant": "causal"},
        {"intervals": (1, 5), "mask_ratio": 0.7},
    ],
    ids=["rec+flow", "rec", "flow-cls", "flow-reg", "causal", "intervals"],
)
def test_conformance(changes: dict[str, object]) -> None:
    config = MotionTransformerConfig(**changes)  # pyright: ignore[reportArgumentType]
    check_objective(lambda: small(config), overfit_steps=0 if changes else 150)


# Each head: 256 * 256 + 256 = 65,792, a norm of 512, and 257 for every value. Values: poses 75; per interval directions
# 27 * 25 = 675, magnitudes 25, vectors 75. The vector of hidden frames: 256, but where nothing is hidden.
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 3 * 66_304 + 257 * (75 + 675 + 25) + 256),
        ({"variant": "rec"}, 66_304 + 257 * 75 + 256),
        ({"variant": "flow-cls", "intervals": (1, 5, 10)}, 2 * 66_304 + 257 * 3 * (675 + 25) + 256),
        ({"variant": "flow-reg"}, 66_304 + 257 * 75 + 256),
        ({"variant": "causal"}, 2 * 66_304 + 257 * (675 + 25)),
    ],
)
def test_parameter_counts(changes: dict[str, object], expected: int) -> None:
    config = MotionTransformerConfig(**changes)  # pyright: ignore[reportArgumentType]
    size = FrameTransformerConfig(readout="mean", causal=config.variant == "causal")
    objective = MotionTransformer(config, FrameTransformer(size, InputConfig(64), KINECT_V2_25))
    assert parameters(objective) - parameters(objective.encoder) == expected


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_flow_is_the_forward_difference_where_both_ends_are_there() -> None:
    """x = 0, 1, 4, 9 leads by 1, 3, 5; over two frames by 4, 8. A gap at frame 2 leaves one step, and none of two."""
    joints = torch.zeros(1, 4, 1, 3)
    joints[0, :, 0, 0] = torch.tensor([0.0, 1.0, 4.0, 9.0])
    present = torch.ones(1, 4, 1, dtype=torch.bool)
    steps, known = flow(joints, present, 1)
    assert (steps[0, :, 0, 0].tolist(), known[0, :, 0].tolist()) == ([1, 3, 5, 0], [True, True, True, False])
    steps, known = flow(joints, present, 2)
    assert (steps[0, :, 0, 0].tolist(), known[0, :, 0].tolist()) == ([4, 8, 0, 0], [True, True, False, False])
    present[0, 2] = False
    steps, known = flow(joints, present, 1)
    assert (steps[0, :, 0, 0].tolist(), known[0, :, 0].tolist()) == ([1, 0, 0, 0], [True, False, False, False])


def test_directions_by_hand() -> None:
    """With a dead zone of 5 mm: x up, y still, z down is 2 + 3 * 1 + 9 * 0 = 5; all still 13; all up 26; all down 0."""
    moved = torch.tensor([[0.01, 0.0, -0.02], [0.005, -0.005, 0.0], [1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])
    assert direction_class(moved, 0.005).tolist() == [5, 13, 26, 0]
    assert direction_class(moved, 0.0).tolist() == [5, 2 + 3 * 0 + 9 * 1, 26, 0]
    numbers = torch.arange(27)
    assert direction_class(direction_vector(numbers), 0.1).tolist() == numbers.tolist()
    torch.testing.assert_close(direction_vector(torch.tensor(5)), torch.tensor([1.0, 0.0, -1.0]) / math.sqrt(2))


def test_magnitudes_by_hand() -> None:
    """(3, 0, 4) cm is 5 cm long: log(1 + 5) with a unit of 1 cm."""
    magnitude = log_magnitude(torch.tensor([[0.03, 0.0, 0.04], [0.0, 0.0, 0.0]]), 0.01)
    torch.testing.assert_close(magnitude, torch.tensor([math.log(6.0), 0.0]))
    torch.testing.assert_close(length_of(magnitude, 0.01), torch.tensor([0.05, 0.0]))
    assert length_of(torch.tensor(-1.0), 0.01) == 0


def test_spans_by_hand() -> None:
    """Ten frames, four to hide, spans of 2 or 3: 3 frames from 6 on (6, 7, 8), then of 2 from 1 on only the first."""
    noise = torch.tensor([[[0.5, 6.5 / 8], [0.0, 1.5 / 9], [0.9, 0.0]]])
    hidden = hide_spans(noise, torch.ones(1, 10, dtype=torch.bool), 0.4, 2, 0.3)
    assert hidden[0].nonzero().flatten().tolist() == [1, 6, 7, 8]


def test_spans_count_usable_frames_alone() -> None:
    """Without frames 2 to 4, the third to fifth that are left are 5, 6 and 7; of seven, three are to hide (2.8)."""
    usable = torch.ones(1, 10, dtype=torch.bool)
    usable[0, 2:5] = False
    hidden = hide_spans(torch.tensor([[[0.0, 2.5 / 5]]]), usable, 0.4, 3, 0.2)
    assert hidden[0].nonzero().flatten().tolist() == [5, 6, 7]


@pytest.mark.parametrize(("frames", "ratio"), [(64, 0.4), (120, 0.4), (16, 0.6), (300, 0.8), (64, 0.95)])
def test_as_many_frames_are_hidden_as_the_ratio_says(frames: int, ratio: float) -> None:
    generator = torch.Generator().manual_seed(0)
    usable = torch.rand(200, frames, generator=generator) < 0.8
    usable[0] = True
    noise = torch.rand(200, span_count(frames, ratio, 3, 0.2), 2, generator=generator)
    hidden = hide_spans(noise, usable, ratio, 3, 0.2)
    count = usable.sum(1).tolist()
    assert not (hidden & ~usable).any()
    assert hidden.sum(1).tolist() == [min(math.ceil(ratio * each), each - 1) for each in count]


def test_lengths_of_spans_are_uniform() -> None:
    """One span for each of 3,000 bodies of 64 frames: 3 to 12 frames, a tenth each; the ratio cuts none of them."""
    noise = torch.rand(3000, 1, 2, generator=torch.Generator().manual_seed(0))
    length = hide_spans(noise, torch.ones(3000, 64, dtype=torch.bool), 0.5, 3, 0.2).sum(1)
    assert length.bincount().tolist()[:3] == [0, 0, 0]
    assert len(length.bincount()) == 13
    assert (length.bincount()[3:] / 3000 - 0.1).abs().max() < 0.025  # four and a half standard errors


def test_one_frame_is_never_hidden() -> None:
    usable = torch.zeros(2, 8, dtype=torch.bool)
    usable[0, 3], usable[1, 3:5] = True, True
    hidden = hide_spans(torch.rand(2, 30, 2, generator=torch.Generator().manual_seed(0)), usable, 0.9, 3, 0.2)
    assert hidden.sum(1).tolist() == [0, 1]


def test_hidden_frames_become_the_vector_another_frame_or_stay() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.rand(500, 64, generator=generator) < 0.4
    visible = ~hidden & (torch.rand(500, 64, generator=generator) < 0.9)
    vector, source = replace_hidden(torch.rand(500, 64, 2, generator=generator), hidden, visible, 0.8, 0.1)
    moved = source != torch.arange(64)
    assert not ((vector | moved) & ~hidden).any()
    assert not (vector & moved).any()
    # About 12,800 hidden frames: a standard error of 0.35 points for 80 %, 0.27 for 10 %.
    assert abs(float(vector.sum() / hidden.sum()) - 0.8) < 0.015
    assert abs(float(moved.sum() / hidden.sum()) - 0.1) < 0.012
    body = torch.arange(500)[:, None].expand(-1, 64)
    assert visible[body[moved], source[moved]].all()
    assert source[moved].float().mean() == pytest.approx(31.5, abs=3.0)  # 1,280 of them: a standard error of 0.5


def predictions(objective: MotionTransformer, joints: Tensor, batch: Batch, draw: MotionTransformerDraw) -> Tensor:
    encoded = objective._encode(joints.flatten(0, 1), batch.present.flatten(0, 1), draw, None)
    return torch.cat([objective._say(name, encoded).flatten(2) for name in objective.heads], dim=2)


def test_predictions_depend_on_what_is_shown_alone() -> None:
    """A frame has a gradient if it is visible, or hidden and shown as it is; never if the vector or another one is."""
    objective = small()
    batch = whole(objective, clips=16)
    draw = objective.sample(batch, draws(16))
    joints = batch.joints.clone().requires_grad_()
    predictions(objective, joints, batch, draw).square().sum().backward()
    assert joints.grad is not None
    reaches = joints.grad.flatten(0, 1).abs().sum((2, 3)) > 0
    as_it_is = ~draw.vector & (draw.source == torch.arange(16))
    assert torch.equal(reaches, as_it_is)
    assert (draw.hidden & as_it_is).any()
    assert (draw.hidden & ~draw.vector & ~as_it_is).any()


def test_the_causal_variant_sees_no_future() -> None:
    objective = small(MotionTransformerConfig(variant="causal"))
    batch = whole(objective, clips=1)
    draw = objective.sample(batch, draws(1))
    assert not draw.hidden.any()
    joints = batch.joints.clone().requires_grad_()
    predictions(objective, joints, batch, draw)[0, 6].square().sum().backward()
    assert joints.grad is not None
    reached = joints.grad[0, 0].abs().sum((1, 2))
    assert (reached[:7] > 0).all()
    assert not reached[7:].any()


def drawn(objective: MotionTransformer, hidden: list[int], frames: int = 8) -> MotionTransformerDraw:
    """Return a draw for one body in which some frames are hidden, all of them behind the vector."""
    flags = torch.zeros(1, frames, dtype=torch.bool)
    flags[0, hidden] = True
    usable = torch.ones(1, frames, dtype=torch.bool)
    return MotionTransformerDraw(Rows(torch.tensor([0])), usable, None, flags, flags, torch.arange(frames)[None], None)


@pytest.mark.parametrize(
    ("flow_on", "interval", "expected"),
    [
        ("hidden", 1, [2, 3, 4, 6, 7]),  # from 2 into 3, from 4 out of the span, from 6 into 7
        ("visible", 1, [0, 1, 5]),
        ("all", 1, list(range(8))),
        ("hidden", 3, [0, 1, 3, 4, 7]),  # from 0 into 3, from 1 and 4 into 4 and 7
    ],
)
def test_where_flow_is_predicted(flow_on: str, interval: int, expected: list[int]) -> None:
    config = MotionTransformerConfig(flow_on=flow_on, intervals=(interval,))  # pyright: ignore[reportArgumentType]
    objective = small(config, frames=8)
    assert objective._predicted_flow(drawn(objective, [3, 4, 7]))[0, :, 0].nonzero().flatten().tolist() == expected


def test_every_interval_has_its_own_places() -> None:
    objective = small(MotionTransformerConfig(intervals=(1, 3)), frames=8)
    wanted = objective._predicted_flow(drawn(objective, [3]))
    assert [wanted[0, :, each].nonzero().flatten().tolist() for each in (0, 1)] == [[2, 3], [0, 3]]


def test_shares_sum_to_one_for_every_body_that_counts() -> None:
    counts = torch.tensor([[[True, True], [True, True]], [[True, False], [False, False]], [[False, False]] * 2])
    share = share_of_body(counts)
    assert share.tolist() == [[[0.25, 0.25], [0.25, 0.25]], [[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]


def test_smooth_error_by_hand() -> None:
    """Errors 0.5 and 3 cost 0.125 and 2.5; of the mean target, 2, targets 0 and 4 are 2 away, which costs 1.5."""
    target = torch.tensor([0.0, 4.0]).view(2, 1, 1)
    term = smooth_term(torch.tensor([0.5, 1.0]).view(2, 1, 1), target, torch.full((2, 1), 0.5))
    assert (float(term.loss), float(term.loss_of_mean)) == (0.5 * (0.125 + 2.5), 1.5)


def test_class_error_by_hand() -> None:
    """Equal logits cost log 27. Of four frames three have one class: an entropy of log 4 - 3/4 log 3."""
    number = torch.tensor([13, 13, 5, 13]).view(4, 1, 1)
    term = class_term(torch.zeros(4, 1, 1, 27), number, torch.full((4, 1, 1), 0.25))
    assert float(term.loss) == pytest.approx(math.log(27))
    assert float(term.loss_of_mean) == pytest.approx(math.log(4) - 0.75 * math.log(3))


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    batch = whole(small())
    losses = {}
    weights = {
        "pose": (1.0, 0.0, 0.0),
        "direction": (0.0, 1.0, 0.0),
        "magnitude": (0.0, 0.0, 1.0),
        "all": (2.0, 3.0, 4.0),
    }
    for name, (pose, direction, magnitude) in weights.items():
        objective = small(
            MotionTransformerConfig(pose_weight=pose, direction_weight=direction, magnitude_weight=magnitude)
        )
        output = objective(batch, objective.sample(batch, draws()))
        assert output.weight == 8  # bodies
        losses[name] = float(output.loss_sum.detach())
    expected = 2 * losses["pose"] + 3 * losses["direction"] + 4 * losses["magnitude"]
    assert losses["all"] == pytest.approx(expected, rel=1e-5)


def still(objective: MotionTransformer) -> Batch:
    """Return a batch in which nothing moves."""
    batch = whole(objective)
    return replace(batch, joints=batch.joints[:, :, :1].expand_as(batch.joints).contiguous())


def test_where_nothing_moves_one_direction_is_right() -> None:
    """All flow has class 13: the commonest direction is right everywhere, and guessing it costs nothing."""
    objective = small(MotionTransformerConfig(variant="flow-cls"))
    head = objective.heads["direction"]
    assert isinstance(head, nn.Sequential)
    nn.init.zeros_(head[-1].weight)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        head[-1].bias.copy_((torch.arange(27) == 13).repeat(20) * 9.0)  # pyright: ignore
    batch = still(objective)
    output = objective(batch, objective.sample(batch, draws()))
    percent = {name: float(metric / output.weight) for name, metric in output.metrics.items()}
    assert percent["direction_accuracy_percent"] == pytest.approx(100.0, rel=1e-5)
    assert percent["direction_majority_percent"] == pytest.approx(100.0, rel=1e-5)
    assert percent["loss_of_mean"] == pytest.approx(0.0, abs=1e-6)


def test_metrics_of_the_poses_are_in_units_of_the_input() -> None:
    """Poses are predicted at the origin, joints stand at (3, 0, 4): an error of 5."""
    objective = small(MotionTransformerConfig(variant="rec"))
    nn.init.zeros_(objective.heads["pose"][-1].weight)  # pyright: ignore
    nn.init.zeros_(objective.heads["pose"][-1].bias)  # pyright: ignore
    batch = whole(objective)
    batch = replace(batch, joints=torch.tensor([3.0, 0.0, 4.0]).expand_as(batch.joints).contiguous())
    output = objective(batch, objective.sample(batch, draws()))
    assert float(output.metrics["pose_error"] / output.weight) == pytest.approx(5.0)
    # In units of 0.1: errors 30, 0 and 40 cost 29.5, 0 and 39.5.
    assert float(output.loss_sum.detach() / output.weight) == pytest.approx(23.0)


def test_a_single_frame_does_not_count() -> None:
    objective = small()
    batch = whole(objective)
    batch.present[0, 0, 1:] = False
    output = objective(batch, objective.sample(batch, draws()))
    assert output.weight == 7
    assert torch.isfinite(output.loss_sum)


def test_padding_at_the_end_takes_no_part() -> None:
    objective = small()
    batch = whole(objective)
    batch.present[:, :, 9:] = False
    batch = replace(batch, frame_count=torch.full((4,), 9))
    draw = objective.sample(batch, draws())
    assert draw.hidden.sum(1).tolist() == [4] * 8  # of nine frames, 3.6
    assert not draw.hidden[:, 9:].any()
    loss = objective(batch, draw).loss_sum
    noisy = replace(batch, joints=torch.where(batch.present[..., None], batch.joints, 9.0))
    assert torch.equal(objective(noisy, draw).loss_sum, loss)


def test_steps_are_followed_from_the_last_given_place() -> None:
    """Given 1 and, two frames later, 7, steps of 2: reached 1, 3, 5, then from 7 on 9."""
    joints = torch.tensor([1.0, 0.0, 7.0, 0.0]).view(1, 4, 1, 1).expand(-1, -1, -1, 3)
    given = torch.tensor([True, False, True, False]).view(1, 4, 1)
    reached = followed(torch.full((1, 4, 1, 3), 2.0), joints, given, 1)
    assert reached[0, :, 0, 0].tolist() == [1.0, 3.0, 5.0, 9.0]


@pytest.mark.parametrize("variant", ["rec+flow", "rec", "flow-cls", "flow-reg", "causal"])
def test_pictures(variant: str) -> None:
    objective = small(MotionTransformerConfig(variant=variant))  # pyright: ignore[reportArgumentType]
    batch = whole(objective)
    draw = objective.sample(batch, draws())
    picture = objective.explain(batch, draw)
    assert (picture.note == "") == ("rec" in variant)
    if variant == "causal":
        assert picture.visible.any(3).sum(2).tolist() == [[1, 1]] * 4
    else:
        as_it_is = ~draw.vector & (draw.source == torch.arange(16))
        assert torch.equal(picture.hidden[..., 0].flatten(0, 1), draw.hidden & ~as_it_is)
    assert torch.equal(picture.visible, ~picture.hidden)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_ratio": 1.0}, "mask_ratio must lie between 0 and 1"),
        ({"shortest_span": 0}, "shortest_span must be at least 1"),
        ({"vector_share": 0.8, "swapped_share": 0.3}, "sum to 1 at most"),
        ({"intervals": ()}, "must name at least one"),
        ({"intervals": (1, 1)}, "each of at least 1 and once"),
        ({"intervals": (1, 16)}, "less than the 16 frames of the window"),
        ({"pose_unit_metres": 0.0}, "pose_unit_metres must be positive"),
        ({"magnitude_weight": -1.0}, "magnitude_weight must not be negative"),
        ({"drop_path": 1.0}, "drop_path must lie in"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(MotionTransformerConfig(**changes))  # pyright: ignore[reportArgumentType]


def test_the_encoder_must_suit_the_variant() -> None:
    seeing_all = FrameTransformer(replace(CAUSAL, causal=False), InputConfig(16), KINECT_V1_20)
    with pytest.raises(ConfigError, match=r"'causal' needs encoder\.causal true, got false"):
        MotionTransformer(MotionTransformerConfig(variant="causal"), seeing_all)
    with pytest.raises(ConfigError, match=r"'rec\+flow' needs encoder\.causal false, got true"):
        MotionTransformer(MotionTransformerConfig(), FrameTransformer(CAUSAL, InputConfig(16), KINECT_V1_20))
