"""Layouts: consistent tables, and sides told by names."""

import re

import pytest

from marrow.errors import ConfigError
from marrow.skeleton.known import LAYOUTS, get_skeleton
from marrow.skeleton.layout import H36M_32, KINECT_V2_25, Skeleton, mirror_by_name

# How the layouts write a side; Acclaim has one small letter before the bone (but lowerneck, root).
LEFT, RIGHT = ("Left|^L[A-Z]|left", "^l(?!ower)"), ("Right|^R[A-Z]|right", "^r(?!oot)")


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_names_tell_the_partners_of_every_layout(name):
    skeleton = get_skeleton(name)
    assert skeleton.name == name
    assert mirror_by_name(skeleton.joints) == skeleton.mirror
    assert skeleton.sides.count("left") == skeleton.sides.count("right") > 0
    is_acclaim = name.startswith("acclaim")
    for joint, side in zip(skeleton.joints, skeleton.sides, strict=True):
        assert (side == "left") == bool(re.search(LEFT[is_acclaim], joint))
        assert (side == "right") == bool(re.search(RIGHT[is_acclaim], joint))
    for role, joint in skeleton.anchors.items():
        assert skeleton.sides[joint] == role.partition("_")[0] or role in ("centre", "chest")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("LeftArm", "RightArm"),
        ("arm_left", "arm_right"),
        ("LEFTARM", "RIGHTARM"),
        ("mixamorig:LeftArm", "mixamorig:RightArm"),
        ("Arm_L", "Arm_R"),
        ("L_Arm", "R_Arm"),
        ("arm.l", "arm.r"),
        ("LArm", "RArm"),
        ("lShldr", "rShldr"),
        ("HandL", "HandR"),
        ("Finger_L_2", "Finger_R_2"),
        ("Leaf_Left", "Leaf_Right"),
    ],
)
def test_spellings_of_a_side(left, right):
    assert mirror_by_name(["Spine", right, left]) == (0, 2, 1)
    skeleton = Skeleton("test", ("Spine", right, left), (0, 0, 0), (0, 2, 1), {})
    assert skeleton.sides == ("middle", "right", "left")


@pytest.mark.parametrize("names", [["Leg", "Reg"], ["L5", "T12"], ["Heel", "Heer"], ["LeftArm", "LeftLeg"]])
def test_what_is_no_pair_has_no_partner(names):
    assert mirror_by_name(names) == (0, 1)


def test_human36m_tree():
    # The parents as the literature lists them, -1 for the root.
    # fmt: off
    listed = [-1, 0, 1, 2, 3, 4, 0, 6, 7, 8, 9, 0, 11, 12, 13, 14, 12, 16, 17, 18, 19, 20, 19, 22, 12, 24, 25, 26, 27,
              28, 27, 30]
    # fmt: on
    assert [-1 if parent == joint else parent for joint, parent in enumerate(H36M_32.parents)] == listed
    assert H36M_32.up == "y"


def test_joints_are_found_by_name():
    assert KINECT_V2_25.index("HipLeft") == 12
    with pytest.raises(ConfigError, match=r"has no joint 'Tail'\. Its joints: SpineBase, "):
        KINECT_V2_25.index("Tail")
    with pytest.raises(ConfigError, match="unknown layout 'dog'"):
        get_skeleton("dog")
