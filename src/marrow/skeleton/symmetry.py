"""Left-right partners by the shape of a body, for skeletons whose joints' names tell nothing.

A body that stands straight is its own image in one upright plane. The plane is looked for among those between two
joints that could be partners; joints whose images lie on other joints, with partners (or themselves) above them in the
tree, are pairs. In any other pose limbs that hang on one joint and have bones of the same lengths are pairs.
"""

from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from marrow.errors import DataError
from marrow.skeleton.names import ancestors

# Fewer pairs than in this share of the joints are an accident: legs alone are a third of a body.
_LEAST_SHARE = 0.25
# How much of two limbs must be alike, and how much their bones may differ in length, as a share of it.
_LEAST_ALIKE = 0.6
_LENGTH_TOLERANCE = 0.05
# What an image may lie off its joint, as a share of the body's size.
_TOLERANCE = 0.04
# Poses looked at; the first of a recording is often a rest pose.
_POSES = 6
# Planes tried: those between the joints that lie farthest apart tell most.
_PLANES = 400
# With hands and a face a body has fewer joints; the work grows with their square.
_MOST_JOINTS = 512
# Limbs are compared one joint below the other, each a few calls deeper than the last.
_DEEPEST = 100


def mirror_by_rest_pose(
    positions: Float[np.ndarray, "joint 3"],
    parents: Sequence[int],
    up: Literal["x", "y", "z"] | None = None,
    *,
    tolerance: float = _TOLERANCE,
) -> tuple[int, ...]:
    """Return each joint's left-right partner as the symmetry of a pose tells it; a joint without one is its own.

    Where the lengths of the bones tell of more pairs than the pose, they are taken: a body that reaches out with one
    arm is not its own image, and the zero of some software's rotations is no pose that anybody could take.

    Which of two is the left one it does not tell. In more than 512 joints no pairs are looked for.

    Args:
        positions: of one body in any unit, best in its rest pose; not a number where a joint was not seen.
        parents: parent of each joint; the root is its own.
        up: the axis that points up, which the plane of symmetry contains; None where that is not known.
        tolerance: what an image may lie off its joint, as a share of the body's size (the largest extent).

    Raises:
        DataError: parents and positions are not as many.
    """
    points = np.asarray(positions, np.float64)
    count = len(points)
    if len(parents) != count:
        raise DataError(f"expected a parent of each of {count} joints, got {len(parents)}")
    seen = np.asarray(np.isfinite(points).all(axis=1))
    if seen.sum() < 3 or count > _MOST_JOINTS:
        return tuple(range(count))
    size = float(np.ptp(points[seen], axis=0).max())
    if size <= 0:
        return tuple(range(count))
    allowed = tolerance * size
    may_pair = _may_pair(points, parents, seen, allowed)
    best: tuple[int, float, tuple[int, ...]] = (0, 0.0, tuple(range(count)))
    for normal, through in _planes(points, may_pair, up, allowed):
        mirror, error = _pairs(points, parents, seen, may_pair, normal, through, allowed)
        for _ in range(2):  # once more with the plane that fits all pairs
            normal, through = _plane_of(points, mirror, normal, through, up)
            better, better_error = _pairs(points, parents, seen, may_pair, normal, through, allowed)
            if (_paired(better), -better_error) <= (_paired(mirror), -error):
                break
            mirror, error = better, better_error
        if (_paired(mirror), -error) > best[:2]:
            best = (_paired(mirror), -error, mirror)
    mirror = max(best[2], mirror_by_bones(points, parents), key=_paired)
    return mirror if _paired(mirror) >= _LEAST_SHARE * seen.sum() else tuple(range(count))


def mirror_by_shape(
    rows: Float[np.ndarray, "row joint 3"], parents: Sequence[int], up: Literal["x", "y", "z"] | None = None
) -> tuple[int, ...]:
    """Return each joint's left-right partner as some poses of a body tell it: the pose that tells of the most pairs.

    Args:
        rows: positions of one body per row in any unit; not a number where a joint was not seen.
        parents: parent of each joint; the root is its own.
        up: the axis that points up; None where that is not known.
    """
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(_POSES, len(rows))).round().astype(int))
    mirrors = [mirror_by_rest_pose(rows[row], parents, up) for row in chosen]
    return max(mirrors, key=_paired, default=tuple(range(len(parents))))


