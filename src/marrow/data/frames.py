"""Frames of many clips laid end to end on one device: what windows are cut from.

A padded array of NTU-like clips is six times larger than what was recorded. Here nothing is padded: body `m` of clip
`i` occupies the rows `first[i] + m * frame_count[i]` up to `first[i] + (m + 1) * frame_count[i]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from marrow.data.source import ClipSource
from marrow.data.window import InputConfig
from marrow.errors import DataError
from marrow.skeleton.geometry import alignment_of
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import SkeletonSequence, as_sequences

# Frames up to this size are kept in the memory of a CPU without asking.
_RESIDENT_BYTES = 4 * 2**30

ClipArrays = tuple[Float32[np.ndarray, "_ _ joint 3"], Bool[np.ndarray, "_ _ joint"]]


@dataclass
class FlatFrames:
    """Clips of unequal length, flat, all on one device.

    Args:
        joints: positions as stored, in metres; finite, and zero where absent whatever was stored there.
        present: which joints were seen; derived ones are absent, and only alignment knows of them.
        first: row of each clip's first frame of its first body.
        frame_count: frames of each clip.
        body_count: bodies of each clip.
        label: 0-based class, -1 where unknown.
        row: the clip's row in the store (its place in the list, for clips that come from none).
        matrix: linear part of each clip's alignment, `aligned = matrix @ (x - origin)`.
        origin: what the alignment subtracts, in metres.
        fps: frames per second of each clip.
        max_bodies: length of the body axis of every window cut from these frames.
        skeleton: the layout of the joint axis.
        most_joints: most joints that any clip has; the others are absent from all of it.
        flat: which clips have two dimensions, where the layout has three; None: none.
    """

    joints: Float32[Tensor, "row joint 3"]
    present: Bool[Tensor, "row joint"]
    first: Int64[Tensor, " clip"]
    frame_count: Int64[Tensor, " clip"]
    body_count: Int64[Tensor, " clip"]
    label: Int64[Tensor, " clip"]
    row: Int64[Tensor, " clip"]
    matrix: Float32[Tensor, "clip 3 3"]
    origin: Float32[Tensor, "clip 3"]
    fps: Float32[Tensor, " clip"]
    max_bodies: int
    skeleton: Skeleton
    most_joints: int
    flat: Bool[Tensor, " clip"] | None = None

    def __len__(self) -> int:
        return len(self.first)

    @property
    def device(self) -> torch.device:
        """Where the frames are."""
        return self.joints.device

    def to(self, device: torch.device | str) -> "FlatFrames":
        """Return the frames on another device."""
        moved = {
            field.name: value.to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)


def resident_limit(device: torch.device) -> int:
    """Return how many bytes of frames may stay on a device: half of what a GPU has free; on a CPU, a fixed size."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _RESIDENT_BYTES


def frame_bytes(store: ClipSource, rows: Int64[np.ndarray, " clip"]) -> int:
    """Return how many bytes the frames of some clips take on a device: positions, and a flag for each."""
    frames = (np.asarray(store.body_count, np.int64) * np.asarray(store.frame_count, np.int64))[rows].sum()
    return int(frames) * len(store.skeleton.joints) * 13


def flat_frames(
    store: ClipSource,
    rows: Int64[np.ndarray, " clip"],
    input: InputConfig,
    device: torch.device | str,
    max_bodies: int | None = None,
) -> FlatFrames:
    """Copy some clips of a store to a device and work out their alignment.

    Args:
        store: the data.
        rows: rows of it, in the order that the clips shall have.
        input: its `alignment` is computed here, once per clip.
        device: where the frames are kept.
        max_bodies: length of the body axis; None for the most bodies that any of these clips has.
    """
    rows = np.asarray(rows, dtype=np.int64)
    clips = [Clip(*store.frames(int(row)), float(store.fps[row]), store.layout_of(int(row))) for row in rows]
    labels = np.asarray(store.label, dtype=np.int64)[rows]
    return _flatten(clips, labels, rows, store.read_as, input, max_bodies).to(device)


def flat_from_sequences(
    sequences: Sequence[SkeletonSequence],
    input: InputConfig,
    device: torch.device | str,
    skeleton: Skeleton | None = None,
) -> FlatFrames:
    """Lay sequences in memory end to end on a device; labels are those of their records.

    Args:
        sequences: of one layout.
        input: as in `flat_frames`.
        device: where the frames are kept.
        skeleton: the layout of an encoder, of which those of the sequences may have fewer dimensions and fewer measured
            joints; None: that of the first sequence.

    Raises:
        DataError: there is no sequence, or they are of different layouts.
    """
    sequences = as_sequences(sequences)
    if not sequences:
        raise DataError("expected at least one sequence, got none")
    own = skeleton is None
    skeleton = skeleton or sequences[0].skeleton
    for sequence in sequences:
        if sequence.skeleton.joints != skeleton.joints or (own and sequence.skeleton != skeleton):
            raise DataError(
                f"all sequences of a batch must have one skeleton, {skeleton.name!r}: {sequence.record.id!r} has "
                f"{sequence.skeleton.name!r}"
            )
    clips = [Clip(sequence.joints, sequence.present, sequence.fps, sequence.skeleton) for sequence in sequences]
    labels = np.array([sequence.record.label for sequence in sequences], dtype=np.int64)
    return _flatten(clips, labels, np.arange(len(sequences)), skeleton, input, None).to(device)


