"""Learning to forecast: a head that continues the motion an encoder has seen, its loss, and its training.

What is observed is given to the encoder in the encoder's own window; what is forecast is a displacement from the last
observed pose, at the frame rate of the task. The head says it in few numbers per joint, the weights of slow functions
of time that are zero at the last observed frame: forecasts begin where the observation ends, and cannot tremble. To
that it adds a share, learned for each frame, of going on with the last observed velocity.

All of it happens in the encoder's aligned coordinates, and the alignment comes from the observed frames alone. The way
back into metres of the source is taken for the displacement, which is then added to the pose as it was recorded.
"""

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor, nn

from marrow.data.augment import AugmentConfig
from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.data.frames import ClipArrays, FlatFrames, flat_from_arrays
from marrow.data.loader import evaluation_batch
from marrow.data.recordings import CutLoader, Cuts, Recordings, uncropped
from marrow.data.sampling import Windows, gather
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.blocks import initialise_linear
from marrow.models.encoder import Encoder, Features
from marrow.models.trainable import StepOutput, Trainable
from marrow.skeleton.layout import Skeleton
from marrow.tasks.base import TaskContext
from marrow.tasks.prediction_metrics import horizons_within
from marrow.train.checkpoint import CheckpointConfig
from marrow.train.logs import read_log
from marrow.train.loop import FitConfig, fit
from marrow.train.optim import OptimizerConfig, adamw
from marrow.train.precision import choose_precision, make_fabric
from marrow.train.schedule import Budget, rise_and_fall


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
        recent_frames: last observed frames that the head reads as they are, besides what the encoder says.
        functions: slow functions of time that a joint's forecast is made of.
        dropout: share of the head's hidden numbers that is left out in training.
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
    test_stride: int = 5
    steps: int = 500
    batch_windows: int = 32
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=1e-3, betas=(0.9, 0.999), weight_decay=0.05, clip_norm=1.0
        )
    )
    warmup_steps: int = 30
    min_learning_rate: float = 1e-5
    encoder_rate: float = 0.3
    hidden_width: int = 512
    recent_frames: int = 10
    functions: int = 10
    dropout: float = 0.1
    velocity_weight: float = 1.0
    augment: AugmentConfig | None = None

    def __post_init__(self) -> None:
        smallest = {
            **dict.fromkeys(("predicted_frames", "step_frames", "train_stride", "test_stride", "steps"), 1),
            **dict.fromkeys(("batch_windows", "hidden_width", "functions"), 1),
            **dict.fromkeys(("observed_frames", "recent_frames"), 2),
            "warmup_steps": 0,
        }
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise ConfigError(f"motion_prediction.{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("min_learning_rate", "velocity_weight"):
            if getattr(self, name) < 0.0:
                raise ConfigError(f"motion_prediction.{name} must not be negative, got {getattr(self, name)}")
        if self.mode not in ("direct", "autoregressive"):
            raise ConfigError(f"motion_prediction.mode must be direct or autoregressive, got {self.mode!r}")
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"motion_prediction.dropout must lie in [0, 1), got {self.dropout}")
        if not 0.0 < self.encoder_rate <= 1.0:
            raise ConfigError(f"motion_prediction.encoder_rate must lie in (0, 1], got {self.encoder_rate}")
        if self.fps <= 0:
            raise ConfigError(f"motion_prediction.fps must be positive, got {self.fps}")
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


def held(
    joints: Float[Tensor, "batch body time joint 3"], present: Bool[Tensor, "batch body time joint"]
) -> Float[Tensor, "batch body time joint 3"]:
    """Let every joint stay where it was last seen, and where it will first be seen before that; zero if it never is."""
    frame = torch.arange(joints.shape[2], device=joints.device)[:, None].expand_as(present)
    last = torch.where(present, frame, -1).cummax(dim=2).values
    first = torch.where(present, frame, joints.shape[2] - 1).amin(dim=2, keepdim=True)
    source = torch.where(last >= 0, last, first)
    return torch.where(present[..., None], joints, 0.0).gather(2, source[..., None].expand_as(joints))


