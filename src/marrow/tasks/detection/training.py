"""Learning to say in each frame of a long recording which action it is part of: windows, loss, training.

Windows of a fixed duration are cut out of whole recordings, each is brought into the encoder's own window, and a head
reads every step of the encoder's time axis. Its scores are spread back over the frames of
the window; where windows overlap they are averaged, those weigh most that have the frame in their middle. Nothing says
when in the recording a window lies.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor, nn

from marrow.data.augment import AugmentConfig
from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.data.recordings import CutLoader, Recordings, cut_batches
from marrow.errors import DataError
from marrow.models.blocks import DropPath, initialise_linear, seeded_weights
from marrow.models.encoder import Encoder, Features
from marrow.models.trainable import StepOutput, Trainable
from marrow.tasks.base import TaskContext
from marrow.tasks.detection.config import DetectionConfig
from marrow.tasks.detection.recordings import windows_of
from marrow.tasks.one_go import choice_for, fit_in_one_go, one_process
from marrow.tasks.recognition.trainable import layer_scales


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
    scores: Float[Tensor, "batch time class"],
    share: Float[Tensor, " batch"],
    length: Int64[Tensor, " batch"],
    longest: int | None = None,
    steps: Int64[Tensor, ""] | None = None,
) -> Float[Tensor, "batch frame class"]:
    """Spread what is said of time steps over the frames of a window, linearly in between.

    Step i of T lies in the middle of the i-th of T equal parts of the window, and a frame in its own middle: frame f of
    L is at (f + 1/2) T / L - 1/2, held at the first and the last step. The same convention resizes the windows.

    Args:
        scores: of the steps.
        share: of the time axis that a window fills; the steps behind it say nothing.
        length: frames of each window as it was cut; frames beyond it repeat its last step.
        longest: how many frames to spread over; None: as many as the longest window has, which is read from the device.
        steps: of the time axis, of which more may have been computed; None: all.
    """
    filled = share * (scores.shape[1] if steps is None else steps)
    frame = torch.arange(int(length.max()) if longest is None else longest, device=scores.device)
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
        self.encoder, self.head, self.config, self._longest = encoder, head, config, int(length.max())
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
        # Where sizes are fixed, the time axis may be longer than any window of the batch: its end is left out.
        length, frames, steps = self.length[batch.row], batch.frames(), None
        if batch.frame_count is not None:
            of_step = self.encoder.frames_per_token
            steps = ((frames.max() + of_step - 1) // of_step).clamp(max=scores.shape[1])
        longest = None if batch.shapes is None else self._longest
        scores = spread(scores, frames / frames.max(), length, longest, steps)

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
        fabric = context.fabric()
        encoder, head = self.encoder.eval(), self.head.eval()
        cuts = windows_of(recordings, self.config.window_seconds, self.config.stride_seconds)
        sums = [np.zeros((frames, head.classify.out_features)) for frames in recordings.frame_count]
        weights = [np.zeros((frames, 1)) for frames in recordings.frame_count]
        for batch in cut_batches(recordings, cuts, encoder.input, context.batch_clips, fabric.device):
            windows = cuts[batch.row.cpu().numpy()]
            length = torch.from_numpy(windows[:, 2]).to(fabric.device)
            with fabric.autocast():
                scores = head(encoder(batch)).float()
            probability = spread(scores, batch.frames() / batch.joints.shape[2], length).softmax(2).cpu().numpy()
            for (recording, start, frames), values in zip(windows.tolist(), probability, strict=True):
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

    The classes of frames are `labels`; of `class_count`, the background is the last.
    """
    fabric, _ = one_process(context, "action detection")
    fabric.launch()
    encoder = copy.deepcopy(encoder).to(fabric.device)
    encoder.requires_grad_(config.encoder == "finetune")

    # What is learned from: windows in which there is a body, and of those the frames in which there is one.
    has_body = [np.asarray(present).any((0, 2)) for _, present in recordings.arrays]
    cuts = windows_of(recordings, config.window_seconds, config.train_stride_seconds)
    cuts = cuts[[bool(has_body[place][start : start + length].any()) for place, start, length in cuts.tolist()]]
    if len(cuts) == 0:
        raise DataError("there is no body in any training recording")
    known = np.concatenate([np.where(seen, label, -1) for seen, label in zip(has_body, labels, strict=True)])
    offset = np.concatenate([[0], np.cumsum(recordings.frame_count)[:-1]])
    choice = choice_for(context, fabric.device.type, config.steps, "Action detection")
    loader = CutLoader(
        recordings,
        cuts,
        encoder.input,
        config.augment or AugmentConfig(),
        batch_clips=min(config.batch_windows, len(cuts)),
        seed=context.seed,
        device=fabric.device,
        fixed=choice.fixed,
    )

    # What learns, and how fast each layer of it does.
    with seeded_weights(context.seed):
        head = StepHead(encoder.feature_shape.joints, encoder.dim, class_count, config.hidden_width)
    detection = Detection(
        encoder,
        head,
        config,
        torch.from_numpy(known),
        torch.from_numpy(offset[cuts[:, 0]] + cuts[:, 1]),
        torch.from_numpy(cuts[:, 2].copy()),
        _class_weights(known[known >= 0], class_count, config.class_balance),
    ).to(fabric.device)
    layer_decay = 1.0 if context.origin.source == "random" else config.layer_decay
    highest = config.optimizer.learning_rate
    lowest = min(config.min_learning_rate, highest)
    scales = layer_scales(encoder, layer_decay)
    fitted = fit_in_one_go(
        *(fabric, detection, scales, loader, config, context, choice), highest_rate=highest, lowest_rate=lowest
    )
    return Detector(
        encoder.eval(),
        detection.head.eval(),
        config,
        layer_decay,
        fitted.step,
        len(cuts),
        fitted.last["cpu_seconds"],
        fitted.last["wall_seconds"],
    )


def _class_weights(labels: Int64[np.ndarray, " frame"], class_count: int, balance: float) -> Float32[Tensor, " class"]:
    """Return how much a frame of each class counts: its class's share to the power of minus `balance`, mean 1."""
    count = np.bincount(labels, minlength=class_count)
    weight = np.where(count > 0, (np.maximum(count, 1) / count.sum()) ** -balance, 0.0)
    return torch.from_numpy((weight / ((weight * count).sum() / count.sum())).astype(np.float32))
