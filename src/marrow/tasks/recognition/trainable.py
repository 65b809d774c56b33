"""What fine-tuning minimises, and its settings."""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor, nn

from marrow.data.augment import AugmentConfig
from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.errors import BELOW_1, NOT_NEGATIVE, UP_TO_1, ConfigError, at_least, check_ranges
from marrow.models.blocks import DropPath
from marrow.models.encoder import Encoder
from marrow.models.heads import Head
from marrow.models.trainable import StepOutput, Trainable
from marrow.train.optim import OptimizerConfig, ScheduleConfig


@dataclass(frozen=True)
class FinetuneConfig:
    """Settings of fine-tuning; the defaults are the paper's.

    Args:
        epochs: passes over the training clips.
        batch_clips: clips per optimizer step; a training set with fewer is one batch.
        optimizer: AdamW and the highest learning rate, that of the head.
        schedule: warm-up and the lowest learning rate.
        layer_decay: each group of layers learns this much slower than the one above it; from scratch it is always 1.
        drop_path: how often the last block's residual branches are left out; the rate rises linearly from 0.
        dropout: share of the features' numbers that is left out before they are averaged.
        label_smoothing: share of the target that is spread over all classes.
        head: hidden: the paper's, on the joints side by side, or on the summary of a body where there is one, with a
            hidden layer. logistic: a linear layer on the pooled features, which begins as logistic regression on those
            of the training clips, as they are before the encoder is trained. auto: logistic where those are more than
            one token's numbers (`encoder.summary_blocks`), else hidden.
        hidden_width: of the head's hidden layer, where it has one.
        augment: what is varied; null: as in the pre-training where that is known, else the paper's crops and rotations.
        scratch_budget: epochs from scratch. same_epochs: as many as from pre-training. same_total: as many more as the
            time of the pre-training is worth, so that both sides have spent the same in all.
        label_fraction: share of the training clips of every class whose labels are used, at least one each. A smaller
            share is part of a larger one, by the same seed.
        label_seed: of that draw; null: that of the run.
        predict_every: epochs between two predictions of the test clips; after the last epoch they are always predicted.
            Where there are few labels, predictions cost more than the training.
    """

    epochs: int = 100
    batch_clips: int = 48
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=3e-4, betas=(0.9, 0.999), weight_decay=0.05)
    )
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(warmup_epochs=5.0, min_learning_rate=1e-5))
    layer_decay: float = 0.8
    drop_path: float = 0.3
    dropout: float = 0.3
    label_smoothing: float = 0.1
    head: Literal["auto", "hidden", "logistic"] = "auto"
    hidden_width: int = 2048
    augment: AugmentConfig | None = None
    scratch_budget: Literal["same_epochs", "same_total"] = "same_epochs"
    label_fraction: float = 1.0
    label_seed: int | None = None
    predict_every: int = 1

    def __post_init__(self) -> None:
        check_ranges(
            self,
            **dict.fromkeys(("epochs", "hidden_width", "predict_every"), at_least(1)),
            batch_clips=at_least(2),
            **dict.fromkeys(("drop_path", "dropout", "label_smoothing"), BELOW_1),
            **dict.fromkeys(("layer_decay", "label_fraction"), UP_TO_1),
            label_seed=NOT_NEGATIVE,
        )
        if self.schedule.warmup_epochs > self.epochs:
            raise ConfigError(
                f"schedule.warmup_epochs must not exceed epochs, got {self.schedule.warmup_epochs:g} of {self.epochs}; "
                f"for so short a run set schedule.warmup_epochs to {self.epochs / 10:g}, for example"
            )

    def two_epochs(self) -> "FinetuneConfig":
        """Return the recipe in its smallest useful size."""
        return replace(self, epochs=2, schedule=replace(self.schedule, warmup_epochs=0.0))


@dataclass
class FinetuneDraw:
    """What is random in a step: residual branches left out, and numbers of the features left out."""

    drop: DropPath | None
    kept: Bool[Tensor, "batch body *axes dim"] | None


class Recognition(Trainable):
    """Cross-entropy with smoothed labels.

    Args:
        encoder: is trained.
        head: is trained with it.
        config: rates and smoothing.
    """

    # BatchNorm: a clip's loss depends on the others of its micro-batch.
    couples_samples = True

    def __init__(self, encoder: Encoder, head: Head, config: FinetuneConfig) -> None:
        super().__init__()
        self.encoder, self.head, self.config = encoder, head, config

    def sample(self, batch: Batch, draws: Draws) -> FinetuneDraw:
        """Draw what is left out, each clip's by its place in the global batch."""
        bodies, drop, kept = batch.joints.shape[1], None, None
        if self.config.drop_path > 0 and self.encoder.branches > 0:
            drop = DropPath(draws.uniform("drop_path", bodies, self.encoder.branches), self.config.drop_path)
        if self.config.dropout > 0:
            shape = self.encoder.feature_shape
            axes = (shape.times, shape.joints) if shape.summary_dim is None else ()
            kept = draws.uniform("dropout", bodies, *axes, self.encoder.pooled_dim) >= self.config.dropout
        return FinetuneDraw(drop, kept)

    def forward(self, batch: Batch, draw: FinetuneDraw) -> StepOutput:
        """Compute the loss of the clips, and how many of them are recognised."""
        features = self.encoder(batch, draw.drop)
        scores = self.head(features, draw.kept, self.config.dropout).float()
        loss = F.cross_entropy(scores, batch.label, label_smoothing=self.config.label_smoothing, reduction="sum")
        right = (scores.detach().argmax(1) == batch.label).float()
        return StepOutput(loss, torch.ones_like(right).sum(), {"train_top1_percent": 100.0 * right.sum()})


def layer_scales(encoder: Encoder, layer_decay: float) -> dict[nn.Parameter, float]:
    """Return the share of the learning rate of every parameter: 1 for the last group, `layer_decay` less per group."""
    layers = encoder.layers()
    return {
        parameter: layer_decay ** (len(layers) - 1 - number)
        for number, layer in enumerate(layers)
        for parameter in layer
    }
