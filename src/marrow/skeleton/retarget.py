"""From one layout to another: which joint of a skeleton is which of another, by the places of the body that they are.

Layouts call the same place differently and different places alike, so joints are first understood as places of the
body (`skeleton/places.py`), each layout in its own way, and then compared. What is no place that the tables know is
compared by name, where both layouts name alike. The middle of the hips and of the shoulders can be derived.

Whatever is unsure stays unmatched: a wrong joint is worse than none. A user who knows better names the pairs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import numpy as np
from jaxtyping import Bool, Float32, Float64

from marrow.errors import ConfigError
from marrow.skeleton.body import MIDDLES, NEAR
from marrow.skeleton.derived import derive
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.places import NameKey, is_named_after_bones, name_keys, places_of
from marrow.skeleton.sequence import Placement, SkeletonSequence

_CHAIN = re.compile(r"(.*?)\d+")


@dataclass(frozen=True)
class JointMatch:
    """Which joint of one layout is which of another.

    Args:
        source: the layout that data come from.
        target: the layout that they are wanted in.
        sources: for each joint of the target the joint of the source, or None; each at most once.
        derived: joints of the target that are nowhere in the source but follow from others that are, as in
            `Skeleton.derived`.
    """

    source: Skeleton
    target: Skeleton
    sources: tuple[int | None, ...]
    derived: Mapping[int, tuple[tuple[int, float], ...]] = field(default_factory=dict, hash=False)

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
        joints: joint of the source by joint of the target, where places and names do not tell, or None for one that is
            to stay unmatched; all others are matched as usual.

    Raises:
        ConfigError: `joints` names one that a layout does not have, or one of the source twice; or nothing matches.
    """
    named = _as_named(source, target, joints or {})
    usual = _by_place(source, target)
    pairs = {joint: other for joint, other in usual.items() if joint not in named and other not in named.values()}
    pairs |= {joint: other for joint, other in named.items() if other is not None}
    if not pairs:
        raise ConfigError(
            f"no joint of {target.name!r} ({', '.join(target.joints)}) is known in {source.name!r} "
            f"({', '.join(source.joints)}); say which is which, as joint of the one: joint of the other"
        )
    derived = {joint: sources for joint, sources in _derivable(target, pairs).items() if joint not in named}
    return JointMatch(source, target, tuple(pairs.get(joint) for joint in range(len(target.joints))), derived)


def retarget(
    sequence: SkeletonSequence, target: Skeleton, joints: Mapping[str, str | None] | None = None
) -> SkeletonSequence:
    """Return a recording in another layout; joints that it does not have are absent.

    Positions stay where they are, and bones as long; where another axis points up in the target, everything is turned,
    and `placement` leads back. A recording in two dimensions stays one, and the resulting layout says so; there y
    points up where z does in the target. What is derived of the result, because the recording does not have it or has
    derived it itself, its layout marks as such.

    Args:
        sequence: in its own layout.
        target: the layout that is wanted.
        joints: joint of the sequence by joint of the target, where names do not tell; see `match`.

    Raises:
        ConfigError: as for `layout_map`.
    """
    mapped = layout_map(sequence.skeleton, target, joints)
    positions, present = mapped.apply(sequence.joints, sequence.present)
    old = sequence.placement
    turned = old.rotation @ mapped.turn.T
    return replace(
        sequence,
        joints=positions,
        present=present,
        skeleton=mapped.skeleton,
        placement=Placement(turned, old.translation, old.scale),
    )


@dataclass(frozen=True)
class LayoutMap:
    """How positions of one layout are brought to another.

    Args:
        skeleton: the layout that results: the target, with what is derived there marked, in as many dimensions as the
            source has.
        sources: for each joint of it that the source has, that joint of the source.
        derived: joints that are made of others there, as in `Skeleton.derived`.
        axes: which axis of the source each of its axes is, so that up is up.
    """

    skeleton: Skeleton
    sources: Mapping[int, int] = field(hash=False)
    derived: Mapping[int, tuple[tuple[int, float], ...]] = field(hash=False)
    axes: tuple[int, int, int]

    @property
    def turn(self) -> Float64[np.ndarray, "3 3"]:
        """The turn of positions of the source. Where x and y change places, in two dimensions, z points backwards."""
        turn = np.eye(3)[list(self.axes)]
        turn[2] *= np.linalg.det(turn)
        return turn

    def apply(
        self, joints: Float32[np.ndarray, "*lead source 3"], present: Bool[np.ndarray, "*lead source"]
    ) -> tuple[Float32[np.ndarray, "*lead joint 3"], Bool[np.ndarray, "*lead joint"]]:
        """Return positions and flags in the layout that results; joints that the source lacks are absent."""
        wanted, taken = list(self.sources), list(self.sources.values())
        shape = (*present.shape[:-1], len(self.skeleton.joints))
        positions, flags = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.bool_)
        positions[..., wanted, :] = joints[..., taken, :][..., list(self.axes)]
        flags[..., wanted] = present[..., taken]
        return derive(positions, flags, self.derived)

    def undo(
        self,
        joints: Float32[np.ndarray, "*lead joint 3"],
        present: Bool[np.ndarray, "*lead joint"],
        joint_count: int,
    ) -> tuple[Float32[np.ndarray, "*lead source 3"], Bool[np.ndarray, "*lead source"]]:
        """Return positions and flags in the layout of the source, of so many joints; what the other lacks is absent."""
        there, here = list(self.sources), list(self.sources.values())
        shape = (*present.shape[:-1], joint_count)
        positions, flags = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.bool_)
        positions[..., here, :] = joints[..., there, :][..., np.argsort(self.axes)]
        flags[..., here] = present[..., there]
        return positions, flags


