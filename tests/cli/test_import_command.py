"""`marrow import`, as a person uses it: on two small tables of a walking body."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from marrow.cli import import_recordings as command
from marrow.cli.arguments import parse
from marrow.cli.inspect import print_checks
from marrow.errors import ConfigError, DataError
from marrow.store import Store
from marrow.store.summary import summarise

# Joints of a standing person in millimetres, y up, left at +x.
_BODY = {
    "HipLeft": (90, 900, 0), "HipRight": (-90, 900, 0), "KneeLeft": (90, 480, 20), "KneeRight": (-90, 480, 20),
    "AnkleLeft": (90, 80, 0), "AnkleRight": (-90, 80, 0), "ShoulderLeft": (180, 1400, 0),
    "ShoulderRight": (-180, 1400, 0), "Head": (0, 1650, 0),
}  # fmt: skip


def walk(path: Path, frames: int = 12) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = ",".join(["time", *(f"{joint}_{axis}" for joint in _BODY for axis in "xyz")])
    rows = []
    for frame in range(frames):
        places = [
            f"{x + 5 * math.sin(frame + number):.1f},{y},{z + 30 * frame}"
            for number, (x, y, z) in enumerate(_BODY.values())
        ]
        rows.append(",".join([f"{frame / 30:.4f}", *places]))
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def run(*arguments: object) -> int:
    return command.run(parse(command.build_parser(), [str(argument) for argument in arguments]))


def test_a_folder_becomes_a_store_and_everything_is_said(tmp_path, capsys):
    for name in ("walk/a.csv", "run/b.csv"):
        walk(tmp_path / "in" / name)
    (tmp_path / "in/README.md").write_text("# words")
    everything = ("2 in 2 files", "README.md", "30 per second", "0.001 m", "run 1, walk 1", "--labels none")
    assert run(tmp_path / "in", "--dry_run") == 0
    said = " ".join(capsys.readouterr().out.split())
    for words in (*everything, "left hip"):
        assert words in said
    assert run(tmp_path / "in", "--out", tmp_path / "store", "--jobs", 1) == 0
    said = " ".join(capsys.readouterr().out.split())
    for words in everything:
        assert words in said
    assert "left hip" not in said  # a dry run shows which joint is which, and that is long
    store = Store.open(tmp_path / "store")
    assert (store.source, store.classes, store.fps.tolist()) == ("import", ("run", "walk"), [30.0, 30.0])
    assert store.options["unit_metres"] == 0.001
    head = store.skeleton.joints.index("Head")
    assert store.frames(0)[0][0, 0, head, 1] == pytest.approx(1.65, abs=1e-3)


def test_a_dry_run_writes_nothing_but_the_preview_it_was_asked_for(tmp_path, capsys):
    file = walk(tmp_path / "a.csv")
    assert run(file, "--dry_run", "--preview", tmp_path / "page.html") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "page.html"]
    page = (tmp_path / "page.html").read_text()
    assert "<svg" in page
    assert not re.search(r"(?:src|href)=", page)
    output = capsys.readouterr().out
    assert "preview: " in output
    assert "--out" in output.splitlines()[-1]


def test_a_file_beside_others_is_taken_alone(tmp_path):
    first, _ = walk(tmp_path / "in/a.csv"), walk(tmp_path / "in/b.csv")
    assert run(first, "--out", tmp_path / "store", "--jobs", 1) == 0
    assert Store.open(tmp_path / "store").ids == ("a",)


def test_what_cannot_be_read_stops_it_before_anything_is_written(tmp_path, capsys):
    walk(tmp_path / "in/a.csv")
    file = walk(tmp_path / "in/b.csv")
    file.write_text(file.read_text().replace("900", "tall", 1))
    with pytest.raises(DataError, match="--on_error drop"):
        run(tmp_path / "in", "--out", tmp_path / "store", "--jobs", 1)
    assert not (tmp_path / "store").exists()
    assert "b.csv:2" in "".join(capsys.readouterr().out.split())
    assert run(tmp_path / "in", "--out", tmp_path / "store", "--jobs", 1, "--on_error", "drop") == 0
    said = capsys.readouterr().out
    assert not re.search(r"^ +1  \S*b\.csv", said, re.MULTILINE)  # a reason stands for every file that has it
    assert [dropped.id for dropped in Store.open(tmp_path / "store").dropped] == ["b"]


def test_wrong_usage_is_explained(tmp_path):
    file = walk(tmp_path / "a.csv")
    with pytest.raises(ConfigError, match="--out"):
        run(file)
    with pytest.raises(DataError, match="there is no"):
        run(tmp_path / "nowhere", "--dry_run")
    with pytest.raises(ConfigError, match="Did you mean 'table'"):
        run(file, "--dry_run", "--format", "tabel")
    with pytest.raises(ConfigError, match="html"):
        run(file, "--dry_run", "--preview", tmp_path / "page.txt")


def test_an_interruption_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def interrupted(*_arguments, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("marrow.cli.prepare.convert_recordings", interrupted)
    assert run(walk(tmp_path / "a.csv"), "--out", tmp_path / "store") == 130
    assert "run the same command to go on" in capsys.readouterr().err


def test_what_was_dropped_is_not_forgotten_where_the_rest_looks_right(tmp_path, capsys):
    assert run(walk(tmp_path / "a.csv"), "--out", tmp_path / "store", "--jobs", 1) == 0
    whole = replace(summarise(Store.open(tmp_path / "store")), warnings=(), not_checked=())
    capsys.readouterr()
    print_checks(whole)
    assert "1 recording" not in capsys.readouterr().out
    print_checks(replace(whole, dropped={"nobody is seen": 2}))
    assert "in the 1 recording " in capsys.readouterr().out
