"""What names and motion tell of a layout that nobody described: anchors, bones."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from marrow.skeleton.layout import ANCHOR_ROLES, Skeleton

# How sources call the joint at the top of a limb; the first spelling that a joint has counts.
_LIMBS = {
    "hip": (r"up(per)?[ _]?leg", r"thigh", r"femur", r"hip(?!s)"),
    "shoulder": (r"up(per)?[ _]?arm", r"humerus", r"(?<!fore)(?<!lower)(?<!fore[ _])(?<!lower[ _])arm", r"sho?u?ld"),
}


def anchors_by_name(names: Sequence[str], parents: Sequence[int], mirror: Sequence[int]) -> dict[str, int]:
    """Return the joint of each role, as far as names, sides and tree tell.

    Args:
        names: of the joints.
        parents: of each joint; a root is its own.
        mirror: left-right partner of each joint.
    """
    skeleton = Skeleton("guess", tuple(names), tuple(parents), tuple(mirror), {})
    anchors: dict[str, int] = {}
    for limb, spellings in _LIMBS.items():
        left = [joint for joint, side in enumerate(skeleton.sides) if side == "left"]
        for spelling in spellings:
            top = next((joint for joint in left if re.search(spelling, names[joint], re.IGNORECASE)), None)
            if top is not None:
                anchors[f"left_{limb}"], anchors[f"right_{limb}"] = top, skeleton.mirror[top]
                break
    for role, limb in (("centre", "hip"), ("chest", "shoulder")):
        if f"left_{limb}" in anchors:
            right_line = _ancestors(anchors[f"right_{limb}"], parents)
            meeting = next((joint for joint in _ancestors(anchors[f"left_{limb}"], parents) if joint in right_line), -1)
            if meeting >= 0:
                anchors[role] = meeting
    if "chest" in anchors:  # the top of the trunk is where the neck begins, if the file has that
        necks = [joint for joint, parent in enumerate(parents) if parent == anchors["chest"]]
        anchors["chest"] = next((joint for joint in necks if "neck" in names[joint].lower()), anchors["chest"])
    if anchors.get("centre") == anchors.get("chest"):  # limbs that hang from one joint say nothing of the trunk
        anchors = {role: joint for role, joint in anchors.items() if role not in ("centre", "chest")}
    return {role: anchors[role] for role in ANCHOR_ROLES if role in anchors}


def parents_by_rigidity(joints: Float32[np.ndarray, "row joint 3"]) -> tuple[int, ...]:
    """Return the parent of each joint: bones are what keeps its length; the root is the joint in the middle.

    The smallest tree by the change of distances between joints, and their distance where both stay as far apart.

    Args:
        joints: bodies in different postures; not a number where a joint was not seen.
    """
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    count = joints.shape[1]
    if count < 2:
        return tuple(range(count))
    rows = joints[:: max(1, len(joints) // 300)].astype(np.float64)
    distance = np.linalg.norm(rows[:, :, None] - rows[:, None], axis=-1)
    seen = np.isfinite(distance)
    seen_rows = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, distance, 0).sum(axis=0) / seen_rows
    change = np.sqrt(np.where(seen, (distance - mean) ** 2, 0).sum(axis=0) / seen_rows)
    cost = change + 0.1 * mean
    # Joints that were never seen together are far apart; none is at no cost, which would be no edge.
    cost = np.where(seen.any(axis=0), cost, cost.max() * 10 + 1) + 1e-9
    tree = minimum_spanning_tree(cost).toarray()
    tree = tree + tree.T
    root = int(np.where(seen.any(axis=0), mean, 0).sum(axis=0).argmin())
    _, before = breadth_first_order(tree, root, directed=False)
    return tuple(int(before[joint]) if joint != root else root for joint in range(count))


def _ancestors(joint: int, parents: Sequence[int]) -> list[int]:
    """Return the parent of a joint, its parent, and so on up to the root."""
    line = []
    while parents[joint] != joint:
        joint = parents[joint]
        line.append(joint)
    return line
