"""Scores of action detection: frames, and segments as runs of frames, against what was labelled. Pure functions.

The conventions are those of `metrics.py`, which scores proposals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from marrow.tasks.detection.metrics import Intervals, first_of_their_kind, mean_or_zero, overlaps


@dataclass(frozen=True)
class FrameCounts:
    """How many frames of each class there are, were called so, and were called so rightly; the background comes last.

    Args:
        right: frames of a class that were called that.
        true: frames of a class.
        predicted: frames that were called that.
    """

    right: Int64[np.ndarray, " class"]
    true: Int64[np.ndarray, " class"]
    predicted: Int64[np.ndarray, " class"]

    @classmethod
    def of(
        cls, predicted: Int64[np.ndarray, " frame"], true: Int64[np.ndarray, " frame"], class_count: int
    ) -> "FrameCounts":
        """Count the frames of a recording; `class_count` counts the background, which has the largest number."""
        counts = (np.bincount(labels, minlength=class_count) for labels in (true[predicted == true], true, predicted))
        return cls(*(count.astype(np.int64) for count in counts))

    def __add__(self, other: "FrameCounts") -> "FrameCounts":
        return FrameCounts(self.right + other.right, self.true + other.true, self.predicted + other.predicted)

    def scores(self) -> dict[str, float]:
        """Return shares of frames that were called rightly, and means of the classes' F1, in percent.

        Returns:
            `frame_accuracy_percent` of all frames; `frame_accuracy_actions_percent` of those of an action;
            `frame_f1_percent`, with the background as a class; `frame_f1_actions_percent`, without it.
        """
        f1 = 2.0 * self.right / np.maximum(self.true + self.predicted, 1)
        occurs = self.true > 0
        return {
            "frame_accuracy_percent": 100.0 * float(self.right.sum() / max(self.true.sum(), 1)),
            "frame_accuracy_actions_percent": 100.0 * float(self.right[:-1].sum() / max(self.true[:-1].sum(), 1)),
            "frame_f1_percent": 100.0 * mean_or_zero(f1[occurs].tolist()),
            "frame_f1_actions_percent": 100.0 * mean_or_zero(f1[:-1][occurs[:-1]].tolist()),
        }


def segment_scores(
    predicted: Intervals, truth: Intervals, least_overlaps: Sequence[float] = (0.1, 0.25, 0.5)
) -> dict[str, float]:
    """Score a division of recordings into segments, in percent, as the literature of temporal segmentation does.

    The background has no segments here, neither as what is to be found nor as what was found. Segmental F1 (Lea et al.,
    CVPR 2017): in order of time each predicted segment that overlaps its best partner of the same class enough is right
    if that has no partner yet, else wrong; counts are pooled over recordings. Edit score (ibid.): 1 - the Levenshtein
    distance of the two orders of classes over the length of the longer one, mean over recordings.

    Args:
        predicted: segments that do not overlap each other.
        truth: labelled segments.
        least_overlaps: from which overlap on.

    Returns:
        `segment_f1_10_percent`, ..., and `edit_percent`.
    """
    order = np.lexsort((predicted.start, predicted.recording))
    found = overlaps(predicted, truth)
    scores: dict[str, float] = {}
    for least in least_overlaps:
        matched = found.matched(least)[order]
        right = int(((matched >= 0) & first_of_their_kind(matched)).sum())
        total = len(predicted) + len(truth)
        scores[f"segment_f1_{100 * least:g}_percent"] = 100.0 * 2.0 * right / total if right else 0.0
    edits = [
        _edit_score(_order_of_classes(predicted, recording), _order_of_classes(truth, recording))
        for recording in np.unique(np.concatenate([predicted.recording, truth.recording])).tolist()
    ]
    return scores | {"edit_percent": 100.0 * mean_or_zero(edits)}


def _order_of_classes(intervals: Intervals, recording: int) -> list[int]:
    of = np.flatnonzero(intervals.recording == recording)
    return intervals.label[of[np.argsort(intervals.start[of], kind="stable")]].tolist()


def _edit_score(ours: list[int], theirs: list[int]) -> float:
    """Return 1 - the fewest insertions, deletions and exchanges over the length of the longer list."""
    row = list(range(len(theirs) + 1))
    for i, label in enumerate(ours, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(theirs, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (label != other))
    return 1.0 - row[-1] / max(len(ours), len(theirs), 1)
