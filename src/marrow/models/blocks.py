"""The transformer blocks that the vision-transformer family shares: pre-norm attention and MLP (Dosovitskiy 2021)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from marrow.models.attention import attend, attend_pairs
from marrow.models.packing import pack


def _by_head(tokens: Float[Tensor, "body token dim"], heads: int) -> Float[Tensor, "body head token part"]:
    """Cut tokens into the parts that the heads see."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention.

    Args:
        width: length of a token.
        heads: number of heads; must divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        tokens: Float[Tensor, "body token dim"],
        *,
        queries_from: int = 0,
        may_attend: Bool[Tensor, "body token"] | None = None,
        allowed: Bool[Tensor, "#body 1 #query token"] | None = None,
    ) -> Float[Tensor, "body query dim"]:
        """Let the tokens from `queries_from` on attend to all tokens that may be attended to.

        Where a query decides, too, what it may attend to, `allowed` says so in place of `may_attend`.
        """
        width = tokens.shape[-1]
        if queries_from == 0:
            query, key, value = (_by_head(each, self.heads) for each in self.qkv(tokens).chunk(3, dim=-1))
        else:
            # Only some tokens ask: the query third of the product is computed for those alone.
            weight, bias = self.qkv.weight, self.qkv.bias
            query = _by_head(F.linear(tokens[:, queries_from:], weight[:width], bias[:width]), self.heads)
            pair = F.linear(tokens, weight[width:], bias[width:])
            key, value = (_by_head(each, self.heads) for each in pair.chunk(2, dim=-1))
        if allowed is None and may_attend is not None:
            allowed = may_attend[:, None, None, :]
        return self.proj(attend_pairs(query, key, value, allowed).transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Multi-head attention of queries to the tokens of a memory.

    Args:
        width: length of a query and of a token of the memory.
        heads: number of heads; must divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.pair = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        queries: Float[Tensor, "one_or_body query dim"],
        memory: Float[Tensor, "body key dim"],
        may_attend: Bool[Tensor, "body key"] | None = None,
    ) -> Float[Tensor, "body query dim"]:
        """Let every query attend to the tokens of its body's memory that may be attended to.

        Queries that are the same for every body may be given once.
        """
        query = _by_head(self.query(queries), self.heads).expand(len(memory), -1, -1, -1)
        key, value = (_by_head(each, self.heads) for each in self.pair(memory).chunk(2, dim=-1))
        return self.proj(attend(query, key, value, may_attend).transpose(1, 2).flatten(2))


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


@dataclass
class DropPath:
    """Which residual branches are left out in a step: stochastic depth (Huang et al. 2016, arXiv 1603.09382).

    Args:
        uniform: a draw from [0, 1) per clip, body and branch, branches numbered from the input on. A branch is left out
            for a body whose draw is below the branch's rate.
        highest_rate: rate of the last branch; the encoder says how the others follow from it.
    """

    uniform: Float[Tensor, "batch body branch"]
    highest_rate: float

    def factors(
        self, rates: Float[Tensor, " branch"], body: Int64[Tensor, " packed"]
    ) -> Float[Tensor, "branch packed 1 1"]:
        """Return what each branch of each packed body is multiplied by: 0, or 1 / (1 - rate), so that the mean is 1.

        Args:
            rates: of the branches, as shares of the highest: 0 at the input, 1 at the output.
            body: numbers of the packed bodies.
        """
        rate = self.highest_rate * rates
        kept = pack(self.uniform, body) >= rate
        return (kept / (1.0 - rate)).T[:, :, None, None]


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


def rising_rates(depth: int, device: torch.device) -> Float[Tensor, " branch"]:
    """Return the rates of `DropPath` for `depth` blocks of two branches: 0 for the first block, 1 for the last.

    The two branches of a block share its rate.
    """
    return torch.linspace(0.0, 1.0, depth, device=device).repeat_interleave(2)


def sinusoids(places: int, width: int) -> Float[Tensor, "place dim"]:
    """Return the fixed embedding of places: sine and cosine by turns, at wavelengths from 2 pi to 20,000 pi.

    Vaswani et al. 2017 (arXiv 1706.03762), section 3.5.
    """
    rate = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(places, dtype=torch.float64)[:, None] * rate
    return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)[:, :width].float()
