"""Which layout imported files have: one that is known, or what their names, their tree and their motion tell."""

import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from marrow.errors import ConfigError, setting
from marrow.importing.recording import Contents, Doubt
from marrow.skeleton.body import anchors_by_place
from marrow.skeleton.derived import with_middles
from marrow.skeleton.guess import parents_by_rigidity
from marrow.skeleton.known import LAYOUTS
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.layout_file import get_layout
from marrow.skeleton.names import anchors_by_name, mirror_by_name
from marrow.skeleton.places import places_of
from marrow.skeleton.symmetry import anchors_by_shape, mirror_by_shape

# How the option is given that says left and right.
SIDES = """--sides '{"LEFT": "RIGHT", ...}'"""
BY_SHAPE = "by the shape of the body: names do not tell"


@dataclass(frozen=True)
class Told:
    """What the user says of the files; see `Recordings`."""

    fps: float | None = None
    unit_metres: float | None = None
    up: str | None = None
    layout: str | None = None
    joints: Sequence[str] | None = None
    sides: Mapping[str, str] | None = None
    anchors: Mapping[str, str] | None = None
    min_confidence: float = 0.3


def decide_layout(
    format_name: str,
    contents: Contents,
    positions: Float32[np.ndarray, "row joint 3"],
    told: Told,
    reasons: dict[str, str],
    doubts: list[Doubt],
) -> tuple[Skeleton, tuple[int, ...]]:
    """Decide the layout, and which of the files' joints it has."""
    layout = contents.layout
    if told.layout is not None:
        layout = get_layout(told.layout)
        if layout.measured_count != contents.joint_count:
            raise ConfigError(
                f"the layout {told.layout!r} has {layout.measured_count} joints; the files have {contents.joint_count}"
            )
        reasons["layout"] = "as said"
    elif layout is not None:
        reasons["layout"] = "by the format"
    elif contents.joints is not None:
        layout = _known(contents)
        if layout is not None:
            reasons["layout"] = "by the names of the joints"
    else:
        fitting = [known for known in LAYOUTS.values() if known.measured_count == contents.joint_count]
        if fitting:
            if contents.dimensions == 3:  # bones of a person keep their length, links of another layout do not
                fitting.sort(key=lambda known: _looseness(positions, known))
            layout = fitting[0]
            reasons["layout"] = f"by the number of joints, {contents.joint_count}"
            others = f"; as many have {', '.join(known.name for known in fitting[1:])}" if fitting[1:] else ""
            doubts.append(
                Doubt(f"joints without names, {contents.joint_count}: {layout.name}{others}", "--layout NAME")
            )
    order = None if layout is None else _order_of(layout, contents.joints or ())
    if told.layout is not None and layout is not None and contents.joints is not None and order is None:
        pairs = zip(contents.joints, layout.joints, strict=False)
        shown = ", ".join(f"{joint} is {known}" for joint, known in pairs if joint != known)
        doubts.append(Doubt(f"joints have other names than those of {told.layout}; by their order {shown}"))
    if layout is not None:
        names, parents, mirror, anchors, name = (
            layout.joints,
            layout.parents,
            layout.mirror,
            dict(layout.anchors),
            layout.name,
        )
        derived, places, up, dimensions = layout.derived, layout.places, layout.up, layout.dimensions
    else:
        derived, places, up, dimensions = {}, {}, "y", 3
        names = contents.joints or tuple(f"joint{joint}" for joint in range(contents.joint_count))
        if contents.joints is None:
            reasons["layout"] = "unknown: the files name no joints"
            doubts.append(Doubt("the files name no joints, and no known layout has as many", "--layout NAME"))
        else:
            reasons["layout"] = "from the files"
        if contents.parents is not None:
            parents = contents.parents
        else:
            parents = parents_by_rigidity(positions)
            reasons["bones"] = "by which joints keep their distance"
            in_image = ", which in two dimensions they do not" if contents.dimensions == 2 else ""
            doubts.append(
                Doubt(f"the files say no bones; they were found by which joints keep their distance{in_image}")
            )
        mirror = mirror_by_name(names, parents)
        reasons["sides"] = "by the joints' names"
        if not has_pairs(mirror) and contents.dimensions == 3:
            mirror = mirror_by_shape(positions, parents)
            reasons["sides"] = BY_SHAPE
            if has_pairs(mirror) and not told.sides:
                shown = shown_pairs(names, mirror)
                doubts.append(Doubt(f"left and right were told by the shape of the body, not by names: {shown}", SIDES))
        anchors = _guess_anchors(names, parents, mirror)
        if contents.parents is None:  # where limbs meet in a guessed tree need not be where they join
            anchors = {role: joint for role, joint in anchors.items() if role not in ("centre", "chest")}
            anchors = anchors_by_place(places_of(Skeleton("", tuple(names), parents, mirror, {}))) | anchors
        elif reasons["sides"] == BY_SHAPE and has_pairs(mirror) and not anchors:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a joint that is never seen
                lengths = np.nanmedian(np.linalg.norm(positions - positions[:, list(parents)], axis=-1), axis=0)
            anchors = anchors_by_shape(np.nan_to_num(lengths), parents, mirror)
        code = zlib.crc32(repr((names, parents)).encode())
        name = f"{format_name}_{len(names)}_{code:08x}"
    if told.sides:
        mirror = _told_sides(names, told.sides, mirror)
        reasons["sides"] = "as said"
        anchors = {**_guess_anchors(names, parents, mirror, told.sides), **(anchors if layout is not None else {})}
    if not has_pairs(mirror):
        reasons["sides"] = "none: neither names nor the shape of the body tell"
        doubts.append(Doubt("no left and right joints are known: nothing can be mirrored", SIDES))
    for role, joint in (told.anchors or {}).items():
        anchors[role] = _index(names, joint)
    # Files say how many coordinates there are; a layout may say that the third of them means nothing.
    dimensions = min(dimensions, contents.dimensions)
    if dimensions == 2 and up == "z":
        raise ConfigError(f"in the layout {name!r} z points up; the files have x and y: say `up: y` in it")
    skeleton = Skeleton(name, names, parents, mirror, anchors, up, derived, places, dimensions)
    kept = order or tuple(range(skeleton.measured_count))
    if told.joints:
        chosen = tuple(sorted(_index(names[: skeleton.measured_count], joint) for joint in told.joints))
        skeleton, kept = _restricted(skeleton, chosen), tuple(kept[joint] for joint in chosen)
    whole = with_middles(skeleton)
    if whole.derived:
        reasons["derived"] = ", ".join(whole.joints[joint] for joint in whole.derived)
    return whole, kept


