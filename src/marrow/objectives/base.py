"""What a pretext objective is: a trainable that owns an encoder, and can show what it hides and predicts.

What it shows is a `Picture`: its choices and targets turned into joints that move.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from marrow.data.batch import Batch
from marrow.models.encoder import Encoder
from marrow.models.grid import PatchGrid
from marrow.models.packing import Rows
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


def picture_of(
    batch: Batch,
    rows: Rows,
    visible: Bool[Tensor, "row time joint"],
    hidden: Bool[Tensor, "row time joint"],
    predicted: Float[Tensor, "row time joint 3"],
    note: str = "",
) -> Picture:
    """Put what the bodies of some rows show, hide and predict back into their batch.

    Args:
        batch: the clips, in the unit of the input.
        rows: the bodies. Of the others nothing is visible or hidden.
        visible: which of their joints the encoder was shown; what is not present does not count.
        hidden: which were kept from it, likewise.
        predicted: where they are said to be, in the unit of the input.
        note: what of the truth went into that.
    """

    def in_batch(flags: Bool[Tensor, "row time joint"]) -> Bool[Tensor, "batch body time joint"]:
        everywhere = torch.zeros_like(batch.present).flatten(0, 1)
        everywhere[rows.body] = flags
        return everywhere.view_as(batch.present) & batch.present

    shown = batch.joints.flatten(0, 1).clone()
    shown[rows.body] = predicted
    return Picture(batch.joints, batch.present, in_batch(visible), in_batch(hidden), shown.view_as(batch.joints), note)


def patches_as_positions(
    prediction: Float[Tensor, "body token value"],
    joints: Float[Tensor, "body time joint 3"],
    grid: PatchGrid,
    *,
    standardised: tuple[Float[Tensor, "body token 1"], Float[Tensor, "body token 1"]] | None,
    stride: int | None,
) -> tuple[Float[Tensor, "body time joint 3"], str]:
    """Turn predicted patches into positions, and say what of the truth that took.

    Args:
        prediction: of every patch.
        joints: the truth.
        grid: how the patches tile it.
        standardised: mean and deviation of the true patches where each is predicted without them; None: it is not.
        stride: frames per step where motion is predicted; None: positions are.

    Returns:
        The positions in the unit of `joints`, and whole sentences for whoever looks at them.
    """
    notes: list[str] = []
    if standardised is not None:
        # As in the pictures of the masked autoencoder: a standardised patch has no place and no size of its own.
        mean, deviation = standardised
        prediction = prediction * deviation + mean
        notes.append(
            "What is predicted is standardised patch by patch: it is shown with the mean and the spread of the truth, "
            "so that place and size are given and only the shape is the model's."
        )
    if stride is not None:
        prediction = grid.follow(prediction, grid.patchify(joints), stride)
        notes.append(
            f"What is predicted is motion: every {grid.patch_frames} frames a joint starts again at its true position, "
            "and the predicted motion leads on from there."
        )
    return grid.unpatchify(prediction), " ".join(notes)
