"""Which joints of a layout are which places of the body.

A layout may say so itself, and the built-in ones do. Of any other the names tell. Sources name a joint in one of two
ways: Kinect, Human3.6M, SMPL and pose estimators name the place (elbow, knee); BVH and most motion capture name the
bone that begins there (the forearm begins at the elbow, so ForeArm is the elbow). The same word then means different
places: ShoulderLeft of Kinect is the joint, where BVH has LeftArm; LeftShoulder of BVH is the inner end of the collar
bone. So names are understood each layout in its own way.

Whatever is unsure is no place: a wrong joint is worse than none.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from marrow.skeleton.known import same_joints
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.names import without_side

# Each place of the body (`BODY`), and how joints there are called; of several that a layout has, the first is taken.
# Words of a name are joined, in lower case, without side and prefix: "upleg" is mixamorig:LeftUpLeg and Up_Leg.R.
_TRUNK = {
    "pelvis": ("hips", "hipcenter", "hipcentre", "pelvis", "hip", "spinebase"),
    "hip centre": ("midhip",),
    "spine": ("spine", "spinemid", "lowerback"),
    "chest": ("chest", "spinechest"),
    "head": ("head",),
    "nose": ("nose",),
    "head top": ("headtop", "headend", "headtopend"),
}
_TRUNK_PLACES = {
    **_TRUNK,
    "shoulder centre": ("shouldercenter", "shouldercentre", "spineshoulder", "thorax", "midshoulder"),
    "neck": ("neck",),
}
_LIMB_PLACES = {
    **{place: (place,) for place in ("shoulder", "elbow", "wrist", "hand", "thumb", "hip", "knee", "ankle", "foot")},
    **{place: (place,) for place in ("eye", "ear", "heel")},
    "collar": ("collar", "clavicle"),
    "hand tip": ("handtip",),
    "toe": ("toe", "toes", "bigtoe"),
}
# Named after bones, a joint is where the bone begins: the neck between the shoulders. The end of the toes is the end
# site of a BVH file.
_TRUNK_BONES = {**_TRUNK, "shoulder centre": ("neck", "lowerneck")}
_LIMB_BONES = {
    "collar": ("shoulder", "collar", "clavicle"),
    "shoulder": ("upperarm", "uparm", "arm", "humerus", "shldr"),
    "elbow": ("forearm", "lowerarm", "lowarm", "radius"),
    "wrist": ("wrist", "hand"),
    "hip": ("upperleg", "upleg", "thigh", "femur"),
    "knee": ("lowerleg", "lowleg", "leg", "shin", "calf", "tibia"),
    "ankle": ("ankle", "foot"),
    "foot": ("toebase", "toes", "toe", "ball"),
    "toe": ("toebaseend", "toesend", "toeend"),
}
_BONE_WORDS = {name for place in ("shoulder", "elbow", "hip", "knee") for name in _LIMB_BONES[place]}
_PLACE_WORDS = {"elbow", "knee"}

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PREFIXES = {"mixamorig", "joint", "jnt", "bip"}
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_GLUED_SIDE = re.compile(r"(left|right)(?=[a-z])")

# The side ("left", "right", "middle") of a joint, and its name without it.
NameKey = tuple[str, str]


def places_of(skeleton: Skeleton) -> dict[str, int]:
    """Return the joints of a layout by place (`BODY`), in its own order: as it says itself, else as names tell."""
    places: Mapping[str, int] = skeleton.places
    known = None if places else same_joints(skeleton)
    if known is not None:
        places = {place: skeleton.joints.index(known.joints[joint]) for place, joint in known.places.items()}
    if not places:
        places = {
            place if side == "middle" else f"{side} {place}": joint
            for (side, place), joint in _places_by_name(name_keys(skeleton)).items()
        }
    return dict(sorted(places.items(), key=lambda of: of[1]))


def place_of_joints(skeleton: Skeleton) -> dict[int, str]:
    """Return the place of the body that each joint is, by its index, for example "left elbow"."""
    return {joint: place for place, joint in places_of(skeleton).items()}


def full_description(skeleton: Skeleton) -> dict[str, Any]:
    """Return what headers of stores and encoders say of a layout: what it is, and its places where only it knows them.

    Of a built-in layout the places are known, and may be known better one day.
    """
    if not skeleton.places or same_joints(skeleton) is not None:
        return skeleton.description()
    return skeleton.description() | {"places": dict(skeleton.places)}


def name_keys(skeleton: Skeleton) -> list[NameKey]:
    """Return side and name of every joint; a side that is no word of its own (lfemur) is told by its partner."""
    keys = [_name_key(name) for name in skeleton.joints]
    for joint, side in enumerate(skeleton.sides):
        if side != "middle" and (keys[joint][0] == "middle" or "/" in skeleton.joints[joint]):
            pair = (joint, skeleton.mirror[joint]) if side == "left" else (skeleton.mirror[joint], joint)
            left, right = (skeleton.joints[place] for place in pair)
            stems = left.rpartition("/")[2], right.rpartition("/")[2]  # Shin and RightUpLeg/Shin
            name = stems[0] if stems[0] == stems[1] else without_side(left, right)
            if name is not None:
                keys[joint] = side, _name_key(name)[1]
    if ("middle", "lowerback") in keys:  # Acclaim: its root is no place on the floor
        keys = [("middle", "hips") if key == ("middle", "root") else key for key in keys]
    return keys


def _name_key(name: str) -> NameKey:
    """Return the side of a joint, and its name without side and prefix."""
    words = [word.lower() for word in _WORD.findall(name.rsplit(":", 1)[-1])]
    words = [part for word in words for part in _GLUED_SIDE.sub(r"\1 ", word).split()]
    while len(words) > 1 and (words[0] in _PREFIXES or words[0].isdecimal()):
        words.pop(0)
    side = next((word for word in words if word in _SIDES), None)
    if side is None:
        return "middle", "".join(words) or name.casefold()
    words.remove(side)
    return _SIDES[side], "".join(words)


def is_named_after_bones(keys: Sequence[NameKey]) -> bool:
    """Tell whether joints are called after the bones that begin there, not after places."""
    parts = {part for _, part in keys}
    return bool(parts & _BONE_WORDS) and not parts & _PLACE_WORDS


def _places_by_name(keys: Sequence[NameKey]) -> dict[tuple[str, str], int]:
    """Return joints by side and place of the body, without those of which there are two of the same name."""
    counts = Counter(keys)
    bones = is_named_after_bones(keys)
    trunk, limbs = (_TRUNK_BONES, _LIMB_BONES) if bones else (_TRUNK_PLACES, _LIMB_PLACES)
    joints: dict[tuple[str, str], int] = {}
    for sides, table in ((("middle",), trunk), (("left", "right"), limbs)):
        for side in sides:
            for place, names in table.items():
                name = next((name for name in names if (side, name) in counts), None)
                if name is not None and counts[side, name] == 1:
                    joints[side, place] = keys.index((side, name))
    return joints
