"""Prediction of hidden frames from the average of the others: an example of a method in a package of its own."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.models.blocks import ExactLinear
from marrow.models.patch_transformer import PatchTransformer
from marrow.models.trainable import StepOutput
from marrow.objectives.base import Objective, Picture


@dataclass(frozen=True)
class HiddenFramesConfig:
    """Settings of the prediction of hidden frames.

    Args:
        hidden_ratio: share of the encoder's time steps that is hidden.
    """

    hidden_ratio: float = 0.25


@dataclass
class HiddenFramesDraw:
    """What is random in a step."""

    hidden: Bool[Tensor, "batch time"]


class HiddenFrames(Objective):
    """Prediction of hidden frames from the average of the others."""

    config_type = HiddenFramesConfig
    encoder_type = PatchTransformer

    def __init__(self, config: HiddenFramesConfig, encoder: PatchTransformer) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.predict = ExactLinear(encoder.dim, encoder.input.window_frames * len(encoder.skeleton.joints) * 3)

    def sample(self, batch: Batch, draws: Draws) -> HiddenFramesDraw:
        """Draw the hidden time steps of each clip."""
        steps = self.encoder.input.window_frames // self.encoder.frames_per_token
        return HiddenFramesDraw(draws.uniform("hidden", steps) < self.config.hidden_ratio)

    def forward(self, batch: Batch, draw: HiddenFramesDraw) -> StepOutput:
        """Compute the loss over the hidden frames."""
        hidden, prediction = self._predict(batch, draw)

        # Target: the positions. Loss: squared error per joint, summed over what is hidden and present.
        counts = (hidden & batch.present).float()
        error = (prediction - batch.joints).square().mean(-1)
        error_of_mean = batch.joints.square().mean(-1)  # of always saying the origin
        metrics = {"loss_of_mean": (error_of_mean * counts).sum()}
        return StepOutput(loss_sum=(error * counts).sum(), weight=counts.sum(), metrics=metrics)

    @torch.no_grad()
    def explain(self, batch: Batch, draw: HiddenFramesDraw) -> Picture:
        """Show the prediction at the hidden frames."""
        hidden, prediction = self._predict(batch, draw)
        present, predicted = batch.present, prediction.expand_as(batch.joints)
        return Picture(batch.joints, present, present & ~hidden, present & hidden, predicted)

    def _predict(self, batch: Batch, draw: HiddenFramesDraw) -> tuple[Tensor, Tensor]:
        hidden = draw.hidden.repeat_interleave(self.encoder.frames_per_token, dim=1)[:, None, :, None]

        # Encode: what is hidden is absent for the encoder.
        seen = Batch(batch.joints, batch.present & ~hidden, batch.label, batch.row)
        pooled = self.encoder(seen).pooled()

        # Decode: all frames at once, the same for every body.
        return hidden, self.predict(pooled).reshape(len(batch), 1, *batch.joints.shape[2:])
