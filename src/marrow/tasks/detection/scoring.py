"""The report of a detection: from the probability of each class in each frame to what was found, and how good that is.

The background is the last class. Proposals are made in two ways that the field goes; neither suppresses those that
overlap:

- Every contiguous run of frames in which a class has more than a small probability is a proposal of that class, its
  confidence the mean probability in it (USDRL's code). Classes do not compete, so that the sum of proposals is larger
  than what can be true: the official score of PKU-MMD rewards many proposals of low confidence.
- Every contiguous run of frames that are probably not background is a proposal, of the class that is most probable in
  its mean (PCM3's and HiCLR's code).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from marrow.data.recordings import Recordings
from marrow.runtime.frames import runs, smooth, sums_before
from marrow.skeleton.sequence import Segment
from marrow.store.format import Store
from marrow.tasks.base import Report, TaskData
from marrow.tasks.detection.config import DetectionConfig
from marrow.tasks.detection.frame_metrics import FrameCounts, segment_scores
from marrow.tasks.detection.metrics import LEAD, QUANTITIES, SHUFFLED, Intervals, Proposals, proposal_scores
from marrow.tasks.detection.recordings import frame_labels, recorded_frames, reordered

# All of the proposals' scores would be many: those that papers report.
_PROPOSAL_SCORES = (
    *(f"map_actions_iou{least}_percent" for least in (10, 30, 50)),
    *("map_videos_iou50_percent", "f1_iou50_percent", "ap_2d_percent"),
    *(f"voc_map_iou{least}_percent" for least in (10, 30, 50)),
)
_RESAMPLES = 1000

# From whole recordings, and which of their frames were recorded, to the probability of each class in each frame.
Predict = Callable[[Recordings, Sequence[Int64[np.ndarray, " _recorded"]]], list[Float64[np.ndarray, "_frame class"]]]


def report_of(report: Report, data: TaskData, predict: Predict, config: DetectionConfig) -> Report:
    """Predict the test recordings, then read their segments, and score."""
    store, test = data.store, Recordings.of(data.store, data.test_rows)
    recorded = recorded_frames(store, test)
    findings = [_findings(probability, config) for probability in predict(test, recorded)]

    # Predictions are made; from here on test segments are read.
    segments = [store.segments(int(row)) for row in test.row]
    detail: dict[str, Any] = {
        "classes": list(data.classes),
        "recordings": _entries(store, test, segments, recorded, findings, len(data.classes)),
    }
    if config.shuffle_control:
        # The control is made of the test segments, and its predictions are scored as its own.
        shuffled = [
            reordered(clip, of, at, np.random.default_rng([report.seed, int(row)]), store.skeleton)
            if of
            else (clip, of, at)
            for clip, of, at, row in zip(test.arrays, segments, recorded, test.row, strict=True)
        ]
        other, recorded = replace(test, arrays=tuple(clip for clip, _, _ in shuffled)), [at for _, _, at in shuffled]
        findings = [_findings(probability, config) for probability in predict(other, recorded)]
        segments = [of for _, of, _ in shuffled]
        detail["shuffled"] = _entries(store, other, segments, recorded, findings, len(data.classes))
        report = replace(report, declared=replace(report.about, lead=LEAD))
    learned = sum(len(store.segments(row)) for row in data.train_rows.tolist())
    return replace(report, **scored(detail), num_labels_used=learned, detail=detail)


def _findings(probability: Float64[np.ndarray, "frame class"], config: DetectionConfig) -> dict[str, Any]:
    """Make classes of frames, segments and proposals of the probabilities of one recording."""
    probability = smooth(probability, config.smoothing_frames)
    called = probability.argmax(axis=1)
    background = probability.shape[1] - 1
    proposals = (
        class_runs(probability, config.threshold)
        if config.proposals == "class_runs"
        else activity_runs(probability, config.least_activity)
    )
    if config.most_overlap is not None:
        proposals = suppress(proposals, config.most_overlap)
    return {
        "called": called,
        "predicted": [[start, end, label] for start, end, label in runs(called) if label != background],
        "proposals": [[*proposal[:3], round(proposal.confidence, 4)] for proposal in proposals],
    }


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


def class_runs(probability: Float64[np.ndarray, "frame class"], threshold: float) -> list[Proposal]:
    """Propose every contiguous run of frames in which a class is more probable than a threshold."""
    sums = sums_before(probability)
    return [
        Proposal(label, start, end, float((sums[end, label] - sums[start, label]) / (end - start)))
        for label in range(probability.shape[1] - 1)
        for start, end, is_above in runs(probability[:, label] > threshold)
        if is_above
    ]


def activity_runs(probability: Float64[np.ndarray, "frame class"], least_activity: float = 0.4) -> list[Proposal]:
    """Propose every contiguous run of frames that are no background, as its most probable action."""
    sums = sums_before(probability)
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
    for proposal in sorted(proposals, key=lambda proposal: -proposal.confidence):
        rivals = (other for other in kept if other.label == proposal.label)
        if all(_iou(proposal, other) <= most_overlap for other in rivals):
            kept.append(proposal)
    return kept


def _iou(proposal: Proposal, other: Proposal) -> float:
    shared = min(proposal.end, other.end) - max(proposal.start, other.start)
    return max(shared, 0) / (max(proposal.end, other.end) - min(proposal.start, other.start))


def _entries(
    store: Store,
    recordings: Recordings,
    segments: Sequence[Sequence[Segment]],
    recorded: Sequence[Int64[np.ndarray, " _recorded"]],
    findings: Sequence[dict[str, Any]],
    background: int,
) -> list[dict[str, Any]]:
    """Put side by side what there is and what was found, as plain values that all scores are made of."""
    entries = []
    for place, (row, frames) in enumerate(zip(recordings.row.tolist(), recordings.frame_count.tolist(), strict=True)):
        at, called = recorded[place], findings[place]["called"]
        true = frame_labels(segments[place], frames, background)
        counts = FrameCounts.of(called[at], true[at], background + 1)
        entries.append(
            {
                "row": row,
                "id": store.ids[row],
                "fps": recordings.fps[place],
                "frames": frames,
                "truth": [[segment.start_frame, segment.end_frame, segment.label] for segment in segments[place]],
                "predicted": findings[place]["predicted"],
                "proposals": findings[place]["proposals"],
                "frame_counts": {name: values.tolist() for name, values in vars(counts).items()},
            }
        )
    return entries


def scored(detail: dict[str, Any]) -> dict[str, Any]:
    """Score recordings: the fields of a report that say how good they are."""
    entries = detail["recordings"]
    metrics = _metrics(entries)
    for name, value in _metrics(detail["shuffled"]).items() if "shuffled" in detail else ():
        metrics[SHUFFLED[name]] = value
    counts = sum(map(_counts, entries[1:]), _counts(entries[0]))
    recall = {
        name: 100.0 * float(right / true)
        for name, right, true in zip([*detail["classes"], "background"], counts.right, counts.true, strict=True)
        if true
    }
    quantities = {name: QUANTITIES[name] for name in metrics}
    return {"metrics": metrics, "intervals": _intervals(entries), "quantities": quantities, "per_class": recall}


def _metrics(entries: Sequence[dict[str, Any]]) -> dict[str, float]:
    truth, predicted = (
        Intervals.of(
            [(number, label, start, end) for number, entry in enumerate(entries) for start, end, label in entry[key]]
        )
        for key in ("truth", "predicted")
    )
    proposed = [(number, proposal) for number, entry in enumerate(entries) for proposal in entry["proposals"]]
    proposals = Proposals(
        Intervals.of([(number, label, start, end) for number, (label, start, end, _) in proposed]),
        np.array([confidence for _, (*_, confidence) in proposed], np.float64),
    )
    scores = proposal_scores(proposals, truth)
    return {
        **sum(map(_counts, entries[1:]), _counts(entries[0])).scores(),
        **{name: scores[name] for name in _PROPOSAL_SCORES},
        **segment_scores(predicted, truth),
    }


def _counts(entry: dict[str, Any]) -> FrameCounts:
    return FrameCounts(**{name: np.asarray(values, np.int64) for name, values in entry["frame_counts"].items()})


def _intervals(entries: Sequence[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of the scores of frames, by drawing recordings with replacement."""
    if len(entries) < 2:
        return {}
    counts = [_counts(entry) for entry in entries]
    drawn = np.random.default_rng(0).multinomial(len(entries), np.full(len(entries), 1 / len(entries)), size=_RESAMPLES)
    right, true, predicted = (
        drawn @ np.stack([getattr(count, name) for count in counts]) for name in ("right", "true", "predicted")
    )
    scores = [FrameCounts(*counted).scores() for counted in zip(right, true, predicted, strict=True)]
    bounds = {name: np.percentile([score[name] for score in scores], [2.5, 97.5]) for name in scores[0]}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}
