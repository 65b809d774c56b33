"""Runs that are killed with SIGKILL, at random moments, and started again until they are finished.

python tests/train/test_killed.py [kills]     for many more kills than the test takes the time for
"""

import random
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from real_runs import command, entries, kill, make_store, run, start, wait_for

from marrow.train.checkpoint import load_latest

STEPS = "40"


def _state(out: Path) -> dict:
    state = load_latest(out / "checkpoints")
    assert state is not None
    return state


def _assert_equal(one: object, other: object, where: str = "state") -> None:
    if isinstance(one, torch.Tensor):
        assert isinstance(other, torch.Tensor), where
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert isinstance(other, dict), where
        assert one.keys() == other.keys(), where
        for name, value in one.items():
            if "seconds" not in str(name):  # clocks
                _assert_equal(value, other[name], f"{where}.{name}")
    elif isinstance(one, list):
        assert isinstance(other, list), where
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            _assert_equal(left, right, f"{where}[{number}]")
    else:
        assert one == other, where


def kill_until_finished(store: Path, out: Path, kills: int, seconds: float, draw: random.Random) -> int:
    """Kill a run so many times (fewer, where it is finished before), then let it finish; return the number of kills."""
    done = 0
    while done < kills and not (out / "result.json").exists():
        process = start(command(store, out, "--max_steps", STEPS))
        if done:
            time.sleep(seconds * draw.uniform(0.1, 1.0))
        else:  # the first kill is certain, however fast or slow the machine has become
            wait_for(lambda begun=process: (out / "log.jsonl").exists() or begun.poll() is not None)
        done += process.poll() is None
        kill(process)
    run(command(store, out, "--max_steps", STEPS))
    return done


def assert_as_if_never_killed(out: Path, whole: Path) -> None:
    """Compare bit for bit: weights, optimizer, loader, every logged number but the times, the exported encoder."""
    _assert_equal(_state(out), _state(whole))
    assert entries(out) == entries(whole)
    weights = Path("encoder", "encoder.safetensors")
    assert (out / weights).read_bytes() == (whole / weights).read_bytes()
    assert not list(out.rglob("*.partial"))


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_moment_ends_as_if_it_never_had_been(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    begin = time.monotonic()
    run(command(store, tmp_path / "whole", "--max_steps", STEPS))
    seconds = time.monotonic() - begin
    kills = kill_until_finished(store, tmp_path / "killed", 3, seconds, random.Random(1))
    assert kills >= 1
    assert_as_if_never_killed(tmp_path / "killed", tmp_path / "whole")


def main(wanted: int) -> None:
    """Kill runs so many times, and say how it went."""
    with tempfile.TemporaryDirectory() as folder:
        store, whole = make_store(Path(folder)), Path(folder, "whole")
        begin = time.monotonic()
        run(command(store, whole, "--max_steps", STEPS))
        seconds, kills, runs = time.monotonic() - begin, 0, 0
        draw = random.Random(time.time())
        while kills < wanted:
            out = Path(folder, f"killed{runs}")
            kills += kill_until_finished(store, out, 10, seconds, draw)
            assert_as_if_never_killed(out, whole)
            runs += 1
            sys.stdout.write(f"{runs} runs, {kills} kills: all equal to the uninterrupted run\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
