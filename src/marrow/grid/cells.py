"""The cells of a grid: a row with one seed each, the commands that make it, and what there is of it already.

A cell's folder is a run directory of `marrow pretrain` and nothing else; what the commands say stands in a file beside
it. So everything that works on runs (`marrow report`, `marrow compare`, `marrow evaluate`) works on cells.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from marrow.errors import ConfigError, MarrowError
from marrow.grid.plan import Grid, GridRow
from marrow.pretrain_config import MAY_CHANGE, PretrainConfig, with_batch_size
from marrow.pretraining import build_objective
from marrow.store.format import Store
from marrow.tasks.base import Report
from marrow.tasks.encoders import facts_of
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.train.run_directory import CONFIG, differences, plain, recorded

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
class Scoring:
    """What is asked of the scores of a row.

    Args:
        protocol: that is scored on.
        store: fingerprint of the data.
        tasks: names of the evaluations.
        settings: of the tasks that have some, by name.
        baselines: whether random initialisation and raw coordinates are scored, too.
    """

    protocol: str
    store: str
    tasks: tuple[str, ...]
    settings: Mapping[str, Any]
    baselines: bool

    def found(self, run: Path) -> EvaluationReport | None:
        """Return the report of a run that holds what is asked for, and nothing besides.

        None where it lacks a task or a baseline, was made of another encoder, with probes of another seed than 0, or by
        tasks with other settings.
        """
        for path in sorted((run / "reports").glob("*.json")):
            try:
                report = self._asked_of(EvaluationReport.load(path))
                if self._answers(report, facts_of(run, 0).fingerprint):
                    return report
            except (MarrowError, OSError, ValueError, TypeError, AttributeError):
                continue  # damaged, or not of marrow: another may be the one
        return None

    def _asked_of(self, report: EvaluationReport) -> EvaluationReport:
        """Leave out what a report holds besides the tasks and raw coordinates, as more was asked for by hand."""
        kept = [
            part
            for part in report.reports
            if part.source == "raw" or (part.about.kind in self.tasks and self._is_set_so(part))
        ]
        return replace(report, reports=kept)

    def _is_set_so(self, report: Report) -> bool:
        """Say whether a task had the settings; one that its marrow did not know yet had its default."""
        if report.about.kind not in self.settings:
            return True
        wanted, asked = self.settings[report.about.kind], report.asked
        if not asked:
            return False
        defaults = plain(type(wanted)())
        groups = {name: value | asked.get(name, {}) for name, value in defaults.items() if isinstance(value, dict)}
        return defaults | asked | groups == plain(wanted)

    def _answers(self, report: EvaluationReport, encoder: str) -> bool:
        """Say whether a report holds what is asked for, about the encoder with this fingerprint."""
        asked = {("trained", task) for task in self.tasks}
        asked |= {("random", task) for task in self.tasks} if self.baselines else set()
        there = {(part.source, part.about.kind) for part in report.reports}
        raw = not self.baselines or any(part.source == "raw" for part in report.reports)
        return (
            (report.protocol, report.store, report.settings.get("probe_seed")) == (self.protocol, self.store, 0)
            and asked <= there
            and raw
            and [run.fingerprint for run in report.runs] == [encoder]
        )


@dataclass(frozen=True)
class Cell:
    """A row with one seed.

    Args:
        row: the experiment.
        seed: of the run.
        folder: the run directory.
        config: every setting that the run is to have.
        scoring: what is asked of its scores.
        work: the commands that make it, one after the other.
    """

    row: GridRow
    seed: int
    folder: Path
    config: PretrainConfig
    scoring: Scoring
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
    grid: Grid,
    store: Store,
    out: Path,
    threads: int,
    parse: Callable[[Sequence[str]], PretrainConfig],
    parse_evaluation: Callable[[Sequence[str]], Mapping[str, Any]],
) -> list[Cell]:
    """Return the cells of a grid, in the order of the file, seeds innermost.

    Args:
        grid: the table of experiments.
        store: the data.
        out: folder of the grid.
        threads: of each command.
        parse: turns the words after `marrow` of a pre-training into its settings, as the command itself does.
        parse_evaluation: likewise, those of an evaluation into the settings of its tasks, by name.

    Raises:
        ConfigError: a row's recipe or settings are refused, or two rows are the same experiment; names the row.
    """
    cells: list[Cell] = []
    rows: dict[str, GridRow] = {}
    for row in grid.rows:
        folder = out / "cells" / row.slug
        of_seed = {seed: _pretrain_words(grid, row, store, folder / f"seed{seed}", seed, threads) for seed in row.seeds}
        try:
            config = parse(of_seed[row.seeds[0]])
            build_objective(config, store.skeleton)  # refuses what does not fit together
            scoring = _scoring(grid, row, store, config, parse_evaluation)
        except (MarrowError, ValueError) as error:
            raise ConfigError(f"{row.place}: row {row.name!r}: {error}") from error
        how = {"tasks": row.tasks, "settings": {name: plain(config) for name, config in scoring.settings.items()}}
        same = json.dumps({**plain(config), "seed": None, "out": None, **how}, sort_keys=True)
        if same in rows:
            raise ConfigError(
                f"{row.place}: row {row.name!r} has the same settings as row {rows[same].name!r} "
                f"({rows[same].place}); a row that is to stand in two tables names both: group: [one, other]"
            )
        rows[same] = row
        for seed, words in of_seed.items():
            run = folder / f"seed{seed}"
            work = (
                Work(words, (run / RESULT).is_file),
                Work(
                    _evaluate_words(grid, row, store, run, config),
                    lambda run=run, scoring=scoring: scoring.found(run) is not None,
                ),
            )
            cells.append(Cell(row, seed, run, replace(config, seed=seed, out=run), scoring, work))
    return cells


def conflict(cell: Cell, store: Store) -> str | None:
    """Say how the run in a cell's folder differs from what the grid asks for; None where it does not, or is not there.

    Other limits are a difference: an extended run is not what the others of its table are. A finished run need only be
    what the grid asks for: a setting that its marrow did not know yet is no difference while it has its default.
    """
    if not (cell.folder / CONFIG).is_file():
        return None
    config = with_batch_size(cell.config, 0, 1)  # that of the run which is there
    defaults = plain(PretrainConfig(config.store, config.out, method=config.method))
    finished = (cell.folder / RESULT).is_file()
    try:
        # Runs of a marrow that did not know it ended at their other limit, which is compared.
        may_change = MAY_CHANGE if recorded(cell.folder, ["ends_at_epochs"]) else (*MAY_CHANGE, "ends_at_epochs")
        differing = differences(
            *(cell.folder, plain(config), store.fingerprint, may_change),
            defaults=defaults if finished else None,
        )
    except ConfigError as error:
        return f"the run there cannot be read: {error}"
    return "; ".join(differing) or None


def _scoring(
    grid: Grid, row: GridRow, store: Store, config: PretrainConfig, parse: Callable[[Sequence[str]], Mapping[str, Any]]
) -> Scoring:
    """Return what a row asks for.

    Args:
        grid: the table of experiments.
        row: one of them.
        store: the data.
        config: of its runs.
        parse: turns the words after `marrow` of an evaluation into the settings of its tasks, by name.

    Raises:
        ConfigError: `marrow evaluate` refuses the settings.
    """
    words = _evaluate_words(grid, row, store, Path("run"), config)
    settings = {name: config for name, config in parse(words).items() if name in row.tasks}
    return Scoring(grid.protocol, store.fingerprint, row.tasks, settings, row.baselines)


def _pretrain_words(grid: Grid, row: GridRow, store: Store, run: Path, seed: int, threads: int) -> tuple[str, ...]:
    options = {"recipe": row.recipe, "store": store.path, "out": run, "protocol": grid.protocol}
    options |= {"seed": seed, "threads": threads, **row.budget, **row.settings}
    return ("pretrain", *_as_options(options))


def _evaluate_words(grid: Grid, row: GridRow, store: Store, run: Path, config: PretrainConfig) -> tuple[str, ...]:
    """Return what follows `marrow` in the command that scores a run."""
    options = {"store": store.path, "protocol": grid.protocol, "tasks": ",".join(row.tasks)}
    options |= {"baselines": "random,raw" if row.baselines else "none"}
    options |= {name: how for name in ("device", "precision") if (how := getattr(config, name)) != "auto"}
    return ("evaluate", str(run), *_as_options(options | row.evaluation))


def _as_options(values: dict[str, Any]) -> list[str]:
    """Return settings by dotted names as the command line takes them."""
    return [
        f"--{name}={value if isinstance(value, str | Path) else json.dumps(value, default=str)}"
        for name, value in values.items()
    ]
