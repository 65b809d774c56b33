"""From the probability of each class in each frame to intervals that may hold an action.

The background is the last class. Two ways that the field goes; neither suppresses proposals that overlap:

- Every contiguous run of frames in which a class has more than a small probability is a proposal of that class, its
  confidence the mean probability in it (USDRL's code). Classes do not compete, so that the sum of proposals is larger
  than what can be true: the official score of PKU-MMD rewards many proposals of low confidence.
- Every contiguous run of frames that are probably not background is a proposal, of the class that is most probable in
  its mean (PCM3's and HiCLR's code).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from marrow.errors import ConfigError
from marrow.tasks.detection.frame_metrics import runs


class Proposal(NamedTuple):
    """An interval `[start, end)` of frames that may hold an action.

    Args:
        label: 0-based class.
        start: first frame.
        end: the frame after the last one.
        confidence: from 0 to 1.
    """

    label: int
    start: int
    end: int
    confidence: float


def smooth(probability: Float64[np.ndarray, "frame class"], reach: int) -> Float64[np.ndarray, "frame class"]:
    """Average each frame with the `reach` frames on either side of it, or with as many as there are."""
    if reach < 0:
        raise ConfigError(f"a mean over frames reaches 0 or more frames to either side, got {reach}")
    frames = np.arange(len(probability))
    first, after = np.maximum(frames - reach, 0), np.minimum(frames + reach + 1, len(probability))
    return (_sums(probability)[after] - _sums(probability)[first]) / (after - first)[:, None]


def class_runs(probability: Float64[np.ndarray, "frame class"], threshold: float) -> list[Proposal]:
    """Propose every contiguous run of frames in which a class is more probable than a threshold.

    Args:
        probability: of each class; the background, which is proposed nowhere, comes last.
        threshold: of the probability.
    """
    sums = _sums(probability)
    return [
        Proposal(label, start, end, float((sums[end, label] - sums[start, label]) / (end - start)))
        for label in range(probability.shape[1] - 1)
        for start, end, is_above in runs(probability[:, label] > threshold)
        if is_above
    ]


def activity_runs(probability: Float64[np.ndarray, "frame class"], least_activity: float = 0.4) -> list[Proposal]:
    """Propose every contiguous run of frames that are no background, as its most probable action.

    Args:
        probability: of each class; the background comes last.
        least_activity: 1 - the probability of the background, from which on a frame is part of a run.
    """
    sums = _sums(probability)
    proposals = []
    for start, end, is_active in runs(1.0 - probability[:, -1] >= least_activity):
        if is_active:
            mean = (sums[end] - sums[start])[:-1] / (end - start)
            label = int(mean.argmax())
            proposals.append(Proposal(label, start, end, float(mean[label])))
    return proposals


def suppress(proposals: list[Proposal], most_overlap: float) -> list[Proposal]:
    """Leave out what overlaps a more confident proposal of the same class more than so much (intersection over union).

    What remains comes in the order of confidence, the surest first; of equals, the one that came first.
    """
    kept: list[Proposal] = []
    for proposal in sorted(proposals, key=lambda one: -one.confidence):
        rivals = (other for other in kept if other.label == proposal.label)
        if all(_iou(proposal, other) <= most_overlap for other in rivals):
            kept.append(proposal)
    return kept


def _iou(one: Proposal, other: Proposal) -> float:
    shared = min(one.end, other.end) - max(one.start, other.start)
    return max(shared, 0) / (max(one.end, other.end) - min(one.start, other.start))


def _sums(probability: Float64[np.ndarray, "frame class"]) -> Float64[np.ndarray, "frame_1 class"]:
    """Return sums over all frames before each, so that a difference of two is the sum over an interval."""
    return np.concatenate([np.zeros((1, probability.shape[1])), np.cumsum(probability, axis=0)])
