"""Positions of which an axis points down, turned so that it points up."""

import numpy as np
from jaxtyping import Float


def turned_up(joints: Float[np.ndarray, "... 3"], up: str) -> Float[np.ndarray, "... 3"]:
    """Turn positions by half a turn where an axis points down, so that it points up; left stays left.

    Args:
        joints: positions.
        up: the axis that points up, with its sign: "y", "-y", ...
    """
    if not up.startswith("-"):
        return joints
    flipped = "xyz".index(up[1])
    other = 1 if flipped == 2 else 2
    signs = np.ones(3, joints.dtype)
    signs[[flipped, other]] = -1
    return joints * signs
