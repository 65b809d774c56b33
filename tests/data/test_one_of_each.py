import math
from typing import Any

import numpy as np
import pytest
import torch
from data_clips import SMALL, every, flat, make_sequence
from torch import Tensor

from marrow.data.augment import (
    SPATIAL,
    TEMPORAL,
    AugmentConfig,
    Choice,
    cropped,
    draw_augmentation,
    draw_choice,
    draw_operations,
    random_windows,
    scale_or_shear,
)
from marrow.data.draws import Draws
from marrow.data.sampling import add_joint_noise, interpolate, linear_part, training_batch
from marrow.data.window import InputConfig
from marrow.skeleton.streams import stream

STILL: dict[str, Any] = {"crop_low": 1.0, "crop_high": 1.0, "rotation_radians": 0.0}
RECORDED = InputConfig(window_frames=40, test_crop=1.0, pace="recorded")


class Given(Draws):
    """Numbers that a test has chosen instead of drawn ones, the same for every clip; zeros where it has chosen none."""

    def __init__(self, clips: int, **numbers: float | list) -> None:
        super().__init__(0, 0, torch.arange(clips))
        self._numbers = numbers

    def uniform(self, stream: str, *shape: int) -> Tensor:
        return torch.tensor(self._numbers.get(stream, 0.0), dtype=torch.float32).expand(len(self.index), *shape)


def everybody(spatial: str, temporal: str, clips: int) -> Choice:
    return Choice(torch.full((clips,), SPATIAL.index(spatial)), torch.full((clips,), TEMPORAL.index(temporal)))


def with_noise(joints: Tensor, present: Tensor, draws: Draws, choice: Choice) -> Tensor:
    return add_joint_noise(joints, present, draw_operations(draws, choice, joints.shape[3]))


def interpolated(joints: Tensor, present: Tensor, draws: Draws, choice: Choice) -> Tensor:
    return interpolate(joints, present, draw_operations(draws, choice, joints.shape[3]))


def test_each_operation_has_its_share():
    # Of n = 60,000 a share p is found with the standard error sqrt(p (1 - p) / n): 0.002 for 1/2, 0.0011 for 1/12.
    choice = draw_choice(Draws(7, 1, torch.arange(60_000)), 0.5)
    none = choice.spatial == -1
    assert torch.equal(none, choice.temporal == -1)
    assert abs(none.float().mean() - 0.5) < 4 * 0.002
    for spatial in SPATIAL:
        for temporal in TEMPORAL:
            both = choice.gets(spatial) & choice.gets(temporal)
            assert abs(both.float().mean() - 1 / 12) < 4 * 0.0011
    assert set(choice.spatial.tolist()) == {-1, 0, 1, 2}
    assert set(choice.temporal.tolist()) == {-1, 0, 1}


@pytest.mark.parametrize(
    ("numbers", "spatial", "temporal"),
    [
        ([0.49, 0.0, 0.0], "scale", "interpolate"),
        ([0.49, 0.34, 0.49], "joint_noise", "interpolate"),
        ([0.0, 0.99, 0.5], "shear", "crop"),
        ([0.0, 1 - 2**-24, 1 - 2**-24], "shear", "crop"),
    ],
)
def test_the_choice_by_hand(numbers: list[float], spatial: str, temporal: str):
    choice = draw_choice(Given(1, one_of_each=numbers), 0.5)
    assert (SPATIAL[int(choice.spatial)], TEMPORAL[int(choice.temporal)]) == (spatial, temporal)
    none = draw_choice(Given(1, one_of_each=[0.5, *numbers[1:]]), 0.5)
    assert (none.spatial.tolist(), none.temporal.tolist()) == ([-1], [-1])


def test_scale_by_hand():
    # 0.8 + 0.4 u: u = 0 -> 0.8, 0.25 -> 0.9, 0.75 -> 1.1.
    for number, factor in ((0.0, 0.8), (0.25, 0.9), (0.75, 1.1)):
        given = Given(1, one_scale=number, one_shear=[[0.9] * 3] * 3)
        matrix = scale_or_shear(given, everybody("scale", "crop", 1))
        torch.testing.assert_close(matrix[0], factor * torch.eye(3))


