"""Layouts matched by name: places against bones, tables written out, and what stays unmatched."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrow.errors import ConfigError
from marrow.skeleton.body import BODY
from marrow.skeleton.known import LAYOUTS, get_skeleton
from marrow.skeleton.layout import (
    CMU_38,
    H36M_32,
    KINECT_V1_20,
    KINECT_V2_25,
    Skeleton,
    mirror_by_name,
)
from marrow.skeleton.retarget import layout_map, match, retarget
from marrow.skeleton.sequence import Placement, Record, SkeletonSequence

# The nodes of a BVH release, end sites included. UpperArm_L is the bone, and so lies at the shoulder.
BVH_27 = (
    *("joint_Root", "Hips", "Spine", "Chest", "Neck", "Head", "Head_end"),
    *("Shoulder_L", "UpperArm_L", "LowerArm_L", "Hand_L", "Hand_L_end"),
    *("Shoulder_R", "UpperArm_R", "LowerArm_R", "Hand_R", "Hand_R_end"),
    *("UpperLeg_L", "LowerLeg_L", "Foot_L", "Toes_L", "Toes_L_end"),
    *("UpperLeg_R", "LowerLeg_R", "Foot_R", "Toes_R", "Toes_R_end"),
)
MIXAMO = tuple(
    f"mixamorig:{name}"
    for name in (
        *("Hips", "Spine", "Spine1", "Spine2", "Neck", "Head", "HeadTop_End"),
        *(f"{side}{bone}" for side in ("Left", "Right") for bone in ("Shoulder", "Arm", "ForeArm", "Hand")),
        *(f"{side}{bone}" for side in ("Left", "Right") for bone in ("UpLeg", "Leg", "Foot", "ToeBase", "Toe_End")),
    )
)
SMPL_22 = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle"),
    *("spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
)


def layout(joints, up="y"):
    return Skeleton("mine", tuple(joints), (0,) * len(joints), mirror_by_name(joints), {}, up)


def both_sides(pairs):
    """Pairs of Kinect's stem and a pattern with L or R for the side."""
    return {f"{stem}{side}": name.replace("*", side[0]) for stem, name in pairs.items() for side in ("Left", "Right")}


def test_bvh_to_kinect_v1():
    found = match(layout(BVH_27), KINECT_V1_20)
    assert found.pairs == {
        "HipCenter": "Hips",
        "Spine": "Spine",
        "ShoulderCenter": "Neck",
        "Head": "Head",
        **both_sides({"Shoulder": "UpperArm_*", "Elbow": "LowerArm_*", "Wrist": "Hand_*"}),
        **both_sides({"Hip": "UpperLeg_*", "Knee": "LowerLeg_*", "Ankle": "Foot_*", "Foot": "Toes_*"}),
    }
    # Of the hand there is only where it begins, which is the wrist.
    assert found.unmatched_target == ("HandLeft", "HandRight")
    assert found.unmatched_source == (
        *("joint_Root", "Chest", "Head_end", "Shoulder_L", "Hand_L_end", "Shoulder_R", "Hand_R_end"),
        *("Toes_L_end", "Toes_R_end"),
    )


def test_kinect_v2_to_v1():
    found = match(KINECT_V2_25, KINECT_V1_20)
    assert found.pairs == {
        "HipCenter": "SpineBase",
        "Spine": "SpineMid",
        "ShoulderCenter": "SpineShoulder",
        **{name: name for name in KINECT_V1_20.joints[3:]},
    }
    assert found.unmatched_source == ("Neck", "HandTipLeft", "ThumbLeft", "HandTipRight", "ThumbRight")


def test_kinect_v1_to_human36m():
    found = match(KINECT_V1_20, H36M_32)
    assert {target: source for target, source in found.pairs.items() if target != source} == {
        "Hips": "HipCenter",
        "SpineMid": "Spine",
        "Neck": "ShoulderCenter",  # the only one between chest and head
    }
    assert not found.unmatched_source


def test_cmu_to_kinect_v2():
    """LeftShoulder begins the collar bone, LHipJoint stays on the hips, Neck begins where the shoulders join."""
    found = match(CMU_38, KINECT_V2_25)
    sided = {"Shoulder": "Arm", "Elbow": "ForeArm", "Wrist": "Hand", "Hip": "UpLeg", "Knee": "Leg", "Ankle": "Foot"}
    sided |= {"Foot": "ToeBase"}
    assert found.pairs == {
        "SpineBase": "Hips",
        "SpineMid": "Spine",
        "SpineShoulder": "Neck",
        "Neck": "Neck1",  # one bone above, in the middle of the neck
        "Head": "Head",
        **{f"{place}{side}": f"{side}{bone}" for place, bone in sided.items() for side in ("Left", "Right")},
    }
    # Thumb and finger begin where the hand does.
    assert set(found.unmatched_target) == {
        *("HandLeft", "HandTipLeft", "ThumbLeft", "HandRight", "HandTipRight", "ThumbRight")
    }


