"""Tests of Hi-TRS."""

import math
from dataclasses import replace

import pytest
import torch

from marrow.data.draws import Draws
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.blocks import Dropout
from marrow.models.hierarchical_transformer import HierarchicalTransformer, HierarchicalTransformerConfig
from marrow.models.packing import Rows
from marrow.objectives.disorder import chosen, distant_pair, moving_clips, swapped
from marrow.objectives.hi_trs import HiTRS, HiTRSConfig
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
    check_objective(lambda: small(encoder=replace(SMALL, dropout=0.2)), noise_by_place=True, overfit_steps=0)


def test_parameters_in_pre_training() -> None:
    """7,051,143 as counted from the released code; the heads are 387 + 514 + 1,026 + 131,328 of them.

    The frame level of width 128 with inner width 512 and an MLP of 128: a layer has 4 * 128 * 512 weights of attention,
    2 * (128 * 128 + 128) of the MLP and 4 * 128 of the norms, 295,680; three of them 887,040.
    """
    encoder = HierarchicalTransformer(HierarchicalTransformerConfig(), InputConfig(300), KINECT_V2_25)
    objective = HiTRS(HiTRSConfig(), encoder)
    assert sum(p.numel() for p in objective.parameters()) == 7_051_143
    assert sum(p.numel() for p in encoder.frame_layers.parameters()) == 887_040
    assert sum(p.numel() for p in encoder.clip_layers.parameters()) == 1_773_696
    assert sum(p.numel() for p in encoder.sequence_layers.parameters()) == 3_940_608


def test_what_replaces_the_selected_joints() -> None:
    """Of 15 % of the joints, 80 % become (1, 1, 1), 10 % another joint of another frame, 10 % stay."""
    objective, clips = small(), 64
    batch = example_batch(objective.encoder, clips=clips, bodies=1)
    draw = objective.sample(batch, draws(clips))
    joints = batch.joints[:, 0]
    assert not (draw.selected & ~batch.present[:, 0]).any()
    count = int(batch.present.sum())
    # Three standard deviations of a binomial count.
    assert abs(int(draw.selected.sum()) - 0.15 * count) < 3 * math.sqrt(count * 0.15 * 0.85)
    given = objective.shown(batch, draw)
    assert torch.equal(given[~draw.selected], joints[~draw.selected])
    shown, truth = given[draw.selected], joints[draw.selected]
    constant = (shown == 1.0).all(1)
    same = (shown == truth).all(1)
    number = len(shown)
    for flags, share in ((constant, 0.8), (same, 0.1), (~constant & ~same, 0.1)):
        assert abs(int(flags.sum()) - share * number) < 3 * math.sqrt(number * share * (1 - share))

    # Every replaced place is that of another joint in another frame of the same sequence.
    for clip, time, joint in (draw.selected & (given != joints).any(-1)).nonzero()[:200].tolist():
        place = given[clip, time, joint]
        if not torch.equal(place, torch.ones(3)):
            same_place = (joints[clip] == place).all(-1).nonzero().tolist()
            assert any(t != time and v != joint for t, v in same_place)


def test_no_prediction_depends_on_the_true_place_of_a_joint_replaced_by_the_constant() -> None:
    objective = small(HiTRSConfig(constant_share=1.0, swapped_share=0.0)).eval()
    batch = example_batch(objective.encoder)
    draw = objective.sample(batch, draws(4))
    batch.joints.requires_grad_()
    objective.answers(batch, draw)["pose"].sum().backward()
    assert batch.joints.grad is not None
    gradient = batch.joints.grad.flatten(0, 1)[draw.rows.body]
    assert not gradient[draw.selected].any()
    assert gradient[~draw.selected].any()


def test_no_gradient_into_the_future_clip() -> None:
    """Only the context learns from the future clip: nothing flows through the target."""
    objective = small().eval()
    batch = example_batch(objective.encoder)
    said = objective.answers(batch, objective.sample(batch, draws(4)))
    assert not said["future_target"].requires_grad
    assert said["future"].requires_grad