def flat_from_arrays(
    clips: Sequence[ClipArrays],
    skeleton: Skeleton,
    input: InputConfig,
    device: torch.device | str,
    *,
    fps: Sequence[float],
    row: Int64[np.ndarray, " clip"],
    max_bodies: int | None = None,
    aligned_by: int | None = None,
    read_as: Skeleton | None = None,
) -> FlatFrames:
    """Lay positions and flags end to end on a device; labels are unknown.

    Args:
        clips: positions in metres and flags, of one layout.
        skeleton: that layout.
        input: its `alignment` is computed here, once per clip.
        device: where the frames are kept.
        fps: frames per second of each clip.
        row: what each clip is called in the batches.
        max_bodies: length of the body axis; None for the most bodies that any of these clips has.
        aligned_by: how many of a clip's first frames decide its alignment; None: all.
        read_as: the layout of the encoder, which may have more dimensions; None: that of the clips.
    """
    whole = [Clip(*clip, rate, skeleton) for clip, rate in zip(clips, fps, strict=True)]
    labels, wanted = np.full(len(clips), -1), read_as or skeleton
    return _flatten(whole, labels, row, wanted, input, max_bodies, aligned_by).to(device)


@dataclass(frozen=True)
class Clip:
    """One clip on its way into flat frames: positions, flags, frames per second, and its own layout."""

    joints: Float32[np.ndarray, "body frame joint 3"]
    present: Bool[np.ndarray, "body frame joint"]
    fps: float
    layout: Skeleton


def _flatten(
    clips: Sequence[Clip],
    label: Int64[np.ndarray, " clip"],
    row: Int64[np.ndarray, " clip"],
    skeleton: Skeleton,
    input: InputConfig,
    max_bodies: int | None,
    aligned_by: int | None = None,
) -> FlatFrames:
    """Concatenate clips into flat tensors on the CPU."""
    body_count = np.array([clip.present.shape[0] for clip in clips], dtype=np.int64)
    frame_count = np.array([clip.present.shape[1] for clip in clips], dtype=np.int64)
    if len(clips) == 0 or (body_count * frame_count).min() < 1:
        empty = row[body_count * frame_count < 1].tolist()
        raise DataError(
            f"every clip must have a body and a frame; these rows have none: {empty or 'no rows were given'}"
        )
    most_bodies = int(body_count.max())
    if max_bodies is not None and most_bodies > max_bodies:
        raise DataError(f"expected at most {max_bodies} bodies in a clip, got {most_bodies}")

    end = np.cumsum(body_count * frame_count)
    first = np.concatenate([[0], end[:-1]])
    joint_count = len(skeleton.joints)
    joints = torch.empty((int(end[-1]), joint_count, 3), dtype=torch.float32)
    present = torch.empty((int(end[-1]), joint_count), dtype=torch.bool)
    matrix = np.tile(np.eye(3, dtype=np.float32), (len(clips), 1, 1))
    origin = np.zeros((len(clips), 3), dtype=np.float32)
    most_joints = 0
    for number, clip in enumerate(clips):
        clip_joints = np.where(clip.present[..., None], clip.joints, np.float32(0))
        of_clip = joints.numpy()[first[number] : end[number]]
        is_present = present.numpy()[first[number] : end[number]]
        of_clip[:], is_present[:] = clip_joints.reshape(of_clip.shape), clip.present.reshape(is_present.shape)
        if input.alignment != "none":
            observed = slice(aligned_by)
            matrix[number], origin[number] = alignment_of(
                clip_joints[:, observed], clip.present[:, observed], clip.layout, input.alignment
            )
        # What nobody measured has served its purpose: it is nothing to be seen, predicted or compared.
        for joint in clip.layout.derived:
            of_clip[:, joint], is_present[:, joint] = 0.0, False
        most_joints = max(most_joints, int(is_present.any(axis=0).sum()))
    is_flat = np.array([clip.layout.dimensions < skeleton.dimensions for clip in clips])

    return FlatFrames(
        joints=joints,
        present=present,
        first=torch.from_numpy(first.astype(np.int64)),
        frame_count=torch.from_numpy(frame_count),
        body_count=torch.from_numpy(body_count),
        label=torch.from_numpy(label.copy()),
        row=torch.from_numpy(row.copy()),
        matrix=torch.from_numpy(matrix),
        origin=torch.from_numpy(origin),
        fps=torch.tensor([clip.fps for clip in clips], dtype=torch.float32),
        max_bodies=max_bodies or most_bodies,
        skeleton=skeleton,
        most_joints=most_joints,
        flat=torch.from_numpy(is_flat) if is_flat.any() else None,
    )
