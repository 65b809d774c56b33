"""What a comparison with recorded numbers says: one error per quantity."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Quantity:
    """One compared quantity: relative error by norm, and the largest that is accepted."""

    name: str
    error: float
    tolerance: float

    @property
    def passes(self) -> bool:
        """Tell whether the error is within tolerance (an error that is not a number is not)."""
        return self.error <= self.tolerance


def relative_error(ours: np.ndarray, reference: np.ndarray) -> float:
    """Return the norm of the difference over the norm of the reference; of flags, the share that differs."""
    if ours.shape != reference.shape:
        return float("inf")
    if reference.dtype == bool:
        return float((ours != reference).mean())
    difference = np.linalg.norm((ours.astype(np.float64) - reference).ravel())
    return float(difference / np.linalg.norm(reference.astype(np.float64).ravel()))
