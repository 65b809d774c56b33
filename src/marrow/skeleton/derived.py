"""Joints that nobody measured but that follow from those that are: the middle of the hips, the top of the trunk.

Alignment, raw baselines, retargeting and pictures need them; many pose estimators and annotators do not give them. A
layout says which of its joints are derived, of what, by which weights (`Skeleton.derived`). A derived joint is present
where all that it is made of is. It is no measurement: networks never see or predict it (`marrow.data.frames`), and
forecasts are not scored at it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from marrow.skeleton.body import MIDDLES
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import SkeletonSequence

# What a layout that lacks an anchor is given: the role, the place, what the joint is called, and its own anchors.
_ADDED = (("chest", "shoulder centre", "MidShoulder"), ("centre", "hip centre", "MidHip"))


def with_middles(skeleton: Skeleton) -> Skeleton:
    """Return a layout that has the anchors centre and chest, as derived joints at its end where it lacks them.

    A layout that has them, or lacks the hips or shoulders that they are made of, stays the same.
    """
    anchors, joints = dict(skeleton.anchors), list(skeleton.joints)
    parents, mirror = list(skeleton.parents), list(skeleton.mirror)
    derived, places = dict(skeleton.derived), dict(skeleton.places)
    root = next((joint for joint, parent in enumerate(parents) if joint == parent), 0)
    for role, place, name in _ADDED:
        sources = [(anchors.get(source.replace(" ", "_")), weight) for source, weight in MIDDLES[place]]
        if role in anchors or name in joints or any(source is None for source, _ in sources):
            continue
        new = len(joints)
        joints.append(name)
        parents.append(anchors.get("chest", root))
        mirror.append(new)
        derived[new] = tuple((source, weight) for source, weight in sources if source is not None)
        anchors[role] = new
        if places:
            places[place] = new
    if len(joints) == len(skeleton.joints):
        return skeleton
    return replace(
        skeleton,
        name=f"{skeleton.name}_middles",
        joints=tuple(joints),
        parents=tuple(parents),
        mirror=tuple(mirror),
        anchors=anchors,
        derived=derived,
        places=places,
    )


def with_derived(sequence: SkeletonSequence) -> SkeletonSequence:
    """Return a recording with the middles that its layout lacks; see `with_middles`."""
    skeleton = with_middles(sequence.skeleton)
    if skeleton is sequence.skeleton:
        return sequence
    joints, present = derive(*room_for(sequence.joints, sequence.present, skeleton), skeleton.derived)
    return replace(sequence, joints=joints, present=present, skeleton=skeleton)


def room_for(
    joints: Float[np.ndarray, "*lead measured 3"], present: Bool[np.ndarray, "*lead measured"], skeleton: Skeleton
) -> tuple[Float[np.ndarray, "*lead joint 3"], Bool[np.ndarray, "*lead joint"]]:
    """Return positions and flags with absent joints at the end, as many as the layout has more."""
    missing = len(skeleton.joints) - present.shape[-1]
    ahead = ((0, 0),) * (present.ndim - 1)
    return np.pad(joints, (*ahead, (0, missing), (0, 0))), np.pad(present, (*ahead, (0, missing)))


def derive(
    joints: Float[np.ndarray, "*lead joint 3"],
    present: Bool[np.ndarray, "*lead joint"],
    derived: Mapping[int, tuple[tuple[int, float], ...]],
) -> tuple[Float[np.ndarray, "*lead joint 3"], Bool[np.ndarray, "*lead joint"]]:
    """Return positions and flags with derived joints put where they follow from the others.

    Those that are made of nothing in the layout stay as they are.

    Args:
        joints: positions in any unit; what is absent may be anything.
        present: which were seen.
        derived: of the layout.
    """
    wanted = {joint: sources for joint, sources in derived.items() if sources}
    if not wanted:
        return joints, present
    joints, present = joints.copy(), present.copy()
    for joint, sources in wanted.items():
        place = _weighted(joints, sources)
        known = np.asarray(present[..., [source for source, _ in sources]].all(axis=-1))
        joints[..., joint, :] = np.where(known[..., None], place, 0)
        present[..., joint] = known
    return joints, present


def with_derived_places(
    joints: Float[np.ndarray, "*lead joint 3"], skeleton: Skeleton
) -> Float[np.ndarray, "*lead joint 3"]:
    """Return positions, of which all measured joints are known (a forecast), with the derived ones put in place."""
    everywhere = np.ones(joints.shape[:-1], np.bool_)
    return derive(joints, everywhere, skeleton.derived)[0]


def _weighted(joints: Any, sources: tuple[tuple[int, float], ...]) -> Any:
    return sum(joints[..., source, :] * weight for source, weight in sources)


def measured(skeleton: Skeleton) -> Bool[np.ndarray, " joint"]:
    """Return which joints of a layout are measured; all but the derived ones."""
    flags = np.ones(len(skeleton.joints), np.bool_)
    flags[list(skeleton.derived)] = False
    return flags
