"""The cells of a grid: a row with one seed each, the commands that make it, and what there is of it already.

A cell's folder is a run directory of `marrow pretrain` and nothing else; what the commands say stands in a file beside
it. So everything that works on runs (`marrow report`, `marrow compare`, `marrow evaluate`) works on cells.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from marrow.errors import ConfigError, MarrowError
from marrow.grid.plan import Grid, GridRow
from marrow.pretrain import build_objective
from marrow.pretrain_config import MAY_CHANGE, PretrainConfig
from marrow.store.format import Store
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.run_facts import facts_of
from marrow.train.run_directory import CONFIG, differences, plain

RESULT = "result.json"


@dataclass(frozen=True)
class Work:
    """One command of a cell.

    Args:
        words: what follows `marrow` on the command line.
        is_done: whether what it makes is there; it is asked again after the command.
    """

    words: tuple[str, ...]
    is_done: Callable[[], bool]

    @property
    def name(self) -> str:
        """Name of the command."""
        return self.words[0]


@dataclass(frozen=True)
class Cell:
    """A row with one seed.

    Args:
        row: the experiment.
        seed: of the run.
        folder: the run directory.
        config: every setting that the run is to have.
        work: the commands that make it, one after the other.
    """

    row: GridRow
    seed: int
    folder: Path
    config: PretrainConfig
    work: tuple[Work, ...]

    @property
    def log(self) -> Path:
        """What the commands said."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def name(self) -> str:
        """What it is called for people."""
        return f"{self.row.name}, seed {self.seed}"

    def next_work(self) -> Work | None:
        """Return the first command whose outcome is missing; None where the cell is finished."""
        return next((work for work in self.work if not work.is_done()), None)


def make_cells(
    grid: Grid, store: Store, out: Path, threads: int, parse: Callable[[Sequence[str]], PretrainConfig]
) -> list[Cell]:
    """Return the cells of a grid, in the order of the file, seeds innermost.

    Args:
        grid: the table of experiments.
        store: the data.
        out: folder of the grid.
        threads: of each command.
        parse: turns the words after `marrow` of a pre-training into its settings, as the command itself does.

    Raises:
        ConfigError: a row's recipe or settings are refused, or two rows are the same experiment; names the row.
    """
    cells: list[Cell] = []
    known: dict[str, GridRow] = {}
    for row in grid.rows:
        folder = out / "cells" / row.slug
        of_seed = {seed: _pretrain_words(grid, row, store, folder / f"seed{seed}", seed, threads) for seed in row.seeds}
        try:
            config = parse(of_seed[row.seeds[0]])
            build_objective(config, store.skeleton)  # refuses what does not fit together
        except (MarrowError, ValueError) as error:
            raise ConfigError(f"{row.place}: row {row.name!r}: {error}") from error
        same = json.dumps({**plain(config), "seed": None, "out": None}, sort_keys=True)
        if same in known:
            raise ConfigError(
                f"{row.place}: row {row.name!r} has the same settings as row {known[same].name!r} "
                f"({known[same].place}); a row that is to stand in two tables names both: group: [one, other]"
            )
        known[same] = row
        for seed, words in of_seed.items():
            run = folder / f"seed{seed}"
            work = (
                Work(words, (run / RESULT).is_file),
                Work(
                    _evaluate_words(grid, row, store, run, config),
                    lambda run=run, row=row: found_evaluation(run, grid, row, store) is not None,
                ),
            )
            cells.append(Cell(row, seed, run, replace(config, seed=seed, out=run), work))
    return cells


def found_evaluation(run: Path, grid: Grid, row: GridRow, store: Store) -> EvaluationReport | None:
    """Return the report of a run on the grid's protocol and tasks.

    None where it lacks a task or a baseline, was made of another encoder, or with probes of another seed than 0.
    """
    for path in sorted((run / "reports").glob("*.json")):
        try:
            report = _of_tasks(EvaluationReport.load(path), grid)
            if _answers(report, facts_of(run, 0).fingerprint, grid, row, store):
                return report
        except (MarrowError, OSError, ValueError, TypeError, AttributeError):
            continue  # damaged, or not of marrow: another may be the one
    return None


def _of_tasks(report: EvaluationReport, grid: Grid) -> EvaluationReport:
    """Leave out what a report holds besides the grid's tasks and raw coordinates, as more was asked for by hand."""
    # The linear probe scores a logistic regression beside it.
    kinds = {*grid.tasks, *(("logistic",) if "linear_probe" in grid.tasks else ())}
    kept = [each for each in report.reports if each.source == "raw" or each.task.partition("/")[0] in kinds]
    return replace(report, reports=kept)


def _answers(report: EvaluationReport, encoder: str, grid: Grid, row: GridRow, store: Store) -> bool:
    """Say whether a report holds what the grid asks of a row, about the encoder with this fingerprint."""
    asked = {("trained", task) for task in grid.tasks}
    asked |= {("random", task) for task in grid.tasks} if row.baselines else set()
    there = {(each.source, each.task.partition("/")[0]) for each in report.reports}
    raw = not row.baselines or any(each.source == "raw" for each in report.reports)
    known = (report.protocol, report.store, report.settings.get("probe_seed"))
    return (
        known == (grid.protocol, store.fingerprint, 0)
        and asked <= there
        and raw
        and [run.fingerprint for run in report.runs] == [encoder]
    )


def conflict(cell: Cell, store: Store) -> str | None:
    """Say how the run in a cell's folder differs from what the grid asks for; None where it does not, or is not there.

    An unfinished run is judged as `marrow pretrain` will judge it, which is to go on with it. A finished one need only
    be what the grid asks for: a setting that its marrow did not know yet is no difference while it has its default.
    """
    if not (cell.folder / CONFIG).is_file():
        return None
    config = cell.config
    defaults = plain(PretrainConfig(config.store, config.out, method=config.method))
    finished = (cell.folder / RESULT).is_file()
    try:
        found = differences(
            *(cell.folder, plain(config), store.fingerprint, MAY_CHANGE), defaults=defaults if finished else None
        )
    except ConfigError as error:
        return f"the run there cannot be read: {error}"
    return "; ".join(found) or None


def _pretrain_words(grid: Grid, row: GridRow, store: Store, run: Path, seed: int, threads: int) -> tuple[str, ...]:
    options = {"recipe": row.recipe, "store": store.path, "out": run, "protocol": grid.protocol}
    options |= {"seed": seed, "threads": threads, **row.budget, **row.settings}
    return ("pretrain", *(f"--{name}={_value(value)}" for name, value in options.items()))


def _evaluate_words(grid: Grid, row: GridRow, store: Store, run: Path, config: PretrainConfig) -> tuple[str, ...]:
    options = {"store": store.path, "protocol": grid.protocol, "tasks": ",".join(grid.tasks)}
    options |= {"baselines": "random,raw" if row.baselines else "none"}
    options |= {name: how for name in ("device", "precision") if (how := getattr(config, name)) != "auto"}
    return ("evaluate", str(run), *(f"--{name}={_value(value)}" for name, value in options.items()))


def _value(value: Any) -> str:
    """Return a value as the command line takes it."""
    return str(value) if isinstance(value, str | Path) else json.dumps(value, default=str)