def mirror_by_bones(positions: Float[np.ndarray, "joint 3"], parents: Sequence[int]) -> tuple[int, ...]:
    """Return each joint's left-right partner as lengths of bones tell it in any pose; one without is its own.

    From the root on, limbs that hang on the same joint are partners if they branch alike and their bones are as long.

    Args:
        positions: of one body in any unit and pose; not a number where a joint was not seen.
        parents: parent of each joint; the root is its own.
    """
    points = np.asarray(positions, np.float64)
    mirror = list(range(len(points)))
    if len(points) > _MOST_JOINTS:
        return tuple(mirror)
    lengths = np.linalg.norm(points - points[list(parents)], axis=1)
    lengths = np.where(np.isfinite(lengths), lengths, 0.0)
    shortest = 1e-3 * float(lengths.max(initial=0.0))
    order = _from_root(parents)
    children: list[list[int]] = [[] for _ in parents]
    for joint in order:
        if parents[joint] != joint:
            children[parents[joint]].append(joint)
    size, depth = [1] * len(points), [0] * len(points)
    for joint in order:
        depth[joint] = depth[parents[joint]] + 1
    if max(depth, default=0) > _DEEPEST:
        return tuple(mirror)
    for joint in reversed(order):
        size[joint] += sum(size[child] for child in children[joint])

    @cache
    def alike(one: int, other: int) -> float:
        """Return how many joints of two limbs can be pairs, a little less where lengths differ."""
        longer = max(lengths[one], lengths[other], shortest, 1e-12)
        differs = abs(lengths[one] - lengths[other]) / longer
        if differs > _LENGTH_TOLERANCE:
            return 0.0
        return 1.0 - 0.1 * differs + sum(score for score, _, _ in matched(one, other))

    def matched(one: int, other: int) -> list[tuple[float, int, int]]:
        if not children[one] or not children[other]:
            return []
        scores = np.array([[alike(a, b) for b in children[other]] for a in children[one]])
        # The same place among the children decides where lengths do not.
        places = np.arange(scores.shape[0])[:, None] != np.arange(scores.shape[1])
        rows, columns = linear_sum_assignment(-(scores - 1e-6 * places))
        pairs = zip(rows.tolist(), columns.tolist(), strict=True)
        return [(float(scores[a, b]), children[one][a], children[other][b]) for a, b in pairs if scores[a, b] > 0]

    def pair(one: int, other: int) -> None:
        waiting = [(one, other)]
        while waiting:
            one, other = waiting.pop()
            mirror[one], mirror[other] = other, one
            waiting += [(a, b) for _, a, b in matched(one, other)]

    for joint in order:
        if mirror[joint] != joint or any(mirror[above] != above for above in ancestors(joint, parents)):
            continue
        limbs = [
            (alike(one, other), one, other)
            for at, one in enumerate(children[joint])
            for other in children[joint][at + 1 :]
        ]
        for score, one, other in sorted(limbs, key=lambda limb: -limb[0]):
            is_free = mirror[one] == one and mirror[other] == other
            if is_free and score >= _LEAST_ALIKE * max(size[one], size[other]) and lengths[one] + lengths[other] > 0:
                pair(one, other)
    return tuple(mirror)


def anchors_by_shape(
    lengths: Float[np.ndarray, " joint"], parents: Sequence[int], mirror: Sequence[int]
) -> dict[str, int]:
    """Return hips, shoulders, centre and chest where only the shape of a body tells of them; nothing where unsure.

    Legs and arms are the two pairs of limbs that reach farthest. The legs hang nearer to the root, and reach farther.
    A limb begins at the first of its two longest bones in a row: not at a collar bone. Which side is the left one is
    not known: it is the one that comes first.

    Args:
        lengths: of the bone between each joint and its parent, in any unit.
        parents: parent of each joint; the root is its own.
        mirror: left-right partner of each.
    """
    tops = [joint for joint, other in enumerate(mirror) if joint < other and parents[joint] == parents[other]]
    chains = {joint: _main_chain(joint, lengths, parents) for joint in tops if mirror[parents[joint]] == parents[joint]}
    reach = {joint: float(sum(lengths[below] for below in chain[1:])) for joint, chain in chains.items()}
    farthest = sorted((joint for joint, chain in chains.items() if len(chain) > 2), key=lambda joint: -reach[joint])[:2]
    if len(farthest) < 2:
        return {}
    leg, arm = farthest
    if len(ancestors(leg, parents)) >= len(ancestors(arm, parents)):
        return {}
    anchors = {"centre": parents[leg], "chest": parents[arm]}
    for limb, top in (("hip", leg), ("shoulder", arm)):
        chain = chains[top]
        begin = max(range(len(chain) - 2), key=lambda at: lengths[chain[at + 1]] + lengths[chain[at + 2]])
        anchors |= {f"left_{limb}": chain[begin], f"right_{limb}": mirror[chain[begin]]}
    return anchors


def _main_chain(top: int, lengths: Float[np.ndarray, " joint"], parents: Sequence[int]) -> list[int]:
    """Return a joint and those below it, on the way that reaches farthest."""
    below: dict[int, list[int]] = {}
    for joint, parent in enumerate(parents):
        if joint != parent:
            below.setdefault(parent, []).append(joint)
    order = [top]
    for joint in order:
        order += below.get(joint, [])
    reach: dict[int, float] = {}
    for joint in reversed(order):
        reach[joint] = float(lengths[joint]) + max((reach[child] for child in below.get(joint, [])), default=0.0)
    chain = [top]
    while below.get(chain[-1]):
        chain.append(max(below[chain[-1]], key=lambda child: reach[child]))
    return chain


