"""Action detection: which action is when in an untrimmed recording, for any encoder.

An encoder and a head (`tasks/detection_training.py`) say for every frame of a recording how probable each class is; the
background, where no segment is, is one more class, the last (its number is that of the classes). From that come the
class of each frame, segments (runs of one class) and proposals (`tasks/proposals.py`), and all of them are scored
(`tasks/detection_metrics.py`). Frames that a reader has filled in to make time even are not scored, and frames without
any body are background.

In many data sets the order of the actions is nearly always the same, and a detector could live on that rather than on
the motion. `shuffle_control` therefore has each test recording predicted a second time, its actions in another order;
those scores end in `_shuffled_percent`. The seams, where a pose jumps, are the price.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from marrow.data.frames import ClipArrays
from marrow.data.recordings import Recordings
from marrow.errors import ConfigError, DataError
from marrow.models.encoder import Encoder
from marrow.skeleton.geometry import turn_to_face
from marrow.skeleton.layout import ANCHOR_ROLES, Skeleton
from marrow.skeleton.sequence import Segment
from marrow.store.format import Store
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.detection_metrics import (
    FrameCounts,
    Intervals,
    Proposals,
    proposal_scores,
    runs,
    segment_scores,
)
from marrow.tasks.detection_training import DetectionConfig, Detector, frame_labels, train_detector
from marrow.tasks.proposals import activity_runs, class_runs, smooth, suppress
from marrow.train.run_directory import plain

_NAME = "action_detection"
_PROPOSAL_SCORES = (
    *(f"map_actions_iou{least}_percent" for least in (10, 30, 50)),
    *("map_videos_iou50_percent", "f1_iou50_percent", "ap_2d_percent"),
    *(f"voc_map_iou{least}_percent" for least in (10, 30, 50)),
)
# The baseline without an encoder: rows of a window, neighbours that vote, and training rows that are kept at most.
_WINDOW_ROWS, _NEIGHBOURS, _MOST_ROWS = 15, 5, 20_000
_RESAMPLES = 1000

# From whole recordings, and which of their frames were recorded, to the probability of each class in each frame.
Predict = Callable[[Recordings, Sequence[Int64[np.ndarray, " _recorded"]]], list[Float64[np.ndarray, "_frame class"]]]


@dataclass(frozen=True)
class ActionDetection:
    """Action detection: report `action_detection`.

    Args:
        config: the recipe.
    """

    config: DetectionConfig = field(default_factory=DetectionConfig)

    @property
    def name(self) -> str:
        """How the task is called."""
        return _NAME

    def quick(self) -> "ActionDetection":
        """Return the same task in its smallest useful size."""
        stride = self.config.window_seconds
        small = replace(self.config, steps=10, warmup_steps=1, batch_windows=4, hidden_width=32, stride_seconds=stride)
        return replace(self, config=small)

    def unsuited(self, data: TaskData) -> str | None:
        """Say which half of the data has no labelled segment."""
        for half, rows in (("training", data.train_rows), ("test", data.test_rows)):
            if not any(data.store.segments(row) for row in rows.tolist()):
                return f"none of the {len(rows)} {half} clips has a labelled segment; it is for untrimmed recordings"
        return None

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Train a copy of the encoder and a head, predict, then score."""
        store, config = data.store, self.config
        train = _training_recordings(self, data)
        labels = _labels(store, train, len(data.classes))
        detector = train_detector(encoder, train, labels, len(data.classes) + 1, config, context)
        return [
            _report(
                _NAME,
                data,
                lambda recordings, _: detector.predict(recordings, context),
                config,
                context,
                settings=_settings(config, context, detector),
                source=context.origin.source,
            )
        ]

    def pool(self, parts: Sequence[Report]) -> Report:
        """Score the recordings of all folds as one set."""
        detail = {
            **parts[0].detail,
            **{
                name: [one for part in parts for one in part.detail[name]]
                for name in ("recordings", "shuffled")
                if name in parts[0].detail
            },
        }
        most = max(part.num_labels_used for part in parts)
        return replace(parts[0], **_scored(detail), detail=detail, num_labels_used=most)

    def raw(self, data: TaskData, context: TaskContext) -> list[Report]:
        """Predict without an encoder."""
        return [raw_detection(data, context, self.config)]


