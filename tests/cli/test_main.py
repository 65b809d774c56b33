"""The frame of the command line: what a person sees when all goes well, and when it does not."""

import io
import logging
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from marrow import __version__
from marrow.cli import main as frame
from marrow.errors import ParseError


def _marrow(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "marrow", *arguments], capture_output=True, text=True, env=env)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A command `fake`, whose `run` a test may replace."""
    from marrow.cli.arguments import make_parser

    def build_parser():
        parser = make_parser("marrow fake", "Do nothing.")
        parser.add_argument("--max_steps", type=int, default=3)
        parser.add_argument("--store", type=str, default="")
        return parser

    module = ModuleType("marrow.cli.fake")
    handle = SimpleNamespace(run=lambda arguments: 0)
    module.build_parser = build_parser  # type: ignore[attr-defined]
    module.run = lambda arguments: handle.run(arguments)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "marrow.cli.fake", module)
    monkeypatch.setitem(frame.COMMANDS, "fake", ("marrow.cli.fake", "do nothing"))
    monkeypatch.delenv("MARROW_DEBUG", raising=False)
    return handle


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.main(arguments) == 0
    shown = capsys.readouterr().out
    for name, (_, line) in frame.COMMANDS.items():
        assert f"  {name} " in shown
        assert line in shown
    assert list(frame.COMMANDS) == [
        *("prepare", "import", "layouts", "inspect", "pretrain", "evaluate", "labels", "finetune"),
        *("predict", "forecast", "convert-weights", "report", "compare", "grid", "unseen", "embed", "export"),
        *("neighbours", "pack", "doctor", "parity", "demo"),
    ]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.main(["--version"]) == 0
    assert capsys.readouterr().out == f"marrow {__version__}\n"


def test_help_starts_about_as_fast_as_python_itself() -> None:
    def spent() -> float:
        """Return the processor time of the processes that were waited for: on a busy machine it is the same."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def seconds(*command: str) -> float:
        samples = []
        for _ in range(5):
            before = spent()
            subprocess.run([sys.executable, *command], capture_output=True, check=True)
            samples.append(spent() - before)
        return min(samples)

    # Bare Python starts in about 20 ms, marrow's help in about 45; importing torch takes a hundred times as long.
    assert seconds("-m", "marrow", "--help") < 8 * seconds("-c", "pass")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from marrow.cli.main import main; main(sys.argv[1:]);"
        "heavy = {'torch', 'numpy', 'jsonargparse', 'pyarrow', 'sklearn', 'yaml', 'rich'} & set(sys.modules);"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.main(["pretain"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("marrow: error: unknown command 'pretain'. Did you mean 'pretrain'?")
    assert "inspect" in message


def test_unknown_option_names_the_nearest(command: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.main(["fake", "--max-stepz", "5"]) == 2
    message = capsys.readouterr().err
    assert "did you mean --max_steps?" in message
    assert "`marrow fake --help`" in message
    assert "Traceback" not in message


def test_hyphens_in_option_names_are_underscores_and_values_stay(command: SimpleNamespace) -> None:
    seen = []
    command.run = lambda arguments: seen.append(arguments) or 0
    assert frame.main(["fake", "--max-steps=7", "--store", "my-store--x"]) == 0
    assert (seen[0].max_steps, seen[0].store) == (7, "my-store--x")


def test_errors_of_marrow_are_one_message(command: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(arguments: object) -> int:
        raise ParseError(Path("a.skeleton"), 12, "expected 25 joints, got 24")

    command.run = fail
    assert frame.main(["fake"]) == 1
    assert capsys.readouterr().err == "marrow: error: a.skeleton:12: expected 25 joints, got 24\n"


def test_errors_of_the_system_are_one_message(
    command: SimpleNamespace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command.run = lambda arguments: len((tmp_path / "missing").read_text())
    assert frame.main(["fake"]) == 1
    assert capsys.readouterr().err == f"marrow: error: No such file or directory: {tmp_path / 'missing'}\n"


def test_a_fault_of_ours_says_so(command: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    command.run = lambda arguments: 1 // 0
    assert frame.main(["fake"]) == 1
    message = capsys.readouterr().err
    assert "unexpected ZeroDivisionError" in message
    assert "MARROW_DEBUG=1" in message


def test_debug_shows_the_traceback(command: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARROW_DEBUG", "1")
    command.run = lambda arguments: 1 // 0
    with pytest.raises(ZeroDivisionError):
        frame.main(["fake"])


def test_interrupt_is_one_line(command: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(arguments: object) -> int:
        raise KeyboardInterrupt

    command.run = interrupt
    assert frame.main(["fake"]) == 130
    assert capsys.readouterr().err == "marrow: interrupted\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    # `head` closes the pipe after the first line; the help is written once more than it reads.
    code = "import sys, marrow.cli.main as m\nm.help_text = lambda: 'x\\n' * 100_000\nsys.exit(m.main(['--help']))"
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$0" -c "$1" | head -n 1', sys.executable, code],
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("x\n", "", 141)


def test_the_module_is_the_command() -> None:
    done = _marrow("nothing")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_messages_go_to_where_standard_error_is_at_the_time(
    command: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live progress bar puts itself in the place of standard error, to stay below what is written."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])

    def run(arguments: object) -> int:
        monkeypatch.setattr(sys, "stderr", elsewhere)
        logging.getLogger("marrow.train").info("learning")
        return 0

    elsewhere = io.StringIO()
    command.run = run
    assert frame.main(["fake"]) == 0
    assert elsewhere.getvalue() == "learning\n"


def test_a_terminal_that_knows_only_ascii_loses_no_result() -> None:
    code = "import marrow.cli.main as m\nm.help_text = lambda: 'loss 0.3 ± 0.1'\nraise SystemExit(m.main(['--help']))"
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ascii_only)
    assert (done.stdout, done.stderr, done.returncode) == ("loss 0.3 ? 0.1\n", "", 0)