def centre_of(skeleton: Skeleton) -> int:
    """Return the joint that root-centred positions are relative to: the skeleton's centre, else its first root."""
    roots = [joint for joint, parent in enumerate(skeleton.parents) if joint == parent]
    return skeleton.anchors.get("centre", roots[0] if roots else 0)


def slow_functions(frames: int, count: int) -> Float32[Tensor, "frame function"]:
    """Return sines that are zero at the last observed frame, t = 0, and level at the last forecast one, t = F.

    Number k is sin((k + 1/2) pi t / F), t = 1..F; with as many as frames they can say everything.
    """
    time = torch.arange(1, frames + 1)[:, None]
    return torch.sin((torch.arange(min(count, frames)) + 0.5) * torch.pi * time / frames)


class ForecastHead(nn.Module):
    """From features and the last observed poses to displacements from the last of them.

    It reads the encoder's last tokens with joints kept, the average of all tokens (its summary, where it has one), the
    last pose about its centre, and how the poses before it differ from it. One hidden layer, then one more beside it.

    Args:
        token_joints: joints of the encoder's tokens.
        dim: length of a token.
        joints: that are forecast.
        centre: the joint that poses are relative to.
        frames: that are forecast.
        config: widths.
    """

    functions: Float32[Tensor, "frame function"]

    def __init__(
        self, token_joints: int, dim: int, joints: int, centre: int, frames: int, config: PredictionConfig
    ) -> None:
        super().__init__()
        self.centre, self.recent_frames, self.hidden_width = centre, config.recent_frames, config.hidden_width
        read = (token_joints + 1) * dim
        self.register_buffer("functions", slow_functions(frames, config.functions), persistent=False)
        self.norm = nn.LayerNorm(read)
        self.read = nn.Linear(read, config.hidden_width)
        self.see = nn.Linear(config.recent_frames * joints * 3, config.hidden_width)
        self.deepen = nn.Sequential(
            nn.LayerNorm(config.hidden_width), nn.Linear(config.hidden_width, config.hidden_width), nn.GELU()
        )
        self.say = nn.Linear(config.hidden_width, self.functions.shape[1] * joints * 3)
        self.carry_on = nn.Parameter(torch.zeros(frames))
        initialise_linear(self)
        # Before it has learned anything, it says that nothing moves.
        nn.init.zeros_(self.say.weight)

    def forward(
        self,
        features: Features,
        poses: Float[Tensor, "batch body time joint 3"],
        kept: Bool[Tensor, "batch body hidden"] | None = None,
        rate: float = 0.0,
    ) -> Float[Tensor, "batch body frame joint 3"]:
        """Return the displacement of every joint from the last pose.

        Args:
            features: of the observed frames.
            poses: observed, without gaps.
            kept: dropout: which hidden numbers remain; None: all.
            rate: share of them that does not, for which the others make up.
        """
        recent = poses[:, :, -self.recent_frames :]
        last = recent[:, :, -1:]
        pose = last - last[..., self.centre, None, :]
        seen = torch.cat((pose, recent[:, :, :-1] - last), dim=2).flatten(2)
        hidden = F.gelu(self.read(self.norm(_last_and_mean(features))) + self.see(seen))
        if kept is not None:
            hidden = hidden * kept / (1.0 - rate)
        hidden = hidden + self.deepen(hidden)
        # Millimetres in metres: from here on nothing is rounded to bf16.
        weights = self.say(hidden).float().unflatten(2, (self.functions.shape[1], -1))
        with torch.autocast(weights.device.type, enabled=False):
            moved = (self.functions @ weights).unflatten(3, (-1, 3))
        velocity = recent[:, :, -1] - recent[:, :, -2]
        return moved + self.carry_on[:, None, None] * velocity[:, :, None]


