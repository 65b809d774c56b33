"""`marrow finetune` as a person uses it: a run in, a recogniser out, resumed, compared, and misused."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from marrow.cli.main import main
from marrow.data.window import InputConfig
from marrow.models.export import save_encoder
from marrow.models.heads import Recogniser
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.readers.base import Split
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.recognition import finetune_training

QUICK = [
    "--epochs",
    "3",
    "--batch_clips",
    "8",
    "--hidden_width",
    "8",
    "--schedule.warmup_epochs",
    "1",
    "--device",
    "cpu",
    "--precision",
    "fp32",
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """16 clips of two classes that swing along x or along y; half of them test."""
    rng, time = np.random.default_rng(0), np.arange(10)[:, None, None]
    sequences = []
    for number in range(16):
        swing = np.eye(3)[number % 2] * np.sin(time + 0.1 * number)
        joints = (rng.normal(size=(1, 20, 3)) * 0.3 + swing)[None].astype(np.float32)
        record = Record(f"clip{number:02d}", label=number % 2, attributes={"half": number // 8})
        sequences.append(SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), 30.0, KINECT_V1_20, record))
    halves = Split(lambda record: record.attributes["half"] == 0, lambda record: record.attributes["half"] == 1)
    return write_store(tmp_path / "store", sequences, source="test", classes=("left", "up"), splits={"halves": halves})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished pre-training of 40 steps and 9 processor seconds, as far as it says."""
    encoder = PatchTransformer(
        PatchTransformerConfig(width=8, depth=2, heads=2), InputConfig(window_frames=8, test_crop=1.0), KINECT_V1_20
    ).fresh(5)
    provenance = {
        "method": "MAMP",
        "steps": 40,
        "seed": 5,
        "settings": {"protocol": None, "augment": {"crop_low": 0.9}},
    }
    save_encoder(encoder, tmp_path / "run" / "encoder", provenance)
    entry = {"step": 40, "cpu_seconds": 9.0, "wall_seconds": 10.0}
    (tmp_path / "run" / "log.jsonl").write_text(json.dumps(entry) + "\n")
    return tmp_path / "run"


def command(run: Path, store: Store, out: Path, *more: str) -> list[str]:
    return ["finetune", str(run), "--store", str(store.path), "--protocol", "halves", "--out", str(out), *QUICK, *more]


