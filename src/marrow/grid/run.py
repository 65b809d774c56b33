"""The queue of a grid: so many cells side by side, each one command after the other, in processes of their own.

Nothing is kept in memory that matters: what is finished is told by the cells' folders alone, so that a grid that was
stopped at any moment goes on with the same call.
"""

import logging
import os
import shlex
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from marrow.grid.cells import Cell, Work
from marrow.train.interrupt import StopWish

_log = logging.getLogger(__name__)

MARROW = (sys.executable, "-m", "marrow")

_SECONDS_BETWEEN_LOOKS = 0.1
_TOLD_LINES = 4


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Args:
        cell: which.
        status: finished; failed; or interrupted: the same call goes on with it.
        said: for a failed one, which command it was and the last lines of its log.
    """

    cell: Cell
    status: Literal["finished", "failed", "interrupted"]
    said: str = ""


def run_cells(
    cells: Sequence[Cell], jobs: int, threads: int, on_end: Callable[[Outcome], None] = lambda outcome: None
) -> list[Outcome]:
    """Do what is missing of some cells.

    Ctrl-C or SIGTERM ends the commands that run, which save and stop, and begins no other.

    Args:
        cells: that are not finished, in the order in which they are begun.
        jobs: cells side by side.
        threads: of each command's process.
        on_end: is told each outcome as it comes.

    Returns:
        One outcome per cell that was begun.
    """
    waiting, running, outcomes = deque(cells), list[_Running](), list[Outcome]()
    with StopWish() as stop:
        asked_to_stop = False
        try:
            while running or (waiting and not stop.requested):
                while waiting and len(running) < jobs and not stop.requested:
                    running.append(_Running(waiting.popleft(), threads))
                if stop.requested and not asked_to_stop:
                    asked_to_stop = True
                    _log.info("Stopping: what runs (cells: %d) saves where it is", len(running))
                    for each in running:
                        each.terminate()
                for each in list(running):
                    outcome = each.look(stop.requested)
                    if outcome is not None:
                        running.remove(each)
                        outcomes.append(outcome)
                        _tell(on_end, outcome)
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            for each in running:  # whatever went wrong here: no process is left behind
                each.terminate()
    return outcomes


def _tell(on_end: Callable[[Outcome], None], outcome: Outcome) -> None:
    try:
        on_end(outcome)
    except Exception as error:  # a line about one cell is no reason to stop the others
        _log.warning("%s: %s (more could not be said of it: %r)", outcome.cell.name, outcome.status, error)


class _Running:
    """A cell at work: its command of the moment."""

    def __init__(self, cell: Cell, threads: int) -> None:
        self._cell, self._threads = cell, threads
        self._work, self._process, self._log_start = self._next()

    def terminate(self) -> None:
        """Ask the command to stop."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def look(self, stopping: bool) -> Outcome | None:
        """Begin the next command where one has ended well; return the outcome once there is one."""
        if self._process is None:
            return Outcome(self._cell, "finished")
        status = self._process.poll()
        if status is None:
            return None
        if self._work is not None and self._work.is_done():
            self._work, self._process, self._log_start = (None, None, 0) if stopping else self._next()
            if self._process is None:
                return Outcome(self._cell, "interrupted" if self._cell.next_work() else "finished")
            return None
        if stopping:
            return Outcome(self._cell, "interrupted")
        name = self._work.name if self._work else ""
        ended = f"marrow {name} ended with status {status}" if status else f"marrow {name} left no result that counts"
        return Outcome(self._cell, "failed", f"{ended}; {self._cell.log} ends with:\n{self._last_lines()}")

    def _next(self) -> tuple[Work | None, "subprocess.Popen[bytes] | None", int]:
        """Start the first command whose outcome is missing; return it, and where its part of the log begins."""
        work = self._cell.next_work()
        if work is None:
            return None, None, 0
        path = self._cell.log
        path.parent.mkdir(parents=True, exist_ok=True)
        one = {name: str(self._threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        with path.open("ab") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} $ marrow {shlex.join(work.words)}\n".encode())
            log.flush()
            start = log.tell()
            # In a session of its own: Ctrl-C reaches this process alone, which asks once for all to stop.
            process = subprocess.Popen(
                [*MARROW, *work.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **one},
                start_new_session=True,
            )
        return work, process, start

    def _last_lines(self) -> str:
        return last_lines(self._cell.log, self._log_start)


def last_lines(log: Path, start: int = 0, count: int = _TOLD_LINES) -> str:
    """Return the last lines of a log that say something, each indented.

    Args:
        log: the file.
        start: bytes at its beginning that are not looked at.
        count: lines at most.
    """
    text = log.read_bytes()[start:].decode("utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(f"    {line}" for line in lines[-count:]) or "    (nothing)"
