"""From flat frames to windows: crop, resize, align, turn and gather, and what else is done to a batch.

Nothing is drawn here: `marrow.data.augment` says what is random. Everything linear (rotation, turn about the vertical,
reflection, scale, shear) becomes one matrix per clip that `gather` applies together with the alignment, in one step
over the frames, for the whole batch, on the device that holds them, without a host synchronisation. On the CPU one
fused pass does the same (`marrow.data.fused`). What no matrix can do (`finish`) is done to the gathered windows.
"""

from functools import cache

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from marrow.data.augment import Augmentation, OneOfEach
from marrow.data.frames import FlatFrames
from marrow.data.window import Windows
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.streams import bone, stream


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


def linear_part(augmentation: Augmentation, skeleton: Skeleton) -> Float32[Tensor, "batch 3 3"] | None:
    """Return rotation * turn * scale * reflection * Hi-TRS's scale or shear; None for the identity."""
    up = "xyz".index(skeleton.up)
    matrix = None if augmentation.one_of_each is None else augmentation.one_of_each.matrix
    if (mirrored := augmentation.mirrored) is not None:
        sideways = 0 if up != 0 else 1
        sign = torch.ones((len(mirrored), 3), device=mirrored.device)
        sign[:, sideways] = torch.where(mirrored, -1.0, 1.0)
        matrix = matrix_product(torch.diag_embed(sign), matrix)
    if augmentation.scale is not None:
        matrix = matrix_product(torch.diag_embed(augmentation.scale[:, None].expand(-1, 3)), matrix)
    if augmentation.yaw_radians is not None:
        matrix = matrix_product(axis_rotation(augmentation.yaw_radians, up), matrix)
    if augmentation.rotation_radians is not None:
        matrix = matrix_product(euler_rotation(augmentation.rotation_radians), matrix)
    return matrix


def finish(
    joints: Float32[Tensor, "batch body time joint 3"],
    present: Bool[Tensor, "batch body time joint"],
    augmentation: Augmentation,
    skeleton: Skeleton,
) -> tuple[Float32[Tensor, "batch body time joint 3"], Bool[Tensor, "batch body time joint"]]:
    """Do to gathered windows what no matrix can: noise and interpolation, left and right exchanged, and jitter.

    Args:
        joints: gathered and turned.
        present: which of them exist.
        augmentation: what was drawn for the batch.
        skeleton: whose joints are exchanged.
    """
    if augmentation.one_of_each is not None:
        joints = add_joint_noise(joints, present, augmentation.one_of_each)
        joints = interpolate(joints, present, augmentation.one_of_each)
    if augmentation.mirrored is not None:
        partner = _joint_index(skeleton.mirror, joints.device)
        is_mirrored = augmentation.mirrored[:, None, None, None]
        joints = torch.where(is_mirrored[..., None], joints.index_select(3, partner), joints)
        present = torch.where(is_mirrored, present.index_select(3, partner), present)
    if augmentation.jitter_metres is not None:
        noise = augmentation.jitter_metres[:, :, : joints.shape[2]]
        joints = torch.where(present[..., None], joints + noise, joints)
    return joints, present


def add_joint_noise(
    joints: Float32[Tensor, "batch body time joint 3"],
    present: Bool[Tensor, "batch body time joint"],
    operations: OneOfEach,
) -> Float32[Tensor, "batch body time joint 3"]:
    """Shift some joints of some clips, for all their frames and bodies alike, where they are present."""
    is_moved = present & operations.is_shifted[:, None, None, :]
    return torch.where(is_moved[..., None], joints + operations.shift[:, None, None], joints)


def interpolate(
    joints: Float32[Tensor, "batch body time joint 3"],
    present: Bool[Tensor, "batch body time joint"],
    operations: OneOfEach,
) -> Float32[Tensor, "batch body time joint 3"]:
    """Move every frame of some clips towards the next one, by one share per clip, where both are present.

    What follows a clip's last frame is not present, so that the last frame stays.
    """
    share = operations.share[:, None, None, None, None]
    is_moved = present[:, :, :-1] & present[:, :, 1:] & operations.is_interpolated[:, None, None, None]
    this, following = joints[:, :, :-1], joints[:, :, 1:]
    between = torch.where(is_moved[..., None], this + share * (following - this), this)
    return torch.cat((between, joints[:, :, -1:]), dim=2)


def as_stream(
    joints: Float32[Tensor, "batch body time joint 3"],
    present: Bool[Tensor, "batch body time joint"],
    frame_count: Int64[Tensor, " batch"] | None,
    skeleton: Skeleton,
    name: str,
) -> tuple[Float32[Tensor, "batch body time joint 3"], Bool[Tensor, "batch body time joint"]]:
    """Derive a stream of windows that may end before the time axis does."""
    if name == "joint":
        return joints, present
    parents = _joint_index(skeleton.parents, joints.device)
    values, exists = stream(joints, present, skeleton, name, parents)
    if frame_count is not None and name in ("motion", "bone_motion"):
        # The last frame of a full window has the motion zero, and that one exists. A clip that ends earlier ends alike:
        # what it is must not depend on the longest clip of its batch.
        whole = present if name == "motion" else bone(joints, present, skeleton, parents)[1]
        is_last = torch.arange(joints.shape[2], device=joints.device) == frame_count[:, None] - 1
        exists = exists | (whole & is_last[:, None, :, None])
    return values, exists


def axis_rotation(angle: Float32[Tensor, " batch"], axis: int) -> Float32[Tensor, "batch 3 3"]:
    """Return right-handed rotations about x (0), y (1) or z (2)."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.zeros((len(angle), 3, 3), device=angle.device)
    after, last = (axis + 1) % 3, (axis + 2) % 3
    matrix[:, axis, axis] = 1.0
    matrix[:, after, after] = cos
    matrix[:, last, last] = cos
    matrix[:, last, after] = sin
    matrix[:, after, last] = -sin
    return matrix


def euler_rotation(angles: Float32[Tensor, "batch 3"]) -> Float32[Tensor, "batch 3 3"]:
    """Return Rz * Ry * Rx for angles about x, y and z, multiplied out."""
    (cx, cy, cz), (sx, sy, sz) = torch.cos(angles).unbind(1), torch.sin(angles).unbind(1)
    czsy, szsy = cz * sy, sz * sy
    rows = [
        *(cz * cy, czsy * sx - sz * cx, czsy * cx + sz * sx),
        *(sz * cy, szsy * sx + cz * cx, szsy * cx - cz * sx),
        *(-sy, cy * sx, cy * cx),
    ]
    return torch.stack(rows, dim=1).view(-1, 3, 3)


def matrix_product(
    left: Float32[Tensor, "batch 3 3"], right: Float32[Tensor, "batch 3 3"] | None
) -> Float32[Tensor, "batch 3 3"]:
    """Return left @ right (None is the identity), without the matrix unit: global settings decide its precision."""
    if right is None:
        return left
    return (left[:, :, :, None] * right[:, None, :, :]).sum(2)


@cache
def _joint_index(joints: tuple[int, ...], device: torch.device) -> Int64[Tensor, " joint"]:
    """Return numbers of joints on a device, copied there once."""
    with torch.inference_mode(False):  # it may serve for training, too
        return torch.tensor(joints, device=device)
