"""What a person sees of a run: a live bar on a terminal, a line every ten seconds in a file."""

import logging
import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from marrow.train.schedule import Budget

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0
# The estimate comes after so many steps or seconds. The very first step is slower, and counts only where it is long.
_TIMED_STEPS, _TIMED_SECONDS = 3, 10.0
# Runs that will take less need no estimate; of those that will take longer, a person may have forgotten something.
_WORTH_AN_ESTIMATE_SECONDS, _LONG_SECONDS = 60.0, 2 * 3600.0


def duration(seconds: float) -> str:
    """Say a time as people do: 42 s, 12 min 05 s, 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def describe(entry: dict[str, Any], seconds_left: float | None) -> str:
    """Put an entry of the log into one line: where the run is, its loss, its speed, the time left."""
    parts = [f"step {entry['step']}", f"epoch {entry['epoch']:.1f}", f"loss {entry['loss']:.4f}"]
    if "nearest_neighbour_percent" in entry:
        parts.append(f"neighbours {entry['nearest_neighbour_percent']:.1f} %")
    parts.append(f"{entry['clips_per_second']:.0f} clips/s")
    if seconds_left is not None:
        parts.append(f"{duration(seconds_left)} left")
    return " · ".join(parts)


class Display:
    """Shows entries of the log as they come.

    Args:
        progress: of the run when it starts or resumes, from 0 to 1.
        budget: of the run.
        spent: steps, wall seconds and processor seconds of the run when it starts or resumes.
        advice: what to say where it will take hours.
        compiled: whether the first step compiles, and so says nothing about the others.
        shown: whether this process shows anything (one of several does).
    """

    def __init__(
        self,
        progress: float,
        budget: Budget,
        spent: tuple[int, float, float],
        advice: str = "",
        *,
        compiled: bool = False,
        shown: bool,
    ) -> None:
        self._start = (time.monotonic(), progress)
        self._budget, self._spent, self._advice, self._compiled = budget, spent, advice, compiled
        self._timed_from: tuple[int, float, float] | None = None
        self._is_estimated = not shown
        self._next_line = 0.0
        self._shown = shown
        self._bar: Progress | None = None
        if shown and sys.stdout.isatty():
            # On standard error: standard output is for results.
            columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("starting", total=1.0)

    def __enter__(self) -> "Display":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, entry: dict[str, Any]) -> None:
        """Show the newest entry; as plain lines, at most one in ten seconds."""
        if self._bar is not None:
            self._bar.update(self._task, completed=entry["progress"], description=describe(entry, self._left(entry)))
        elif self._shown and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
            _log.info("%3.0f %%  %s", 100.0 * entry["progress"], describe(entry, self._left(entry)))

    def step_done(self, spent: tuple[int, float, float]) -> None:
        """Say how long the run will take, as soon as a few steps tell.

        Args:
            spent: steps, wall seconds and processor seconds of the run so far.
        """
        if self._is_estimated:
            return
        if self._timed_from is None:
            is_long = spent[1] - self._spent[1] >= _TIMED_SECONDS and not self._compiled
            self._timed_from = self._spent if is_long else spent
        steps, wall, cpu = (now - then for now, then in zip(spent, self._timed_from, strict=True))
        if steps < 1 or (steps < _TIMED_STEPS and wall < _TIMED_SECONDS):
            return
        self._is_estimated = True
        left = self._budget.seconds_left(spent, (int(steps), wall, cpu))
        if left >= _LONG_SECONDS and self._advice:
            _log.warning("A step takes %.2g s: %s left. %s", wall / steps, duration(left), self._advice)
        elif left >= _WORTH_AN_ESTIMATE_SECONDS:
            _log.info("A step takes %.2g s: %s left", wall / steps, duration(left))

    def _left(self, entry: dict[str, Any]) -> float | None:
        """Estimate the seconds left from the pace since the start of this process."""
        began, at_start = self._start
        done = entry["progress"] - at_start
        return (time.monotonic() - began) / done * (1.0 - entry["progress"]) if done > 0 else None
