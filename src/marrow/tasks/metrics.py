"""Scores of predicted classes, and how sure one may be of them. Pure functions of arrays.

The interval over clips answers "how would the score vary with other test clips of the same kind?"; the spread over
seeds answers "how would it vary with another initialisation?". Neither contains the other, so both are reported.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64

from marrow.errors import DataError

RESAMPLES = 10_000


def counted_clips(copied: Bool[np.ndarray, " clip"]) -> dict[str, Bool[np.ndarray, " clip"]]:
    """Return which clips count: officially (""), and where some are copies, without those ("_clean")."""
    counted = {"": np.ones(len(copied), bool)}
    if copied.any() and not copied.all():
        counted["_clean"] = ~copied
    return counted


def confusion_matrix(
    predicted: Int64[np.ndarray, " clip"], label: Int64[np.ndarray, " clip"], class_count: int
) -> Int64[np.ndarray, "true predicted"]:
    """Count the clips of each true class (row) that were given each class (column)."""
    flat = np.bincount(label * class_count + predicted, minlength=class_count * class_count)
    return flat.reshape(class_count, class_count).astype(np.int64)


def per_class_recall_percent(
    predicted: Int64[np.ndarray, " clip"], label: Int64[np.ndarray, " clip"], classes: tuple[str, ...]
) -> dict[str, float]:
    """Return the share of each class's clips that were found, in percent; classes without test clips are left out."""
    matrix = confusion_matrix(predicted, label, len(classes))
    return {
        name: 100.0 * float(matrix[index, index] / matrix[index].sum())
        for index, name in enumerate(classes)
        if matrix[index].sum()
    }


def bootstrap_interval(
    per_clip: Float64[np.ndarray, " clip"], *, seed: int = 0, resamples: int = RESAMPLES, level_percent: float = 95.0
) -> tuple[float, float]:
    """Return the percentile interval of the mean over clips, by resampling the clips with replacement.

    A resample is decided by how often each distinct value is drawn, which is multinomial. Drawing those counts is the
    same bootstrap as drawing clips one by one, and for right-or-wrong outcomes its cost does not grow with the number
    of clips (NTU-120 has 50,919).

    Args:
        per_clip: one number per clip: 1 or 0 for right or wrong, a difference of two such, or a mean over seeds.
        seed: of the resampling.
        resamples: how many.
        level_percent: coverage.
    """
    if len(per_clip) == 0:
        raise DataError("no clip to resample: the test rows are empty")
    values, counts = np.unique(per_clip, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(per_clip), counts / len(per_clip), size=resamples)
    means = drawn @ values / len(per_clip)
    tail = (100.0 - level_percent) / 2
    low, high = np.percentile(means, [tail, 100.0 - tail])
    return float(low), float(high)


def paired_difference_percent(
    ours: Float64[np.ndarray, " clip"], theirs: Float64[np.ndarray, " clip"], *, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Return the difference of two scores on the same clips and its 95 % interval, in percentage points.

    Both were asked the same clips, so that what is hard for both cancels: the interval is narrower than that of two
    separate scores.

    Args:
        ours: per clip, 1 or 0 for right or wrong (or the mean of that over seeds).
        theirs: the same for the other, in the same order of clips.
        seed: of the resampling.
    """
    difference = ours - theirs
    low, high = bootstrap_interval(difference, seed=seed)
    return 100.0 * float(difference.mean()), (100.0 * low, 100.0 * high)


def best_epoch(by_epoch: Int64[np.ndarray, "epoch clip"], label: Int64[np.ndarray, " clip"]) -> int:
    """Return the epoch, from 0, whose predictions are right most often; the first of equals."""
    return int((by_epoch == label).mean(axis=1).argmax())


def mean_and_std(values: list[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation over seeds (0 for a single one)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
