"""`marrow prepare`: raw recordings into a store, in parallel; the same command goes on after an interruption."""

import sys
from argparse import SUPPRESS
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser
from marrow.cli.main import EXIT_INTERRUPTED
from marrow.cli.next_step import say_next
from marrow.errors import ConfigError
from marrow.progress import counting
from marrow.readers import get_reader_class, reader_names
from marrow.readers.base import Reader
from marrow.store.convert import PrepareSummary, convert_recordings, default_jobs
from marrow.store.summary import reason_without_file

# Sources that are made, not read.
_ROOTLESS = ("synthetic",)


def build_parser(arguments: Sequence[str] = ()) -> ArgumentParser:
    """Return the parser of `marrow prepare`, with the options of the reader that the arguments name.

    Args:
        arguments: of the command line; the options of all readers where they name none.
    """
    parser = make_parser("marrow prepare", "Turn a folder of raw recordings of a data set into a store.")
    parser.add_argument(
        "source",
        type=str,
        metavar="READER",
        help=f"format of the recordings: {', '.join(reader_names())}, or FILE.py:CLASS with a reader of your own; "
        "`marrow prepare READER --help` explains its options",
    )
    parser.add_argument(
        "root", type=Path, nargs="?", metavar="ROOT", help="folder of the recordings; not needed for `synthetic`"
    )
    parser.add_argument("--reader", type=str, default=None, help="the same as READER, which is then left out")
    parser.add_argument("--out", type=Path, required=True, help="folder of the store")
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="number of processes")
    parser.add_argument(
        "--on_error",
        type=Literal["stop", "drop"],
        default="stop",
        help="at a malformed file, stop; or leave it out and list it with its error",
    )
    parser.add_argument("--overwrite", action="store_true", help="remove a store that is already there, and begin anew")
    for option, (kind, text) in _reader_options(_named_reader(arguments)).items():
        parser.add_argument(f"--options.{option}", type=kind, default=SUPPRESS, help=text)
    return parser


def _named_reader(arguments: Sequence[str]) -> list[str]:
    """Return the reader that the arguments name; all of them where they name none that is known."""
    names = [word.removeprefix("--reader=") for word in arguments if not word.startswith("--") or "--reader=" in word]
    named = [name for name in names if name in reader_names() or ".py:" in name]
    return named[:1] or reader_names()


def run(arguments: Namespace) -> int:
    """Prepare a store and say what came of it."""
    source, root = arguments.source, arguments.root
    if arguments.reader is not None:
        if root is not None:
            raise ConfigError(f"READER is given twice: as {source!r} and by --reader {arguments.reader}")
        source, root = arguments.reader, Path(source)
    reader = _make_reader(source, vars(arguments.get("options") or Namespace()))
    if root is None and source not in _ROOTLESS:
        raise ConfigError(
            f"the reader {source!r} needs the folder of the recordings: "
            f"marrow prepare {source} ROOT --out {arguments.out}"
        )
    root = root or Path()
    summary = convert(f"preparing {source}", reader, root, arguments)
    if summary is None:
        return EXIT_INTERRUPTED
    print_summary(summary)
    say_next("inspect", summary.store)
    return 0


def convert(words: str, reader: Reader, root: Path, arguments: Namespace) -> PrepareSummary | None:
    """Make a store and show how far it is; None where a person stopped it, who is told how to go on.

    Args:
        words: what is done.
        reader: of the recordings.
        root: their folder.
        arguments: of the command: out, jobs, on_error, overwrite.
    """
    try:
        with counting(words, "recordings") as progress:
            return convert_recordings(
                reader,
                root,
                arguments.out,
                jobs=arguments.jobs,
                on_error=arguments.on_error,
                overwrite=arguments.overwrite,
                progress=progress,
            )
    except KeyboardInterrupt:
        print(
            f"marrow: interrupted; finished shards are kept in {arguments.out}: run the same command to go on"
            + (" (without --overwrite)" if arguments.overwrite else ""),
            file=sys.stderr,
        )
        return None


def _reader_options(readers: Sequence[str]) -> dict[str, tuple[Any, str]]:
    """Return type and help of the options of some readers, by name; readers may share a name."""
    options: dict[str, tuple[Any, str]] = {}
    for name in readers:
        try:
            reader = get_reader_class(name)
        except ConfigError:
            continue  # Another package's reader that cannot be imported is no hindrance to the use of ours.
        described = {entry.arg_name: entry.description or "" for entry in parse_docstring(reader.__doc__ or "").params}
        for field in fields(reader):
            if not field.init:
                continue
            default = getattr(reader, field.name, None)
            text = f"{name}: {' '.join(described.get(field.name, '').split())} (default: {default})"
            kind, texts = options.get(field.name, (field.type, ""))
            options[field.name] = (kind | field.type if texts else kind, f"{texts}; {text}" if texts else text)
    return options


def _make_reader(source: str, options: dict[str, Any]) -> Any:
    """Make a reader with the options that were given."""
    reader = get_reader_class(source)
    names = [field.name for field in fields(reader) if field.init]
    for option in options:
        if option not in names:
            has = f"It has {', '.join(f'--options.{name}' for name in names)}" if names else "It has none"
            raise ConfigError(f"the reader {source!r} has no option --options.{option}. {has}")
    return reader(**options)


def print_summary(summary: PrepareSummary) -> None:
    """Say what came of a preparation."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    new = summary.shards - summary.kept_shards
    made = f"{new} shard{'' if new == 1 else 's'} made in {summary.seconds:.1f} s"
    kept = f", {summary.kept_shards} kept from an earlier run" if summary.kept_shards else ""
    console.print(f"{summary.store}: {summary.clips} clips ({made}{kept})", markup=False)
    beside = ""
    if summary.padded_bytes > summary.stored_bytes:  # not so where recordings are long
        beside = (
            f", {summary.padded_bytes / summary.stored_bytes:.1f} times smaller than padded to 300 frames and 2 bodies "
            f"({_megabytes(summary.padded_bytes)})"
        )
    console.print(f"{_megabytes(summary.stored_bytes)} on disk{beside}")
    if summary.dropped:
        count = len(summary.dropped)
        console.print(
            f"{count:,} recording{'' if count == 1 else 's'} dropped (listed in {summary.store / 'dropped.parquet'}):",
            markup=False,
        )
        for reason, count in Counter(map(reason_without_file, summary.dropped)).most_common(8):
            console.print(f"  {count:6d}  {reason}", markup=False)
    if summary.notes:
        console.print("to know of what was read, and how often:")
        for note, count in list(summary.notes.items())[:8]:
            console.print(f"  {count:6d}  {note}", markup=False)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
