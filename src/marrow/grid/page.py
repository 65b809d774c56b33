"""The tables of a grid as files: Markdown, JSON, and a page with accuracy against processor time."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from marrow.files import write_text_whole
from marrow.grid.table import GridTables, TableRow
from marrow.grid.table_text import table_lines
from marrow.report.figures import Figures, Mark, cost_figure
from marrow.report.page import page_html
from marrow.report.style import card, paragraphs, table
from marrow.tasks.numbers import Number

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
    for each in tables.tables:
        if len(tables.tables) > 1:
            parts.append(f"## {each.group}")
        head, lines = table_lines(each, tables, lambda text: f"**{text}**")
        rule = ["---", "---", *["---:"] * (len(head) - 2)]
        parts.append(
            "\n".join(
                f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in (head, rule, *lines)
            )
        )
    return "\n\n".join([*parts, *notes(tables)]) + "\n"


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
    charts = [chart for column in tables.top1 if (chart := _chart(tables, column, figures))]
    told = (
        "One point per row, with its deviation over seeds; a line begins at the same encoder at random initialisation, "
        "where that was scored. Up and to the left is better."
    )
    body = "<h2 id='time'>Accuracy against time spent</h2>"
    body += (
        card("Official scores", f"<div class='pair'>{''.join(charts)}</div>", lead=told, wide=True) if charts else ""
    )
    body += (
        paragraphs(notes(tables), "note") + f"<h2 id='tables'>Tables</h2><p class='lead'>{escape(heading(tables))}.</p>"
    )
    for each in tables.tables:
        head, lines = table_lines(each, tables, lambda text: f"\0{text}\1")
        cells = [[escape(cell).replace("\0", "<b>").replace("\1", "</b>") for cell in line] for line in lines]
        body += card(each.group if len(tables.tables) > 1 else "Scores", table(head, cells, numbers_from=2), wide=True)
    runs = sum(len(row.seeds) for row in _trained(tables))
    contents = [("time", "Time"), ("tables", "Tables")]
    return page_html(tables.title, body, figures, contents=contents, run_count=runs, how_to_read=_HOW_TO_READ)


def _trained(tables: GridTables) -> list[TableRow]:
    """Return the experiments, each once."""
    every = {row.name: row for each in tables.tables for row in each.rows if row.source == "trained"}
    return list(every.values())


def _untrained(tables: GridTables) -> dict[str, TableRow]:
    """Return the scores at random initialisation, by what the encoder is."""
    rows = [row for each in tables.tables for row in each.rows if row.source == "random"]
    return {row.architecture: row for row in rows if row.architecture}


def _chart(tables: GridTables, column: str, figures: Figures) -> str:
    """Draw one column; empty where no row has both a score and a time."""
    points: dict[str, list[tuple[float, Mark]]] = {}
    said: list[str] = []
    untrained = _untrained(tables)
    for row in _trained(tables):
        found = row.scores.get(column)
        if found is None or row.cpu_seconds is None:
            continue
        line = points.setdefault(row.line or row.name, [])
        before = untrained.get(row.architecture or "")
        if before is not None and column in before.scores and not line:
            start = before.scores[column]["official"]
            line.append((0.0, _mark(before, start, 0.0)))
            said.append(f"{row.name}: {start.mean:.1f} % at random initialisation")
        line.append((row.cpu_seconds, _mark(row, found["official"], row.cpu_seconds)))
        said.append(f"{row.name}: {found['official'].mean:.1f} % after {row.cpu_seconds:.0f} s")
    if not points:
        return ""
    figure = cost_figure({escape(name): sorted(marks, key=lambda mark: mark[0]) for name, marks in points.items()})
    for name, marks in points.items():
        if len(marks) > 1:
            figure.update_traces(mode="lines+markers", selector={"name": escape(name)})
    chart = figures.place(figure, f"{column} against processor seconds. {'; '.join(said)}")
    return f"<div><h4>{escape(column)}</h4>{chart}</div>"


def _mark(row: TableRow, score: Number, cpu_seconds: float) -> Mark:
    seeds: Sequence[int] = row.seeds
    text = (
        f"{escape(row.name)}<br>{score.text} % over {len(seeds)} "
        f"seed{'s' if len(seeds) > 1 else ''}<br>{cpu_seconds:,.0f} processor seconds"
    )
    return Mark(escape(row.name), score.mean, score.mean - score.std, score.mean + score.std, text)
