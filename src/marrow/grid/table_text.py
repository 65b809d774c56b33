"""What came out of a grid as text: the cells of a table, and a finished cell in one line."""

from collections.abc import Callable

from marrow.grid.cells import Cell
from marrow.grid.table import GridTables, Table, TableRow
from marrow.report.compare_tables import best_of, number_text
from marrow.report.scores import task_name
from marrow.tasks.numbers import Clips
from marrow.train.logs import duration, read_log


def finished_line(cell: Cell) -> str:
    """Return a finished cell in one line: steps, processor seconds, first score."""
    evaluation = cell.scoring.found(cell.folder)
    last = read_log(cell.folder / "log.jsonl")[-1:]
    said = f"{cell.name}: "
    said += (
        f"{last[0]['step']:,} steps, {duration(float(last[0]['cpu_seconds']))} of the processor" if last else "no log"
    )
    first = next((each for each in evaluation.reports if each.source == "trained"), None) if evaluation else None
    if first is not None:
        name, value = next(iter(first.metrics.items()))
        quantity = first.quantity(name)
        of = "" if quantity.predictions else f", {quantity.words}"
        said += f", {task_name(first.task)}{of} {value:.1f} {quantity.unit}".rstrip()
    return said


def table_lines(table: Table, tables: GridTables, best: Callable[[str], str]) -> tuple[list[str], list[list[str]]]:
    """Return the heading and the cells of a table as text.

    Args:
        table: one of them.
        tables: what it belongs to.
        best: marks the best score of a column, in a grid of more than one row.
    """
    shown: list[tuple[str, Clips]] = [(column, kind) for column in tables.columns for kind in tables.kinds_of(column)]
    head = ["row", "seeds", "steps", "CPU, s", "peak, MiB"]
    head += [f"{column}{f', {kind}' if len(tables.kinds_of(column)) > 1 else ''}" for column, kind in shown]
    trained = {row.name for each in tables.tables for row in each.rows if row.source == "trained"}
    lines = [_facts(row) for row in table.rows]
    for column, kind in shown:
        numbers = [row.scores.get(column, {}).get(kind) for row in table.rows]
        places = best_of(numbers, tables.columns[column].better) if len(trained) > 1 else []
        for place, (line, number) in enumerate(zip(lines, numbers, strict=True)):
            line.append(best(number_text(number)) if place in places else number_text(number))
    return head, lines


def _facts(row: TableRow) -> list[str]:
    seeds = ", ".join(map(str, row.seeds)) or "–"
    return [
        row.name,
        seeds if len(row.seeds) == len(row.planned) else f"{seeds} (of {len(row.planned)})",
        "–" if row.steps is None else f"{row.steps:,.0f}",
        "–" if row.cpu_seconds is None else f"{row.cpu_seconds:,.0f}",
        "–" if row.peak_memory_mib is None else f"{row.peak_memory_mib:,.0f}",
    ]
