"""Parsing: names, files, and the messages when they are wrong."""

from argparse import ArgumentError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from jsonargparse import ArgumentParser

from marrow.cli.arguments import add_recipe_option, make_parser, parse, recipe_names, recipe_path
from marrow.errors import ConfigError


@dataclass(frozen=True)
class _Optim:
    lr: float = 1e-3
    kind: Literal["adamw", "sgd"] = "adamw"


@dataclass(frozen=True)
class _Settings:
    max_steps: int = 10
    optim: _Optim = field(default_factory=_Optim)


@pytest.fixture
def parser() -> ArgumentParser:
    parser = make_parser("marrow try", "Try.")
    add_recipe_option(parser)
    parser.add_class_arguments(_Settings)
    parser.add_argument("--store", type=str, required=True)
    return parser


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text("max_steps: 20\noptim:\n  lr: 0.5\nstore: from-file\n")
    return path


def test_command_line_wins_over_the_file(parser: ArgumentParser, recipe: Path) -> None:
    settings = parse(parser, ["--recipe", str(recipe), "--optim.lr", "0.25"])
    assert (settings.max_steps, settings.optim.lr, settings.store) == (20, 0.25, "from-file")


def test_print_config_shows_what_would_run(
    parser: ArgumentParser, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(parser, ["--recipe", str(recipe), "--max-steps", "7", "--print-config"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == "max_steps: 7\noptim:\n  lr: 0.5\n  kind: adamw\nstore: from-file\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--max-stepz", "5"], "did you mean --max_steps?"),
        (["--lr", "5"], "did you mean --optim.lr?"),
        (["--optim.lrr=5"], "did you mean --optim.lr?"),
        (["--max-steps", "5x"], "--max_steps: expected int, got '5x'"),
        (["--optim.kind", "adam"], "--optim.kind: expected one of adamw, sgd, got 'adam'"),
        (["extra"], "unrecognized arguments: extra"),
    ],
)
def test_wrong_options(parser: ArgumentParser, arguments: list[str], expected: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse(parser, ["--store", "s", *arguments])
    assert expected in str(caught.value)
    assert "`marrow try --help` lists the options" in str(caught.value)


def test_a_missing_option_is_named(parser: ArgumentParser) -> None:
    with pytest.raises(ArgumentError, match="missing: --store"):
        parse(parser, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optim:\n  lrr: 1\n", "did you mean --optim.lr?"),
        ("max_step: 1\n", "did you mean --max_steps?"),
        ("just words\n", "mine.yaml"),
        ("optim: [1, 2\n", "mine.yaml"),
    ],
)
def test_wrong_files(parser: ArgumentParser, recipe: Path, text: str, expected: str) -> None:
    recipe.write_text(text)
    with pytest.raises(ArgumentError) as caught:
        parse(parser, ["--recipe", str(recipe), "--store", "s"])
    assert expected in str(caught.value)


def test_a_recipe_that_is_not_there(parser: ArgumentParser) -> None:
    with pytest.raises(ConfigError, match="no recipe and no file is called 'nope'"):
        parse(parser, ["--recipe", "nope"])


def test_shipped_recipes_are_found_by_name() -> None:
    assert recipe_names()
    for name in recipe_names():
        assert recipe_path(name).is_file()
        assert recipe_path(f"{name}.yaml") == recipe_path(name)
