import numpy as np
import pytest

from marrow.errors import DataError
from marrow.tasks import metrics
from marrow.tasks.base import Report, TestClips

LABEL = np.array([0, 0, 1, 1, 2])
PREDICTED = np.array([0, 1, 1, 1, 0])


def test_top1_counts_three_of_five_and_without_the_copy_two_of_four():
    copied = np.array([True, False, False, False, False])
    test = TestClips(np.arange(5), LABEL, copied, ("a", "b", "c"))
    report = Report.scored("mine", {"top1": PREDICTED}, test, settings={}, seed=0, num_labels_used=1)
    assert report.metrics == {"top1_percent": 60.0, "top1_clean_percent": 50.0}
    assert report.quantities["top1_clean_percent"].of == "top1_percent"
    low, high = report.intervals["top1_percent"]
    assert 0.0 <= low < 60.0 < high <= 100.0


def test_the_best_epoch_is_the_first_of_equals():
    assert metrics.best_epoch(np.array([[0, 1, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]), LABEL) == 1


def test_confusion_matrix_by_hand():
    expected = [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    np.testing.assert_array_equal(metrics.confusion_matrix(PREDICTED, LABEL, 3), expected)


def test_recall_leaves_out_classes_without_clips():
    recall = metrics.per_class_recall_percent(PREDICTED, LABEL, ("a", "b", "c", "d"))
    assert recall == {"a": 50.0, "b": 100.0, "c": 0.0}


def test_interval_of_constant_outcomes_is_a_point():
    assert metrics.bootstrap_interval(np.ones(7)) == (1.0, 1.0)


def test_interval_agrees_with_the_normal_one():
    # 400 clips, half of them right: the standard error is 0.5 / 20 = 0.025, so 95 % is 0.5 -+ 1.96 * 0.025 = 0.049.
    low, high = metrics.bootstrap_interval(np.repeat([0.0, 1.0], 200))
    assert low == pytest.approx(0.451, abs=0.003)
    assert high == pytest.approx(0.549, abs=0.003)


def test_interval_equals_drawing_clips_one_by_one():
    values = np.array([0.0, 1 / 3, 1 / 3, 1.0, 2 / 3, 1.0, 0.0, 1.0])
    rng = np.random.default_rng(5)
    means = values[rng.integers(0, len(values), (200_000, len(values)))].mean(axis=1)
    expected = np.percentile(means, [2.5, 97.5])
    assert metrics.bootstrap_interval(values, resamples=200_000) == pytest.approx(expected, abs=0.02)


def test_interval_follows_its_seed():
    values = np.repeat([0.0, 0.3, 1.0], [11, 6, 14])
    assert metrics.bootstrap_interval(values, seed=3) == metrics.bootstrap_interval(values, seed=3)


def test_paired_difference_is_sharper_than_two_intervals():
    hard = np.repeat([0.0, 1.0], 100)  # both fail on the same clips
    better = hard.copy()
    better[:10] = 1.0
    difference, (low, high) = metrics.paired_difference_percent(better, hard)
    assert difference == pytest.approx(5.0)
    # Ten differences of 1 among 200: standard error 100 * sqrt(0.05 * 0.95 / 200) = 1.54 points.
    assert low == pytest.approx(5.0 - 1.96 * 1.54, abs=0.6)
    assert high == pytest.approx(5.0 + 1.96 * 1.54, abs=0.6)


def test_spread_over_seeds():
    assert metrics.mean_and_std([70.0, 74.0]) == (72.0, pytest.approx(2.8284271))
    assert metrics.mean_and_std([70.0]) == (70.0, 0.0)


def test_nothing_to_score_is_said():
    with pytest.raises(DataError, match="empty"):
        metrics.bootstrap_interval(np.zeros(0))
