"""The tables that `marrow evaluate` prints."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marrow.report.tables import MISSING, console_table
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.numbers import Number, scored_by
from marrow.tasks.summary import Difference, differences, kinds_of_clips, measures, scores

_SOURCES = {"trained": "trained encoder", "random": "random initialisation", "raw": "raw coordinates"}
# Texts by row and column.
_Cells = Mapping[tuple[str, str], str]


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
    headings = {kind: f"{kind}, {counts[kind]} clips" for kind in kinds_of_clips(evaluation)}
    seeds = f", ± over {len(evaluation.runs)} seeds" if len(evaluation.runs) > 1 else ""
    sections: dict[str, dict[tuple[str, str], str]] = {title: {} for title in _SOURCES.values()}
    for number in numbers:
        draws = "" if number.draws_std is None else f" (draws ± {number.draws_std:.1f})"
        place = f"{number.task} {number.quantity.reading}".strip(), headings[number.quantity.clips]
        sections[_SOURCES[number.source]][place] = f"{number.text}{draws}{_interval(number)}"
    title = f"Top-1 in percent on {evaluation.protocol}{seeds} [95 % over clips]"
    return _table(title, list(headings.values()), sections)


def _difference_table(numbers: Sequence[Difference], kinds: Sequence[str]) -> Table:
    sections: dict[str, dict[tuple[str, str], str]] = {"minus random": {}, "minus raw": {}}
    for number in numbers:
        row, cells = f"{number.task} {scored_by(number.name).reading}".strip(), sections[f"minus {number.against}"]
        interval = rf" \[{number.low_percent:+.0f}, {number.high_percent:+.0f}]"
        cells[row, number.clips] = f"{number.difference_percent:+.1f}{interval}"
        cells[row, "verdict"] = number.verdict  # of the clean clips where there are such: they come last
    return _table("Trained minus baseline, in points, paired over clips", [*kinds, "verdict"], sections)


def _number_table(title: str, numbers: Sequence[Number]) -> Table:
    """Put the numbers of a task side by side: sources and variants, and names; the longer of both lists downwards."""
    cells = {(_row(number), _column(number)): f"{number.text}{_interval(number)}" for number in numbers}
    rows, columns = (list(dict.fromkeys(place[axis] for place in cells)) for axis in (0, 1))
    if len(columns) > len(rows):
        columns, cells = rows, {(column, row): text for (row, column), text in cells.items()}
    return _table(title, columns, {"": cells})


def _row(number: Number) -> str:
    return escape(", ".join(filter(None, (number.quantity.words, number.quantity.unit))))


def _column(number: Number) -> str:
    """Name a source, and its variant of the task."""
    return escape(", ".join(filter(None, (number.source, *number.about.variants))))


def _interval(number: Number) -> str:
    return "" if number.low is None else rf" \[{number.low:.0f}, {number.high:.0f}]"


def _table(title: str, columns: Sequence[str], sections: Mapping[str, _Cells]) -> Table:
    """Return a table whose rows stand in sections, each below its name."""
    table = console_table(title)
    for place, heading in enumerate(["", *columns]):
        table.add_column(heading, justify="right" if place > 0 and heading != "verdict" else "left", no_wrap=True)
    for section, cells in sections.items():
        if section and cells:
            table.add_row(f"[bold]{section}[/bold]")
        for row in dict.fromkeys(row for row, _ in cells):
            table.add_row(row, *(cells.get((row, column), MISSING) for column in columns))
    return table
