"""What came out of a grid: its finished cells as tables, one per group, read from the run directories alone.

Scores are read and averaged as `marrow compare` does it; here the rows have the names and the order that the file gives
them, and the baselines have rows of their own.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from marrow.errors import DataError
from marrow.grid.cells import Cell as GridCell
from marrow.grid.plan import Grid, GridRow
from marrow.report.compare import Comparison, Experiment, compare_experiments
from marrow.report.members import Cell, Cells, Member, architecture
from marrow.report.ranking import Baseline, Table, baselines_beside
from marrow.report.runs import Run, read_run
from marrow.store.format import Store
from marrow.tasks.numbers import Clips, Quantity, plain_values

_RAW = "raw coordinates"


@dataclass(frozen=True)
class TableRow:
    """A line of a table.

    Args:
        name: of the experiment or baseline.
        source: trained, random (initialisation) or raw (coordinates).
        seeds: that are finished.
        planned: seeds that the grid asks for.
        scores: by column; empty where no seed is finished.
        steps: optimizer steps, mean over seeds; None where unknown.
        cpu_seconds: of pre-training, mean over seeds; None where unknown.
        peak_memory_mib: the largest of all its runs; None where it was not logged.
        parameters: of the encoder.
        line: rows with the same are joined in the plot.
        architecture: kind, size and input of the encoder, as JSON; rows with the same begin at the same random
            initialisation. None where it is not known, and for raw coordinates.
    """

    name: str
    source: Literal["trained", "random", "raw"]
    seeds: tuple[int, ...]
    planned: tuple[int, ...]
    scores: dict[str, Cell]
    steps: float | None = None
    cpu_seconds: float | None = None
    peak_memory_mib: float | None = None
    parameters: int | None = None
    line: str | None = None
    architecture: str | None = None


@dataclass(frozen=True)
class _Column:
    """A column of a grid.

    Args:
        heading: task; where that has no top-1 score, number and unit as well.
        table: of `marrow compare`.
        name: of the score in that table.
    """

    heading: str
    table: Table
    name: str

    @property
    def quantity(self) -> Quantity:
        """What the number is."""
        return self.table.number_at((self.name, "official")).quantity


@dataclass(frozen=True)
class GroupTable:
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
    tables: list[GroupTable]
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
        cells = [row.scores[column] for table in self.tables for row in table.rows if column in row.scores]
        return self.kinds if any("clean" in cell for cell in cells) or not cells else ("official",)


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
    first = comparison.rankings[0] if comparison.rankings else None
    columns = _columns(comparison)
    costs = {name: costs for ranking in comparison.rankings for name, costs in ranking.experiments.items()}
    lines = {row.name: _line(row, columns, costs.get(row.name), runs.get(row.name, [])) for row in grid.rows}
    tables = []
    for group in grid.groups:
        rows = [row for row in grid.rows if group in row.groups]
        members = [_member(row, runs[row.name]) for row in rows if row.baselines and row.name in costs]
        tables.append(GroupTable(group, [*(lines[row.name] for row in rows), *_baselines(members, columns)]))
    return GridTables(
        title=grid.title,
        protocol=grid.protocol,
        store=store.fingerprint,
        test_clips=first.test_clips if first else 0,
        clean_clips=first.clean_clips if first else 0,
        columns={column.heading: column.quantity for column in columns},
        tables=tables,
        missing=missing,
        refused=others,
        warnings=[*damaged, *mixed_origins(runs), *comparison.warnings],
    )


def mixed_origins(runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """Say where rows were made by different versions of marrow, or in different precisions; empty where they were not.

    Args:
        runs: of each row.
    """
    said = []
    for how, read in (("by different versions of marrow", _version), ("in different precisions", _precision)):
        made: dict[str, list[str]] = {}
        for name, group in runs.items():
            # A run that was stopped and went on has more than one start.
            for origin in dict.fromkeys(read(start) for run in group for start in run.environments):
                if origin is not None:
                    made.setdefault(origin, []).append(name)
        if len(made) > 1:
            listed = "; ".join(f"{origin}: {', '.join(names)}" for origin, names in made.items())
            said.append(f"The runs were made {how} ({listed}).")
    return said


def _columns(comparison: Comparison) -> list[_Column]:
    """Return every column of top-1 scores, then of each other task the one number that stands for it."""
    tables = [table for ranking in comparison.rankings for table in ranking.tables]
    top1 = [
        _Column(scoring.name, table, scoring.name) for table in tables if table.is_top1 for scoring in table.scorings
    ]
    others = []
    for table in (table for table in tables if not table.is_top1):
        quantity = table.number_at((table.headline, "official")).quantity
        title = table.title[0].lower() + table.title[1:]
        heading = ", ".join(filter(None, (title, quantity.short, quantity.unit)))
        others.append(_Column(heading, table, table.headline))
    return top1 + others


def _chosen(columns: Sequence[_Column], table: Table, cells: Cells) -> dict[str, Cell]:
    """Return what stands in the columns that are of a table of `marrow compare`, by their headings."""
    return {column.heading: cells[column.name] for column in columns if column.table is table and column.name in cells}


def _tables(columns: Sequence[_Column]) -> list[Table]:
    return list({id(column.table): column.table for column in columns}.values())


def _line(row: GridRow, columns: Sequence[_Column], costs: Experiment | None, runs: Sequence[Run]) -> TableRow:
    if costs is None:
        return TableRow(row.name, "trained", (), row.seeds, {}, line=row.line)
    found: dict[str, Cell] = {}
    for table in _tables(columns):
        for of_row in (of_row for of_row in table.rows if of_row.name == row.name):
            found |= _chosen(columns, table, of_row.cells)
    memory = [entry["peak_memory_mib"] for run in runs for entry in run.log if "peak_memory_mib" in entry]
    return TableRow(
        name=row.name,
        source="trained",
        seeds=tuple(seed for seed in row.seeds if seed in costs.seeds),
        planned=row.seeds,
        steps=costs.steps,
        cpu_seconds=costs.cpu_seconds,
        peak_memory_mib=max(memory, default=None),
        parameters=costs.parameters,
        scores=found,
        line=row.line,
        architecture=architecture(runs[0].description),
    )


def _member(row: GridRow, runs: Sequence[Run]) -> Member:
    return Member(row.name, [(run, evaluation) for run in runs for evaluation in run.evaluations])


def _baselines(members: Sequence[Member], columns: Sequence[_Column]) -> list[TableRow]:
    """Return the lines below a group: random initialisation of each of its members, then what has no encoder, once."""
    lines = []
    for member in members:
        name = "random initialisation" + (f" ({member.name})" if len(members) > 1 else "")
        found, baselines = _beside(member, columns, "random", lambda _: "").get("", ({}, []))
        seeds = tuple(dict.fromkeys(seed for baseline in baselines for seed in baseline.seeds))
        how = architecture(member.scored[0][0].description)
        lines.append(TableRow(name, "random", seeds, seeds, found, architecture=how))
    for member in members[:1]:
        # What reads coordinates in whatever way is one line; a rule that learns nothing has its own.
        by_name = _beside(member, columns, "raw", lambda baseline: baseline.reports[0].about.rule or _RAW)
        names = sorted(by_name, key=lambda name: name != _RAW)
        lines += [TableRow(name, "raw", (), (), by_name[name][0]) for name in names]
    return lines


def _beside(
    member: Member, columns: Sequence[_Column], source: str, name_of: Callable[[Baseline], str]
) -> dict[str, tuple[dict[str, Cell], list[Baseline]]]:
    """Return what a kind of baseline found beside a member, by the name of its line."""
    by_name: dict[str, tuple[dict[str, Cell], list[Baseline]]] = {}
    for table in _tables(columns):
        for baseline in baselines_beside(member, table.scorings, source):
            found, baselines = by_name.setdefault(name_of(baseline), ({}, []))
            found.update(_chosen(columns, table, baseline.cells))
            baselines.append(baseline)
    return by_name


def _version(start: Mapping[str, Any]) -> str | None:
    """Return version and commit, as short as people write them, and whether the checkout had changes besides."""
    if "marrow" not in start:
        return None
    commit = start.get("commit")
    if commit is None:
        return str(start["marrow"])
    number, dirty, _ = str(commit).partition("-dirty")
    return f"{start['marrow']} at {number[:8]}{dirty}"


def _precision(start: Mapping[str, Any]) -> str | None:
    """Return the number format, without the reason that follows it."""
    return str(start["precision"]).split()[0].rstrip(",") if start.get("precision") else None