def test_shear_by_hand():
    # 0.5 (2u - 1) beside the diagonal. u = 0 -> -0.5, 0.5 -> 0, 0.6 -> 0.1, 0.7 -> 0.2, 0.8 -> 0.3, 0.9 -> 0.4; the
    # diagonal's own numbers are not read.
    given = Given(1, one_scale=0.9, one_shear=[[0.1, 0.6, 0.7], [0.8, 0.2, 0.9], [0.0, 0.5, 0.3]])
    matrix = scale_or_shear(given, everybody("shear", "crop", 1))
    expected = torch.tensor([[1.0, 0.1, 0.2], [0.3, 1.0, 0.4], [-0.5, 0.0, 1.0]])
    torch.testing.assert_close(matrix[0], expected)
    # x A^T of a row x is A x of the column: (1, 2, 3) -> (1 + 0.2 + 0.6, 0.3 + 2 + 1.2, -0.5 + 3).
    frames = flat([make_sequence(20)])
    frames.joints[:] = torch.tensor([1.0, 2.0, 3.0])
    given = Given(1, one_of_each=[0.0, 0.9, 0.9], one_scale=0.9, one_crop=[0.0, 0.0], crop=[0.0, 0.0])
    given._numbers |= {"one_shear": [[0.1, 0.6, 0.7], [0.8, 0.2, 0.9], [0.0, 0.5, 0.3]]}
    given._numbers |= {"one_noisy_joints": [0.1, 0.2, 0.3, 0.4], "one_noise": 0.9, "one_interpolation": 0.9}
    batch = training_batch(frames, every(frames), given, RECORDED, AugmentConfig(**STILL, one_of_each=1.0))
    torch.testing.assert_close(batch.joints[0, 0], torch.tensor([1.8, 3.5, 2.5]).expand(20, 4, 3))


def test_the_linear_part_comes_first_and_is_the_identity_for_the_others():
    draws = Draws(2, 0, torch.arange(300))
    augment = AugmentConfig(one_of_each=0.5)
    size = {"bodies": 1, "window_frames": 40, "joints": 4}
    turned, both = (
        linear_part(draw_augmentation(draws, settings, torch.full((300,), 60), **size), SMALL)
        for settings in (AugmentConfig(), augment)
    )
    assert turned is not None
    assert both is not None
    choice = draw_choice(draws, augment.one_of_each)
    first = scale_or_shear(draws, choice)
    torch.testing.assert_close(both, turned @ first)
    linear = choice.gets("scale") | choice.gets("shear")
    assert torch.equal(first[~linear], torch.eye(3).expand(int((~linear).sum()), 3, 3))
    assert torch.equal(both[~linear], turned[~linear])
    assert ((first[linear] - torch.eye(3)).flatten(1).abs().max(1).values > 0).all()


def test_joint_noise_by_hand():
    # The five lowest numbers of seven joints belong to 6, 4, 0, 5, 1. Shifts are 0.2 (2u - 1): u = 0, 0.75, 0.5 gives
    # -0.2, 0.1 and 0.
    given = Given(1, one_noisy_joints=[0.3, 0.5, 0.8, 0.9, 0.2, 0.4, 0.1], one_noise=[0.0, 0.75, 0.5])
    joints, present = torch.ones(1, 2, 3, 7, 3), torch.ones(1, 2, 3, 7, dtype=torch.bool)
    present[0, 1, 2] = False
    joints[~present] = 0.0
    noisy = with_noise(joints, present, given, everybody("joint_noise", "crop", 1))
    for joint in range(7):
        expected = [1.0, 1.0, 1.0] if joint in (2, 3) else [0.8, 1.1, 1.0]
        torch.testing.assert_close(noisy[0, 0, :, joint], torch.tensor([expected] * 3))
        torch.testing.assert_close(noisy[0, 1, :2, joint], torch.tensor([expected] * 2))
    assert (noisy[0, 1, 2] == 0).all()
    assert torch.equal(with_noise(joints, present, given, everybody("shear", "crop", 1)), joints)


