"""The command `marrow`: one mapping from a command's name to the module that runs it.

Each module offers `build_parser() -> ArgumentParser` and `run(arguments) -> int`, and is imported only when its command
is asked for: `marrow --help` needs neither torch nor a parser. Where the options depend on the arguments (those of a
method), `build_parser` takes them.
"""

import importlib
import io
import logging
import os
import sys
from argparse import ArgumentError
from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING

import marrow
from marrow.errors import ConfigError, MarrowError, did_you_mean

if TYPE_CHECKING:
    from jsonargparse import Namespace

COMMANDS: dict[str, tuple[str, str]] = {
    "prepare": ("marrow.cli.prepare", "turn raw recordings into a store"),
    "import": ("marrow.cli.import_recordings", "turn recordings of any known format into a store"),
    "layouts": ("marrow.cli.layouts", "list layouts of joints, show one, or compare two"),
    "inspect": ("marrow.cli.inspect", "show what a store holds and what looks wrong in it"),
    "pretrain": ("marrow.cli.pretrain", "learn an encoder from a store, without labels"),
    "evaluate": ("marrow.cli.evaluate", "score an encoder beside its baselines"),
    "labels": ("marrow.cli.labels", "draw the clips that keep their labels, for experiments with few"),
    "finetune": ("marrow.cli.finetune", "train an encoder and a head on labels, into a recogniser"),
    "predict": ("marrow.cli.predict", "name what is done in recordings, and when"),
    "forecast": ("marrow.cli.forecast", "continue a recording by the next second"),
    "convert-weights": ("marrow.cli.convert_weights", "turn released checkpoints into encoders"),
    "report": ("marrow.cli.report", "show runs on one HTML page: scores, curves, moving skeletons"),
    "compare": ("marrow.cli.compare", "put several runs into one table and one plot"),
    "grid": ("marrow.cli.grid", "train and score a table of experiments from one file"),
    "unseen": ("marrow.cli.unseen", "pre-train on all stores but one, and score on that one"),
    "embed": ("marrow.cli.embed", "write the features of clips to a Parquet or NumPy file"),
    "export": ("marrow.cli.export", "write a model as a file that runs elsewhere: ONNX, or torch.export"),
    "neighbours": ("marrow.cli.neighbours", "find the motions that are nearest to one"),
    "pack": ("marrow.cli.pack", "pack a model into a folder that can be passed on"),
    "doctor": ("marrow.cli.doctor", "find out whether this machine is ready, and what to mend"),
    "parity": ("marrow.cli.parity", "compare with numbers recorded from a reference implementation"),
    "demo": ("marrow.cli.demo", "do all of it on built-in synthetic motion, in minutes"),
}

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


def help_text() -> str:
    """Return what `marrow --help` shows."""
    lines = [
        "usage: marrow COMMAND [options]",
        "",
        "Learn representations of human motion from unlabelled 3D skeleton sequences.",
        "",
        "commands:",
        *(f"  {name:<{max(map(len, COMMANDS))}} {line}" for name, (_, line) in COMMANDS.items()),
        "",
        "options:",
        "  -h, --help    show this and stop; `marrow COMMAND --help` explains one command",
        "  --version     show the version and stop",
        "",
        "Set MARROW_DEBUG=1 to see the full traceback of an error.",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0, 1 (failed), 2 (wrong usage), 130 (interrupted)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # Where the terminal knows no ±, a question mark is better than the loss of a result.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of our output has gone (`marrow inspect ... | head`). Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        print("marrow: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        if os.environ.get("MARROW_DEBUG") == "1":
            raise
        message, status = _explain(error)
        print(f"marrow: error: {message}", file=sys.stderr)
        return status


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if arguments[0] == "--version":
        print(f"marrow {marrow.__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS)
        raise ConfigError(f"unknown command {name!r}.{hint} Commands: {', '.join(COMMANDS)}")
    _configure_logging()
    return importlib.import_module(COMMANDS[name][0]).run(parse_command(name, rest))


def parse_command(name: str, arguments: Sequence[str]) -> "Namespace":
    """Return the parsed arguments of a command.

    Raises:
        ArgumentError: they are not as the command takes them.
    """
    from marrow.cli.arguments import parse  # jsonargparse takes a third of a second: not for `--help`

    command = importlib.import_module(COMMANDS[name][0])
    if hasattr(command, "rewritten"):
        arguments = command.rewritten(arguments)
    takes_arguments = bool(signature(command.build_parser).parameters)
    parser = command.build_parser(arguments) if takes_arguments else command.build_parser()
    return parse(parser, arguments)


class _StandardError(logging.Handler):
    """Writes to what `sys.stderr` is at the time: a live progress bar puts itself in its place, to stay below."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


def _configure_logging() -> None:
    """Show the library's messages on standard error; standard output is for results."""
    level = logging.DEBUG if os.environ.get("MARROW_DEBUG") == "1" else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_StandardError()])
    logging.getLogger("marrow").setLevel(level)


def _explain(error: Exception) -> tuple[str, int]:
    """Return a message for a person, and the exit status."""
    if isinstance(error, ArgumentError | ConfigError):
        return str(error), EXIT_USAGE
    if isinstance(error, MarrowError):
        return str(error), EXIT_FAILED
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        # PyTorch makes this folder as soon as it is loaded.
        cache = os.environ.get("TORCHINDUCTOR_CACHE_DIR") or "torchinductor_"
        hint = ". PyTorch keeps there what it compiles; TORCHINDUCTOR_CACHE_DIR names another folder"
        return f"{error.strerror or error}{where}{hint if cache in where else ''}", EXIT_FAILED
    return (
        f"unexpected {type(error).__name__}: {error}\n"
        "marrow: this is a fault of marrow; MARROW_DEBUG=1 shows where it happened",
        EXIT_FAILED,
    )
