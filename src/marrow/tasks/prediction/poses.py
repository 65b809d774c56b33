"""Poses as forecasts are made from them and compared with them: windows side by side, gaps filled, a centre."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from marrow.data.frames import ClipArrays
from marrow.skeleton.layout import Skeleton


def side_by_side(
    clips: Sequence[ClipArrays],
) -> tuple[Float64[np.ndarray, "window body frame joint 3"], Bool[np.ndarray, "window body frame joint"]]:
    """Stack clips of one length; bodies that a clip does not have are absent."""
    bodies = max(present.shape[0] for _, present in clips)
    frames, joint_count = clips[0][1].shape[1:]
    joints = np.zeros((len(clips), bodies, frames, joint_count, 3))
    present = np.zeros(joints.shape[:-1], bool)
    for clip, (its_joints, its_present) in enumerate(clips):
        joints[clip, : len(its_joints)] = np.where(its_present[..., None], its_joints, 0.0)
        present[clip, : len(its_present)] = its_present
    return joints, present


def held(
    joints: Float[Tensor, "batch body time joint 3"], present: Bool[Tensor, "batch body time joint"]
) -> Float[Tensor, "batch body time joint 3"]:
    """Let every joint stay where it was last seen, and where it will first be seen before that; zero if it never is."""
    frame = torch.arange(joints.shape[2], device=joints.device)[:, None].expand_as(present)
    last = torch.where(present, frame, -1).cummax(dim=2).values
    first = torch.where(present, frame, joints.shape[2] - 1).amin(dim=2, keepdim=True)
    source = torch.where(last >= 0, last, first)
    return torch.where(present[..., None], joints, 0.0).gather(2, source[..., None].expand_as(joints))


def centre_of(skeleton: Skeleton) -> int:
    """Return the joint that root-centred positions are relative to: the skeleton's centre, else its first root."""
    roots = [joint for joint, parent in enumerate(skeleton.parents) if joint == parent]
    return skeleton.anchors.get("centre", roots[0] if roots else 0)
