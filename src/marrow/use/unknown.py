"""How far a recording is from everything that was learned from: what lies too far may be anything.

The distance asks no class: it is the mean of the distances to the nearest training clips, in feature space. There the
differences between clips of one class have been given the same size in all directions, so that a distance of 1 along
any of them is what such clips usually differ by.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

# Training clips that a distance is the mean of.
_NEIGHBOURS = 3
# Clips that are compared with all others at a time.
_CHUNK = 1024
# Of held-out clips of known classes, so many percent may be called unknown.
FALSE_ALARM_PERCENT = 5.0


@dataclass(frozen=True)
class Gallery:
    """Features of the training clips, made comparable.

    Args:
        whitening: what features are multiplied by.
        features: of the training clips, multiplied.
    """

    whitening: Float32[np.ndarray, "dim dim"]
    features: Float32[np.ndarray, "clip dim"]

    @classmethod
    def of(cls, features: Float[np.ndarray, "clip dim"], label: Int64[np.ndarray, " clip"]) -> "Gallery":
        """Make one of features and their labels."""
        classes, place = np.unique(label, return_inverse=True)
        features = features.astype(np.float64)
        means = np.stack([features[place == number].mean(axis=0) for number in range(len(classes))])
        within = features - means[place] if len(classes) < len(features) else features - features.mean(axis=0)
        whitening = _whitening(within).astype(np.float32)
        return cls(whitening, features.astype(np.float32) @ whitening)

    def distance(self, features: Float[np.ndarray, "query dim"]) -> Float64[np.ndarray, " query"]:
        """Return how far clips are from the nearest training clips."""
        query = features.astype(np.float32) @ self.whitening
        count = min(_NEIGHBOURS, len(self.features))
        square = (self.features**2).sum(axis=1)
        result = np.zeros(len(query))
        for first in range(0, len(query), _CHUNK):
            part = query[first : first + _CHUNK]
            squares = (part**2).sum(axis=1)[:, None] + square - 2.0 * part @ self.features.T
            nearest = np.partition(squares, count - 1, axis=1)[:, :count]
            result[first : first + _CHUNK] = np.sqrt(np.maximum(nearest, 0.0)).mean(axis=1)
        return result


def _whitening(differences: Float64[np.ndarray, "clip dim"]) -> Float64[np.ndarray, "dim dim"]:
    """Return what gives differences the same size in all directions; with few of them, by a shrunk covariance."""
    from sklearn.covariance import LedoitWolf

    covariance = LedoitWolf(assume_centered=True).fit(differences).covariance_
    variance, directions = np.linalg.eigh(covariance)
    largest = float(variance[-1])
    if largest <= 0.0:  # all clips of a class are the same one
        return np.eye(len(variance))
    return directions / np.sqrt(np.maximum(variance, 1e-6 * largest))


def threshold_of(distance: Float64[np.ndarray, " clip"], false_alarm_percent: float = FALSE_ALARM_PERCENT) -> float:
    """Return the smallest of some distances that at most so many percent of them exceed.

    Args:
        distance: of clips of known classes that the gallery does not hold.
        false_alarm_percent: of them that may be called unknown.
    """
    return float(np.quantile(distance, 1.0 - false_alarm_percent / 100.0, method="inverted_cdf"))