def layout_map(source: Skeleton, target: Skeleton, joints: Mapping[str, str | None] | None = None) -> LayoutMap:
    """Return how recordings of one layout are brought to another; arguments and errors as those of `match`.

    In two dimensions y points up where z does in the target.

    Raises:
        ConfigError: besides, the source has three dimensions and the target two.
    """
    if target.dimensions < source.dimensions:
        raise ConfigError(
            f"recordings of {source.name!r} have three dimensions, {target.name!r} has two: what of them is seen "
            "depends on a camera. Use a layout of three dimensions"
        )
    if source.dimensions < target.dimensions:
        target = replace(target, dimensions=2, up="y" if target.up == "z" else target.up)
    found = match(source, target, joints)
    steps = ("xyz".index(target.up) - "xyz".index(source.up)) % 3
    # A roll of the axes keeps them right-handed. In an image there are two, which can but change places.
    x, y, z = (1, 0, 2) if steps and source.dimensions == 2 else ((axis - steps) % 3 for axis in range(3))
    pairs = {joint: place for joint, place in enumerate(found.sources) if place is not None}
    return LayoutMap(_marked(target, found), pairs, found.derived, (x, y, z))


def _marked(target: Skeleton, found: JointMatch) -> Skeleton:
    """Return the target with those joints marked that are derived in this recording."""
    derived = {**target.derived, **found.derived}
    place = {source: joint for joint, source in enumerate(found.sources) if source is not None}
    for joint, sources in found.source.derived.items():
        if joint in place and place[joint] not in derived:
            whole = all(source in place for source, _ in sources)
            derived[place[joint]] = tuple((place[source], weight) for source, weight in sources) if whole else ()
    return replace(target, derived=derived) if derived.keys() != target.derived.keys() else target


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


def _by_place(source: Skeleton, target: Skeleton) -> dict[int, int]:
    """Return joints of the source by joint of the target."""
    if set(source.joints) == set(target.joints):
        return {joint: source.joints.index(name) for joint, name in enumerate(target.joints)}
    at_source, at_target = places_of(source), places_of(target)
    pairs = {joint: at_source[place] for place, joint in at_target.items() if place in at_source}
    keys_of_source, keys_of_target = (name_keys(skeleton) for skeleton in (source, target))
    if is_named_after_bones(keys_of_source) == is_named_after_bones(keys_of_target):
        own_of_source = set(range(len(source.joints))) - set(at_source.values())
        own_of_target = set(range(len(target.joints))) - set(at_target.values())
        pairs |= {
            joint: other
            for joint, other in _same_names(keys_of_source, keys_of_target, pairs).items()
            if joint in own_of_target and other in own_of_source
        }
    # Where a layout has one joint of two that are near each other, it stands for the other one.
    for one, other in NEAR:
        for wanted, instead in ((one, other), (other, one)):
            joint, near = at_target.get(wanted), at_source.get(instead)
            is_alone = instead not in at_target and wanted not in at_source
            if joint is not None and near is not None and joint not in pairs and is_alone:
                pairs[joint] = near
    return pairs


def _derivable(target: Skeleton, pairs: Mapping[int, int]) -> dict[int, tuple[tuple[int, float], ...]]:
    """Return the joints of the target that follow from those that are matched."""
    places = places_of(target)
    derived: dict[int, tuple[tuple[int, float], ...]] = {}
    twins = dict(NEAR) | {other: one for one, other in NEAR}
    for place, sources in MIDDLES.items():
        joint = places.get(place, places.get(twins.get(place, "")))
        made_of = [(places.get(source), weight) for source, weight in sources]
        if joint is not None and joint not in pairs and all(source in pairs for source, _ in made_of):
            derived[joint] = tuple((source, weight) for source, weight in made_of if source is not None)
    for joint, made_of in target.derived.items():
        if joint not in pairs and joint not in derived and made_of and all(source in pairs for source, _ in made_of):
            derived[joint] = made_of
    return derived


def _same_names(source: Sequence[NameKey], target: Sequence[NameKey], taken: Mapping[int, int]) -> dict[int, int]:
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


def _numbered(keys: Sequence[NameKey], side: str, stem: str) -> set[str]:
    return {part for where, part in keys if where == side and re.fullmatch(rf"{re.escape(stem)}\d*(end)?", part)}
