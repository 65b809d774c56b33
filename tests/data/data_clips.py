"""Small clips with known numbers, shared by the tests of the way to a batch."""

from pathlib import Path

import numpy as np
import torch

from marrow.data.frames import FlatFrames, flat_from_sequences
from marrow.data.window import InputConfig
from marrow.readers.base import Split
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store

# Two limbs and a trunk: enough for parents, a mirror and every anchor.
SMALL = Skeleton(
    name="small",
    joints=("hip", "chest", "left", "right"),
    parents=(0, 0, 1, 1),
    mirror=(0, 1, 3, 2),
    anchors={
        "centre": 0,
        "chest": 1,
        "left_hip": 2,
        "right_hip": 3,
        "left_shoulder": 2,
        "right_shoulder": 3,
    },
)


def make_sequence(
    frame_count: int, bodies: int = 1, seed: int = 0, label: int = 0, absent_share: float = 0.0, **attributes: int | str
) -> SkeletonSequence:
    rng = np.random.default_rng([seed, frame_count, bodies])
    joints = rng.normal(size=(bodies, frame_count, 4, 3)).astype(np.float32)
    present = rng.random((bodies, frame_count, 4)) >= absent_share
    present[0, 0] = True
    return SkeletonSequence(
        joints=np.where(present[..., None], joints, 0).astype(np.float32),
        present=present,
        fps=30.0,
        skeleton=SMALL,
        record=Record(id=f"clip{seed:03d}", label=label, attributes=attributes),
    )


def ramp(frame_count: int) -> SkeletonSequence:
    """Return a clip in which every coordinate of frame t is t, plus the joint's number."""
    joints = np.zeros((1, frame_count, 4, 3), np.float32)
    joints += np.arange(frame_count, dtype=np.float32)[None, :, None, None]
    joints += np.arange(4, dtype=np.float32)[None, None, :, None]
    return SkeletonSequence(
        joints, np.ones((1, frame_count, 4), np.bool_), 30.0, SMALL, Record(id=f"ramp{frame_count}")
    )


def flat(sequences: list[SkeletonSequence], alignment: str = "none") -> FlatFrames:
    return flat_from_sequences(sequences, InputConfig(alignment=alignment), "cpu")  # type: ignore[arg-type]


def every(frames: FlatFrames) -> torch.Tensor:
    return torch.arange(len(frames))


def make_store(folder: Path, clip_count: int = 23) -> Store:
    """Write clips of 1 to 40 frames, every third with a second body, some joints absent."""
    sequences = [
        make_sequence(
            frame_count=1 + (7 * clip) % 40,
            bodies=2 if clip % 3 == 0 else 1,
            seed=clip,
            label=clip % 4,
            absent_share=0.1,
            view=1 + clip % 3,
            subject=1 + clip % 5,
        )
        for clip in range(clip_count)
    ]
    splits = {
        "xview": Split(
            train=lambda record: record.attributes["view"] in (1, 2), test=lambda record: record.attributes["view"] == 3
        )
    }
    folds = {"by_subject": "leave-one-out:subject", "thirds": "k-fold:3"}
    return write_store(
        folder / "store", sequences, source="made", classes=("a", "b", "c", "d"), splits=splits, folds=folds
    )
