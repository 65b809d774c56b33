"""What a pretext objective is: a trainable that owns an encoder, and can show what it hides and predicts."""

from abc import abstractmethod
from typing import Any, ClassVar

from marrow.data.batch import Batch
from marrow.models.encoder import Encoder
from marrow.models.trainable import Trainable
from marrow.objectives.picture import Picture


class Objective(Trainable):
    """A pretext loss together with the modules that it needs, made by `Objective(config, encoder)`.

    Attributes:
        config_type: the frozen dataclass of its settings; its fields become the options `--objective.NAME`.
        title: what the method is called in reports; the name of the class where it says none.
        encoder_type: the encoder that it trains; the fields of that one's settings become `--encoder.NAME`.
        encoder: what is kept after pre-training; everything else is thrown away.
    """

    title: ClassVar[str] = ""
    config_type: ClassVar[type]
    encoder_type: ClassVar[type[Encoder]]

    encoder: Encoder

    @classmethod
    def called(cls) -> str:
        """Return what the method is called in reports."""
        return cls.title or cls.__name__

    @abstractmethod
    def explain(self, batch: Batch, draw: Any) -> Picture:
        """Show what is hidden and what is predicted there, for the report."""
