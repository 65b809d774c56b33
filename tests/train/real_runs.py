"""Real runs of the command line, small enough for seconds: for tests that kill them, or start several at once."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SETTINGS = """
method: mamp
encoder: {width: 16, depth: 1, heads: 2, patch_frames: 8}
objective: {decoder_depth: 1, decoder_width: 16, decoder_heads: 2}
input: {window_frames: 16}
optimizer: {learning_rate: 0.001}
schedule: {warmup_epochs: 1.0}
epochs: 20
batch_clips: 8
log_every: 2
checkpoints: {every_steps: 3, keep_last: 2}
monitor: {enabled: false}
device: cpu
precision: fp32
threads: 1
"""
MARROW = [sys.executable, "-m", "marrow"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max_restarts=0"]


def make_store(folder: Path) -> Path:
    """Prepare synthetic recordings, some of them of two people, and write the recipe beside them."""
    store = folder / "store"
    options = ["--options.subjects", "2", "--options.repetitions", "1", "--jobs", "1"]
    run([*MARROW, "prepare", "synthetic", *options, "--out", str(store)])
    (folder / "small.yaml").write_text(SETTINGS)
    return store


def command(store: Path, out: Path, *more: str, processes: int = 1) -> list[str]:
    """Return the command line of a run; of several processes under torchrun."""
    launcher = MARROW if processes == 1 else [*TORCHRUN, f"--nproc_per_node={processes}", "-m", "marrow"]
    recipe = store.parent / "small.yaml"
    return [*launcher, "pretrain", "--recipe", str(recipe), "--store", str(store), "--out", str(out), *more]


def run(words: list[str], expect: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, env=_environment())
    assert expect is None or done.returncode == expect, done.stderr
    return done


def start(words: list[str]) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, so that all of it can be killed."""
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
        start_new_session=True,
    )


def children_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that a process has started."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in listed.read_text().split()] if process.poll() is None and listed.exists() else []


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process that was started here, and what it has started, with SIGKILL."""
    for each in [*children_of(process), process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    process.communicate()


def wait_for(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def entries(out: Path) -> list[dict[str, Any]]:
    """Return the log without what differs from run to run: times and memory."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not _is_incidental(name)} for line in lines]


def _is_incidental(name: str) -> bool:
    return "second" in name or name.endswith("_share_percent") or name == "peak_memory_mib"


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
