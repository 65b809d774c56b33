"""Action detection: which action is when in an untrimmed recording, for any encoder.

An encoder and a head (`training.py`) say for every frame of a recording how probable each class is; the background,
where no segment is, is one more class, the last (its number is that of the classes). From that come the class of each
frame, segments (runs of one class) and proposals (`scoring.py`), and all of them are scored (`metrics.py`,
`frame_metrics.py`). Frames that a reader has filled in to make time even are not scored, and frames without any body
are background.

In many data sets the order of the actions is nearly always the same, and a detector could live on that rather than on
the motion. `shuffle_control` therefore has each test recording predicted a second time, its actions in another order;
those scores end in `_shuffled_percent`. The seams, where a pose jumps, are the price.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from marrow.models.encoder import Encoder
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.detection.baselines import raw_detection
from marrow.tasks.detection.config import DetectionConfig
from marrow.tasks.detection.kept import save_detector
from marrow.tasks.detection.metrics import ABOUT
from marrow.tasks.detection.recordings import labels_of, training_recordings, why_unsuited
from marrow.tasks.detection.scoring import report_of, scored
from marrow.tasks.detection.training import Detector, train_detector
from marrow.train.run_directory import plain


@dataclass(frozen=True)
class ActionDetection:
    """Action detection: report `action_detection`.

    Args:
        config: the recipe.
    """

    name = "action_detection"
    config: DetectionConfig = field(default_factory=DetectionConfig)

    def quick(self) -> "ActionDetection":
        """Return the same task in its smallest useful size."""
        stride = self.config.window_seconds
        small = replace(self.config, steps=10, warmup_steps=1, batch_windows=4, hidden_width=32, stride_seconds=stride)
        return replace(self, config=small)

    def unsuited(self, data: TaskData) -> str | None:
        """Say which half of the data has no labelled segment."""
        return why_unsuited(data)

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Train a copy of the encoder and a head, predict, then score."""
        config = self.config
        train = training_recordings(data)
        labels = labels_of(data.store, train, len(data.classes))
        detector = train_detector(encoder, train, labels, len(data.classes) + 1, config, context)
        if (folder := context.kept_in(self.name)) is not None:
            save_detector(folder, detector, data.classes, {"protocol": data.protocol, "store": data.store.fingerprint})
        report = replace(_described(config, context, detector), seed=context.seed, source=context.origin.source)
        return [report_of(report, data, lambda recordings, _: detector.predict(recordings, context), config)]

    def pool(self, parts: Sequence[Report]) -> Report:
        """Score the recordings of all folds as one set."""
        detail = dict(parts[0].detail)
        for name in {"recordings", "shuffled"} & detail.keys():
            detail[name] = [recording for part in parts for recording in part.detail[name]]
        most = max(part.num_labels_used for part in parts)
        return replace(parts[0], **scored(detail), detail=detail, num_labels_used=most)

    def raw(self, data: TaskData, context: TaskContext) -> list[Report]:
        """Predict without an encoder."""
        return [raw_detection(data, context, self.config)]


def _described(config: DetectionConfig, context: TaskContext, detector: Detector) -> Report:
    """Return a report that says all but the scores: what decided them, and what they cost."""
    origin = context.origin
    before = "unknown" if origin.cpu_seconds is None else f"{origin.cpu_seconds:.0f} processor seconds"
    encoder = "the encoder frozen" if config.encoder == "frozen" else origin.start
    return Report(
        ActionDetection.name,
        {},
        declared=ABOUT,
        settings={
            **plain(config),
            "start": origin.start,
            "layer_decay": detector.layer_decay,
            "training_windows": detector.windows,
        },
        asked=plain(config),
        cost={
            "steps_done": detector.steps,
            "training_cpu_seconds": round(detector.cpu_seconds, 1),
            "training_wall_seconds": round(detector.wall_seconds, 1),
            "pretraining_steps": origin.steps,
            "pretraining_cpu_seconds": origin.cpu_seconds,
            "pretraining_wall_seconds": origin.wall_seconds,
        },
        noted={
            "note": f"Trained {encoder}: {detector.steps} steps, {detector.cpu_seconds:.0f} processor seconds; the "
            f"cost of the pre-training, {before}, is not made up for from scratch."
        },
    )
