import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from marrow.errors import ConfigError
from marrow.models.grid import PatchGrid


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_unpatchify_undoes_patchify(times: int, joint_patches: int, patch_frames: int, patch_joints: int) -> None:
    grid = PatchGrid(times * patch_frames, joint_patches * patch_joints, patch_frames, patch_joints)
    window = torch.randn(2, grid.frames, grid.joints, 3)
    patches = grid.patchify(window)
    assert patches.shape == (2, grid.tokens, grid.patch_values)
    assert torch.equal(grid.unpatchify(patches), window)


def test_tokens_are_time_major_and_frames_outermost_in_a_patch() -> None:
    # 4 frames, 2 joints, patches of 2 frames: token 1 = joint 1 in frames 0 and 1, as (frame 0 xyz, frame 1 xyz).
    grid = PatchGrid(4, 2, 2)
    window = torch.arange(24.0).reshape(1, 4, 2, 3)  # frame f, joint v, axis c holds 6 f + 3 v + c
    assert grid.patchify(window)[0, 1].tolist() == [3, 4, 5, 9, 10, 11]
    assert grid.patchify(window)[0, 2].tolist() == [12, 13, 14, 18, 19, 20]


def test_all_of_patch_needs_every_frame() -> None:
    flag = torch.ones(1, 4, 2, dtype=torch.bool)
    flag[0, 3, 0] = False  # frame 3, joint 0 -> the second patch in time of joint 0, token 2
    assert PatchGrid(4, 2, 2).all_of_patch(flag)[0].tolist() == [True, True, False, True]


def test_a_patch_that_does_not_tile_names_the_divisors() -> None:
    with pytest.raises(ConfigError, match=r"patches of 7 frames do not tile 120 frames; choose one of \[1, 2, 3, 4"):
        PatchGrid(120, 25, 7)


def test_the_flag_of_a_patch_is_that_of_its_joints() -> None:
    grid = PatchGrid(6, 4, 2, 2)
    flag = torch.arange(6).view(1, 6) % 3 == 0
    assert torch.equal(grid.all_of_patch(grid.spread(flag)), flag)
    assert int(grid.spread(flag).sum()) == 2 * 4  # two tokens of 2 frames and 2 joints


def test_tokens_are_taken_at_their_places() -> None:
    patches = torch.arange(6.0).reshape(2, 3, 1)
    place = torch.tensor([[2, 0], [1, 1]])
    assert PatchGrid.take(patches, place)[..., 0].tolist() == [[2.0, 0.0], [4.0, 4.0]]


def test_what_is_taken_is_put_back_and_padding_is_not() -> None:
    grid = PatchGrid(1, 3, 1)
    place, exists = torch.tensor([[2, 0], [1, 1]]), torch.tensor([[True, True], [True, False]])
    taken = torch.tensor([[5.0, 6.0], [7.0, 8.0]])[..., None]
    assert grid.put(taken, place, exists)[..., 0].tolist() == [[6.0, 0.0, 5.0], [0.0, 7.0, 0.0]]
    assert grid.flags_at(place, exists).tolist() == [[True, False, True], [False, True, False]]
    assert grid.flags_at(place[:1], None).tolist() == [[True, False, True]]


def test_motion_is_followed_from_the_true_first_positions() -> None:
    # One patch of 4 frames, one coordinate repeated thrice; true positions 5, 7, ...; predicted motion 1, 3, 0, 9.
    grid = PatchGrid(4, 1, 4)
    truth = torch.tensor([5.0, 7.0, 100.0, 100.0]).repeat_interleave(3).reshape(1, 1, 12)
    steps = torch.tensor([1.0, 3.0, 0.0, 9.0]).repeat_interleave(3).reshape(1, 1, 12)
    assert grid.follow(steps, truth, stride=1)[0, 0, ::3].tolist() == [5.0, 6.0, 9.0, 9.0]
    assert grid.follow(steps, truth, stride=2)[0, 0, ::3].tolist() == [5.0, 7.0, 6.0, 10.0]
