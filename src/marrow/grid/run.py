"""The queue of a grid: so many cells side by side, each one command after the other, in processes of their own.

Nothing is kept in memory that matters: what is finished is told by the cells' folders alone, so that a grid that was
stopped at any moment goes on with the same call. A cell that another process works on, a second call or a command that
a killed call left behind, is told by the locks on its log and on its run directory.
"""

import logging
import os
import shlex
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

from marrow.errors import ConfigError
from marrow.files import lock_file, make_folder
from marrow.grid.cells import Cell, Work
from marrow.train.interrupt import StopWish
from marrow.train.run_directory import LOCK, run_lock

_log = logging.getLogger(__name__)

MARROW = (sys.executable, "-m", "marrow")

_SECONDS_BETWEEN_LOOKS = 0.1
_TOLD_LINES = 4


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Args:
        cell: which.
        status: finished; failed; interrupted: the same call goes on with it; or running elsewhere: another process
            works on it, and it was not touched.
        said: for a failed one, which command it was and the last lines of its log; for one that runs elsewhere, how
            that is known.
        seconds: on the clock, since it was begun.
    """

    cell: Cell
    status: Literal["finished", "failed", "interrupted", "running elsewhere"]
    said: str = ""
    seconds: float = 0.0


def run_cells(
    cells: Sequence[Cell], jobs: int, threads: int, on_end: Callable[[Outcome], None] = lambda outcome: None
) -> list[Outcome]:
    """Do what is missing of some cells.

    Ctrl-C or SIGTERM ends the commands that run, which save and stop, and begins no other. A cell that runs elsewhere
    is asked again at the end of the queue.

    Args:
        cells: that are not finished, in the order in which they are begun.
        jobs: cells side by side.
        threads: of each command's process.
        on_end: is told each outcome as it comes.

    Returns:
        One outcome per cell that was begun or runs elsewhere.
    """
    waiting, running, outcomes = deque(cells), list[_Running](), list[Outcome]()
    put_off = set[Path]()

    def end(outcome: Outcome) -> None:
        outcomes.append(outcome)
        _tell(on_end, outcome)

    with StopWish() as stop:
        asked_to_stop = False
        try:
            while running or (waiting and not stop.requested):
                while waiting and len(running) < jobs and not stop.requested:
                    cell = waiting.popleft()
                    begun = _begin(cell, threads)
                    if isinstance(begun, _Running):
                        running.append(begun)
                    elif cell.folder in put_off:
                        end(begun)
                    else:
                        put_off.add(cell.folder)
                        waiting.append(cell)
                if stop.requested and not asked_to_stop:
                    asked_to_stop = True
                    _log.info("Stopping: what runs (cells: %d) saves where it is", len(running))
                    for cell_at_work in running:
                        cell_at_work.terminate()
                for cell_at_work in list(running):
                    outcome = cell_at_work.look(stop.requested)
                    if outcome is not None:
                        running.remove(cell_at_work)
                        end(outcome)
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            # Whatever went wrong here: what runs is asked to stop. (A kill of this process leaves it running; the locks
            # tell the next call.)
            for cell_at_work in running:
                cell_at_work.terminate()
    return outcomes


def _tell(on_end: Callable[[Outcome], None], outcome: Outcome) -> None:
    try:
        on_end(outcome)
    except Exception as error:  # a line about one cell is no reason to stop the others
        _log.warning("%s: %s (more could not be said of it: %r)", outcome.cell.name, outcome.status, error)


def _begin(cell: Cell, threads: int) -> "_Running | Outcome":
    """Begin a cell; return an outcome instead where another process is at it."""
    make_folder(cell.log.parent)
    log = cell.log.open("ab")
    # The commands write into this very log, and so hold its lock as well: as long as this process or one of them lives.
    said = "" if lock_file(log, wait=False) else f"another process writes into {cell.log}"
    if not said and (cell.folder / LOCK).is_file():
        try:
            with run_lock(cell.folder):
                pass
        except ConfigError as error:
            said = str(error)
    if not said:
        return _Running(cell, threads, log)
    log.close()
    return Outcome(cell, "running elsewhere", said)


class _Running:
    """A cell at work: its command of the moment.

    Args:
        cell: which.
        threads: of each command's process.
        log: its log, open and locked; closed with the last command.
    """

    def __init__(self, cell: Cell, threads: int, log: IO[bytes]) -> None:
        self._cell, self._threads, self._log, self._began = cell, threads, log, time.monotonic()
        self._work, self._process, self._log_start = self._next()

    def terminate(self) -> None:
        """Ask the command to stop."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def look(self, stopping: bool) -> Outcome | None:
        """Begin the next command where one has ended well; return the outcome once there is one."""
        outcome = self._outcome(stopping)
        if outcome is None:
            return None
        self._log.close()
        return replace(outcome, seconds=time.monotonic() - self._began)

    def _outcome(self, stopping: bool) -> Outcome | None:
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
        one = {name: str(self._threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} $ marrow {shlex.join(work.words)}\n".encode())
        self._log.flush()
        start = self._cell.log.stat().st_size
        # In a session of its own: Ctrl-C reaches this process alone, which asks once for all to stop.
        process = subprocess.Popen(
            [*MARROW, *work.words],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
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
