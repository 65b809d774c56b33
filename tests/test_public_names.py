"""The public interface: one list, sorted, importable, documented, and light to import."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import marrow

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "code-layout.md"


def test_the_list_is_sorted_and_complete() -> None:
    assert marrow.__all__ == sorted(marrow.__all__)
    assert set(marrow.__all__) == set(marrow._HOME_OF)


@pytest.mark.parametrize("name", marrow.__all__)
def test_each_name_can_be_imported(name: str) -> None:
    assert getattr(marrow, name).__name__ == name


def test_the_documentation_names_exactly_these() -> None:
    section = PAGE.read_text(encoding="utf-8").split("## Public names")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    documented = [name.strip("` ") for row in rows for name in row.split("|")[1].split(",")]
    assert sorted(documented) == marrow.__all__


def test_what_is_imported_is_declared() -> None:
    """No module may lean on a package that only comes along with another one."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = [
        name
        for extra, names in settings["project"]["optional-dependencies"].items()
        if extra != "dev"
        for name in names
    ]
    packages = [*settings["project"]["dependencies"], *extras]
    declared = {re.split(r"[\[<>=]", name)[0].lower().replace("_", "-") for name in packages}
    imported = set[str]()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.partition(".")[0] for name in names}
    distributions = packages_distributions()
    # What an extra brings need not be here: then its package is called as the module is.
    homes = {name: distributions.get(name, [name]) for name in imported - {"marrow", *sys.stdlib_module_names}}
    lent = [name for name, home in homes.items() if not {each.lower().replace("_", "-") for each in home} & declared]
    assert lent == []


def test_nothing_but_the_hub_talks_to_a_network() -> None:
    """As SECURITY.md promises: nothing listens, sends or fetches, but `marrow.use.hub` when it is asked to."""
    talking = {"aiohttp", "ftplib", "http", "httpx", "huggingface_hub", "requests", "socket", "socketserver", "urllib"}
    found = set[tuple[str, str]]()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {(file.name, name.partition(".")[0]) for name in names}
    # The run directory asks for the name of the machine, to say who trains there.
    expected = {("hub.py", "huggingface_hub"), ("run_directory.py", "socket")}
    assert {pair for pair in found if pair[1] in talking} == expected


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = marrow.nothing  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import marrow", {"numpy", "torch", "jsonargparse"}),
        ("from marrow import Store, get_reader, prepare", {"torch", "sklearn", "lightning_fabric"}),
        ("import marrow.runtime", {"torch", "onnxruntime", "scipy", "numba"}),
    ],
)
def test_imports_are_light(code: str, absent: set[str]) -> None:
    check = f"{code}; import sys; sys.exit(', '.join(sorted({absent!r} & set(sys.modules))) or 0)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_functions_are_not_hidden_by_modules_of_the_same_name() -> None:
    # `from marrow.pretraining import ...` makes Python set the attribute `marrow.pretrain`.
    code = "import importlib, marrow; [importlib.import_module(home) for home in marrow._HOMES]; " + "; ".join(
        f"assert callable(marrow.{name})" for name in ("prepare", "pretrain", "evaluate", "finetune")
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
