"""`marrow grid`: a table of experiments from one file."""

import json
import logging
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser
from marrow.cli.main import EXIT_FAILED, EXIT_INTERRUPTED, parse_command
from marrow.cli.next_step import say_open
from marrow.errors import ConfigError

if TYPE_CHECKING:
    from marrow.grid.cells import Cell
    from marrow.grid.run import Outcome
    from marrow.grid.table import GridTables
    from marrow.pretrain_config import PretrainConfig

_log = logging.getLogger(__name__)


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow grid",
        "Train and score every cell (a row of settings with one seed) of a file, several side by side, and put them "
        "into one table and one plot of accuracy against time. Finished cells are skipped and interrupted ones go on: "
        "the same command finishes what was stopped.",
    )
    parser.add_argument("grid", type=str, metavar="GRID", help="a YAML file, or the name of a grid that marrow ships")
    parser.add_argument("--store", type=Path, required=True, help="the data, as made by `marrow prepare`")
    parser.add_argument("--out", type=Path, required=True, help="folder of the grid; made if missing")
    parser.add_argument("--jobs", type=int, default=2, help="cells side by side")
    parser.add_argument("--threads", type=int, default=1, help="threads of each cell")
    parser.add_argument("--rows", type=str | None, default=None, help="work on these rows only, separated by commas")
    parser.add_argument("--seeds", type=str | None, default=None, help="work on these seeds only, separated by commas")
    parser.add_argument("--dry_run", action="store_true", help="run nothing: tables of what is there, and what is not")
    parser.add_argument("--json", action="store_true", help="print the tables as JSON and nothing else")
    return parser


def run(arguments: Namespace) -> int:
    """Run the cells that are missing, then write and print the tables."""
    for name in ("jobs", "threads"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} must be at least 1, got {getattr(arguments, name)}")
    # Imported late, so that `--help` and a misspelt option answer before torch is loaded.
    from marrow.data.subsets import protocol_rows
    from marrow.files import lock_file, make_folder
    from marrow.grid.cells import conflict, make_cells
    from marrow.grid.page import finished_line, write_tables
    from marrow.grid.plan import chosen_rows, grid_path, read_grid
    from marrow.grid.run import run_cells
    from marrow.grid.table import read_tables
    from marrow.store.format import Store

    grid = read_grid(grid_path(arguments.grid))
    store = Store.open(arguments.store)
    try:
        protocol_rows(store, grid.protocol)
    except ConfigError as error:
        raise ConfigError(f"{grid.path}: {error}") from error
    cells = make_cells(grid, store, arguments.out, arguments.threads, settings_of, task_settings_of)
    rows = grid.rows if arguments.rows is None else chosen_rows(grid, arguments.rows.split(","))
    chosen = _with_seeds([cell for cell in cells if cell.row in rows], arguments.seeds)
    refused = {cell.folder: why for cell in cells if (why := conflict(cell, store))}
    for cell in (cell for cell in cells if cell.folder in refused):
        _log.warning(
            "! %s: %s holds a run with other settings (%s). It is left alone and not in the table; remove the folder, "
            "choose another --out, or put the grid back",
            *(cell.name, cell.folder, refused[cell.folder]),
        )
    todo = [cell for cell in chosen if cell.folder not in refused and cell.next_work() is not None]
    others = sum(cell.folder in refused for cell in chosen)
    finished = len(chosen) - len(todo) - others
    _log.info("%s: cells: %d, finished: %d, to do: %d", grid.title, len(chosen), finished, len(todo))

    outcomes: list[Outcome] = []
    if not arguments.dry_run:
        lines = _Lines(todo, finished_line, arguments.jobs)
        outcomes = run_cells(todo, arguments.jobs, arguments.threads, lines)
    make_folder(arguments.out)
    with (arguments.out / ".lock").open("ab") as alone:
        # Of two calls with this folder, the later one waits here: it reads what the earlier one has finished.
        lock_file(alone, wait=True)
        tables = read_tables(grid, cells, store, refused)
        pages = write_tables(tables, arguments.out)
    if arguments.json:
        print(json.dumps(tables.plain(), indent=1))
    else:
        _show(tables)
        print("\n".join(str(page) for page in pages))
    status = 0 if arguments.dry_run else _status(outcomes, len(todo), others)
    if status == 0 and not arguments.json:
        say_open(next(page for page in pages if page.suffix == ".html"))
    return status


