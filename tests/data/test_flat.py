"""Two dimensions in training: what is turned, what a camera sees, and that nothing gets depth."""

import math

import numpy as np
import pytest
import torch
from data_clips import make_sequence

from marrow.data.augment import AugmentConfig, draw_augmentation
from marrow.data.draws import Draws
from marrow.data.frames import flat_from_sequences
from marrow.data.sampling import camera, linear_part, training_batch, without_depth
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.skeleton.body import BODY
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence


def test_a_camera_sees_two_dimensions() -> None:
    # A quarter of the way around, level; then from 30 degrees above, in front.
    level, above = camera(torch.tensor([[0.25, 0.5], [0.0, 1.0]]))
    body = torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(level @ body, torch.tensor([3.0, 2.0, 0.0]), atol=1e-6, rtol=0)
    # What lies in front comes lower in the picture, heights are shortened: y cos 30 - z sin 30.
    expected = torch.tensor([1.0, 2.0 * math.cos(math.pi / 6) - 3.0 * 0.5, 0.0])
    torch.testing.assert_close(above @ body, expected, atol=1e-6, rtol=0)


def test_projected_clips_are_flat_and_the_others_whole() -> None:
    sequences = [dance(number) for number in range(40)]
    frames = flat_from_sequences(sequences, InputConfig(window_frames=8, alignment="body"), "cpu")
    draws = Draws(0, 0, torch.arange(40))
    augment = AugmentConfig(min_crop_frames=2, projection_probability=0.5, jitter_metres=0.01, yaw_radians=1.0)
    batch = training_batch(frames, torch.arange(40), draws, InputConfig(window_frames=8, alignment="body"), augment)
    assert batch.flat is not None
    assert 10 < int(batch.flat.sum()) < 30
    depth = batch.joints[..., 2].abs().amax((1, 2, 3))
    assert bool((depth[batch.flat] == 0).all())
    assert bool((depth[~batch.flat] > 0).all())


def dance(seed: int) -> SkeletonSequence:
    skeleton = get_skeleton("kinect_v1_20")
    joints = np.random.default_rng(seed).normal(size=(1, 12, 20, 3)).astype(np.float32)
    return SkeletonSequence(joints, np.ones((1, 12, 20), np.bool_), 30.0, skeleton, Record(f"clip{seed}"))


def test_what_has_two_dimensions_is_turned_in_the_image_alone() -> None:
    augment = AugmentConfig(rotation_radians=0.5, yaw_radians=2.0)
    drawn = draw_augmentation(
        *(Draws(0, 0, torch.arange(3)), augment, torch.full((3,), 30)), bodies=1, window_frames=4, joints=4
    )
    flat = torch.tensor([True, False, True])
    matrix = linear_part(drawn, BODY, flat)
    assert matrix is not None
    assert drawn.rotation_radians is not None
    angle = drawn.rotation_radians[0, 2]
    in_image = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0], [0, 0, 1]])
    torch.testing.assert_close(matrix[0], in_image)
    assert float(matrix[1, 0, 2].abs()) > 0
    joints = torch.ones(3, 1, 1, 1, 3)
    assert without_depth(joints, BODY, flat)[:, 0, 0, 0, 2].tolist() == [0.0, 1.0, 0.0]


def test_a_layout_of_two_dimensions_is_never_given_depth() -> None:
    sequence = make_sequence(20)
    flat = type(sequence.skeleton)(
        *("flat", sequence.skeleton.joints, sequence.skeleton.parents, sequence.skeleton.mirror),
        sequence.skeleton.anchors,
        dimensions=2,
    )
    joints = sequence.joints * np.float32([1, 1, 0])
    frames = flat_from_sequences(
        [SkeletonSequence(joints, sequence.present, 30.0, flat, sequence.record)], InputConfig(window_frames=8), "cpu"
    )
    augment = AugmentConfig(
        min_crop_frames=2, rotation_radians=1.0, yaw_radians=3.0, jitter_metres=0.1, one_of_each=1.0, scale_share=0.2
    )
    for step in range(20):
        draws = Draws(0, step, torch.arange(1))
        batch = training_batch(frames, torch.arange(1), draws, InputConfig(window_frames=8), augment)
        assert bool((batch.joints[..., 2] == 0).all())
        assert float(batch.joints[..., :2].abs().max()) > 0


@pytest.mark.parametrize("skeleton", [get_skeleton("cmu_38"), BODY])
def test_a_camera_needs_bodies_that_stand_along_y(skeleton) -> None:
    AugmentConfig(projection_probability=0.1).check_layout(skeleton)
    upright = type(skeleton)(skeleton.name, skeleton.joints, skeleton.parents, skeleton.mirror, {}, up="z")
    with pytest.raises(ConfigError, match="projection_probability"):
        AugmentConfig(projection_probability=0.1).check_layout(upright)
