"""When is what done in a long recording: runs of frames of one class, by a detector."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from marrow.data.recordings import Recordings
from marrow.runtime.frames import segments_of
from marrow.skeleton.sequence import SkeletonSequence
from marrow.tasks.base import TaskContext
from marrow.tasks.detection.kept import load_detector
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

    def frames(self, sequence: SkeletonSequence) -> Float64[np.ndarray, "frame class"]:
        """Return the probability of each class, the background last, in each frame.

        Args:
            sequence: a recording, in the layout of the encoder.
        """
        arrays = ((sequence.joints, sequence.present),)
        read_as = self.detector.encoder.skeleton
        whole = Recordings(arrays, np.zeros(1, np.int64), (sequence.fps,), sequence.skeleton, read_as)
        return self.detector.predict(whole, self.context)[0]

    def segments(self, inputs: Iterable[Input | Unreadable], model: str) -> Iterator[Answer | Unreadable]:
        """Say when what is done: an answer per segment, with the mean probability of its class over its frames.

        Where nothing is found, there is one answer about the whole recording, without a class.
        """
        for given in inputs:
            if isinstance(given, Unreadable):
                yield given
                continue
            sequence = readable(self.detector.encoder, given.sequence, model)
            smoothing = self.detector.config.smoothing_frames
            found = segments_of(self.frames(sequence), sequence.fps, self.classes, smoothing)
            record = given.sequence.record
            about, raw_file = (given.file, record.id, None), record.path
            for segment in found:
                classes = ((segment.name, segment.probability),)
                bounds = segment.start_seconds, segment.end_seconds
                yield Answer(*about, *bounds, classes, None, None, raw_file=raw_file)
            if not found:
                end = sequence.frame_count / sequence.fps
                yield Answer(*about, 0.0, end, (), None, None, raw_file=raw_file)