def test_mixamo_to_cmu():
    found = match(layout(MIXAMO), CMU_38)
    for bone in ("LeftShoulder", "RightArm", "LeftForeArm", "LeftHand", "RightUpLeg", "LeftLeg", "LeftToeBase"):
        assert found.pairs[bone] == f"mixamorig:{bone}"
    assert found.pairs["Head_end"] == "mixamorig:HeadTop_End"
    # The first of three is not the first of one.
    assert "Spine1" in found.unmatched_target


def test_smpl_to_kinect_v1():
    found = match(layout(SMPL_22), KINECT_V1_20)
    assert (found.pairs["HipCenter"], found.pairs["ShoulderCenter"]) == ("pelvis", "neck")
    assert found.pairs["KneeRight"] == "right_knee"
    assert found.pairs["FootLeft"] == "left_foot"
    assert found.pairs["Spine"] == "spine2"
    assert found.unmatched_target == ("HandLeft", "HandRight")


@pytest.mark.parametrize(
    "knee",
    ["KneeLeft", "LeftKnee", "left_knee", "LEFT_KNEE", "knee.L", "L_Knee", "LKnee", "lKnee", "KneeL", "leftknee"],
)
def test_spellings_of_a_side(knee):
    found = match(layout([knee, "Elbow_R"]), KINECT_V1_20)
    assert found.pairs == {"KneeLeft": knee, "ElbowRight": "Elbow_R"}


@pytest.mark.parametrize("thigh", ["LeftUpLeg", "L_UpperLeg", "Bip01 L Thigh", "mixamorig2:LeftUpLeg", "LThigh"])
def test_spellings_of_a_bone(thigh):
    assert match(layout([thigh, "Hips"]), KINECT_V1_20).pairs == {"HipCenter": "Hips", "HipLeft": thigh}


def test_what_is_unsure_stays_unmatched():
    # Two that may be the left knee: neither is taken.
    found = match(layout(["LeftKnee", "Knee_L", "RightKnee"]), KINECT_V1_20)
    assert found.pairs == {"KneeRight": "RightKnee"}
    # A root is often a place on the floor, and a hand of bones is the wrist.
    assert match(layout(["Root", "LeftHand", "LeftArm"]), KINECT_V1_20).pairs == {
        "WristLeft": "LeftHand",
        "ShoulderLeft": "LeftArm",
    }


def test_both_pelves_of_human36m():
    """SpineBase lies on Hips, and is called like Kinect's: one of them is taken, and it is the root."""
    assert match(KINECT_V2_25, H36M_32).pairs["Hips"] == "SpineBase"
    assert match(H36M_32, KINECT_V2_25).pairs["SpineBase"] == "Hips"


@pytest.mark.parametrize("source", sorted(LAYOUTS))
@pytest.mark.parametrize("target", sorted(LAYOUTS))
def test_every_joint_is_taken_once_and_sides_agree(source, target):
    found = match(LAYOUTS[source], LAYOUTS[target])
    taken = [joint for joint in found.sources if joint is not None]
    assert len(set(taken)) == len(taken)
    for joint, place in enumerate(found.sources):
        if place is not None:
            assert found.target.sides[joint] == found.source.sides[place]
            mirrored = found.sources[found.target.mirror[joint]]
            assert mirrored == found.source.mirror[place]
    assert len(found.pairs) + len(found.unmatched_source) == len(found.source.joints)
    assert len(found.pairs) + len(found.unmatched_target) == len(found.target.joints)
    # There and back is the same table.
    back = match(LAYOUTS[target], LAYOUTS[source])
    assert {source: target for target, source in found.pairs.items()} == back.pairs


@settings(max_examples=50)
@given(st.sampled_from([*LAYOUTS.values(), layout(BVH_27), layout(MIXAMO), layout(SMPL_22)]), st.randoms())
def test_the_same_joints_in_another_order(skeleton, random):
    order = list(range(len(skeleton.joints)))
    random.shuffle(order)
    shuffled = layout([skeleton.joints[joint] for joint in order])
    assert match(skeleton, shuffled).sources == tuple(order)


