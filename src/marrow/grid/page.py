"""The tables of a grid as files: Markdown, JSON, and a page with accuracy against processor time."""

import json
from dataclasses import replace
from html import escape
from pathlib import Path

from marrow.files import write_text_whole
from marrow.grid.cells import Cell
from marrow.grid.table import GridTables, GroupTable, TableRow
from marrow.progress import duration
from marrow.report.figures import Figures, Mark, costs_html
from marrow.report.members import Column
from marrow.report.page import page_html
from marrow.report.style import card, paragraphs
from marrow.report.tables import MISSING, TextTable
from marrow.tasks.numbers import Number
from marrow.train.logs import read_log

TABLE, TABLE_JSON, PAGE = "table.md", "table.json", "time.html"

_HOW_TO_READ = (
    "<b>How to read this.</b> Scores are top-1 accuracy in percent, unless their column names another number and its "
    "unit (millimetres are the better the lower they are); mean ± standard deviation over seeds; so are the bars of "
    "the plot. They are of frozen encoders; in columns called finetune of fine-tuned ones, "
    "where random initialisation means training from scratch. Official scores count every test clip; clean scores "
    "leave out copies of training clips. Processor seconds are those of pre-training."
)


def write_tables(tables: GridTables, out: Path) -> list[Path]:
    """Write `table.md`, `table.json` and `time.html` into a folder, and return them."""
    contents = {
        TABLE: markdown(tables),
        TABLE_JSON: json.dumps(tables.plain(), indent=1) + "\n",
        PAGE: time_page(tables),
    }
    for name, text in contents.items():
        write_text_whole(out / name, text)
    return [out / name for name in contents]


def heading(tables: GridTables) -> str:
    """Say what the numbers are."""
    clean = f", {tables.clean_clips:,} of them clean" if len(tables.kinds) > 1 else ""
    counts = f"{tables.test_clips:,} test clips{clean}" if tables.test_clips else "nothing is scored yet"
    top1 = tables.top1
    what = "Top-1 in percent" if top1 or not tables.columns else "Scores"
    if 0 < len(top1) < len(tables.columns):
        what += ", other numbers in the unit that their column names,"
    return f"{what} on {tables.protocol}, {counts}, data {tables.store[:8]}; ± over seeds"


def markdown(tables: GridTables) -> str:
    """Return the tables as Markdown, the best of a column in bold."""
    parts = [f"# {tables.title}", f"{heading(tables)}."]
    for table in tables.tables:
        if len(tables.tables) > 1:
            parts.append(f"## {table.group}")
        parts.append(text_table(table, tables).markdown())
    return "\n\n".join([*parts, *notes(tables)]) + "\n"


def text_table(table: GroupTable, tables: GridTables) -> TextTable:
    """Return a table as text; in a grid of one row, nothing is marked as the best.

    Args:
        table: one of them.
        tables: what it belongs to.
    """
    shown: list[Column] = [(column, kind) for column in tables.columns for kind in tables.kinds_of(column)]
    headings = [f"{column}{f', {kind}' if len(tables.kinds_of(column)) > 1 else ''}" for column, kind in shown]
    title = f"{table.group}: {heading(tables)}" if len(tables.tables) > 1 else heading(tables)
    facts = TextTable(title, ["row", "seeds", "steps", "CPU, s", "peak, MiB"], [_facts(row) for row in table.rows])
    numbers = [[row.scores.get(column, {}).get(kind) for column, kind in shown] for row in table.rows]
    text = facts.with_numbers(headings, numbers)
    return text if len(_trained(tables)) > 1 else replace(text, best=set())


def finished_line(cell: Cell) -> str:
    """Return a finished cell in one line: steps, processor seconds, first score."""
    evaluation = cell.scoring.found(cell.folder)
    last = read_log(cell.folder / "log.jsonl")[-1:]
    said = f"{cell.name}: "
    said += (
        f"{last[0]['step']:,} steps, {duration(float(last[0]['cpu_seconds']))} of the processor" if last else "no log"
    )
    first = next((report for report in evaluation.reports if report.source == "trained"), None) if evaluation else None
    if first is not None:
        name, value = next(iter(first.metrics.items()))
        quantity = first.quantity(name)
        of = "" if quantity.predictions else f", {quantity.words}"
        said += f", {first.about.name}{of} {value:.1f} {quantity.unit}".rstrip()
    return said


