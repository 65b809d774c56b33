"""Ctrl-C, SIGTERM and a closed terminal as a wish to stop soon: the loop grants it once its step is done and saved."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Windows has none.
_HANG_UP = getattr(signal, "SIGHUP", None)


class StopWish:
    """While this context lasts, the first such signal only sets `requested`; a second one acts as usual.

    A closed terminal (SIGHUP) that is to be ignored, as under `nohup`, is ignored.

    In a thread other than the main one, where Python allows no handlers, nothing is changed.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

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
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
