"""The headline of a report claims what intervals show, and no more."""

import numpy as np
import pytest

from marrow.report.headline import headline
from marrow.tasks.base import Report, TestClips
from marrow.tasks.evaluation_report import EvaluationReport

CLIPS = 200
LABEL = np.arange(CLIPS) % 2


def evaluation(trained: int, raw: int, random: int) -> EvaluationReport:
    """Return a report of one test in which so many of 200 clips are right, the first ones."""
    clips = TestClips(np.arange(CLIPS, dtype=np.int64), LABEL.astype(np.int64), np.zeros(CLIPS, bool), ("sit", "stand"))
    reports = []
    for source, task, right in (
        ("raw", "ridge/raw", raw),
        ("random", "logistic/pooled", random),
        ("trained", "logistic/pooled", trained),
    ):
        predicted = np.where(np.arange(CLIPS) < right, LABEL, 1 - LABEL).astype(np.int64)
        reports.append(
            Report.scored(task, {"top1": predicted}, clips, settings={}, seed=0, num_labels_used=10, source=source)
        )
    return EvaluationReport(
        "xsub", "0", ["sit", "stand"], 10, list(range(CLIPS)), LABEL.tolist(), [False] * CLIPS, [], reports
    )


@pytest.mark.parametrize(
    ("trained", "raw", "random", "said", "not_said"),
    [
        # 90 % and 60 %: +30 points over 200 clips, beyond any doubt.
        (180, 120, 120, ["tells the 2 classes apart better", "every test", "90 %, +30 points"], ["not shown"]),
        # One clip more is nothing: the interval holds zero.
        (
            121,
            120,
            121,
            ["not shown", "hold zero"],
            ["do in every", "Training made it better"],
        ),
        (120, 180, 120, ["raw coordinates tell the 2 classes apart better", "-30 points"], ["encoder tells"]),
        (120, 120, 180, ["Training made it worse"], ["Training made it better"]),
    ],
)
def test_it_says_what_the_intervals_show(
    trained: int, raw: int, random: int, said: list[str], not_said: list[str]
) -> None:
    text = headline(evaluation(trained, raw, random))
    assert all(words in text for words in said), text
    assert not any(words in text for words in not_said), text


def test_nothing_is_said_of_what_was_not_compared() -> None:
    whole = evaluation(180, 120, 120)
    whole.reports = [report for report in whole.reports if report.source == "trained"]
    assert headline(whole) == ""
