"""What came out of a grid: its finished cells as tables, one per group, read from the run directories alone.

Scores are read and averaged as `marrow compare` does it; here the rows have the names and the order that the file gives
them, and the baselines have rows of their own.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from marrow.errors import DataError
from marrow.grid.cells import Cell
from marrow.grid.origins import mixed_origins
from marrow.grid.plan import Grid, GridRow
from marrow.report.compare import compare_experiments
from marrow.report.compare_measures import Number, NumberTable, clean_name, numbers_of, raw_name, raw_tasks
from marrow.report.compare_scores import Row
from marrow.report.runs import Run, read_run
from marrow.report.scores import task_name
from marrow.store.format import Store
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.summary import Score, raw_task, scores

Kind = Literal["official", "clean"]


@dataclass(frozen=True)
class SeedScores:
    """A score over seeds, in percent or in the unit that its column names.

    Args:
        official: over all test clips: mean and deviation over seeds.
        clean: without copies of training clips; None where there are none.
        by_seed: official score of each seed.
        draws_std: deviation over draws of the labels, mean over seeds, by "official" and "clean"; empty where there is
            one draw.
    """

    official: tuple[float, float]
    clean: tuple[float, float] | None
    by_seed: tuple[float, ...]
    draws_std: dict[str, float] = field(default_factory=dict)


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
    scores: dict[str, SeedScores]
    line: str | None = None
    architecture: str | None = None


@dataclass(frozen=True)
class _Numbers:
    """The column of a task without a top-1 score.

    Args:
        table: of `marrow compare`, of which the one number is shown that stands for its kind.
    """

    table: NumberTable

    @property
    def heading(self) -> str:
        """Kind, number and unit."""
        title, column = self.table.title, self.table.headline
        return ", ".join([title[0].lower() + title[1:], column.heading, *([column.unit] if column.unit else [])])

    def scores(self, numbers: Mapping[str, Number]) -> dict[str, SeedScores]:
        """Return the score by the heading; none where the number is not there."""
        name = self.table.headline.name
        if name not in numbers:
            return {}
        number, clean = numbers[name], numbers.get(clean_name(name))
        pair = None if clean is None else (clean.mean, clean.std)
        return {self.heading: SeedScores((number.mean, number.std), pair, number.by_seed)}

    def of_row(self, name: str) -> dict[str, SeedScores]:
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
        columns: tasks; one for each setting of their heads. Tasks without a top-1 score come last, with the one number
            that stands for their kind, and its unit.
        tables: one per group.
        missing: seeds of the cells that are not finished, by row.
        refused: seeds of the cells whose folder holds a run with other settings, by row.
        warnings: what a reader of the scores has to know.
        better: of the columns without a top-1 score, which numbers are better: "higher", "lower", or "" where that is
            not known.
    """

    title: str
    protocol: str
    store: str
    test_clips: int
    clean_clips: int
    columns: list[str]
    tables: list[Table]
    missing: dict[str, list[int]]
    refused: dict[str, list[int]]
    warnings: list[str]
    better: dict[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Return which kinds of score there are."""
        return ("official", "clean") if self.clean_clips < self.test_clips else ("official",)

    def kinds_of(self, column: str) -> tuple[Kind, ...]:
        """Return those that a column has: some tasks know no copies."""
        found = [row.scores[column] for each in self.tables for row in each.rows if column in row.scores]
        return self.kinds if any(each.clean for each in found) or not found else ("official",)


def read_tables(grid: Grid, cells: Sequence[Cell], store: Store, refused: Collection[Path] = ()) -> GridTables:
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
    columns = list(dict.fromkeys(column for ranking in comparison.rankings for column in ranking.columns))
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
        columns=list(dict.fromkeys([*columns, *(each.heading for each in numbers)])),
        tables=tables,
        missing=missing,
        refused=others,
        warnings=[*damaged, *mixed_origins(runs), *comparison.warnings],
        better={each.heading: each.table.headline.better or "" for each in numbers},
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
        by_name = {"raw coordinates": _baseline("raw", scored[row.name], evaluation)}
        for each in _beside(row, numbers):
            for task in raw_tasks(evaluation, each.table.task):
                # What reads coordinates in whatever way is one line; a rule that learns nothing has its own.
                name = raw_name(task).partition(",")[0]
                by_name.setdefault(name, {}).update(each.scores(numbers_of(evaluation, "raw", task)))
        lines += [
            TableRow(name, "raw", (), (), None, None, None, None, found) for name, found in by_name.items() if found
        ]
    return lines


def _row(row: GridRow, found: Row | None, runs: Sequence[Run], numbers: Sequence[_Numbers]) -> TableRow:
    if found is None:
        return TableRow(row.name, "trained", (), row.seeds, None, None, None, None, {}, row.line)
    memory = [entry["peak_memory_mib"] for run in runs for entry in run.log if "peak_memory_mib" in entry]
    scores_by_column = {
        column: SeedScores(cell.official, cell.clean, tuple(run.percent for run in cell.runs), cell.draws_std)
        for column, cell in found.cells.items()
    }
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


def _baseline(source: Literal["random", "raw"], beside: Row, evaluation: EvaluationReport) -> dict[str, SeedScores]:
    """Return the top-1 scores of a baseline in the columns of the encoders that it was measured beside."""
    # The best epoch was chosen on the test clips: it is no score to compare by.
    every = {(score.task, score.clips): score for score in scores(evaluation) if _is_score_of(score, source)}
    found: dict[str, SeedScores] = {}
    for task in dict.fromkeys(report.task for report in evaluation.reports if report.source == "trained"):
        # The raw coordinates have their own tasks: they stand beside the encoders' of the same kind.
        theirs = task if source == "random" else raw_task(task)
        column = next((each for each in beside.cells if each.partition(" #")[0] == task_name(task)), None)
        of_kinds = {clips: every.get((theirs, clips)) if theirs else None for clips in ("official", "clean")}
        official, clean = of_kinds["official"], of_kinds["clean"]
        if column is not None and official is not None:
            pair = None if clean is None else (clean.mean_percent, clean.std_percent)
            draws = {
                clips: score.draws_std_percent
                for clips, score in of_kinds.items()
                if score is not None and score.draws_std_percent is not None
            }
            found[column] = SeedScores((official.mean_percent, official.std_percent), pair, official.by_seed, draws)
    return found


def _architecture(runs: Sequence[Run]) -> str | None:
    description = runs[0].description if runs else None
    if description is None or "kind" not in description:
        return None
    return json.dumps({name: description.get(name) for name in ("kind", "config", "input")}, sort_keys=True)


def _is_score_of(score: Score, source: str) -> bool:
    return score.source == source and "best" not in score.name
