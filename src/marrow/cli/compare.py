"""`marrow compare`: several runs in one table and one plot."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import check_page, make_parser

if TYPE_CHECKING:
    from rich.table import Table

    from marrow.report.compare import Ranking


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow compare",
        "Put runs of different methods, settings and seeds side by side: one table, and with --out a page with "
        "accuracy against the time spent. Warns where scores do not answer the same question, and then does not rank "
        "them together.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run directories that `marrow evaluate` has been over")
    parser.add_argument("--out", type=Path | None, default=None, help="write an HTML page here as well")
    parser.add_argument("--title", type=str, default="marrow comparison", help="heading of the page")
    parser.add_argument("--json", action="store_true", help="print everything as JSON and nothing else")
    return parser


def run(arguments: Namespace) -> int:
    """Compare, print, and write the page where one is asked for."""
    if arguments.out is not None:
        check_page(arguments.out)
    from rich.console import Console

    from marrow.report.compare import compare_runs
    from marrow.report.compare_page import write_comparison
    from marrow.report.runs import read_runs

    runs = read_runs(arguments.runs)
    comparison = compare_runs(runs)
    if arguments.out is not None:
        write_comparison(runs, comparison, arguments.out, title=arguments.title)
    if arguments.json:
        print(json.dumps(comparison.plain(), indent=1))
        return 0
    # A file or a pipe has no width: nothing is folded there.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    for ranking in comparison.rankings:
        console.print(_table(ranking))
    for row in comparison.not_evaluated:
        console.print(f"- not evaluated yet: {', '.join(row.runs)} ({row.name})", highlight=False, markup=False)
    for warning in comparison.warnings:
        console.print(f"! {warning}", style="bold", highlight=False, markup=False)
    if arguments.out is not None:
        print(arguments.out)
    return 0


def _table(ranking: "Ranking") -> "Table":
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from marrow.report.compare_page import score_text
    from marrow.train.progress import duration

    clean = ranking.clean_clips < ranking.test_clips
    counts = f"{ranking.test_clips:,} test clips" + (f", {ranking.clean_clips:,} of them clean" if clean else "")
    title = f"Top-1 in percent on {ranking.protocol}, {counts}, data {ranking.store[:8]}; ± over seeds"
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("experiment", overflow="fold", min_width=18)
    table.add_column("seeds", no_wrap=True)
    kinds = ("official", "clean") if clean else ("official",)
    for column in ranking.columns:
        for kind in kinds:
            heading = column.replace(", ", "\n") + (f"\n{kind}" if clean else "")
            table.add_column(heading, justify="right", no_wrap=True)
    for column in ("CPU\ntime", "steps", "para-\nmeters"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in ranking.rows:
        cells = [
            "–"
            if column not in row.cells
            else score_text(getattr(row.cells[column], kind), len(row.cells[column].runs))
            for column in ranking.columns
            for kind in kinds
        ]
        table.add_row(
            escape(row.name),
            ", ".join(str(seed) for seed in row.seeds),
            *cells,
            "–" if row.cpu_seconds is None else duration(row.cpu_seconds),
            "–" if row.steps is None else f"{row.steps:,.0f}",
            "–" if row.parameters is None else f"{row.parameters / 1e6:.1f} M",
        )
    return table
