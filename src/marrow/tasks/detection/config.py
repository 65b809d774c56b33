"""Settings of action detection."""

from dataclasses import dataclass, field
from typing import Literal

from marrow.data.augment import AugmentConfig
from marrow.errors import BELOW_1, NOT_NEGATIVE, POSITIVE, UP_TO_1, ConfigError, at_least, check_ranges, one_of
from marrow.train.optim import OptimizerConfig


@dataclass(frozen=True)
class DetectionConfig:
    """Settings of action detection.

    Args:
        encoder: finetune: the encoder is trained with the head. frozen: the head alone.
        window_seconds: how much of a recording the encoder sees at a time.
        stride_seconds: between the beginnings of two windows of a test recording.
        train_stride_seconds: between the beginnings of two windows that are learned from.
        steps: optimizer steps.
        batch_windows: windows per step; a training set with fewer is one batch.
        optimizer: AdamW and the highest learning rate, that of the head.
        warmup_steps: over which the learning rate rises from 0.
        min_learning_rate: at the end.
        layer_decay: each group of the encoder's layers learns this much slower than the one above it; from scratch it
            is always 1.
        drop_path: how often the last block's residual branches are left out; the rate rises linearly from 0.
        dropout: share of the head's hidden numbers that is left out in training.
        hidden_width: of the head.
        class_balance: how far rare classes weigh more in the loss: a class counts as its share of the frames to the
            power of minus this; 0: all frames count the same, 1: all classes do.
        augment: what is varied; crops are not, whatever it says. Null: rotations of up to 0.3 radians.
        smoothing_frames: probabilities are averaged over so many frames to either side.
        proposals: class_runs: every run of frames in which a class exceeds `threshold`. activity_runs: every run of
            frames that are no background with at least `least_activity`.
        threshold: of a class's probability. USDRL's code, for 52 classes and after long training, has 0.02; where
            probabilities are soft, so small a value makes runs that are far longer than the action.
        least_activity: of 1 - the background's probability.
        most_overlap: leave out proposals that overlap a more confident one of their class more than so much; null: all
            remain.
        shuffle_control: predict every test recording a second time, its actions in another order, and score that too.
    """

    encoder: Literal["finetune", "frozen"] = "finetune"
    window_seconds: float = 4.0
    stride_seconds: float = 1.0
    train_stride_seconds: float = 0.2
    steps: int = 300
    batch_windows: int = 16
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=1e-3, betas=(0.9, 0.999), weight_decay=0.05, clip_norm=1.0
        )
    )
    warmup_steps: int = 20
    min_learning_rate: float = 1e-5
    layer_decay: float = 0.8
    drop_path: float = 0.1
    dropout: float = 0.3
    hidden_width: int = 256
    class_balance: float = 0.5
    augment: AugmentConfig | None = None
    smoothing_frames: int = 10
    proposals: Literal["class_runs", "activity_runs"] = "class_runs"
    threshold: float = 0.2
    least_activity: float = 0.4
    most_overlap: float | None = None
    shuffle_control: bool = True

    def __post_init__(self) -> None:
        check_ranges(
            self,
            "action_detection.",
            encoder=one_of("finetune", "frozen"),
            proposals=one_of("class_runs", "activity_runs"),
            **dict.fromkeys(("window_seconds", "stride_seconds", "train_stride_seconds"), POSITIVE),
            **dict.fromkeys(("steps", "batch_windows", "hidden_width"), at_least(1)),
            **dict.fromkeys(("smoothing_frames", "class_balance", "min_learning_rate", "warmup_steps"), NOT_NEGATIVE),
            **dict.fromkeys(("drop_path", "dropout", "threshold"), BELOW_1),
            **dict.fromkeys(("layer_decay", "least_activity", "most_overlap"), UP_TO_1),
        )
        if self.stride_seconds > self.window_seconds:
            raise ConfigError(
                "action_detection.stride_seconds must not exceed action_detection.window_seconds, or frames would be "
                f"left out; got {self.stride_seconds:g} and {self.window_seconds:g}"
            )
        if self.warmup_steps >= self.steps:
            raise ConfigError(
                "action_detection.warmup_steps must be fewer than action_detection.steps, got "
                f"{self.warmup_steps} of {self.steps}; "
                f"for so short a training set action_detection.warmup_steps to {self.steps // 10}, for example"
            )
