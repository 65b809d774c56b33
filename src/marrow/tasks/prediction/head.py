"""The head of a forecaster: what is forecast, in few numbers per joint, the weights of slow functions of time.

The functions are zero at the last observed frame: forecasts begin where the observation ends, and cannot tremble. What
they say is added to a forecast by least squares (`tasks/prediction_linear.py`), and is zero before training: the head
and the encoder learn what the last steps alone do not tell.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn

from marrow.models.blocks import ExactLinear, initialise_linear
from marrow.models.encoder import Features
from marrow.tasks.prediction.config import PredictionConfig
from marrow.tasks.prediction.linear import continued


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
    ) -> None:
        super().__init__()
        self.centre, self.recent_frames, self.hidden_width = centre, config.recent_frames, config.hidden_width
        read = (token_joints + 1) * dim
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
        said = self.say(hidden).unflatten(2, (self.functions.shape[1], -1))
        # Millimetres in metres: products of positions are not for bf16.
        with torch.autocast(said.device.type, enabled=False):
            return continued(self.weights, poses, self.centre) + (self.functions @ said).unflatten(3, (-1, 3))


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
