"""Temperature and calibration error, by numbers that can be worked out on paper."""

import math

import numpy as np
import pytest

from marrow.use.calibration import expected_calibration_error_percent, fitted_temperature, probabilities


def test_a_temperature_divides_the_scores() -> None:
    scores = np.array([[2.0 * math.log(3.0), 0.0]])
    np.testing.assert_allclose(probabilities(scores, 2.0), [[0.75, 0.25]])
    np.testing.assert_allclose(probabilities(scores, 1.0), [[0.9, 0.1]])


def test_of_one_right_clip_the_target_is_two_thirds() -> None:
    """One clip of two classes: (1 + 1) / (1 + 2). A sigmoid of s / T is 2/3 at s / T = ln 2."""
    assert fitted_temperature(np.array([[1.0, 0.0]]), np.array([0])) == pytest.approx(1.0 / math.log(2.0), rel=1e-4)


def test_a_head_that_is_too_sure_is_cooled_down() -> None:
    """It says 0.9 of all, and one of four is wrong: of 400 clips the targets average (0.75 * 401 + 0.25) / 402."""
    scores = np.tile([[math.log(9.0), 0.0]], (400, 1))
    label = np.repeat([0, 0, 0, 1], 100)
    share = (0.75 * 401 + 0.25 * 1) / 402
    expected = math.log(9.0) / math.log(share / (1.0 - share))
    assert fitted_temperature(scores, label) == pytest.approx(expected, rel=1e-4)
    assert expected_calibration_error_percent(probabilities(scores, 1.0), label) == pytest.approx(15.0)
    assert expected_calibration_error_percent(probabilities(scores, expected), label) < 0.2


def test_classes_that_nothing_is_said_of_do_not_cool_down() -> None:
    """Of 98 clips the targets are 0.99, and 0.01 shared by the others, however many these are.

    With one score of s above K - 1 equal ones, that is where 1 / (1 + (K - 1) exp(-s / T)) = 0.99.
    """
    for classes in (2, 30):
        scores = np.zeros((98, classes))
        scores[:, 0] = 8.0
        expected = 8.0 / math.log(99.0 * (classes - 1))
        assert fitted_temperature(scores, np.zeros(98, np.int64)) == pytest.approx(expected, rel=1e-4)


def test_calibration_error_of_two_bins() -> None:
    """Bins of a tenth: two clips at 0.65 with one right are 0.15 off, two at 0.95 with both right 0.05: mean 10 %."""
    probability = np.array([[0.65, 0.35], [0.65, 0.35], [0.95, 0.05], [0.05, 0.95]])
    assert expected_calibration_error_percent(probability, np.array([0, 1, 0, 1]), bins=10) == pytest.approx(10.0)


def test_bins_weigh_as_many_as_they_hold() -> None:
    """Three clips at 0.5 without a right one are 0.5 off, one at 0.8 that is right 0.2: (3 * 0.5 + 0.2) / 4."""
    probability = np.array([[0.5, 0.5]] * 3 + [[0.8, 0.2]])
    error = expected_calibration_error_percent(probability, np.array([1, 1, 1, 0]), bins=10)
    assert error == pytest.approx(42.5)


def test_within_a_bin_too_high_and_too_low_make_up_for_each_other() -> None:
    probability = np.array([[0.55, 0.45], [0.65, 0.35]])
    # One bin of three: the mean promise is 0.6, and one of two is right.
    assert expected_calibration_error_percent(probability, np.array([0, 1]), bins=3) == pytest.approx(10.0)
