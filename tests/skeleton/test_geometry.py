import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrow.errors import ConfigError, DataError
from marrow.skeleton.geometry import (
    align,
    alignment_of,
    bone_lengths,
    mirrored,
    raw_baseline_features,
    resample,
    turn_to_face,
)
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25, Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=20)


def clip(seed, bodies=2, frames=7, skeleton=KINECT_V2_25, absent=0.0):
    rng = np.random.default_rng(seed)
    present = rng.random((bodies, frames, len(skeleton.joints))) >= absent
    joints = rng.normal(0, 1, (*present.shape, 3)) + np.array([0.5, 1, 3])
    return (joints * present[..., None]).astype(np.float32), present


@FEW
@given(seed=SEEDS, up=st.sampled_from("xyz"))
def test_turning_keeps_bone_lengths_and_the_vertical(seed, up):
    joints, present = clip(seed)
    turn = turn_to_face(np.random.default_rng(seed).normal(size=3), up)
    turned = (joints @ turn.T).astype(np.float32)
    before, _ = bone_lengths(joints, present, KINECT_V2_25)
    after, _ = bone_lengths(turned, present, KINECT_V2_25)
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert np.linalg.det(turn) == pytest.approx(1.0)
    axis = "xyz".index(up)
    np.testing.assert_allclose(turned[..., axis], joints[..., axis], atol=1e-6)


@FEW
@given(seed=SEEDS)
def test_mirroring_twice_is_the_identity(seed):
    joints, present = clip(seed, absent=0.2)
    twice, seen = mirrored(*mirrored(joints, present, KINECT_V2_25), KINECT_V2_25)
    np.testing.assert_array_equal(twice, joints)
    np.testing.assert_array_equal(seen, present)


def test_mirroring_moves_the_left_hand_to_the_right():
    joints, present = clip(0, bodies=1, frames=1)
    other, _ = mirrored(joints, present, KINECT_V2_25)
    left, right = KINECT_V2_25.index("HandLeft"), KINECT_V2_25.index("HandRight")
    np.testing.assert_allclose(other[0, 0, right], joints[0, 0, left] * [-1, 1, 1])


@FEW
@given(seed=SEEDS, kind=st.sampled_from(["none", "yaw", "body"]))
def test_alignment_is_undone_by_its_placement(seed, kind):
    joints, present = clip(seed, absent=0.1)
    aligned, placement = align(joints, present, KINECT_V2_25, kind)
    back = placement.to_source(aligned)
    np.testing.assert_allclose(back[present], joints[present], atol=1e-5)
    assert not aligned[~present].any()


def test_yaw_brings_the_body_axis_onto_x_and_the_hips_to_the_origin():
    joints, present = clip(3)
    aligned, _ = align(joints, present, KINECT_V2_25, "yaw")
    at = KINECT_V2_25.anchors
    axis = (
        aligned[0, :, at["right_hip"]]
        - aligned[0, :, at["left_hip"]]
        + aligned[0, :, at["right_shoulder"]]
        - aligned[0, :, at["left_shoulder"]]
    ).mean(0)
    assert axis[0] > 0
    assert axis[2] == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(aligned[0, :, at["centre"]].mean(0), 0, atol=1e-5)


def test_body_alignment_makes_the_trunk_the_unit():
    joints, present = clip(4)
    aligned, placement = align(joints, present, KINECT_V2_25, "body")
    at = KINECT_V2_25.anchors
    trunk = np.linalg.norm(aligned[0, :, at["chest"]] - aligned[0, :, at["centre"]], axis=-1)
    assert trunk.mean() == pytest.approx(1, abs=1e-5)
    in_metres = np.linalg.norm(joints[0, :, at["chest"]] - joints[0, :, at["centre"]], axis=-1).mean()
    assert placement.scale == pytest.approx(in_metres, rel=1e-5)


