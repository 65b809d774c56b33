"""Crop, resize, align, turn and gather in one pass over the frames, compiled for the CPU.

The same numbers as `sampling.gather_tensor` up to rounding. Source frames are aligned and turned before they are
interpolated, each once, because a window usually has fewer of them than it gets; bodies that are not there cost nothing
but their zeros; and every clip's numbers are independent of the batch that it is in.
"""

import inspect
from functools import cache
from typing import Any

import numba
import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from marrow.data.frames import FlatFrames


def gather_fused(
    frames: FlatFrames,
    clips: Int64[Tensor, " batch"],
    start: Int64[Tensor, " batch"],
    length: Int64[Tensor, " batch"],
    window_frames: int,
    aligning: Float32[Tensor, "batch 3 3"],
    frame_count: Int64[Tensor, " batch"] | None = None,
) -> tuple[Float32[Tensor, "batch body time joint 3"], Bool[Tensor, "batch body time joint"]]:
    """Cut `[start, start + length)` of clips out of frames on the CPU, resize, apply `aligning`.

    A clip gets `frame_count` frames, or all `window_frames` where that is None.
    """
    shape = (len(clips), frames.max_bodies, window_frames, frames.joints.shape[1])
    if frame_count is None:
        frame_count = torch.full_like(length, window_frames)
    joints, present = torch.empty((*shape, 3), dtype=torch.float32), torch.empty(shape, dtype=torch.bool)
    _compiled()(
        frames.joints.flatten(1).numpy(),
        frames.present.numpy(),
        frames.first.numpy(),
        frames.frame_count.numpy(),
        frames.body_count.numpy(),
        frames.origin.numpy(),
        clips.numpy(),
        start.numpy(),
        length.numpy(),
        frame_count.numpy(),
        aligning.contiguous().numpy(),
        joints.flatten(3).numpy(),
        present.numpy(),
    )
    return joints, present


@cache
def _compiled() -> Any:
    """Compile the kernel, or load it from numba's cache on disk."""
    # The shape checks that tests switch on wrap every function; numba must see the bare one.
    bare = inspect.unwrap(_gather_kernel)
    try:
        return numba.njit(cache=True)(bare)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written to
        return numba.njit(bare)


def _gather_kernel(
    joints,
    present,
    first,
    frame_count,
    body_count,
    origin,
    clips,
    start,
    length,
    out_frame_count,
    aligning,
    out_joints,
    out_present,
):
    batch, max_bodies, _, joint_count = out_present.shape
    # A turned source frame is kept until its place is needed: of two neighbours, one is even and one is odd.
    turned = np.empty((2, 3 * joint_count), np.float32)
    held = np.empty(2, np.int64)
    for b in range(batch):
        clip, out_frames = clips[b], out_frame_count[b]
        double = 2 * out_frames
        xx, xy, xz = aligning[b, 0]
        yx, yy, yz = aligning[b, 1]
        zx, zy, zz = aligning[b, 2]
        origin_x, origin_y, origin_z = origin[clip]
        last = double * (length[b] - 1)
        for body in range(max_bodies):
            if body >= body_count[clip]:
                out_joints[b, body] = np.float32(0.0)
                out_present[b, body] = False
                continue
            base = first[clip] + body * frame_count[clip] + start[b]
            held[:] = -1
            out_joints[b, body, out_frames:] = np.float32(0.0)
            out_present[b, body, out_frames:] = False
            for i in range(out_frames):
                # ((2i + 1) L - N) / 2N in integers, as in `sampling._source_frames`.
                numerator = min(max((2 * i + 1) * length[b] - out_frames, 0), last)
                lower = numerator // double
                rest = numerator - lower * double
                weight = np.float32(rest) / np.float32(double)
                low_row = base + lower
                high_row = low_row + (1 if rest > 0 else 0)

                for row in range(low_row, high_row + 1):
                    if held[row & 1] == row:
                        continue
                    held[row & 1] = row
                    source, target = joints[row], turned[row & 1]
                    for v in range(joint_count):
                        x = source[3 * v] - origin_x
                        y = source[3 * v + 1] - origin_y
                        z = source[3 * v + 2] - origin_z
                        target[3 * v] = xx * x + xy * y + xz * z
                        target[3 * v + 1] = yx * x + yy * y + yz * z
                        target[3 * v + 2] = zx * x + zy * y + zz * z

                low, high, out = turned[low_row & 1], turned[high_row & 1], out_joints[b, body, i]
                for k in range(3 * joint_count):
                    out[k] = low[k] + weight * (high[k] - low[k])

                low_present, high_present, seen = present[low_row], present[high_row], out_present[b, body, i]
                whole = True
                for v in range(joint_count):
                    seen[v] = low_present[v] & high_present[v]
                    whole &= seen[v]
                if not whole:
                    for v in range(joint_count):
                        if not seen[v]:
                            out[3 * v : 3 * v + 3] = np.float32(0.0)
