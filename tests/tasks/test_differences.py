"""Differences to baselines on the same clips, with numbers that are counted on fingers."""

import pytest

from marrow.tasks.evaluation_report import EvaluationReport, Report, RunFacts
from marrow.tasks.numbers import About
from marrow.tasks.summary import differences, measures, scores

LABEL = [0, 1] * 10
ABOUT = About("probe", "Probe", beside="probe/raw")


def probed(source, seed, wrong, name="top1"):
    """Return a report that is wrong about the first so many of twenty clips."""
    predicted = [label ^ (clip < wrong) for clip, label in enumerate(LABEL)]
    task = "probe/raw" if source == "raw" else "probe"
    return Report(task, {}, declared=ABOUT, predictions={name: predicted}, seed=seed, source=source)


def evaluation_of(*reports, copies=0):
    runs = [RunFacts(f"run{seed}", seed, {}, "abc") for seed in range(2)]
    copied = [clip < copies for clip in range(20)]
    return EvaluationReport("xsub", "f" * 64, ["a", "b"], 8, list(range(20)), LABEL, copied, runs, list(reports))


def test_the_difference_of_one_seed_is_paired_over_clips():
    [same] = differences(evaluation_of(probed("trained", 0, 4), probed("random", 0, 4)))
    assert (same.difference_percent, same.low_percent, same.high_percent) == (0.0, 0.0, 0.0)
    assert same.verdict == "not shown"
    # 10 more of 20 clips are right: 50 points, and no resample of 20 coins has fewer than 5 heads in 97.5 % of cases.
    [better] = differences(evaluation_of(probed("trained", 0, 4), probed("random", 0, 14)))
    assert (better.difference_percent, better.by_seed) == (pytest.approx(50.0), (pytest.approx(50.0),))
    assert (better.low_percent, better.high_percent) == (pytest.approx(30.0), pytest.approx(70.0))
    assert better.verdict == "better"
    [worse] = differences(evaluation_of(probed("trained", 0, 14), probed("random", 0, 4)))
    assert (worse.difference_percent, worse.verdict) == (pytest.approx(-50.0), "worse")
    # 1 of 20 clips: the interval over clips touches zero.
    [close] = differences(evaluation_of(probed("trained", 0, 4), probed("random", 0, 5)))
    assert (close.difference_percent, close.low_percent, close.verdict) == (pytest.approx(5.0), 0.0, "not shown")


def test_seeds_that_disagree_show_nothing():
    def of_seeds(*wrong):
        reports = [probed("trained", seed, of_seed) for seed, of_seed in enumerate(wrong)]
        [difference] = differences(evaluation_of(*reports, *(probed("random", seed, 20) for seed in range(2))))
        return difference

    # 80 and 20 points: the mean of 50 has a deviation of 42 over seeds, and t is 12.7 for two of them.
    torn = of_seeds(4, 16)
    assert torn.by_seed == (pytest.approx(80.0), pytest.approx(20.0))
    assert (torn.difference_percent, torn.verdict) == (pytest.approx(50.0), "not shown")
    assert torn.low_percent > 0
    assert of_seeds(10, 10).verdict == "better"


def test_a_seed_without_a_baseline_of_its_own_is_compared_with_all_of_them():
    trained = [probed("trained", 0, 4), probed("trained", 1, 8)]
    [difference] = differences(evaluation_of(*trained, probed("random", 0, 12)))
    # 16 and 12 right against 8, whichever seed.
    assert difference.by_seed == (pytest.approx(40.0), pytest.approx(20.0))
    [difference] = differences(evaluation_of(*trained, probed("random", 0, 12), probed("random", 1, 16)))
    assert difference.by_seed == (pytest.approx(40.0), pytest.approx(40.0))
    [difference] = differences(evaluation_of(*trained, probed("raw", 5, 12), probed("raw", 6, 16)))
    # No seed of theirs: both baselines, 8 and 4 right, 6 on average.
    assert difference.against_task == "probe/raw"
    assert difference.by_seed == (pytest.approx(50.0), pytest.approx(30.0))


def test_the_best_epoch_is_compared_with_nothing():
    best = evaluation_of(probed("trained", 0, 4, "top1_best"), probed("random", 0, 12, "top1_best"))
    assert differences(best) == []
    assert [number.quantity.chosen_on_test for number in scores(best)] == [True, True]


def test_clean_differences_leave_out_copies():
    official, clean = differences(evaluation_of(probed("trained", 0, 2), probed("random", 0, 12), copies=10))
    # Of the ten clips that are no copies, none is wrong against two.
    assert (official.clips, official.difference_percent) == ("official", pytest.approx(50.0))
    assert (clean.clips, clean.difference_percent) == ("clean", pytest.approx(20.0))


def test_a_number_that_some_seeds_lack_is_a_mean_over_the_others():
    metrics = ({"error": 4.0, "other": 1.0}, {"error": 6.0})
    reports = [Report("reach", values, {"error": (0.0, 8.0)}, seed=seed) for seed, values in enumerate(metrics)]
    error, other = measures(evaluation_of(*reports))
    assert (error.mean, error.std, error.by_seed) == (5.0, pytest.approx(2**0.5), (4.0, 6.0))
    assert (error.low, error.high) == (0.0, 8.0)
    assert (other.mean, other.std, other.by_seed, other.low) == (1.0, 0.0, (1.0,), None)
