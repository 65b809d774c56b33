"""Windows of clips: which frames, and how they become exactly N frames of a batch, or N of each clip's own.

Crop, resize, align, rotate and gather are one step over the flat frames, for the whole batch, on the device that holds
them, without a host synchronisation (with one, at recorded pace: `frames_at_pace`). On the CPU one fused pass does the
same (`marrow.data.fused`).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from marrow.data.augment import AugmentConfig, matrix_product
from marrow.data.draws import Draws
from marrow.data.frames import FlatFrames
from marrow.data.one_of_each import cropped, draw_choice
from marrow.data.window import InputConfig


@dataclass
class Windows:
    """One run of frames per clip of a batch.

    Args:
        start: first frame, counted from the clip's first.
        length: frames.
    """

    start: Int64[Tensor, " batch"]
    length: Int64[Tensor, " batch"]


def random_windows(frame_count: Int64[Tensor, " batch"], draws: Draws, augment: AugmentConfig) -> Windows:
    """Draw a window per clip: a random share of its frames at a random place.

    With p uniform on [crop_low, crop_high) and L frames, the length is floor(p * L), but not below `min_crop_frames`
    and never above L. Clips that get Hi-TRS's crop (`one_of_each`) get that one instead.
    """
    share, place = draws.uniform("crop", 2).unbind(1)
    share = augment.crop_low + (augment.crop_high - augment.crop_low) * share
    length = torch.floor(share * frame_count).to(torch.int64).clamp(min=augment.min_crop_frames)
    length = torch.minimum(length, frame_count)
    slack = frame_count - length
    # place < 1, but the float32 product may round up to slack + 1.
    start = torch.minimum(torch.floor(place * (slack + 1)).to(torch.int64), slack)
    if augment.one_of_each > 0:
        is_cropped = draw_choice(draws, augment.one_of_each).gets("crop")
        other_start, other_length = cropped(frame_count, draws)
        start, length = torch.where(is_cropped, other_start, start), torch.where(is_cropped, other_length, length)
    return Windows(start, length)


def centre_windows(frame_count: Int64[Tensor, " batch"], share: float) -> Windows:
    """Take the centred share of every clip: int((1 - share) * L / 2) frames are dropped at each end.

    The product is taken in float64, in the order in which the released feeder takes it, so that the same frames are
    dropped. Where the device has no float64 (mps), it is taken on the host.
    """
    exact = frame_count.cpu() if frame_count.device.type == "mps" else frame_count
    dropped = ((1 - share) * exact.to(torch.float64) / 2).to(torch.int64).to(frame_count.device)
    return Windows(dropped, frame_count - 2 * dropped)


def frames_at_pace(
    windows: Windows, input: InputConfig, *, fixed: bool = False
) -> tuple[int, Int64[Tensor, " batch"] | None]:
    """Return how long the time axis of a batch is, and how many frames of it each clip gets (None: all).

    At recorded pace the axis is as long as the longest clip of the batch needs: the one number that is read back from
    the device, since a shape must be known here. Where shapes are `fixed`, it is as long as any clip may need.
    """
    if input.pace == "resized":
        return input.window_frames, None
    frame_count = windows.length.clamp(input.min_frames, input.window_frames)
    return input.window_frames if fixed else int(frame_count.max()), frame_count


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
        from marrow.data.fused import gather_fused  # numba is loaded only where it is used

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
