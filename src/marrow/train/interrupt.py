"""What may end a run before its time: somebody's wish, or a store that has changed.

Ctrl-C, SIGTERM and a closed terminal are a wish to stop soon: the loop grants it once its step is done and saved. Where
a step takes long, nobody wants to wait for its end: it is broken off, as long as no weight has changed.
"""

import json
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

from marrow.errors import StoreError
from marrow.store.format import Store
from marrow.store.writer import HEADER_FILE

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAME_WISH_SECONDS = 0.5
# A step that takes longer is broken off.
_LONG_SECONDS = 3.0
# Windows has none.
_HANG_UP = getattr(signal, "SIGHUP", None)


class BrokenOff(BaseException):
    """A step was left before it changed anything, because somebody wishes the run to stop.

    As `KeyboardInterrupt`, it is nothing that code on the way, a compiler for example, may take for its own failure.
    """


class StopWish:
    """While this context lasts, the first such signal only sets `requested`; a later one acts as usual.

    One that follows at once is the same wish: a terminal sends Ctrl-C to all processes of a job, and torchrun passes it
    on to them once more.

    A closed terminal (SIGHUP) that is to be ignored, as under `nohup`, is ignored.

    In a thread other than the main one, where Python allows no handlers, nothing is changed.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}
        self._requested_at = 0.0
        # Of the part of a step that may be left: since when it has been going on, and how long the last one took.
        self._began: float | None = None
        self._usual_seconds = math.inf

    def __enter__(self) -> "StopWish":
        if threading.current_thread() is threading.main_thread():
            heeded = [*_SIGNALS]
            if _HANG_UP is not None and signal.getsignal(_HANG_UP) != signal.SIG_IGN:
                heeded.append(_HANG_UP)
            self._before = {number: signal.signal(number, self._note) for number in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    @contextmanager
    def may_break_off(self) -> Iterator[None]:
        """Mark a part of a step that changes nothing yet, and which a wish may leave by raising `BrokenOff`.

        It does where that part takes seconds: this time, the last time, or, for all that is known, the first time.
        Python hears of a signal between two operations, so that a single long one is over first.
        """
        began = self._began = time.monotonic()
        try:
            yield
        finally:
            self._began, self._usual_seconds = None, time.monotonic() - began

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested, self._requested_at = True, time.monotonic()
            if self._began is not None and max(time.monotonic() - self._began, self._usual_seconds) > _LONG_SECONDS:
                raise BrokenOff
        elif time.monotonic() - self._requested_at > _SAME_WISH_SECONDS:
            self._restore()
            os.kill(os.getpid(), number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


@dataclass
class StoreWatch:
    """Compares the store on the disk with the one that was opened, by its header alone.

    Args:
        store: as opened.
        needed: whether the run still reads from it. Then a change is an error: steps since the newest checkpoint may
            have seen other data. Otherwise, with all frames in memory, it is a warning.
    """

    store: Store
    needed: bool
    _warned: bool = False

    def __call__(self) -> None:
        """Check once, when a checkpoint is due.

        Raises:
            StoreError: the store has changed and is needed.
        """
        change = self.change()
        if change is not None and self.needed:
            raise StoreError(
                f"{change}. The run stops: its newest checkpoint was saved while the data were as at its start. Put "
                "the store back and give the same command to go on from there"
            )
        if change is not None and not self._warned:
            self._warned = True
            _log.warning(
                "%s. This run goes on with the frames in memory, but cannot be resumed until it is back", change
            )

    def change(self) -> str | None:
        """Say in what the store on the disk differs from the one that was opened; None: in nothing."""
        path, before = self.store.path, self.store.fingerprint
        try:
            now = json.loads((path / HEADER_FILE).read_bytes())["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"{path} cannot be read any more ({type(error).__name__}: {error})"
        if now == before:
            return None
        return f"{path} holds other data than when it was opened (fingerprint {before} then, {now} now)"
