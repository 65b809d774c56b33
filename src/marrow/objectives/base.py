"""What a pretext objective is: a trainable that owns an encoder."""

from abc import abstractmethod
from typing import Any

from torch import Tensor

from marrow.data.batch import Batch
from marrow.models.encoder import Encoder
from marrow.models.trainable import Trainable


class Objective(Trainable):
    """A pretext loss together with the modules that it needs.

    Attributes:
        encoder: what is kept after pre-training; everything else is thrown away.
    """

    encoder: Encoder

    @abstractmethod
    def explain(self, batch: Batch, draw: Any) -> dict[str, Tensor]:
        """Return what the objective hid, predicted and aimed at, for pictures and parity."""
