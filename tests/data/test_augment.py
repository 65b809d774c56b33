import math

import numpy as np
import pytest
import torch
from data_clips import SMALL, every, flat, make_sequence

from marrow.data.augment import Augmentation, AugmentConfig, draw_augmentation
from marrow.data.draws import Draws
from marrow.data.gather import matrix_product
from marrow.data.sampling import axis_rotation, finish, linear_part, training_batch
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.skeleton.geometry import mirrored

STILL = AugmentConfig(crop_low=1.0, crop_high=1.0, rotation_radians=0.0)


def draws(count: int, seed: int = 0, step: int = 0) -> Draws:
    return Draws(seed, step, torch.arange(count))


def drawn_for(draws: Draws, augment: AugmentConfig) -> Augmentation:
    """Draw for clips of 100 frames and one body."""
    count = torch.full_like(draws.index, 100)
    return draw_augmentation(draws, augment, count, bodies=1, window_frames=100, joints=4)


def matrix_for(draws: Draws, augment: AugmentConfig) -> torch.Tensor | None:
    return linear_part(drawn_for(draws, augment), SMALL)


def test_quarter_turns_by_hand():
    # Right-handed: about x, y goes to z; about y, z goes to x; about z, x goes to y.
    quarter = torch.tensor([math.pi / 2])
    for axis, goes, to in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        turned = axis_rotation(quarter, axis)[0] @ torch.eye(3)[goes]
        torch.testing.assert_close(turned, torch.eye(3)[to], atol=1e-6, rtol=0)


def test_the_product_is_the_matrix_product():
    left, right = torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(0)), torch.eye(3).repeat(5, 1, 1)
    right[:, 0, 2] = 4.0
    torch.testing.assert_close(matrix_product(left, right), left @ right)
    assert matrix_product(left, None) is left


def test_rotation_is_rz_ry_rx_of_the_drawn_angles():
    angle = 0.3 * (2 * draws(8).uniform("rotation", 3).double() - 1)
    expected = []
    for x, y, z in angle.tolist():
        rx = [[1, 0, 0], [0, math.cos(x), -math.sin(x)], [0, math.sin(x), math.cos(x)]]
        ry = [[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]]
        rz = [[math.cos(z), -math.sin(z), 0], [math.sin(z), math.cos(z), 0], [0, 0, 1]]
        expected.append(np.array(rz) @ np.array(ry) @ np.array(rx))
    drawn = matrix_for(draws(8), AugmentConfig())
    assert drawn is not None
    np.testing.assert_allclose(drawn.numpy(), expected, atol=1e-6)


def test_rotation_keeps_bone_lengths():
    frames = flat([make_sequence(70, bodies=2, seed=clip) for clip in range(4)])
    still = training_batch(frames, every(frames), draws(4), InputConfig(), STILL)
    turned = training_batch(frames, every(frames), draws(4), InputConfig(), AugmentConfig(1.0, 1.0, yaw_radians=3.0))
    assert not torch.allclose(still.joints, turned.joints, atol=0.1)
    bones = [b.joints[..., 2, :] - b.joints[..., 1, :] for b in (still, turned)]
    torch.testing.assert_close(bones[0].norm(dim=-1), bones[1].norm(dim=-1), atol=1e-5, rtol=1e-5)


def test_angles_are_uniform_in_their_range():
    # A turn about the vertical alone: the angle is atan2 of the matrix. 10,000 draws in [-0.5, 0.5): standard error of
    # the mean 0.003, variance 1 / 12.
    drawn = matrix_for(draws(10_000), AugmentConfig(rotation_radians=0.0, yaw_radians=0.5))
    assert drawn is not None
    angle = torch.atan2(drawn[:, 0, 2], drawn[:, 0, 0])
    assert angle.abs().max() <= 0.5
    assert abs(angle.mean()) < 0.01
    assert abs(angle.var() - 1 / 12) < 0.003
    assert (drawn[:, 1, 1] == 1).all()


