import math

import pytest
import torch

from marrow.models.features import (
    chance_percent,
    effective_rank,
    leave_one_out_percent,
    nearest_neighbours,
    spread_percent,
)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_directions_that_are_used_alike_count_one_each(rank: int) -> None:
    features = torch.zeros(20, 8)
    features[:rank, :rank] = 5.0 * torch.eye(rank)
    assert effective_rank(features) == pytest.approx(rank, rel=1e-4)


def test_multiples_of_one_vector_have_rank_one() -> None:
    features = torch.linspace(-2, 3, 50)[:, None] * torch.tensor([1.0, 2.0, -1.0])
    assert effective_rank(features) == pytest.approx(1.0, abs=1e-4)


def test_unequal_directions_by_hand() -> None:
    # Singular values 3 and 1: shares 3/4 and 1/4, entropy 0.75 ln(4/3) + 0.25 ln 4 = 0.562335, exp 1.754765.
    features = torch.diag(torch.tensor([3.0, 1.0]))
    assert effective_rank(features) == pytest.approx(math.exp(0.562335), rel=1e-5)
    assert effective_rank(features) == pytest.approx(4 / 3**0.75, rel=1e-5)


def test_rank_knows_neither_scale_nor_order_nor_rotation() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(30, 6, generator=generator)
    turned = features @ torch.linalg.qr(torch.randn(6, 6, generator=generator))[0]
    for other in (100.0 * features, features.flip(0), turned):
        assert effective_rank(other) == pytest.approx(effective_rank(features), rel=1e-4)


def test_nothing_at_all_has_rank_one_and_no_spread() -> None:
    assert effective_rank(torch.zeros(10, 4)) == pytest.approx(1.0, abs=1e-4)
    assert spread_percent(torch.zeros(10, 4)) == 0.0


def test_spread_by_hand() -> None:
    # Mean (4, 0); both are 3 away from it, and 5 long.
    assert spread_percent(torch.tensor([[4.0, 3.0], [4.0, -3.0]])) == pytest.approx(60.0)
    assert spread_percent(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(100.0)
    assert spread_percent(torch.ones(5, 3)) == pytest.approx(0.0, abs=1e-6)


def test_spread_sees_small_differences_beside_a_large_mean() -> None:
    # Deviations of 1e-3 beside a length of 1: 0.1 %.
    features = torch.tensor([[1.0, 1e-3], [1.0, -1e-3]])
    assert spread_percent(features) == pytest.approx(0.1, rel=1e-3)


def test_leave_one_out_on_five_directions() -> None:
    # Angles in degrees; nearest others: 0 -> 10, 10 -> 0, 25 -> 10, 90 -> 100, 100 -> 90.
    angle = torch.deg2rad(torch.tensor([0.0, 10.0, 25.0, 90.0, 100.0]))
    features = torch.stack([angle.cos(), angle.sin()], 1) * torch.tensor([[1.0], [9.0], [2.0], [3.0], [0.1]])
    assert leave_one_out_percent(features, torch.tensor([0, 0, 0, 1, 1])) == 100.0
    assert leave_one_out_percent(features, torch.tensor([0, 0, 1, 1, 0])) == 40.0
    # Asked without leaving itself out, everyone's nearest is itself.
    assert nearest_neighbours(features, features).tolist() == [0, 1, 2, 3, 4]


def test_chance_is_that_of_another_clip_of_the_same_class() -> None:
    # Of the 12 ordered pairs of 4 clips, 2 + 2 agree for classes of two; for (3, 1): 6.
    assert chance_percent(torch.tensor([0, 0, 1, 1])) == pytest.approx(100 * 4 / 12)
    assert chance_percent(torch.tensor([0, 2, 2, 2])) == pytest.approx(50.0)


def test_features_that_know_nothing_score_at_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(600) % 6
    scores = [leave_one_out_percent(torch.randn(600, 16, generator=generator), label) for _ in range(5)]
    # Five times 600 clips at 16.5 %: one standard error is 0.7 points.
    assert sum(scores) / 5 == pytest.approx(chance_percent(label), abs=2.1)


def test_neighbours_of_other_groups() -> None:
    # On a circle, in degrees: 0 and 10 are one person's, 30 and 90 another's.
    angle = torch.deg2rad(torch.tensor([0.0, 10.0, 30.0, 90.0]))
    features, person = torch.stack([angle.cos(), angle.sin()], dim=1), torch.tensor([0, 0, 1, 1])
    label = torch.tensor([0, 0, 1, 0])
    # Among all: 0 -> 10 right, 10 -> 0 right, 30 -> 10 wrong, 90 -> 30 wrong.
    assert leave_one_out_percent(features, label) == 50.0
    # Among the other's: 0 -> 30 wrong, 10 -> 30 wrong, 30 -> 10 wrong, 90 -> 10 right.
    assert leave_one_out_percent(features, label, person) == 25.0
    # A clip drawn from the other's: 0 and 10 have one of two with their label, 30 none of two, 90 two of two.
    assert chance_percent(label, person) == pytest.approx(100 * (0.5 + 0.5 + 0.0 + 1.0) / 4)


def test_who_has_nobody_else_is_not_asked() -> None:
    features = torch.eye(3)
    assert math.isnan(chance_percent(torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1])))
    assert math.isnan(leave_one_out_percent(features, torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1])))
