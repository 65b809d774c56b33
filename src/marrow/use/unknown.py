"""How far a recording is from everything that was learned from: what lies too far may be anything.

The distance asks no class: it is the mean of the distances to the nearest training clips, in feature space. There the
differences between clips of one class have been given the same size in all directions, so that a distance of 1 along
any of them is what such clips usually differ by.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

# Training clips that a distance is the mean of.
_NEIGHBOURS = 3
# Directions that are stretched each by itself; the matrix of 3,000 numbers by as many would be larger than a model.
_MOST_DIRECTIONS = 512
# Clips that are compared with all others at a time.
_CHUNK = 1024
# Of held-out clips of known classes, so many percent may be called unknown.
FALSE_ALARM_PERCENT = 5.0


@dataclass(frozen=True)
class Gallery:
    """Features of the training clips, made comparable.

    Args:
        directions: orthonormal, in which clips of one class differ most.
        stretch: factor of each of these directions.
        rest: factor of all that lies across them.
        features: of the training clips, stretched.
    """

    directions: Float32[np.ndarray, "dim few"]
    stretch: Float32[np.ndarray, " few"]
    rest: Float32[np.ndarray, "1"]
    features: Float32[np.ndarray, "clip dim"]

    @classmethod
    def of(cls, features: Float[np.ndarray, "clip dim"], label: Int64[np.ndarray, " clip"]) -> "Gallery":
        """Make one of features and their labels."""
        classes, place = np.unique(label, return_inverse=True)
        features = features.astype(np.float64)
        means = np.stack([features[place == number].mean(axis=0) for number in range(len(classes))])
        within = features - means[place] if len(classes) < len(features) else features - features.mean(axis=0)
        directions, stretch, rest = (part.astype(np.float32) for part in _whitening(within))
        return cls(directions, stretch, rest, _stretched(features, directions, stretch, rest))

    @classmethod
    def kept(cls, arrays: Mapping[str, np.ndarray]) -> "Gallery":
        """Return one from its arrays, or from those of older models: a whole matrix, and features multiplied by it."""
        if "whitening" not in arrays:
            return cls(**arrays)
        stretch = np.linalg.norm(arrays["whitening"], axis=0)
        directions = arrays["whitening"] / stretch
        return cls(directions, stretch, np.ones(1, np.float32), arrays["features"] @ directions.T)

    def distance(self, features: Float[np.ndarray, "query dim"]) -> Float64[np.ndarray, " query"]:
        """Return how far clips are from the nearest training clips."""
        query = _stretched(features, self.directions, self.stretch, self.rest)
        count = min(_NEIGHBOURS, len(self.features))
        square = (self.features**2).sum(axis=1)
        result = np.zeros(len(query))
        for first in range(0, len(query), _CHUNK):
            part = query[first : first + _CHUNK]
            squares = (part**2).sum(axis=1)[:, None] + square - 2.0 * part @ self.features.T
            nearest = np.partition(squares, count - 1, axis=1)[:, :count]
            result[first : first + _CHUNK] = np.sqrt(np.maximum(nearest, 0.0)).mean(axis=1)
        return result


def _stretched(
    features: Float[np.ndarray, "clip dim"],
    directions: Float32[np.ndarray, "dim few"],
    stretch: Float32[np.ndarray, " few"],
    rest: Float32[np.ndarray, "1"],
) -> Float32[np.ndarray, "clip dim"]:
    features = features.astype(np.float32)
    return features * rest + ((features @ directions) * (stretch - rest)) @ directions.T


def _whitening(
    differences: Float64[np.ndarray, "clip dim"],
) -> tuple[Float64[np.ndarray, "dim few"], Float64[np.ndarray, " few"], Float64[np.ndarray, "1"]]:
    """Return what gives differences the same size in all directions, by their shrunk covariance (Ledoit and Wolf).

    That is (1 - a) S + a m I, with S the covariance, m its mean variance and a what shrinks it. Beyond the directions
    that are kept, the average of the variances stands for each of them.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    count, dim = differences.shape
    # The same directions, from whichever of the two products is smaller.
    if count < dim:
        square, across = np.linalg.eigh(differences @ differences.T)
        length = np.sqrt(np.maximum(square, 0.0))
        is_there = length > 1e-7 * length.max(initial=0.0)
        directions = differences.T @ (across[:, is_there] / length[is_there])
        variance = square[is_there] / count
    else:
        variance, directions = np.linalg.eigh(differences.T @ differences / count)
        variance = np.maximum(variance, 0.0)
    total = variance.sum()
    if total <= 0.0:  # all clips of a class are the same one
        return np.zeros((dim, 0)), np.zeros(0), np.ones(1)
    variance, directions = variance[::-1][:_MOST_DIRECTIONS], directions[:, ::-1][:, :_MOST_DIRECTIONS]
    shrinkage = ledoit_wolf_shrinkage(differences, assume_centered=True)
    others = (total - variance.sum()) / max(1, dim - len(variance))
    variances = (1.0 - shrinkage) * np.append(variance, others) + shrinkage * total / dim
    stretch = 1.0 / np.sqrt(np.maximum(variances, 1e-6 * variances[0]))
    return directions, stretch[:-1], stretch[-1:]


def threshold_of(distance: Float64[np.ndarray, " clip"], false_alarm_percent: float = FALSE_ALARM_PERCENT) -> float:
    """Return the smallest of some distances that at most so many percent of them exceed.

    Args:
        distance: of clips of known classes that the gallery does not hold.
        false_alarm_percent: of them that may be called unknown.
    """
    return float(np.quantile(distance, 1.0 - false_alarm_percent / 100.0, method="inverted_cdf"))
