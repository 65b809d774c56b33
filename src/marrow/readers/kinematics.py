"""From joint angles to positions: forward kinematics of any skeleton, all frames at once.

Vectors are rows here, as in the reference implementations: with `expm(w)` the matrix of the exponential map w,

    R(joint) = expm(w(joint)) R(parent)        p(joint) = offset(joint) R(parent) + p(parent)

so an offset is turned by its parent, not by the joint's own angle.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64


def expm(angles: Float64[np.ndarray, "*lead 3"]) -> Float64[np.ndarray, "*lead 3 3"]:
    """Return the matrices of exponential maps, by the formula of Rodrigues.

    With K the cross product with the axis and a the angle in radians: `1 + sin(a) K + (1 - cos(a)) K²`.
    """
    angle = np.linalg.norm(angles, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(angles / np.where(angle[..., 0] > 0, angle[..., 0], 1), -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*angles.shape, 3)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def positions(
    angles: Float64[np.ndarray, "frame joint 3"],
    offsets: Float64[np.ndarray, "joint 3"],
    parents: Sequence[int],
    root: Float64[np.ndarray, "frame 3"] | None = None,
    root_turn: Float64[np.ndarray, "frame 3 3"] | None = None,
) -> Float64[np.ndarray, "frame joint 3"]:
    """Return where the joints are.

    Args:
        angles: the exponential map of each joint; that of the root is not looked at.
        offsets: where each joint lies from its parent in the rest pose; that of the root is not looked at.
        parents: parent of each joint, before its children; the first joint is the root, and its own parent.
        root: position of the root, in the unit of the offsets; the origin if None.
        root_turn: matrix of the root; the rest pose if None.
    """
    turn = expm(angles)
    turn[:, 0] = np.eye(3) if root_turn is None else root_turn
    result = np.zeros(angles.shape)
    result[:, 0] = 0.0 if root is None else root
    for joint, parent in enumerate(parents[1:], start=1):
        result[:, joint] = offsets[joint] @ turn[:, parent] + result[:, parent]
        turn[:, joint] = turn[:, joint] @ turn[:, parent]
    return result
