"""The wheel works where there is no checkout: it holds the code, the recipes and the marker of its types."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but marrow in it, installed from its wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, so that building leaves nothing in the checkout.
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "source" / "src", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, folder / "source"], check=True)
    [wheel] = folder.glob("marrow-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert not [name for name in names if not name.startswith(("marrow/", "marrow-"))]
    return folder / "site"


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["pretrain", "--recipe", "mamp_nw_ucla", "--print_config"]]
)
def test_the_command_runs_from_the_wheel(installed: Path, tmp_path: Path, arguments: list[str]) -> None:
    # -P and another working directory: the checkout is not on the path; PYTHONPATH comes before its editable install.
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    where = [sys.executable, "-P", "-c", "import marrow; print(marrow.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(installed))
    command = [sys.executable, "-P", "-m", "marrow", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.slow
def test_types_and_recipes_are_in_it(installed: Path) -> None:
    assert (installed / "marrow" / "py.typed").is_file()
    shipped = {path.name for path in (installed / "marrow" / "recipes").glob("*.yaml")}
    assert shipped == {path.name for path in (ROOT / "src" / "marrow" / "recipes").glob("*.yaml")}
    assert shipped


@pytest.mark.slow
def test_the_encoder_that_comes_with_marrow_is_in_it(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    code = "import marrow; print(marrow.load_encoder('general').skeleton.name)"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "body"), done.stderr
