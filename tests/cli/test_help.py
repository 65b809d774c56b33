"""Every command explains itself, without a traceback and without torch."""

import importlib
import subprocess
import sys

import pytest

from marrow.cli.main import COMMANDS

# What a person has to find in the help of each command.
PROMISED = {
    "prepare": ("--out", "--jobs", "nw_ucla", "ntu", "synthetic"),
    "inspect": ("--json", "STORE"),
    "pretrain": (
        "--recipe",
        "--print_config",
        "--store",
        "--seed",
        "--device",
        "--precision",
        "--max_steps",
        "--max_minutes",
    ),
    "evaluate": (
        "--store",
        "--protocol",
        "--json",
        "--seed",
        "--device",
        "--precision",
        "--max_steps",
        "--max_minutes",
    ),
    "finetune": ("--store", "--protocol", "--seed"),
    "convert-weights": ("--out",),
    "report": ("--out", "--store", "--no_clips"),
    "compare": ("--out", "--json"),
    "embed": ("--store", "--reader", "--out", "--rows", "--pooling", "--overwrite", ".parquet", ".npy"),
    "doctor": ("--json", "--no_self_test"),
    "parity": ("mamp", "ntu"),
    "demo": ("--quick", "--out"),
}


def test_the_table_names_every_command() -> None:
    assert set(PROMISED) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command: str) -> None:
    done = subprocess.run([sys.executable, "-m", "marrow", command, "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: marrow {command}" in done.stdout
    missing = [word for word in PROMISED[command] if word not in done.stdout]
    assert not missing


@pytest.mark.parametrize("command", ["prepare", "inspect", "embed", "doctor"])
def test_data_commands_do_not_load_torch(command: str) -> None:
    code = (
        "import sys; from marrow.cli.main import COMMANDS; import importlib;"
        "importlib.import_module(COMMANDS[sys.argv[1]][0]).build_parser();"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_is_called_config(command: str) -> None:
    """`--config.lr 5` would be taken for a file to load, and the value lost without a word."""
    parser = importlib.import_module(COMMANDS[command][0]).build_parser()
    names = {part for action in parser._actions for part in action.dest.split(".")}
    assert "config" not in names


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["inspect", "no/such/store"], "no/such/store"),
        (["inspect"], "--help"),
        (["prepare", "nw_ucl", "somewhere", "--out", "store"], "Did you mean 'nw_ucla'?"),
        (["prepare", "nw_ucla", "no/such/folder", "--out", "store"], "no/such/folder"),
        (["prepare", "nw_ucla", "somewhere", "--outt", "store"], "did you mean --out?"),
        (["evaluate", "no/such/run", "--store", "no/such/store", "--protocol", "xsub"], "no/such"),
        (["evaluate", "run", "--store", "store", "--protocoll", "xsub"], "did you mean --protocol?"),
        (["evaluate", "run", "--store", "store", "--protocol", "xsub", "--seed", "one"], "expected int, got 'one'"),
        (["report", "no/such/run"], "no/such/run"),
        (["compare", "no/such/run"], "no/such/run"),
        (["pretrain", "--recipe", "mamp_nw_ucl"], "Did you mean 'mamp_nw_ucla'?"),
        (["pretrain", "--recipe", "mamp_nw_ucla", "--max-stepss", "3"], "did you mean --max_steps?"),
        (["demo", "--quik"], "did you mean --quick?"),
    ],
)
def test_wrong_use_is_one_clear_message(
    arguments: list[str], expected: str, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from marrow.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MARROW_DEBUG", raising=False)
    assert main(arguments) in (1, 2)
    message = capsys.readouterr().err
    assert message.startswith("marrow: error: ")
    assert expected in message
    assert "Traceback" not in message
    assert "fault of marrow" not in message
