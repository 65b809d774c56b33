"""Streams fused: encoders of joints, bones and motion answer together.

Each encoder's pooled features get a logistic regression of their own; a clip's score for a class is the weighted sum of
the logarithms of the probabilities. (Published fusions add scores before the softmax. The logarithm of the softmax
differs from those by a number that is the same for all classes of a clip, so the sum has the same largest class.)

Two sets of weights, fixed beforehand and never tuned on test clips: the published one (0.6 for joints and bones, 0.4
for their motions: Chen et al., CTR-GCN, ICCV 2021) and equal ones. Each stream's own score stands beside them.

Each encoder cuts its own windows by its own `input`. Where the evaluated encoder is at random initialisation, all are:
a trained one among them would answer for the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from marrow.errors import ConfigError
from marrow.models.encoder import Encoder
from marrow.models.export import load_encoder
from marrow.tasks.base import Report, TaskContext, TaskData, without_labels
from marrow.tasks.encoders import check_skeleton, facts_of
from marrow.tasks.recognition.readouts import Logistic, LogisticConfig, standardised
from marrow.train.run_directory import plain

PUBLISHED_WEIGHTS: Mapping[str, float] = {"joint": 0.6, "bone": 0.6, "motion": 0.4, "bone_motion": 0.4}


@dataclass(frozen=True)
class StreamFusionConfig:
    """Settings of the fusion.

    Args:
        runs: run directories, or exported encoders, of the other streams.
        weights: further weights to report, besides the published and the equal ones: first that of the encoder that is
            evaluated, then those of `runs`. Choose them without test clips. null: none.
        logistic: settings of each stream's logistic regression.
    """

    runs: tuple[Path, ...] = ()
    weights: tuple[float, ...] | None = None
    logistic: LogisticConfig = field(default_factory=LogisticConfig)

    def __post_init__(self) -> None:
        if self.weights is not None:
            if len(self.weights) != 1 + len(self.runs):
                raise ConfigError(
                    f"stream_fusion.weights: expected {1 + len(self.runs)}, one for the encoder that is evaluated and "
                    f"one for each of the {len(self.runs)} runs, got {len(self.weights)}"
                )
            if min(self.weights) < 0 or sum(self.weights) == 0:
                raise ConfigError(f"stream_fusion.weights must not be negative, nor all zero, got {list(self.weights)}")


@dataclass(frozen=True)
class StreamFusion:
    """Several streams: reports `stream_fusion/published weights`, `.../equal weights`, and `.../joint` and so on.

    Args:
        config: the other streams.
    """

    name = "stream_fusion"
    config: StreamFusionConfig = field(default_factory=StreamFusionConfig)
    # What was loaded: the cache of features knows an encoder by its identity, and folds ask for the same ones.
    _loaded: dict[tuple[str, str, int | None], Encoder] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def unsuited(self, data: TaskData) -> str | None:
        """Say that there is nothing to fuse, or that clips have no label."""
        if not self.config.runs:
            return "it fuses the encoder with those of other streams, and none are given (stream_fusion.runs)"
        return without_labels(data)

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Fit every stream, add them up, predict, then score."""
        streams, fingerprints = self._streams(encoder, data, context)
        label = data.train_labels()
        by_stream: dict[str, Float64[np.ndarray, "test class"]] = {}
        classes, converged = np.unique(label), {}
        for stream, of_stream in streams.items():
            train, test = standardised(*(table.pooled for table in context.tables(of_stream, data)))
            fitted = Logistic.fitted(train, label, self.config.logistic)
            by_stream[stream], converged[stream] = fitted.log_probability(test), fitted.converged

        asked = plain(self.config)
        common = {
            "logistic": asked["logistic"],
            "features": "centre crops, standardised",
            "fused": "logarithms of the probabilities of a logistic regression on each stream",
        }
        # By variant: weights, settings, and whether the solvers converged.
        variants = {
            f"{kind} weights": (weights, {**common, "weights": weights, "encoders": fingerprints}, converged)
            for kind, weights in self._weights(streams).items()
        }
        for stream in streams:
            settings = {**common, "encoder": fingerprints[stream]}
            variants[stream] = {stream: 1.0}, settings, converged[stream]
        predicted = {
            variant: classes[fused(by_stream, weights).argmax(axis=1)] for variant, (weights, _, _) in variants.items()
        }

        # Predictions are made; from here on test labels are read.
        clips = data.test_clips()
        return [
            Report.scored(
                f"{self.name}/{variant}",
                {"top1": predicted[variant]},
                clips,
                settings=settings,
                asked=asked,
                noted={"converged": did_converge},
                seed=context.seed,
                num_labels_used=len(label),
                source=context.origin.source,
            )
            for variant, (_, settings, did_converge) in variants.items()
        ]

    def _weights(self, streams: Mapping[str, Encoder]) -> dict[str, dict[str, float]]:
        weights = {
            "published": {stream: PUBLISHED_WEIGHTS[stream] for stream in streams},
            "equal": {stream: 1.0 / len(streams) for stream in streams},
        }
        if self.config.weights is not None:
            weights["given"] = dict(zip(streams, self.config.weights, strict=True))
        return weights

    def _streams(
        self, encoder: Encoder, data: TaskData, context: TaskContext
    ) -> tuple[dict[str, Encoder], dict[str, str]]:
        """Return the encoders and what identifies them, by stream: the one that is evaluated first."""
        if not self.config.runs:
            raise ConfigError("stream_fusion needs the encoders of other streams: set stream_fusion.runs")
        fresh_seed = None
        if context.origin.source == "random":
            fresh_seed = context.seed if context.origin.seed is None else context.origin.seed
        first = _stream(encoder, "the evaluated encoder")
        streams, given, marks = {first: encoder}, {first: "the evaluated encoder"}, {first: "the evaluated one"}
        for run in self.config.runs:
            fingerprint = facts_of(run, 0).fingerprint
            key = (str(run.resolve()), fingerprint, fresh_seed)
            if key not in self._loaded:
                loaded = load_encoder(run)
                self._loaded[key] = loaded if fresh_seed is None else loaded.fresh(fresh_seed)
            other = self._loaded[key]
            check_skeleton(other, data.store, run)
            stream = _stream(other, str(run))
            if stream in streams:
                raise ConfigError(
                    f"stream_fusion: {run} and {given[stream]} both see the stream {stream!r}; give one encoder for "
                    "each stream (set input.stream in pre-training)"
                )
            streams[stream], given[stream] = other, str(run)
            marks[stream] = fingerprint if fresh_seed is None else f"random, seed {fresh_seed}"
        return streams, marks


def fused(
    by_stream: Mapping[str, Float64[np.ndarray, "clip class"]], weights: Mapping[str, float]
) -> Float64[np.ndarray, "clip class"]:
    """Return the weighted sum of the scores of those streams that have a weight."""
    return sum((weight * by_stream[stream] for stream, weight in weights.items()), start=np.zeros(()))


def _stream(encoder: Encoder, who: str) -> str:
    stream = encoder.input.stream
    if stream not in PUBLISHED_WEIGHTS:
        raise ConfigError(
            f"stream_fusion: {who} sees {stream!r}, for which there is no published weight; streams are "
            f"{', '.join(PUBLISHED_WEIGHTS)}"
        )
    return stream
