"""Layouts and recordings in two dimensions: what is refused, alignment, raw features, another layout."""

from dataclasses import replace

import numpy as np
import pytest

from marrow.errors import ConfigError, DataError
from marrow.skeleton.body import BODY
from marrow.skeleton.derived import with_derived, with_middles
from marrow.skeleton.estimators import COCO_17, PENN_13
from marrow.skeleton.geometry import align, mirrored, raw_baseline_features
from marrow.skeleton.layout import CMU_38, KINECT_V2_25, Skeleton
from marrow.skeleton.retarget import retarget
from marrow.skeleton.sequence import Record, SkeletonSequence

FLAT = replace(with_middles(PENN_13), dimensions=2)
COCO_FLAT = replace(COCO_17, dimensions=2)


def recording(frames=4, skeleton=FLAT, seed=0, bodies=1, present=None):
    rng = np.random.default_rng(seed)
    joints = np.zeros((bodies, frames, len(skeleton.joints), 3), np.float32)
    joints[..., :2] = rng.normal(5, 1, (*joints.shape[:-1], 2))
    present = np.ones(joints.shape[:-1], np.bool_) if present is None else present
    sequence = SkeletonSequence(joints * present[..., None], present, 30.0, skeleton, Record("clip"))
    return with_derived(replace(sequence, skeleton=skeleton))


def by_hand(**places):
    """A clip of one body over two frames, of which joints stand at (x, y) in the first and 1 further right after it."""
    joints, present = np.zeros((1, 2, 15, 3), np.float32), np.zeros((1, 2, 15), np.bool_)
    for name, (x, y) in places.items():
        joints[0, :, FLAT.index(name), :2] = [(x, y), (x + 1, y)]
        present[0, :, FLAT.index(name)] = True
    return SkeletonSequence(joints, present, 30.0, FLAT, Record("clip"))


TRUNK = {"MidHip": (4, 2), "MidShoulder": (4, 6)}


def test_the_third_coordinate_must_be_zero_where_a_joint_is_present():
    sequence = recording()
    joints = sequence.joints.copy()
    joints[0, 2, 4, 2] = 0.5
    with pytest.raises(DataError, match=r"clip: .*must be 0, got 0.5 \(body 0, frame 2, right_elbow\)"):
        replace(sequence, joints=joints)
    absent = sequence.present.copy()
    absent[0, 2, 4] = False
    replace(sequence, joints=joints, present=absent)


@pytest.mark.parametrize("kind", ["yaw", "body", "pair"])
def test_alignment_moves_and_scales_but_does_not_turn(kind):
    sequence = by_hand(**TRUNK, head=(4, 8))
    aligned, placement = align(sequence.joints, sequence.present, FLAT, kind)
    # The mean of the hips over both frames is (4.5, 2), the trunk is 4 long.
    scale = 1 if kind == "yaw" else 4
    np.testing.assert_allclose(aligned[0, :, 0], np.array([[-0.5, 6, 0], [0.5, 6, 0]]) / scale, rtol=1e-6)
    np.testing.assert_allclose(placement.to_source(aligned)[sequence.present], sequence.joints[sequence.present])


def test_two_people_are_not_turned_either():
    sequence = recording(bodies=2)
    aligned, placement = align(sequence.joints, sequence.present, FLAT, "pair")
    assert not aligned[..., 2].any()
    np.testing.assert_array_equal(placement.rotation, np.eye(3))
    np.testing.assert_allclose(placement.to_source(aligned), sequence.joints, atol=1e-5)


def test_a_body_whose_trunk_is_hidden_is_where_and_as_large_as_the_rest_of_it():
    sequence = by_hand(left_hip=(0, 4), left_knee=(0, 2), left_ankle=(0, 0))
    aligned, _ = align(sequence.joints, sequence.present, FLAT, "body")
    # Both parts of the leg are 2 long, an adult's are 0.42 and 0.40, and an adult's trunk is 0.48.
    trunk = 0.48 * (2 / 0.42 + 2 / 0.40) / 2
    np.testing.assert_allclose(aligned[0, 0, FLAT.index("left_hip")], [-0.5 / trunk, 2 / trunk, 0], rtol=1e-5)
    # In three dimensions whatever was never seen leaves its part of the alignment out.
    deep, _ = align(sequence.joints, sequence.present, replace(FLAT, dimensions=3), "body")
    np.testing.assert_array_equal(deep, sequence.joints)


def test_mirroring_exchanges_sides_in_the_image():
    sequence = recording()
    joints, _ = mirrored(sequence.joints, sequence.present, FLAT)
    left, right = FLAT.index("left_knee"), FLAT.index("right_knee")
    np.testing.assert_array_equal(joints[0, :, left], sequence.joints[0, :, right] * [-1, 1, 1])


