"""The head of a detector: it reads every step of an encoder's time axis; its scores are spread over the frames."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from marrow.models.blocks import initialise_linear
from marrow.models.encoder import Features


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
