"""Left-right partners by the shape of a body, for skeletons whose joints' names tell nothing.

A body that stands straight is its own image in one upright plane. The plane is looked for among those between two
joints that could be partners; joints whose images lie on other joints, with partners (or themselves) above them in the
tree, are pairs.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from marrow.errors import DataError

# What an image may lie off its joint, as a share of the body's size.
_TOLERANCE = 0.04
# Planes tried: those between the joints that lie farthest apart tell most.
_PLANES = 400
# With hands and a face a body has fewer joints; the work grows with their square.
_MOST_JOINTS = 512


def mirror_by_rest_pose(
    positions: Float[np.ndarray, "joint 3"],
    parents: Sequence[int],
    up: Literal["x", "y", "z"] | None = None,
    *,
    tolerance: float = _TOLERANCE,
) -> tuple[int, ...]:
    """Return each joint's left-right partner as the symmetry of a pose tells it; a joint without one is its own.

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
    seen = np.isfinite(points).all(axis=1)
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
    return best[2]


def _may_pair(points: np.ndarray, parents: Sequence[int], seen: np.ndarray, allowed: float) -> np.ndarray:
    """Return which joints may be partners: equally deep in the tree, with bones and children alike."""
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
            for other in np.flatnonzero(np.isfinite(off[joint]))
            if free[other] and mirror[other] == other and parents[other] == above and off[other, joint] <= allowed
        ]
        own = 2 * abs(float(points[joint] @ normal) - through)
        if fitting:
            other = int(min(fitting, key=lambda place: off[joint, place]))
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
