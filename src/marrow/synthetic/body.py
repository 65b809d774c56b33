"""The articulated body of the synthetic recordings: from poses to joint angles to joint positions.

A body stands at the origin and faces -z, with y up and x to its own right: the coordinates of a depth camera in front
of it. A pose is what the action table speaks of: trunk and leg angles, and where each wrist is. `joint_angles` solves
the arms (inverse kinematics) and clips every angle to its limits; `forward_kinematics` turns the angles into positions.
Bone lengths are therefore constant and no joint bends the wrong way, whatever a pose asks for.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from marrow.skeleton.layout import KINECT_V2_25

_SIDES = ("right", "left")

# Angles in degrees, wrists in arm lengths from the shoulder (out to the side, up, forward, in the frame of the chest).
POSE_CHANNELS = (
    *("turn", "pitch", "roll", "lift", "bend", "side", "twist", "nod", "look", "tilt"),
    *(
        f"{side}_{what}"
        for side in _SIDES
        for what in ("out", "up", "forward", "swivel", "wrist", "hip", "spread", "knee", "ankle")
    ),
)
POSE = {name: index for index, name in enumerate(POSE_CHANNELS)}

# Lowest and highest angle in degrees; those of the limbs hold for both sides. `shoulder_plane` says where a raised arm
# points (0 forward, 90 to the side) and goes all the way round, because a hanging arm has no such direction.
LIMITS = {
    "turn": (-np.inf, np.inf),
    "pitch": (-95.0, 95.0),
    "roll": (-95.0, 95.0),
    "pelvis_tilt": (-20.0, 50.0),
    "spine_bend": (-20.0, 40.0),
    "spine_side": (-20.0, 20.0),
    "spine_twist": (-25.0, 25.0),
    "neck_nod": (-45.0, 50.0),
    "neck_turn": (-70.0, 70.0),
    "neck_side": (-35.0, 35.0),
    "shoulder_raise": (0.0, 175.0),
    "shoulder_plane": (-180.0, 180.0),
    "shoulder_twist": (-120.0, 120.0),
    "elbow_bend": (3.0, 150.0),
    "wrist_bend": (-60.0, 60.0),
    "hip_raise": (-30.0, 130.0),
    "hip_spread": (-25.0, 60.0),
    "knee_bend": (0.0, 145.0),
    "ankle_bend": (-45.0, 30.0),
}


@dataclass(frozen=True)
class BodyShape:
    """Bone lengths in metres, after the segment lengths of Drillis and Contini (1966) as shares of the stature.

    Args:
        stature: height in metres.
        legs: length of the legs against the average for that stature.
        arms: the same for the arms.
        breadth: the same for shoulders and hips.
    """

    stature: float = 1.72
    legs: float = 1.0
    arms: float = 1.0
    breadth: float = 1.0

    @property
    def thigh(self) -> float:
        """Hip to knee."""
        return 0.245 * self.stature * self.legs

    @property
    def shank(self) -> float:
        """Knee to ankle."""
        return 0.246 * self.stature * self.legs

    @property
    def upper_arm(self) -> float:
        """Shoulder to elbow."""
        return 0.160 * self.stature * self.arms

    @property
    def forearm(self) -> float:
        """Elbow to wrist."""
        return 0.146 * self.stature * self.arms

    @property
    def arm(self) -> float:
        """Shoulder to wrist of a straight arm: the unit of the wrist targets."""
        return self.upper_arm + self.forearm


def _rotation(
    x: Float[np.ndarray, "*lead"], y: Float[np.ndarray, "*lead"], z: Float[np.ndarray, "*lead"]
) -> Float[np.ndarray, "*lead 3 3"]:
    """Return `Ry Rx Rz` for angles in radians."""
    sx, cx, sy, cy, sz, cz = np.sin(x), np.cos(x), np.sin(y), np.cos(y), np.sin(z), np.cos(z)
    entries = np.empty((*x.shape, 9))
    for index, entry in enumerate(
        (
            *(cy * cz + sy * sx * sz, sy * sx * cz - cy * sz, sy * cx),
            *(cx * sz, cx * cz, -sx),
            *(cy * sx * sz - sy * cz, sy * sz + cy * sx * cz, cy * cx),
        )
    ):
        entries[..., index] = entry
    return entries.reshape(*x.shape, 3, 3)


def _along(frame: Float[np.ndarray, "frame 3 3"], x: float, y: float, z: float) -> Float[np.ndarray, "frame 3"]:
    """Return an offset given in the axes of a limb (several times faster than a product of small matrices)."""
    offset = frame[:, :, 1] * y
    if x:
        offset = offset + frame[:, :, 0] * x
    if z:
        offset = offset + frame[:, :, 2] * z
    return offset


def _arm_angles(
    target: Float[np.ndarray, "side frame 3"], swivel: Float[np.ndarray, "side frame"], shape: BodyShape
) -> dict[str, Float[np.ndarray, "side frame"]]:
    """Solve shoulder and elbow (radians) for wrists at targets given in arm lengths (out, up, forward)."""
    upper, fore = shape.upper_arm / shape.arm, shape.forearm / shape.arm
    distance = np.linalg.norm(target, axis=-1)
    reach = np.clip(distance, 0.35, 0.995)
    along = target / np.maximum(distance, 1e-6)[..., None]

    # The elbow lies on a circle about the line from shoulder to wrist; the swivel says where, 0 being down and out.
    pole = np.stack([0.2 + np.sin(swivel), -np.cos(swivel), np.full_like(swivel, -0.35)], -1)
    pole = pole - (pole * along).sum(-1, keepdims=True) * along
    pole = pole / np.maximum(np.linalg.norm(pole, axis=-1, keepdims=True), 1e-6)
    cosine = np.clip((upper**2 + reach**2 - fore**2) / (2 * upper * reach), -1, 1)
    elbow = cosine[..., None] * along + np.sqrt(1 - cosine**2)[..., None] * pole
    forearm = reach[..., None] * along - upper * elbow

    raised = np.arccos(np.clip(-elbow[..., 1], -1, 1))
    plane = np.arctan2(elbow[..., 0], elbow[..., 2])
    # Undo the swing of the upper arm (about the horizontal axis across its plane), then read the twist off the forearm.
    across, forward = np.sin(plane), np.cos(plane)
    level = forearm[..., 0] * across + forearm[..., 2] * forward
    sideways = forearm[..., 0] * forward - forearm[..., 2] * across
    level = level * np.cos(raised) + forearm[..., 1] * np.sin(raised)
    outward, ahead = level * across + sideways * forward, level * forward - sideways * across
    bent = np.pi - np.arccos(np.clip((upper**2 + fore**2 - reach**2) / (2 * upper * fore), -1, 1))
    return {
        "shoulder_raise": raised,
        "shoulder_plane": plane,
        "shoulder_twist": np.arctan2(-outward, ahead),
        "elbow_bend": bent,
    }


def joint_angles(
    pose: Float[np.ndarray, "frame channel"], shape: BodyShape
) -> dict[str, Float[np.ndarray, "side frame"] | Float[np.ndarray, " frame"]]:
    """Return the joint angles of poses in radians, each within its limits; those of the limbs right side first."""

    def both(what: str) -> Float[np.ndarray, "side frame"]:
        return pose[:, [POSE[f"{side}_{what}"] for side in _SIDES]].T

    def angle(what: str) -> Float[np.ndarray, " frame"]:
        return np.radians(pose[:, POSE[what]])

    tilt = 0.35 * angle("bend")
    hip, knee = np.radians(both("hip")), np.radians(both("knee"))
    angles = {
        "turn": angle("turn"),
        "pitch": angle("pitch"),
        "roll": angle("roll"),
        "pelvis_tilt": tilt,
        # Two joints of the spine share what the pelvis leaves.
        "spine_bend": (angle("bend") - tilt) / 2,
        "spine_side": angle("side") / 2,
        "spine_twist": angle("twist") / 2,
        "neck_nod": angle("nod"),
        "neck_turn": angle("look"),
        "neck_side": angle("tilt"),
        **_arm_angles(np.stack([both("out"), both("up"), both("forward")], -1), np.radians(both("swivel")), shape),
        "wrist_bend": np.radians(both("wrist")),
        # Poses give the thigh against the upright body, so that bending forward leaves the legs where they are.
        "hip_raise": hip + tilt,
        "hip_spread": np.radians(both("spread")),
        "knee_bend": knee,
        # A foot stays level unless the ankle says otherwise.
        "ankle_bend": knee - hip + np.radians(both("ankle")),
    }
    return {
        name: np.clip(value, np.radians(LIMITS[name][0]), np.radians(LIMITS[name][1])) for name, value in angles.items()
    }


def forward_kinematics(
    angles: dict[str, Float[np.ndarray, "side frame"] | Float[np.ndarray, " frame"]], shape: BodyShape
) -> Float[np.ndarray, "frame joint 3"]:
    """Return joint positions in metres, with the centre of the hips at the origin."""
    unit = shape.stature
    none = np.zeros_like(angles["turn"])
    none_both = np.zeros_like(angles["elbow_bend"])
    mirror = np.array([1.0, -1.0])[:, None]  # what turns a right limb into a left one

    upright = _rotation(-angles["pitch"], angles["turn"], -angles["roll"])
    pelvis = upright @ _rotation(-angles["pelvis_tilt"], none, none)
    vertebra = _rotation(-angles["spine_bend"], angles["spine_twist"], -angles["spine_side"])
    lower = pelvis @ vertebra
    chest = lower @ vertebra
    head = chest @ _rotation(-angles["neck_nod"], angles["neck_turn"], -angles["neck_side"])

    joints = np.zeros((len(none), len(KINECT_V2_25.joints), 3))
    at = KINECT_V2_25.index
    joints[:, at("SpineMid")] = _along(lower, 0.0, 0.125 * unit, 0.0)
    joints[:, at("SpineShoulder")] = joints[:, at("SpineMid")] + _along(chest, 0.0, 0.145 * unit, 0.0)
    joints[:, at("Neck")] = joints[:, at("SpineShoulder")] + _along(chest, 0.0, 0.045 * unit, -0.005 * unit)
    joints[:, at("Head")] = joints[:, at("Neck")] + _along(head, 0.0, 0.085 * unit, -0.015 * unit)

    # A turn into the plane of the arm, a raise within it, and the turn back, which keeps the swing free of twist.
    plane = angles["shoulder_plane"] * mirror
    arm = chest @ _rotation(angles["shoulder_raise"], -plane, none_both)
    arm = arm @ _rotation(none_both, plane + angles["shoulder_twist"] * mirror, none_both)
    forearm = arm @ _rotation(angles["elbow_bend"], none_both, none_both)
    hand = forearm @ _rotation(angles["wrist_bend"], none_both, none_both)
    thigh = pelvis @ _rotation(angles["hip_raise"], none_both, angles["hip_spread"] * mirror)
    shank = thigh @ _rotation(-angles["knee_bend"], none_both, none_both)
    foot = shank @ _rotation(angles["ankle_bend"], none_both, none_both)

    for side, (name, sign) in enumerate((("Right", 1.0), ("Left", -1.0))):
        wide = sign * unit * shape.breadth
        limb = (
            ("Shoulder", "SpineShoulder", chest, (0.098 * wide, -0.025 * unit, 0.0)),
            ("Elbow", f"Shoulder{name}", arm[side], (0.0, -shape.upper_arm, 0.0)),
            ("Wrist", f"Elbow{name}", forearm[side], (0.0, -shape.forearm, 0.0)),
            ("Hand", f"Wrist{name}", hand[side], (0.0, -0.045 * unit, 0.0)),
            ("HandTip", f"Hand{name}", hand[side], (0.0, -0.045 * unit, 0.0)),
            ("Thumb", f"Hand{name}", hand[side], (-sign * 0.022 * unit, -0.02 * unit, -0.01 * unit)),
            ("Hip", "SpineBase", pelvis, (0.048 * wide, -0.022 * unit, 0.0)),
            ("Knee", f"Hip{name}", thigh[side], (0.0, -shape.thigh, 0.0)),
            ("Ankle", f"Knee{name}", shank[side], (0.0, -shape.shank, 0.0)),
            ("Foot", f"Ankle{name}", foot[side], (0.0, -0.03 * unit, -0.06 * unit)),
        )
        for joint, parent, frame, offset in limb:
            full_name = f"{joint}{name}"
            joints[:, at(full_name)] = joints[:, at(parent)] + _along(frame, *offset)
    return joints


# How far (share of the stature) a joint's centre lies above the ground when the body rests on that part.
_CONTACTS = {
    **dict.fromkeys(("FootLeft", "FootRight"), 0.01),
    **dict.fromkeys(("KneeLeft", "KneeRight", "HandLeft", "HandRight"), 0.03),
    **dict.fromkeys(("SpineBase", "SpineShoulder", "Head", "ShoulderLeft", "ShoulderRight"), 0.055),
}


def stand(
    joints: Float[np.ndarray, "frame joint 3"], lift: Float[np.ndarray, " frame"], stature: float
) -> Float[np.ndarray, "frame joint 3"]:
    """Put a body on the ground (y = 0) and let its support foot stay where it is, so that stepping carries it along.

    Args:
        joints: positions about the hips.
        lift: height above the ground in metres.
        stature: height in metres.
    """
    at = KINECT_V2_25.index
    heights = joints[:, [at(name) for name in _CONTACTS], 1] - stature * np.array(list(_CONTACTS.values()))
    ankles = joints[:, [at("AnkleLeft"), at("AnkleRight")]]
    # Soft minimum over 2 cm: both feet carry when they are level.
    weight = 1 / (1 + np.exp((ankles[:, :1, 1] - ankles[:, 1:, 1]) / 0.02))
    weight = np.concatenate([weight, 1 - weight], 1)
    stride = np.diff(ankles, axis=0) * ((weight[1:] + weight[:-1]) / 2)[..., None]
    root = np.zeros((len(joints), 3))
    root[1:] = -np.cumsum(stride.sum(1), axis=0)
    root[:, 1] = lift - heights.min(1)
    return joints + root[:, None]