def test_joint_noise_is_five_shifts_of_a_clip():
    # Shifts of 2,000 clips x 5 joints x 3 numbers, uniform on [-0.2, 0.2): the deviation is 0.4 / sqrt(12) = 0.1155,
    # the standard error of the mean 0.0007. Each of 25 joints is hit by a fifth: 0.2 +- 0.009.
    joints, present = torch.zeros(2000, 2, 3, 25, 3), torch.ones(2000, 2, 3, 25, dtype=torch.bool)
    noisy = with_noise(joints, present, Draws(0, 0, torch.arange(2000)), everybody("joint_noise", "crop", 2000))
    assert torch.equal(noisy, noisy[:, :1, :1].expand_as(noisy)), "the same for bodies and frames"
    shift = noisy[:, 0, 0]
    hit = shift.abs().sum(2) > 0
    assert (hit.sum(1) == 5).all()
    assert (hit.float().mean(0) - 0.2).abs().max() < 4.5 * 0.009
    assert shift.abs().max() <= 0.2
    assert abs(shift[hit].mean()) < 4 * 0.0007
    assert abs(shift[hit].std() - 0.4 / math.sqrt(12)) < 0.002
    assert len(shift[hit].unique()) > 0.99 * shift[hit].numel(), "every joint has a vector of its own"


def test_a_skeleton_of_four_joints_has_noise_on_all():
    joints, present = torch.zeros(3, 1, 2, 4, 3), torch.ones(3, 1, 2, 4, dtype=torch.bool)
    noisy = with_noise(joints, present, Draws(0, 0, torch.arange(3)), everybody("joint_noise", "crop", 3))
    assert (noisy != 0).any(-1).all()


def test_interpolation_by_hand():
    # x = 0, 1, 4 and r = 0.25 give 0.25, 1 + 0.75, and 4, which is the last frame; then one frame of padding.
    joints = torch.tensor([0.0, 1.0, 4.0, 0.0])[None, None, :, None, None].repeat(1, 1, 1, 2, 3)
    present = torch.tensor([True, True, True, False])[None, None, :, None].repeat(1, 1, 1, 2)
    given, choice = Given(1, one_interpolation=0.25), everybody("scale", "interpolate", 1)
    assert interpolated(joints, present, given, choice)[0, 0, :, 0, 0].tolist() == [0.25, 1.75, 4.0, 0.0]
    # The second joint is lost in frame 1: frame 0 has nothing to move to, and frame 1 stays what it is, absent.
    present[0, 0, 1, 1], joints[0, 0, 1, 1] = False, 0.0
    moved = interpolated(joints, present, given, choice)
    assert moved[0, 0, :, 1, 0].tolist() == [0.0, 0.0, 4.0, 0.0]
    assert moved[0, 0, :, 0, 0].tolist() == [0.25, 1.75, 4.0, 0.0]
    assert torch.equal(interpolated(joints, present, given, everybody("scale", "crop", 1)), joints)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        # round(F * 0.2 u) of 1, 2, 3, 10 and 100 frames; the head gets floor(v (dropped + 1)) of them.
        ([0.0, 0.9], [(0, 1), (0, 2), (0, 3), (0, 10), (0, 100)]),  # nothing
        ([0.99, 0.0], [(0, 1), (0, 2), (0, 2), (0, 8), (0, 80)]),  # 0.198, 0.396, 0.594, 1.98, 19.8, all at the tail
        ([0.5, 0.99], [(0, 1), (0, 2), (0, 3), (1, 9), (10, 90)]),  # 0.1, 0.2, 0.3, 1, 10, all at the head
        ([0.5, 0.3], [(0, 1), (0, 2), (0, 3), (0, 9), (3, 90)]),  # floor(0.6) = 0, floor(3.3) = 3
    ],
)
def test_the_crop_by_hand(numbers: list[float], expected: list[tuple[int, int]]):
    count = torch.tensor([1, 2, 3, 10, 100])
    start, length = cropped(count, Given(5, one_crop=numbers))
    assert list(zip(start.tolist(), length.tolist(), strict=True)) == expected


