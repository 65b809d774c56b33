"""Layers that stay in fp32 under autocast: the first that reads coordinates, and the last that says metres.

Positions in metres have 8 bits in bf16: 16 mm at a distance of 2 to 4 m. A linear layer under autocast would round
them before it multiplies, and the tokens of two neighbouring patches of a joint would differ by rounding noise. Such
layers are narrow at one end, and cost next to nothing.
"""

from jaxtyping import Float
from torch import Tensor, autocast, nn


def widened(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return what a network said in fp32 at least: from here on nothing is rounded to bf16."""
    return values.float() if values.dtype.itemsize < 4 else values


class ExactLinear(nn.Linear):
    """A linear layer between a network and coordinates, in fp32 whatever autocast says. Initialised as `nn.Linear`."""

    def forward(self, input: Float[Tensor, "*rest inputs"]) -> Float[Tensor, "*rest outputs"]:
        """Multiply in fp32."""
        with autocast(input.device.type, enabled=False):
            return super().forward(input.to(self.weight.dtype))
