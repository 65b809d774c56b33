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

from marrow.data.window import InputConfig
from marrow.errors import DataError
from marrow.skeleton.geometry import alignment_of
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import SkeletonSequence
from marrow.store.format import Store

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
        max_bodies: length of the body axis of every window cut from these frames.
        skeleton: the layout of the joint axis.
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
    max_bodies: int
    skeleton: Skeleton

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


def flat_frames(
    store: Store,
    rows: Int64[np.ndarray, " clip"],
    input: InputConfig,
    device: torch.device | str,
    max_bodies: int | None = None,
) -> FlatFrames:
    """Copy some clips of a store to a device and work out their alignment.

    Args:
        store: the data.
        rows: rows of the store, in the order that the clips shall have.
        input: its `alignment` is computed here, once per clip.
        device: where the frames are kept.
        max_bodies: length of the body axis; None for the most bodies that any of these clips has.
    """
    clips = [store.frames(int(row)) for row in rows]
    labels = np.asarray(store.label, dtype=np.int64)[rows]
    return _flatten(clips, labels, np.asarray(rows, dtype=np.int64), store.skeleton, input, max_bodies).to(device)


def flat_from_sequences(
    sequences: Sequence[SkeletonSequence], input: InputConfig, device: torch.device | str
) -> FlatFrames:
    """Lay sequences in memory end to end on a device; labels are those of their records.

    Raises:
        DataError: there is no sequence, or they are of different layouts.
    """
    if not sequences:
        raise DataError("expected at least one sequence, got none")
    skeleton = sequences[0].skeleton
    for sequence in sequences:
        if sequence.skeleton != skeleton:
            raise DataError(
                f"all sequences of a batch must have one skeleton: {sequences[0].record.id!r} has {skeleton.name!r}, "
                f"{sequence.record.id!r} has {sequence.skeleton.name!r}"
            )
    clips = [(sequence.joints, sequence.present) for sequence in sequences]
    labels = np.array([sequence.record.label for sequence in sequences], dtype=np.int64)
    return _flatten(clips, labels, np.arange(len(sequences)), skeleton, input, None).to(device)


def flat_from_arrays(
    clips: Sequence[ClipArrays],
    skeleton: Skeleton,
    input: InputConfig,
    device: torch.device | str,
    *,
    row: Int64[np.ndarray, " clip"],
    max_bodies: int | None = None,
    aligned_by: int | None = None,
) -> FlatFrames:
    """Lay positions and flags end to end on a device; labels are unknown.

    Args:
        clips: positions in metres and flags, of one layout.
        skeleton: that layout.
        input: its `alignment` is computed here, once per clip.
        device: where the frames are kept.
        row: what each clip is called in the batches.
        max_bodies: length of the body axis; None for the most bodies that any of these clips has.
        aligned_by: how many of a clip's first frames decide its alignment; None: all.
    """
    return _flatten(clips, np.full(len(clips), -1), row, skeleton, input, max_bodies, aligned_by).to(device)


def _flatten(
    clips: Sequence[ClipArrays],
    label: Int64[np.ndarray, " clip"],
    row: Int64[np.ndarray, " clip"],
    skeleton: Skeleton,
    input: InputConfig,
    max_bodies: int | None,
    aligned_by: int | None = None,
) -> FlatFrames:
    """Concatenate clips into flat tensors on the CPU."""
    body_count = np.array([present.shape[0] for _, present in clips], dtype=np.int64)
    frame_count = np.array([present.shape[1] for _, present in clips], dtype=np.int64)
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
    for clip, (clip_joints, clip_present) in enumerate(clips):
        clip_joints = np.where(clip_present[..., None], clip_joints, np.float32(0))
        joints.numpy()[first[clip] : end[clip]] = clip_joints.reshape(-1, joint_count, 3)
        present.numpy()[first[clip] : end[clip]] = clip_present.reshape(-1, joint_count)
        if input.alignment != "none":
            observed = slice(aligned_by)
            matrix[clip], origin[clip] = alignment_of(
                clip_joints[:, observed], clip_present[:, observed], skeleton, input.alignment
            )

    # What nobody measured has served its purpose: it is nothing to be seen, predicted or compared.
    for joint in skeleton.derived:
        joints[:, joint], present[:, joint] = 0.0, False

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
        max_bodies=max_bodies or most_bodies,
        skeleton=skeleton,
    )
