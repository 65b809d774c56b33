"""`marrow predict` as a person uses it: a model and files in, answers out; and what goes wrong."""

import csv
import json
import math
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from marrow.cli.main import main, parse_command
from marrow.data.window import InputConfig
from marrow.models.export import save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.readers.base import Split
from marrow.skeleton.body import BODY
from marrow.skeleton.layout import KINECT_V2_25
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store

# Joints of a standing person in millimetres, y up, left at +x.
_STANDING = {
    "HipLeft": (90, 900, 0), "HipRight": (-90, 900, 0), "KneeLeft": (90, 480, 20), "KneeRight": (-90, 480, 20),
    "AnkleLeft": (90, 80, 0), "AnkleRight": (-90, 80, 0), "ShoulderLeft": (180, 1400, 0),
    "ShoulderRight": (-180, 1400, 0), "WristLeft": (250, 1000, 0), "WristRight": (-250, 1000, 0), "Head": (0, 1650, 0),
}  # fmt: skip


def recording(path: Path, action: str, number: int = 0, frames: int = 30) -> Path:
    """Write a table of somebody who waves the left hand, or steps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [",".join(["time", *(f"{joint}_{axis}" for joint in _STANDING for axis in "xyz")])]
    for frame in range(frames):
        swing = (300 + 10 * number) * math.sin(0.5 * frame + 0.2 * number)
        row = [f"{frame / 30:.4f}"]
        for joint, (x, y, z) in _STANDING.items():
            up = swing if joint == "WristLeft" and action == "wave" else 0.0
            forward = swing if joint.startswith(("Knee", "Ankle")) and action == "step" else 0.0
            row += [f"{x + number:.1f}", f"{y + up:.1f}", f"{z + (-forward if 'Left' in joint else forward):.1f}"]
        rows.append(",".join(row))
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    for action in ("wave", "step"):
        for number in range(6):
            recording(tmp_path / "examples" / action / f"{action}_{number}.csv", action, number)
    return tmp_path / "examples"


def _encoder(folder: Path, skeleton=BODY) -> Path:
    config = PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4)
    encoder = PatchTransformer(config, InputConfig(window_frames=16, alignment="body"), skeleton).fresh(3)
    save_encoder(encoder, folder / "encoder", {"method": "none", "steps": 1})
    return folder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return _encoder(tmp_path / "encoder_run")


def predict(*arguments: object) -> int:
    return main(["predict", *map(str, arguments), "--device", "cpu"])


def test_a_few_examples_name_what_is_in_other_files(encoder, examples, tmp_path, capsys) -> None:
    recording(tmp_path / "new" / "a.csv", "wave", 9)
    recording(tmp_path / "new" / "b.csv", "step", 9)
    out = tmp_path / "out.jsonl"
    assert predict(encoder, tmp_path / "new", "--examples", examples, "--json", out) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["recording"] for line in lines] == ["a", "b"]
    assert [line["classes"][0]["name"] for line in lines] == ["wave", "step"]
    first = lines[0]
    assert first["file"] == str(tmp_path / "new" / "a.csv")
    assert (first["person"], first["start_seconds"], first["end_seconds"]) == (None, 0.0, 1.0)
    assert sum(entry["probability"] for entry in first["classes"]) == pytest.approx(1.0, abs=1e-5)
    assert set(first) == {
        *(
            "file",
            "raw_file",
            "recording",
            "person",
            "start_seconds",
            "end_seconds",
            "answer",
            "classes",
            "distance",
            "unknown",
            "example",
        )
    }
    said = capsys.readouterr()
    assert f"{out}: 2 answers" in said.out
    assert "12 held-out clips" in said.err


def test_what_is_an_example_itself_is_marked_wherever_it_lies(encoder, examples, tmp_path, capsys) -> None:
    """Asked about: a copy of an example under another name, a row of a store that was one, and a new recording."""
    (tmp_path / "new").mkdir()
    shutil.copy(examples / "wave" / "wave_2.csv", tmp_path / "new" / "copied.csv")
    recording(tmp_path / "new" / "recorded.csv", "wave", 9)
    assert main(["import", str(tmp_path / "new"), "--out", str(tmp_path / "store"), "--jobs", "1"]) == 0
    answers, table = tmp_path / "out.jsonl", tmp_path / "out.csv"
    for asked in (tmp_path / "new", tmp_path / "store"):
        for more in ((), ("--every", "0.5")):
            outputs = ("--json", answers, "--csv", table, "--overwrite")
            assert predict(encoder, asked, "--examples", examples, *outputs, *more) == 0
            said = [json.loads(line) for line in answers.read_text().splitlines()]
            parts = 2 if more else 1
            assert [(line["recording"], line["example"]) for line in said] == [
                *([("copied", True)] * parts + [("recorded", False)] * parts)
            ]
            names = ["copied.csv"] * parts + ["recorded.csv"] * parts
            assert [line["raw_file"] for line in said] == names
            with table.open(newline="") as opened:
                rows = list(csv.DictReader(opened))
            assert [row["example"] for row in rows] == ["True"] * parts + ["False"] * parts
            assert [row["raw_file"] for row in rows] == names
            assert "1 of the 2 recordings" in capsys.readouterr().err
    assert predict(encoder, examples / "wave", tmp_path / "new" / "recorded.csv", "--examples", examples) == 0
    marked = [line for line in capsys.readouterr().out.splitlines() if "example)" in line]
    assert len(marked) == 6
    assert not any("recorded" in line for line in marked)


def test_the_last_line_asks_again_with_everything_that_was_given(encoder, examples, tmp_path, capsys) -> None:
    file = recording(tmp_path / "a.csv", "wave")
    assert predict(encoder, file, "--examples", examples, "--every", "0.5", "--fps", "25") == 0
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert words[:3] == ["next:", "marrow", "predict"]
    again = parse_command("predict", words[3:])
    assert (again.model, again.paths, again.examples) == (str(encoder), [file], examples)
    assert (again.every, again.fps, again.csv, again.device) == (0.5, 25.0, Path("answers.csv"), "cpu")


def test_windows_as_a_table_and_as_csv(encoder, examples, tmp_path, capsys) -> None:
    file = recording(tmp_path / "long.csv", "wave", frames=105)
    assert predict(encoder, file, "--examples", examples, "--every", "1", "--top", "1") == 0
    assert "0.0 to 1.0" in capsys.readouterr().out
    out = tmp_path / "out.csv"
    assert predict(encoder, file, "--examples", examples, "--every", "1", "--top", "1", "--csv", out) == 0
    with out.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["start_seconds"], row["end_seconds"]) for row in rows] == [
        *(("0.0", "1.0"), ("1.0", "2.0"), ("2.0", "3.0"), ("3.0", "3.5"))
    ]
    assert "class_1" in rows[0]
    assert "class_2" not in rows[0]


def test_a_recording_far_longer_than_the_examples_is_asked_whole_with_a_hint(
    encoder, examples, tmp_path, caplog
) -> None:
    file = recording(tmp_path / "long.csv", "wave", frames=300)
    assert predict(encoder, file, "--examples", examples) == 0
    assert "--every 1 " in caplog.text
    caplog.clear()
    assert predict(encoder, file, "--examples", examples, "--every", "1") == 0
    assert "--every" not in caplog.text


def test_a_file_that_cannot_be_read_does_not_keep_the_others_from_it(encoder, examples, tmp_path, capsys) -> None:
    recording(tmp_path / "new" / "a.csv", "wave")
    bad = recording(tmp_path / "new" / "b.csv", "wave")
    bad.write_text(bad.read_text().replace("1400", "tall", 1))
    out = tmp_path / "out.jsonl"
    assert predict(encoder, tmp_path / "new", "--examples", examples, "--json", out) == 1
    assert len(out.read_text().splitlines()) == 1
    assert f"! {bad}:2" in capsys.readouterr().err


@pytest.fixture
def store(tmp_path: Path):
    """32 clips of two classes that swing along x or along y, by eight people; two of them test."""
    rng, time = np.random.default_rng(0), np.arange(10)[:, None, None]
    sequences = []
    for number in range(32):
        swing = np.eye(3)[number % 2] * np.sin(time + 0.1 * number)
        joints = (rng.normal(size=(1, 25, 3)) * 0.3 + swing)[None].astype(np.float32)
        record = Record(f"clip{number:02d}", label=number % 2, attributes={"subject": number // 4})
        sequences.append(SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), 30.0, KINECT_V2_25, record))
    halves = Split(lambda record: record.attributes["subject"] > 1, lambda record: record.attributes["subject"] < 2)
    return write_store(tmp_path / "store", sequences, source="test", classes=("left", "up"), splits={"xsub": halves})


def finetune(run: Path, store, out: Path, *more: str) -> int:
    words = ["finetune", str(run), "--store", str(store.path), "--protocol", "xsub", "--out", str(out), "--epochs", "3"]
    small = ["--batch_clips", "8", "--hidden_width", "8", "--schedule.warmup_epochs", "1", "--device", "cpu"]
    return main([*words, *small, "--precision", "fp32", *more])


def test_the_last_line_of_a_fine_tuning_is_a_command_that_works(store, tmp_path, capsys) -> None:
    run, out = _encoder(tmp_path / "run", KINECT_V2_25), tmp_path / "tuned"
    assert finetune(run, store, out) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"next: marrow predict {out} FILE_OR_FOLDER"
    kept = json.loads((out / "known.json").read_text())
    assert kept["held_out_clips"] == 8  # two of the six people who train: a quarter, rounded
    assert "2 of 6 people" in kept["chosen_on"]
    assert not (out / "held_out").exists()

    answers = tmp_path / "answers.jsonl"
    command = last.removeprefix("next: marrow ").replace("FILE_OR_FOLDER", str(store.path)).split()
    assert main([*command, "--json", str(answers), "--device", "cpu"]) == 0
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    assert len(lines) == len(store)
    assert all(line["answer"] in store.classes and line["unknown"] is None for line in lines), "8 held-out clips"
    # Given again, the command has nothing left to do, and says the same.
    assert finetune(run, store, out) == 0
    assert json.loads((out / "known.json").read_text()) == kept


def test_a_recogniser_without_what_it_knows_answers_and_says_so(store, tmp_path, capsys) -> None:
    run, out = _encoder(tmp_path / "run", KINECT_V2_25), tmp_path / "tuned"
    assert finetune(run, store, out, "--no_held_out") == 0
    answers = tmp_path / "answers.jsonl"
    assert predict(out, store.path, "--json", answers) == 0
    assert all(json.loads(line)["unknown"] is None for line in answers.read_text().splitlines())
    assert "not calibrated" in capsys.readouterr().err


def test_a_packed_recogniser_is_as_sure_and_has_no_features_of_recordings(store, tmp_path, capsys) -> None:
    run, out = _encoder(tmp_path / "run", KINECT_V2_25), tmp_path / "tuned"
    assert finetune(run, store, out) == 0
    for _ in range(2):  # the second one replaces the first
        assert main(["pack", str(out), "--out", str(tmp_path / "packed"), "--overwrite"]) == 0
    said = {}
    for model in (out, tmp_path / "packed"):
        answers = tmp_path / f"{model.name}.jsonl"
        assert predict(model, store.path, "--json", answers) == 0
        said[model.name] = [json.loads(line) for line in answers.read_text().splitlines()]
    assert "nothing is ever unknown" in capsys.readouterr().err
    for whole, packed in zip(said["tuned"], said["packed"], strict=True):
        assert packed["classes"] == whole["classes"]
        assert packed["unknown"] is None
    assert not (tmp_path / "packed" / "known.safetensors").exists()


def test_what_was_kept_and_is_damaged_is_named(store, tmp_path, capsys) -> None:
    run, out = _encoder(tmp_path / "run", KINECT_V2_25), tmp_path / "tuned"
    assert finetune(run, store, out) == 0
    (out / "known.safetensors").write_bytes(b"no")
    assert predict(out, store.path) == 1
    assert "known.safetensors" in capsys.readouterr().err


def test_what_cannot_be_done_is_said_in_one_sentence(encoder, examples, store, tmp_path, capsys) -> None:
    file = recording(tmp_path / "a.csv", "wave")
    kinect = _encoder(tmp_path / "kinect", KINECT_V2_25)
    (tmp_path / "old.csv").write_text("mine")
    unnamed = tmp_path / "unnamed.csv"
    text = file.read_text()
    for number, joint in enumerate(_STANDING):
        text = text.replace(f"{joint}_", f"m{number}_")
    unnamed.write_text(text)
    with_examples = ("--examples", examples)
    for arguments, message in (
        ((encoder, file), "--examples"),
        ((tmp_path / "nothing", file), "nothing"),
        (("general2", file, *with_examples), "'general'"),
        ((encoder, tmp_path / "nowhere.csv", *with_examples), "nowhere.csv"),
        ((encoder, file, "--examples", tmp_path / "none"), "one folder per class"),
        ((encoder, file, *with_examples, "--every", "0.01"), "two frames"),
        ((encoder, file, *with_examples, "--every", "-1"), "must be positive"),
        ((encoder, file, *with_examples, "--top", "0"), "must be positive"),
        ((encoder, file, *with_examples, "--csv", tmp_path / "old.csv"), "--overwrite"),
        ((encoder, file, *with_examples, "--json", tmp_path), "is a folder"),
        ((encoder, file, *with_examples, "--eviry", "1"), "did you mean --every?"),
        ((kinect, file, *with_examples), "'kinect_v2_25' (25 joints)"),
        ((encoder, file, "--examples", examples / "wave"), "folder above"),
        ((encoder, unnamed, *with_examples), "--layout"),
    ):
        assert predict(*arguments) in (1, 2)
        error = capsys.readouterr().err
        assert message in error, arguments
        assert "Traceback" not in error
        assert "fault of marrow" not in error
    assert (tmp_path / "old.csv").read_text() == "mine"


def test_of_two_hundred_people_with_gaps_those_that_a_recording_may_hold_are_answered(
    encoder, examples, tmp_path
) -> None:
    rows = ["frame,person,joint,x,y,z"]
    for frame in range(6):
        for person in range(200):
            for joint, (x, y, z) in _STANDING.items():
                height = "nan" if frame == 3 and joint == "Head" else y + 10 * math.sin(frame + person)
                rows.append(f"{frame},{person},{joint},{x + 1000 * person},{height},{z}")
    (tmp_path / "crowd.csv").write_text("\n".join(rows) + "\n")
    out = tmp_path / "out.jsonl"
    assert predict(encoder, tmp_path / "crowd.csv", "--examples", examples, "--json", out, "--fps", "30") == 0
    people_asked = [json.loads(line)["person"] for line in out.read_text().splitlines()]
    assert people_asked == [None, *range(1, len(people_asked))]
    assert 1 < len(people_asked) < 200
