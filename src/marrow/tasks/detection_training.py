"""Learning to say in each frame of a long recording which action it is part of: windows, head, loss, training.

Windows of a fixed duration are cut out of whole recordings, each is brought into the encoder's own window, and a head
reads every step of the encoder's time axis. Its scores are spread back over the frames of the window; where windows
overlap they are averaged, those weigh most that have the frame in their middle. Nothing says when in the recording a
window lies.
"""

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor, nn

from marrow.data.augment import AugmentConfig
from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.data.recordings import CutLoader, Cuts, Recordings, cut_batches, sliding
from marrow.errors import ConfigError, DataError
from marrow.models.blocks import DropPath, initialise_linear
from marrow.models.encoder import Encoder, Features
from marrow.models.trainable import StepOutput, Trainable
from marrow.skeleton.sequence import Segment
from marrow.tasks.base import TaskContext
from marrow.tasks.recognition import layer_scales
from marrow.train.checkpoint import CheckpointConfig
from marrow.train.logs import read_log
from marrow.train.loop import FitConfig, fit
from marrow.train.optim import OptimizerConfig, adamw
from marrow.train.precision import make_fabric
from marrow.train.schedule import Budget, rise_and_fall


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
        threshold: of a class's probability.
        least_activity: of 1 - the background's probability.
        most_overlap: leave out proposals that overlap a more confident one of their class more than so much; null: all
            remain.
        shuffle_control: predict every test recording a second time, its actions in another order, and score that too.
    """

    encoder: Literal["finetune", "frozen"] = "finetune"
    window_seconds: float = 4.0
    stride_seconds: float = 1.0
    train_stride_seconds: float = 0.2
    steps: int = 200
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
    threshold: float = 0.02
    least_activity: float = 0.4
    most_overlap: float | None = None
    shuffle_control: bool = True

    def __post_init__(self) -> None:
        for name, choices in (("encoder", ("finetune", "frozen")), ("proposals", ("class_runs", "activity_runs"))):
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"action_detection.{name} must be {' or '.join(choices)}, got {getattr(self, name)!r}"
                )
        for name in ("window_seconds", "stride_seconds", "train_stride_seconds"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"action_detection.{name} must be positive, got {getattr(self, name)}")
        if self.stride_seconds > self.window_seconds:
            raise ConfigError(
                "action_detection.stride_seconds must not exceed action_detection.window_seconds, or frames would be "
                "left out; got "
                f"{self.stride_seconds:g} and {self.window_seconds:g}"
            )
        for name in ("steps", "batch_windows", "hidden_width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"action_detection.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("smoothing_frames", "class_balance", "min_learning_rate", "warmup_steps"):
            if getattr(self, name) < 0:
                raise ConfigError(f"action_detection.{name} must not be negative, got {getattr(self, name)}")
        if self.warmup_steps >= self.steps:
            raise ConfigError(
                "action_detection.warmup_steps must be fewer than action_detection.steps, got "
                f"{self.warmup_steps} of {self.steps}; "
                f"for so short a training set action_detection.warmup_steps to {self.steps // 10}, for example"
            )
        for name in ("drop_path", "dropout", "threshold"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"action_detection.{name} must lie in [0, 1), got {getattr(self, name)}")
        for name in ("layer_decay", "least_activity", "most_overlap"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value <= 1.0:
                raise ConfigError(f"action_detection.{name} must lie in (0, 1], got {value}")


def frame_labels(segments: Sequence[Segment], frame_count: int, background: int) -> Int64[np.ndarray, " frame"]:
    """Return the class of every frame, the background where no segment is; of segments that overlap, the later's."""
    labels = np.full(frame_count, background, np.int64)
    for segment in segments:
        labels[segment.start_frame : segment.end_frame] = segment.label
    return labels


def windows_of(recordings: Recordings, seconds: float, stride_seconds: float) -> Cuts:
    """Cover recordings, of whatever frame rates, with windows of one duration."""
    parts = []
    for rate in sorted(set(recordings.fps)):
        place = np.flatnonzero(np.array(recordings.fps) == rate)
        alike = Recordings(
            tuple(recordings.arrays[one] for one in place),
            recordings.row[place],
            (rate,) * len(place),
            recordings.skeleton,
        )
        cuts = sliding(alike, max(2, round(rate * seconds)), max(1, round(rate * stride_seconds)))
        parts.append(np.concatenate([place[cuts[:, :1]], cuts[:, 1:]], axis=1))
    return np.concatenate(parts)