def test_the_future_clip_of_each_is_its_own_last_one_and_hidden_from_its_context() -> None:
    """Sequences of 28 and 15 frames have 4 and 3 clips; what comes after 15 frames is nobody's."""
    objective = small().eval()
    batch = example_batch(objective.encoder, clips=2, bodies=1)
    batch.frame_count = torch.tensor([28, 15])
    batch.present[1, :, 15:] = False
    draw = objective.sample(batch, draws(2))
    assert not draw.selected[1, 15:].any()
    assert sorted(draw.clip_swap[1].tolist()) == [0, 1]  # two clips of context: both change places
    said = objective.answers(batch, draw)

    # Alone, with a window that ends where the sequence does, it is the same.
    short = batch.take(torch.tensor([1]))
    short.joints, short.present, short.frame_count = short.joints[:, :, :15], short.present[:, :, :15], None
    own = torch.tensor([1])
    alone = replace(
        draw,
        rows=Rows(torch.tensor([0])),
        frames=draw.frames[own],
        selected=draw.selected[own, :15],
        constant=draw.constant[own, :15],
        source=draw.source[own, :15],
        centre=draw.centre[own],
        moves=draw.moves[own],
        frame_swap=draw.frame_swap[own],
        clip_swap=draw.clip_swap[own],
    )
    again = objective.answers(short, alone)
    for name in ("future", "future_target"):
        torch.testing.assert_close(again[name][0], said[name][1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(again["sequence_order"], said["sequence_order"][[1, 3]], rtol=1e-4, atol=1e-5)

    # The third clip (frames 8 to 20) is the target: frames 13 and 14 are in no other, and so no matter to the context.
    own_places = torch.arange(draw.source[0].numel()).view_as(draw.source[:1]).expand_as(draw.source)
    as_it_is = replace(draw, constant=torch.zeros_like(draw.constant), source=own_places)
    batch.joints.requires_grad_()
    objective.answers(batch, as_it_is)["sequence_order"][[1, 3]].sum().backward()
    assert batch.joints.grad is not None
    moved = batch.joints.grad[1, 0].flatten(1).any(1)
    # The context's clips are centred on 0 and 7: frames 0, 2, 4, 6 and 1, 3, ..., 13; not 8, 10, 12, 14.
    assert moved.nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13]


def test_future_loss_is_the_contrastive_one() -> None:
    """InfoNCE by hand: similarities 1 and 0 for its own and the other one's, at temperature 0.5.

    Each of two sequences: -log(e^2 / (e^2 + e^0)) = log(1 + e^-2) = 0.126928.
    """
    objective = small(
        HiTRSConfig(temperature=0.5, pose_weight=0.0, clip_order_weight=0.0, sequence_order_weight=0.0)
    ).eval()
    batch = example_batch(objective.encoder, clips=2, bodies=1)
    draw = objective.sample(batch, draws(2))
    said = objective.answers(batch, draw)
    along = torch.zeros_like(said["future_target"])
    along[0, 0], along[1, 1] = 3.0, 0.2  # lengths do not matter
    objective.answers = lambda *_: {**said, "future": along, "future_target": 5.0 * along}  # pyright: ignore
    output = objective(batch, draw)
    assert float(output.loss_sum.detach() / output.weight) == pytest.approx(math.log(1 + math.exp(-2)))
    assert float(output.metrics["future_percent"] / output.weight) == 100.0


def test_clips_that_do_not_move_do_not_count() -> None:
    objective = small(HiTRSConfig(pose_weight=0.0, sequence_order_weight=0.0, future_weight=0.0)).eval()
    batch = example_batch(objective.encoder, clips=2, bodies=1)
    batch.present[:] = True
    batch.joints[1] = batch.joints[1, :, :1]  # stands still
    draw = objective.sample(batch, draws(2))
    assert draw.moves.tolist() == [True, False]
    with_still_one = objective(batch, draw)
    said = objective.answers(batch, draw)["clip_order"].detach()
    # Of four answers (in order, in order, exchanged, exchanged) the first and third are the moving sequence's.
    expected = -(said[0].log_softmax(0)[1] + said[2].log_softmax(0)[0]) / 2
    assert float(with_still_one.loss_sum.detach() / with_still_one.weight) == pytest.approx(float(expected), rel=1e-5)


def test_a_clip_moves_where_one_of_its_frames_does() -> None:
    """One joint moves between frames 8 and 9 of 20: frame 9 has flow, and is in the clips centred on 3, 5, ..., 15.

    A clip of 7 frames takes every second one, from its centre - 6 to its centre + 6.
    """
    joints = torch.zeros(1, 20, 2, 3)
    joints[0, 9:, 1, 2] = 0.1
    present = torch.ones(1, 20, 2, dtype=torch.bool)
    moving = moving_clips(joints, present, torch.tensor([20]), 7, 2)
    assert moving[0].nonzero().flatten().tolist() == [3, 5, 7, 9, 11, 13, 15]

    # Frames beyond the end of the sequence are no centres; a step out of an absent frame is no flow.
    moving = moving_clips(joints, present, torch.tensor([12]), 7, 2)
    assert moving[0].nonzero().flatten().tolist() == [3, 5, 7, 9, 11]
    present[0, 8, 1] = False
    assert not moving_clips(joints, present, torch.tensor([20]), 7, 2).any()


def test_each_moving_clip_is_chosen_equally_often() -> None:
    candidates = torch.tensor([[False, True, False, True, True], [False] * 5])
    uniform = torch.arange(300) / 300
    found = torch.stack([chosen(candidates, torch.tensor([u, u])) for u in uniform.tolist()])
    assert found[:, 0].bincount().tolist() == [0, 100, 0, 100, 100]
    assert not found[:, 1].any()


@pytest.mark.parametrize("count", [2, 3, 5, 7])
def test_every_pair_that_is_far_enough_apart_is_drawn_equally_often(count: int) -> None:
    """Of 7 places there are 15 pairs (a, b) with b >= a + 2: 5 + 4 + 3 + 2 + 1. Of 2 there is one."""
    fine = max(1, (count - 1) * (count - 2))  # cells of equal size in the square of the two uniform numbers
    grid = (torch.arange(fine) + 0.5) / fine
    uniform = torch.cartesian_prod(grid, grid)
    pairs = distant_pair(torch.full((len(uniform),), count), uniform)
    low, high = pairs.unbind(1)
    expected = [(0, 1)] if count == 2 else [(a, b) for a in range(count) for b in range(a + 2, count)]
    found = {pair: int(((low == pair[0]) & (high == pair[1])).sum()) for pair in expected}
    assert sum(found.values()) == len(uniform)
    assert len(set(found.values())) == 1, found


def test_two_items_change_places() -> None:
    items = torch.tensor([[10, 11, 12, 13], [20, 21, 22, 23]])
    assert swapped(items, torch.tensor([[0, 2], [3, 1]])).tolist() == [[12, 11, 10, 13], [20, 23, 22, 21]]


def test_dropout_follows_from_the_draw_alone() -> None:
    objective = small(encoder=replace(SMALL, dropout=0.5))
    batch = example_batch(objective.encoder)
    draw = objective.sample(batch, draws(4))
    assert draw.dropout is not None
    first = objective(batch, draw).loss_sum
    other = objective(batch, replace(draw, dropout=Dropout(draw.dropout.key + 1, 0.5))).loss_sum
    assert not torch.equal(first, other)
    assert small().sample(batch, draws(4)).dropout is None


def test_too_few_clips_are_refused() -> None:
    """Three clips need 15 frames: centres on 0, 7 and 14."""
    for input, fine in (
        (InputConfig(14), False),
        (InputConfig(15), True),
        (InputConfig(60, pace="recorded", min_frames=14), False),
        (InputConfig(60, pace="recorded", min_frames=15), True),
    ):
        encoder = HierarchicalTransformer(replace(SMALL, max_clips=9), input, KINECT_V1_20)
        if fine:
            HiTRS(HiTRSConfig(), encoder)
        else:
            with pytest.raises(ConfigError, match=r"at least 3 clips, which are 15 frames .* the shortest has 14"):
                HiTRS(HiTRSConfig(), encoder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_ratio": 0.0}, "mask_ratio must lie between 0 and 1, got 0.0"),
        ({"constant_share": 0.9, "swapped_share": 0.2}, "at most 1 together, got 0.9 and 0.2"),
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ({"future_weight": -1.0}, "future_weight must not be negative, got -1.0"),
    ],
)
def test_impossible_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HiTRSConfig(**settings)
