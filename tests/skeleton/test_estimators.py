"""Layouts of pose estimators: trees, mirrors that keep bones, sides, and the orders that the software documents."""

import numpy as np
import pytest

from marrow.skeleton.estimators import BODY_25, COCO_17, COCO_18, ESTIMATOR_LAYOUTS, H36M_17, HALPE_26, MEDIAPIPE_33
from marrow.skeleton.layout import ANCHOR_ROLES, H36M_32, KINECT_V2_25
from marrow.skeleton.retarget import match

LAYOUTS = list(ESTIMATOR_LAYOUTS.values())


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_it_is_a_tree(layout):
    roots = [joint for joint, parent in enumerate(layout.parents) if joint == parent]
    assert len(roots) == 1
    for joint in range(len(layout.joints)):
        for _ in layout.joints:
            joint = layout.parents[joint]
        assert joint == roots[0]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_mirror_maps_bones_to_bones_and_sides_are_right(layout):
    bones = set(layout.bones)
    assert {(layout.mirror[joint], layout.mirror[parent]) for joint, parent in bones} == bones
    for joint, side in zip(layout.joints, layout.sides, strict=True):
        assert side == ("left" if "Left" in joint else "right" if "Right" in joint else "middle")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_anchors_are_joints_of_that_role(layout):
    assert set(layout.anchors) <= set(ANCHOR_ROLES)
    for side in ("left", "right"):
        for place in ("hip", "shoulder"):
            joint = layout.joints[layout.anchors[f"{side}_{place}"]]
            assert joint == f"{place.title()}{side.title()}"


def test_orders_that_the_software_documents():
    assert [COCO_17.joints[joint] for joint in (0, 5, 10, 11, 16)] == [
        *("Nose", "ShoulderLeft", "WristRight", "HipLeft", "AnkleRight")
    ]
    assert [COCO_18.joints[joint] for joint in (1, 4, 13, 17)] == ["Neck", "WristRight", "AnkleLeft", "EarLeft"]
    assert [BODY_25.joints[joint] for joint in (4, 8, 11, 19, 24)] == [
        *("WristRight", "MidHip", "AnkleRight", "BigToeLeft", "HeelRight")
    ]
    assert [HALPE_26.joints[joint] for joint in (9, 17, 18, 19, 21, 24)] == [
        *("WristLeft", "HeadTop", "Neck", "MidHip", "BigToeRight", "HeelLeft")
    ]
    assert [MEDIAPIPE_33.joints[joint] for joint in (2, 8, 16, 23, 26, 31)] == [
        *("EyeLeft", "EarRight", "WristRight", "HipLeft", "KneeRight", "FootLeft")
    ]


def test_human36m_is_seventeen_of_its_thirty_two():
    of_32 = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
    assert H36M_17.joints == tuple(H36M_32.joints[joint] for joint in of_32)


def test_limbs_are_found_in_other_layouts_by_name():
    pairs = match(MEDIAPIPE_33, KINECT_V2_25).pairs
    assert pairs["ElbowLeft"] == "ElbowLeft"
    assert pairs["FootRight"] == "FootRight"
    assert np.all([match(layout, COCO_17).pairs["KneeRight"] == "KneeRight" for layout in LAYOUTS])
