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
from marrow.grid.scoring import Scoring, as_options, evaluate_words, make_scoring
from marrow.pretrain_config import MAY_CHANGE, PretrainConfig
from marrow.pretraining import build_objective
from marrow.store.format import Store
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
    known: dict[str, GridRow] = {}
    for row in grid.rows:
        folder = out / "cells" / row.slug
        of_seed = {seed: _pretrain_words(grid, row, store, folder / f"seed{seed}", seed, threads) for seed in row.seeds}
        try:
            config = parse(of_seed[row.seeds[0]])
            build_objective(config, store.skeleton)  # refuses what does not fit together
            scoring = make_scoring(grid, row, store, config, parse_evaluation)
        except (MarrowError, ValueError) as error:
            raise ConfigError(f"{row.place}: row {row.name!r}: {error}") from error
        how = {"tasks": row.tasks, "settings": {name: plain(config) for name, config in scoring.settings.items()}}
        same = json.dumps({**plain(config), "seed": None, "out": None, **how}, sort_keys=True)
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
                    evaluate_words(grid, row, store, run, config),
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
    config = cell.config
    defaults = plain(PretrainConfig(config.store, config.out, method=config.method))
    finished = (cell.folder / RESULT).is_file()
    try:
        known = recorded(cell.folder, ["ends_at_epochs"])
        # Runs of a marrow that did not know it ended at their other limit, which is compared.
        may_change = MAY_CHANGE if known else (*MAY_CHANGE, "ends_at_epochs")
        found = differences(
            *(cell.folder, plain(config), store.fingerprint, may_change),
            defaults=defaults if finished else None,
        )
    except ConfigError as error:
        return f"the run there cannot be read: {error}"
    return "; ".join(found) or None


def _pretrain_words(grid: Grid, row: GridRow, store: Store, run: Path, seed: int, threads: int) -> tuple[str, ...]:
    options = {"recipe": row.recipe, "store": store.path, "out": run, "protocol": grid.protocol}
    options |= {"seed": seed, "threads": threads, **row.budget, **row.settings}
    return ("pretrain", *as_options(options))
