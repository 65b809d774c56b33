"""The demo in its smallest size: killed in the middle, taken up again, and exactly the files that it promises."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a demo that was killed once while preparing or training, and what the second start printed."""
    out = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, "-m", "marrow", "demo", "--quick", "--out", str(out)]
    environment = {**os.environ, "COLUMNS": "140"}
    # A group of its own, so that the processes that it started die with it.
    first = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    # Any moment will do; this one is soon after the first steps, before the run is finished.
    while first.poll() is None and not (out / "run" / "config.yaml").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not (out / "report.html").exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


@pytest.mark.slow
def test_it_shows_the_report_and_the_main_numbers(demo: tuple[Path, str]) -> None:
    out, shown = demo
    assert f"report: {(out / 'report.html').resolve()}" in shown
    for word in ("trained", "random", "raw", "knn/pooled", "linear_probe/pooled", "predicting the mean"):
        assert word in shown


@pytest.mark.slow
def test_it_writes_exactly_these_files(demo: tuple[Path, str]) -> None:
    out, _ = demo
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    plain = {
        re.sub(r"events\.out\.tfevents\.\S+", "events", re.sub(r"shards/\d+/", "shards/N/", name)) for name in found
    }
    assert plain == {
        "report.html",
        "run/.lock",
        "run/checkpoints/step-00000020.json",
        "run/checkpoints/step-00000020.pt",
        "run/config.yaml",
        "run/encoder/encoder.json",
        "run/encoder/encoder.safetensors",
        "run/environment.json",
        "run/log.jsonl",
        "run/reports/xsub.json",
        "run/result.json",
        "run/tensorboard/events",
        "store/dropped.parquet",
        "store/index.parquet",
        "store/plan.json",
        "store/shards/N/joints.npy",
        "store/shards/N/part.json.gz",
        "store/shards/N/present.npy",
        "store/store.json",
    }


@pytest.mark.slow
def test_all_steps_are_in_the_log_once(demo: tuple[Path, str]) -> None:
    out, _ = demo
    steps = [json.loads(line)["step"] for line in (out / "run" / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert steps[-1] == 20


@pytest.mark.slow
def test_the_page_needs_nothing_from_elsewhere(demo: tuple[Path, str]) -> None:
    page = (demo[0] / "report.html").read_text(encoding="utf-8")
    assert "<html" in page
    assert not re.search(r"""(?:src|href)=["']https?://""", page)
