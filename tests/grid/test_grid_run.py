"""The queue: with small programs in the place of marrow, and once for real."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import marrow
from marrow.cli.grid import _status, settings_of, task_settings_of
from marrow.cli.main import EXIT_INTERRUPTED, main
from marrow.files import lock_file
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
    own = f" {os.getpid()}" if what == "stay" else ""
    def note(word):
        with diary.open("a") as file:
            file.write(f"{word} {made.name} {os.environ['OMP_NUM_THREADS']}{own}\\n")
    note("begin")
    print("saying", what, flush=True)
    if what in ("wait", "stay"):
        while not stopped:
            time.sleep(0.01)
        note("saved")
        sys.exit(130)
    end = time.monotonic() + 600
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
        return Cell(template.row, 0, tmp_path / name / "seed0", template.config, template.scoring, tuple(work))

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
        end = time.monotonic() + 600
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


HOLD_RUN = """
import sys
from pathlib import Path
from marrow.train.run_directory import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
RUN_CELL = """
import sys
from marrow.grid import run as module
module.MARROW = (sys.executable, sys.argv[1])
from pathlib import Path
from types import SimpleNamespace
from marrow.grid.cells import Work
folder = Path(sys.argv[2])
work = Work(("stay", str(folder / "a0"), str(folder / "diary")), (folder / "a0").exists)
log = folder / "a" / "seed0.log"
module.run_cells([SimpleNamespace(folder=folder / "a" / "seed0", log=log, name="A", next_work=lambda: work)], 1, 1)
"""


def test_a_run_that_another_process_trains_is_not_touched(make_cell, tmp_path: Path) -> None:
    elsewhere, other = make_cell("a", "make"), make_cell("b", "make")
    command = [sys.executable, "-c", HOLD_RUN, str(elsewhere.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        outcomes = run_cells([elsewhere, other], 1, 1)
        assert [(outcome.cell, outcome.status) for outcome in outcomes] == [
            (other, "finished"),
            (elsewhere, "running elsewhere"),
        ]
        assert f"another process trains there (process {holder.pid} on " in outcomes[1].said
        assert _status(outcomes, 2, 0) == EXIT_INTERRUPTED
        assert diary(tmp_path) == ["begin b0 1", "end b0 1"]
        # Freed while others of the queue are at work: it is asked again, and begun.
        last = make_cell("c", "make")
        outcomes = run_cells([elsewhere, last], 1, 1, lambda _: holder.kill() or holder.wait())
        assert [(each.cell, each.status) for each in outcomes] == [(last, "finished"), (elsewhere, "finished")]


def test_what_a_killed_call_left_running_is_not_begun_again(make_cell, tmp_path: Path) -> None:
    cell = make_cell("a", "wait")
    command = [sys.executable, "-c", RUN_CELL, str(tmp_path / "program.py"), str(tmp_path)]
    with subprocess.Popen(command) as call:
        end = time.monotonic() + 600
        while time.monotonic() < end and not (tmp_path / "diary").exists():
            time.sleep(0.02)
        [said] = diary(tmp_path)
        call.kill()
    [outcome] = run_cells([cell], 1, 1)
    assert (outcome.status, outcome.said) == ("running elsewhere", f"another process writes into {cell.log}")
    assert diary(tmp_path) == [said], "the command was not begun a second time"
    os.kill(int(said.split()[3]), signal.SIGTERM)
    end = time.monotonic() + 600
    while time.monotonic() < end and len(diary(tmp_path)) < 2:
        time.sleep(0.02)
    with cell.log.open("ab") as log:
        assert lock_file(log, wait=True)
    (tmp_path / "a0").touch()
    assert [outcome.status for outcome in run_cells([cell], 1, 1)] == ["finished"]


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
    [cell, _] = make_cells(read_grid(Path("grid.yaml")), store, Path("out"), 1, settings_of, task_settings_of)
    assert conflict(cell, store) == "encoder.width: 16 there, 32 here"
    assert main(list(cell.work[0].words)) == 2
    assert "encoder.width: 16 there, 32 here" in capfd.readouterr().err
