"""Sides, hips and shoulders as names tell them."""

import pytest

from marrow.skeleton.layout import Skeleton
from marrow.skeleton.names import anchors_by_name, mirror_by_name


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("lfemur", "rfemur"),
        ("lhip", "rhip"),
        ("Lhip", "Rhip"),
        ("lThigh", "rThigh"),
        ("lhipjoint", "rhipjoint"),
        ("mixamorig:lforearm2", "mixamorig:rforearm2"),
        ("l_foo", "r_foo"),
        ("foo.L", "foo.R"),
        ("foo-l", "foo-r"),
        ("Bip01 L Thigh", "Bip01 R Thigh"),
        ("J_Bip_L_UpperArm", "J_Bip_R_UpperArm"),
        ("LASI", "RASI"),
        ("左足", "右足"),
        ("左足ＩＫ", "右足ＩＫ"),
        ("PiernaIzq", "PiernaDer"),
        ("pierna_izquierda", "pierna_derecha"),
        ("BRAZO_IZQ", "BRAZO_DER"),
        ("LeftFoot", "RightFoot"),
        ("leftfoot", "rightfoot"),
        ("FOOT_LEFT", "FOOT_RIGHT"),
        ("LeftHand/LeftTip", "RightHand/RightTip"),
    ],
)
def test_sides(left, right):
    assert mirror_by_name(["Spine", right, left]) == (0, 2, 1)
    assert Skeleton("test", ("Spine", right, left), (0, 0, 0), (0, 2, 1), {}).sides == ("middle", "right", "left")


@pytest.mark.parametrize(
    "names",
    [
        ("lower", "rower"),
        ("leg", "reg"),
        ("LEG", "REG"),
        ("LOWER", "ROWER"),
        ("lock", "rock"),
        ("Lace", "Race"),
        ("Anzizq", "Anzder"),
        ("heel", "heer"),
    ],
)
def test_a_letter_of_a_word_is_no_side(names):
    assert mirror_by_name(names) == (0, 1)


def test_a_name_has_one_partner():
    # Both spellings of the left have the same right: the first has it.
    mirror = mirror_by_name(["lArm", "L_Arm", "rArm", "Arm"])
    assert mirror == (2, 1, 0, 3)


def test_children_of_partners_with_one_name_are_partners():
    names = ("Hips", "LeftUpLeg", "Shin", "Shin_end", "RightUpLeg", "RightUpLeg/Shin", "RightUpLeg/Shin_end", "Tail")
    parents = (0, 0, 1, 2, 0, 4, 5, 0)
    assert mirror_by_name(names, parents) == (0, 4, 5, 6, 1, 2, 3, 7)
    assert Skeleton("test", names, parents, mirror_by_name(names, parents), {}).sides == (
        *("middle", "left", "left", "left", "right", "right", "right", "middle"),
    )


def test_sides_without_names_follow_the_anchors_and_the_tree():
    # root 0; a pair of hips 1, 2 with a knee each (3 below 2, 4 below 1), and a pair of eyes that nothing tells of.
    skeleton = Skeleton(
        "numbers",
        tuple("abcdefg"),
        (0, 0, 0, 2, 1, 0, 0),
        (0, 2, 1, 4, 3, 6, 5),
        {"left_hip": 2, "right_hip": 1},
    )
    assert skeleton.sides == ("middle", "right", "left", "left", "right", "left", "right")


def test_anchors_of_acclaim_names():
    names = ("root", "lfemur", "ltibia", "rfemur", "rtibia", "thorax", "lowerneck", "lclavicle", "lhumerus")
    names += ("rclavicle", "rhumerus")
    parents = (0, 0, 1, 0, 3, 0, 5, 5, 7, 5, 9)
    mirror = mirror_by_name(names)
    sides = Skeleton("acclaim", names, parents, mirror, {}).sides
    anchors = {role: names[joint] for role, joint in anchors_by_name(names, parents, mirror, sides).items()}
    assert anchors == {
        **{"left_hip": "lfemur", "right_hip": "rfemur", "left_shoulder": "lhumerus", "right_shoulder": "rhumerus"},
        **{"centre": "root", "chest": "lowerneck"},
    }


def test_anchors_of_german_names():
    names = ("Hals", "Schulter links", "Schulter rechts", "Hüfte links", "Hüfte rechts")
    mirror = mirror_by_name(names)
    sides = Skeleton("german", names, (0, 0, 0, 0, 0), mirror, {}).sides
    anchors = anchors_by_name(names, (0, 0, 0, 0, 0), mirror, sides)
    assert {role: anchors[role] for role in anchors if "_" in role} == {
        **{"left_hip": 3, "right_hip": 4, "left_shoulder": 1, "right_shoulder": 2}
    }
