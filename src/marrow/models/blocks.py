"""What the networks are built of: pre-norm transformer blocks, what is left out in training, initial values.

Layers between a network and coordinates stay in fp32 under autocast (`ExactLinear`): the first that reads coordinates,
and the last that says metres. Positions in metres have 8 bits in bf16, 16 mm at a distance of 2 to 4 m: a linear layer
under autocast would round them before it multiplies, and the tokens of two neighbouring patches of a joint would differ
by rounding noise. Such layers are narrow at one end, and cost next to nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from marrow.data.draws import hashed
from marrow.models.attention import Attention, CrossAttention
from marrow.models.packing import pack

_DECISIONS_PER_HASH = 4  # of 16 bits each


class _GeluLinear(torch.autograd.Function):
    """linear(gelu(hidden)) that keeps `hidden` for the gradient and not its GELU, which is computed a second time.

    The two are equally large and together half of what a step keeps; computing the GELU again costs 1 % of its time.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        return F.linear(F.gelu(hidden), weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (of_output,) = gradients
        hidden, weight = ctx.saved_tensors
        rows = of_output.flatten(0, -2)
        of_weight = rows.T @ F.gelu(hidden).flatten(0, -2)
        of_activated = of_output @ weight.to(of_output.dtype)
        return torch.ops.aten.gelu_backward(of_activated, hidden), of_weight, rows.sum(0)


class MLP(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, int(width * ratio))
        self.fc2 = nn.Linear(int(width * ratio), width)

    def forward(self, tokens: Float[Tensor, "body token dim"]) -> Float[Tensor, "body token dim"]:
        """Transform every token by itself."""
        if tokens.is_cuda:  # which has the memory: computing the GELU twice is a tenth of the time of its kernels
            return self.fc2(F.gelu(self.fc1(tokens)))
        return _GeluLinear.apply(self.fc1(tokens), self.fc2.weight, self.fc2.bias)


class Block(nn.Module):
    """Pre-norm transformer block: x += attention(norm(x)); x += mlp(norm(x))."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, mlp_ratio)

    def forward(
        self,
        tokens: Float[Tensor, "body token dim"],
        *,
        queries_from: int = 0,
        may_attend: Bool[Tensor, "body token"] | None = None,
        allowed: Bool[Tensor, "#body 1 #query token"] | None = None,
        factors: Float[Tensor, "2 body 1 1"] | None = None,
    ) -> Float[Tensor, "body query dim"]:
        """Return the tokens from `queries_from` on, after they have attended to all.

        Args:
            tokens: of each body.
            queries_from: the first token that is wanted.
            may_attend: which tokens exist; None when all do.
            allowed: in place of `may_attend` where a query decides, too, what it may attend to (causal attention).
            factors: what the two branches of each body are multiplied by (`DropPath`); None: nothing.
        """
        attended = self.attn(self.norm1(tokens), queries_from=queries_from, may_attend=may_attend, allowed=allowed)
        if factors is None:
            tokens = tokens[:, queries_from:] + attended
            return tokens + self.mlp(self.norm2(tokens))
        tokens = tokens[:, queries_from:] + factors[0] * attended
        return tokens + factors[1] * self.mlp(self.norm2(tokens))


class CrossBlock(nn.Module):
    """Pre-norm block whose tokens ask a memory and not each other: x += cross(norm(x), memory); x += mlp(norm(x))."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = CrossAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, mlp_ratio)

    def forward(
        self,
        tokens: Float[Tensor, "one_or_body query dim"],
        memory: Float[Tensor, "body key dim"],
        *,
        may_attend: Bool[Tensor, "body key"] | None = None,
    ) -> Float[Tensor, "body query dim"]:
        """Return the tokens after they have asked the memory.

        Args:
            tokens: of each body, or once for all of them.
            memory: what they ask; it stays as it is.
            may_attend: which tokens of the memory exist; None when all do.
        """
        tokens = tokens + self.attn(self.norm1(tokens), memory, may_attend)
        return tokens + self.mlp(self.norm2(tokens))


@dataclass
class DropPath:
    """Which residual branches are left out in a step: stochastic depth (Huang et al. 2016, arXiv 1603.09382).

    Args:
        uniform: a draw from [0, 1) per clip, body and branch, branches numbered from the input on. A branch is left out
            for a body whose draw is below the branch's rate.
        highest_rate: rate of the last block; the others rise to it linearly, from 0 for the first.
    """

    uniform: Float[Tensor, "batch body branch"]
    highest_rate: float

    def factors(self, depth: int, body: Int64[Tensor, " packed"]) -> Float[Tensor, "branch packed 1 1"]:
        """Return a factor for each branch of each packed body: 0, or 1 / (1 - rate), so that the mean is 1.

        Args:
            depth: blocks, of two branches each, which share the rate of their block.
            body: numbers of the packed bodies.
        """
        rate = self.highest_rate * torch.linspace(0.0, 1.0, depth, device=body.device).repeat_interleave(2)
        kept = pack(self.uniform, body) >= rate
        return (kept / (1.0 - rate)).T[:, :, None, None]


def pair_of(factors: Float[Tensor, "branch item 1 1"] | None, layer: int) -> Float[Tensor, "2 item 1 1"] | None:
    """Return the factors of a layer's two branches; None where nothing is left out."""
    return None if factors is None else factors[2 * layer : 2 * layer + 2]


@dataclass
class Dropout:
    """Which numbers are left out in a step. No generator is asked, and no noise is kept: all of it follows from a key.

    Args:
        key: a random number.
        rate: share that is left out, to the nearest of 65,536 parts; the others make up for it.
    """

    key: Int64[Tensor, ""]
    rate: float

    def of(self, number: int) -> "Dropout":
        """Return the dropout of one of several parts of a network, independent of that of the others."""
        return Dropout(hashed(self.key, number + 1)[number], self.rate)

    def __call__(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Set some of the numbers to zero. What they are depends on the key and on their place in memory order."""
        bits = hashed(self.key, -(-values.numel() // _DECISIONS_PER_HASH)).view(torch.int16)
        kept = bits[: values.numel()].view(values.shape) >= min(round(self.rate * 2**16), 2**16 - 1) - 2**15
        return torch.where(kept, values / (1.0 - self.rate), 0.0)


def widened(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return outputs of a network in fp32 at least: from here on nothing is rounded to bf16."""
    return values.float() if values.dtype.itemsize < 4 else values


class ExactLinear(nn.Linear):
    """A linear layer between a network and coordinates, in fp32 whatever autocast says. Initialised as `nn.Linear`."""

    def forward(self, input: Float[Tensor, "*rest inputs"]) -> Float[Tensor, "*rest outputs"]:
        """Multiply in fp32."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.to(self.weight.dtype))


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Let a seed decide the initial weights of what is built inside; PyTorch's own generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def initialise_linear(module: nn.Module) -> None:
    """Initialise every Linear below a module as the MAE family does: Xavier-uniform weights, zero biases."""
    for child in module.modules():
        if isinstance(child, nn.Linear):
            nn.init.xavier_uniform_(child.weight)
            nn.init.zeros_(child.bias)


def position_parameter(*shape: int, std: float = 0.02) -> nn.Parameter:
    """Return a learned embedding, drawn from a normal distribution that is cut off at -2 and 2."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=std))


def sinusoids(places: int, width: int) -> Float[Tensor, "place dim"]:
    """Return the fixed embedding of places: sine and cosine by turns, at wavelengths from 2 pi to 20,000 pi.

    Vaswani et al. 2017 (arXiv 1706.03762), section 3.5.
    """
    rate = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(places, dtype=torch.float64)[:, None] * rate
    return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)[:, :width].float()
