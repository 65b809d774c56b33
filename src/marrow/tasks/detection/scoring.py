"""The report of a detection: what was predicted in recordings, what was found in it, and how good that is."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from marrow.data.recordings import Recordings
from marrow.skeleton.sequence import Segment
from marrow.store.format import Store
from marrow.tasks.base import Report, TaskData
from marrow.tasks.detection.config import DetectionConfig
from marrow.tasks.detection.control import reordered
from marrow.tasks.detection.frame_metrics import FrameCounts, runs, segment_scores
from marrow.tasks.detection.metrics import Intervals, Proposals, proposal_scores
from marrow.tasks.detection.proposals import activity_runs, class_runs, smooth, suppress
from marrow.tasks.detection.recordings import frame_labels, recorded_frames
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
_SHUFFLED = {name: f"{name.removesuffix('_percent')}_shuffled_percent" for name in QUANTITIES}
QUANTITIES |= {_SHUFFLED[name]: said.under(_REORDERED, name) for name, said in QUANTITIES.items()}

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
    """Predict the test recordings, then read their segments, and score.

    Args:
        report: all but the scores.
        data: whose test recordings are predicted.
        predict: gives the probabilities of classes.
        config: how segments are made of them.
    """
    store, test = data.store, Recordings.of(data.store, data.test_rows)
    recorded = recorded_frames(store, test)
    found = [_findings(one, config) for one in predict(test, recorded)]

    # Predictions are made; from here on test segments are read.
    segments = [store.segments(int(row)) for row in test.row]
    detail: dict[str, Any] = {
        "classes": list(data.classes),
        "recordings": _entries(store, test, segments, recorded, found, len(data.classes)),
    }
    if config.shuffle_control:
        # The control is made of the test segments, and its predictions are scored as its own.
        shuffled = [
            reordered(clip, of, at, np.random.default_rng([report.seed, int(row)]), store.skeleton)
            if of
            else (clip, of, at)
            for clip, of, at, row in zip(test.arrays, segments, recorded, test.row, strict=True)
        ]
        other, recorded = replace(test, arrays=tuple(one[0] for one in shuffled)), [one[2] for one in shuffled]
        found = [_findings(one, config) for one in predict(other, recorded)]
        segments = [one[1] for one in shuffled]
        detail["shuffled"] = _entries(store, other, segments, recorded, found, len(data.classes))
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


def _entries(
    store: Store,
    recordings: Recordings,
    segments: Sequence[Sequence[Segment]],
    recorded: Sequence[Int64[np.ndarray, " _recorded"]],
    found: Sequence[dict[str, Any]],
    background: int,
) -> list[dict[str, Any]]:
    """Put side by side what there is and what was found, as plain values that all scores are made of."""
    entries = []
    for place, (row, frames) in enumerate(zip(recordings.row.tolist(), recordings.frame_count.tolist(), strict=True)):
        at, called = recorded[place], found[place]["called"]
        true = frame_labels(segments[place], frames, background)
        counts = FrameCounts.of(called[at], true[at], background + 1)
        entries.append(
            {
                "row": row,
                "id": store.ids[row],
                "fps": recordings.fps[place],
                "frames": frames,
                "truth": [[one.start_frame, one.end_frame, one.label] for one in segments[place]],
                "predicted": found[place]["predicted"],
                "proposals": found[place]["proposals"],
                "frame_counts": {name: values.tolist() for name, values in vars(counts).items()},
            }
        )
    return entries


def scored(detail: dict[str, Any]) -> dict[str, Any]:
    """Score recordings: the fields of a report that say how good they are."""
    entries = detail["recordings"]
    metrics = _metrics(entries)
    for name, value in _metrics(detail["shuffled"]).items() if "shuffled" in detail else ():
        metrics[_SHUFFLED[name]] = value
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
            [(number, label, start, end) for number, one in enumerate(entries) for start, end, label in one[key]]
        )
        for key in ("truth", "predicted")
    )
    proposed = [(number, proposal) for number, one in enumerate(entries) for proposal in one["proposals"]]
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
        drawn @ np.stack([getattr(one, name) for one in counts]) for name in ("right", "true", "predicted")
    )
    scores = [FrameCounts(*each).scores() for each in zip(right, true, predicted, strict=True)]
    bounds = {name: np.percentile([one[name] for one in scores], [2.5, 97.5]) for name in scores[0]}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}
