"""Recordings of released code, and what a comparison with one says: an error per quantity.

A recording is an `.npz`: the weights of a model under `weights/` and their released names, its settings, an input, and
what the released code made of it. Only names and numbers are read.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from marrow.errors import DataError


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


@contextmanager
def open_recording(path: Path, method: str, quantities: tuple[str, ...]) -> Iterator[dict[str, np.ndarray]]:
    """Read a recording, and say of it what is wrong with it where it is made use of.

    Raises:
        DataError: the file is missing, lacks a quantity, or does not hold what the body of the `with` takes from it.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            recording = {key: archive[key] for key in archive.files}
        yield recording
        for name in quantities:
            _ = recording[name]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{path}: not a {method} recording (an .npz with weights/*, {', '.join(quantities)}): {error}"
        ) from error


def weights_in(recording: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Return the recorded weights by their released names."""
    prefix = "weights/"
    return {key.removeprefix(prefix): torch.from_numpy(recording[key]) for key in recording if key.startswith(prefix)}


def gradient_norm(module: nn.Module) -> np.ndarray:
    """Return the norm of the gradient of all parameters."""
    squares = (float(p.grad.double().square().sum()) for p in module.parameters() if p.grad is not None)
    return np.array(sum(squares) ** 0.5)
