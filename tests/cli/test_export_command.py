"""`marrow export` as a person uses it: a recogniser in, a file out, with what it is worth beside the model."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from marrow.cli.main import main
from marrow.data.window import InputConfig
from marrow.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from marrow.models.heads import JointsHead, Recogniser
from marrow.readers.base import Split
from marrow.runtime import load
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store
from marrow.use.examples import open_labeller
from marrow.use.known import Known
from marrow.use.unknown import Gallery


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    encoder = FrameTransformer(
        FrameTransformerConfig(width=8, depth=1, heads=2), InputConfig(window_frames=8), KINECT_V1_20
    )
    Recogniser(encoder.eval(), JointsHead(1, 8, 2, 8).eval(), ("left", "up")).save(tmp_path / "tuned", {})
    return tmp_path / "tuned"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Eight recordings, half of them test; of the test half, one has no label."""
    generator, sequences = np.random.default_rng(0), []
    for number in range(8):
        joints = generator.normal(size=(1, 9, 20, 3)).astype(np.float32)
        record = Record(f"{number}", label=-1 if number == 7 else number % 2, attributes={"half": number // 4})
        sequences.append(SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), 30.0, KINECT_V1_20, record))
    halves = Split(lambda record: record.attributes["half"] == 0, lambda record: record.attributes["half"] == 1)
    return write_store(tmp_path / "store", sequences, source="test", classes=("left", "up"), splits={"halves": halves})


@pytest.mark.slow
def test_a_recogniser_becomes_a_file(tmp_path: Path, tuned: Path, store: Store) -> None:
    out = tmp_path / "new" / "m.onnx"
    command = ["export", str(tuned), "--out", str(out), "--store", str(store.path), "--protocol", "halves"]
    done = subprocess.run([sys.executable, "-m", "marrow", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not calibrated" in done.stderr
    assert [path.name for path in out.parent.iterdir()] == ["m.onnx"]
    assert str(out) in done.stdout.splitlines()[-1], "the last line says what comes next"

    tested = [store.sequence(row) for row in (4, 5, 6)]
    probability = load(out).predict(tested)
    np.testing.assert_allclose(probability, Recogniser.load(tuned).predict(tested), atol=1e-4)
    top1 = 100 * float(np.mean(probability.argmax(1) == [0, 1, 0]))
    rows = [
        line.split() for line in done.stdout.splitlines() if line.lstrip().startswith(("torch, eager", "onnx, fp32"))
    ]
    assert [row[-1] for row in rows if row[-1] != str(out)] == [f"{top1:.1f}"] * 2


@pytest.mark.slow
def test_a_file_is_as_sure_as_predict_is(tmp_path: Path, tuned: Path, store: Store) -> None:
    """Both divide by the temperature that lies beside the recogniser, also once it is packed."""
    features = np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32)
    Known(Gallery.of(features, np.arange(9) % 2), 1.0, 0.3, 40, (9.0, 4.0), "a quarter", 3.0).save(tuned)
    assert main(["pack", str(tuned), "--out", str(tmp_path / "packed")]) == 0
    for model in (tuned, tmp_path / "packed"):
        answers, out = tmp_path / f"{model.name}.jsonl", tmp_path / f"{model.name}.onnx"
        assert main(["predict", str(model), str(store.path), "--json", str(answers), "--top", "2"]) == 0
        command = [sys.executable, "-m", "marrow", "export", str(model), "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "temperature 0.30" in done.stderr
        said = [json.loads(line)["classes"] for line in answers.read_text().splitlines()]
        expected = [
            [{entry["name"]: entry["probability"] for entry in of}[name] for name in ("left", "up")] for of in said
        ]
        file = load(out)
        np.testing.assert_allclose(file.predict([store.sequence(row) for row in range(8)]), expected, atol=1e-4)
        assert file.description.temperature == 0.3


@pytest.mark.slow
def test_a_few_examples_become_a_file(tmp_path: Path, tuned: Path, store: Store) -> None:
    """`export ENCODER --examples` answers as `predict ENCODER --examples`."""
    labelled = write_store(
        *(tmp_path / "few", [store.sequence(row) for row in range(7)]), source="test", classes=("left", "up")
    )
    model, out = tuned / "encoder", tmp_path / "few.onnx"
    options = ["--examples", str(labelled.path)]
    done = subprocess.run(
        [sys.executable, "-m", "marrow", "export", str(model), "--out", str(out), *options],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    sequences = [store.sequence(row) for row in range(8)]
    expected = [judgement.probability for judgement in open_labeller(str(model), labelled.path).judge(sequences)]
    np.testing.assert_allclose(load(out).predict(sequences), expected, atol=1e-4)
    assert np.ptp(expected, axis=0).min() > 1e-3, "the answers must differ for this to say anything"


def test_wrong_use_is_said(tmp_path: Path, tuned: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "m.onnx")]
    cases = [
        ([str(tmp_path / "none"), *out], 1, "none"),
        ([str(tuned), "--out", str(tmp_path / "m.tflite")], 2, ".onnx"),
        ([str(tuned), "--opset", "12", *out], 2, "from 18 to 22"),
        ([str(tuned), "--too", "onnx", *out], 2, "--to"),
        ([str(tuned), *out, "--store", str(store.path)], 2, "--protocol"),
        ([str(tuned), *out, "--store", str(store.path), "--protocol", "thirds"], 2, "halves"),
    ]
    for arguments, status, words in cases:
        assert main(["export", *arguments]) == status, arguments
        assert words in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()


def test_a_store_of_other_classes(tmp_path: Path, tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joints = np.ones((1, 9, 20, 3), np.float32)
    record = Record("a", label=0)
    sequence = SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), 30.0, KINECT_V1_20, record)
    other = write_store(tmp_path / "other", [sequence], source="test", classes=("jump",))
    command = ["export", str(tuned), "--out", str(tmp_path / "m.onnx"), "--store", str(other.path), "--protocol", "x"]
    assert main(command) == 2
    assert "jump" in capsys.readouterr().err
