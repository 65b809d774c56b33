"""Probabilities that mean what they say: a temperature, and how far off they are.

Scores are divided by one number, the temperature, before the softmax (Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017). It is chosen on clips that the head has not learned from. No order of classes changes by it.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from scipy.optimize import minimize_scalar

# Between which temperatures the best one is looked for.
_COLDEST, _HOTTEST = 0.02, 50.0
_BINS = 15


def probabilities(scores: Float[np.ndarray, "clip class"], temperature: float) -> Float64[np.ndarray, "clip class"]:
    """Return probabilities of scores before the softmax."""
    return torch.from_numpy(scores.astype(np.float64) / temperature).softmax(dim=1).numpy()


def fitted_temperature(scores: Float[np.ndarray, "clip class"], label: Int64[np.ndarray, " clip"]) -> float:
    """Return the temperature at which labels are most probable.

    With n clips, the target of a clip's own class is (n + 1) / (n + 2), not 1, and the others share what is left of it
    (as Platt has it for two classes): where all clips are right, 1 would make every answer a certainty.

    Args:
        scores: before the softmax, of clips that were not learned from.
        label: place of each clip's class among the scores.
    """
    clips, classes = scores.shape
    target = np.full((clips, classes), 1.0 / (clips + 2.0) / max(classes - 1, 1))
    target[np.arange(clips), label] = (clips + 1.0) / (clips + 2.0)
    exact = torch.from_numpy(scores.astype(np.float64))

    def loss(log_temperature: float) -> float:
        log_probability = (exact / np.exp(log_temperature)).log_softmax(dim=1).numpy()
        return -float((target * log_probability).sum() / clips)

    bounds = (float(np.log(_COLDEST)), float(np.log(_HOTTEST)))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))  # pyright: ignore[reportAttributeAccessIssue]


def expected_calibration_error_percent(
    probability: Float[np.ndarray, "clip class"], label: Int64[np.ndarray, " clip"], bins: int = _BINS
) -> float:
    """Return how far the probability of the first answer is from the share of right answers, in percentage points.

    Clips are put into bins of equal width by that probability; the distances of the bins are averaged, each by its
    clips (Naeini et al., AAAI 2015). It is never below zero, and with few clips it is above zero by chance alone.
    """
    answer, sure = probability.argmax(axis=1), probability.max(axis=1)
    # A probability on the border of two bins belongs to the lower one; 0 to the first.
    place = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    right = np.bincount(place, weights=answer == label, minlength=bins)
    promised = np.bincount(place, weights=sure, minlength=bins)
    return 100.0 * float(np.abs(right - promised).sum() / count.sum())
