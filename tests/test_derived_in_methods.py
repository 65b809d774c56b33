"""Every method on a layout with derived joints: it learns, and neither sees nor predicts what nobody measured."""

from pathlib import Path

import numpy as np
import pytest
import torch

from marrow import pretrain
from marrow.data.draws import Draws
from marrow.data.sampling import batch_from_sequences
from marrow.pretraining import load_objective
from marrow.skeleton.derived import measured, with_derived
from marrow.skeleton.estimators import COCO_17
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from test_methods import METHODS, config_of


def walks(count: int = 12) -> list[SkeletonSequence]:
    generator, sequences = np.random.default_rng(0), []
    for number in range(count):
        joints = np.cumsum(generator.normal(0, 0.02, (1, 32, 17, 3)), axis=1).astype(np.float32)
        # Hips and shoulders of a standing body, so that there is a trunk to align by.
        joints[:, :, [5, 6], 1] += 1.4
        joints[:, :, [11, 12], 1] += 0.9
        joints[:, :, [5, 11], 0] += 0.1
        joints[:, :, [6, 12], 0] -= 0.1
        present = np.ones(joints.shape[:3], np.bool_)
        sequences.append(with_derived(SkeletonSequence(joints, present, 30.0, COCO_17, Record(f"clip{number:02d}"))))
    return sequences


@pytest.mark.parametrize("method", METHODS)
def test_derived_joints_are_neither_seen_nor_predicted(method: str, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", walks(), source="walks")
    run = pretrain(config_of(method, store, tmp_path / "run", protocol=None, max_steps=2))
    assert np.isfinite(run.last["loss"])
    objective = load_objective(run.folder)
    batch = batch_from_sequences(walks(4), objective.encoder.input)
    draw = objective.sample(batch, Draws(0, 0, torch.arange(4)))
    picture = objective.explain(batch, draw)
    derived = ~measured(store.skeleton)
    assert derived.sum() == 2
    for flags in (picture.present, picture.visible, picture.hidden):
        assert not flags[..., derived].any()
    assert picture.hidden.any()
