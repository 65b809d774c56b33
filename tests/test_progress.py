"""What is said of how far a piece of work is, on a clock that stands still until it is turned."""

import logging
import sys

import pytest

from marrow import progress
from marrow.progress import Parts, counting


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    return clock


def test_what_is_left_follows_from_the_parts_of_each_kind() -> None:
    parts = Parts(["probe", "probe", "probe", "tune"], {"tune": 200.0})
    # 200 seconds of the budget, and nothing is known of probes.
    assert parts.left() == "more than 3 min 20 s left"
    parts.done("probe", 20.0)
    parts.done("probe", 40.0)
    # One probe of 30 seconds on average, and the budget is still a bound only.
    assert parts.left() == "more than 3 min 50 s left"
    parts.done("tune", 300.0)
    assert parts.left() == "about 30 s left"
    parts.done("probe", 30.0)
    assert parts.left() == ""


def test_what_is_done_side_by_side_is_divided_while_there_is_enough_of_it() -> None:
    parts = Parts(["cell"] * 5, side_by_side=3)
    parts.done("cell", 60.0)
    assert parts.left() == "about 1 min 20 s left"
    for _ in range(3):
        parts.done("cell", 60.0)
    assert parts.left() == "about 1 min 00 s left", "the last one is not done by three"


def test_parts_that_were_there_say_nothing_of_the_time(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "marrow")
    parts = Parts(["knn", "knn", "knn"])
    parts.done("knn")
    assert parts.left() == ""
    parts.begin("knn", "knn, fold 2")
    clock.now += 50.0
    parts.done("knn")
    parts.begin("knn", "knn, fold 3")
    assert caplog.messages == ["[2 of 3] knn, fold 2", "[3 of 3] knn, fold 3; about 50 s left"]


def test_many_short_parts_are_not_all_named(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "marrow")
    parts = Parts([*["knn"] * 30, "ridge"])
    for fold in range(30):
        parts.begin("knn", f"knn {fold}")
        clock.now += 1.0
        parts.done("knn")
    parts.begin("ridge", "ridge")
    named = [message.split("] ")[1] for message in caplog.messages]
    assert named == ["knn 0", "knn 10; more than 20 s left", "knn 20; more than 10 s left", "ridge"]


def test_counting_speaks_once_it_knows_and_then_every_ten_seconds(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "marrow")
    with counting("preparing", "recordings") as progress:
        progress(40, 100)  # 40 were there
        for done in range(41, 101):
            clock.now += 0.5
            progress(done, 100)
    assert caplog.messages == [
        "preparing: 44 of 100 recordings, about 28 s left",
        "preparing: 64 of 100 recordings, about 18 s left",
        "preparing: 84 of 100 recordings, about 8 s left",
    ]


def test_counting_says_nothing_of_what_is_soon_over(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "marrow")
    with counting("encoding", "clips") as progress:
        for done in range(31):
            progress(done, 30)
            clock.now += 0.25
    assert caplog.messages == []
