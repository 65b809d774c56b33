"""`marrow compare`: several runs in one table for each kind of task, and one plot."""

import json
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import check_page, make_parser
from marrow.cli.next_step import say_next, say_open
from marrow.errors import ConfigError
from marrow.files import write_text_whole

_STDOUT = Path("-")


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow compare",
        "Put runs of different methods, settings and seeds side by side, beside their baselines: a table for each kind "
        "of task, and with --out a page with accuracy against the time spent. Warns where scores do not answer the "
        "same question, and then does not rank them together.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run directories that `marrow evaluate` has been over")
    parser.add_argument("--out", type=Path | None, default=None, help="write an HTML page here as well")
    parser.add_argument("--title", type=str, default="marrow comparison", help="heading of the page")
    parser.add_argument(
        "--markdown", type=Path | None, default=None, help="write the tables here as Markdown; -: print them so"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON and nothing else")
    return parser


def run(arguments: Namespace) -> int:
    """Compare, print, and write the page where one is asked for."""
    if arguments.out is not None:
        check_page(arguments.out)
    if arguments.markdown is not None:
        _check_markdown(arguments)
    from marrow.cli.console import output
    from marrow.report.compare import compare_runs
    from marrow.report.compare_page import markdown, text_tables, write_comparison
    from marrow.report.runs import read_runs

    runs = read_runs(arguments.runs)
    comparison = compare_runs(runs)
    if arguments.out is not None:
        write_comparison(runs, comparison, arguments.out, title=arguments.title)
    if arguments.markdown == _STDOUT:
        print(markdown(comparison), end="")
        return 0
    if arguments.markdown is not None:
        write_text_whole(arguments.markdown, markdown(comparison))
    if arguments.json:
        print(json.dumps(comparison.plain(), indent=1))
        return 0
    console = output()
    for ranking in comparison.rankings:
        for table in text_tables(ranking):
            for part in table.console(console.width):
                console.print(part)
    for row in comparison.not_evaluated:
        console.print(f"- not evaluated yet: {', '.join(row.runs)} ({row.name})", highlight=False, markup=False)
    for warning in comparison.warnings:
        console.print(f"! {warning}", style="bold", highlight=False, markup=False)
    for written in (arguments.out, arguments.markdown):
        if written is not None:
            print(written)
    if arguments.out is not None:
        say_open(arguments.out)
    else:
        say_next("compare", *arguments.runs, "--out", "comparison.html")
    return 0


def _check_markdown(arguments: Namespace) -> None:
    """Raise a ConfigError where the Markdown cannot go."""
    file = arguments.markdown
    if file == _STDOUT and arguments.json:
        raise ConfigError("--json and --markdown - both print, and nothing else: choose one, or write --markdown FILE")
    if file != _STDOUT and file.suffix.lower() != ".md":
        raise ConfigError(f"--markdown must end in .md, or be - to print it, got {str(file)!r}")
    if file.is_dir():
        raise ConfigError(f"--markdown must be a file, {file} is a folder")
