"""`marrow grid`: a table of experiments from one file."""

import logging
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from marrow.cli.arguments import make_parser
from marrow.cli.main import EXIT_FAILED, EXIT_INTERRUPTED, parse_command
from marrow.errors import ConfigError

if TYPE_CHECKING:
    from marrow.grid.cells import Cell
    from marrow.grid.run import Outcome
    from marrow.pretrain_config import PretrainConfig

_log = logging.getLogger(__name__)


def build_parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        "marrow grid",
        "Train and score every cell (a row of settings with one seed) of a file, several side by side, and put them "
        "into one table and one plot of accuracy against time. Finished cells are skipped and interrupted ones go on: "
        "the same command ends what was stopped.",
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
    from marrow.grid.cells import conflict, make_cells
    from marrow.grid.plan import chosen_rows, grid_path, read_grid
    from marrow.grid.run import run_cells
    from marrow.store.format import Store

    grid = read_grid(grid_path(arguments.grid))
    store = Store.open(arguments.store)
    try:
        protocol_rows(store, grid.protocol)
    except ConfigError as error:
        raise ConfigError(f"{grid.path}: {error}") from error
    cells = make_cells(grid, store, arguments.out, arguments.threads, _parsed)
    rows = chosen_rows(grid, arguments.rows.split(",")) if arguments.rows else grid.rows
    chosen = _with_seeds([cell for cell in cells if cell.row in rows], arguments.seeds)

    refused = {cell.folder: why for cell in cells if (why := conflict(cell, store))}
    missing = [cell for cell in chosen if cell.folder not in refused and cell.next_work() is not None]
    for cell in cells:
        if cell.folder in refused:
            _log.warning(
                "! %s: %s holds a run with other settings (%s). It is left alone and not in the table; remove the "
                "folder, choose another --out, or put the grid back",
                *(cell.name, cell.folder, refused[cell.folder]),
            )
    skipped = len(chosen) - len(missing) - sum(cell.folder in refused for cell in chosen)
    _log.info("%s: cells: %d, finished: %d, to do: %d", grid.title, len(chosen), skipped, len(missing))
    if arguments.dry_run:
        for cell in missing:
            _log.info("- missing: %s", cell.name)
        return 0
    outcomes = run_cells(missing, arguments.jobs, arguments.threads, _Lines(len(missing)))
    unfinished = len(missing) - sum(outcome.status == "finished" for outcome in outcomes)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if unfinished > failed:
        _log.info("interrupted: the same command goes on from here")
    if failed or any(cell.folder in refused for cell in chosen):
        return EXIT_FAILED
    return EXIT_INTERRUPTED if unfinished else 0


class _Lines:
    """Says one line per cell as it ends."""

    def __init__(self, count: int) -> None:
        self._count, self._done = count, 0

    def __call__(self, outcome: "Outcome") -> None:
        self._done += 1
        place = f"[{self._done}/{self._count}]"
        if outcome.status == "finished":
            _log.info("%s %s", place, _said(outcome.cell))
        else:
            _log.info("%s %s: %s", place, outcome.cell.name, " ".join(filter(None, (outcome.status, outcome.said))))


def _said(cell: "Cell") -> str:
    """Return a finished cell in one line: steps, seconds, and its first score."""
    import json

    from marrow.grid.cells import RESULT

    last = json.loads((cell.folder / RESULT).read_text(encoding="utf-8"))
    return f"{cell.name}: {last['step']:,} steps, {last['cpu_seconds']:.0f} processor seconds"


def _parsed(words: Sequence[str]) -> "PretrainConfig":
    """Return what `marrow pretrain` takes some words for."""
    from marrow.cli import pretrain
    from marrow.pretrain_config import config_of

    try:
        arguments = parse_command(words[0], words[1:])
        return config_of(pretrain.build_parser(["--method", arguments.method]), arguments)
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
