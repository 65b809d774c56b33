"""The documentation site: built where its packages are (`make docs`), with all that is made for it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import marrow
from marrow.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_loads_anything_from_a_network(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\ssrc=[\"']?https?:|<link\b[^>]*(?:stylesheet|preconnect)[^>]*https?:"
    )
    for page in site.rglob("*.html"):
        assert not loads.search(page.read_text(encoding="utf-8")), page


def test_every_command_and_every_public_name_has_a_place(site: Path) -> None:
    assert {page.stem for page in (site / "commands").glob("*.html")} == {"index", *COMMANDS}
    pages = "".join(page.read_text(encoding="utf-8") for page in (site / "python").glob("*.html"))
    missing = [name for name in marrow.__all__ if f'id="{marrow._HOME_OF[name]}.{name}"' not in pages]
    assert missing == []