def test_raw_features_are_x_and_y_around_the_mean_centre_in_trunks():
    features = raw_baseline_features(by_hand(**TRUNK, head=(4, 8)), frame_count=3).reshape(3, 13, 2)
    # The two derived joints are left out; the centre is (4.5, 2) in the mean of the clip, the trunk 4 long.
    np.testing.assert_allclose(features[:, 0], [[-0.125, 1.5], [0, 1.5], [0.125, 1.5]], atol=1e-6)
    assert not features[:, 1:].any()


def test_raw_features_of_a_hidden_trunk_go_by_the_legs():
    features = raw_baseline_features(by_hand(left_hip=(0, 4), left_knee=(0, 2), left_ankle=(0, 0)), frame_count=2)
    trunk = 0.48 * (2 / 0.42 + 2 / 0.40) / 2
    np.testing.assert_allclose(features.reshape(2, 13, 2)[0, 7], [-0.5 / trunk, 2 / trunk], rtol=1e-5)


def test_raw_features_of_two_people_keep_the_way_between_them():
    sequence = recording(bodies=2)
    features = raw_baseline_features(sequence, frame_count=4, body_count=2).reshape(2, 4, 13, 2)
    centre = sequence.joints[:, :, FLAT.anchors["centre"], :2]
    trunk = np.median(np.linalg.norm(sequence.joints[:, :, FLAT.anchors["chest"], :2] - centre, axis=-1))
    steps = np.linalg.norm(np.diff(sequence.joints, axis=1), axis=-1).mean(axis=(1, 2))
    order = [1, 0] if steps[1] > steps[0] else [0, 1]
    wanted = (sequence.joints[order, :, :13, :2] - centre.mean(axis=(0, 1))) / trunk
    np.testing.assert_allclose(features, wanted, atol=1e-4)


def test_derived_joints_are_no_raw_features_in_three_dimensions_either():
    whole = with_middles(COCO_17)
    joints = np.random.default_rng(0).normal(size=(1, 5, 17, 3)).astype(np.float32)
    estimated = SkeletonSequence(joints, np.ones((1, 5, 17), np.bool_), 30.0, COCO_17, Record("clip"))
    assert len(whole.joints) == 19
    assert raw_baseline_features(with_derived(estimated)).shape == (32 * 17 * 3,)


@pytest.mark.parametrize(
    ("target", "knee"), [(BODY, "left knee"), (COCO_17, "KneeLeft"), (KINECT_V2_25, "KneeLeft"), (CMU_38, "LeftLeg")]
)
def test_a_flat_recording_stays_flat_in_another_layout(target, knee):
    sequence = recording()
    moved = retarget(sequence, target)
    assert (moved.skeleton.dimensions, moved.skeleton.up) == (2, "y")
    assert moved.skeleton.joints == target.joints
    assert not moved.joints[..., 2].any()
    there, here = target.index(knee), FLAT.index("left_knee")
    np.testing.assert_array_equal(moved.joints[0, :, there], sequence.joints[0, :, here])


def test_y_points_up_where_z_does_in_the_target():
    moved = retarget(recording(), replace(BODY, up="z"))
    assert (moved.skeleton.dimensions, moved.skeleton.up) == (2, "y")


def test_where_x_points_up_axes_change_places_and_placement_leads_back():
    sideways = replace(recording(), skeleton=replace(FLAT, up="x"))
    upright = retarget(sideways, BODY)
    assert upright.skeleton.up == "y"
    knee, here = BODY.index("left knee"), FLAT.index("left_knee")
    np.testing.assert_array_equal(upright.joints[0, :, knee], sideways.joints[0, :, here][:, [1, 0, 2]])
    np.testing.assert_allclose(upright.placement.to_source(upright.joints)[0, :, knee], sideways.joints[0, :, here])
    assert np.linalg.det(upright.placement.rotation) == pytest.approx(1)


def test_three_dimensions_do_not_go_into_two():
    joints = np.zeros((1, 3, 25, 3), np.float32)
    deep = SkeletonSequence(joints, np.ones((1, 3, 25), np.bool_), 30.0, KINECT_V2_25, Record("clip"))
    with pytest.raises(ConfigError, match="'kinect_v2_25' have three dimensions, 'coco_17' has two"):
        retarget(deep, COCO_FLAT)


def test_a_description_keeps_the_dimensions():
    assert Skeleton.from_description(COCO_FLAT.description()) == COCO_FLAT
    assert COCO_FLAT != COCO_17
