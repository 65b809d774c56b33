"""The four streams of a skeleton: joint positions, bones, motion, and motion of the bones.

Only indexing and minus are used, so that the same code serves NumPy arrays and torch tensors on any device.
"""

from typing import Any

from jaxtyping import Bool, Float

from marrow.errors import ConfigError
from marrow.skeleton.layout import Skeleton

STREAMS = ("joint", "bone", "motion", "bone_motion")


def stream(
    joints: Float[Any, "*lead time joint 3"],
    present: Bool[Any, "*lead time joint"],
    skeleton: Skeleton,
    name: str,
    parents: Any = None,
) -> tuple[Float[Any, "*lead time joint 3"], Bool[Any, "*lead time joint"]]:
    """Derive a stream and its own presence from joint positions.

    Args:
        joints: positions.
        present: which of them were seen.
        skeleton: the layout of the joint axis.
        name: "joint", "bone", "motion" or "bone_motion".
        parents: those of the skeleton as an index that is on the device already; None: they are copied there.

    Returns:
        Values, zero where absent, and where they exist: a bone needs both its ends, a motion needs both its frames.
    """
    if name == "joint":
        return joints * present[..., None], present
    if name == "bone":
        return bone(joints, present, skeleton, parents)
    if name == "motion":
        return motion(joints, present)
    if name == "bone_motion":
        return motion(*bone(joints, present, skeleton, parents))
    raise ConfigError(f"unknown stream {name!r}. Streams: {', '.join(STREAMS)}")


def bone(
    joints: Float[Any, "*lead time joint 3"],
    present: Bool[Any, "*lead time joint"],
    skeleton: Skeleton,
    parents: Any = None,
) -> tuple[Float[Any, "*lead time joint 3"], Bool[Any, "*lead time joint"]]:
    """Return each joint minus its parent; the root, its own parent, gets zero. `parents` as in `stream`."""
    parents = list(skeleton.parents) if parents is None else parents
    both_ends = present & present[..., parents]
    return (joints - joints[..., parents, :]) * both_ends[..., None], both_ends


def motion(
    joints: Float[Any, "*lead time joint 3"], present: Bool[Any, "*lead time joint"]
) -> tuple[Float[Any, "*lead time joint 3"], Bool[Any, "*lead time joint"]]:
    """Return the next frame minus this one; the last frame gets zero (x = 0, 1, 4 moves by 1, 3, 0)."""
    both_frames = present & present
    both_frames[..., :-1, :] &= present[..., 1:, :]
    step = joints - joints
    step[..., :-1, :, :] = joints[..., 1:, :, :] - joints[..., :-1, :, :]
    return step * both_frames[..., None], both_frames