def _status(outcomes: "Sequence[Outcome]", todo: int, others: int) -> int:
    """Return the exit status, and say once more what went wrong."""
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    for outcome in failed:
        _log.error("! failed: %s: %s", outcome.cell.name, outcome.said)
    elsewhere = [outcome for outcome in outcomes if outcome.status == "running elsewhere"]
    for outcome in elsewhere:
        _log.warning("! running elsewhere: %s: %s", outcome.cell.name, outcome.said)
    unfinished = todo - sum(outcome.status == "finished" for outcome in outcomes)
    if unfinished > len(failed) + len(elsewhere):
        _log.info("interrupted: the same command goes on from here")
    elif elsewhere:
        _log.info("the same command, once those have ended, looks after them and makes the tables anew")
    if failed or others:
        return EXIT_FAILED
    return EXIT_INTERRUPTED if unfinished else 0


def _show(tables: "GridTables") -> None:
    """Print the tables, and what is missing in them."""
    from marrow.cli.console import output
    from marrow.grid.page import notes, text_table

    console = output()
    for table in tables.tables:
        for part in text_table(table, tables).console(console.width):
            console.print(part)
    for note in notes(tables):
        console.print(f"- {note}", highlight=False, markup=False)


class _Lines:
    """Says one line per cell as it ends."""

    def __init__(self, cells: "Sequence[Cell]", finished_line: "Callable[[Cell], str]", jobs: int) -> None:
        from marrow.progress import Parts

        self._count, self._finished_line, self._done = len(cells), finished_line, 0
        # A cell that was begun before has less to do than others of its row.
        self._kinds = {cell.folder: f"{cell.row.name}, {_next_command(cell)}" for cell in cells}
        budgets = {self._kinds[cell.folder]: seconds for cell in cells if (seconds := _least_seconds(cell))}
        self._parts = Parts(list(self._kinds.values()), budgets, side_by_side=jobs)
        if left := self._parts.left():
            _log.info("%s", left)

    def __call__(self, outcome: "Outcome") -> None:
        self._done += 1
        self._parts.done(self._kinds[outcome.cell.folder], outcome.seconds)
        said = f"{outcome.cell.name}: {outcome.status}"
        if outcome.status == "finished":
            said = self._finished_line(outcome.cell)
        elif outcome.said:
            said += f": {outcome.said}"
        left = self._parts.left()
        _log.info("[%d of %d] %s%s", self._done, self._count, said, f"; {left}" if left else "")


def _next_command(cell: "Cell") -> str:
    work = cell.next_work()
    return "" if work is None else work.name


def _least_seconds(cell: "Cell") -> float | None:
    """Return the seconds that a cell takes at least, by the limits of its pre-training; None where no clock ends it."""
    if _next_command(cell) != "pretrain":
        return None
    config = cell.config
    steps = config.ends_at_epochs or config.max_steps is not None  # may be over sooner
    limits = [config.max_cpu_seconds, 60.0 * config.max_minutes if config.max_minutes is not None else None]
    return None if steps else min((limit for limit in limits if limit is not None), default=None)


def settings_of(words: Sequence[str]) -> "PretrainConfig":
    """Return what `marrow pretrain` takes some words for."""
    from marrow.cli import pretrain
    from marrow.pretrain_config import config_of

    arguments = _parsed(words)
    return config_of(pretrain.build_parser(["--method", arguments.method]), arguments)


def task_settings_of(words: Sequence[str]) -> dict[str, Any]:
    """Return the settings of its tasks that `marrow evaluate` takes some words for."""
    from marrow.cli.evaluate import task_configs

    return task_configs(_parsed(words))


def _parsed(words: Sequence[str]) -> Namespace:
    try:
        return parse_command(words[0], words[1:])
    except ArgumentError as error:
        # Its last line is about the options of the command, which are not what was mistyped here.
        raise ConfigError(str(error).partition("\nmarrow: `")[0]) from error


def _with_seeds(cells: "Sequence[Cell]", given: str | None) -> "list[Cell]":
    """Return the cells with the given seeds, separated by commas; all of them for None."""
    if given is None:
        return list(cells)
    known = sorted({cell.seed for cell in cells})
    wanted = [part.strip() for part in given.split(",")]
    for part in wanted:
        if part not in map(str, known):
            raise ConfigError(f"--seeds: no chosen row has the seed {part!r}; they have {', '.join(map(str, known))}")
    return [cell for cell in cells if str(cell.seed) in wanted]
