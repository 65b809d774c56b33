"""Settings of motion prediction."""

from dataclasses import dataclass, field
from typing import Literal

from marrow.data.augment import AugmentConfig
from marrow.errors import BELOW_1, NOT_NEGATIVE, POSITIVE, UP_TO_1, ConfigError, at_least, check_ranges, one_of
from marrow.tasks.prediction.metrics import horizons_within
from marrow.train.optim import OptimizerConfig


@dataclass(frozen=True)
class PredictionConfig:
    """Settings of motion prediction.

    Args:
        observed_frames: that a forecast is made from.
        predicted_frames: that are forecast and scored.
        fps: frames per second of both; recordings of another rate are resampled.
        mode: direct: all frames are forecast at once. autoregressive: so many as `step_frames`, which are then observed
            in their turn, until there are enough.
        step_frames: that are learned, and forecast at a time, in the mode autoregressive.
        train_stride: frames between the beginnings of two training windows of a recording.
        test_stride: frames between the beginnings of two test windows of a recording.
        steps: optimizer steps.
        batch_windows: windows per step; a training set with fewer is one batch.
        optimizer: AdamW and the highest learning rate, that of the head.
        warmup_steps: over which the learning rate rises from 0.
        min_learning_rate: at the end.
        encoder_rate: share of the head's learning rate that the encoder has; from scratch it is always 1.
        hidden_width: of the head.
        recent_frames: last observed frames that the head reads as they are, besides what the encoder says, and that
            the forecast by least squares continues.
        begins_with: linear_regression: what is learned is added to that forecast, which is good at short horizons and
            for posture. zero_velocity: it is added to the last pose; better where bodies often change their way.
        functions: slow functions of time that a joint's forecast is made of.
        dropout: share of the head's hidden numbers that is left out in training.
        centred_weight: of the root-centred errors of position in the loss, beside those in the room.
        velocity_weight: of the errors of velocity in the loss, beside those of position.
        augment: what is varied; crops, mirror and noise are not, whatever it says. Null: as in the pre-training where
            that is known, else rotations of up to 0.3 radians.
    """

    observed_frames: int = 50
    predicted_frames: int = 25
    fps: float = 25.0
    mode: Literal["direct", "autoregressive"] = "direct"
    step_frames: int = 10
    train_stride: int = 2
    test_stride: int = 10
    steps: int = 600
    batch_windows: int = 16
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=1e-3, betas=(0.9, 0.999), weight_decay=0.05, clip_norm=1.0
        )
    )
    warmup_steps: int = 30
    min_learning_rate: float = 1e-5
    encoder_rate: float = 0.3
    hidden_width: int = 512
    recent_frames: int = 20
    begins_with: Literal["linear_regression", "zero_velocity"] = "linear_regression"
    functions: int = 10
    dropout: float = 0.1
    centred_weight: float = 1.0
    velocity_weight: float = 1.0
    augment: AugmentConfig | None = None

    def __post_init__(self) -> None:
        check_ranges(
            self,
            "motion_prediction.",
            **dict.fromkeys(("predicted_frames", "step_frames", "train_stride", "test_stride", "steps"), at_least(1)),
            **dict.fromkeys(("batch_windows", "hidden_width", "functions"), at_least(1)),
            **dict.fromkeys(("observed_frames", "recent_frames"), at_least(2)),
            warmup_steps=at_least(0),
            **dict.fromkeys(("min_learning_rate", "centred_weight", "velocity_weight"), NOT_NEGATIVE),
            mode=one_of("direct", "autoregressive"),
            begins_with=one_of("linear_regression", "zero_velocity"),
            dropout=BELOW_1,
            encoder_rate=UP_TO_1,
            fps=POSITIVE,
        )
        if self.warmup_steps >= self.steps:
            raise ConfigError(
                "motion_prediction.warmup_steps must be fewer than motion_prediction.steps, got "
                f"{self.warmup_steps} of {self.steps}"
            )
        if self.recent_frames > self.observed_frames:
            raise ConfigError(
                "motion_prediction.recent_frames are the last of motion_prediction.observed_frames, "
                f"got {self.recent_frames} of {self.observed_frames}"
            )
        if not horizons_within(self.predicted_frames, self.fps):
            raise ConfigError(
                "none of the horizons (80, 160, 320, 400, 560, 720, 880, 1000 ms) falls on one of the "
                f"{self.predicted_frames} forecast frames at {self.fps:g} per second: raise "
                "motion_prediction.predicted_frames, or set motion_prediction.fps to 25 or 50"
            )

    @property
    def learned_frames(self) -> int:
        """Frames that are forecast at a time."""
        return self.predicted_frames if self.mode == "direct" else min(self.step_frames, self.predicted_frames)
