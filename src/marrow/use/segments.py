"""When is what done in a long recording: runs of frames of one class, by a detector."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from marrow.data.recordings import Recordings
from marrow.tasks.base import TaskContext
from marrow.tasks.detection.frame_metrics import runs
from marrow.tasks.detection.kept import load_detector
from marrow.tasks.detection.scoring import smooth
from marrow.tasks.detection.training import Detector
from marrow.use.inputs import Input, Unreadable, readable
from marrow.use.predict import Answer


@dataclass(frozen=True)
class SegmentFinder:
    """A detector, and the names of its classes."""

    detector: Detector
    classes: tuple[str, ...]
    context: TaskContext

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "SegmentFinder":
        """Read a detector that `marrow evaluate --keep` has left."""
        detector, classes = load_detector(folder)
        context = TaskContext(device=device, precision="fp32")
        detector.encoder.to(context.fabric().device)
        detector.head.to(context.fabric().device)
        return cls(detector, classes, context)

    def segments(self, inputs: Iterable[Input | Unreadable], model: str) -> Iterator[Answer | Unreadable]:
        """Say when what is done: an answer per segment, with the mean probability of its class over its frames.

        Where nothing is found, there is one answer about the whole recording, without a class.
        """
        for given in inputs:
            if isinstance(given, Unreadable):
                yield given
                continue
            sequence = readable(self.detector.encoder, given.sequence, model)
            arrays = ((sequence.joints, sequence.present),)
            whole = Recordings(arrays, np.zeros(1, np.int64), (sequence.fps,), sequence.skeleton)
            probability = self.detector.predict(whole, self.context)[0]
            probability = smooth(probability, self.detector.config.smoothing_frames)
            found = [run for run in runs(probability.argmax(axis=1)) if run[2] < len(self.classes)]
            for start, end, label in found or [(0, sequence.frame_count, -1)]:
                seconds = start / sequence.fps, end / sequence.fps
                mean = float(probability[start:end, label].mean())
                classes = ((self.classes[label], mean),) if label >= 0 else ()
                yield Answer(given.file, sequence.record.id, None, *seconds, classes, None, None)
