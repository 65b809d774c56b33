"""How far a piece of work is, and how long the rest of it will take: by what its first parts took, or by its budget.

`Parts` is for a few parts with names: tasks on folds, runs with their seeds. `counting` is for many that are alike:
files, clips. Both speak on standard error, through the log or as a bar on a terminal.
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_log = logging.getLogger(__name__)

# Work that is over sooner says nothing of its time.
WORTH_SAYING_SECONDS = 10.0
SECONDS_BETWEEN_LINES = 10.0
# Of many parts that are alike, so long are the first ones watched.
_WATCHED_SECONDS = 2.0


def duration(seconds: float) -> str:
    """Say a time as people do: 42 s, 12 min 05 s, 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Parts:
    """Names the part of some work that begins, and says what is left of all.

    A line when a part of another kind begins, and otherwise at most one in ten seconds. Parts of one kind take about as
    long as each other: what is left is known of a kind once one of it is done. Before that, it is more than its budget,
    and more than what is known of the others.

    Args:
        kinds: of every part.
        budgets: seconds that a part takes at least, of the kinds whose settings say so.
        side_by_side: parts that are done at a time.
    """

    def __init__(
        self, kinds: Sequence[str], budgets: Mapping[str, float] | None = None, *, side_by_side: int = 1
    ) -> None:
        self._count, self._pending, self._side_by_side = len(kinds), Counter(kinds), side_by_side
        self._budgets, self._took = dict(budgets or {}), dict[str, list[float]]()
        self._begun: float | None = None
        self._kind, self._said = "", -SECONDS_BETWEEN_LINES

    def begin(self, kind: str, name: str) -> None:
        """Say that a part of a kind begins, which is called so."""
        now = time.monotonic()
        self._begun = now
        if kind == self._kind and now - self._said < SECONDS_BETWEEN_LINES:
            return
        self._kind, self._said = kind, now
        number = self._count - self._pending.total() + 1
        _log.info("[%d of %d] %s%s", number, self._count, name, f"; {left}" if (left := self.left()) else "")

    def done(self, kind: str, seconds: float | None = None) -> None:
        """Note that a part of a kind is done, in so many seconds (None: since it began; not at all: it was there)."""
        self._pending[kind] -= 1
        if seconds is None and self._begun is not None:
            seconds = time.monotonic() - self._begun
        self._begun = None
        if seconds is not None:
            self._took.setdefault(kind, []).append(seconds)

    def left(self) -> str:
        """Return in words how long the parts that are not done will take; "" where nothing tells, or it is soon."""
        seconds, unknown = 0.0, False
        for kind, count in self._pending.items():
            if kind in self._took:
                seconds += count * sum(self._took[kind]) / len(self._took[kind])
            elif count:
                seconds += count * self._budgets.get(kind, 0.0)
                unknown = True
        # Side by side, what is left ends with the last of them.
        seconds /= min(self._side_by_side, max(1, self._pending.total()))
        if seconds < WORTH_SAYING_SECONDS:
            return ""
        return f"{'more than' if unknown else 'about'} {duration(seconds)} left"


@contextmanager
def counting(what: str, unit: str = "") -> Iterator[Callable[[int, int], None]]:
    """Show how many of some parts that are alike are done, where they take longer than ten seconds.

    Yields what is called with the number that is done and of all; what was done at the first call was done before.

    Args:
        what: is done, in a word or two: "preparing ntu".
        unit: what the parts are: "recordings".
    """
    shown = _Counted(what, unit)
    try:
        yield shown
    finally:
        shown.close()


class _Counted:
    """A bar on a terminal, a line every ten seconds elsewhere; neither before some seconds have told the speed."""

    def __init__(self, what: str, unit: str) -> None:
        self._what, self._unit = what, unit
        self._began = self._next_line = time.monotonic()
        self._first: int | None = None
        self._bar: Progress | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first, self._began = done, now
        passed, new = now - self._began, done - self._first
        if new < 1 or passed < _WATCHED_SECONDS:
            return
        left = passed / new * (total - done)
        if self._bar is None and passed + left < WORTH_SAYING_SECONDS:
            return
        words = f"{self._what}: {done:,} of {total:,} {self._unit}".rstrip()
        if sys.stderr.isatty():
            self._draw(words, done, total, left)
        elif done < total and now >= self._next_line:
            self._next_line = now + SECONDS_BETWEEN_LINES
            _log.info("%s, about %s left", words, duration(left))

    def _draw(self, words: str, done: int, total: int, left: float) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[left]}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.add_task(words, total=total, left="")
            self._bar.start()
        task = self._bar.task_ids[0]
        self._bar.update(task, completed=done, total=total, description=words, left=f"about {duration(left)} left")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
