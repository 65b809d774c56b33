"""An exported model: an ONNX file, opened by onnxruntime."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from marrow.errors import CheckpointError, ConfigError, DataError
from marrow.runtime.description import KEY, Description
from marrow.runtime.frames import Segment, frame_probability, segments_of
from marrow.runtime.prepare import Inputs, Motion, prepare
from marrow.skeleton.sequence import SkeletonSequence

# What each kind of model is asked with, and what it is.
_ASKED = {
    "recogniser": "of a recogniser, which names classes: use predict()",
    "encoder": "of an encoder, which names no class: use embed()",
    "detector": "of a detector, which says when what is done: use segments() or frames()",
}


class Model:
    """A file of `marrow export`; `load` opens one of ONNX.

    Args:
        run: from the arrays that a model reads, by name, to the one that it answers with.
        description: what the file says of itself.

    Attributes:
        description: likewise.
        classes: names of the classes, in the order of the probabilities; none of an encoder.
    """

    def __init__(self, run: Callable[[Mapping[str, np.ndarray]], np.ndarray], description: Description) -> None:
        self._run = run
        self.description = description
        self.classes = description.classes

    def predict(self, motions: Any, *, batch_clips: int = 16) -> np.ndarray:
        """Return the probability of each class for each recording: float32 [recording class].

        Args:
            motions: a list of `Motion`, or what `marrow.read` returns.
            batch_clips: recordings that are computed at a time.

        Raises:
            ConfigError: the file is of no recogniser.
            DataError: a recording cannot be brought to the joints of the model.
        """
        return self._answer("recogniser", motions, batch_clips)

    def embed(self, motions: Any, *, batch_clips: int = 16) -> np.ndarray:
        """Return a feature vector for each recording: float32 [recording dim]; otherwise as `predict`.

        Raises:
            ConfigError: the file is of no encoder.
            DataError: a recording cannot be brought to the joints of the model.
        """
        return self._answer("encoder", motions, batch_clips)

    def frames(self, motions: Any, *, batch_clips: int = 16) -> list[np.ndarray]:
        """Return the probability of each class, the background last, in each frame: float64 [frame class] of each.

        Args:
            motions: a list of `Motion`, or what `marrow.read` returns.
            batch_clips: windows that are computed at a time.

        Raises:
            ConfigError: the file is of no detector.
            DataError: a recording cannot be brought to the joints of the model.
        """
        self._check("detector", motions, batch_clips)
        return [
            frame_probability(motion, f"recording {number}", self.description, self._of, batch_clips)
            for number, motion in enumerate(motions)
        ]

    def segments(self, motions: Any, *, batch_clips: int = 16) -> list[list[Segment]]:
        """Return when what is done in each recording, in order of time; otherwise as `frames`."""
        settings, probabilities = self.description.detector, self.frames(motions, batch_clips=batch_clips)
        assert settings is not None  # frames() has asked a detector
        return [
            segments_of(probability, motion.fps, self.classes, settings["smoothing_frames"])
            for motion, probability in zip(motions, probabilities, strict=True)
        ]

    def _of(self, inputs: Inputs) -> np.ndarray:
        return self._run(inputs.arrays())

    def _answer(self, kind: str, motions: Any, batch_clips: int) -> np.ndarray:
        self._check(kind, motions, batch_clips)
        starts = range(0, len(motions), batch_clips)
        batches = [prepare(motions[start : start + batch_clips], self.description) for start in starts]
        return np.concatenate([self._of(inputs) for inputs in batches])

    def _check(self, kind: str, motions: Any, batch_clips: int) -> None:
        """Refuse what this model cannot be asked."""
        if self.description.kind != kind:
            raise ConfigError(f"this is the file {_ASKED[self.description.kind]}")
        if isinstance(motions, Motion | SkeletonSequence):
            raise DataError("expected a list of recordings, got one: put it into a list")
        if not len(motions):
            raise DataError("expected at least one recording, got none")
        if batch_clips < 1:
            raise ConfigError(f"batch_clips must be at least 1, got {batch_clips}")


def load(path: Path | str, *, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)) -> Model:
    """Open an ONNX file of `marrow export`.

    Args:
        path: the file.
        threads: that compute an answer.
        providers: of onnxruntime, by its names; the first that is there is used.

    Raises:
        CheckpointError: nothing is there, or it is no such file, or of a version that cannot be read here.
        ConfigError: onnxruntime is not installed.
    """
    path = Path(path)
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError('an exported model needs onnxruntime: pip install "marrow[runtime]"') from error
    if not path.is_file():
        raise CheckpointError(f"expected a file of `marrow export`; there is no file {path}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # what goes wrong is raised
    try:
        session = onnxruntime.InferenceSession(path, options, providers=list(providers))
    except Exception as error:  # onnxruntime has no common base of its errors
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{path}: onnxruntime {onnxruntime.__version__} cannot read it ({reason}); expected an ONNX file of "
            "`marrow export`, of an opset that it knows (--opset)"
        ) from error
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    description = Description.from_json(text, str(path))
    names = tuple(sorted(value.name for value in session.get_inputs()))
    if names != tuple(sorted(description.inputs)):
        raise CheckpointError(
            f"{path}: expected the inputs {', '.join(description.inputs)}, as it says of itself; it has "
            f"{', '.join(names)}. Export the model again"
        )
    return Model(lambda arrays: np.asarray(session.run(None, dict(arrays))[0]), description)