def _last_and_mean(features: Features) -> Float[Tensor, "batch body read"]:
    """Put the tokens of each body's last time, side by side, before the body's summary or average."""
    time = torch.arange(features.tokens.shape[2], device=features.tokens.device)
    exists = features.present.any(3)
    last = torch.where(exists, time, 0).amax(2)[:, :, None, None, None]
    tokens = features.tokens.gather(2, last.expand(-1, -1, 1, *features.tokens.shape[3:])).flatten(2)
    mean = features.summary
    if mean is None:
        weight = features.present[..., None].to(features.tokens.dtype)
        mean = (features.tokens * weight).sum((2, 3)) / weight.sum((2, 3)).clamp(min=1.0)
    return torch.cat((tokens, mean), dim=2)


def encoder_batch(
    joints: Float[Tensor, "batch body time joint 3"],
    present: Bool[Tensor, "batch body time joint"],
    input: InputConfig,
    skeleton: Skeleton,
) -> Batch:
    """Fit aligned frames into an encoder's window, at its pace and as its stream."""
    clips, bodies, times = present.shape[:3]
    count = torch.full((clips,), 1, device=joints.device)
    frames = FlatFrames(
        joints=joints.flatten(0, 2),
        present=present.flatten(0, 2),
        first=torch.arange(clips, device=joints.device) * (bodies * times),
        frame_count=count * times,
        body_count=count * bodies,
        label=-count,
        row=torch.arange(clips, device=joints.device),
        matrix=torch.eye(3, device=joints.device).expand(clips, 3, 3).contiguous(),
        origin=torch.zeros((clips, 3), device=joints.device),
        max_bodies=bodies,
        skeleton=skeleton,
    )
    return evaluation_batch(frames, frames.row, replace(input, test_crop=1.0))


class Forecasting(Trainable):
    """The distance of forecasts from what came, in position and in velocity.

    A batch is whole windows, observed and then future frames, at the frame rate of the task. A window's loss is the
    mean distance over its joints and future frames, in the unit of the alignment, and as much again for the distance
    between the steps from frame to frame. What is absent in the future, or was never observed, is left out.

    Args:
        encoder: is trained.
        head: is trained with it.
        config: frames and weights.
        bf16: whether matrices are multiplied in bf16. It is said here, not to Fabric, which would round the batch too:
            by up to 4 millimetres at a distance of 1 metre.
    """

    def __init__(self, encoder: Encoder, head: ForecastHead, config: PredictionConfig, bf16: bool = False) -> None:
        super().__init__()
        self.encoder, self.head, self.config, self.bf16 = encoder, head, config, bf16

    def sample(self, batch: Batch, draws: Draws) -> Bool[Tensor, "batch body hidden"] | None:
        """Draw which hidden numbers of the head remain."""
        if self.config.dropout == 0:
            return None
        return draws.uniform("dropout", batch.joints.shape[1], self.head.hidden_width) >= self.config.dropout

    def displacement(
        self,
        joints: Float[Tensor, "batch body time joint 3"],
        present: Bool[Tensor, "batch body time joint"],
        kept: Bool[Tensor, "batch body hidden"] | None = None,
    ) -> Float[Tensor, "batch body frame joint 3"]:
        """Forecast from aligned, observed frames."""
        batch = encoder_batch(joints, present, self.encoder.input, self.encoder.skeleton)
        with torch.autocast(joints.device.type, torch.bfloat16, enabled=self.bf16):
            return self.head(self.encoder(batch), held(joints, present), kept, self.config.dropout).float()

    def forward(self, batch: Batch, draw: Bool[Tensor, "batch body hidden"] | None) -> StepOutput:
        """Compute the loss of windows."""
        # What is observed, and what is forecast from it.
        observed = self.config.observed_frames
        joints, present = batch.joints[:, :, :observed], batch.present[:, :, :observed]
        forecast = self.displacement(joints, present, draw)

        # What came, as a displacement too.
        truth = batch.joints[:, :, observed:] - held(joints, present)[:, :, -1:]
        known = batch.present[:, :, observed:] & present.any(2, keepdim=True)

        # How far apart they are. The first step begins at the last observed pose, where both are zero.
        error = torch.where(known[..., None], forecast - truth, 0.0)
        both = known.clone()
        both[:, :, 1:] &= known[:, :, :-1]
        step = torch.where(both[..., None], error.diff(dim=2, prepend=torch.zeros_like(error[:, :, :1])), 0.0)
        position = _mean_length(error, known)
        loss = position + self.config.velocity_weight * _mean_length(step, both)
        counts = known.flatten(1).any(1).to(loss.dtype)
        return StepOutput(loss.sum(), counts.sum(), {"train_error": position.detach().sum()})


