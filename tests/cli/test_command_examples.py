"""Every command's help ends with an example that parses and says what it takes."""

import importlib
import shlex

import pytest

from marrow.cli.examples import EXAMPLES, Example
from marrow.cli.main import COMMANDS, parse_command


def test_every_command_has_an_example() -> None:
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_parses_and_stands_in_the_help(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    example = EXAMPLES[command]
    program, name, *arguments = shlex.split(example.line)
    assert (program, name) == ("marrow", command)
    parse_command(command, arguments)
    assert example.seconds > 0
    assert example.mib > 0
    monkeypatch.setenv("COLUMNS", "60")  # folded, it could not be copied
    last = importlib.import_module(COMMANDS[command][0]).build_parser().format_help().splitlines()[-2:]
    assert example.cost in last[0]
    assert last[1].strip() == example.line


@pytest.mark.parametrize(
    ("seconds", "mib", "said"),
    [
        (0.3, 44, "under a second of one core and 0.1 GiB"),
        (14.9, 1024, "about 15 s of one core and 1.0 GiB"),
        (89, 512, "about 89 s of one core and 0.5 GiB"),
        (240, 2560, "about 4 min of one core and 2.5 GiB"),
    ],
)
def test_costs_are_rounded(seconds: float, mib: int, said: str) -> None:
    assert Example("marrow doctor", float(seconds), mib, "").cost == f"{said} of memory"
