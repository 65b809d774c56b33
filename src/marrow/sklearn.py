"""Encoders as parts of scikit-learn: recordings go into pipelines, cross-validation and grid search.

`MotionEncoder` turns recordings into features, `MotionClassifier` recordings into classes. Recordings are sequences of
marrow, or arrays as aeon and sktime have them: (channels, time), in a list where they are of unequal length.

    from marrow.sklearn import MotionEncoder
    classifier = make_pipeline(MotionEncoder("runs/first"), StandardScaler(), LogisticRegression())
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, TransformerTags
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from marrow.errors import ConfigError, DataError
from marrow.models.encoder import Encoder
from marrow.models.export import load_encoder
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.layout_file import get_layout
from marrow.skeleton.sequence import Record, SkeletonSequence

Layout = str | Path | Skeleton


class MotionEncoder(TransformerMixin, BaseEstimator):
    """Turns recordings into the features of a frozen encoder; there is nothing to fit.

    Args:
        encoder: folder of a run or of an encoder, the name of one that marrow ships, or an encoder in memory.
        layout: of recordings that come as arrays: a layout, its name (`marrow layouts`) or its YAML file; None: that of
            the encoder. Sequences know theirs.
        fps: frames per second of recordings that come as arrays.
        batch_clips: recordings that are computed at a time.

    Attributes:
        encoder_: the encoder, after `fit`.
    """

    def __init__(
        self,
        encoder: str | Path | Encoder = "general",
        *,
        layout: Layout | None = None,
        fps: float = 30.0,
        batch_clips: int = 64,
    ) -> None:
        self.encoder = encoder
        self.layout = layout
        self.fps = fps
        self.batch_clips = batch_clips

    def fit(self, X: Any, y: Any = None) -> "MotionEncoder":
        """Load the encoder. `X` is looked at, to say at once that it is of another kind; `y` is not.

        Raises:
            DataError: the recordings cannot be read, or are not for the encoder.
            CheckpointError: there is no encoder, or it is damaged.
        """
        encoder = _loaded(self.encoder)
        encoder.readable(sequences_from(X, self._layout(encoder), self.fps)[:1])
        self.encoder_ = encoder
        return self

    def transform(self, X: Any) -> Float32[np.ndarray, "case feature"]:
        """Return the pooled features of recordings.

        Args:
            X: sequences; or arrays (channels, time), whose channels are x, y and z of the first joint, of the second
                and so on, in metres (x and y alone where the layout has two dimensions), NaN where a joint was not
                seen, one person each; or all of them as one array (case, channels, time).

        Raises:
            DataError: the recordings cannot be read, or are not for the encoder.
        """
        encoder = self._encoder()
        sequences = sequences_from(X, self._layout(encoder), self.fps)
        return encoder.embed(sequences, batch_clips=self.batch_clips)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features, "motion0" and so on; those of the input have no part in it."""
        return np.array([f"motion{number}" for number in range(self._encoder().pooled_dim)], dtype=object)

    def _encoder(self) -> Encoder:
        return self.encoder_ if hasattr(self, "encoder_") else _loaded(self.encoder)

    def _layout(self, encoder: Encoder) -> Skeleton:
        return encoder.skeleton if self.layout is None else _known_layout(self.layout)

    def __sklearn_tags__(self) -> Tags:
        tags = _of_recordings(super().__sklearn_tags__(), requires_fit=False)
        return replace(tags, transformer_tags=TransformerTags(preserves_dtype=["float32"]))


