"""Ctrl-C, SIGTERM and a closed terminal as a wish to stop soon: the loop grants it once its step is done and saved."""

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAME_WISH_SECONDS = 0.5
# Windows has none.
_HANG_UP = getattr(signal, "SIGHUP", None)


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

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested, self._requested_at = True, time.monotonic()
        elif time.monotonic() - self._requested_at > _SAME_WISH_SECONDS:
            self._restore()
            os.kill(os.getpid(), number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