def _known(contents: Contents) -> Skeleton | None:
    """Return the built-in layout of these names, where joints hang as the files say, if they say it.

    Files that say how joints hang have them in their order; others may have another one, or other capitals and signs.
    """
    for layout in LAYOUTS.values():
        if contents.parents is None and _order_of(layout, contents.joints or ()) is not None:
            return layout
        if layout.joints == contents.joints and layout.parents == contents.parents:
            return layout
    return None


def _looseness(positions: Float32[np.ndarray, "row joint 3"], layout: Skeleton) -> float:
    """Return how much the bones of a layout change their length, as the median share of it."""
    joints, parents = (list(ends) for ends in zip(*layout.bones, strict=True))
    lengths = np.linalg.norm(positions[:, joints] - positions[:, parents], axis=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a joint that is never seen
        return float(np.nanmedian(np.nanstd(lengths, axis=0) / np.maximum(np.nanmean(lengths, axis=0), 1e-9)))


def _order_of(layout: Skeleton, joints: Sequence[str]) -> tuple[int, ...] | None:
    """Return which of some joints each measured one of a layout is, by name; None where they are not the same."""
    places = {_plain(joint): place for place, joint in enumerate(joints)}
    wanted = [_plain(joint) for joint in layout.joints[: layout.measured_count]]
    if len(joints) != len(wanted) or places.keys() != {*wanted}:
        return None
    return tuple(places[joint] for joint in wanted)


def _plain(joint: str) -> str:
    return "".join(character for character in joint.lower() if character.isalnum())


def _guess_anchors(
    names: Sequence[str], parents: Sequence[int], mirror: Sequence[int], sides: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Return the joint of each role as names and tree tell, where the user may have said which joints are left."""
    of_joint = list(Skeleton("", tuple(names), tuple(parents), tuple(mirror), {}).sides)
    for left, right in (sides or {}).items():
        of_joint[_index(names, left)], of_joint[_index(names, right)] = "left", "right"
    anchors = anchors_by_name(names, parents, mirror, of_joint)
    # Limbs that hang from one joint say nothing of the trunk, and what is on one side is not in the middle.
    unknown = {role for role in ("centre", "chest") if role in anchors and of_joint[anchors[role]] != "middle"}
    if anchors.get("centre") == anchors.get("chest"):
        unknown = {"centre", "chest"}
    return {role: joint for role, joint in anchors.items() if role not in unknown}


def _restricted(skeleton: Skeleton, kept: Sequence[int]) -> Skeleton:
    """Return a layout of some of the joints and what is derived of them alone.

    The parent of each is the nearest above it that is kept.
    """
    derived = {
        joint: sources for joint, sources in skeleton.derived.items() if all(source in kept for source, _ in sources)
    }
    kept = [*kept, *derived]
    place = {joint: index for index, joint in enumerate(kept)}

    def nearest(joint: int) -> int:
        above = skeleton.parents[joint]
        while above not in place and skeleton.parents[above] != above:
            above = skeleton.parents[above]
        return place.get(above, place[joint])

    names = tuple(skeleton.joints[joint] for joint in kept)
    return Skeleton(
        name=f"{skeleton.name}_{len(kept)}_{zlib.crc32(repr(names).encode()):08x}",
        joints=names,
        parents=tuple(nearest(joint) for joint in kept),
        mirror=tuple(place.get(skeleton.mirror[joint], place[joint]) for joint in kept),
        anchors={role: place[joint] for role, joint in skeleton.anchors.items() if joint in place},
        up=skeleton.up,
        derived={
            place[joint]: tuple((place[source], weight) for source, weight in sources)
            for joint, sources in derived.items()
        },
        places={name: place[joint] for name, joint in skeleton.places.items() if joint in place},
        dimensions=skeleton.dimensions,
    )


def has_pairs(mirror: Sequence[int]) -> bool:
    """Tell whether any joint has a partner on the other side."""
    return any(partner != joint for joint, partner in enumerate(mirror))


def shown_pairs(names: Sequence[str], mirror: Sequence[int], most: int = 3) -> str:
    """Return some pairs of partners in words: "b1 and b4, b2 and b5, ..."."""
    pairs = [f"{names[joint]} and {names[partner]}" for joint, partner in enumerate(mirror) if joint < partner]
    return ", ".join(pairs[:most]) + (", ..." if len(pairs) > most else "")


def _told_sides(names: Sequence[str], sides: Mapping[str, str], known: Sequence[int]) -> tuple[int, ...]:
    """Return a mirror in which some pairs are as said, whatever they or their partners were before."""
    mirror = list(known)
    said: set[int] = set()
    for left, right in sides.items():
        pair = _index(names, left), _index(names, right)
        if said & {*pair} or pair[0] == pair[1]:
            raise ConfigError(f"{setting('sides')} gives a joint two partners, or itself: {left} and {right}")
        said |= {*pair}
        for joint in pair:
            mirror[mirror[joint]] = mirror[joint]
        mirror[pair[0]], mirror[pair[1]] = pair[1], pair[0]
    return tuple(mirror)


def _index(names: Sequence[str], joint: str) -> int:
    if joint not in names:
        raise ConfigError(f"the files have no joint {joint!r}. Their joints: {', '.join(names)}")
    return list(names).index(joint)
