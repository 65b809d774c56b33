"""Errors of forecasts, with numbers from paper."""

import math
import random

import numpy as np
import pytest

from marrow.errors import ConfigError, DataError
from marrow.readers.h36m import PREDICTED_JOINTS
from marrow.tasks.prediction.metrics import (
    H36M_CONSTANT,
    H36M_COPIED,
    H36M_SETS,
    frame_of,
    h36m_completed,
    h36m_window_starts,
    horizons_within,
    joint_errors_mm,
    mean_error_mm,
    window_errors_mm,
)


def test_a_constant_offset_of_3_4_0_millimetres_is_an_error_of_5() -> None:
    truth = np.random.default_rng(0).normal(size=(2, 1, 3, 4, 3)).astype(np.float32)
    forecast = truth.astype(np.float64) + np.array([0.003, 0.004, 0.0])
    errors, scored = window_errors_mm(forecast, truth, np.ones(truth.shape[:-1], bool))
    np.testing.assert_allclose(errors, 5.0, rtol=1e-9)
    assert scored.all()


def test_the_centre_is_subtracted_from_both_sides() -> None:
    # The forecast is 1 m aside as a whole, and its second joint 12 mm further: global errors 1000 and 1012 mm,
    # root-centred 0 (the centre, which stays among the joints) and 12, mean 6.
    truth = np.zeros((1, 1, 1, 2, 3))
    forecast = np.zeros_like(truth)
    forecast[..., 0, 0], forecast[..., 1, 0] = 1.0, 1.012
    present = np.ones(truth.shape[:-1], bool)
    assert window_errors_mm(forecast, truth, present)[0][0, 0] == pytest.approx(1006.0)
    assert window_errors_mm(forecast, truth, present, centre=0)[0][0, 0] == pytest.approx(6.0)
    np.testing.assert_allclose(joint_errors_mm(forecast, truth, 1).ravel(), [12.0, 0.0], atol=1e-9)


def test_absent_joints_are_left_out_and_so_is_a_body_without_its_centre() -> None:
    # Two bodies of two joints; errors 10, 20 and 30, 99 mm, the last one absent: (10 + 20 + 30) / 3 = 20.
    truth = np.zeros((1, 2, 1, 2, 3))
    forecast = np.zeros_like(truth)
    forecast[0, :, 0, :, 2] = [[0.010, 0.020], [0.030, 0.099]]
    present = np.array([True, True, True, False]).reshape(1, 2, 1, 2)
    errors, scored = window_errors_mm(forecast, truth, present)
    assert errors[0, 0] == pytest.approx(20.0)
    assert scored[0, 0]
    # About joint 1, which the second body lacks: |10 - 20| and 0 of the first body alone, mean 5.
    assert window_errors_mm(forecast, truth, present, centre=1)[0][0, 0] == pytest.approx(5.0)
    errors, scored = window_errors_mm(forecast, truth, np.zeros_like(present))
    assert errors[0, 0] == 0.0
    assert not scored[0, 0]


def test_horizons_are_frames_counted_from_one() -> None:
    at_25 = {80: 2, 160: 4, 320: 8, 400: 10, 560: 14, 720: 18, 880: 22, 1000: 25}
    assert horizons_within(25, 25.0) == at_25
    assert horizons_within(10, 25.0) == {80: 2, 160: 4, 320: 8, 400: 10}
    assert horizons_within(50, 50.0)[1000] == 50
    assert frame_of(80, 30.0) is None  # frame 2.4
    assert frame_of(400, 30.0) == 12
    assert horizons_within(1, 25.0) == {}


def test_windows_count_alike_and_groups_count_alike() -> None:
    # Recordings with 1 window of 10 mm, 3 windows of 30 mm in all, and 1 window of 40 mm; the second horizon is scored
    # in the last recording alone.
    sums = np.array([[10.0, 0.0], [30.0, 0.0], [40.0, 7.0]])
    windows = np.array([[1, 0], [3, 0], [1, 1]])
    # All windows: (10 + 30 + 40) / 5. Groups {0, 1} and {2}: ((10 + 30) / 4 + 40) / 2.
    np.testing.assert_allclose(mean_error_mm(sums, windows), [16.0, 7.0])
    np.testing.assert_allclose(mean_error_mm(sums, windows, np.array([5, 5, 9])), [25.0, 7.0])
    assert math.isnan(mean_error_mm(sums[:1], windows[:1])[1])


