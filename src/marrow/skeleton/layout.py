"""What a body is: joint names, parents, the left-right mirror, and the joints that alignment leans on.

All layouts name joints in the order in which their source writes them. Joint indices are 0-based everywhere in marrow;
the tables in the literature are mostly 1-based. All built-in layouts by name: `skeleton/known.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from marrow.errors import ConfigError
from marrow.skeleton.names import ancestors, right_names
from marrow.skeleton.names import mirror_by_name as mirror_by_name

ANCHOR_ROLES = ("centre", "chest", "left_hip", "right_hip", "left_shoulder", "right_shoulder")


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
        derived: joints that nobody measured, each with the joints that it is made of and their weights, which add up
            to one; no joints where they are not in this layout. See `skeleton/derived.py`.
        places: joints by the place of the body that they are (`marrow.skeleton.body.BODY`), where the layout says so
            itself. What a layout is does not depend on it: `marrow.skeleton.places.places_of` knows the built-in ones.
        dimensions: coordinates of a position that exist: 3, or 2 where joints were seen in an image. Arrays have a
            third one all the same, which is zero and means nothing.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    mirror: tuple[int, ...]
    anchors: dict[str, int] = field(hash=False)
    up: str = "y"
    derived: dict[int, tuple[tuple[int, float], ...]] = field(
        default_factory=dict[int, tuple[tuple[int, float], ...]], hash=False
    )
    places: dict[str, int] = field(default_factory=dict[str, int], hash=False, compare=False, repr=False)
    dimensions: int = 3

    def __post_init__(self) -> None:
        joint_count = len(self.joints)
        if self.dimensions not in (2, 3):
            raise ConfigError(f"skeleton {self.name!r}: dimensions must be 2 or 3, got {self.dimensions}")
        if self.dimensions == 2 and self.up == "z":
            raise ConfigError(f"skeleton {self.name!r}: in two dimensions z does not exist, and cannot point up")
        if len(set(self.joints)) != joint_count:
            raise ConfigError(f"skeleton {self.name!r}: joint names must be unique, got {self.joints}")
        for what, indices in (("parents", self.parents), ("mirror", self.mirror)):
            if len(indices) != joint_count or not all(0 <= index < joint_count for index in indices):
                raise ConfigError(f"skeleton {self.name!r}: {what} must be {joint_count} indices, got {indices}")
        if any(self.mirror[self.mirror[joint]] != joint for joint in range(joint_count)):
            raise ConfigError(f"skeleton {self.name!r}: mirror must be its own inverse")
        for joint, sources in self.derived.items():
            indices = [joint, *(source for source, _ in sources)]
            if not all(0 <= index < joint_count for index in indices):
                raise ConfigError(f"skeleton {self.name!r}: derived joints must be indices, got {joint}: {sources}")
            if any(source in self.derived for source, _ in sources):
                raise ConfigError(f"skeleton {self.name!r}: {self.joints[joint]} is derived from a derived joint")
            if sources and abs(sum(weight for _, weight in sources) - 1) > 1e-6:
                raise ConfigError(f"skeleton {self.name!r}: weights of {self.joints[joint]} must add up to 1")
        if not all(0 <= joint < joint_count for joint in self.places.values()):
            raise ConfigError(f"skeleton {self.name!r}: places must be indices, got {self.places}")

    @classmethod
    def from_description(cls, described: Mapping[str, Any]) -> "Skeleton":
        """Return the layout that `description` describes.

        Raises:
            KeyError, TypeError, ValueError, ConfigError: it describes none.
        """
        return cls(
            name=described["name"],
            joints=tuple(described["joints"]),
            parents=tuple(described["parents"]),
            mirror=tuple(described["mirror"]),
            anchors=dict(described["anchors"]),
            up=described["up"],
            derived={
                int(joint): tuple((int(source), float(weight)) for source, weight in sources)
                for joint, sources in dict(described.get("derived", {})).items()
            },
            places=dict(described.get("places", {})),
            dimensions=described.get("dimensions", 3),
        )

    def description(self) -> dict[str, Any]:
        """Return what the layout is as plain values; `places` are left out, and what most layouts are alike in."""
        described: dict[str, Any] = {
            "name": self.name,
            "joints": self.joints,
            "parents": self.parents,
            "mirror": self.mirror,
            "anchors": dict(self.anchors),
            "up": self.up,
        }
        if self.derived:
            described["derived"] = {
                str(joint): [list(pair) for pair in sources] for joint, sources in self.derived.items()
            }
        if self.dimensions != 3:
            described["dimensions"] = self.dimensions
        return described

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """Pairs (joint, parent) without the root."""
        return tuple((joint, parent) for joint, parent in enumerate(self.parents) if joint != parent)

    @property
    def measured_count(self) -> int:
        """How many joints are measured: as many as the files have."""
        return len(self.joints) - len(self.derived)

    @property
    def has_sides(self) -> bool:
        """Whether any joint has a partner on the other side, so that left and right can be exchanged."""
        return self.mirror != tuple(range(len(self.joints)))

    @property
    def sideways(self) -> int:
        """The axis that a mirror turns around when left and right are exchanged: x, or y where x points up."""
        return 1 if self.up == "x" else 0

    @cached_property
    def sides(self) -> tuple[str, ...]:
        """The side of each joint: "left", "right", or "middle" for what is its own partner.

        Of two partners, names tell which is the left one; else the anchors; else the side of the nearest joint above
        that is on one. Where nothing tells, the first of the two is the left one.
        """
        sides = ["middle"] * len(self.joints)
        untold: list[tuple[int, int]] = []
        for first, second in ((one, other) for one, other in enumerate(self.mirror) if one < other):
            names = self.joints[first], self.joints[second]
            if names[1] in right_names(names[0]) or self._is_left_anchor(first, second):
                sides[first], sides[second] = "left", "right"
            elif names[0] in right_names(names[1]) or self._is_left_anchor(second, first):
                sides[first], sides[second] = "right", "left"
            else:
                untold.append((first, second))
        told = tuple(sides)
        for first, second in untold:
            above = next((told[joint] for joint in ancestors(first, self.parents) if told[joint] != "middle"), "left")
            sides[first], sides[second] = above, "left" if above == "right" else "right"
        return tuple(sides)

    def _is_left_anchor(self, left: int, right: int) -> bool:
        return any(
            self.anchors.get(f"left_{limb}") == left and self.anchors.get(f"right_{limb}") == right
            for limb in ("hip", "shoulder")
        )

    def index(self, joint: str) -> int:
        """Return the index of a joint by its name."""
        if joint not in self.joints:
            raise ConfigError(f"skeleton {self.name!r} has no joint {joint!r}. Its joints: {', '.join(self.joints)}")
        return self.joints.index(joint)


def build_layout(name: str, table: str, anchors: dict[str, str]) -> Skeleton:
    """Build a layout from lines `joint parent place` in joint order; the names say which are left and right.

    A place is a key of `BODY` without its side and with _ between words; - stands for a joint that is none.
    """
    rows = [line.split() for line in table.strip().splitlines()]
    joints = tuple(row[0] for row in rows)
    layout = Skeleton(
        name=name,
        joints=joints,
        parents=tuple(joints.index(row[1]) for row in rows),
        mirror=mirror_by_name(joints),
        anchors={role: joints.index(joint) for role, joint in anchors.items()},
    )
    for joint, (_, _, place) in enumerate(rows):
        if place != "-":
            side = layout.sides[joint]
            layout.places[f"{'' if side == 'middle' else side + ' '}{place.replace('_', ' ')}"] = joint
    return layout


ANCHORS_OF_SIDES = {
    "left_hip": "HipLeft",
    "right_hip": "HipRight",
    "left_shoulder": "ShoulderLeft",
    "right_shoulder": "ShoulderRight",
}

# Microsoft Kinect v2, the 25 joints of NTU RGB+D and PKU-MMD, in NTU's order.
KINECT_V2_25 = build_layout(
    "kinect_v2_25",
    """
    SpineBase      SpineMid       pelvis
    SpineMid       SpineShoulder  spine
    Neck           SpineShoulder  neck
    Head           Neck           head
    ShoulderLeft   SpineShoulder  shoulder
    ElbowLeft      ShoulderLeft   elbow
    WristLeft      ElbowLeft      wrist
    HandLeft       WristLeft      hand
    ShoulderRight  SpineShoulder  shoulder
    ElbowRight     ShoulderRight  elbow
    WristRight     ElbowRight     wrist
    HandRight      WristRight     hand
    HipLeft        SpineBase      hip
    KneeLeft       HipLeft        knee
    AnkleLeft      KneeLeft       ankle
    FootLeft       AnkleLeft      foot
    HipRight       SpineBase      hip
    KneeRight      HipRight       knee
    AnkleRight     KneeRight      ankle
    FootRight      AnkleRight     foot
    SpineShoulder  SpineShoulder  shoulder_centre
    HandTipLeft    HandLeft       hand_tip
    ThumbLeft      HandLeft       thumb
    HandTipRight   HandRight      hand_tip
    ThumbRight     HandRight      thumb
    """,
    {"centre": "SpineBase", "chest": "SpineShoulder", **ANCHORS_OF_SIDES},
)

# Microsoft Kinect v1 (SDK 1), the 20 joints of NW-UCLA and UTKinect.
KINECT_V1_20 = build_layout(
    "kinect_v1_20",
    """
    HipCenter       Spine           pelvis
    Spine           ShoulderCenter  spine
    ShoulderCenter  ShoulderCenter  shoulder_centre
    Head            ShoulderCenter  head
    ShoulderLeft    ShoulderCenter  shoulder
    ElbowLeft       ShoulderLeft    elbow
    WristLeft       ElbowLeft       wrist
    HandLeft        WristLeft       hand
    ShoulderRight   ShoulderCenter  shoulder
    ElbowRight      ShoulderRight   elbow
    WristRight      ElbowRight      wrist
    HandRight       WristRight      hand
    HipLeft         HipCenter       hip
    KneeLeft        HipLeft         knee
    AnkleLeft       KneeLeft        ankle
    FootLeft        AnkleLeft       foot
    HipRight        HipCenter       hip
    KneeRight       HipRight        knee
    AnkleRight      KneeRight       ankle
    FootRight       AnkleRight      foot
    """,
    {"centre": "HipCenter", "chest": "ShoulderCenter", **ANCHORS_OF_SIDES},
)

# Human3.6M, the 32 joints of its exponential maps, in their order. Five of them stay on another joint: ThumbBase and
# HandTip on both sides on the wrist and on the hand's end, and SpineBase (0.1 mm off) on the hips.
H36M_32 = build_layout(
    "h36m_32",
    """
    Hips            Hips            hip_centre
    HipRight        Hips            hip
    KneeRight       HipRight        knee
    AnkleRight      KneeRight       ankle
    FootRight       AnkleRight      foot
    ToeRight        FootRight       toe
    HipLeft         Hips            hip
    KneeLeft        HipLeft         knee
    AnkleLeft       KneeLeft        ankle
    FootLeft        AnkleLeft       foot
    ToeLeft         FootLeft        toe
    SpineBase       Hips            -
    SpineMid        SpineBase       spine
    Neck            SpineMid        shoulder_centre
    Head            Neck            head
    HeadTop         Head            head_top
    CollarLeft      SpineMid        collar
    ShoulderLeft    CollarLeft      shoulder
    ElbowLeft       ShoulderLeft    elbow
    WristLeft       ElbowLeft       wrist
    ThumbBaseLeft   WristLeft       -
    ThumbLeft       ThumbBaseLeft   thumb
    HandLeft        WristLeft       hand
    HandTipLeft     HandLeft        hand_tip
    CollarRight     SpineMid        collar
    ShoulderRight   CollarRight     shoulder
    ElbowRight      ShoulderRight   elbow
    WristRight      ElbowRight      wrist
    ThumbBaseRight  WristRight      -
    ThumbRight      ThumbBaseRight  thumb
    HandRight       WristRight      hand
    HandTipRight    HandRight       hand_tip
    """,
    {"centre": "Hips", "chest": "Neck", **ANCHORS_OF_SIDES},
)

# The BVH conversion of the CMU recordings, the 38 joints of its exponential maps, in their order. As everywhere in BVH
# a joint is called after the bone that begins there: LeftArm lies at the shoulder. Ten of them stay on another joint:
# LHipJoint, RHipJoint and LowerBack on Hips; Neck and both Shoulders on Spine1; FingerBase and Thumb on the hand.
CMU_38 = build_layout(
    "cmu_38",
    """
    Hips                 Hips             pelvis
    LHipJoint            Hips             -
    LeftUpLeg            LHipJoint        hip
    LeftLeg              LeftUpLeg        knee
    LeftFoot             LeftLeg          ankle
    LeftToeBase          LeftFoot         foot
    LeftToeBase_end      LeftToeBase      toe
    RHipJoint            Hips             -
    RightUpLeg           RHipJoint        hip
    RightLeg             RightUpLeg       knee
    RightFoot            RightLeg         ankle
    RightToeBase         RightFoot        foot
    RightToeBase_end     RightToeBase     toe
    LowerBack            Hips             -
    Spine                LowerBack        spine
    Spine1               Spine            -
    Neck                 Spine1           shoulder_centre
    Neck1                Neck             neck
    Head                 Neck1            head
    Head_end             Head             head_top
    LeftShoulder         Spine1           collar
    LeftArm              LeftShoulder     shoulder
    LeftForeArm          LeftArm          elbow
    LeftHand             LeftForeArm      wrist
    LeftFingerBase       LeftHand         -
    LeftHandIndex1       LeftFingerBase   -
    LeftHandIndex1_end   LeftHandIndex1   -
    LThumb               LeftHand         -
    LThumb_end           LThumb           -
    RightShoulder        Spine1           collar
    RightArm             RightShoulder    shoulder
    RightForeArm         RightArm         elbow
    RightHand            RightForeArm     wrist
    RightFingerBase      RightHand        -
    RightHandIndex1      RightFingerBase  -
    RightHandIndex1_end  RightHandIndex1  -
    RThumb               RightHand        -
    RThumb_end           RThumb           -
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
