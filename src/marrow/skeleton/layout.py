"""What a body is: joint names, parents, the left-right mirror, and the joints that alignment leans on.

All layouts name joints in the order in which their source writes them. Joint indices are 0-based everywhere in marrow;
the tables in the literature are mostly 1-based.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from marrow.errors import ConfigError

ANCHOR_ROLES = ("centre", "chest", "left_hip", "right_hip", "left_shoulder", "right_shoulder")

# How sources write a side into a joint's name: LeftArm, arm_left; L_Arm, LArm, lArm, Arm_L, ArmL.
_LEFT_MARKS = (
    *((re.compile(left), right) for left, right in (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))),
    *((re.compile(rf"(?<![A-Za-z]){left}(?![a-z])"), right) for left, right in (("l", "r"), ("L", "R"))),
    (re.compile(r"(?<=[a-z0-9])L(?![A-Za-z])"), "R"),
)


@dataclass(frozen=True)
class Skeleton:
    """A layout of landmarks on one body.

    Args:
        name: how stores and encoders refer to the layout.
        joints: joint names, in the order of the joint axis.
        parents: parent of each joint; the root is its own parent, so that its bone is zero.
        mirror: index of each joint's left-right partner; a joint on the midline is its own.
        anchors: joints by role, for alignment: `centre`, `chest` (top of the trunk), `left_hip`, `right_hip`,
            `left_shoulder`, `right_shoulder`.
        up: the axis that points up in this layout's sources: "x", "y" or "z".
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    mirror: tuple[int, ...]
    anchors: dict[str, int] = field(hash=False)
    up: str = "y"

    def __post_init__(self) -> None:
        joint_count = len(self.joints)
        if len(set(self.joints)) != joint_count:
            raise ConfigError(f"skeleton {self.name!r}: joint names must be unique, got {self.joints}")
        for what, indices in (("parents", self.parents), ("mirror", self.mirror)):
            if len(indices) != joint_count or not all(0 <= index < joint_count for index in indices):
                raise ConfigError(f"skeleton {self.name!r}: {what} must be {joint_count} indices, got {indices}")
        if any(self.mirror[self.mirror[joint]] != joint for joint in range(joint_count)):
            raise ConfigError(f"skeleton {self.name!r}: mirror must be its own inverse")

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Pairs (joint, parent) without the root."""
        return tuple((joint, parent) for joint, parent in enumerate(self.parents) if joint != parent)

    @cached_property
    def sides(self) -> tuple[str, ...]:
        """The side of each joint: "left", "right", or "middle" for what is its own partner."""

        def side(joint: int, partner: int) -> str:
            if joint == partner:
                return "middle"
            return "left" if self.joints[partner] in _right_names(self.joints[joint]) else "right"

        return tuple(side(joint, partner) for joint, partner in enumerate(self.mirror))

    def index(self, joint: str) -> int:
        """Return the index of a joint by its name."""
        if joint not in self.joints:
            raise ConfigError(f"skeleton {self.name!r} has no joint {joint!r}. Its joints: {', '.join(self.joints)}")
        return self.joints.index(joint)


def mirror_by_name(joints: Sequence[str]) -> tuple[int, ...]:
    """Return each joint's left-right partner as their names tell it; a joint without one is its own.

    Args:
        joints: names such as LeftArm and RightArm, arm_l and arm_r, LArm and RArm, mixamorig:LeftArm.
    """
    place = {name: joint for joint, name in enumerate(joints)}
    mirror = list(range(len(joints)))
    for left, name in enumerate(joints):
        right = next((place[other] for other in _right_names(name) if other in place), left)
        if right != left and mirror[left] == left and mirror[right] == right:
            mirror[left], mirror[right] = right, left
    return tuple(mirror)


def _right_names(name: str) -> list[str]:
    """Return how the right partner of a left joint may be called."""
    return [
        name[: mark.start()] + right + name[mark.end() :]
        for pattern, right in _LEFT_MARKS
        for mark in pattern.finditer(name)
    ]


def _layout(name: str, table: str, anchors: dict[str, str]) -> Skeleton:
    """Build a layout from lines `joint parent` in joint order."""
    rows = [line.split() for line in table.strip().splitlines()]
    joints = tuple(row[0] for row in rows)
    return Skeleton(
        name=name,
        joints=joints,
        parents=tuple(joints.index(row[1]) for row in rows),
        mirror=mirror_by_name(joints),
        anchors={role: joints.index(joint) for role, joint in anchors.items()},
    )


_ANCHORS = {
    "left_hip": "HipLeft",
    "right_hip": "HipRight",
    "left_shoulder": "ShoulderLeft",
    "right_shoulder": "ShoulderRight",
}

# Microsoft Kinect v2, the 25 joints of NTU RGB+D and PKU-MMD, in NTU's order.
KINECT_V2_25 = _layout(
    "kinect_v2_25",
    """
    SpineBase      SpineMid
    SpineMid       SpineShoulder
    Neck           SpineShoulder
    Head           Neck
    ShoulderLeft   SpineShoulder
    ElbowLeft      ShoulderLeft
    WristLeft      ElbowLeft
    HandLeft       WristLeft
    ShoulderRight  SpineShoulder
    ElbowRight     ShoulderRight
    WristRight     ElbowRight
    HandRight      WristRight
    HipLeft        SpineBase
    KneeLeft       HipLeft
    AnkleLeft      KneeLeft
    FootLeft       AnkleLeft
    HipRight       SpineBase
    KneeRight      HipRight
    AnkleRight     KneeRight
    FootRight      AnkleRight
    SpineShoulder  SpineShoulder
    HandTipLeft    HandLeft
    ThumbLeft      HandLeft
    HandTipRight   HandRight
    ThumbRight     HandRight
    """,
    {"centre": "SpineBase", "chest": "SpineShoulder", **_ANCHORS},
)

# Microsoft Kinect v1 (SDK 1), the 20 joints of NW-UCLA and UTKinect.
KINECT_V1_20 = _layout(
    "kinect_v1_20",
    """
    HipCenter       Spine
    Spine           ShoulderCenter
    ShoulderCenter  ShoulderCenter
    Head            ShoulderCenter
    ShoulderLeft    ShoulderCenter
    ElbowLeft       ShoulderLeft
    WristLeft       ElbowLeft
    HandLeft        WristLeft
    ShoulderRight   ShoulderCenter
    ElbowRight      ShoulderRight
    WristRight      ElbowRight
    HandRight       WristRight
    HipLeft         HipCenter
    KneeLeft        HipLeft
    AnkleLeft       KneeLeft
    FootLeft        AnkleLeft
    HipRight        HipCenter
    KneeRight       HipRight
    AnkleRight      KneeRight
    FootRight       AnkleRight
    """,
    {"centre": "HipCenter", "chest": "ShoulderCenter", **_ANCHORS},
)

# Human3.6M, the 32 joints of its exponential maps, in their order. Five of them stay on another joint: ThumbBase and
# HandTip on both sides on the wrist and on the hand's end, and SpineBase (0.1 mm off) on the hips.
H36M_32 = _layout(
    "h36m_32",
    """
    Hips             Hips
    HipRight         Hips
    KneeRight        HipRight
    AnkleRight       KneeRight
    FootRight        AnkleRight
    ToeRight         FootRight
    HipLeft          Hips
    KneeLeft         HipLeft
    AnkleLeft        KneeLeft
    FootLeft         AnkleLeft
    ToeLeft          FootLeft
    SpineBase        Hips
    SpineMid         SpineBase
    Neck             SpineMid
    Head             Neck
    HeadTop          Head
    CollarLeft       SpineMid
    ShoulderLeft     CollarLeft
    ElbowLeft        ShoulderLeft
    WristLeft        ElbowLeft
    ThumbBaseLeft    WristLeft
    ThumbLeft        ThumbBaseLeft
    HandLeft         WristLeft
    HandTipLeft      HandLeft
    CollarRight      SpineMid
    ShoulderRight    CollarRight
    ElbowRight       ShoulderRight
    WristRight       ElbowRight
    ThumbBaseRight   WristRight
    ThumbRight       ThumbBaseRight
    HandRight        WristRight
    HandTipRight     HandRight
    """,
    {"centre": "Hips", "chest": "Neck", **_ANCHORS},
)

# The BVH conversion of the CMU recordings, the 38 joints of its exponential maps, in their order. As everywhere in BVH
# a joint is called after the bone that begins there: LeftArm lies at the shoulder. Ten of them stay on another joint:
# LHipJoint, RHipJoint and LowerBack on Hips; Neck and both Shoulders on Spine1; FingerBase and Thumb on the hand.
CMU_38 = _layout(
    "cmu_38",
    """
    Hips                 Hips
    LHipJoint            Hips
    LeftUpLeg            LHipJoint
    LeftLeg              LeftUpLeg
    LeftFoot             LeftLeg
    LeftToeBase          LeftFoot
    LeftToeBase_end      LeftToeBase
    RHipJoint            Hips
    RightUpLeg           RHipJoint
    RightLeg             RightUpLeg
    RightFoot            RightLeg
    RightToeBase         RightFoot
    RightToeBase_end     RightToeBase
    LowerBack            Hips
    Spine                LowerBack
    Spine1               Spine
    Neck                 Spine1
    Neck1                Neck
    Head                 Neck1
    Head_end             Head
    LeftShoulder         Spine1
    LeftArm              LeftShoulder
    LeftForeArm          LeftArm
    LeftHand             LeftForeArm
    LeftFingerBase       LeftHand
    LeftHandIndex1       LeftFingerBase
    LeftHandIndex1_end   LeftHandIndex1
    LThumb               LeftHand
    LThumb_end           LThumb
    RightShoulder        Spine1
    RightArm             RightShoulder
    RightForeArm         RightArm
    RightHand            RightForeArm
    RightFingerBase      RightHand
    RightHandIndex1      RightFingerBase
    RightHandIndex1_end  RightHandIndex1
    RThumb               RightHand
    RThumb_end           RThumb
    """,
    {
        "centre": "Hips",
        "chest": "Neck",
        "left_hip": "LeftUpLeg",
        "right_hip": "RightUpLeg",
        "left_shoulder": "LeftArm",
        "right_shoulder": "RightArm",
    },
)

SKELETONS: dict[str, Skeleton] = {layout.name: layout for layout in (KINECT_V2_25, KINECT_V1_20, H36M_32, CMU_38)}


def get_skeleton(name: str) -> Skeleton:
    """Return a layout by name, or say which there are."""
    if name not in SKELETONS:
        raise ConfigError(f"unknown skeleton {name!r}. Known skeletons: {', '.join(sorted(SKELETONS))}")
    return SKELETONS[name]