def test_the_crop_replaces_the_other_where_it_is_chosen():
    # 20,000 clips of 200 frames: round(40 u) are dropped, 20 on average (standard error 0.12 of 10,000), half of them
    # at the head.
    count, draws = torch.full((20_000,), 200), Draws(5, 0, torch.arange(20_000))
    chosen = random_windows(count, draws, AugmentConfig(1.0, 1.0, one_of_each=1.0))
    is_cropped = draw_choice(draws, 1.0).gets("crop")
    assert (chosen.start[~is_cropped] == 0).all()
    assert (chosen.length[~is_cropped] == 200).all()
    dropped, head = 200 - chosen.length[is_cropped], chosen.start[is_cropped]
    assert (dropped.min(), dropped.max()) == (0, 40)
    assert abs(dropped.float().mean() - 20) < 0.5
    assert (head <= dropped).all()
    some = dropped > 0
    assert abs((head[some] / dropped[some]).mean() - 0.5) < 0.015
    # With other crops, the others are as they would be without.
    without = random_windows(count, draws, AugmentConfig())
    beside = random_windows(count, draws, AugmentConfig(one_of_each=1.0))
    assert torch.equal(beside.start[~is_cropped], without.start[~is_cropped])
    assert torch.equal(beside.length[is_cropped], chosen.length[is_cropped])


@pytest.mark.parametrize("augment", [STILL, {"yaw_radians": 1.0, "mirror_probability": 0.5, "jitter_metres": 0.01}])
def test_who_gets_none_is_not_changed_by_a_bit(augment: dict[str, Any]):
    frames = flat([make_sequence(n, bodies=1 + n % 2, seed=n, absent_share=0.1) for n in range(3, 83)], "body")
    draws = Draws(4, 9, every(frames))
    for input in (RECORDED, InputConfig(window_frames=24, alignment="body")):
        without, half = (
            training_batch(frames, every(frames), draws, input, AugmentConfig(**augment, one_of_each=probability))
            for probability in (0.0, 0.5)
        )
        none = draw_choice(draws, 0.5).spatial == -1
        assert 20 < none.sum() < 60
        times = min(without.joints.shape[2], half.joints.shape[2])
        assert torch.equal(half.joints[none, :, :times], without.joints[none, :, :times])
        assert torch.equal(half.present[none, :, :times], without.present[none, :, :times])
        assert torch.equal(half.frames()[none], without.frames()[none])
        changed = (half.joints[~none, :, :times] != without.joints[~none, :, :times]).flatten(1).any(1)
        assert changed.all()


def test_absent_joints_stay_absent_zeros_and_bodies_alike_stay_alike():
    sequences = []
    for n in range(20, 60):
        sequence = make_sequence(n, bodies=2, seed=n, absent_share=0.2)
        sequence.joints[1], sequence.present[1] = sequence.joints[0], sequence.present[0]
        sequences.append(sequence)
    frames = flat(sequences)
    augment = AugmentConfig(**STILL, one_of_each=1.0)
    batch = training_batch(frames, every(frames), Draws(0, 0, every(frames)), RECORDED, augment)
    assert (batch.joints[~batch.present] == 0).all()
    assert torch.equal(batch.joints[:, 0], batch.joints[:, 1])
    assert torch.equal(batch.present[:, 0], batch.present[:, 1])
    kept = draw_choice(Draws(0, 0, every(frames)), 1.0).gets("interpolate") & (frames.frame_count <= 40)
    for clip in torch.nonzero(kept).flatten().tolist():
        expected = sequences[clip].present
        assert np.array_equal(batch.present[clip, :, : expected.shape[1]].numpy(), expected)


def test_streams_are_taken_of_what_was_augmented():
    frames = flat([make_sequence(30, seed=n) for n in range(24)])
    augment, draws = AugmentConfig(**STILL, one_of_each=1.0), Draws(3, 0, every(frames))
    joint, bone = (
        training_batch(frames, every(frames), draws, InputConfig(30, stream=name), augment)
        for name in ("joint", "bone")
    )
    assert torch.equal(bone.joints, stream(joint.joints, joint.present, SMALL, "bone")[0])
    straight, _ = stream(frames.joints.view(24, 1, 30, 4, 3), frames.present.view(24, 1, 30, 4), SMALL, "bone")
    assert ((bone.joints - straight).flatten(1).abs().max(1).values > 1e-3).all()