def _mean_length(
    vectors: Float[Tensor, "batch body frame joint 3"], counted: Bool[Tensor, "batch body frame joint"]
) -> Float[Tensor, " batch"]:
    """Average the lengths of the vectors that count; the gradient of a zero vector is zero."""
    length = (vectors.square().sum(-1) + 1e-12).sqrt() * counted
    return length.flatten(1).sum(1) / counted.flatten(1).sum(1).clamp(min=1)


@dataclass
class TrainedForecaster:
    """What came of a training.

    Args:
        forecasting: encoder and head, in evaluation mode.
        steps: that were done.
        cpu_seconds: of the training.
        augment: that was used.
    """

    forecasting: Forecasting
    steps: int
    cpu_seconds: float
    augment: AugmentConfig

    @torch.inference_mode()
    def forecast(self, observed: Sequence[ClipArrays]) -> Float64[np.ndarray, "window body frame joint 3"]:
        """Continue observed frames, all of one number, in the coordinates in which they are.

        Args:
            observed: positions in metres and flags of each window.
        """
        config, encoder = self.forecasting.config, self.forecasting.encoder
        device = next(encoder.parameters()).device
        parts, frames = [], 0
        while frames < config.predicted_frames:
            flat = flat_from_arrays(observed, encoder.skeleton, encoder.input, device, row=np.arange(len(observed)))
            aligned, present = _whole(flat, config.observed_frames)
            moved = self.forecasting.displacement(aligned, present).double()
            back = torch.linalg.inv(flat.matrix.double())[:, None, None, None]
            moved = (back @ moved[..., None])[..., 0]
            recorded = replace(flat, matrix=torch.eye(3, device=flat.device).expand_as(flat.matrix))
            last = held(*_whole(replace(recorded, origin=torch.zeros_like(flat.origin)), config.observed_frames))
            part = (last[:, :, -1:].double() + moved).cpu().numpy()
            parts.append(part)
            frames += part.shape[2]
            observed = [_observe(clip, after) for clip, after in zip(observed, part, strict=True)]
        return np.concatenate(parts, axis=2)[:, :, : config.predicted_frames]


def _whole(
    flat: FlatFrames, frames: int
) -> tuple[Float32[Tensor, "batch body time joint 3"], Bool[Tensor, "batch body time joint"]]:
    """Align clips as they are, frame for frame."""
    clips = torch.arange(len(flat), device=flat.device)
    return gather(flat, clips, Windows(torch.zeros_like(clips), torch.full_like(clips, frames)), frames)


def _observe(clip: ClipArrays, forecast: Float64[np.ndarray, "body frame joint 3"]) -> ClipArrays:
    """Move the observation on by what was forecast; a joint that was never seen is not seen now."""
    joints, present = clip
    bodies, count = present.shape[0], forecast.shape[1]
    after = np.repeat(present.any(1, keepdims=True), count, axis=1)
    joints = np.concatenate([joints, forecast[:bodies].astype(np.float32)], axis=1)
    present = np.concatenate([present, after], axis=1)
    return joints[:, count:], present[:, count:]


