"""A method in a package of its own: installed beside marrow, checked, trained, and its encoder evaluated."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs" / "example-method"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the example is installed."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", folder / "source"], check=True)
    return {**os.environ, "PYTHONPATH": str(folder / "site"), "OMP_NUM_THREADS": "1"}


def _marrow(environment: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "marrow", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_its_own_tests_pass(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE)]
    done = subprocess.run(command, cwd=EXAMPLE, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.slow
def test_it_is_trained_and_evaluated_by_its_name(environment: dict[str, str], tmp_path: Path) -> None:
    made = _marrow(
        environment, tmp_path, "prepare", "synthetic", "--options.subjects", "3", "--options.repetitions", "1",
        "--out", "store",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    small = ["--encoder.width", "16", "--encoder.depth", "1", "--encoder.heads", "2", "--input.window_frames", "16"]
    (tmp_path / "mine.yaml").write_text("method: hidden_frames\nobjective:\n  hidden_ratio: 0.5\n")
    trained = _marrow(
        environment, tmp_path, "pretrain", "--recipe", "mine.yaml", "--store", "store", "--out", "run", *small,
        "--protocol", "xsub", "--batch_clips", "16", "--max_steps", "3", "--threads", "1",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    provenance = json.loads((tmp_path / "run" / "encoder" / "encoder.json").read_text())["provenance"]
    assert (provenance["method"], provenance["settings"]["objective"]) == ("HiddenFrames", {"hidden_ratio": 0.5})
    scored = _marrow(
        environment, tmp_path, "evaluate", "run", "--store", "store", "--protocol", "xsub", "--tasks", "knn", "--json"
    )
    assert scored.returncode == 0, scored.stderr
    assert {score["source"] for score in json.loads(scored.stdout)["scores"]} == {"trained", "random", "raw"}


@pytest.mark.slow
def test_its_options_are_helped_with(environment: dict[str, str], tmp_path: Path) -> None:
    shown = _marrow(environment, tmp_path, "pretrain", "--method", "hidden_frames", "--help")
    assert "--objective.hidden_ratio" in shown.stdout
    assert "--objective.tau" not in shown.stdout
    wrong = _marrow(environment, tmp_path, "pretrain", "--method", "hiden_frames", "--store", "s", "--out", "o")
    assert (wrong.returncode, "Did you mean 'hidden_frames'?" in wrong.stderr) == (2, True)
