"""The encoder contract: all that a downstream task ever sees of a method."""

from abc import ABC, abstractmethod
from dataclasses import dataclass


from jaxtyping import Bool, Float
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.window import InputConfig
from marrow.skeleton.layout import Skeleton


@dataclass
class Features:
    """What an encoder says about a batch, on its own grid of time and joint.

    Args:
        tokens: one vector per body, encoder time and encoder joint (1 where the encoder has no joint axis); zero where
            absent.
        present: which tokens exist.
    """

    tokens: Float[Tensor, "batch body time joint dim"]
    present: Bool[Tensor, "batch body time joint"]

    def _mean(self, axes: tuple[int, ...]) -> Float[Tensor, "..."]:
        """Average over axes, over what is present; zero where nothing is."""
        weight = self.present[..., None].to(self.tokens.dtype)
        return (self.tokens * weight).sum(axes) / weight.sum(axes).clamp(min=1.0)

    def pooled(self) -> Float[Tensor, "batch dim"]:
        """Average over bodies, time and joints."""
        return self._mean((1, 2, 3))

    def joints_kept(self) -> Float[Tensor, "batch joint_dim"]:
        """Average over bodies and time, keep the joints side by side."""
        return self._mean((1, 2)).flatten(1)

    def over_time(self) -> Float[Tensor, "batch time dim"]:
        """Average over bodies and joints, keep time."""
        return self._mean((1, 3))


class Encoder(nn.Module, ABC):
    """A network from a batch of windows to features.

    Attributes:
        skeleton: the layout it expects.
        input: the window, stream and alignment it was trained on; part of the encoder, so that it can never be probed
            on another input by mistake.
        dim: length of a feature vector.
        frames_per_token: input frames per step of the encoder's time axis.
    """

    skeleton: Skeleton
    input: InputConfig
    dim: int
    frames_per_token: int

    @abstractmethod
    def forward(self, batch: Batch) -> Features:
        """Encode every present body of a batch."""

    @abstractmethod
    def fresh(self, seed: int) -> "Encoder":
        """Return the same architecture at random initialisation: the baseline beside every score."""


