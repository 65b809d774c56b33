"""All layouts that have a name, and where each comes from."""

from collections.abc import Mapping
from functools import cache

from marrow.errors import ConfigError, did_you_mean
from marrow.skeleton.body import BODY
from marrow.skeleton.estimators import (
    BODY_25,
    COCO_17,
    COCO_18,
    H36M_17,
    HALPE_26,
    MEDIAPIPE_33,
    MPI_15,
    PENN_13,
)
from marrow.skeleton.layout import CMU_38, H36M_32, KINECT_V1_20, KINECT_V2_25, Skeleton
from marrow.skeleton.motion_capture import (
    ACCLAIM_35,
    CMU_31,
    MIXAMO_22,
    ROKOKO_25,
    SMPL_22,
    SMPL_24,
    XSENS_23,
)
from marrow.skeleton.sensors import AZURE_32, MSR_20, SBU_15, UI_PRMD_22

# Each layout, and what has it. Where joints have no names, the first one with as many is what they are taken for.
_ALL = (
    (KINECT_V2_25, "Kinect v2: NTU RGB+D, PKU-MMD"),
    (KINECT_V1_20, "Kinect v1: NW-UCLA, UTKinect, UTD-MHAD"),
    (AZURE_32, "Azure Kinect"),
    (MSR_20, "MSR Action3D, by Kinect v1"),
    (SBU_15, "SBU Kinect interaction, by OpenNI"),
    (UI_PRMD_22, "UI-PRMD, by Kinect v2"),
    (COCO_17, "COCO: YOLO, MoveNet, ViTPose, MMPose"),
    (COCO_18, "OpenPose's COCO"),
    (MPI_15, "OpenPose's MPI"),
    (BODY_25, "OpenPose's default"),
    (HALPE_26, "Halpe: AlphaPose, RTMPose"),
    (MEDIAPIPE_33, "MediaPipe, BlazePose"),
    (PENN_13, "Penn Action, by annotators"),
    (H36M_17, "Human3.6M's 17: lifting 2D to 3D"),
    (H36M_32, "Human3.6M, exponential maps"),
    (CMU_38, "CMU, BVH with ends"),
    (CMU_31, "CMU, BVH"),
    (ACCLAIM_35, "CMU, Acclaim"),
    (SMPL_22, "SMPL without hands: AMASS"),
    (SMPL_24, "SMPL"),
    (XSENS_23, "Xsens MVN"),
    (MIXAMO_22, "Mixamo, body only"),
    (ROKOKO_25, "Rokoko, body only"),
    (BODY, "every place that layouts share"),
)
LAYOUTS: Mapping[str, Skeleton] = {layout.name: layout for layout, _ in _ALL}
SOURCES: Mapping[str, str] = {layout.name: source for layout, source in _ALL}


def get_skeleton(name: str) -> Skeleton:
    """Return a layout by its name, or say which there are.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in LAYOUTS:
        raise ConfigError(
            f"unknown layout {name!r}.{did_you_mean(name, LAYOUTS)} Known layouts: {', '.join(sorted(LAYOUTS))}. "
            f"One of your own is a YAML file"
        )
    return LAYOUTS[name]


def same_joints(skeleton: Skeleton) -> Skeleton | None:
    """Return the built-in layout that has joints of the same names, in whatever order."""
    return _by_names().get(frozenset(skeleton.joints))


@cache
def _by_names() -> dict[frozenset[str], Skeleton]:
    # Of layouts with the same joints in different orders the first; they are at the same places.
    return {frozenset(layout.joints): layout for layout in reversed([*LAYOUTS.values()])}
