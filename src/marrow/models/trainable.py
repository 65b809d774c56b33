"""The interface between the engine and whatever it trains.

`sample` draws everything random, `forward` is a pure function of the batch and the draw. The loss is computed inside
`forward`, so that wrappers for several devices (DDP, FSDP) see it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.draws import Draws


@dataclass
class StepOutput:
    """What one micro-batch contributes.

    Args:
        loss_sum: the loss summed over whatever it counts (hidden tokens, clips).
        weight: how many it counts. The engine adds both up over all micro-batches and processes and divides once: a
            mean of means is not the mean when batches are ragged.
        metrics: detached sums to be divided by the weight in the same way, for the log.
    """

    loss_sum: Float[Tensor, ""]
    weight: Float[Tensor, ""]
    metrics: dict[str, Float[Tensor, ""]] = field(default_factory=dict)


class Trainable(nn.Module, ABC):
    """Something with a loss.

    Attributes:
        couples_samples: whether the loss of a clip depends on the other clips of its micro-batch (BatchNorm, InfoNCE).
            Without, it makes no difference how the global batch is cut into micro-batches and processes; with, it does.
    """

    couples_samples: bool = False

    @abstractmethod
    def sample(self, batch: Batch, draws: Draws) -> Any:
        """Draw everything random in the loss of this batch."""

    @abstractmethod
    def forward(self, batch: Batch, draw: Any) -> StepOutput:
        """Compute the loss of a batch under a draw. No randomness in here."""
