"""Sizes of a step that the host knows beforehand: one for nearly all steps, and a larger one for the rest."""

import math

import numpy as np
from jaxtyping import Int64

from marrow.data.batch import Shapes

# Rows are a multiple of this; so many standard deviations above the mean, a step in some 30,000 needs the larger size.
_ROWS_AT_ONCE, _DEVIATIONS = 8, 4.0


class FixedShapes:
    """Chooses the shapes of micro-batches.

    Args:
        body_count: bodies of each clip that may come.
        clips: of a micro-batch.
        max_bodies: length of its body axis.
        whole: whether every joint of every body is present in every frame, in all clips that may come.
    """

    def __init__(self, body_count: Int64[np.ndarray, " clip"], clips: int, max_bodies: int, *, whole: bool) -> None:
        usual = clips * float(body_count.mean()) + _DEVIATIONS * math.sqrt(clips) * float(body_count.std())
        self._body_count, self._whole = body_count, whole
        self.largest = clips * max_bodies
        self.usual = min(self.largest, _ROWS_AT_ONCE * math.ceil(usual / _ROWS_AT_ONCE))

    def of(self, clips: Int64[np.ndarray, " batch"]) -> Shapes:
        """Return the shapes of a micro-batch of some clips: no body is ever left out."""
        fits = int(self._body_count[clips].sum()) <= self.usual
        return Shapes(self.usual if fits else self.largest, self._whole)
