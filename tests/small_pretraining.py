"""A store and a pre-training run that take seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from marrow.data.window import InputConfig
from marrow.models.export import load_encoder
from marrow.models.patch_transformer import PatchTransformerConfig
from marrow.objectives.mamp import MAMPConfig
from marrow.pretrain_config import PretrainConfig
from marrow.pretraining import PretrainResult
from marrow.readers.base import Split
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from marrow.train.checkpoint import CheckpointConfig


def make_walks(folder: Path) -> Path:
    """24 random walks of a Kinect skeleton, every other one of the first subject."""
    skeleton = get_skeleton("kinect_v2_25")
    generator = np.random.default_rng(0)
    sequences = []
    for number in range(24):
        joints = np.cumsum(generator.normal(0, 0.02, (1, 30 + number, 25, 3)), axis=1).astype(np.float32)
        record = Record(f"clip{number:02d}", label=number % 3, attributes={"subject": 1 + number % 2})
        sequences.append(SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), 30.0, skeleton, record))
    split = Split(lambda record: record.attributes["subject"] == 1, lambda record: record.attributes["subject"] == 2)
    write_store(folder, sequences, source="walks", classes=("a", "b", "c"), splits={"xsub": split})
    return folder


def small_config(store: Path, out: Path, **changes: Any) -> PretrainConfig:
    return PretrainConfig(
        **{
            "store": store,
            "out": out,
            "protocol": "xsub",
            "objective": MAMPConfig(decoder_depth=1, decoder_width=16, decoder_heads=2),
            "encoder": PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4),
            "input": InputConfig(window_frames=16),
            "checkpoints": CheckpointConfig(every_steps=3),
            "epochs": 4,
            "batch_clips": 6,
            "max_steps": 8,
            "device": "cpu",
            "precision": "fp32",
            "log_every": 2,
            **changes,
        }
    )


def weights(result: PretrainResult) -> dict[str, torch.Tensor]:
    return dict(load_encoder(result.encoder).state_dict())