def train_forecaster(
    encoder: Encoder, recordings: Recordings, cuts: Cuts, config: PredictionConfig, context: TaskContext
) -> TrainedForecaster:
    """Train a copy of an encoder and a head.

    Args:
        encoder: where to start; is left as it is.
        recordings: at the frame rate of the task.
        cuts: training windows, observed and learned frames together.
        config: the recipe.
        context: where to compute, seed, limits, and where the encoder comes from.
    """
    fabric, _ = make_fabric(context.device, "fp32")
    bf16 = choose_precision(context.precision, fabric.device.type).fabric == "bf16-mixed"
    if fabric.world_size > 1:
        raise ConfigError(
            f"motion prediction trains in one process, got {fabric.world_size} (start it without torchrun)"
        )
    fabric.launch()
    encoder = copy.deepcopy(encoder).to(fabric.device)
    frames = config.observed_frames + config.learned_frames
    augment = _turned_only(config.augment or context.origin.augment or AugmentConfig())
    # Windows are resized to as many frames as they have, which leaves them as they are.
    whole = replace(encoder.input, window_frames=frames, stream="joint", pace="resized")
    batch_windows = min(config.batch_windows, len(cuts))
    cut = {"batch_clips": batch_windows, "seed": context.seed, "device": fabric.device}
    loader = CutLoader(recordings, cuts, whole, augment, aligned_by=config.observed_frames, **cut)

    head = _head_for(encoder, recordings, cuts, config, context.seed, fabric.device)
    forecasting = Forecasting(encoder, head, config, bf16)
    rate = 1.0 if context.origin.source == "random" else config.encoder_rate
    optimizer = adamw(forecasting, config.optimizer, dict.fromkeys(encoder.parameters(), rate))
    schedule = partial(
        rise_and_fall,
        base=config.optimizer.learning_rate * config.optimizer.scale(batch_windows),
        minimum=config.min_learning_rate,
        warmup_share=config.warmup_steps / config.steps,
    )
    budget = Budget(min(config.steps, context.max_steps or config.steps), context.max_minutes)
    settings = FitConfig(budget, CheckpointConfig(every_minutes=1e9, keep_last=1), config.optimizer.clip_norm)
    with tempfile.TemporaryDirectory(prefix="marrow-prediction-") as folder:
        fitted = fit(fabric, forecasting, optimizer, loader, schedule, settings, Path(folder))
        if not fitted.finished:
            raise KeyboardInterrupt
        seconds = read_log(Path(folder) / "log.jsonl")[-1]["cpu_seconds"]
    return TrainedForecaster(forecasting.eval(), fitted.step, float(seconds), augment)


def _turned_only(augment: AugmentConfig) -> AugmentConfig:
    """Return an augmentation that does to a whole window, observed and future, one and the same linear thing."""
    return replace(uncropped(augment), mirror_probability=0.0, jitter_metres=0.0)


def _head_for(
    encoder: Encoder, recordings: Recordings, cuts: Cuts, config: PredictionConfig, seed: int, device: torch.device
) -> ForecastHead:
    """Make a head for the features that an encoder returns."""
    recording, start, _ = cuts[0].tolist()
    first = recordings.cut(recording, start, config.observed_frames)
    flat = flat_from_arrays([first], encoder.skeleton, encoder.input, device, row=np.zeros(1, np.int64))
    with torch.no_grad():
        aligned = _whole(flat, config.observed_frames)
        features = encoder(encoder_batch(*aligned, encoder.input, encoder.skeleton))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = ForecastHead(
            features.tokens.shape[3],
            features.tokens.shape[4],
            len(encoder.skeleton.joints),
            centre_of(encoder.skeleton),
            config.learned_frames,
            config,
        )
    return head.to(device)
