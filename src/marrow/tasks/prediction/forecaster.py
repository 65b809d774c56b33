"""An encoder and a head that forecast: from observed windows to what follows them, and how far off that is.

What is observed is given to the encoder in the encoder's own window; what is forecast is a displacement from the last
observed pose, at the frame rate of the task. The head says it in few numbers per joint, the weights of slow functions
of time, which are zero at the last observed frame: forecasts begin where the observation ends, and cannot tremble. That
is added to a forecast by least squares (`baselines.py`), and is zero before training: the head and the encoder learn
what the last steps alone do not tell.

All of it happens in the encoder's aligned coordinates, and the alignment comes from the observed frames alone. The way
back into metres of the source is taken for the displacement, which is then added to the pose as it was recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Float64
from lightning_fabric import Fabric
from torch import Tensor, nn

from marrow.data.augment import AugmentConfig
from marrow.data.batch import Batch, Shapes
from marrow.data.draws import Draws
from marrow.data.frames import ClipArrays, FlatFrames, flat_from_arrays
from marrow.data.gather import gather
from marrow.data.window import InputConfig, Windows
from marrow.models.blocks import ExactLinear, initialise_linear
from marrow.models.encoder import Encoder, Features
from marrow.models.trainable import StepOutput, Trainable
from marrow.skeleton.derived import with_derived_places
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.streams import bone
from marrow.tasks.prediction.baselines import continued
from marrow.tasks.prediction.config import PredictionConfig
from marrow.tasks.prediction.windows import held


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
        weights: of the last steps, a row per frame that is forecast, from `fit_weights`; zeros: the last pose stays.
        config: widths.
        summary_dim: length of the encoder's summary; None: it has none.
    """

    functions: Float32[Tensor, "frame function"]
    weights: Float32[Tensor, "2 frame step"]

    def __init__(
        self,
        token_joints: int,
        dim: int,
        joints: int,
        centre: int,
        weights: Float32[Tensor, "2 frame step"],
        config: PredictionConfig,
        summary_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.centre, self.recent_frames, self.hidden_width = centre, config.recent_frames, config.hidden_width
        read = token_joints * dim + (summary_dim or dim)
        self.register_buffer("functions", slow_functions(weights.shape[1], config.functions), persistent=False)
        self.register_buffer("weights", weights)
        self.norm = nn.LayerNorm(read)
        self.read = nn.Linear(read, config.hidden_width)
        self.see = ExactLinear(config.recent_frames * joints * 3, config.hidden_width)
        self.deepen = nn.Sequential(
            nn.LayerNorm(config.hidden_width), nn.Linear(config.hidden_width, config.hidden_width), nn.GELU()
        )
        self.say = ExactLinear(config.hidden_width, self.functions.shape[1] * joints * 3)
        initialise_linear(self)
        # Before it has learned anything, it says what the weights say.
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
        weights = self.say(hidden).unflatten(2, (self.functions.shape[1], -1))
        # Millimetres in metres: products of positions are not for bf16.
        with torch.autocast(weights.device.type, enabled=False):
            return continued(self.weights, poses, self.centre) + (self.functions @ weights).unflatten(3, (-1, 3))


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


class Forecasting(Trainable):
    """The distance of forecasts from what came, in position and in velocity.

    A batch is whole windows, observed and then future frames, at the frame rate of the task. A window's loss is the
    mean distance over its joints and future frames, in the unit of the alignment; to it come the same distance with
    both bodies' centres in one place, and that between the steps from frame to frame. What is absent in the future, or
    was never observed, is left out.

    Args:
        encoder: is trained.
        head: is trained with it.
        config: frames and weights.
    """

    def __init__(self, encoder: Encoder, head: ForecastHead, config: PredictionConfig) -> None:
        super().__init__()
        self.encoder, self.head, self.config = encoder, head, config

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
        shapes: Shapes | None = None,
    ) -> Float[Tensor, "batch body frame joint 3"]:
        """Forecast from aligned, observed frames."""
        batch = encoder_batch(joints, present, self.encoder.input, self.encoder.skeleton, shapes)
        return self.head(self.encoder(batch), held(joints, present), kept, self.config.dropout)

    def forward(self, batch: Batch, draw: Bool[Tensor, "batch body hidden"] | None) -> StepOutput:
        """Compute the loss of windows."""
        # What is observed, and what is forecast from it.
        observed = self.config.observed_frames
        joints, present = batch.joints[:, :, :observed], batch.present[:, :, :observed]
        forecast = self.displacement(joints, present, draw, batch.shapes)

        # What came, as a displacement too.
        truth = batch.joints[:, :, observed:] - held(joints, present)[:, :, -1:]
        known = batch.present[:, :, observed:] & present.any(2, keepdim=True)

        # How far apart they are. The first step begins at the last observed pose, where both are zero.
        error = torch.where(known[..., None], forecast - truth, 0.0)
        is_first = torch.arange(known.shape[2], device=known.device)[:, None] == 0
        both = known & (is_first | known.roll(1, dims=2))
        step = torch.where(both[..., None], error.diff(dim=2, prepend=torch.zeros_like(error[:, :, :1])), 0.0)
        centre = self.head.centre
        centred, seen = error - error[..., centre, None, :], known & known[..., centre, None]
        position = _mean_length(error, known)
        loss = (
            position
            + self.config.centred_weight * _mean_length(centred, seen)
            + self.config.velocity_weight * _mean_length(step, both)
        )
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
        fabric: whose device and precision they compute in.
        steps: that were done.
        cpu_seconds: of the training.
        augment: that was used.
    """

    forecasting: Forecasting
    fabric: Fabric
    steps: int
    cpu_seconds: float
    augment: AugmentConfig

    @torch.inference_mode()
    def forecast(self, observed: Sequence[ClipArrays]) -> Float64[np.ndarray, "window body frame joint 3"]:
        """Continue observed frames, all of one number, in the coordinates in which they are."""
        config, encoder = self.forecasting.config, self.forecasting.encoder
        device = self.fabric.device
        parts, frames = [], 0
        while frames < config.predicted_frames:
            known = {"fps": [config.fps] * len(observed), "row": np.arange(len(observed))}
            flat = flat_from_arrays(observed, encoder.skeleton, encoder.input, device, **known)
            aligned, present = aligned_whole(flat, config.observed_frames)
            with self.fabric.autocast():
                moved = self.forecasting.displacement(aligned, present).double()
            back = torch.linalg.inv(flat.matrix.double())[:, None, None, None]
            moved = (back @ moved[..., None])[..., 0]
            recorded = replace(flat, matrix=torch.eye(3, device=flat.device).expand_as(flat.matrix))
            last = held(*aligned_whole(replace(recorded, origin=torch.zeros_like(flat.origin)), config.observed_frames))
            part = with_derived_places((last[:, :, -1:].double() + moved).cpu().numpy(), encoder.skeleton)
            parts.append(part)
            frames += part.shape[2]
            observed = [_observe(clip, after) for clip, after in zip(observed, part, strict=True)]
        return np.concatenate(parts, axis=2)[:, :, : config.predicted_frames]


def _observe(clip: ClipArrays, forecast: Float64[np.ndarray, "body frame joint 3"]) -> ClipArrays:
    """Move the observation on by what was forecast; a joint that was never seen is not seen now."""
    joints, present = clip
    bodies, count = present.shape[0], forecast.shape[1]
    after = np.repeat(present.any(1, keepdims=True), count, axis=1)
    joints = np.concatenate([joints, forecast[:bodies].astype(np.float32)], axis=1)
    present = np.concatenate([present, after], axis=1)
    return joints[:, count:], present[:, count:]


def aligned_whole(
    flat: FlatFrames, frames: int
) -> tuple[Float32[Tensor, "batch body time joint 3"], Bool[Tensor, "batch body time joint"]]:
    """Align clips as they are, frame for frame."""
    clips = torch.arange(len(flat), device=flat.device)
    return gather(flat, clips, Windows(torch.zeros_like(clips), torch.full_like(clips, frames)), frames)


def encoder_batch(
    joints: Float[Tensor, "batch body time joint 3"],
    present: Bool[Tensor, "batch body time joint"],
    input: InputConfig,
    skeleton: Skeleton,
    shapes: Shapes | None = None,
) -> Batch:
    """Fit aligned frames into an encoder's window, at its pace and as its stream.

    All windows have the same frames, so that their numbers are known beforehand, and these operations may be part of a
    graph. They give what `marrow.data.gather.gather` and `marrow.skeleton.streams` give, to the last bit.
    """
    clips, times = present.shape[0], present.shape[2]
    is_resized = input.pace == "resized"
    window = input.window_frames if is_resized else min(max(times, input.min_frames), input.window_frames)
    joints, present = _resized(joints, present, window)
    if input.stream in ("bone", "bone_motion"):
        joints, present = bone(joints, present, skeleton)
    if input.stream in ("motion", "bone_motion"):
        joints, present = _motion(joints, present)
    row = torch.arange(clips, device=joints.device)
    frame_count = None if is_resized else torch.full_like(row, window)
    return Batch(joints, present, torch.full_like(row, -1), row, frame_count, shapes)


def _resized(
    joints: Float[Tensor, "batch body time joint 3"], present: Bool[Tensor, "batch body time joint"], window: int
) -> tuple[Float[Tensor, "batch body window joint 3"], Bool[Tensor, "batch body window joint"]]:
    """Resize windows linearly: of N frames, number i lies at ((2i + 1) L - N) / 2N of L, held inside of them."""
    times, double = present.shape[2], 2 * window
    numerator = (2 * torch.arange(window, device=joints.device) + 1) * times - window
    numerator = numerator.clamp(0, double * (times - 1))
    # A quotient of floats, exact up to 2^24: compilers stumble over whole ones in an index.
    lower = (numerator / double).floor().to(torch.int64)
    rest = numerator - lower * double
    upper, weight = lower + (rest > 0), rest.to(torch.float32)[:, None, None] / double
    seen = present[:, :, lower] & present[:, :, upper]
    low, high = joints[:, :, lower], joints[:, :, upper]
    return torch.where(seen[..., None], low + weight * (high - low), 0.0), seen


def _motion(
    joints: Float[Tensor, "batch body time joint 3"], present: Bool[Tensor, "batch body time joint"]
) -> tuple[Float[Tensor, "batch body time joint 3"], Bool[Tensor, "batch body time joint"]]:
    """Return the next frame minus this one; the last frame gets zero. No slice is written into: compilers stumble."""
    following = torch.arange(1, present.shape[2] + 1, device=joints.device).clamp(max=present.shape[2] - 1)
    both = present & present[:, :, following]
    return (joints[:, :, following] - joints) * both[..., None], both
