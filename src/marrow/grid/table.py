"""What came out of a grid: its finished cells as tables, one per group, read from the run directories alone.

Scores are read and averaged as `marrow compare` does it; here the rows have the names and the order that the file gives
them, and the baselines have rows of their own.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from marrow.errors import DataError
from marrow.grid.cells import Cell as GridCell
from marrow.grid.origins import mixed_origins
from marrow.grid.plan import Grid, GridRow
from marrow.report.compare import compare_experiments
from marrow.report.compare_measures import NumberTable, numbers_of, raw_tasks
from marrow.report.compare_scores import Cell, Row
from marrow.report.runs import Run, read_run
from marrow.store.format import Store
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.numbers import Clips, Number, Quantity, plain_values
from marrow.tasks.summary import scores

_RAW = "raw coordinates"


@dataclass(frozen=True)
class TableRow:
    """A line of a table.

    Args:
        name: of the experiment or baseline.
        source: trained, random (initialisation) or raw (coordinates).
        seeds: that are finished.
        planned: seeds that the grid asks for.
        steps: optimizer steps, mean over seeds; None where unknown.
        cpu_seconds: of pre-training, mean over seeds; None where unknown.
        peak_memory_mib: the largest of all its runs; None where it was not logged.
        parameters: of the encoder.
        scores: by column; empty where no seed is finished.
        line: rows with the same are joined in the plot.
        architecture: kind, size and input of the encoder, as JSON; rows with the same begin at the same random
            initialisation. None where it is not known, and for raw coordinates.
    """

    name: str
    source: Literal["trained", "random", "raw"]
    seeds: tuple[int, ...]
    planned: tuple[int, ...]
    steps: float | None
    cpu_seconds: float | None
    peak_memory_mib: float | None
    parameters: int | None
    scores: dict[str, Cell]
    line: str | None = None
    architecture: str | None = None


@dataclass(frozen=True)
class _Numbers:
    """The column of a task without a top-1 score.

    Args:
        table: of `marrow compare`, of which the one number is shown that stands for its task.
    """

    table: NumberTable

    @property
    def quantity(self) -> Quantity:
        """What the number is."""
        return self.table.columns[self.table.headline]

    @property
    def heading(self) -> str:
        """Task, number and unit."""
        title, quantity = self.table.title, self.quantity
        return ", ".join(filter(None, (title[0].lower() + title[1:], quantity.short, quantity.unit)))

    def scores(self, numbers: Mapping[str, Number]) -> dict[str, Cell]:
        """Return the score by the heading; none where the number is not there."""
        name = self.table.headline
        if name not in numbers:
            return {}
        cell: Cell = {"official": numbers[name]}
        for number in numbers.values():
            if number.quantity.of == name and number.quantity.clips == "clean":
                cell["clean"] = number
        return {self.heading: cell}

    def of_row(self, name: str) -> dict[str, Cell]:
        """Return the score of an experiment."""
        return next((self.scores(row.numbers) for row in self.table.rows if row.name == name), {})


@dataclass(frozen=True)
class Table:
    """The rows of one group, in the order of the file, then the baselines."""

    group: str
    rows: list[TableRow]


@dataclass(frozen=True)
class GridTables:
    """All tables of a grid, and what is missing in them.

    Args:
        title: of the grid.
        protocol: that was scored.
        store: fingerprint of the data.
        test_clips: how many; 0 where nothing is finished.
        clean_clips: of them, those that are no copies of training clips.
        columns: what is measured, by task; one for each setting of their heads. Tasks without a top-1 score come last,
            with the one number that stands for them, and its unit.
        tables: one per group.
        missing: seeds of the cells that are not finished, by row.
        refused: seeds of the cells whose folder holds a run with other settings, by row.
        warnings: what a reader of the scores has to know.
    """

    title: str
    protocol: str
    store: str
    test_clips: int
    clean_clips: int
    columns: dict[str, Quantity]
    tables: list[Table]
    missing: dict[str, list[int]]
    refused: dict[str, list[int]]
    warnings: list[str]

    def plain(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return plain_values(self)

    @property
    def top1(self) -> list[str]:
        """The columns of top-1 scores of one class per clip."""
        return [column for column, quantity in self.columns.items() if quantity.predictions]

    @property
    def kinds(self) -> tuple[Clips, ...]:
        """Return which kinds of score there are."""
        return ("official", "clean") if self.clean_clips < self.test_clips else ("official",)

    def kinds_of(self, column: str) -> tuple[Clips, ...]:
        """Return those that a column has: some tasks know no copies."""
        found = [row.scores[column] for each in self.tables for row in each.rows if column in row.scores]
        return self.kinds if any("clean" in cell for cell in found) or not found else ("official",)


def read_tables(grid: Grid, cells: Sequence[GridCell], store: Store, refused: Collection[Path] = ()) -> GridTables:
    """Read what the finished cells of a grid have found.

    Args:
        grid: the table of experiments.
        cells: all of its cells.
        store: the data.
        refused: folders of cells that are not looked at, because they hold another run.
    """
    runs: dict[str, list[Run]] = {}
    missing: dict[str, list[int]] = {}
    others: dict[str, list[int]] = {}
    damaged: list[str] = []
    for cell in cells:
        evaluation = cell.scoring.found(cell.folder)
        if cell.folder in refused:
            others.setdefault(cell.row.name, []).append(cell.seed)
        elif evaluation is None or cell.next_work() is not None:
            missing.setdefault(cell.row.name, []).append(cell.seed)
        else:
            try:
                runs.setdefault(cell.row.name, []).append(read_run(cell.folder, [evaluation]))
            except DataError as error:
                damaged.append(f"{cell.name} is finished, but left out: {error}.")
    # Which seeds and baselines a row has is in its file, and in the tables.
    comparison = compare_experiments(list(runs.items()), said_elsewhere=("seeds", "baselines"))
    scored = {row.name: row for ranking in comparison.rankings for row in ranking.rows}
    first = comparison.rankings[0] if comparison.rankings else None
    columns = {
        column: row.cells[column]["official"].quantity
        for ranking in comparison.rankings
        for column in ranking.columns
        for row in ranking.rows
        if column in row.cells
    }
    numbers = [_Numbers(table) for ranking in comparison.rankings for table in ranking.measured]
    tables = [
        Table(group, _rows([row for row in grid.rows if group in row.groups], scored, runs, numbers))
        for group in grid.groups
    ]
    return GridTables(
        title=grid.title,
        protocol=grid.protocol,
        store=store.fingerprint,
        test_clips=first.test_clips if first else 0,
        clean_clips=first.clean_clips if first else 0,
        columns=columns | {column.heading: column.quantity for column in numbers},
        tables=tables,
        missing=missing,
        refused=others,
        warnings=[*damaged, *mixed_origins(runs), *comparison.warnings],
    )


def _rows(
    rows: Sequence[GridRow], scored: dict[str, Row], runs: dict[str, list[Run]], numbers: Sequence[_Numbers]
) -> list[TableRow]:
    """Return the lines of a group: the experiments, then their baselines."""
    lines = [_row(row, scored.get(row.name), runs.get(row.name, []), numbers) for row in rows]
    with_baselines = [row for row in rows if row.baselines and row.name in scored]
    for row in with_baselines:
        name = "random initialisation" + (f" ({row.name})" if len(with_baselines) > 1 else "")
        evaluation = EvaluationReport.joined([each for run in runs[row.name] for each in run.evaluations])
        found = _baseline("random", scored[row.name], evaluation)
        for each in _beside(row, numbers):
            found |= each.scores(numbers_of(evaluation, "random", each.table.task))
        seeds = tuple(dict.fromkeys(report.seed for report in evaluation.reports if report.source == "random"))
        how = _architecture(runs[row.name])
        lines.append(TableRow(name, "random", seeds, seeds, None, None, None, None, found, architecture=how))
    for row in with_baselines[:1]:
        evaluation = EvaluationReport.joined([each for run in runs[row.name] for each in run.evaluations])
        by_name = {_RAW: _baseline("raw", scored[row.name], evaluation)}
        for each in _beside(row, numbers):
            for task, about in raw_tasks(evaluation, each.table.about).items():
                # What reads coordinates in whatever way is one line; a rule that learns nothing has its own.
                name = about.rule or _RAW
                by_name.setdefault(name, {}).update(each.scores(numbers_of(evaluation, "raw", task)))
        lines += [
            TableRow(name, "raw", (), (), None, None, None, None, found) for name, found in by_name.items() if found
        ]
    return lines


def _row(row: GridRow, found: Row | None, runs: Sequence[Run], numbers: Sequence[_Numbers]) -> TableRow:
    if found is None:
        return TableRow(row.name, "trained", (), row.seeds, None, None, None, None, {}, row.line)
    memory = [entry["peak_memory_mib"] for run in runs for entry in run.log if "peak_memory_mib" in entry]
    scores_by_column = dict(found.cells)
    for each in numbers:
        scores_by_column |= each.of_row(row.name)
    return TableRow(
        name=row.name,
        source="trained",
        seeds=tuple(seed for seed in row.seeds if seed in found.seeds),
        planned=row.seeds,
        steps=found.steps,
        cpu_seconds=found.cpu_seconds,
        peak_memory_mib=max(memory, default=None),
        parameters=found.parameters,
        scores=scores_by_column,
        line=row.line,
        architecture=_architecture(runs),
    )


def _beside(row: GridRow, numbers: Sequence[_Numbers]) -> list[_Numbers]:
    return [each for each in numbers if each.of_row(row.name)]


def _baseline(source: Literal["random", "raw"], beside: Row, evaluation: EvaluationReport) -> dict[str, Cell]:
    """Return the top-1 scores of a baseline in the columns of the encoders that it was measured beside."""
    # The best epoch was chosen on the test clips: it is no score to compare by.
    every: dict[str, Cell] = {}
    for score in scores(evaluation):
        if score.source == source and not score.quantity.chosen_on_test:
            every.setdefault(score.task, {})[score.quantity.clips] = score
    # The raw coordinates have their own tasks: they stand beside the encoders' of the same kind.
    partners = {
        column: cell["official"].task if source == "random" else cell["official"].about.beside
        for column, cell in beside.cells.items()
    }
    return {column: every[task] for column, task in partners.items() if task in every}


def _architecture(runs: Sequence[Run]) -> str | None:
    description = runs[0].description if runs else None
    if description is None or "kind" not in description:
        return None
    return json.dumps({name: description.get(name) for name in ("kind", "config", "input")}, sort_keys=True)
