"""Evaluation on a device: inner loops read nothing from it, and fixed shapes change no feature."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from marrow.data import sampling
from marrow.data.batch import Batch, FixedShapes
from marrow.data.frames import flat_frames
from marrow.data.sampling import batch_from_sequences, evaluation_batches, resident_batches
from marrow.data.window import InputConfig
from marrow.models.encoder import Encoder
from marrow.models.features import leave_one_out_percent, nearest_neighbours
from marrow.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from marrow.models.hierarchical_transformer import HierarchicalTransformer, HierarchicalTransformerConfig
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store
from marrow.tasks.features import encode_on, encoded_blocks
from marrow.tasks.recognition.retrieval import Rankings, RetrievalConfig
from marrow.train.device import make_fabric


@pytest.mark.slow
def test_inner_loops_read_nothing_and_copy_nothing(tmp_path: Path) -> None:
    """Pairs are copies to the device and back: of 44 clips in 6 batches, or in 2 and 5 epochs of 5 or 6 steps."""
    script = Path(__file__).with_name("on_device.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    noticed, of_neighbours = said.pop("noticed"), said.pop("neighbours")
    assert (noticed.pop("a copy there"), noticed.pop("a copy back")) == ([1, 0], [0, 1])
    assert len(noticed) == 7
    assert set(noticed.values()) == {"refused"}
    # Ranks and precisions; the order of the clips, and the answers.
    assert of_neighbours == {"nearest": [0, 0], "rankings": [0, 2], "means": [1, 1]}
    assert len(said) == 3
    for name, found in said.items():
        # The numbers of the clips go there once, and the two kinds of features come back once.
        extracted = {how: copies for how, copies in found.items() if how.startswith("extract")}
        assert len(extracted) == (2 if name == "mamp" else 3), name
        assert all(copies == [1, 2] for copies in extracted.values()), (name, extracted)
        assert (found["predictions"], found["monitor"]) == ([1, 1], [0, 1]), name
        for kind in ("cached", "augmented"):
            # Three more epochs are three more orders; predictions of the two heads come back at the end.
            few, many = found[f"{kind} probe, 2"], found[f"{kind} probe, 5"]
            assert (many[0] - few[0], few[1], many[1]) == (3, 2, 2), (name, kind)


def _encoders() -> dict[str, Encoder]:
    paces = {"resized": InputConfig(24), "recorded": InputConfig(24, pace="recorded", min_frames=8)}
    bones = InputConfig(24, stream="bone_motion")
    size = HierarchicalTransformerConfig((8, 16, 24), (1, 1, 1), heads=2, head_width=8, max_clips=4)
    encoders: dict[str, Encoder] = {}
    for name, input in {**paces, "bone motion": bones}.items():
        frame = FrameTransformerConfig(width=16, depth=1, heads=2)
        encoders[f"frames, {name}"] = FrameTransformer(frame, input, KINECT_V1_20)
        encoders[f"clips, {name}"] = HierarchicalTransformer(size, input, KINECT_V1_20)
        if input.pace == "resized":
            patch = PatchTransformerConfig(width=16, depth=1, heads=2)
            encoders[f"patches, {name}"] = PatchTransformer(patch, input, KINECT_V1_20)
    return {name: encoder.fresh(1).eval() for name, encoder in encoders.items()}


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """22 clips of one or two bodies and 14 to 30 frames, in some of which a joint is absent for a while."""
    generator, sequences = np.random.default_rng(0), []
    for number in range(22):
        joints = generator.normal(0, 0.02, (1 + (number % 3 == 0), 14 + number % 17, 20, 3)).cumsum(1)
        present = np.ones(joints.shape[:3], np.bool_)
        present[0, 4:11, number % 20] = number % 4 != 0
        record = Record(f"walk{number}", label=number % 2)
        sequences.append(SkeletonSequence(joints.astype(np.float32), present, 30.0, KINECT_V1_20, record))
    return write_store(tmp_path_factory.mktemp("walks") / "store", sequences, source="walks", classes=("a", "b"))


def test_fixed_shapes_change_no_feature(walks: Store) -> None:
    rows = np.arange(21)[::-1].copy()
    body_count, fabric = np.asarray(walks.body_count, np.int64)[rows], make_fabric("cpu", "fp32")[0]
    for name, encoder in _encoders().items():
        frames = flat_frames(walks, rows, encoder.input, "cpu")
        clips, found = np.arange(21), []
        for shapes in (None, FixedShapes(body_count, 8, frames.max_bodies, whole=False)):
            with torch.inference_mode():
                encode = encode_on(fabric, encoder, captured=False)
                [block] = encoded_blocks(encode, resident_batches(frames, clips, encoder.input, 8, shapes))
            found.append(block)
        for exact, fixed in zip(*found, strict=True):
            torch.testing.assert_close(fixed, exact, rtol=1e-5, atol=1e-6, msg=name)


def test_shapes_are_known_on_cuda_and_nowhere_else(walks: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    input, rows, sequences = InputConfig(24), np.arange(1, 22), [walks.sequence(row) for row in range(4)]
    frames = flat_frames(walks, rows, input, "cpu")
    for source in (walks, frames):
        assert all(batch.shapes is None for batch in evaluation_batches(source, rows, input, 8, "cpu"))
    assert batch_from_sequences(sequences, input, "cpu").shapes is None

    # There need be no such device: what would be copied there stays here.
    monkeypatch.setattr(
        sampling, "flat_frames", lambda store, rows, input, _, bodies: flat_frames(store, rows, input, "cpu", bodies)
    )
    monkeypatch.setattr(Batch, "to", lambda batch, _: batch)
    for source in (walks, frames):
        batches = list(evaluation_batches(source, rows, input, 8, "cuda:0"))
        assert [len(batch) for batch in batches] == [8, 8, 5]
        for batch in batches:
            assert batch.shapes is not None
            assert batch.present.flatten(2).any(2).sum() <= batch.shapes.bodies <= 16
            assert not batch.shapes.whole
        assert list(evaluation_batches(source, rows[:0], input, 8, "cuda")) == []
    whole = flat_frames(walks, np.array([0, 4, 8]), input, "cpu")  # of which every joint is present
    whole.present |= True
    [batch] = evaluation_batches(whole, np.array([0, 4, 8]), input, 8, "cuda")
    assert batch.shapes is not None
    assert batch.shapes.whole


def test_distances_are_in_fp32_under_autocast() -> None:
    features = torch.randn(200, 32, generator=torch.Generator().manual_seed(0)) + 3.0
    label = torch.arange(200) % 3

    def found() -> tuple[list[int], float, list[float]]:
        rankings = Rankings.scored(features[:50], label[:50], features[50:], label[50:], RetrievalConfig())
        nearest = nearest_neighbours(features[:50], features[50:])
        return nearest.tolist(), leave_one_out_percent(features, label), rankings.average_precision.tolist()

    expected = found()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert found() == expected
