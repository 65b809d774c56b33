"""From one layout to another: which joint of a skeleton is which of another, by their names.

Sources name a joint in one of two ways. Kinect, Human3.6M, SMPL and pose estimators name the place (elbow, knee); BVH
and most motion capture name the bone that begins there (the forearm begins at the elbow, so ForeArm is the elbow). The
same word then means different places: ShoulderLeft of Kinect is the joint, where BVH has LeftArm; LeftShoulder of BVH
is the inner end of the collar bone. So names are first understood as places of the body, each layout in its own way,
and then compared. What is no place that the tables know is compared by name, where both layouts name alike.

Whatever is unsure stays unmatched: a wrong joint is worse than none. A user who knows better names the pairs.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np

from marrow.errors import ConfigError
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.names import without_side
from marrow.skeleton.sequence import Placement, SkeletonSequence

# Each place of the body, and how joints there are called; of several that a layout has, the first is taken. Words of a
# name are joined, in lower case, without side and prefix: "upleg" is mixamorig:LeftUpLeg and Up_Leg.R.
_TRUNK = {
    "pelvis": ("hips", "hipcenter", "hipcentre", "pelvis", "midhip", "hip", "spinebase"),
    "spine": ("spine", "spinemid", "lowerback"),
    "head": ("head",),
    "head top": ("headtop", "headend", "headtopend"),
}
_TRUNK_PLACES = {
    **_TRUNK,
    "shoulder centre": ("shouldercenter", "shouldercentre", "spineshoulder", "thorax"),
    "neck": ("neck",),
}
_LIMB_PLACES = {
    **{place: (place,) for place in ("shoulder", "elbow", "wrist", "hand", "thumb", "hip", "knee", "ankle", "foot")},
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
_CHAIN = re.compile(r"(.*?)\d+")

# The side ("left", "right", "middle") of a joint, and its name without it.
_Key = tuple[str, str]


@dataclass(frozen=True)
class JointMatch:
    """Which joint of one layout is which of another.

    Args:
        source: the layout that data come from.
        target: the layout that they are wanted in.
        sources: for each joint of the target the joint of the source, or None; each at most once.
    """

    source: Skeleton
    target: Skeleton
    sources: tuple[int | None, ...]

    @property
    def pairs(self) -> dict[str, str]:
        """Names of matched joints: target to source."""
        return {
            self.target.joints[joint]: self.source.joints[source]
            for joint, source in enumerate(self.sources)
            if source is not None
        }

    @property
    def unmatched_target(self) -> tuple[str, ...]:
        """Joints of the target that the source does not have."""
        return tuple(name for name in self.target.joints if name not in self.pairs)

    @property
    def unmatched_source(self) -> tuple[str, ...]:
        """Joints of the source that the target does not have."""
        return tuple(name for joint, name in enumerate(self.source.joints) if joint not in self.sources)


def match(source: Skeleton, target: Skeleton, joints: Mapping[str, str | None] | None = None) -> JointMatch:
    """Find the joints of one layout in another.

    Args:
        source: the layout that data come from.
        target: the layout that they are wanted in.
        joints: joint of the source by joint of the target, where names do not tell, or None for one that is to stay
            unmatched; all others are matched by name.

    Raises:
        ConfigError: `joints` names one that a layout does not have, or one of the source twice; or nothing matches.
    """
    named = _as_named(source, target, joints or {})
    by_name = _by_name(source, target)
    pairs = {joint: place for joint, place in by_name.items() if joint not in named and place not in named.values()}
    pairs |= {joint: place for joint, place in named.items() if place is not None}
    if not pairs:
        raise ConfigError(
            f"no joint of {target.name!r} ({', '.join(target.joints)}) is known in {source.name!r} "
            f"({', '.join(source.joints)}); say which is which, as joint of the one: joint of the other"
        )
    return JointMatch(source, target, tuple(pairs.get(joint) for joint in range(len(target.joints))))


def place_of_joints(skeleton: Skeleton) -> dict[int, str]:
    """Return the place of the body that each joint is, by its index, for example "left elbow"; as far as names tell."""
    places = _places(_keys(skeleton))
    return {joint: place if side == "middle" else f"{side} {place}" for (side, place), joint in places.items()}


def retarget(sequence: SkeletonSequence, target: Skeleton, joints: Mapping[str, str] | None = None) -> SkeletonSequence:
    """Return a recording in another layout; joints that it does not have are absent.

    Positions stay where they are, and bones as long; where another axis points up in the target, everything is turned,
    and `placement` leads back.

    Args:
        sequence: in its own layout.
        target: the layout that is wanted.
        joints: joint of the sequence by joint of the target, where names do not tell; see `match`.

    Raises:
        ConfigError: as for `match`.
    """
    sources = match(sequence.skeleton, target, joints).sources
    wanted = [joint for joint, source in enumerate(sources) if source is not None]
    taken = [source for source in sources if source is not None]
    shape = (sequence.body_count, sequence.frame_count, len(target.joints))
    positions, present = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.bool_)
    # A roll of the axes keeps them right-handed.
    steps = ("xyz".index(target.up) - "xyz".index(sequence.skeleton.up)) % 3
    positions[:, :, wanted] = np.roll(sequence.joints[:, :, taken], steps, axis=-1)
    present[:, :, wanted] = sequence.present[:, :, taken]
    old = sequence.placement
    turned = old.rotation @ np.roll(np.eye(3), steps, axis=0).T
    return replace(
        sequence,
        joints=positions,
        present=present,
        skeleton=target,
        placement=Placement(turned, old.translation, old.scale),
    )


def _as_named(source: Skeleton, target: Skeleton, joints: Mapping[str, str | None]) -> dict[int, int | None]:
    pairs: dict[int, int | None] = {}
    for wanted, name in joints.items():
        joint, place = _index(target, wanted), None if name is None else _index(source, name)
        if place is not None and place in pairs.values():
            raise ConfigError(f"joint {name!r} of {source.name!r} is given to two joints; each can be taken once")
        pairs[joint] = place
    return pairs


def _index(skeleton: Skeleton, joint: str) -> int:
    if joint not in skeleton.joints:
        lowered = {name.casefold(): name for name in skeleton.joints}
        nearest = get_close_matches(str(joint).casefold(), lowered, n=1, cutoff=0.4)
        hint = f" Did you mean {lowered[nearest[0]]!r}?" if nearest else ""
        raise ConfigError(
            f"skeleton {skeleton.name!r} has no joint {joint!r}.{hint} Its joints: {', '.join(skeleton.joints)}"
        )
    return skeleton.joints.index(joint)


def _by_name(source: Skeleton, target: Skeleton) -> dict[int, int]:
    """Return joints of the source by joint of the target."""
    if set(source.joints) == set(target.joints):
        return {joint: source.joints.index(name) for joint, name in enumerate(target.joints)}
    keys_of_source, keys_of_target = (_keys(skeleton) for skeleton in (source, target))
    at_source, at_target = _places(keys_of_source), _places(keys_of_target)
    pairs = {joint: at_source[place] for place, joint in at_target.items() if place in at_source}
    if _is_named_after_bones(keys_of_source) == _is_named_after_bones(keys_of_target):
        pairs |= _same_names(keys_of_source, keys_of_target, pairs)
    # Where a layout has only one joint between chest and head, that is the neck of some and the collar of others.
    for wanted, instead in (("neck", "shoulder centre"), ("shoulder centre", "neck")):
        joint, place = at_target.get(("middle", wanted)), at_source.get(("middle", instead))
        if joint is not None and place is not None and joint not in pairs and place not in pairs.values():
            pairs[joint] = place
    return pairs


def _keys(skeleton: Skeleton) -> list[_Key]:
    """Return side and name of every joint; a side that is no word of its own (lfemur) is told by its partner."""
    keys = [_key(name) for name in skeleton.joints]
    for joint, side in enumerate(skeleton.sides):
        if side != "middle" and (keys[joint][0] == "middle" or "/" in skeleton.joints[joint]):
            pair = (joint, skeleton.mirror[joint]) if side == "left" else (skeleton.mirror[joint], joint)
            left, right = (skeleton.joints[place] for place in pair)
            stems = left.rpartition("/")[2], right.rpartition("/")[2]  # Shin and RightUpLeg/Shin
            name = stems[0] if stems[0] == stems[1] else without_side(left, right)
            if name is not None:
                keys[joint] = side, _key(name)[1]
    if ("middle", "lowerback") in keys:  # Acclaim: its root is no place on the floor
        keys = [("middle", "hips") if key == ("middle", "root") else key for key in keys]
    return keys


def _key(name: str) -> _Key:
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


def _is_named_after_bones(keys: Sequence[_Key]) -> bool:
    parts = {part for _, part in keys}
    return bool(parts & _BONE_WORDS) and not parts & _PLACE_WORDS


def _places(keys: Sequence[_Key]) -> dict[tuple[str, str], int]:
    """Return joints by side and place of the body, without those of which there are two of the same name."""
    counts = Counter(keys)
    bones = _is_named_after_bones(keys)
    trunk, limbs = (_TRUNK_BONES, _LIMB_BONES) if bones else (_TRUNK_PLACES, _LIMB_PLACES)
    joints: dict[tuple[str, str], int] = {}
    for sides, table in ((("middle",), trunk), (("left", "right"), limbs)):
        for side in sides:
            for place, names in table.items():
                name = next((name for name in names if (side, name) in counts), None)
                if name is not None and counts[side, name] == 1:
                    joints[side, place] = keys.index((side, name))
    return joints


def _same_names(source: Sequence[_Key], target: Sequence[_Key], taken: Mapping[int, int]) -> dict[int, int]:
    """Return joints that have a name of their own, the same in both layouts, and are in none of the pairs.

    Spine2 of four is not where Spine2 of three is: numbered joints match where both layouts have the same of them.
    """
    pairs: dict[int, int] = {}
    for joint, key in enumerate(target):
        if joint in taken or target.count(key) != 1 or source.count(key) != 1 or source.index(key) in taken.values():
            continue
        chain = _CHAIN.match(key[1])
        if chain is None or _numbered(source, key[0], chain[1]) == _numbered(target, key[0], chain[1]):
            pairs[joint] = source.index(key)
    return pairs


def _numbered(keys: Sequence[_Key], side: str, stem: str) -> set[str]:
    return {part for where, part in keys if where == side and re.fullmatch(rf"{re.escape(stem)}\d*(end)?", part)}
