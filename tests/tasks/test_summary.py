"""Scores over seeds, and differences to the baselines, by hand."""

import numpy as np
import pytest

from marrow.errors import DataError
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport, RunFacts
from marrow.tasks.numbers import DRAWS_STD, TOP1
from marrow.tasks.summary import differences, measures, raw_sentences, scores
from marrow.tasks.version_1 import declared


def _report(source, task, predicted, seed, run=""):
    prints = {"run": run}
    return declared(Report(task, {}, predictions={"top1": predicted}, seed=seed, source=source, fingerprints=prints))


def _evaluation(reports, *, labels=(0, 1, 0, 1), copied=(False,) * 4, seeds=(1,)):
    runs = [RunFacts(f"r{seed}", seed, {}, "f") for seed in seeds]
    return EvaluationReport("p", "s", ["a", "b"], 8, [0, 1, 2, 3], list(labels), list(copied), runs, reports)


def test_scores_over_seeds_by_hand():
    reports = [
        _report("trained", "knn/pooled", [0, 1, 0, 0], 1, "r1"),
        _report("trained", "knn/pooled", [0, 1, 1, 0], 2, "r2"),
    ]
    [official, clean] = scores(_evaluation(reports, copied=(True, False, False, False), seeds=(1, 2)))
    assert (official.quantity.clips, official.by_seed, official.mean) == ("official", (75.0, 50.0), 62.5)
    assert official.std == pytest.approx(12.5 * np.sqrt(2))
    assert clean.by_seed == (pytest.approx(200 / 3), pytest.approx(100 / 3))


def test_comparison_pairs_seeds_and_wants_both_intervals():
    labels = [0] * 100
    right, half = [0] * 100, [0] * 50 + [1] * 50

    def compared(first, second):
        reports = [_report("trained", "knn/pooled", first, 1, "r1"), _report("trained", "knn/pooled", second, 2, "r2")]
        reports += [_report("random", "knn/pooled", half, seed) for seed in (1, 2)]
        evaluation = _evaluation(reports, labels=labels, copied=[False] * 100, seeds=(1, 2))
        [each] = differences(evaluation)
        return each

    sure = compared(right, right)
    assert (sure.difference_percent, sure.by_seed, sure.verdict) == (50.0, (50.0, 50.0), "better")
    # One seed gains 50 points, the other none: clips alone would call it better, two seeds cannot.
    torn = compared(right, half)
    assert torn.by_seed == (50.0, 0.0)
    assert torn.low_percent > 0
    assert torn.verdict == "not shown"


def test_sentence_where_the_raw_baseline_is_not_passed():
    labels = [0] * 40
    reports = [_report("trained", "knn/pooled", [1] * 20 + [0] * 20, 1, "r1"), _report("raw", "knn/raw", [0] * 40, 0)]
    [sentence] = raw_sentences(_evaluation(reports, labels=labels, copied=[False] * 40))
    assert "does not pass the raw-coordinate baseline: 50.0 points below it" in sentence


def test_scores_of_draws_are_means_over_them():
    draws = [{"predictions": [0, 1, 0, 1]}, {"predictions": [0, 1, 1, 0]}]  # 4 and 2 of 4 right
    report = Report("semi_supervised/5 %", {"top1_percent": 75.0, "top1_draws_std_percent": 35.4, "seconds": 3.0})
    report.detail, report.quantities = (
        {"draws": draws},
        {"top1_percent": TOP1["top1"], "top1_draws_std_percent": DRAWS_STD},
    )
    other = Report("semi_supervised/5 %", {}, source="random", detail={"draws": [draws[1], draws[1]]})
    evaluation = _evaluation([report, other], copied=(False, False, False, True))
    [official, clean] = [score for score in scores(evaluation) if score.source == "trained"]
    # The draws score 100 and 50: mean 75, sample deviation 25 sqrt 2. Without the last clip 3 and 2 of 3.
    assert (official.mean, official.draws_std) == (75.0, pytest.approx(25 * 2**0.5))
    assert clean.mean == pytest.approx(100 * (1 + 2 / 3) / 2)
    [difference, _] = differences(evaluation)
    assert difference.difference_percent == 25.0
    # What is no score of this kind is a number by itself.
    assert [(each.name, each.mean, each.low) for each in measures(evaluation)] == [("seconds", 3.0, None)]


def test_reports_of_other_clips_are_not_joined():
    first, second = _evaluation([]), _evaluation([])
    second.store = "other"
    with pytest.raises(DataError, match="different test clips"):
        EvaluationReport.joined([first, second])
