"""Every command explains itself, without a traceback and without torch."""

import importlib
import subprocess
import sys

import pytest

from marrow.cli.main import COMMANDS

# What a person has to find in the help of each command.
PROMISED = {
    "prepare": ("--out", "--jobs", "nw_ucla", "ntu", "synthetic"),
    "import": ("--dry_run", "--preview", "--out", "--layout", "--labels", "--fps", "bvh", "mediapipe"),
    "layouts": ("LAYOUT", "--picture", "--json"),
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
        "--quick",
        "semi_supervised",
    ),
    "labels": ("--store", "--protocol", "--out", "--scheme", "--fractions", "--draws"),
    "finetune": ("--store", "--protocol", "--seed"),
    "predict": ("MODEL", "PATH", "--examples", "--every", "--segments", "--csv", "--json", "--fps", "my_examples"),
    "forecast": ("MODEL", "FILE", "--out", ".npz", ".csv", "motion_prediction"),
    "convert-weights": ("--out",),
    "report": ("--out", "--store", "--no_clips"),
    "compare": ("--out", "--markdown", "--json"),
    "grid": ("GRID", "--store", "--out", "--jobs", "--threads", "--rows", "--seeds", "--dry_run", "--json"),
    "embed": ("PATH", "--store", "--reader", "--out", "--rows", "--pooling", "--overwrite", ".parquet", ".npy"),
    "unseen": ("--store", "--on", "--protocol", "--seconds", "--seeds", "marrow unseen --store"),
    "export": ("--to", "--out", "--opset", "--int8", "--store", "--protocol", "onnx", "torch", "runs/first_tuned"),
    "neighbours": ("MODEL", "STORE", "--query", "--within", "--index", "--page", "kick.bvh"),
    "pack": ("--out", "--terms", "--overwrite", "marrow pack runs/first"),
    "doctor": ("--json", "--no_self_test"),
    "parity": ("mamp", "hi_trs", "ntu"),
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


@pytest.mark.parametrize(
    "command", ["prepare", "inspect", "embed", "predict", "forecast", "neighbours", "pack", "doctor"]
)
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


@pytest.mark.parametrize("command", COMMANDS)
def test_help_holds_words_and_no_python(command: str) -> None:
    parser = importlib.import_module(COMMANDS[command][0]).build_parser()
    text = parser.format_help()
    assert "<class" not in text
    assert "Literal[" not in text
    assert "None" not in text
    assert "()" not in text


_PRETRAIN = ["pretrain", "--store", "store", "--out", "run"]
_FINETUNE = ["finetune", "run", "--store", "store", "--protocol", "xsub", "--out", "tuned"]
_EVALUATE = ["evaluate", "run", "--store", "store", "--protocol", "xsub"]


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
        (["grid", "quick_synthetik", "--store", "store", "--out", "grid"], "Did you mean 'quick_synthetic'?"),
        (["grid", "quick_synthetic", "--store", "no/such/store", "--out", "grid"], "no/such/store"),
        (["pretrain", "--recipe", "mamp_nw_ucl"], "Did you mean 'mamp_nw_ucla'?"),
        (["pretrain", "--recipe", "mamp_nw_ucla", "--max-stepss", "3"], "did you mean --max_steps?"),
        (["demo", "--quik"], "did you mean --quick?"),
        (["prepare"], "missing: READER, --out"),
        (["parity", "mamp", "file.npz", "--tolerance", "small"], "--tolerance: expected float, got 'small'"),
        (["report", "run", "--out", "features.parquet"], "must end in .html, got 'features.parquet'"),
        (["compare", "run", "--out", "features.parquet"], "must end in .html, got 'features.parquet'"),
        (
            ["prepare", "bvh", "somewhere", "--out", "store", "--options.up", "w"],
            "one of x, y, z, -x, -y, -z, got 'w'",
        ),
        (["inspect", "somewhere", "--picture", "clips.png"], "--picture must end in .svg, got 'clips.png'"),
        (["inspect", __file__], "is a file, not a store"),
        ([*_PRETRAIN, "--recipe", "broken.yaml"], "broken.yaml:2: cannot be read as YAML"),
        ([*_PRETRAIN, "--recipe", "list.yaml"], "list.yaml: expected settings, one `name: value` in a line"),
        ([*_PRETRAIN, "--recipe", "binary.yaml"], "binary.yaml: expected a YAML file with settings, this is no text"),
        ([*_PRETRAIN, "--encoder.width", "0"], "encoder.width must be at least 1, got 0"),
        ([*_PRETRAIN, "--encoder.mlp_ratio", "-1"], "encoder.mlp_ratio must be positive, got -1"),
        ([*_PRETRAIN, "--objective.decoder_heads", "0"], "objective.decoder_heads must be at least 1, got 0"),
        ([*_PRETRAIN, "--optimizer.betas", "[0.9, 2]"], "optimizer.betas must lie in [0, 1), got [0.9, 2.0]"),
        ([*_PRETRAIN, "--seed", "-1"], "seed must not be negative, got -1"),
        ([*_FINETUNE, "--augment", "{crop_low: 3}"], "expected 0 < crop_low <= crop_high <= 1, got crop_low=3.0"),
        ([*_FINETUNE, "--seed", "-1"], "seed must not be negative, got -1"),
        ([*_EVALUATE, "--max_steps", "0"], "max_steps must be at least 1, got 0"),
        ([*_EVALUATE, "--max_minutes", "-1"], "max_minutes must be positive, got -1"),
    ],
)
def test_wrong_use_is_one_clear_message(
    arguments: list[str], expected: str, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from marrow.cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.yaml").write_text("epochs: [1, 2\nseed: 3")
    (tmp_path / "list.yaml").write_text("- epochs\n")
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    monkeypatch.delenv("MARROW_DEBUG", raising=False)
    assert main(arguments) in (1, 2)
    message = capsys.readouterr().err
    assert message.startswith("marrow: error: ")
    assert expected in message
    assert "Traceback" not in message
    assert "fault of marrow" not in message
