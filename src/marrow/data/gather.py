"""Crop, resize, align, turn and gather: one pass over flat frames makes the windows of a batch.

Everything linear in an augmentation is one matrix per clip, which is applied together with the alignment, for the whole
batch, on the device that holds the frames, without a host synchronisation. On the CPU a compiled pass does the same up
to rounding (`gather_fused`): source frames are aligned and turned before they are interpolated, each once, because a
window usually has fewer of them than it gets; bodies that are not there cost nothing but their zeros; and every clip's
numbers are independent of the batch that it is in.
"""

import inspect
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from marrow.data.frames import FlatFrames
from marrow.data.window import Windows


def gather(
    frames: FlatFrames,
    clips: Int64[Tensor, " batch"],
    windows: Windows,
    window_frames: int,
    matrix: Float32[Tensor, "batch 3 3"] | None = None,
    frame_count: Int64[Tensor, " batch"] | None = None,
) -> tuple[Float32[Tensor, "batch body time joint 3"], Bool[Tensor, "batch body time joint"]]:
    """Cut windows, resize each to its number of frames, and align and turn them.

    Resizing is linear interpolation along time with `align_corners=False` and without anti-aliasing: of N frames,
    number i lies at (i + 0.5) * length / N - 0.5 of the window, held inside it (at its frame i, where N = length). An
    output joint is present when every source frame that has a weight in it is; where it is not, it is zero.

    Args:
        frames: where to cut.
        clips: which clips, as indices into `frames`.
        windows: which of their frames.
        window_frames: frames after resizing, and length of the time axis.
        matrix: applied after the alignment (augmentation); None for the identity.
        frame_count: frames after resizing, of each clip; what follows them is absent. None: `window_frames` of all.
    """
    aligning = frames.matrix[clips]
    if matrix is not None:
        aligning = matrix_product(matrix, aligning)
    if frames.device.type == "cpu":
        return gather_fused(frames, clips, windows.start, windows.length, window_frames, aligning, frame_count)
    return gather_tensor(frames, clips, windows, window_frames, aligning, frame_count)


def gather_tensor(
    frames: FlatFrames,
    clips: Int64[Tensor, " batch"],
    windows: Windows,
    window_frames: int,
    aligning: Float32[Tensor, "batch 3 3"],
    frame_count: Int64[Tensor, " batch"] | None = None,
) -> tuple[Float32[Tensor, "batch body time joint 3"], Bool[Tensor, "batch body time joint"]]:
    """Do what `gather` does, on any device; `aligning` is the whole linear part, applied to `x - origin`."""
    batch, joint_count = len(clips), frames.joints.shape[1]
    lower, weight = _source_frames(windows, window_frames, frame_count)

    body = torch.arange(frames.max_bodies, device=frames.device)
    has_body = body[None, :] < frames.body_count[clips][:, None]
    # A body that is not there reads the first one, and is blanked below.
    body_first = frames.first[clips][:, None] + body[None, :] * has_body * frames.frame_count[clips][:, None]
    lower_row = (body_first[:, :, None] + lower[:, None, :]).flatten()
    # The upper frame is the next one only where it has a weight, so no row beyond the window is ever read.
    upper_row = lower_row + (weight > 0)[:, None, :].expand(-1, frames.max_bodies, -1).flatten()

    present = frames.present.index_select(0, lower_row) & frames.present.index_select(0, upper_row)
    present = present.view(batch, frames.max_bodies, window_frames, joint_count) & has_body[:, :, None, None]
    if frame_count is not None:
        is_within = torch.arange(window_frames, device=frames.device) < frame_count[:, None]
        present &= is_within[:, None, :, None]

    flat = frames.joints.flatten(1)
    low, high = (flat.index_select(0, row).view(batch, -1, joint_count * 3) for row in (lower_row, upper_row))
    weight = weight[:, None, :].expand(-1, frames.max_bodies, -1).reshape(batch, -1, 1)
    points = torch.lerp(low, high, weight).view(batch, -1, 3)

    # The products are written out, because a matrix product would follow the global TF32 and autocast settings, and
    # taken on planes of x, y and z, because elementwise operations over an inner axis of 3 are several times slower.
    planes = torch.empty((batch, 3, points.shape[1]), dtype=points.dtype, device=points.device)
    torch.sub(points.transpose(1, 2), frames.origin[clips][:, :, None], out=planes)
    x, y, z = planes.split(1, dim=1)
    turned = aligning[:, :, 0, None] * x
    turned.addcmul_(aligning[:, :, 1, None], y).addcmul_(aligning[:, :, 2, None], z)
    # Positions are finite everywhere (`FlatFrames`), so that the product blanks what is absent.
    joints = turned.mul_(present.view(batch, 1, -1)).transpose(1, 2)
    return joints.reshape(*present.shape, 3), present


def _source_frames(
    windows: Windows, window_frames: int, frame_count: Int64[Tensor, " batch"] | None
) -> tuple[Int64[Tensor, "batch time"], Float32[Tensor, "batch time"]]:
    """Return the lower source frame of each output frame, and the weight of the next one.

    With L = length and N = window_frames (or the clip's own count), (i + 0.5) * L / N - 0.5 = ((2i + 1) L - N) / 2N:
    integers, so that a weight is zero exactly where it should be. Beyond the N frames it is the last one.
    """
    count = window_frames if frame_count is None else frame_count[:, None]
    index = torch.arange(window_frames, device=windows.start.device)
    numerator = (2 * index + 1)[None, :] * windows.length[:, None] - count
    numerator = torch.minimum(numerator.clamp(min=0), 2 * count * (windows.length[:, None] - 1))
    lower = torch.div(numerator, 2 * count, rounding_mode="floor")
    weight = (numerator - lower * 2 * count).to(torch.float32) / (2 * count)
    return windows.start[:, None] + lower, weight


def matrix_product(
    left: Float32[Tensor, "batch 3 3"], right: Float32[Tensor, "batch 3 3"] | None
) -> Float32[Tensor, "batch 3 3"]:
    """Return left @ right (None is the identity), without the matrix unit: global settings decide its precision."""
    if right is None:
        return left
    return (left[:, :, :, None] * right[:, None, :, :]).sum(2)


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
    import numba  # loaded only where it is used

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
                # ((2i + 1) L - N) / 2N in integers, as in `_source_frames`.
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