def raw_detection(data: TaskData, context: TaskContext, config: DetectionConfig | None = None) -> Report:
    """Let the nearest training frames vote on every frame: report `action_detection/knn`.

    A frame is described by the recorded frames around it, 15 in all: hip-centred each, turned together about the
    vertical by their mean view, in units of the trunk. The 5 nearest by Euclidean distance have one vote each. Frames
    that were not recorded are called as the recorded one before them.

    Args:
        data: recordings with segments.
        context: the seed.
        config: which proposals are made, and whether the order of actions is changed as well.
    """
    config = config or DetectionConfig()
    train = _training_recordings(ActionDetection(config), data)
    recorded, classes = _recorded(data.store, train), np.arange(len(data.classes) + 1)
    known = np.concatenate(
        [label[at] for label, at in zip(_labels(data.store, train, len(data.classes)), recorded, strict=True)]
    )
    gallery = np.concatenate(
        [_windows(*clip, at, train.skeleton) for clip, at in zip(train.arrays, recorded, strict=True)]
    )
    kept = np.linspace(0, len(known) - 1, min(len(known), _MOST_ROWS)).round().astype(np.int64)
    gallery, known = gallery[kept], known[kept]

    def predict(
        test: Recordings, recorded: Sequence[Int64[np.ndarray, " _recorded"]]
    ) -> list[Float64[np.ndarray, "_frame class"]]:
        probability = []
        for (joints, present), at in zip(test.arrays, recorded, strict=True):
            near = _nearest(_windows(joints, present, at, test.skeleton), gallery, min(_NEIGHBOURS, len(known)))
            votes = (known[near][:, :, None] == classes).mean(axis=1)
            frames = np.arange(present.shape[1])
            of_frames = votes[np.maximum(np.searchsorted(at, frames, side="right") - 1, 0)]
            of_frames[~np.asarray(present).any((0, 2))] = classes == classes[-1]
            probability.append(of_frames)
        return probability

    settings = {
        "k": _NEIGHBOURS,
        "distance": "euclidean",
        "features": f"aligned coordinates, {_WINDOW_ROWS} recorded frames",
        "training_frames": len(known),
    }
    return _report(f"{_NAME}/knn", data, predict, config, context, settings=settings, source="raw")