def test_pairs_that_are_told():
    mine = layout(["a", "b", "c"])
    found = match(mine, KINECT_V1_20, {"Head": "b", "HandLeft": "a"})
    assert found.pairs == {"Head": "b", "HandLeft": "a"}
    assert found.unmatched_source == ("c",)
    # The others go by their names, unless what they would take is taken.
    found = match(KINECT_V1_20, KINECT_V1_20, {"Head": "Spine", "HandLeft": None})
    assert {target: source for target, source in found.pairs.items() if target != source} == {"Head": "Spine"}
    assert found.unmatched_target == ("Spine", "HandLeft")
    assert found.unmatched_source == ("Head", "HandLeft")
    with pytest.raises(ConfigError, match=r"'kinect_v1_20' has no joint 'headd'\. Did you mean 'Head'\?"):
        match(mine, KINECT_V1_20, {"headd": "b"})
    with pytest.raises(ConfigError, match=r"'mine' has no joint 'z'\. Its joints: a, b, c"):
        match(mine, KINECT_V1_20, {"Head": "z"})
    with pytest.raises(ConfigError, match="'a' of 'mine' is given to two joints"):
        match(mine, KINECT_V1_20, {"Head": "a", "HandLeft": "a"})


def test_nothing_in_common():
    with pytest.raises(ConfigError, match=r"no joint of 'kinect_v1_20' .* is known in 'mine' \(a, b\); say which"):
        match(layout(["a", "b"]), KINECT_V1_20)


def test_retarget():
    """Joint j of frame t lies at (j, t, 2)."""
    source = layout(BVH_27)
    joints = np.zeros((1, 2, 27, 3), np.float32)
    joints[..., 0], joints[..., 1], joints[..., 2] = np.arange(27), np.arange(2)[:, None], 2
    present = np.ones((1, 2, 27), bool)
    neck, hand = BVH_27.index("Neck"), BVH_27.index("Hand_R")
    present[0, 1, neck], joints[0, 1, neck] = False, 0
    sequence = SkeletonSequence(joints, present, 30.0, source, Record("one"), recorded=np.array([1]))
    result = retarget(sequence, KINECT_V1_20)
    assert result.skeleton is KINECT_V1_20
    assert result.joints.shape == (1, 2, 20, 3)
    assert result.joints[0, 1, KINECT_V1_20.index("WristRight")].tolist() == [hand, 1, 2]
    assert result.present[0, :, KINECT_V1_20.index("ShoulderCenter")].tolist() == [True, False]
    for name in ("HandLeft", "HandRight"):
        assert not result.present[..., KINECT_V1_20.index(name)].any()
        assert (result.joints[..., KINECT_V1_20.index(name), :] == 0).all()
    assert result.present.sum() == 2 * 18 - 1
    assert (result.record.id, result.fps, result.recorded.tolist()) == ("one", 30.0, [1])
    # What is told goes before what names say: of 18, the left wrist loses its joint and Spine is left out, both hands
    # come in, and the neck is absent in a frame.
    told = retarget(sequence, KINECT_V1_20, {"HandLeft": "Hand_L", "HandRight": "Hand_R_end", "Spine": None})
    assert told.present[0].all(0).sum() == 18 - 2 + 2 - 1
    assert not told.present[..., [KINECT_V1_20.index("WristLeft"), KINECT_V1_20.index("Spine")]].any()


def test_up_stays_up_and_the_way_back_is_kept():
    """With z up, a head 1.7 above hips at (1, 2, 0) lies at (2, 1.7, 1) with y up: axes roll, x is still left of y."""
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    joints = np.array([[[[1, 2, 0], [1, 2, 1.7]]]], np.float32)
    sequence = SkeletonSequence(
        joints,
        np.ones((1, 1, 2), bool),
        30.0,
        layout(["Hips", "Head"], up="z"),
        Record("one"),
        placement=Placement(quarter, np.array([5.0, 6, 7]), 2.0),
    )
    result = retarget(sequence, KINECT_V1_20)
    hips, head = (result.joints[0, 0, KINECT_V1_20.index(name)] for name in ("HipCenter", "Head"))
    np.testing.assert_allclose(hips, (2, 0, 1))
    np.testing.assert_allclose(head, (2, 1.7, 1), rtol=1e-6)
    np.testing.assert_allclose(result.placement.to_source(head), sequence.placement.to_source(joints[0, 0, 1]))
    assert np.linalg.det(result.placement.rotation) == pytest.approx(1)


@pytest.mark.parametrize(("name", "up"), [("kinect_v1_20", "y"), ("cmu_38", "y"), ("coco_17", "z")])
def test_a_map_of_layouts_can_be_undone(name, up):
    source = replace(get_skeleton(name), up=up)
    joints = np.random.default_rng(0).normal(size=(2, 5, len(source.joints), 3)).astype(np.float32)
    mapped = layout_map(source, BODY)
    back, flags = mapped.undo(*mapped.apply(joints, np.ones(joints.shape[:3], bool)), len(source.joints))
    known = sorted(set(mapped.sources.values()))
    assert sorted(np.flatnonzero(flags.all(axis=(0, 1)))) == known
    np.testing.assert_array_equal(back[..., known, :], joints[..., known, :])
    assert len(known) > 12
