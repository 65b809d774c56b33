"""Signals as a wish to stop."""

import os
import signal
from collections.abc import Iterator

import pytest

from marrow.train import interrupt
from marrow.train.interrupt import StopWish


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_a_wish_and_a_later_one_acts(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    signal.signal(number, lambda *_: seen.append("acted"))
    with StopWish() as stop:
        os.kill(os.getpid(), number)
        assert stop.requested
        assert not seen
        os.kill(os.getpid(), number)  # at once: still the same wish
        assert not seen
        monkeypatch.setattr(interrupt, "_SAME_WISH_SECONDS", 0.0)
        os.kill(os.getpid(), number)
        assert seen == ["acted"]


def test_a_closed_terminal_is_ignored_where_it_was_to_be_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopWish() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.requested
