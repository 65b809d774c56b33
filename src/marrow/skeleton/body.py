"""The places of the body that layouts share: `BODY`, a layout of its own, and where they are when somebody stands.

Sensors agree on elbows and knees; on the trunk, the head and the ends of limbs they do not, and what one puts elsewhere
than another is a place of its own here:

- `pelvis` is the root of motion capture and of Kinect, inside the body above the hips; `hip centre` lies halfway
  between the hips;
- `shoulder centre` is the top of the trunk, where a sensor puts it; `mid shoulders` lies halfway between the shoulders;
  `neck` is above, where the neck begins or in its middle;
- `collar` is the inner end of a collar bone; `chest` is in the rib cage, `spine` below it;
- `head` is in the head or at the base of the skull, `head top` above all; `nose`, `eye` and `ear` are on its surface;
- the hand begins at the `wrist`, `hand` is its middle, `hand tip` and `thumb` end it; the foot begins at the `ankle`,
  `foot` is its ball or its front, `toe` the tip of the big toe, `heel` the other end.

A layout says which of its joints are which places (`skeleton/places.py`); a joint that is none is its own.
"""

import numpy as np
from jaxtyping import Float64

from marrow.skeleton.layout import Skeleton, mirror_by_name

# Place, the place above it, and where it is on a body of 1.75 m in metres: x to its left, y up, z forward. Of what is
# on both sides the left one; the right one is its image.
_TRUNK = (
    ("pelvis", "pelvis", (0.0, 1.0, 0.0)),
    ("spine", "pelvis", (0.0, 1.12, 0.0)),
    ("chest", "spine", (0.0, 1.28, 0.0)),
    ("shoulder centre", "spine", (0.0, 1.43, 0.0)),
    ("neck", "shoulder centre", (0.0, 1.51, 0.0)),
    ("head", "neck", (0.0, 1.63, 0.01)),
    ("head top", "head", (0.0, 1.75, 0.0)),
    ("nose", "head", (0.0, 1.62, 0.11)),
)
_LIMBS = (
    ("eye", "nose", (0.033, 1.655, 0.09)),
    ("ear", "eye", (0.075, 1.64, 0.0)),
    ("collar", "shoulder centre", (0.03, 1.42, 0.02)),
    ("shoulder", "shoulder centre", (0.19, 1.43, 0.0)),
    ("elbow", "shoulder", (0.27, 1.16, -0.01)),
    ("wrist", "elbow", (0.33, 0.91, 0.03)),
    ("hand", "wrist", (0.35, 0.83, 0.05)),
    ("hand tip", "hand", (0.37, 0.74, 0.06)),
    ("thumb", "wrist", (0.32, 0.81, 0.1)),
    ("hip", "pelvis", (0.1, 0.93, 0.0)),
    ("knee", "hip", (0.11, 0.5, 0.01)),
    ("ankle", "knee", (0.12, 0.08, 0.0)),
    ("heel", "ankle", (0.12, 0.03, -0.05)),
    ("foot", "ankle", (0.13, 0.03, 0.1)),
    ("toe", "foot", (0.135, 0.02, 0.18)),
)
# Last, for they are derived: what every layout with hips and shoulders knows alike, whatever its sensor calls a pelvis
# or the top of a trunk. Bodies are aligned and scaled by these two.
_MIDDLES = (("hip centre", "pelvis", (0.0, 0.93, 0.0)), ("mid shoulders", "shoulder centre", (0.0, 1.43, 0.0)))
_LIMB_NAMES = {name for name, _, _ in _LIMBS}


def _rows() -> list[tuple[str, str, tuple[float, float, float]]]:
    rows = list(_TRUNK)
    for name, above, (x, y, z) in _LIMBS:
        for side, sign in (("left", 1.0), ("right", -1.0)):
            rows.append((f"{side} {name}", f"{side} {above}" if above in _LIMB_NAMES else above, (sign * x, y, z)))
    return [*rows, *_MIDDLES]


# Place by place, where it is when somebody stands upright and faces +z; the middles are exactly in the middle.
STANDING: dict[str, tuple[float, float, float]] = {name: position for name, _, position in _rows()}

# Places whose joint another layout may have a little elsewhere: each stands for the other where that is not there.
NEAR = (("pelvis", "hip centre"), ("shoulder centre", "neck"))

# Places that can be made of others, and their weights.
MIDDLES: dict[str, tuple[tuple[str, float], ...]] = {
    "hip centre": (("left hip", 0.5), ("right hip", 0.5)),
    "shoulder centre": (("left shoulder", 0.5), ("right shoulder", 0.5)),
    "mid shoulders": (("left shoulder", 0.5), ("right shoulder", 0.5)),
}

# The places that anchors are, the best one first.
ANCHOR_PLACES = {
    "centre": ("hip centre", "pelvis"),
    "chest": ("mid shoulders", "shoulder centre", "neck"),
    "left_hip": ("left hip",),
    "right_hip": ("right hip",),
    "left_shoulder": ("left shoulder",),
    "right_shoulder": ("right shoulder",),
}


def _body() -> Skeleton:
    names = tuple(STANDING)
    index = {name: joint for joint, name in enumerate(names)}
    return Skeleton(
        name="body",
        joints=names,
        parents=tuple(index[above] for _, above, _ in _rows()),
        mirror=mirror_by_name(names),
        anchors={role: index[places[0]] for role, places in ANCHOR_PLACES.items()},
        derived={
            index[place]: tuple((index[source], weight) for source, weight in MIDDLES[place])
            for place, _, _ in _MIDDLES
        },
        places=index,
    )


# The layout that all others are brought to: every place, whether or not a layout has it.
BODY = _body()


def anchors_by_place(places: dict[str, int]) -> dict[str, int]:
    """Return the joint of each role that a layout has, by its places; roles as in `Skeleton.anchors`."""
    found = {
        role: next((places[place] for place in wanted if place in places), None)
        for role, wanted in ANCHOR_PLACES.items()
    }
    return {role: joint for role, joint in found.items() if joint is not None}


def standing(places: dict[str, int], joint_count: int) -> Float64[np.ndarray, "joint 3"]:
    """Return where the joints of a layout are on the standing body; not a number for those that are no place."""
    positions = np.full((joint_count, 3), np.nan)
    for place, joint in places.items():
        positions[joint] = STANDING[place]
    return positions
