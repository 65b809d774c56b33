"""The tables that `marrow evaluate` prints."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.numbers import Number, scored_by
from marrow.tasks.summary import Difference, differences, kinds_of_clips, measures, scores

_SOURCES = {"trained": "trained encoder", "random": "random initialisation", "raw": "raw coordinates"}


def show(evaluation: EvaluationReport, console: Console) -> None:
    """Print the numbers of a report as tables, and its notes."""
    if of_clips := scores(evaluation):
        console.print(_score_table(evaluation, of_clips))
    if of_baselines := differences(evaluation):
        console.print(_difference_table(of_baselines, kinds_of_clips(evaluation)))
    of_tasks: dict[str, list[Number]] = {}
    for number in measures(evaluation):
        of_tasks.setdefault(number.about.title, []).append(number)
    for title, numbers in of_tasks.items():
        console.print(_number_table(title, numbers))
    for note in evaluation.notes:
        console.print(f"- {note}", highlight=False, markup=False)


def _score_table(evaluation: EvaluationReport, numbers: Sequence[Number]) -> Table:
    counts = {"official": len(evaluation.test_rows), "clean": evaluation.clean_count}
    kinds, runs = kinds_of_clips(evaluation), len(evaluation.runs)
    seeds = f", ± over {runs} seeds" if runs > 1 else ""
    headings = [f"{kind}, {counts[kind]} clips" for kind in kinds]
    table = _table(f"Top-1 in percent on {evaluation.protocol}{seeds} \\[95 % over clips]", ["", *headings])
    for source, title in _SOURCES.items():
        rows: dict[str, dict[str, str]] = {}
        for number in (number for number in numbers if number.source == source):
            draws = "" if number.draws_std is None else f" (draws ± {number.draws_std:.1f})"
            row = rows.setdefault(f"{number.task} {number.quantity.reading}".strip(), {})
            row[number.quantity.clips] = f"{number.text}{draws}{_interval(number)}"
        _add_section(table, title, rows, kinds)
    return table


def _difference_table(numbers: Sequence[Difference], kinds: Sequence[str]) -> Table:
    table = _table("Trained minus baseline, in points, paired over clips", ["", *kinds, "verdict"])
    for against in ("random", "raw"):
        rows: dict[str, dict[str, str]] = {}
        for number in (number for number in numbers if number.against == against):
            cells = rows.setdefault(f"{number.task} {scored_by(number.name).reading}".strip(), {})
            interval = rf" \[{number.low_percent:+.0f}, {number.high_percent:+.0f}]"
            cells[number.clips] = f"{number.difference_percent:+.1f}{interval}"
            cells["verdict"] = number.verdict  # of the clean clips where there are such: they come last
        _add_section(table, f"minus {against}", rows, [*kinds, "verdict"])
    return table


def _number_table(title: str, numbers: Sequence[Number]) -> Table:
    """Put the numbers of a task side by side: sources and variants, and names; the longer of both lists downwards."""
    cells = {(_column(number), _row(number)): f"{number.text}{_interval(number)}" for number in numbers}
    columns, rows = (list(dict.fromkeys(key[axis] for key in cells)) for axis in (0, 1))
    if len(columns) > len(rows):
        columns, rows = rows, columns
        cells = {(name, column): cell for (column, name), cell in cells.items()}
    table = _table(escape(title), ["", *columns])
    for row in rows:
        table.add_row(row, *(cells.get((column, row), "–") for column in columns))
    return table


def _row(number: Number) -> str:
    unit = number.quantity.unit
    return escape(f"{number.quantity.words}{f', {unit}' if unit else ''}")


def _column(number: Number) -> str:
    """Name a source, and its variant of the task."""
    return escape(", ".join(filter(None, (number.source, *number.about.variants))))


def _interval(number: Number) -> str:
    return "" if number.low is None else rf" \[{number.low:.0f}, {number.high:.0f}]"


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place > 0 and heading != "verdict" else "left", no_wrap=True)
    return table


def _add_section(table: Table, title: str, rows: Mapping[str, Mapping[str, str]], columns: Sequence[str]) -> None:
    if rows:
        table.add_row(f"[bold]{title}[/bold]")
        for name, cells in rows.items():
            table.add_row(name, *(cells[column] for column in columns))