@pytest.mark.parametrize("draws", H36M_SETS.values())
@pytest.mark.parametrize("observed", [10, 50])
def test_official_windows_follow_from_the_formula(draws: int, observed: int) -> None:
    frames = (1612, 1015)
    generator = _mersenne_twister(1234567890)
    expected: list[list[int]] = [[], []]
    for _ in range(draws):
        for take in (0, 1):
            expected[take].append(_integer(generator, 16, frames[take] - 150) + 50 - observed)
    first, second = h36m_window_starts(frames, observed, draws)
    assert first.tolist() == expected[0]
    assert second.tolist() == expected[1]
    # Drawn anew for every action: the first windows are those of the smaller set.
    assert h36m_window_starts(frames, observed, 4)[0].tolist() == expected[0][:4]


def _mersenne_twister(seed: int) -> random.Random:
    """MT19937 with its first, one-number initialisation (Matsumoto and Nishimura 2002); Python's own is another."""
    state = [seed]
    for place in range(1, 624):
        state.append((1812433253 * (state[-1] ^ (state[-1] >> 30)) + place) % 2**32)
    generator = random.Random()
    generator.setstate((3, (*state, 624), None))
    return generator


def _integer(generator: random.Random, low: int, high: int) -> int:
    """Draw from [low, high): the lowest bits of 32, as often as needed for them to lie inside."""
    bits = (high - 1 - low).bit_length()
    while True:
        value = generator.getrandbits(32) % 2**bits
        if value <= high - 1 - low:
            return low + value


def test_official_windows_lie_inside_their_takes() -> None:
    # The smallest takes have one place to draw, 16: observation from 0 to 66, or the last 50 of it.
    assert h36m_window_starts((167, 167), 66, 2)[0].tolist() == [0, 0]
    assert h36m_window_starts((167, 400), 50, 2)[0].tolist() == [16, 16]
    with pytest.raises(DataError, match="at least 167 frames"):
        h36m_window_starts((166, 400), 50, 2)
    with pytest.raises(ConfigError, match="1 to 66 observed frames, got 67"):
        h36m_window_starts((400, 400), 67, 2)


def test_human36m_counts_28_of_32_joints() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(2, 5, 32, 3))
    # What the files are like: four joints never move, six stay on another one.
    truth[:, :, list(H36M_CONSTANT)] = truth[:, :1, list(H36M_CONSTANT)]
    truth[:, :, list(H36M_COPIED)] = truth[:, :, list(H36M_COPIED.values())]
    forecast = np.full_like(truth, np.nan)
    forecast[:, :, list(PREDICTED_JOINTS)] = truth[:, :, list(PREDICTED_JOINTS)] + np.array([0.0, 0.032, 0.0])
    completed = h36m_completed(forecast, truth[:, 0])
    # 22 joints and 6 duplicates are off by 32 mm, 4 are not: 28 / 32 * 32 = 28.
    errors, _ = window_errors_mm(completed[:, None], truth[:, None], np.ones((2, 1, 5, 32), bool))
    np.testing.assert_allclose(errors, 28.0)


def test_forecast_and_filled_joints_are_all_joints() -> None:
    assert sorted([*PREDICTED_JOINTS, *H36M_CONSTANT, *H36M_COPIED]) == list(range(32))
    assert set(H36M_COPIED.values()) <= set(PREDICTED_JOINTS)


def test_a_duplicate_repeats_the_error_of_its_joint() -> None:
    forecast = np.zeros((1, 32, 3))
    forecast[0, 13] = 1.0  # the neck, on which both collars stay
    completed = h36m_completed(forecast, np.zeros((32, 3)))
    assert np.flatnonzero(completed[0].any(-1)).tolist() == [13, 16, 24]
