"""Dropout that follows from a key: no generator is asked, and no noise is kept between `sample` and `forward`."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from marrow.data.draws import hashed

_PER_HASH = 4  # decisions of 16 bits


@dataclass
class Dropout:
    """Which numbers are left out in a step.

    Args:
        key: the random number that all of it follows from.
        rate: share that is left out, to the nearest of 65,536 parts; the others make up for it.
    """

    key: Int64[Tensor, ""]
    rate: float

    def of(self, number: int) -> "Dropout":
        """Return the dropout of one of several parts of a network, independent of that of the others."""
        return Dropout(hashed(self.key, number + 1)[number], self.rate)

    def __call__(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Set some of the numbers to zero. What they are depends on the key and on their place in memory order."""
        bits = hashed(self.key, -(-values.numel() // _PER_HASH)).view(torch.int16)
        kept = bits[: values.numel()].view(values.shape) >= min(round(self.rate * 2**16), 2**16 - 1) - 2**15
        return torch.where(kept, values / (1.0 - self.rate), 0.0)
