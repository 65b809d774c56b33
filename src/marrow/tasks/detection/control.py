"""The control of action detection: the same recordings, their actions in another order."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Int64

from marrow.data.frames import ClipArrays
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import Segment


def reordered(
    clip: ClipArrays,
    segments: Sequence[Segment],
    recorded: Int64[np.ndarray, " recorded"],
    rng: np.random.Generator,
    skeleton: Skeleton,
) -> tuple[ClipArrays, list[Segment], Int64[np.ndarray, " recorded"]]:
    """Put the actions of a recording into another order.

    It is cut in the middle between neighbouring segments, so that each brings half of the background on either side
    along. A piece is moved to where the one before it ends, along the ground: height is part of a pose.

    Args:
        clip: positions in metres and flags.
        segments: its actions.
        recorded: frames that its source recorded.
        rng: draws the order.
        skeleton: its centre is what shall not jump, or its first joint where that is not known.

    Returns:
        The same of the recording in its new order.
    """
    joints, present = (np.asarray(part) for part in clip)
    centre, level = skeleton.anchors.get("centre", 0), 1.0 - np.eye(3, dtype=np.float32)["xyz".index(skeleton.up)]
    ordered = sorted(segments, key=lambda one: (one.start_frame, one.end_frame))
    between = [(one.end_frame + other.start_frame) // 2 for one, other in pairwise(ordered)]
    bounds = [0, *between, present.shape[1]]
    is_recorded = np.isin(np.arange(present.shape[1]), recorded)

    parts, flags, scored, moved, begin, here = [], [], [], [], 0, None
    for piece in rng.permutation(len(ordered)).tolist():
        start, end = bounds[piece], bounds[piece + 1]
        part = joints[:, start:end].copy()
        seen = np.argwhere(present[:, start:end, centre].T)
        if len(seen):
            if here is not None:
                part += level * (here - part[seen[0, 1], seen[0, 0], centre]) * present[:, start:end, :, None]
            here = part[seen[-1, 1], seen[-1, 0], centre]
        parts.append(part)
        flags.append(present[:, start:end])
        scored.append(is_recorded[start:end])
        own = ordered[piece]
        first, after = max(own.start_frame, start), min(own.end_frame, end)
        if after > first:
            moved.append(Segment(begin + first - start, begin + after - start, own.label))
        begin += end - start
    return (np.concatenate(parts, 1), np.concatenate(flags, 1)), moved, np.flatnonzero(np.concatenate(scored))
