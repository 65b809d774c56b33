"""The queue: with small programs in the place of marrow, and once for real."""

import json
import os
import signal
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import marrow
from marrow.cli.grid import settings_of
from marrow.cli.main import main
from marrow.grid import run as module
from marrow.grid.cells import Cell, Work, conflict, make_cells
from marrow.grid.plan import read_grid
from marrow.grid.run import run_cells
from marrow.readers.synthetic import Synthetic

# What stands in the place of `marrow`: it notes when it ran, and does as its first word says.
PROGRAM = """
    import os, signal, sys, time
    from pathlib import Path
    what, made, diary = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    def note(word):
        with diary.open("a") as file:
            file.write(f"{word} {made.name} {os.environ['OMP_NUM_THREADS']}\\n")
    note("begin")
    print("saying", what, flush=True)
    if what == "wait":
        while not stopped:
            time.sleep(0.01)
        note("saved")
        sys.exit(130)
    end = time.monotonic() + 60
    while what == "meet" and diary.read_text().count("begin") < 2 and time.monotonic() < end:
        time.sleep(0.01)
    if what == "fail":
        print("first line\\n\\nno such thing", file=sys.stderr)
        sys.exit(3)
    if what in ("make", "meet"):
        made.touch()
    note("end")
"""


@pytest.fixture
def make_cell(write_grid, cells_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make cells of such programs: `make_cell("name", "make", "fail")` has two commands."""
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    monkeypatch.setattr(module, "MARROW", (sys.executable, str(program)))
    [template] = cells_of(write_grid([{"name": "A"}]))

    def make(name: str, *kinds: str) -> Cell:
        made = [tmp_path / f"{name}{number}" for number in range(len(kinds))]
        diary = str(tmp_path / "diary")
        work = [Work((kind, str(path), diary), path.exists) for kind, path in zip(kinds, made, strict=True)]
        return Cell(template.row, 0, tmp_path / name / "seed0", template.config, tuple(work))

    return make


def diary(folder: Path) -> list[str]:
    return (folder / "diary").read_text().splitlines()


def test_commands_of_a_cell_follow_each_other_and_what_is_there_is_not_made_again(make_cell, tmp_path: Path) -> None:
    (tmp_path / "a0").touch()
    told = []
    outcomes = run_cells([make_cell("a", "make", "make", "make")], 2, 3, told.append)
    assert [outcome.status for outcome in outcomes] == ["finished"]
    assert told == outcomes
    assert diary(tmp_path) == ["begin a1 3", "end a1 3", "begin a2 3", "end a2 3"]
    assert "$ marrow make" in (tmp_path / "a" / "seed0.log").read_text()
    assert "saying make" in (tmp_path / "a" / "seed0.log").read_text()


@pytest.mark.parametrize(("jobs", "kind"), [(1, "make"), (2, "meet")])
def test_as_many_cells_run_side_by_side_as_jobs(make_cell, tmp_path: Path, jobs: int, kind: str) -> None:
    outcomes = run_cells([make_cell(name, kind) for name in "abcd"], jobs, 1)
    assert [outcome.status for outcome in outcomes] == ["finished"] * 4
    running = most = 0
    for line in diary(tmp_path):
        running += 1 if line.startswith("begin") else -1
        most = max(most, running)
    assert most == jobs
    if jobs == 1:
        assert [line.split()[1] for line in diary(tmp_path) if "begin" in line] == ["a0", "b0", "c0", "d0"]


def test_a_failure_shows_its_last_lines_and_the_others_go_on(make_cell, tmp_path: Path) -> None:
    cells = [make_cell("a", "fail", "make"), make_cell("b", "make"), make_cell("c", "nothing")]
    failed, made, nothing = sorted(run_cells(cells, 1, 1), key=lambda outcome: outcome.cell.folder)
    assert (failed.status, made.status, nothing.status) == ("failed", "finished", "failed")
    assert f"marrow fail ended with status 3; {tmp_path / 'a' / 'seed0.log'} ends with:" in failed.said
    assert failed.said.endswith("    saying fail\n    first line\n    no such thing")
    assert "marrow nothing left no result that counts" in nothing.said
    assert not (tmp_path / "a1").exists(), "what needs the failed command is not begun"


def test_a_line_that_cannot_be_said_stops_nothing(make_cell, caplog) -> None:
    def on_end(outcome) -> None:
        raise KeyError("step")

    outcomes = run_cells([make_cell("a", "make"), make_cell("b", "make")], 1, 1, on_end)
    assert [outcome.status for outcome in outcomes] == ["finished", "finished"]
    assert caplog.text.count("A, seed 0: finished (more could not be said of it: KeyError('step'))") == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_runs_save_and_begins_nothing_else(make_cell, tmp_path: Path, number: int) -> None:
    def stop_once_both_run() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and not (
            (tmp_path / "diary").exists() and len([line for line in diary(tmp_path) if "begin" in line]) == 2
        ):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop_once_both_run)
    thread.start()
    outcomes = run_cells([make_cell(name, "wait") for name in "abc"], 2, 1)
    thread.join()
    assert [outcome.status for outcome in outcomes] == ["interrupted", "interrupted"]
    assert sorted(line for line in diary(tmp_path) if "saved" in line) == ["saved a0 1", "saved b0 1"]
    assert not [line for line in diary(tmp_path) if "c0" in line]


GRID = """\
recipe: mamp_synthetic
protocol: xsub
tasks: knn
seeds: [0, 1]
budget: {max_steps: 3}
settings: {batch_clips: 8, encoder.width: 16, encoder.depth: 1, encoder.heads: 2, monitor.enabled: false}
rows:
  - name: Small
    baselines: true
"""


@pytest.mark.slow
def test_a_cell_for_real_then_skipped_then_refused(tmp_path: Path, monkeypatch, capfd, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    store = marrow.prepare(Synthetic(subjects=2, repetitions=1), ".", "store")
    Path("grid.yaml").write_text(GRID)
    command = ["grid", "grid.yaml", "--store", "store", "--out", "out"]

    assert main([*command, "--seeds", "0", "--json"]) == 0
    [table] = json.loads(capfd.readouterr().out)["tables"]
    assert [(row["name"], row["seeds"], list(row["scores"])) for row in table["rows"]] == [
        ("Small", [0], ["knn, pooled"]),
        ("random initialisation", [0], ["knn, pooled"]),
        ("raw coordinates", [], ["knn, pooled"]),
    ]
    assert (table["rows"][0]["steps"], table["rows"][0]["planned"]) == (3, [0, 1])
    log = Path("out/cells/small/seed0.log").read_text()
    assert [log.count(f"$ marrow {name}") for name in ("pretrain", "evaluate")] == [1, 1]

    # What is there is found again, and nothing is run.
    assert main([*command, "--seeds", "0"]) == 0
    assert Path("out/cells/small/seed0.log").read_text() == log
    assert "| Small | 0 (of 2) | 3 |" in Path("out/table.md").read_text()

    # Other settings: the run is left as it is.
    Path("grid.yaml").write_text(GRID.replace("encoder.width: 16", "encoder.width: 32"))
    before = {path: path.read_bytes() for path in Path("out/cells").rglob("*") if path.is_file()}
    assert main([*command, "--seeds", "0"]) == 1
    assert "encoder.width: 16 there, 32 here" in caplog.text
    assert "holds a run with other settings: Small (seed 0)" in capfd.readouterr().out
    assert {path: path.read_bytes() for path in Path("out/cells").rglob("*") if path.is_file()} == before

    # And as `marrow pretrain` itself sees it.
    [cell, _] = make_cells(read_grid(Path("grid.yaml")), store, Path("out"), 1, settings_of)
    assert conflict(cell, store) == "encoder.width: 16 there, 32 here"
    assert main(list(cell.work[0].words)) == 2
    assert "encoder.width: 16 there, 32 here" in capfd.readouterr().err