def test_mirroring_everybody_is_the_mirror_of_the_skeleton_package():
    sequence = make_sequence(8, bodies=2, absent_share=0.2)
    frames = flat([sequence])
    augment = AugmentConfig(1.0, 1.0, rotation_radians=0.0, mirror_probability=1.0)
    batch = training_batch(frames, every(frames), draws(1), InputConfig(window_frames=8), augment)
    joints, present = mirrored(sequence.joints, sequence.present, SMALL)
    np.testing.assert_array_equal(batch.present[0].numpy(), present)
    np.testing.assert_array_equal(batch.joints[0].numpy(), np.where(present[..., None], joints, 0))


def test_half_are_mirrored_at_one_half():
    drawn = drawn_for(draws(10_000), AugmentConfig(mirror_probability=0.5))
    matrix = linear_part(drawn, SMALL)
    assert drawn.mirrored is not None
    assert matrix is not None
    assert abs(drawn.mirrored.float().mean() - 0.5) < 0.02
    assert torch.equal(torch.linalg.det(matrix) < 0, drawn.mirrored)


def test_scale_is_one_factor_in_its_range():
    drawn = matrix_for(draws(5_000), AugmentConfig(rotation_radians=0.0, scale_share=0.2))
    assert drawn is not None
    factor = drawn[:, 0, 0]
    assert torch.equal(drawn, torch.diag_embed(factor[:, None].expand(-1, 3)))
    assert factor.min() >= 0.8
    assert factor.max() <= 1.2
    assert abs(factor.mean() - 1.0) < 0.01


def test_jitter_is_gaussian_and_leaves_the_absent_alone():
    joints, present = torch.zeros(20, 1, 100, 4, 3), torch.ones(20, 1, 100, 4, dtype=torch.bool)
    present[:, :, 50:] = False
    drawn = drawn_for(draws(20), AugmentConfig(jitter_metres=0.01))
    noisy, still_present = finish(joints, present, drawn, SMALL)
    assert torch.equal(still_present, present)
    assert (noisy[:, :, 50:] == 0).all()
    seen = noisy[:, :, :50].flatten()  # 12,000 numbers: standard error of the mean 0.0001, of the deviation 0.00006
    assert abs(seen.mean()) < 5e-4
    assert abs(seen.std() - 0.01) < 5e-4
    assert abs((seen.abs() < 0.01).float().mean() - 0.6827) < 0.02


def test_nothing_to_do_is_no_matrix():
    drawn = drawn_for(draws(3), STILL)
    assert linear_part(drawn, SMALL) is None
    assert drawn.mirrored is None
    assert drawn.jitter_metres is None


def test_a_draw_belongs_to_the_place_in_the_global_batch():
    whole = matrix_for(draws(8), AugmentConfig())
    part = matrix_for(Draws(0, 0, torch.arange(5, 8)), AugmentConfig())
    assert whole is not None
    assert part is not None
    assert torch.equal(whole[5:], part)
    later = matrix_for(draws(8, step=1), AugmentConfig())
    assert later is not None
    assert not torch.equal(whole, later)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"crop_low": 0.0}, "crop_low"),
        ({"crop_low": 0.9, "crop_high": 0.8}, "crop_high"),
        ({"crop_high": 1.1}, "crop_high"),
        ({"min_crop_frames": 0}, "min_crop_frames"),
        ({"mirror_probability": 1.5}, "mirror_probability"),
        ({"scale_share": 1.0}, "scale_share"),
        ({"one_of_each": 1.5}, "one_of_each"),
        ({"one_of_each": float("nan")}, "one_of_each"),
        ({"rotation_radians": -0.1}, "rotation_radians"),
        ({"yaw_radians": float("nan")}, "yaw_radians"),
        ({"jitter_metres": float("inf")}, "jitter_metres"),
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, float], named: str):
    with pytest.raises(ConfigError, match=named):
        AugmentConfig(**wrong)  # type: ignore[arg-type]