def reordered(
    clip: ClipArrays,
    segments: Sequence[Segment],
    recorded: Int64[np.ndarray, " recorded"],
    rng: np.random.Generator,
    skeleton: Skeleton,
) -> tuple[ClipArrays, list[Segment], Int64[np.ndarray, " recorded"]]:
    """Put the actions of a recording into another order.

    It is cut in the middle between neighbouring segments, so that each brings half of the background on either side
    along. A piece is moved to where the one before it ends, along the ground: height is part of a pose.

    Args:
        clip: positions in metres and flags.
        segments: its actions.
        recorded: frames that its source recorded.
        rng: draws the order.
        skeleton: its centre is what shall not jump, or its first joint where that is not known.

    Returns:
        The same of the recording in its new order.
    """
    joints, present = (np.asarray(part) for part in clip)
    centre, level = skeleton.anchors.get("centre", 0), 1.0 - np.eye(3, dtype=np.float32)["xyz".index(skeleton.up)]
    ordered = sorted(segments, key=lambda one: (one.start_frame, one.end_frame))
    between = [(one.end_frame + other.start_frame) // 2 for one, other in pairwise(ordered)]
    bounds = [0, *between, present.shape[1]]
    is_recorded = np.isin(np.arange(present.shape[1]), recorded)

    parts, flags, scored, moved, begin, here = [], [], [], [], 0, None
    for piece in rng.permutation(len(ordered)).tolist():
        start, end = bounds[piece], bounds[piece + 1]
        part = joints[:, start:end].copy()
        seen = np.argwhere(present[:, start:end, centre].T)
        if len(seen):
            if here is not None:
                part += level * (here - part[seen[0, 1], seen[0, 0], centre]) * present[:, start:end, :, None]
            here = part[seen[-1, 1], seen[-1, 0], centre]
        parts.append(part)
        flags.append(present[:, start:end])
        scored.append(is_recorded[start:end])
        own = ordered[piece]
        first, after = max(own.start_frame, start), min(own.end_frame, end)
        if after > first:
            moved.append(Segment(begin + first - start, begin + after - start, own.label))
        begin += end - start
    return (np.concatenate(parts, 1), np.concatenate(flags, 1)), moved, np.flatnonzero(np.concatenate(scored))


def _report(
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
    recorded = _recorded(store, test)
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
        **_scored(detail),
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


def _scored(detail: dict[str, Any]) -> dict[str, Any]:
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


def _settings(config: DetectionConfig, context: TaskContext, detector: Detector) -> dict[str, Any]:
    """Return all that decided a score, and what it cost."""
    origin = context.origin
    start = "from scratch" if origin.source == "random" else "from pre-training"
    before = "unknown" if origin.cpu_seconds is None else f"{origin.cpu_seconds:.0f} processor seconds"
    encoder = "the encoder frozen" if config.encoder == "frozen" else start
    return {
        **plain(config),
        "start": start,
        "layer_decay": detector.layer_decay,
        "steps_done": detector.steps,
        "training_windows": detector.windows,
        "training_cpu_seconds": round(detector.cpu_seconds, 1),
        "training_wall_seconds": round(detector.wall_seconds, 1),
        "pretraining_steps": origin.steps,
        "pretraining_cpu_seconds": origin.cpu_seconds,
        "pretraining_wall_seconds": origin.wall_seconds,
        "note": (
            f"Trained {encoder}: {detector.steps} steps, {detector.cpu_seconds:.0f} processor seconds; the cost of the "
            f"pre-training, {before}, is not made up for from scratch."
        ),
    }


def _training_recordings(task: ActionDetection, data: TaskData) -> Recordings:
    reason = task.unsuited(data)
    if reason is not None:
        raise DataError(f"action detection is not for protocol {data.protocol!r}: {reason}")
    return Recordings.of(data.store, data.train_rows)


def _labels(store: Store, recordings: Recordings, background: int) -> list[Int64[np.ndarray, " _frame"]]:
    """Return the class of every frame that may be learned from."""
    labels = []
    for row, frames in zip(recordings.row.tolist(), recordings.frame_count.tolist(), strict=True):
        segments = store.segments(row)
        wrong = [one for one in segments if not 0 <= one.label < background]
        if wrong:
            raise DataError(
                f"{store.ids[row]}: the labels of segments must lie in 0..{background - 1} (the store names "
                f"{background} classes), found {wrong[0].label}"
            )
        labels.append(frame_labels(segments, frames, background))
    return labels


def _recorded(store: Store, recordings: Recordings) -> list[Int64[np.ndarray, " _recorded"]]:
    """Return the frames of each recording that its source recorded."""
    frames = [store.recorded(int(row)) for row in recordings.row]
    return [
        np.arange(count) if one is None else one
        for one, count in zip(frames, recordings.frame_count.tolist(), strict=True)
    ]


def _windows(
    joints: Float32[np.ndarray, "body frame joint 3"],
    present: Bool[np.ndarray, "body frame joint"],
    at: Int64[np.ndarray, " recorded"],
    skeleton: Skeleton,
) -> Float32[np.ndarray, "recorded value"]:
    """Return the aligned coordinates of the first body around each recorded frame; zero where nothing was seen."""
    anchors = skeleton.anchors
    if any(role not in anchors for role in ANCHOR_ROLES):
        raise ConfigError(
            f"aligned coordinates need to know the joints {', '.join(ANCHOR_ROLES)} of the skeleton {skeleton.name!r}; "
            "leave out the baseline raw"
        )
    body, seen = np.asarray(joints[0, at], np.float64), np.asarray(present[0, at])
    place = np.arange(len(at))[:, None] + np.arange(_WINDOW_ROWS) - _WINDOW_ROWS // 2
    place = place.clip(0, len(at) - 1)
    body = (body - body[:, anchors["centre"], None]) * (seen & seen[:, anchors["centre"], None])[..., None]
    across = body[:, anchors["right_hip"]] - body[:, anchors["left_hip"]]
    across += body[:, anchors["right_shoulder"]] - body[:, anchors["left_shoulder"]]
    trunk = np.linalg.norm(body[:, anchors["chest"]], axis=-1)[place].mean(axis=1)
    view = np.stack([turn_to_face(direction, skeleton.up) for direction in across[place].mean(axis=1)])
    view /= np.where(trunk > 1e-6, trunk, 1.0)[:, None, None]
    turned = body[place].reshape(len(at), -1, 3) @ view.transpose(0, 2, 1)
    return turned.reshape(len(at), -1).astype(np.float32)


def _nearest(
    query: Float32[np.ndarray, "query value"], gallery: Float32[np.ndarray, "gallery value"], count: int
) -> Int64[np.ndarray, "query near"]:
    """Return the places of each query's nearest gallery vectors, in no order."""
    # |q - g|^2 = |q|^2 - 2 q.g + |g|^2, and |q|^2 is the same for the whole row.
    half_norm = 0.5 * (gallery.astype(np.float64) ** 2).sum(axis=1).astype(np.float32)
    blocks = [query[begin : begin + 512] for begin in range(0, len(query), 512)]
    return np.concatenate(
        [np.argpartition(half_norm - one @ gallery.T, count - 1, axis=1)[:, :count] for one in blocks]
    )
