"""The numbers of a run: gathered on the device, read now and then, kept as one JSON object per line, and shown.

A person sees a live bar on a terminal, a line every ten seconds in a file.
"""

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from marrow.errors import DataError
from marrow.files import write_text_whole
from marrow.progress import SECONDS_BETWEEN_LINES, WORTH_SAYING_SECONDS, duration
from marrow.train.non_finite import NonFiniteLoss
from marrow.train.optim import Budget, Spent
from marrow.train.step import TakenStep

_log = logging.getLogger(__name__)
# The estimate comes after so many steps or seconds. The very first step is slower, and counts only where it is long.
_TIMED_STEPS, _TIMED_SECONDS = 3, 10.0
# Of runs that will take longer, a person may have forgotten something.
_LONG_SECONDS = 2 * 3600.0


class Meter:
    """Steps since the last reading. Adding one costs no host synchronisation; reading costs one."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, float, TakenStep]] = []
        self._since = time.monotonic()

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, number: int, learning_rate: float, taken: TakenStep) -> None:
        """Note a step: its number, counted from 0, the learning rate that it used, and what it left behind."""
        self._steps.append((number, learning_rate, taken))

    def read(self) -> dict[str, float]:
        """Return means over the steps since the last reading, and forget those steps. Synchronises with the device.

        Raises:
            NonFiniteLoss: a loss or a gradient is not finite; names the first such step.
        """
        if not self._steps:
            return {}
        table = torch.stack(
            [torch.cat([taken.totals, taken.gradient_norm.float()[None]]) for _, _, taken in self._steps]
        ).tolist()
        rates = list[float]()
        for (number, rate, taken), (loss_sum, weight, *_, norm) in zip(self._steps, table, strict=True):
            if not (math.isfinite(loss_sum) and math.isfinite(norm) and weight > 0):
                raise NonFiniteLoss(number, rate, loss_sum, weight, norm, taken.rows, rates)
            rates.append(rate)
        loss_sum, weight, clips, *metrics, norm_sum = (math.fsum(column) for column in zip(*table, strict=True))
        names = self._steps[-1][2].metric_names
        now = time.monotonic()
        entry = {"loss": loss_sum / weight}
        entry |= {name: metric / weight for name, metric in zip(names, metrics, strict=True)}
        entry |= {"gradient_norm": norm_sum / len(table), "clips_per_second": clips / (now - self._since)}
        self._steps, self._since = [], now
        return entry


@contextmanager
def json_lines(path: Path | None, keep_steps: int) -> Iterator[Callable[[dict[str, Any]], object]]:
    """Open a log of one JSON object per line, and give what appends an entry and hands it to the system at once.

    Args:
        path: the file; None: write nothing (all processes but one).
        keep_steps: lines of later steps are dropped first: they belong to a future that a resumed run lives anew.
    """
    if path is None:
        yield lambda entry: None
        return
    kept = [json.dumps(entry) + "\n" for entry in read_log(path) if entry["step"] <= keep_steps]
    write_text_whole(path, "".join(kept))
    with path.open("a", encoding="utf-8", buffering=1) as file:
        yield lambda entry: file.write(json.dumps(entry) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a log; none where there is no file. A last line that was cut short is left out."""
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1] if line]
    except ValueError as error:
        raise DataError(
            f"{path}: cannot be read as a log: {error}. Move it away: the curves are lost, the run is not"
        ) from error


def _describe(entry: dict[str, Any], seconds_left: float | None) -> str:
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
        budget: of the run.
        spent: when the run starts or resumes.
        advice: what to say where it will take hours.
        compiled: whether the first step compiles, and so says nothing about the others.
        shown: whether this process shows anything (one of several does).
    """

    def __init__(self, budget: Budget, spent: Spent, advice: str = "", *, compiled: bool = False, shown: bool) -> None:
        self._began, self._progress = time.monotonic(), budget.progress(*spent)
        self._budget, self._spent, self._advice, self._compiled = budget, spent, advice, compiled
        self._timed_from: Spent | None = None
        self._is_estimated = not shown
        self._next_line = 0.0
        self._shown = shown
        self._bar: Progress | None = None
        if shown and sys.stdout.isatty():
            # On standard error: standard output is for results.
            columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("starting", total=1.0)

    def live(self) -> AbstractContextManager[object]:
        """Return the context in which the bar, where there is one, is on the terminal."""
        return nullcontext() if self._bar is None else self._bar

    def show(self, entry: dict[str, Any]) -> None:
        """Show the newest entry; as plain lines, at most one in ten seconds."""
        # The time left follows from the pace since the start of this process.
        done, left = entry["progress"] - self._progress, None
        if done > 0:
            left = (time.monotonic() - self._began) / done * (1.0 - entry["progress"])
        if self._bar is not None:
            self._bar.update(self._task, completed=entry["progress"], description=_describe(entry, left))
        elif self._shown and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            _log.info("%3.0f %%  %s", 100.0 * entry["progress"], _describe(entry, left))

    def step_done(self, spent: Spent) -> None:
        """Say how long the run will take, as soon as a few steps tell; `spent` is that of the run so far."""
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
            _log.warning("A step takes %.2g s: about %s left. %s", wall / steps, duration(left), self._advice)
        elif left >= WORTH_SAYING_SECONDS:
            _log.info("A step takes %.2g s: about %s left", wall / steps, duration(left))
