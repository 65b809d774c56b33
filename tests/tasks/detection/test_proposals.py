"""Proposals from probabilities of frames, worked out by hand."""

import numpy as np
import pytest

from marrow.errors import ConfigError
from marrow.runtime.frames import smooth
from marrow.tasks.detection.scoring import Proposal, activity_runs, class_runs, suppress

# Six frames of two classes and the background.
PROBABILITY = np.array(
    [
        [0.00, 0.10, 0.90],
        [0.60, 0.10, 0.30],
        [0.80, 0.00, 0.20],
        [0.01, 0.00, 0.99],
        [0.30, 0.30, 0.40],
        [0.10, 0.50, 0.40],
    ]
)


def _rounded(proposals: list[Proposal]) -> list[tuple]:
    return [(*proposal[:3], round(proposal.confidence, 6)) for proposal in proposals]


def test_every_run_of_a_class_is_a_proposal():
    # Class 0 exceeds 0.02 in frames 1-2 (mean 0.7) and 4-5 (mean 0.2); class 1 in 0-1 (0.1) and 4-5 (0.4).
    expected = [(0, 1, 3, 0.7), (0, 4, 6, 0.2), (1, 0, 2, 0.1), (1, 4, 6, 0.4)]
    assert _rounded(class_runs(PROBABILITY, 0.02)) == expected
    # From 0.3 on, which itself is not more than 0.3: frames 1-2 of class 0, frame 5 of class 1.
    assert _rounded(class_runs(PROBABILITY, 0.3)) == [(0, 1, 3, 0.7), (1, 5, 6, 0.5)]


def test_every_run_of_activity_is_one_proposal():
    # 1 - P(background) is 0.1, 0.7, 0.8, 0.01, 0.6, 0.6. Frames 1-2: means 0.7 and 0.05; frames 4-5: 0.2 and 0.4.
    assert _rounded(activity_runs(PROBABILITY)) == [(0, 1, 3, 0.7), (1, 4, 6, 0.4)]
    assert _rounded(activity_runs(PROBABILITY, 0.65)) == [(0, 1, 3, 0.7)]
    assert activity_runs(np.array([[0.0, 0.0, 1.0]])) == []


def test_smoothing_averages_what_is_there():
    # Class 0 over +-1: (0 + 0.6) / 2, (0 + 0.6 + 0.8) / 3, (0.6 + 0.8 + 0.01) / 3, ..., (0.3 + 0.1) / 2.
    smoothed = smooth(PROBABILITY, 1)
    assert smoothed[[0, 1, 2, 5], 0] == pytest.approx([0.3, 1.4 / 3, 0.47, 0.2])
    assert smoothed.sum(axis=1) == pytest.approx(1.0)
    np.testing.assert_allclose(smooth(PROBABILITY, 0), PROBABILITY, atol=1e-12)
    np.testing.assert_allclose(smooth(PROBABILITY, 99), np.tile(PROBABILITY.mean(0), (6, 1)))
    with pytest.raises(ConfigError, match="got -1"):
        smooth(PROBABILITY, -1)


def test_suppression_keeps_the_surest_of_a_class():
    # [0, 10) and [5, 15) share 5 of 15 frames: 1/3. Another class is no rival.
    proposals = [Proposal(0, 5, 15, 0.5), Proposal(0, 0, 10, 0.9), Proposal(1, 5, 15, 0.4), Proposal(0, 20, 30, 0.1)]
    assert suppress(proposals, 0.3) == [proposals[1], proposals[2], proposals[3]]
    assert suppress(proposals, 0.34) == [proposals[1], proposals[0], proposals[2], proposals[3]]
    assert suppress([], 0.5) == []


def test_a_chain_is_not_suppressed_by_what_was_left_out():
    # The second is left out for the first; the third overlaps only the second, and stays.
    proposals = [Proposal(0, 0, 10, 0.9), Proposal(0, 5, 15, 0.8), Proposal(0, 10, 20, 0.7)]
    assert suppress(proposals, 0.2) == [proposals[0], proposals[2]]
