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
