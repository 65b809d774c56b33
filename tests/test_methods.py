"""Every method from the store to a recogniser: trained, interrupted and resumed, in bf16, exported, fine-tuned."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marrow import InputConfig, load_encoder, pretrain
from marrow.data.augment import AugmentConfig
from marrow.data.subsets import protocol_rows
from marrow.errors import ConfigError
from marrow.models.frame_transformer import FrameTransformerConfig
from marrow.models.heads import Recogniser
from marrow.models.hierarchical_transformer import HierarchicalTransformerConfig
from marrow.models.patch_transformer import PatchTransformerConfig
from marrow.objectives import OBJECTIVES
from marrow.objectives.amr import AMRConfig
from marrow.objectives.mamp import MAMPConfig
from marrow.pretrain_config import PretrainConfig
from marrow.pretraining import load_objective
from marrow.readers.base import Split
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store
from marrow.tasks.recognition.finetune import finetune
from marrow.tasks.recognition.trainable import FinetuneConfig
from marrow.train.checkpoint import CheckpointConfig
from marrow.train.optim import ScheduleConfig

PATCHES = PatchTransformerConfig(width=16, depth=1, heads=2)
# Method: what is not its default, small. Lengths of the clips lie between 12 and 35 frames.
SMALL: dict[str, dict[str, Any]] = {
    "mamp": {"objective": MAMPConfig(decoder_depth=1, decoder_width=16, decoder_heads=2), "encoder": PATCHES},
    "amr": {
        "objective": AMRConfig(
            target_frames=8, energy_windows=(4,), decoder_depth=1, decoder_width=16, decoder_heads=2
        ),
        "encoder": PATCHES,
    },
    "hi_trs": {
        "encoder": HierarchicalTransformerConfig(widths=(8, 16, 24), depths=(1, 1, 1), heads=2, head_width=8),
        "input": InputConfig(window_frames=30, pace="recorded", test_crop=1.0),
        "augment": AugmentConfig(crop_low=1.0, rotation_radians=0.0, one_of_each=0.5),
    },
    "motion_transformer": {"encoder": FrameTransformerConfig(width=16, depth=1, heads=2)},
}
METHODS = sorted(OBJECTIVES)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """24 random walks of 12 to 35 frames, every third of two bodies, every other one of the first subject."""
    folder = tmp_path_factory.mktemp("data") / "walks"
    skeleton, generator, sequences = get_skeleton("kinect_v1_20"), np.random.default_rng(0), []
    for number in range(24):
        bodies = 2 if number % 3 == 0 else 1
        joints = np.cumsum(generator.normal(0, 0.02, (bodies, 12 + number, 20, 3)), axis=1).astype(np.float32)
        record = Record(f"clip{number:02d}", label=number % 2, attributes={"subject": 1 + number // 2 % 2})
        sequences.append(SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), 30.0, skeleton, record))
    split = Split(lambda record: record.attributes["subject"] == 1, lambda record: record.attributes["subject"] == 2)
    write_store(folder, sequences, source="walks", classes=("a", "b"), splits={"xsub": split})
    return Store.open(folder)


def config_of(method: str, store: Store, out: Path, **changes: Any) -> PretrainConfig:
    common = {"input": InputConfig(window_frames=16), "device": "cpu", "precision": "fp32", "log_every": 2}
    limits = {"epochs": 4, "batch_clips": 6, "max_steps": 6, "checkpoints": CheckpointConfig(every_steps=3)}
    about = {"store": store.path, "out": out, "protocol": "xsub", "method": method}
    return PretrainConfig(**{**common, **limits, **about, **SMALL[method], **changes})


def test_frames_at_their_own_pace_and_several_lengths(store: Store, tmp_path: Path) -> None:
    """A step in one piece or in clips of unequal length, each with windows of its own length, is the same step."""
    recorded = {"input": InputConfig(window_frames=40, pace="recorded"), "max_steps": 2}
    whole = pretrain(config_of("motion_transformer", store, tmp_path / "whole", **recorded))
    cut = pretrain(config_of("motion_transformer", store, tmp_path / "cut", micro_batches=3, **recorded))
    assert cut.last["loss"] == pytest.approx(whole.last["loss"], rel=1e-4)
    mean = replace(SMALL["motion_transformer"]["encoder"], readout="mean")
    run = pretrain(config_of("motion_transformer", store, tmp_path / "mean", encoder=mean, **recorded)).folder
    with pytest.raises(ConfigError, match="features of one length"):
        finetune(run, store, "xsub", tmp_path / "tuned", FinetuneConfig(epochs=5, batch_clips=6))


def test_every_method_is_here() -> None:
    assert sorted(SMALL) == METHODS


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_run_ends_as_if_it_never_had_been(
    method: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain(config_of(method, store, tmp_path / "whole"))
    home = sys.modules[pretrain.__module__]
    original: Callable[..., Any] = home.fit

    def interrupted(*arguments: Any, **named: Any) -> Any:
        def ctrl_c_at_step_2(entry: dict[str, Any]) -> dict[str, float]:
            if entry["step"] == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return {}

        return original(*arguments, **named | {"monitor": ctrl_c_at_step_2})

    with monkeypatch.context() as patch:
        patch.setattr(home, "fit", interrupted)
        assert not pretrain(config_of(method, store, tmp_path / "halves")).finished
    rest = pretrain(config_of(method, store, tmp_path / "halves"))
    assert rest.finished
    assert rest.last["loss"] == whole.last["loss"]
    first, second = (load_encoder(result.encoder).state_dict() for result in (whole, rest))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("method", METHODS)
def test_in_bf16_streamed_and_in_pieces(method: str, store: Store, tmp_path: Path) -> None:
    result = pretrain(
        config_of(method, store, tmp_path, precision="bf16", loader="streaming", workers=1, micro_batches=2)
    )
    assert result.finished
    assert np.isfinite(result.last["loss"])


@pytest.mark.parametrize("method", METHODS)
def test_what_is_exported_says_what_was_trained(method: str, store: Store, tmp_path: Path) -> None:
    result = pretrain(config_of(method, store, tmp_path))
    encoder, trained = load_encoder(result.encoder), load_objective(result.folder).encoder
    sequences = [store.sequence(row) for row in (0, 5, 23)]
    together = encoder.embed(sequences)
    assert together.shape == (3, encoder.dim)
    np.testing.assert_array_equal(together, trained.embed(sequences))
    for place, sequence in enumerate(sequences):
        np.testing.assert_allclose(encoder.embed([sequence])[0], together[place], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_it_is_fine_tuned_into_a_recogniser(method: str, store: Store, tmp_path: Path) -> None:
    run = pretrain(config_of(method, store, tmp_path / "run")).folder
    config = FinetuneConfig(epochs=2, batch_clips=6, hidden_width=16, schedule=ScheduleConfig(warmup_epochs=0.5))
    report = finetune(run, store, "xsub", tmp_path / "tuned", config).report
    assert report is not None
    assert report.num_labels_used == len(protocol_rows(store, "xsub")[0])
    probability = Recogniser.load(tmp_path / "tuned").predict([store.sequence(0), store.sequence(1)])
    np.testing.assert_allclose(probability.sum(1), 1.0, rtol=1e-5)