class StepHead(nn.Module):
    """Read every step of an encoder's time axis: Linear, LayerNorm, ReLU, Linear.

    Bodies are averaged, over what is present of each joint; joints stay side by side.

    Args:
        joints: of the features (1 where the encoder has no joint axis).
        dim: length of a feature vector.
        classes: outputs, the background included.
        hidden_width: of the layer between.
    """

    def __init__(self, joints: int, dim: int, classes: int, hidden_width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(joints * dim, hidden_width)
        self.norm = nn.LayerNorm(hidden_width)
        self.classify = nn.Linear(hidden_width, classes)
        initialise_linear(self)

    def forward(
        self, features: Features, kept: Bool[Tensor, "batch hidden"] | None = None, rate: float = 0.0
    ) -> Float[Tensor, "batch time class"]:
        """Return one score per time step and class, before the softmax.

        Args:
            features: from the encoder.
            kept: dropout: which hidden numbers of a window, in all its steps, remain; None: all.
            rate: share of them that does not, for which the others make up.
        """
        weight = features.present[..., None].to(features.tokens.dtype)
        steps = ((features.tokens * weight).sum(1) / weight.sum(1).clamp(min=1.0)).flatten(2)
        hidden = F.relu(self.norm(self.hidden(steps)))
        if kept is not None:
            hidden = hidden * kept[:, None, :] / (1.0 - rate)
        return self.classify(hidden)


def spread(
    scores: Float[Tensor, "batch time class"], share: Float[Tensor, " batch"], length: Int64[Tensor, " batch"]
) -> Float[Tensor, "batch frame class"]:
    """Spread what is said of time steps over the frames of a window, linearly in between.

    Step i of T lies in the middle of the i-th of T equal parts of the window, and a frame in its own middle: frame f of
    L is at (f + 1/2) T / L - 1/2, held at the first and the last step. The same convention resizes the windows.

    Args:
        scores: of the steps.
        share: of the time axis that a window fills; the steps behind it say nothing.
        length: frames of each window as it was cut; frames beyond it repeat its last step.
    """
    filled = share * scores.shape[1]
    frame = torch.arange(int(length.max()), device=scores.device)
    last = (filled.ceil() - 1.0).clamp(min=0.0)[:, None]
    position = ((frame + 0.5) * (filled / length)[:, None] - 0.5).clamp(min=0.0).minimum(last)
    lower = position.floor()
    upper = (lower + 1.0).minimum(last)
    low, high = (
        scores.gather(1, step.to(torch.int64)[:, :, None].expand(-1, -1, scores.shape[2])) for step in (lower, upper)
    )
    return torch.lerp(low, high, (position - lower)[:, :, None].to(scores.dtype))


@dataclass
class DetectionDraw:
    """What is random in a step: residual branches left out, and hidden numbers of the head left out."""

    drop: DropPath | None
    kept: Bool[Tensor, "batch hidden"] | None


class Detection(Trainable):
    """Cross-entropy of frames.

    Args:
        encoder: is trained, or not.
        head: is trained.
        config: rates.
        labels: class of every frame of all recordings, one recording behind the other; -1: says nothing.
        first: place in `labels` of the first frame of every window that may come.
        length: frames of each of those.
        class_weight: of each class in the loss.
    """

    labels: Int64[Tensor, " frame"]
    first: Int64[Tensor, " window"]
    length: Int64[Tensor, " window"]
    class_weight: Float32[Tensor, " class"]

    def __init__(
        self,
        encoder: Encoder,
        head: StepHead,
        config: DetectionConfig,
        labels: Int64[Tensor, " frame"],
        first: Int64[Tensor, " window"],
        length: Int64[Tensor, " window"],
        class_weight: Float32[Tensor, " class"],
    ) -> None:
        super().__init__()
        self.encoder, self.head, self.config = encoder, head, config
        for name, values in (("labels", labels), ("first", first), ("length", length), ("class_weight", class_weight)):
            self.register_buffer(name, values, persistent=False)

    def sample(self, batch: Batch, draws: Draws) -> DetectionDraw:
        """Draw what is left out, each window's by its place in the batch."""
        config, bodies, drop, kept = self.config, batch.joints.shape[1], None, None
        if config.encoder == "finetune" and config.drop_path > 0 and self.encoder.branches > 0:
            drop = DropPath(draws.uniform("drop_path", bodies, self.encoder.branches), config.drop_path)
        if config.dropout > 0:
            kept = draws.uniform("dropout", config.hidden_width) >= config.dropout
        return DetectionDraw(drop, kept)

    def forward(self, batch: Batch, draw: DetectionDraw) -> StepOutput:
        """Compute the loss of the windows' frames, and how many of those are called rightly."""
        scores = self.head(self.encoder(batch, draw.drop), draw.kept, self.config.dropout).float()
        length = self.length[batch.row]
        scores = spread(scores, batch.frames() / batch.joints.shape[2], length)

        frame = torch.arange(scores.shape[1], device=scores.device)
        place = (self.first[batch.row][:, None] + frame).clamp(max=len(self.labels) - 1)
        label = torch.where(frame < length[:, None], self.labels[place], -1)
        counts = (label >= 0) * self.class_weight[label.clamp(min=0)]

        loss = F.cross_entropy(scores.transpose(1, 2), label, ignore_index=-1, reduction="none")
        right = (scores.detach().argmax(2) == label).float()
        metrics = {"train_frame_accuracy_percent": 100.0 * (right * counts).sum()}
        return StepOutput((loss * counts).sum(), counts.sum(), metrics)


@dataclass
class Detector:
    """An encoder and its head: from a recording to the probability of each class in each frame.

    Args:
        encoder: trained or frozen.
        head: trained with it.
        config: windows.
        layer_decay: that was used.
        steps: that were done.
        windows: that were learned from.
        cpu_seconds: processor seconds of the training.
        wall_seconds: likewise on the clock.
    """

    encoder: Encoder
    head: StepHead
    config: DetectionConfig
    layer_decay: float
    steps: int
    windows: int
    cpu_seconds: float
    wall_seconds: float

    @torch.no_grad()
    def predict(self, recordings: Recordings, context: TaskContext) -> list[Float64[np.ndarray, "_frame class"]]:
        """Return the probability of each class, the background last, in each frame; without a body, background."""
        fabric, _ = make_fabric(context.device, context.precision)
        encoder, head = self.encoder.eval(), self.head.eval()
        cuts = windows_of(recordings, self.config.window_seconds, self.config.stride_seconds)
        sums = [np.zeros((frames, head.classify.out_features)) for frames in recordings.frame_count]
        weights = [np.zeros((frames, 1)) for frames in recordings.frame_count]
        for batch in cut_batches(recordings, cuts, encoder.input, context.batch_clips, fabric.device):
            some = cuts[batch.row.cpu().numpy()]
            length = torch.from_numpy(some[:, 2]).to(fabric.device)
            with fabric.autocast():
                scores = head(encoder(batch)).float()
            probability = spread(scores, batch.frames() / batch.joints.shape[2], length).softmax(2).cpu().numpy()
            for (recording, start, frames), values in zip(some.tolist(), probability, strict=True):
                # A window knows its middle best.
                weight = np.minimum(np.arange(frames) + 0.5, frames - np.arange(frames) - 0.5)[:, None]
                sums[recording][start : start + frames] += weight * values[:frames]
                weights[recording][start : start + frames] += weight
        means = [total / weight for total, weight in zip(sums, weights, strict=True)]
        for mean, (_, present) in zip(means, recordings.arrays, strict=True):
            mean[~present.any((0, 2))] = np.eye(mean.shape[1])[-1]
        return means


def train_detector(
    encoder: Encoder,
    recordings: Recordings,
    labels: Sequence[Int64[np.ndarray, " _frame"]],
    class_count: int,
    config: DetectionConfig,
    context: TaskContext,
) -> Detector:
    """Train a copy of an encoder, or leave it as it is, and a head on it.

    Args:
        encoder: where to start; is left as it is.
        recordings: to learn from.
        labels: class of each frame of each of them.
        class_count: with the background, which is the last.
        config: the recipe.
        context: where to compute, seed, limits, and where the encoder comes from.
    """
    fabric, _ = make_fabric(context.device, context.precision)
    if fabric.world_size > 1:
        raise ConfigError(
            f"action detection trains in one process, got {fabric.world_size} (start it without torchrun)"
        )
    fabric.launch()
    encoder = copy.deepcopy(encoder).to(fabric.device)
    encoder.requires_grad_(config.encoder == "finetune")

    # What is learned from: windows in which there is a body, and of those the frames in which there is one.
    has_body = [np.asarray(present).any((0, 2)) for _, present in recordings.arrays]
    cuts = windows_of(recordings, config.window_seconds, config.train_stride_seconds)
    cuts = cuts[[bool(has_body[one][start : start + length].any()) for one, start, length in cuts.tolist()]]
    if len(cuts) == 0:
        raise DataError("there is no body in any training recording")
    known = np.concatenate([np.where(seen, label, -1) for seen, label in zip(has_body, labels, strict=True)])
    offset = np.concatenate([[0], np.cumsum(recordings.frame_count)[:-1]])
    loader = CutLoader(
        recordings,
        cuts,
        encoder.input,
        config.augment or AugmentConfig(),
        batch_clips=min(config.batch_windows, len(cuts)),
        seed=context.seed,
        device=fabric.device,
    )

    # What learns, and how fast each layer of it does.
    detection = Detection(
        encoder,
        _head_for(encoder, recordings, cuts, class_count, config, context.seed),
        config,
        torch.from_numpy(known),
        torch.from_numpy(offset[cuts[:, 0]] + cuts[:, 1]),
        torch.from_numpy(cuts[:, 2].copy()),
        _class_weights(known[known >= 0], class_count, config.class_balance),
    ).to(fabric.device)
    layer_decay = 1.0 if context.origin.source == "random" else config.layer_decay
    optimizer = adamw(detection, config.optimizer, layer_scales(encoder, layer_decay))
    rate = partial(
        rise_and_fall,
        base=config.optimizer.learning_rate,
        minimum=min(config.min_learning_rate, config.optimizer.learning_rate),
        warmup_share=config.warmup_steps / config.steps,
    )

    # Nothing will resume from here: the engine saves once, at the end.
    checkpoints = CheckpointConfig(every_minutes=1e9, keep_last=1)
    budget = Budget(min(config.steps, context.max_steps or config.steps), context.max_minutes)
    settings = FitConfig(budget, checkpoints, config.optimizer.clip_norm)
    with tempfile.TemporaryDirectory(prefix="marrow-detection-") as folder:
        fitted = fit(fabric, detection, optimizer, loader, rate, settings, Path(folder))
        if not fitted.finished:
            raise KeyboardInterrupt
        last = read_log(Path(folder) / "log.jsonl")[-1]
    return Detector(
        encoder.eval(),
        detection.head.eval(),
        config,
        layer_decay,
        fitted.step,
        len(cuts),
        last["cpu_seconds"],
        last["wall_seconds"],
    )


def _head_for(
    encoder: Encoder, recordings: Recordings, cuts: Cuts, class_count: int, config: DetectionConfig, seed: int
) -> StepHead:
    """Make a head for the features that an encoder returns."""
    device = next(encoder.parameters()).device
    with torch.no_grad():
        features = encoder(next(cut_batches(recordings, cuts[:1], encoder.input, 1, device)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StepHead(features.tokens.shape[3], encoder.dim, class_count, config.hidden_width)


def _class_weights(labels: Int64[np.ndarray, " frame"], class_count: int, balance: float) -> Float32[Tensor, " class"]:
    """Return how much a frame of each class counts: its class's share to the power of minus `balance`, mean 1."""
    count = np.bincount(labels, minlength=class_count)
    weight = np.where(count > 0, (np.maximum(count, 1) / count.sum()) ** -balance, 0.0)
    return torch.from_numpy((weight / ((weight * count).sum() / count.sum())).astype(np.float32))
