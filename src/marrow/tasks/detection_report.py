"""The report of a detection: what was predicted in recordings, what was found in it, and how good that is."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from marrow.data.recordings import Recordings
from marrow.skeleton.sequence import Segment
from marrow.store.format import Store
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.detection_config import DetectionConfig
from marrow.tasks.detection_control import reordered
from marrow.tasks.detection_metrics import Intervals, Proposals, proposal_scores
from marrow.tasks.detection_recordings import frame_labels, recorded_frames
from marrow.tasks.frame_metrics import FrameCounts, runs, segment_scores
from marrow.tasks.proposals import activity_runs, class_runs, smooth, suppress
from marrow.train.run_directory import plain

_PROPOSAL_SCORES = (
    *(f"map_actions_iou{least}_percent" for least in (10, 30, 50)),
    *("map_videos_iou50_percent", "f1_iou50_percent", "ap_2d_percent"),
    *(f"voc_map_iou{least}_percent" for least in (10, 30, 50)),
)
_RESAMPLES = 1000

# From whole recordings, and which of their frames were recorded, to the probability of each class in each frame.
Predict = Callable[[Recordings, Sequence[Int64[np.ndarray, " _recorded"]]], list[Float64[np.ndarray, "_frame class"]]]


def report_of(
    task: str,
    data: TaskData,
    predict: Predict,
    config: DetectionConfig,
    context: TaskContext,
    *,
    settings: dict[str, Any],
    source: str,
) -> Report:
    """Predict the test recordings, then read their segments, and score."""
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
            reordered(clip, of, at, np.random.default_rng([context.seed, int(row)]), store.skeleton)
            if of
            else (clip, of, at)
            for clip, of, at, row in zip(test.arrays, segments, recorded, test.row, strict=True)
        ]
        other, recorded = replace(test, arrays=tuple(one[0] for one in shuffled)), [one[2] for one in shuffled]
        found = [_findings(one, config) for one in predict(other, recorded)]
        segments = [one[1] for one in shuffled]
        detail["shuffled"] = _entries(store, other, segments, recorded, found, len(data.classes))
    learned = sum(len(store.segments(row)) for row in data.train_rows.tolist())
    return Report(
        task,
        **scored(detail),
        settings={**settings, "asked": plain(config)},
        seed=context.seed,
        num_labels_used=learned,
        source=source,
        detail=detail,
    )


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
        metrics[f"{name.removesuffix('_percent')}_shuffled_percent"] = value
    counts = sum(map(_counts, entries[1:]), _counts(entries[0]))
    recall = {
        name: 100.0 * float(right / true)
        for name, right, true in zip([*detail["classes"], "background"], counts.right, counts.true, strict=True)
        if true
    }
    return {"metrics": metrics, "intervals": _intervals(entries), "per_class": recall}


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
