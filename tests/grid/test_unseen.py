"""The protocol of an unseen set, on walks of two layouts."""

import json
from pathlib import Path

import numpy as np
import pytest

from marrow.cli.main import main
from marrow.data.pool import parse_choice
from marrow.errors import ConfigError
from marrow.grid.unseen import COLUMNS, held_out
from marrow.readers.base import Split
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store

SMALL = """
method: amr
protocol: null
objective:
  {target: joint, target_frames: 8, energy_windows: [4, 8], decoder_depth: 1, decoder_width: 16, decoder_heads: 2}
encoder: {width: 16, depth: 1, heads: 2, patch_frames: 4}
input: {window_frames: 16, alignment: body}
augment: {min_crop_frames: 4}
monitor: {enabled: false}
batch_clips: 4
epochs: 2
device: cpu
precision: fp32
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unseen")
    (folder / "small.yaml").write_text(SMALL)
    half = Split(lambda record: record.attributes["take"] < 8, lambda record: record.attributes["take"] >= 8)
    for name, layout in (("kinect", "kinect_v1_20"), ("coco", "coco_17")):
        skeleton, generator = get_skeleton(layout), np.random.default_rng(len(name))
        sequences = []
        for number in range(12):
            joints = generator.normal(0, 0.3, (1, 24, len(skeleton.joints), 3)).astype(np.float32)
            record = Record(f"{name}{number}", label=number % 2, attributes={"take": number})
            sequences.append(SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), 30.0, skeleton, record))
        write_store(folder / name, sequences, source="walks", classes=("a", "b"), splits={"half": half})
    return folder


@pytest.mark.slow
def test_one_command_gives_one_table_and_does_nothing_twice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        *("unseen", "--store", f"k={folder / 'kinect'}", "--store", f"c={folder / 'coco'}", "--on", "k"),
        *("--protocol", "half", "--out", str(folder / "out"), "--recipe", str(folder / "small.yaml")),
        *("--seconds", "0.1", "--seeds", "0,1", "--tasks", "knn,few_shot", "--device", "cpu"),
    ]
    assert main(words) == 0
    first = json.loads((folder / "out/unseen_k.json").read_text())
    assert (first["learned_from"], first["seeds"]) == (["c"], [0, 1])
    nearest = next(row for row in first["rows"] if row["task"].startswith("knn/pooled"))
    assert set(COLUMNS[:3]) <= nearest.keys()
    few = next(row for row in first["rows"] if row["task"].startswith("few_shot_logistic/5"))
    assert set(COLUMNS) <= few.keys(), "raw coordinates with the same labels stand beside"
    learned = json.loads((folder / "out/k_itself/seed1/encoder/encoder.json").read_text())["provenance"]
    assert learned["clips"] == 8, "the test half of the set itself was not learned from"
    shown = capsys.readouterr().out
    assert "the set itself" in shown
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("encoder.safetensors")}
    assert main(words) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("encoder.safetensors")}


@pytest.mark.parametrize(
    ("texts", "on", "problem"),
    [
        (["a=x", "b=y"], "c", "a, b"),
        (["a=x"], "a", "two stores"),
        (["a=x:half/train", "b=y"], "a", "--protocol"),
    ],
)
def test_what_cannot_be_kept_apart(texts: list[str], on: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        held_out([parse_choice(text) for text in texts], on)