class MotionClassifier(ClassifierMixin, BaseEstimator):
    """Learns classes of recordings: the features of a frozen encoder, standardised, and logistic regression.

    Args:
        encoder: as in `MotionEncoder`.
        layout: as in `MotionEncoder`.
        fps: as in `MotionEncoder`.
        C: inverse strength of the regularisation.
        max_iter: most iterations of the regression.
        class_weight: "balanced", where classes are of unequal size and count alike; None: every recording counts alike.

    Attributes:
        classes_: the classes, sorted.
        n_iter_: iterations that the regression took.
        pipeline_: what was fitted: a `MotionEncoder`, a scaler and the regression.
    """

    def __init__(
        self,
        encoder: str | Path | Encoder = "general",
        *,
        layout: Layout | None = None,
        fps: float = 30.0,
        C: float = 1.0,
        max_iter: int = 1000,
        class_weight: str | dict[Any, float] | None = None,
    ) -> None:
        self.encoder = encoder
        self.layout = layout
        self.fps = fps
        self.C = C
        self.max_iter = max_iter
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any) -> "MotionClassifier":
        """Learn from recordings (see `MotionEncoder.transform`) and their classes.

        Raises:
            DataError: the recordings cannot be read, or are not for the encoder.
            ValueError: of scikit-learn: they are of one class, or there are more or fewer classes than recordings.
        """
        check_consistent_length(X, y)
        regression = LogisticRegression(C=self.C, max_iter=self.max_iter, class_weight=self.class_weight)
        encoder = MotionEncoder(self.encoder, layout=self.layout, fps=self.fps)
        self.pipeline_: Pipeline = make_pipeline(encoder, StandardScaler(), regression).fit(X, y)
        self.classes_, self.n_iter_ = regression.classes_, regression.n_iter_
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each recording."""
        check_is_fitted(self)
        return self.pipeline_.predict(X)

    def predict_proba(self, X: Any) -> Float[np.ndarray, "case class"]:
        """Return the probability of each class, in the order of `classes_`."""
        check_is_fitted(self)
        return self.pipeline_.predict_proba(X)

    def __sklearn_tags__(self) -> Tags:
        return _of_recordings(super().__sklearn_tags__(), requires_fit=True)


def sequences_from(X: Any, layout: Skeleton, fps: float) -> list[SkeletonSequence]:
    """Return recordings as sequences.

    Args:
        X: as in `MotionEncoder.transform`.
        layout: of arrays.
        fps: frames per second of arrays.

    Raises:
        DataError: they are neither sequences nor arrays of the layout's channels, or a position is infinite.
    """
    if not isinstance(X, np.ndarray | Sequence) or isinstance(X, str | bytes):
        raise DataError(f"expected a list of recordings or an array (case, channels, time), got {type(X).__name__}")
    if isinstance(X, np.ndarray) and X.dtype != object and X.ndim != 3:
        raise DataError(f"expected an array (case, channels, time), got one of shape {X.shape}")
    if len(X) == 0:
        raise DataError("expected at least one recording, got none")
    return [
        case if isinstance(case, SkeletonSequence) else _sequence(case, layout, fps, number)
        for number, case in enumerate(X)
    ]


def _sequence(case: Any, layout: Skeleton, fps: float, number: int) -> SkeletonSequence:
    """Make a sequence of an array (channels, time); frames without any joint at its end are padding, and cut off."""
    try:
        channels = np.asarray(case, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"recording {number}: expected a SkeletonSequence or an array of numbers: {error}") from error
    joints, axes = len(layout.joints), layout.dimensions
    if channels.ndim != 2 or len(channels) != joints * axes or channels.shape[1] == 0:
        raise DataError(
            f"recording {number}: expected {joints * axes} channels ({joints} joints of the layout {layout.name!r}, "
            f"{axes} coordinates each) over time, got an array of shape {channels.shape}; name another layout, or "
            "transpose it"
        )
    positions = channels.T.reshape(1, -1, joints, axes)
    present: np.ndarray = np.logical_not(np.isnan(positions).any(axis=-1))
    seen = np.flatnonzero(present[0].any(axis=1))
    if not len(seen):
        raise DataError(f"recording {number}: every position is NaN: nobody was seen")
    whole = np.zeros((*positions.shape[:3], 3), np.float32)
    whole[..., :axes] = np.where(present[..., None], positions, 0.0)
    record = Record(f"recording {number}")
    return SkeletonSequence(whole[:, : seen[-1] + 1], present[:, : seen[-1] + 1], fps, layout, record)


def _loaded(encoder: Any) -> Encoder:
    if isinstance(encoder, Encoder):
        return encoder
    if not isinstance(encoder, str | Path):
        raise ConfigError(f"encoder must be a folder, a name or an Encoder, got {type(encoder).__name__}")
    return load_encoder(encoder)


def _known_layout(layout: Layout) -> Skeleton:
    if isinstance(layout, Skeleton):
        return layout
    return get_layout(str(layout))


def _of_recordings(tags: Tags, *, requires_fit: bool) -> Tags:
    """Say that the input is no table: lists of recordings, arrays (case, channels, time), with NaN for absence."""
    kinds = replace(tags.input_tags, two_d_array=False, three_d_array=True, allow_nan=True)
    return replace(tags, input_tags=kinds, requires_fit=requires_fit)
