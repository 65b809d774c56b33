import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from marrow.data.batch import Batch
from marrow.errors import ConfigError
from marrow.models.grid import PatchGrid
from marrow.objectives.masking import (
    Hiding,
    hide,
    hide_all_but_smallest,
    motion_guided_order,
    motion_intensity,
    visible_count,
)


def test_visible_count_truncates_as_the_released_code() -> None:
    # 750 * (1 - 0.9) is 74.99999999999999 in floating point.
    assert visible_count(750, 0.9) == 74
    assert visible_count(160, 0.75) == 40
    assert visible_count(3, 0.9) == 1


def test_visible_count_can_be_rounded() -> None:
    assert visible_count(750, 0.9, rounded=True) == 75
    assert visible_count(3, 0.9, rounded=True) == 1
    score = torch.arange(16.0).expand(2, -1)
    usable = torch.ones(2, 16, dtype=torch.bool)
    usable[0, :3] = False  # a tenth of 13 is 1.3, of 16 it is 1.6
    hiding = hide_all_but_smallest(score, usable, 0.9, rounded=True)
    assert hiding.visible[0, 0] == 3
    assert hiding.visible[1].tolist() == [0, 1]
    assert hiding.visible_exists is not None
    assert hiding.visible_exists.tolist() == [[True, False], [True, True]]


@given(
    st.lists(st.lists(st.booleans(), min_size=6, max_size=6).filter(any), min_size=1, max_size=4),
    st.floats(0.1, 0.9),
    st.integers(0, 99),
)
def test_visible_and_hidden_part_the_usable_tokens(rows: list[list[bool]], ratio: float, seed: int) -> None:
    usable = torch.tensor(rows)
    score = torch.rand(usable.shape, generator=torch.Generator().manual_seed(seed))
    hiding = hide_all_but_smallest(score, usable, ratio)
    for body in range(len(rows)):
        visible, hidden = hiding.visible[body], hiding.hidden[body]
        if hiding.visible_exists is not None and hiding.hidden_exists is not None:
            visible, hidden = visible[hiding.visible_exists[body]], hidden[hiding.hidden_exists[body]]
        chosen = sorted(visible.tolist() + hidden.tolist())
        assert chosen == usable[body].nonzero().flatten().tolist()
        assert len(visible) == visible_count(len(chosen), ratio)
        if len(hidden):
            assert score[body, visible].max() <= score[body, hidden].min()


def test_intensity_is_the_mean_absolute_step_and_the_first_copies_the_second() -> None:
    grid = PatchGrid(6, 1, 2)  # three patches of one joint, six numbers each
    patches = torch.tensor([[0.0] * 6, [1.0] * 6, [-2.0] * 6])[None]
    usable = torch.ones(1, 3, dtype=torch.bool)
    assert motion_intensity(patches, usable, grid).tolist() == [[1.0, 1.0, 3.0]]
    usable[0, 2] = False
    assert motion_intensity(patches, usable, grid).tolist() == [[1.0, 1.0, 0.0]]


def visible_rate_at(intensity: torch.Tensor, tau: float, place: int, draws: int = 4000) -> float:
    noise = torch.rand(draws, len(intensity), generator=torch.Generator().manual_seed(0))
    hiding = hide_all_but_smallest(
        motion_guided_order(intensity.expand(draws, -1), noise, tau), torch.ones(draws, 750, dtype=torch.bool), 0.9
    )
    return float((hiding.visible == place).any(1).float().mean())


# Intensities spread evenly on [0, 1]; the rates are those of the released code (measured there with many more draws).
# With 4,000 draws the standard error at 0.24 is 0.007.
@pytest.mark.parametrize(("tau", "rates"), [(0.8, (0.243, 0.079, 0.011)), (0.75, (0.255, 0.077, 0.009))])
def test_motion_decides_as_strongly_as_in_the_released_code(tau: float, rates: tuple[float, float, float]) -> None:
    intensity = torch.linspace(0, 1, 750)
    for place, rate in zip((0, 375, 749), rates, strict=True):
        assert abs(visible_rate_at(intensity, tau, place) - rate) < 3 * (rate / 4000) ** 0.5 + 0.003


def test_a_still_body_is_hidden_uniformly() -> None:
    score = motion_guided_order(torch.zeros(1, 750), torch.linspace(0, 0.99, 750)[None], 0.8)
    assert torch.equal(score.argsort(1), torch.arange(750)[None])  # the order of the noise alone


def test_tau_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="set masking to 'uniform'"):
        motion_guided_order(torch.zeros(1, 3), torch.zeros(1, 3), 0.0)


def test_hiding_leaves_out_absent_bodies_and_tokens_that_are_absent_in_part() -> None:
    """Two bodies of 8 frames and 2 joints, tokens of 4 frames: 4 tokens each, half of them visible."""
    grid = PatchGrid(8, 2, 4)
    present = torch.ones(1, 2, 8, 2, dtype=torch.bool)
    present[0, 1] = False
    batch = Batch(torch.zeros(1, 2, 8, 2, 3), present, torch.zeros(1).long(), torch.zeros(1).long())
    noise = torch.tensor([0.3, 0.1, 0.2, 0.4]).expand(1, 2, 4)
    draw = hide(batch, noise, grid, 0.5, tau=None)
    assert draw.rows.body.tolist() == [0]
    assert (draw.hiding.visible.tolist(), draw.hiding.hidden.tolist()) == ([[1, 2]], [[0, 3]])

    batch.present[0, 0, 5, 0] = False  # token 2: of the three that are left, one and a half stay
    for rounded, visible in ((False, [1]), (True, [0, 1])):
        shown, hidden = hide(batch, noise, grid, 0.5, tau=None, rounded=rounded).hiding.per_joint(grid)
        assert grid.all_of_patch(shown)[0].nonzero().flatten().tolist() == visible
        assert grid.all_of_patch(shown | hidden)[0].tolist() == [True, True, False, True]


def test_with_a_temperature_what_moves_is_hidden() -> None:
    grid = PatchGrid(8, 2, 4)
    joints = torch.zeros(1, 1, 8, 2, 3)
    joints[:, :, 4:, 1] = 1.0  # tokens 1 and 3, both of joint 1, move
    batch = Batch(joints, torch.ones(1, 1, 8, 2) > 0, torch.zeros(1).long(), torch.zeros(1).long())
    noise = torch.tensor([0.4, 0.1, 0.3, 0.2]).view(1, 1, 4)
    assert hide(batch, noise, grid, 0.5, tau=None).hiding.hidden.tolist() == [[2, 0]]
    assert hide(batch, noise, grid, 0.5, tau=0.1).hiding.hidden.tolist() == [[1, 3]]


def test_places_are_turned_into_joints_without_padding() -> None:
    grid = PatchGrid(4, 2, 2)
    visible, hidden = torch.tensor([[3, 0]]), torch.tensor([[1, 2]])
    hiding = Hiding(visible, hidden, torch.tensor([[True, False]]), torch.tensor([[True, True]]))
    shown, kept = hiding.per_joint(grid)
    assert shown[0].tolist() == [[False, False], [False, False], [False, True], [False, True]]
    assert kept[0].tolist() == [[False, True], [False, True], [True, False], [True, False]]
    assert hiding.exists().tolist() == [[True, False, True, True]]  # pyright: ignore[reportOptionalMemberAccess]
