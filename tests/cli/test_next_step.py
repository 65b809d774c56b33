"""The last line of a command is a command that works: followed from one to the next."""

import shlex
from pathlib import Path

import numpy as np
import pytest

from marrow.cli import import_recordings
from marrow.cli.arguments import parse
from marrow.cli.main import main, parse_command
from marrow.cli.next_step import protocol_for, same_command, say_what_a_store_is_for
from marrow.skeleton.layout import KINECT_V2_25, Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store


def test_every_last_line_leads_to_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> list[str]:
        """Run a command; return the one that its last line names, in words."""
        assert main([*words]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith("next: ")
        return shlex.split(last.removeprefix("next: marrow "))

    small = ["--encoder.width", "8", "--encoder.depth", "1", "--encoder.heads", "2", "--objective.decoder_width", "8"]
    small += ["--objective.decoder_heads", "2", "--batch_clips", "4", "--max_steps", "2"]
    inspect = run("prepare", "synthetic", "--out", "store", "--options.subjects", "2", "--jobs", "1")
    assert inspect == ["inspect", "store"]
    pretrain = run(*inspect)
    assert pretrain[0] == "pretrain"
    evaluate = run(*pretrain, *small)
    assert evaluate[0] == "evaluate"
    report = run(*evaluate, "--tasks", "knn", "--baselines", "none")
    assert report[0] == "report"
    page = run(*report, "--no_clips")
    assert (tmp_path / "report.html").is_file()
    assert str(tmp_path / "report.html") in page
    tune = run("evaluate", "general", "--store", "store", "--protocol", "xsub", "--tasks", "knn", "--baselines", "none")
    assert parse_command(tune[0], tune[1:]).run == Path("general")


def test_a_command_is_given_again_with_all_that_was_said() -> None:
    given = ["in", "more", "--pattern", "(?P<label>.*)", "--up=-y", "--joints", '["Hips", "My head"]', "--dry_run"]
    given += ["--sides", '{"a": "b"}', "--follow", "false", "--fps", "29.97", "--preview", "seen.html"]
    parser = import_recordings.build_parser()
    arguments = parse(parser, given)
    words = same_command(parser, arguments, without=("dry_run", "preview"), out=Path("stores/in"))
    assert words[0] == "import"
    again = parse(parser, words[1:])
    assert again.out == Path("stores/in")
    assert (again.dry_run, again.preview) == (False, None)
    for name in ("paths", "pattern", "up", "joints", "sides", "follow", "fps", "jobs", "on_error"):
        assert again[name] == arguments[name], name


def recordings(path: Path, labels: list[int], skeleton: Skeleton = KINECT_V2_25, people: int = 0):
    """Write a store of clips with these labels, by so many people in turn."""
    sequences = []
    for number, label in enumerate(labels):
        joints = np.random.default_rng(number).normal(size=(1, 4, len(skeleton.joints), 3)).astype(np.float32)
        record = Record(f"c{number}", label=label, attributes={"subject": number % people} if people else {})
        sequences.append(SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), 30.0, skeleton, record))
    return write_store(path, sequences, source="import", classes=("a", "b"))


@pytest.mark.parametrize(
    ("labels", "command"),
    [
        ([-1] * 6, "predict general mine --examples FOLDER"),
        ([0, 1] * 3, "predict general FILE_OR_FOLDER --examples mine"),
        ([0, 1] * 5, "evaluate general --store mine --protocol k-fold:5 --tasks linear_probe,few_shot"),
        ([0] * 6, "predict general mine --examples FOLDER"),
        ([0, 1] * 5 + [-1], "predict general mine --examples FOLDER"),
    ],
)
def test_what_comes_after_an_import_depends_on_the_labels(tmp_path, capsys, monkeypatch, labels, command) -> None:
    monkeypatch.chdir(tmp_path)
    say_what_a_store_is_for(recordings(tmp_path / "mine", labels), Path("mine"))
    assert capsys.readouterr().out.splitlines()[-1] == f"next: marrow {command}"


def test_what_the_shipped_encoder_cannot_read_is_learned_from(tmp_path, capsys) -> None:
    marks = Skeleton("marks", ("m0", "m1", "m2"), (0, 0, 1), (0, 1, 2), {})
    say_what_a_store_is_for(recordings(tmp_path / "mine", [-1] * 3, marks), tmp_path / "mine")
    assert capsys.readouterr().out.startswith("next: marrow pretrain --recipe own")


def test_folds_keep_people_apart_where_they_are_known(tmp_path) -> None:
    assert protocol_for(recordings(tmp_path / "five", [0, 1] * 5, people=5)) == "k-fold:5:subject"
    assert protocol_for(recordings(tmp_path / "four", [0, 1] * 5, people=4)) == "k-fold:5"
