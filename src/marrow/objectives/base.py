"""What a pretext objective is: a trainable that owns an encoder."""

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from marrow.data.batch import Batch
from marrow.models.encoder import Encoder
from marrow.models.trainable import Trainable


class Objective(Trainable):
    """A pretext loss together with the modules that it needs, made by `Objective(config, encoder)`.

    Attributes:
        config_type: the frozen dataclass of its settings; its fields become the options `--objective.NAME`.
        encoder_type: the encoder that it trains; the fields of that one's settings become `--encoder.NAME`.
        encoder: what is kept after pre-training; everything else is thrown away.
    """

    config_type: ClassVar[type]
    encoder_type: ClassVar[type[Encoder]]

    encoder: Encoder

    @abstractmethod
    def explain(self, batch: Batch, draw: Any) -> dict[str, Tensor]:
        """Return what the objective hid, predicted and aimed at, for pictures and parity."""