def notes(tables: GridTables) -> list[str]:
    """Say what is missing and what a reader has to know."""
    said = list(tables.warnings)
    for which, what in (
        (tables.missing, "Not finished yet"),
        (tables.refused, "Left out, because the folder holds a run with other settings"),
    ):
        if which:
            cells = [
                f"{row} (seed{'s'[: len(seeds) > 1]} {', '.join(map(str, seeds))})" for row, seeds in which.items()
            ]
            said.append(f"{what}: {'; '.join(cells)}.")
    return said


def time_page(tables: GridTables) -> str:
    """Return the page: accuracy against processor seconds, one chart per column, then the tables."""
    figures = Figures()
    charts = "".join(_chart(tables, column, figures) for column in tables.top1)
    told = (
        "One point per row, with its deviation over seeds; a line begins at the same encoder at random initialisation, "
        "where that was scored. Up and to the left is better."
    )
    body = "<h2 id='time'>Accuracy against time spent</h2>"
    body += card("Official scores", f"<div class='pair'>{charts}</div>", lead=told, wide=True) if charts else ""
    body += (
        paragraphs(notes(tables), "note") + f"<h2 id='tables'>Tables</h2><p class='lead'>{escape(heading(tables))}.</p>"
    )
    for table in tables.tables:
        title = table.group if len(tables.tables) > 1 else "Scores"
        body += card(title, text_table(table, tables).html(), wide=True)
    runs = sum(len(row.seeds) for row in _trained(tables))
    contents = [("time", "Time"), ("tables", "Tables")]
    return page_html(tables.title, body, figures, contents=contents, run_count=runs, how_to_read=_HOW_TO_READ)


def _trained(tables: GridTables) -> list[TableRow]:
    """Return the experiments, each once."""
    every = {row.name: row for table in tables.tables for row in table.rows if row.source == "trained"}
    return list(every.values())


def _untrained(tables: GridTables) -> dict[str, TableRow]:
    """Return the scores at random initialisation, by what the encoder is."""
    rows = [row for table in tables.tables for row in table.rows if row.source == "random"]
    return {row.architecture: row for row in rows if row.architecture}


def _chart(tables: GridTables, column: str, figures: Figures) -> str:
    """Draw one column; empty where no row has both a score and a time."""
    points: dict[str, list[tuple[float, Mark]]] = {}
    untrained = _untrained(tables)
    for row in _trained(tables):
        if column not in row.scores or row.cpu_seconds is None:
            continue
        line = points.setdefault(row.line or row.name, [])
        before = untrained.get(row.architecture or "")
        if before is not None and column in before.scores and not line:
            line.append((0.0, _mark(before, before.scores[column]["official"], 0.0)))
        line.append((row.cpu_seconds, _mark(row, row.scores[column]["official"], row.cpu_seconds)))
    ordered = {name: sorted(line, key=lambda point: point[0]) for name, line in points.items()}
    return costs_html(column, ordered, figures, joined=True)


def _mark(row: TableRow, score: Number, cpu_seconds: float) -> Mark:
    text = (
        f"{escape(row.name)}<br>{score.text} % over {len(row.seeds)} "
        f"seed{'s' if len(row.seeds) > 1 else ''}<br>{cpu_seconds:,.0f} processor seconds"
    )
    return Mark(row.name, score.mean, score.mean - score.std, score.mean + score.std, text)


def _facts(row: TableRow) -> list[str]:
    seeds = ", ".join(map(str, row.seeds)) or MISSING
    return [
        row.name,
        seeds if len(row.seeds) == len(row.planned) else f"{seeds} (of {len(row.planned)})",
        MISSING if row.steps is None else f"{row.steps:,.0f}",
        MISSING if row.cpu_seconds is None else f"{row.cpu_seconds:,.0f}",
        MISSING if row.peak_memory_mib is None else f"{row.peak_memory_mib:,.0f}",
    ]
