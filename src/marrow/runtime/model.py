"""An exported model: an ONNX file, opened by onnxruntime."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from marrow.errors import CheckpointError, ConfigError, DataError
from marrow.runtime.description import KEY, Description
from marrow.runtime.prepare import Motion, prepare
from marrow.skeleton.sequence import SkeletonSequence


class Model:
    """An ONNX file of `marrow export`; `load` makes it.

    Attributes:
        description: what the file says of itself.
        classes: names of the classes, in the order of the probabilities; none of an encoder.
    """

    def __init__(self, session: Any, description: Description) -> None:
        self._session = session
        self.description = description
        self.classes = description.classes

    def predict(self, motions: Any, *, batch_clips: int = 16) -> np.ndarray:
        """Return the probability of each class for each recording: float32 [recording class].

        Args:
            motions: a list of `Motion`, or what `marrow.read` returns.
            batch_clips: recordings that are computed at a time.

        Raises:
            ConfigError: the file is of an encoder.
            DataError: a recording cannot be brought to the joints of the model.
        """
        if self.description.kind != "recogniser":
            raise ConfigError(
                "this is the file of an encoder, which names no class: use embed(), or export a recogniser"
            )
        return self._answer(motions, batch_clips)

    def embed(self, motions: Any, *, batch_clips: int = 16) -> np.ndarray:
        """Return a feature vector for each recording: float32 [recording dim]; otherwise as `predict`.

        Raises:
            ConfigError: the file is of a recogniser.
            DataError: a recording cannot be brought to the joints of the model.
        """
        if self.description.kind != "encoder":
            raise ConfigError("this is the file of a recogniser: use predict(), or export its encoder (FOLDER/encoder)")
        return self._answer(motions, batch_clips)

    def _answer(self, motions: Any, batch_clips: int) -> np.ndarray:
        if isinstance(motions, Motion | SkeletonSequence):
            raise DataError("expected a list of recordings, got one: put it into a list")
        if batch_clips < 1:
            raise ConfigError(f"batch_clips must be at least 1, got {batch_clips}")
        starts = range(0, max(1, len(motions)), batch_clips)
        batches = [prepare(motions[start : start + batch_clips], self.description) for start in starts]
        return np.concatenate([self._session.run(None, inputs.arrays())[0] for inputs in batches])


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
    return Model(session, description)
