"""Scores of action detection: proposals against what was labelled. Pure functions of arrays.

One convention everywhere: frames are counted from 0, and an interval is `[start, end)`. Then the overlap of two
intervals in frames is the overlap on the real line, and the three definitions of the field that differ by one frame
(continuous ends, inclusive ends with + 1, sets of frames) are the same number.

Average precision comes twice. That of PKU-MMD (Liu et al., 2017; the final version of its evaluation, 31 May 2017)
is what published figures are; it is biased low, because a precision is read only after a correct proposal has been
taken away: one instance, found by the most confident proposal, beside one wrong proposal that is less so, scores 0.5.
That of PASCAL VOC, which the released codes of HiCLR, PCM3 and USDRL print too, gives 1.0 there.

Means over classes and over recordings take those in which something is to be found; in PKU-MMD that is all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from marrow.errors import DataError
from marrow.tasks.numbers import About, Quantity

ABOUT = About(
    "action_detection",
    "Action detection",
    columns=(
        *("frame_f1_actions_percent", "frame_accuracy_percent", "map_actions_iou50_percent"),
        *("map_videos_iou50_percent", "segment_f1_50_percent", "edit_percent", "frame_f1_actions_shuffled_percent"),
    ),
    drawn=(
        *("map_actions_iou50_percent", "map_videos_iou50_percent", "f1_iou50_percent", "frame_accuracy_percent"),
        *("frame_f1_actions_percent", "segment_f1_50_percent", "edit_percent"),
    ),
)
_REORDERED = "actions reordered"
LEAD = (
    "Actions reordered: the same recordings, cut and put together in another order; a detector that lives on the usual "
    "order falls there."
)
# Numbers that are the better the higher, in percent: words, and those of a narrow column where they are others.
_FRAMES = {
    "frame_accuracy_percent": ("frames with the right class", "frame accuracy"),
    "frame_accuracy_actions_percent": ("frames of actions with the right class", ""),
    "frame_f1_percent": ("F1 of frames, mean over classes and background", ""),
    "frame_f1_actions_percent": ("F1 of frames, mean over classes", "frame F1"),
}
_PROPOSALS = {
    "map_actions": ("mean average precision over classes", "mAP over classes"),
    "map_videos": ("mean average precision over recordings", "mAP over recordings"),
    "ap": ("average precision of all proposals", ""),
    "f1": ("F1 of proposals", ""),
    "voc_map": ("mean average precision as in PASCAL VOC", ""),
}
_SEGMENTS = ("F1 of segments", "segment F1")


def _at_overlap(words: tuple[str, str], percent: int) -> tuple[str, str]:
    full, short = words
    overlap = f"overlap {percent / 100:g}"
    return f"{full}, {overlap}", f"{short}, {overlap}" if short else ""


_WORDS = {
    **_FRAMES,
    **{f"{n}_iou{p}_percent": _at_overlap(words, p) for p in (10, 30, 50) for n, words in _PROPOSALS.items()},
    "ap_2d_percent": ("average precision, mean over overlaps 0.05 to 1", ""),
    **{f"segment_f1_{percent}_percent": _at_overlap(_SEGMENTS, percent) for percent in (10, 25, 50)},
    "edit_percent": ("edit score of the order of actions", "edit score"),
}
QUANTITIES = {name: Quantity(words, "%", "higher", heading) for name, (words, heading) in _WORDS.items()}
SHUFFLED = {name: f"{name.removesuffix('_percent')}_shuffled_percent" for name in QUANTITIES}
QUANTITIES |= {SHUFFLED[name]: quantity.under(_REORDERED, name) for name, quantity in QUANTITIES.items()}

# 0.05, 0.10, ..., 1.00, as quotients, so that an overlap of exactly 0.9 reaches 0.9.
MANY_OVERLAPS: tuple[float, ...] = tuple(number / 20 for number in range(1, 21))


@dataclass(frozen=True)
class Intervals:
    """Labelled intervals of several recordings: what is to be found.

    Args:
        recording: which recording each belongs to; any numbers.
        label: 0-based class; the background is none.
        start: first frame.
        end: the frame after the last one.
    """

    recording: Int64[np.ndarray, " interval"]
    label: Int64[np.ndarray, " interval"]
    start: Int64[np.ndarray, " interval"]
    end: Int64[np.ndarray, " interval"]

    def __post_init__(self) -> None:
        if (wrong := np.flatnonzero(self.end <= self.start)).size:
            first = int(wrong[0])
            raise DataError(
                f"an interval must end after it starts, got [{self.start[first]}, {self.end[first]}) in recording "
                f"{self.recording[first]}"
            )

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, int, int]]) -> "Intervals":
        """Make intervals of (recording, label, start, end)."""
        return cls(*np.asarray(rows, np.int64).reshape(-1, 4).T)


@dataclass(frozen=True)
class Proposals:
    """Intervals that are claimed to hold an action.

    Args:
        at: where, and which action.
        confidence: the larger, the surer; any scale.
    """

    at: Intervals
    confidence: Float64[np.ndarray, " interval"]

    def __post_init__(self) -> None:
        if len(self.confidence) != len(self.at):
            raise DataError(f"expected one confidence per proposal, got {len(self.confidence)} for {len(self.at)}")
        if not np.isfinite(self.confidence).all():
            raise DataError("a proposal's confidence must be finite")

    def __len__(self) -> int:
        return len(self.confidence)


@dataclass(frozen=True)
class Overlaps:
    """Which labelled interval each proposal overlaps most, among those of its recording and class.

    Args:
        best: its place in the truth; -1 where the recording has none of that class. Of equals, the later one.
        iou: intersection over union of the two.
    """

    best: Int64[np.ndarray, " proposal"]
    iou: Float64[np.ndarray, " proposal"]

    def matched(self, least: float) -> Int64[np.ndarray, " proposal"]:
        """Return what a proposal has found where an overlap of `least` counts as found; -1: nothing."""
        return np.where(self.iou >= least, self.best, -1)


def overlaps(proposals: Intervals, truth: Intervals) -> Overlaps:
    """Find what each proposal overlaps most.

    The threshold does not matter here, so that this is done once for all thresholds, and only pairs of one recording
    and class are compared.
    """
    best, best_iou = np.full(len(proposals), -1, np.int64), np.zeros(len(proposals))
    if len(proposals) == 0 or len(truth) == 0:
        return Overlaps(best, best_iou)
    # The truth in groups of recording and class, each in its own order.
    keys = np.stack(
        [np.concatenate([proposals.recording, truth.recording]), np.concatenate([proposals.label, truth.label])]
    )
    key = np.unique(keys, axis=1, return_inverse=True)[1].reshape(-1)
    own, theirs = key[: len(proposals)], key[len(proposals) :]
    order = np.argsort(theirs, kind="stable")
    first, after = (np.searchsorted(theirs[order], own, side) for side in ("left", "right"))

    # All pairs of a proposal and an interval of its group, one after the other.
    count = after - first
    proposal = np.repeat(np.arange(len(proposals)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    interval = order[np.repeat(first, count) + within]
    shared = np.minimum(proposals.end[proposal], truth.end[interval]) - np.maximum(
        proposals.start[proposal], truth.start[interval]
    )
    spanned = np.maximum(proposals.end[proposal], truth.end[interval]) - np.minimum(
        proposals.start[proposal], truth.start[interval]
    )
    # Two intervals that overlap span their union; for others the quotient is at most 0.
    iou = np.maximum(shared / spanned, 0.0)

    # Of a proposal's pairs the last in this order has the largest overlap, and of equal ones the later interval.
    rank = np.lexsort((interval, iou, proposal))
    last = np.cumsum(count)[count > 0] - 1
    best[count > 0], best_iou[count > 0] = interval[rank][last], iou[rank][last]
    return Overlaps(best, best_iou)


def average_precision(
    confidence: Float64[np.ndarray, " proposal"], matched: Int64[np.ndarray, " proposal"], truth_count: int
) -> float:
    """Return the average precision of PKU-MMD, from 0 to 1.

    Proposals are taken away from the least confident on (of equals, the earlier one first). Several may have found one
    interval, which counts once, until the last of them is taken away. With P and R the precision and recall of what is
    left, and E the largest P so far: each time that a proposal which has found something is taken away, P and R are
    read anew, and the score grows by E * (R before - R after). Taking away a wrong proposal reads nothing anew.

    R falls, by 1 / truth_count, only with the last proposal of an interval; E is therefore summed over those.

    Args:
        confidence: of the proposals.
        matched: what each has found, -1 for nothing.
        truth_count: how many intervals are to be found.
    """
    if truth_count == 0 or len(confidence) == 0:
        return 0.0
    order = np.argsort(confidence, kind="stable")
    found = matched[order]
    is_right = found >= 0
    is_last = is_right & first_of_their_kind(found[::-1])[::-1]
    # What is left after each has been taken away.
    left = np.arange(len(found) - 1, -1, -1)
    found_left = is_last.sum() - np.cumsum(is_last)
    precision = np.where(is_right, found_left / np.maximum(left, 1), 0.0)
    envelope = np.maximum.accumulate(np.maximum(precision, is_last.sum() / len(found)))
    return float(envelope[is_last].sum() / truth_count)


def voc_average_precision(
    confidence: Float64[np.ndarray, " proposal"], matched: Int64[np.ndarray, " proposal"], truth_count: int
) -> float:
    """Return the area under the monotone envelope of precision over recall (PASCAL VOC), from 0 to 1.

    From the most confident proposal on, the first that has found an interval is right; later ones of the same interval
    are wrong.
    """
    if truth_count == 0 or len(confidence) == 0:
        return 0.0
    found = matched[np.argsort(-confidence, kind="stable")]
    is_right = (found >= 0) & first_of_their_kind(found)
    precision = np.cumsum(is_right) / np.arange(1, len(found) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[is_right].sum() / truth_count)


def proposal_f1(matched: Int64[np.ndarray, " proposal"], truth_count: int) -> float:
    """Return the F1 of PKU-MMD, from 0 to 1: intervals that were found over all proposals, and over all intervals."""
    found = len(np.unique(matched[matched >= 0]))
    return 2.0 * found / (len(matched) + truth_count) if found else 0.0


def proposal_scores(
    proposals: Proposals, truth: Intervals, least_overlaps: Sequence[float] = (0.1, 0.3, 0.5)
) -> dict[str, float]:
    """Score proposals in percent.

    Args:
        proposals: in the same recordings.
        truth: what is to be found.
        least_overlaps: from which overlap on an interval counts as found.

    Returns:
        For each overlap, here 0.5: `map_actions_iou50_percent` (average precision of PKU-MMD, mean over classes),
        `map_videos_iou50_percent` (over recordings), `ap_iou50_percent` (everything pooled), `f1_iou50_percent` and
        `voc_map_iou50_percent`; and `ap_2d_percent`: the pooled one, mean over the overlaps 0.05, 0.10, ..., 1.
    """
    found, confidence = overlaps(proposals.at, truth), proposals.confidence
    by_class, by_recording = (
        [(own == value, int((theirs == value).sum())) for value in np.unique(theirs)]
        for own, theirs in ((proposals.at.label, truth.label), (proposals.at.recording, truth.recording))
    )
    scores: dict[str, float] = {}
    for least in least_overlaps:
        matched, tail = found.matched(least), f"iou{100 * least:g}_percent"
        values = {
            "map_actions": mean_or_zero([average_precision(confidence[of], matched[of], n) for of, n in by_class]),
            "map_videos": mean_or_zero([average_precision(confidence[of], matched[of], n) for of, n in by_recording]),
            "ap": average_precision(confidence, matched, len(truth)),
            "f1": proposal_f1(matched, len(truth)),
            "voc_map": mean_or_zero([voc_average_precision(confidence[of], matched[of], n) for of, n in by_class]),
        }
        scores |= {f"{name}_{tail}": 100.0 * value for name, value in values.items()}
    pooled = [average_precision(confidence, found.matched(least), len(truth)) for least in MANY_OVERLAPS]
    return scores | {"ap_2d_percent": 100.0 * mean_or_zero(pooled)}


def first_of_their_kind(values: Int64[np.ndarray, " proposal"]) -> Bool[np.ndarray, " proposal"]:
    """Say of each value whether it is the first one of its kind."""
    is_first = np.zeros(len(values), np.bool_)
    is_first[np.unique(values, return_index=True)[1]] = True
    return is_first


def mean_or_zero(values: Sequence[float]) -> float:
    """Average numbers; of none, 0."""
    return float(np.mean(values)) if len(values) else 0.0
