"""The last line of every command: what comes next, as it is typed."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marrow.store.format import Store


def say_next(*words: str | Path) -> None:
    """Print the marrow command that comes next; words in capital letters are for a person to fill in."""
    print(f"next: marrow {shlex.join(map(str, words))}")


def say_open(page: Path) -> None:
    """Print where a page can be looked at."""
    print(f"next: open {page.resolve()} in a browser")


def protocol_for(store: "Store") -> str:
    """Return a protocol that a store can be scored by: a split of its own, or folds."""
    return next(iter(store.splits), "k-fold:5")


def say_what_a_run_is_for(run: Path, store: "Store", protocol: str | None) -> None:
    """Print the command that uses a new encoder: its scores where there are labels, else its features."""
    if len(set(store.label[store.label >= 0].tolist())) > 1:
        say_next("evaluate", run, "--store", store.path, "--protocol", protocol or protocol_for(store))
    else:
        say_next("embed", run, store.path, "--out", "features.parquet")


def say_where_reports_are_shown(runs: Sequence[Path]) -> None:
    """Print the command that shows runs on a page."""
    say_next("report", *runs, "--out", "report.html")