def _may_pair(points: np.ndarray, parents: Sequence[int], seen: np.ndarray, allowed: float) -> np.ndarray:
    """Return which joints may be partners: equally deep in the tree, with bones about as long."""
    parent = np.asarray(parents)
    depth = np.zeros(len(points), int)
    for joint in range(len(points)):
        above = joint
        while parent[above] != above and depth[joint] <= len(points):
            above, depth[joint] = parent[above], depth[joint] + 1
    lengths = np.linalg.norm(points - points[parent], axis=1)
    alike = np.abs(lengths[:, None] - lengths) <= 2 * allowed
    may = seen[:, None] & seen & (depth[:, None] == depth) & (alike | ~np.isfinite(lengths[:, None] - lengths))
    np.fill_diagonal(may, False)
    return may


def _planes(points: np.ndarray, may_pair: np.ndarray, up: str | None, allowed: float) -> list[tuple[np.ndarray, float]]:
    """Return upright planes halfway between joints that may be partners, as unit normals and distances from zero."""
    first, second = np.nonzero(np.triu(may_pair))
    apart = points[first] - points[second]
    if up is not None:
        level = np.abs(apart[:, "xyz".index(up)]) <= 2 * allowed
        first, second, apart = first[level], second[level], apart[level].copy()
        apart[:, "xyz".index(up)] = 0.0
    length = np.linalg.norm(apart, axis=1)
    order = np.argsort(-length, kind="stable")[:_PLANES]
    order = order[length[order] > 2 * allowed]
    normals = apart[order] / length[order, None]
    middle = (points[first[order]] + points[second[order]]) / 2
    return list(zip(normals, (normals * middle).sum(axis=1).tolist(), strict=True))


def _pairs(
    points: np.ndarray,
    parents: Sequence[int],
    seen: np.ndarray,
    may_pair: np.ndarray,
    normal: np.ndarray,
    through: float,
    allowed: float,
) -> tuple[tuple[int, ...], float]:
    """Return the partners for one plane, and the mean distance of their images from them, in the points' unit."""
    images = points - 2 * ((points @ normal) - through)[:, None] * normal
    off = np.linalg.norm(images[:, None] - points, axis=-1)
    off = np.where(may_pair & (off <= allowed), off, np.inf)
    mirror = list(range(len(points)))
    errors: list[float] = []
    # From the root on, so that who is above is known: partners hang on partners, or on the same joint of the middle.
    # Of joints in one place (helpers, fingers' beginnings) the first in the file goes with the first.
    free = seen.copy()
    for joint in _from_root(parents):
        if mirror[joint] != joint or not free[joint]:
            continue
        above = mirror[parents[joint]]
        fitting = [
            other
            for other in np.flatnonzero(np.isfinite(off[joint])).tolist()
            if free[other] and mirror[other] == other and parents[other] == above and off[other, joint] <= allowed
        ]
        own = 2 * abs(float(points[joint] @ normal) - through)
        if fitting:
            other = min(fitting, key=lambda place: off[joint, place])
            if off[joint, other] < own:
                mirror[joint], mirror[other] = other, joint
                free[joint] = free[other] = False
                errors.append(float(off[joint, other]))
    return tuple(mirror), float(np.mean(errors)) if errors else 0.0


def _plane_of(
    points: np.ndarray, mirror: Sequence[int], normal: np.ndarray, through: float, up: str | None
) -> tuple[np.ndarray, float]:
    """Return the plane that lies halfway between all pairs."""
    pairs = [(joint, other) for joint, other in enumerate(mirror) if joint < other]
    if not pairs:
        return normal, through
    one, other = (points[list(places)] for places in zip(*pairs, strict=True))
    apart = one - other
    apart = (apart * np.sign(apart @ normal)[:, None]).sum(axis=0)
    if up is not None:
        apart["xyz".index(up)] = 0.0
    length = np.linalg.norm(apart)
    if length < 1e-12:
        return normal, through
    apart = apart / length
    return apart, float(np.median((one + other) / 2 @ apart))


def _from_root(parents: Sequence[int]) -> list[int]:
    """Return the joints, each after its parent; what hangs on no root is left out."""
    children: dict[int, list[int]] = {}
    for joint, parent in enumerate(parents):
        if joint != parent:
            children.setdefault(parent, []).append(joint)
    order = [joint for joint, parent in enumerate(parents) if joint == parent]
    for joint in order:
        order += children.get(joint, [])
    return order


def _paired(mirror: Sequence[int]) -> int:
    return sum(joint != other for joint, other in enumerate(mirror))