def test_a_recogniser_beside_scratch(
    run: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned"
    assert main(command(run, store, out, "--beside_scratch", "--seed", "2", "--drop_path", "0.1")) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "from pre-training" in shown
    assert "from scratch" in shown
    assert "after the 9 processor seconds of pre-training (40 steps)" in shown
    assert "Equal epochs, not equal total" in shown
    for folder, layer_decay in ((out, 0.8), (out / "scratch", 1.0)):
        report = Report.load(folder / "report.json")
        assert report.settings["layer_decay"] == layer_decay
        assert report.settings["drop_path"] == 0.1
        assert report.settings["augment"]["crop_low"] == 0.9  # the pre-training's
        assert report.seed == 2

    # What the report says of the test clips is what the recogniser says of them after loading.
    recogniser = Recogniser.load(out)
    probability = recogniser.predict([store.sequence(row) for row in range(8, 16)])
    predicted = Report.load(out / "report.json").predictions["top1_last"]
    assert probability.argmax(1).tolist() == predicted
    assert recogniser.classes == ("left", "up")
    assert json.loads((out / "head.json").read_text())["provenance"]["finetuning"]["epochs"] == 3
    assert yaml.safe_load((out / "config.yaml").read_text())["optimizer"]["learning_rate"] == 3e-4
    expected = {"checkpoints", "config.yaml", "encoder", "environment.json", "head.json", "head.safetensors"}
    expected |= {".lock", "log.jsonl", "plan.json", "predictions", "report.json", "scratch"}
    expected |= {"known.json", "known.safetensors"}
    assert {path.name for path in out.iterdir()} == expected

    # A fine-tuned encoder is an encoder: it can be evaluated, and says that labels were used.
    evaluating = ["evaluate", str(out), "--store", str(store.path), "--protocol", "halves", "--tasks", "knn", "--json"]
    assert main([*evaluating, "--baselines", "none", "--device", "cpu"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert notes == ["The encoder was fine-tuned with the labels of 8 clips before."]


def test_few_labels(run: Path, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "few"
    assert main(command(run, store, out, "--label_fraction", "0.5", "--max_steps", "1")) == 0
    assert Report.load(out / "report.json").num_labels_used == 4, "half of four in each of two classes"
    assert json.loads((out / "head.json").read_text())["provenance"]["num_labels_used"] == 4


def test_evaluate_takes_the_settings(
    run: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(run), "--store", str(store.path), "--protocol", "halves", "--device", "cpu"]
    tuned = [*words, "--precision", "fp32", "--tasks", "knn,finetune", "--baselines", "none"]
    given = ["--finetune.epochs", "2", "--finetune.schedule.warmup-epochs=0", "--finetune.augment.crop_low", "0.6"]
    assert main([*tuned, *given]) == 0
    evaluation = EvaluationReport.load(run / "reports" / "halves.json")
    knn, report = evaluation.reports
    assert (knn.task, report.task) == ("knn/pooled", "finetune")
    settings = report.settings
    assert (settings["epochs"], settings["schedule"]["warmup_epochs"], settings["augment"]["crop_low"]) == (2, 0, 0.6)
    assert report.asked["augment"]["crop_low"] == 0.6
    capsys.readouterr()
    for arguments, message in (
        ([*words, "--finetune.epochs", "20"], "settings of the task finetune, which is not among --tasks"),
        ([*tuned, "--finetune.epochs", "2"], "schedule.warmup_epochs must not exceed epochs, got 5 of 2"),
        ([*tuned, "--finetune.label_fracture", "2"], "did you mean --finetune.label_fraction?"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err


def test_equal_total_budget_trains_longer(run: Path, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "scratch"
    arguments = command(run, store, out, "--from_scratch", "--scratch_budget", "same_total", "--max_steps", "4")
    assert main(arguments) == 0
    report = Report.load(out / "report.json")
    settings = report.settings
    assert settings["epochs"] > 3
    assert settings["epochs"] == json.loads((out / "plan.json").read_text())["epochs"]
    assert "Equal total budget" in report.noted["note"]


def test_interrupted_goes_on_and_finished_does_nothing(
    run: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(run, store, tmp_path / "whole")) == 0
    call = finetune_training._Predictions.__call__

    def stops(self: finetune_training._Predictions, entry: dict) -> dict[str, float]:
        if entry["step"] == 1:
            os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C: the loop ends after the step that follows
        return call(self, entry)

    monkeypatch.setattr(finetune_training._Predictions, "__call__", stops)
    out = tmp_path / "pieces"
    assert main(command(run, store, out)) == 130
    assert "the same command goes on from here" in capsys.readouterr().out
    assert not (out / "report.json").exists()
    monkeypatch.undo()
    assert main(command(run, store, out)) == 0
    whole, pieces = (Report.load(folder / "report.json") for folder in (tmp_path / "whole", out))
    assert whole.predictions == pieces.predictions
    before = (out / "log.jsonl").read_text()
    assert main(command(run, store, out)) == 0
    assert (out / "log.jsonl").read_text() == before


def test_two_fine_tunings_in_one_folder_are_refused(
    run: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned"
    hold = (
        "import sys, pathlib, marrow.train.run_directory as lock\n"
        "with lock.run_lock(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", hold, str(out)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert main(command(run, store, out)) == 2
        assert f"another process trains there (process {holder.pid}" in capsys.readouterr().err
        assert not (out / "config.yaml").exists()
        holder.communicate()


def test_wrong_use_is_said(run: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "tuned"
    assert main(command(run, store, out, "--max_steps", "1")) == 0
    capsys.readouterr()
    for arguments, message in (
        (command(run, store, out, "--max_steps", "1", "--layer_decay", "0.7"), "layer_decay: 0.8 there, 0.7 here"),
        (command(run, store, run), "must be another folder than the run"),
        (command(tmp_path / "nothing", store, tmp_path / "o"), "holds no finished encoder"),
        (command(run, store, tmp_path / "o", "--protocol", "thirds"), "thirds"),
        (command(run, store, tmp_path / "o", "--protocol", "leave-one-out:half"), "a recogniser is of one fold"),
        (command(run, store, tmp_path / "o", "--from_scratch", "--beside_scratch"), "choose one of them"),
        (command(run, store, tmp_path / "o", "--layer-decai", "0.7"), "did you mean --layer_decay?"),
        (command(run, store, tmp_path / "o", "--dropout", "1"), "dropout must lie in [0, 1)"),
        (command(run, store, tmp_path / "o", "--max_steps", "0"), "--max_steps must be positive"),
    ):
        assert main(arguments) in (1, 2)
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error
        assert "fault of marrow" not in error
