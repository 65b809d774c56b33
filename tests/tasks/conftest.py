"""A small store with known copies, and a tiny encoder exported as runs."""

import json

import numpy as np
import pytest

from marrow.data.window import InputConfig
from marrow.models.export import save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.readers.base import Split
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store

CLASSES, SUBJECTS, VIEWS = 3, 4, 2


def _moving(label, subject, rng):
    """Swing as many joints as the class says, at the person's own pace."""
    time = np.arange(12)[:, None, None]
    pose = np.random.default_rng(subject).normal(size=(1, 20, 3)) * 0.1 + np.linspace(0, 1.6, 20)[:, None]
    swing = np.zeros((1, 20, 3))
    swing[:, 5 * label : 5 * label + 5, 0] = 0.3
    joints = pose + swing * np.sin(0.7 * time + 0.2 * subject) + 0.01 * rng.normal(size=(12, 20, 3))
    return joints[None].astype(np.float32)


@pytest.fixture(scope="session")
def small_store(tmp_path_factory):
    """24 clips; view 0 trains, view 1 tests; the four test clips of class 2 are copies of training clips."""
    rng = np.random.default_rng(0)
    sequences = []
    for label in range(CLASSES):
        for subject in range(SUBJECTS):
            views = [_moving(label, subject, rng) for _ in range(VIEWS)]
            if label == 2:
                views[1] = views[0]
            for view, joints in enumerate(views):
                record = Record(
                    f"a{label}s{subject}v{view}", label=label, attributes={"subject": subject, "view": view}
                )
                present = np.ones(joints.shape[:3], dtype=np.bool_)
                sequences.append(SkeletonSequence(joints, present, 30.0, KINECT_V1_20, record))
    xview = Split(lambda record: record.attributes["view"] == 0, lambda record: record.attributes["view"] == 1)
    return write_store(
        tmp_path_factory.mktemp("small") / "store",
        sequences,
        source="test",
        classes=("nod", "wave", "kick"),
        splits={"xview": xview},
        folds={"loso": "leave-one-out:subject", "halves": "k-fold:2:subject"},
    )


@pytest.fixture
def small_encoder():
    config = PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4)
    return PatchTransformer(config, InputConfig(window_frames=8, test_crop=1.0), KINECT_V1_20).fresh(7)


@pytest.fixture
def small_runs(tmp_path, small_encoder, small_store):
    """Two runs that differ in their seed."""
    folders = []
    for seed in (3, 4):
        folder = tmp_path / f"run-s{seed}"
        provenance = {
            "method": "MAMP",
            "seed": seed,
            "store_fingerprint": small_store.fingerprint,
            "settings": {"protocol": "xview", "seed": seed},
        }
        save_encoder(small_encoder.fresh(100 + seed), folder / "encoder", provenance)
        lines = [
            {"step": step, "loss": 1.0 / step, "loss_of_mean": 1.0, "wall_seconds": step, "cpu_seconds": step}
            for step in (1, 2, 3)
        ]
        (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        folders.append(folder)
    return folders
