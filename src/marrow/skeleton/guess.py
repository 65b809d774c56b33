"""What motion tells of a layout that nobody described: its bones."""

import numpy as np
from jaxtyping import Float32


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
    # What costs next to nothing is no edge to SciPy: joints in one point are not reached, and hang on the root.
    return tuple(int(before[joint]) if joint != root and before[joint] >= 0 else root for joint in range(count))
