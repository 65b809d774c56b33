"""The documentation is true: its Python runs, its commands parse, its links lead somewhere."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import yaml

import marrow
from marrow.cli.main import COMMANDS, parse_command

ROOT = Path(__file__).parents[1]
BESIDE = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")]
PAGES = [*BESIDE, *sorted((ROOT / "docs").rglob("*.md"))]


def _blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Return the fenced blocks of a language, each with the line it begins on."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in found]


def _commands(page: Path) -> list[str]:
    lines = "\n".join(block for _, block in _blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("marrow ")]


def _ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page, "python")], ids=_ids)
def test_python_blocks_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Each page has a folder of its own, in which there is a recording."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "tests" / "readers")
    Path("walk.bvh").write_text(importlib.import_module("bodies").bvh(), encoding="utf-8")
    names: dict[str, object] = {"__name__": "documentation"}
    for line, block in _blocks(page, "python"):
        # Blank lines in front, so that a traceback shows the line of the page.
        exec(compile("\n" * (line - 1) + block, str(page), "exec"), names)


@pytest.mark.parametrize("page", [page for page in PAGES if _commands(page)], ids=_ids)
def test_commands_parse(page: Path) -> None:
    for command in _commands(page):
        _, name, *arguments = shlex.split(command, comments=True)
        assert name in COMMANDS or name.startswith("-"), command
        if name in COMMANDS and "--help" not in arguments:
            parse_command(name, arguments)


@pytest.mark.parametrize("page", PAGES, ids=_ids)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


def test_the_figures_of_the_front_page_are_those_of_its_sources() -> None:
    """Bold ones: those of the encoder that comes with marrow, and of speed. They are measured anew there, not here."""
    figures = re.findall(r"\*\*(\d+\.\d+)\*\*", (ROOT / "README.md").read_text(encoding="utf-8"))
    sources = "".join((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("general", "performance"))
    assert len(figures) >= 5
    assert [figure for figure in figures if not re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.])", sources)] == []


def test_every_page_is_listed() -> None:
    """In docs/README.md, and in the navigation of the site, which finds walks by itself."""
    pages = {page.name for page in (ROOT / "docs").glob("*.md") if not page.name.startswith("walk-")} - {"README.md"}
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs" / "README.md").read_text(encoding="utf-8"))
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    assert pages - set(listed) == set()
    assert pages - set(re.findall(r"[\w-]+\.md", navigation)) == set()


def test_this_version_is_the_one_to_cite_and_the_newest_of_the_changes() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    bibtex = (ROOT / "docs" / "citing.md").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert citation["version"] == marrow.__version__
    assert f"version = {{{marrow.__version__}}}" in bibtex
    assert re.findall(r"^## \[([\d.]+)\]", changes, re.M)[0] == marrow.__version__


def test_the_example_method_is_the_one_that_is_explained() -> None:
    example = (ROOT / "docs" / "example-method" / "hidden_frames.py").read_text(encoding="utf-8")
    assert f"```python\n{example}```\n" in (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
    assert len(example.splitlines()) < 80
