"""From flat frames to batches, of a training step and of an evaluation: draw, then apply.

`marrow.data.augment` says what is random in a batch, all before anything is done to its frames. Everything linear of it
(rotation, turn about the vertical, reflection, scale, shear) becomes one matrix per clip, which `gather` applies as it
cuts and resizes; what no matrix can do (`finish`) is done to the gathered windows.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from marrow.data.augment import Augmentation, AugmentConfig, OneOfEach, draw_augmentation
from marrow.data.batch import Batch, FixedShapes, Shapes
from marrow.data.draws import Draws
from marrow.data.frames import FlatFrames, flat_frames, flat_from_sequences
from marrow.data.gather import gather, matrix_product
from marrow.data.source import ClipSource
from marrow.data.window import InputConfig, centre_windows, frames_at_pace
from marrow.errors import ConfigError
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import SkeletonSequence
from marrow.skeleton.streams import bone, stream

# How far above or below a body a camera may look from.
_HIGHEST_RADIANS = math.pi / 6


def training_batch(
    frames: FlatFrames,
    clips: Int64[Tensor, " batch"],
    draws: Draws,
    input: InputConfig,
    augment: AugmentConfig,
    shapes: Shapes | None = None,
) -> Batch:
    """Draw the augmentation of a batch, then make the batch; `shapes` are what the host knows of its sizes."""
    fps = frames.fps[clips]
    augmentation = draw_augmentation(
        *(draws, augment, frames.frame_count[clips], fps),
        bodies=frames.max_bodies,
        window_frames=input.window_frames,
        joints=len(frames.skeleton.joints),
    )
    times, frame_count = frames_at_pace(augmentation.windows, input, fps, fixed=shapes is not None)
    flat = None if frames.flat is None else frames.flat[clips]
    matrix = linear_part(augmentation, frames.skeleton, flat)
    joints, present = gather(frames, clips, augmentation.windows, times, matrix, frame_count)
    joints, present = finish(joints, present, augmentation, frames.skeleton)
    if augmentation.projected is not None:
        flat = augmentation.projected[0] if flat is None else flat | augmentation.projected[0]
    joints = without_depth(joints, frames.skeleton, flat)
    joints, present = as_stream(joints, present, frame_count, frames.skeleton, input.stream)
    return Batch(joints, present, frames.label[clips], frames.row[clips], frame_count, shapes, flat)


def evaluation_batch(
    frames: FlatFrames, clips: Int64[Tensor, " batch"], input: InputConfig, shapes: Shapes | None = None
) -> Batch:
    """Cut, resize and align the centred windows of some clips. Nothing is random; `shapes` as in `training_batch`."""
    windows = centre_windows(frames.frame_count[clips], input.test_crop)
    times, frame_count = frames_at_pace(windows, input, frames.fps[clips], fixed=shapes is not None)
    joints, present = gather(frames, clips, windows, times, frame_count=frame_count)
    flat = None if frames.flat is None else frames.flat[clips]
    joints, present = as_stream(joints, present, frame_count, frames.skeleton, input.stream)
    return Batch(joints, present, frames.label[clips], frames.row[clips], frame_count, shapes, flat)


def batch_from_sequences(
    sequences: Sequence[SkeletonSequence],
    input: InputConfig,
    device: torch.device | str = "cpu",
    skeleton: Skeleton | None = None,
) -> Batch:
    """Make one evaluation batch of sequences in memory.

    Args:
        sequences: in metres, of one skeleton, any length.
        input: of the encoder that is to read the batch (`encoder.input`).
        device: of the batch.
        skeleton: as in `flat_from_sequences`.
    """
    frames = flat_from_sequences(sequences, input, device, skeleton)
    bodies = sum(len(sequence.joints) for sequence in sequences)
    shapes = Shapes(bodies, whole=False, joints=frames.most_joints) if frames.device.type == "cuda" else None
    return evaluation_batch(frames, torch.arange(len(frames), device=frames.device), input, shapes)


def evaluation_batches(
    source: ClipSource | FlatFrames,
    rows: Int64[np.ndarray, " clip"],
    input: InputConfig,
    batch_clips: int,
    device: torch.device | str,
) -> Iterator[Batch]:
    """Yield centred windows of some rows, in their order; the last batch may be smaller.

    On a CUDA device their shapes are known beforehand (`Batch.shapes`).

    Args:
        source: a store, of which one batch at a time is read, or frames that are already on a device.
        rows: rows of the store, all of which must be in `source`.
        input: window, stream, alignment and test crop. Frames on a device were aligned when they were put there.
        batch_clips: clips per batch.
        device: where the batches are wanted.
    """
    if batch_clips < 1:
        raise ConfigError(f"batch_clips must be at least 1, got {batch_clips}")
    fixed = torch.device(device).type == "cuda" and len(rows) > 0
    if isinstance(source, FlatFrames):
        clip_of_row = {row: clip for clip, row in enumerate(source.row.tolist())}
        unknown = [row for row in rows.tolist() if row not in clip_of_row]
        if unknown:
            raise ConfigError(f"these rows are not among the {len(source)} clips on the device: {unknown[:10]}")
        clips = np.array([clip_of_row[row] for row in rows.tolist()], dtype=np.int64)
        shapes = None
        if fixed:
            body_count, whole = source.body_count.cpu().numpy()[clips], bool(source.present.all())
            most = {"whole": whole, "joints": source.most_joints}
            shapes = FixedShapes(body_count, min(batch_clips, len(rows)), source.max_bodies, **most)
        for batch in resident_batches(source, clips, input, batch_clips, shapes):
            yield batch.to(device)
        return
    body_count = np.asarray(source.body_count, dtype=np.int64)[rows]
    max_bodies = int(body_count.max(initial=1))
    shapes = FixedShapes(body_count, min(batch_clips, len(rows)), max_bodies, whole=False) if fixed else None
    for begin in range(0, len(rows), batch_clips):
        frames = flat_frames(source, rows[begin : begin + batch_clips], input, device, max_bodies)
        of_batch = None if shapes is None else shapes.of(np.arange(begin, begin + len(frames)))
        yield evaluation_batch(frames, torch.arange(len(frames), device=frames.device), input, of_batch)


def resident_batches(
    frames: FlatFrames,
    clips: Int64[np.ndarray, " clip"],
    input: InputConfig,
    batch_clips: int,
    shapes: FixedShapes | None,
) -> Iterator[Batch]:
    """Yield centred windows of clips that are on a device, of which nothing is read there where `shapes` are given.

    Args:
        frames: where to cut.
        clips: which of them, in the order of the batches.
        input: as in `evaluation_batches`.
        batch_clips: clips per batch.
        shapes: chosen for these clips, in their order; None: exact sizes.
    """
    on_device = torch.from_numpy(clips).to(frames.device)
    for begin in range(0, len(clips), batch_clips):
        chosen = on_device[begin : begin + batch_clips]
        of_batch = None if shapes is None else shapes.of(np.arange(begin, begin + len(chosen)))
        yield evaluation_batch(frames, chosen, input, of_batch)


def linear_part(
    augmentation: Augmentation, skeleton: Skeleton, flat: Bool[Tensor, " batch"] | None = None
) -> Float32[Tensor, "batch 3 3"] | None:
    """Return camera * rotation * turn * scale * reflection * Hi-TRS's scale or shear; None for the identity.

    What has two dimensions, all of a layout or the clips that are `flat`, is turned in the image alone.
    """
    up = "xyz".index(skeleton.up)
    matrix = None if augmentation.one_of_each is None else augmentation.one_of_each.matrix
    if (mirrored := augmentation.mirrored) is not None:
        sign = torch.ones((len(mirrored), 3), device=mirrored.device)
        sign[:, skeleton.sideways] = torch.where(mirrored, -1.0, 1.0)
        matrix = matrix_product(torch.diag_embed(sign), matrix)
    if augmentation.scale is not None:
        matrix = matrix_product(torch.diag_embed(augmentation.scale[:, None].expand(-1, 3)), matrix)
    if (yaw := augmentation.yaw_radians) is not None:
        matrix = matrix_product(axis_rotation(_out_of_image(yaw, skeleton, flat), up), matrix)
    if (angles := augmentation.rotation_radians) is not None:
        x, y, z = angles.unbind(1)
        x, y = (_out_of_image(angle, skeleton, flat) for angle in (x, y))
        matrix = matrix_product(euler_rotation(torch.stack((x, y, z), dim=1)), matrix)
    if augmentation.projected is not None:
        is_projected, angles = augmentation.projected
        if flat is not None:
            is_projected = is_projected & ~flat
        identity = torch.eye(3, device=angles.device)
        matrix = matrix_product(torch.where(is_projected[:, None, None], camera(angles), identity), matrix)
    return matrix


def _out_of_image(
    angle: Float32[Tensor, " batch"], skeleton: Skeleton, flat: Bool[Tensor, " batch"] | None
) -> Float32[Tensor, " batch"]:
    """Return an angle out of the image: none for what has two dimensions."""
    if skeleton.dimensions == 2:
        return torch.zeros_like(angle)
    return angle if flat is None else torch.where(flat, 0.0, angle)


def without_depth(
    joints: Float32[Tensor, "batch body time joint 3"], skeleton: Skeleton, flat: Bool[Tensor, " batch"] | None
) -> Float32[Tensor, "batch body time joint 3"]:
    """Return joints whose third coordinate is zero where there is none, whatever noise or shear have made of it."""
    if skeleton.dimensions == 3 and flat is None:
        return joints
    exists = (torch.arange(3, device=joints.device) < 2).float()
    if flat is None or skeleton.dimensions == 2:
        return joints * exists
    return joints * torch.where(flat[:, None], exists, 1.0)[:, None, None, None]


def finish(
    joints: Float32[Tensor, "batch body time joint 3"],
    present: Bool[Tensor, "batch body time joint"],
    augmentation: Augmentation,
    skeleton: Skeleton,
) -> tuple[Float32[Tensor, "batch body time joint 3"], Bool[Tensor, "batch body time joint"]]:
    """Do to gathered windows what no matrix can.

    Noise and interpolation, left and right exchanged, and jitter.

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


def camera(angles: Float32[Tensor, "batch 2"]) -> Float32[Tensor, "batch 3 3"]:
    """Return what a far camera makes of bodies that stand along y: x to its right, y up, and no depth.

    Args:
        angles: two numbers uniform on [0, 1): where around the body it stands, and from how high it looks down.
    """
    around = 2.0 * math.pi * angles[:, 0]
    above = _HIGHEST_RADIANS * (2.0 * angles[:, 1] - 1.0)
    (ca, sa), (cb, sb), zero = (torch.cos(around), torch.sin(around)), (torch.cos(above), torch.sin(above)), 0 * around
    # A turn about y, then one about x; the third row would be the depth.
    rows = (ca, zero, sa, sa * sb, cb, -ca * sb, zero, zero, zero)
    return torch.stack(rows, dim=1).view(-1, 3, 3)


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


@cache
def _joint_index(joints: tuple[int, ...], device: torch.device) -> Int64[Tensor, " joint"]:
    """Return numbers of joints on a device, copied there once."""
    with torch.inference_mode(False):  # it may serve for training, too
        return torch.tensor(joints, device=device)
