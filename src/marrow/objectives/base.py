"""What a pretext objective is: a trainable that owns an encoder, and can show what it hides and predicts."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from marrow.data.batch import Batch
from marrow.models.encoder import Encoder
from marrow.models.trainable import Trainable


@dataclass
class Picture:
    """What an objective hid from its encoder and predicted, as skeletons that move, in the window's own coordinates.

    Args:
        joints: the truth, as in the batch.
        present: which joints exist.
        visible: which of the present ones the encoder was shown.
        hidden: which of them were kept from it, to be predicted. What is neither was of no use to the method (a patch
            that is absent in part).
        predicted: where the objective says that they are; read at hidden joints only.
        note: what of the truth went into the predicted positions, in whole sentences for whoever looks at them. Empty
            where nothing did.
    """

    joints: Float[Tensor, "batch body time joint 3"]
    present: Bool[Tensor, "batch body time joint"]
    visible: Bool[Tensor, "batch body time joint"]
    hidden: Bool[Tensor, "batch body time joint"]
    predicted: Float[Tensor, "batch body time joint 3"]
    note: str = ""


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
