"""`marrow labels` writes what the tasks draw, and refuses what makes no sense."""

import numpy as np
import pytest

from marrow.cli.labels import build_parser, run
from marrow.data.label_draws import LabelLists, draw_labels
from marrow.errors import ConfigError
from marrow.readers.base import Split
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Twenty clips of two classes, of which the first twelve train."""
    sequences = [
        SkeletonSequence(
            np.full((1, 2, 20, 3), number, np.float32),
            np.ones((1, 2, 20), np.bool_),
            30.0,
            KINECT_V1_20,
            Record(f"clip{number:02d}", label=number % 2, attributes={"number": number}),
        )
        for number in range(20)
    ]
    half = Split(lambda record: record.attributes["number"] < 12, lambda record: record.attributes["number"] >= 12)
    folder = tmp_path_factory.mktemp("labels") / "store"
    return write_store(folder, sequences, source="test", classes=("a", "b"), splits={"half": half})


def _run(store, out, *options):
    return run(
        build_parser().parse_args(["--store", str(store.path), "--protocol", "half", "--out", str(out), *options])
    )


def test_it_writes_the_draws(store, tmp_path, capsys):
    out = tmp_path / "labels.json"
    assert _run(store, out, "--scheme", "uniform", "--fractions", "0.25,0.5", "--draws", "2", "--seed", "3") == 0
    lists = LabelLists.load(out)
    assert [(draw.amount, draw.seed, len(draw.names)) for draw in lists.draws] == [
        (0.25, 3, 3),
        (0.25, 4, 3),
        (0.5, 3, 6),
        (0.5, 4, 6),
    ]
    drawn = draw_labels(store, np.arange(12), "uniform", 0.5, 4)
    assert lists.draws[3].names == tuple(f"clip{row:02d}" for row in drawn)
    assert "25 %: 3 labels in each of 2 draws" in capsys.readouterr().out


def test_clips_per_class_and_a_file_that_is_there(store, tmp_path, capsys):
    out = tmp_path / "labels.json"
    assert _run(store, out, "--scheme", "per_class", "--shots", "1", "--draws", "1") == 0
    assert "1 per class: 2 labels in each of 1 draw\n" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--overwrite"):
        _run(store, out, "--draws", "1")
    assert _run(store, out, "--draws", "1", "--overwrite") == 0
    assert LabelLists.load(out).scheme == "stratified"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--shots", "1"), "--shots does not go with --scheme stratified"),
        (("--scheme", "per_class", "--fractions", "0.1"), "--fractions does not go with --scheme per_class"),
        (("--fractions", "a tenth"), "--fractions is a list of numbers separated by commas, got 'a tenth'"),
        (("--fractions", "10"), "a share of labels must lie in"),
        (("--draws", "0"), "expected --draws from 1"),
    ],
)
def test_what_makes_no_sense_is_refused(store, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        _run(store, tmp_path / "labels.json", *options)
    assert not list(tmp_path.iterdir())


def test_only_json_is_written(store, tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.json"):
        _run(store, tmp_path / "labels.txt")