def test_alignment_does_not_look_at_what_was_not_seen():
    joints, present = clip(5, absent=0.3)
    noisy = np.where(present[..., None], joints, np.float32(77))
    for ours, theirs in zip(
        alignment_of(joints, present, KINECT_V2_25, "body"),
        alignment_of(noisy, present, KINECT_V2_25, "body"),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_alignment_of_nobody_is_the_identity():
    joints, present = np.zeros((1, 4, 25, 3), np.float32), np.zeros((1, 4, 25), bool)
    matrix, origin = alignment_of(joints, present, KINECT_V2_25, "body")
    np.testing.assert_array_equal(matrix, np.eye(3))
    np.testing.assert_array_equal(origin, 0)


def test_unknown_alignment_names_the_known_ones():
    with pytest.raises(ConfigError, match="none, yaw, body"):
        alignment_of(*clip(0), KINECT_V2_25, "roll")


@pytest.mark.parametrize("frame_count", [3, 10, 20, 50])
def test_resampling_a_uniform_motion_is_exact(frame_count):
    frames = np.arange(10, dtype=np.float32)
    joints = np.broadcast_to(frames[None, :, None, None], (1, 10, 25, 3)).copy()
    values, present = resample(joints, np.ones((1, 10, 25), bool), frame_count)
    expected = np.clip((np.arange(frame_count) + 0.5) * 10 / frame_count - 0.5, 0, 9)
    np.testing.assert_allclose(values[0, :, 3, 1], expected, atol=1e-5)
    assert present.all()


def test_resampling_interpolates_only_between_frames_that_were_seen():
    joints = np.arange(4, dtype=np.float32)[None, :, None, None] * np.ones((1, 4, 25, 3), np.float32)
    present = np.ones((1, 4, 25), bool)
    present[0, 1, 7] = False
    values, seen = resample(joints, present, 8)
    # New frames lie at 0, .25, .75, 1.25, 1.75, 2.25, 2.75, 3; those next to frame 1 are lost.
    assert seen[0, :, 7].tolist() == [True, False, False, False, False, True, True, True]
    assert not values[0, ~seen[0, :, 7], 7].any()
    assert seen[0, :, 6].all()


def test_resampling_nothing_is_refused():
    with pytest.raises(DataError, match="at least one frame"):
        resample(np.zeros((1, 0, 25, 3), np.float32), np.zeros((1, 0, 25), bool), 5)


def sequence(joints, present=None):
    present = np.ones(joints.shape[:3], bool) if present is None else present
    return SkeletonSequence(joints.astype(np.float32), present, 30.0, KINECT_V1_20, Record("x"))


@FEW
@given(seed=SEEDS)
def test_raw_baseline_knows_neither_the_camera_nor_the_size_of_the_body(seed):
    joints, _ = clip(seed, bodies=1, skeleton=KINECT_V1_20)
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    moved = 1.7 * joints @ rotation.T + np.array([3, -1, 2])
    np.testing.assert_allclose(
        raw_baseline_features(sequence(moved)), raw_baseline_features(sequence(joints)), atol=2e-3
    )


def test_raw_baseline_of_a_missing_second_body_is_zero():
    joints, _ = clip(1, bodies=1, skeleton=KINECT_V1_20)
    features = raw_baseline_features(sequence(joints), body_count=2).reshape(2, 32, 20, 3)
    assert features[0].any()
    assert not features[1].any()


def test_raw_baseline_fills_gaps_in_time():
    joints = np.zeros((1, 3, 20, 3), np.float32)
    joints[0, :, :, 1] = np.arange(20) / 20
    joints[0, :, KINECT_V1_20.anchors["right_hip"], 0] = 0.1
    joints[0, :, 11, 0] = [0, 0, 4]
    present = np.ones((1, 3, 20), bool)
    present[0, 1, 11] = False
    features = raw_baseline_features(sequence(joints, present), frame_count=3).reshape(3, 20, 3)
    np.testing.assert_allclose(features[1, 11], (features[0, 11] + features[2, 11]) / 2, atol=1e-5)


def two_persons(far: float = 2.0) -> tuple[np.ndarray, np.ndarray, Skeleton]:
    """The second person walks towards the first, who stands; trunks of 0.5 m and 0.7 m; y up."""
    layout = Skeleton(
        "four",
        ("root", "chest", "left", "right"),
        (0, 0, 0, 0),
        (0, 1, 3, 2),
        {"centre": 0, "chest": 1, "left_hip": 2, "right_hip": 3, "left_shoulder": 2, "right_shoulder": 3},
    )
    joints = np.zeros((2, 3, 4, 3), np.float32)
    for person, (trunk, place) in enumerate(((0.5, 0.0), (0.7, far))):
        joints[person, :, 0] = [0, 1, place]
        joints[person, :, 1] = [0, 1 + trunk, place]
        joints[person, :, 2] = [0.1, 1, place]
        joints[person, :, 3] = [-0.1, 1, place]
    joints[1] -= np.array([0, 0, 0.3]) * np.arange(3)[:, None, None]
    return joints, np.ones(joints.shape[:3], bool), layout


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_pair_is_centred_between_both_and_seen_from_the_one_who_moves(order):
    joints, present, layout = two_persons()
    matrix, origin = alignment_of(joints[order], present[order], layout, "pair")
    # Centres are at z = 0 and 2.0, 1.7, 1.4: the middle is 0.85 in the mean. The mean trunk is 0.6.
    np.testing.assert_allclose(origin, [0, 1, 0.85], atol=1e-6)
    actor, other = (joints[body, :, 0].mean(0) for body in (1, 0))
    np.testing.assert_allclose((actor - origin) @ matrix.T, [-0.85 / 0.6, 0, 0], atol=1e-5)
    np.testing.assert_allclose((other - origin) @ matrix.T, [0.85 / 0.6, 0, 0], atol=1e-5)


def test_a_pair_of_one_is_a_body_and_absent_frames_do_not_count():
    joints, present, layout = two_persons()
    for array in (joints, present):
        array[1, 2] = 0
    alone = alignment_of(joints[:1], present[:1], layout, "pair")
    for mine, body in zip(alone, alignment_of(joints[:1], present[:1], layout, "body"), strict=True):
        np.testing.assert_array_equal(mine, body)
    _, origin = alignment_of(joints, present, layout, "pair")
    np.testing.assert_allclose(origin, [0, 1, 0.925], atol=1e-6)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_raw_coordinates_of_a_pair_do_not_depend_on_the_order_of_its_bodies(order):
    joints, present, layout = two_persons()
    sequence = SkeletonSequence(joints[order], present[order], 30.0, layout, Record("a"))
    values = raw_baseline_features(sequence, frame_count=3, body_count=2).reshape(2, 3, 4, 3)
    # The one who walks comes first, at the left; both keep the middle between them. The median trunk is 0.6.
    np.testing.assert_allclose(values[0, :, 0, 0], np.array([-1.0, -0.85, -0.7]) / 0.6, rtol=1e-5)
    np.testing.assert_allclose(values[1, :, 0, 0], np.array([1.0, 0.85, 0.7]) / 0.6, rtol=1e-5)
