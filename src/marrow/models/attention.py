"""Attention: layers that are plain, and the choice of the kernel, where the obvious answer is wrong on CPUs.

On a GPU, and in fp32, it is PyTorch's fused one. In bf16 on a CPU the fused kernel takes longer than it does in fp32,
while matrix products are twice as fast and more: there the product is written out. Over few keys it is kept for the
gradient; over many it is computed a second time, a few heads at a time, so that what is written out stays in the cache
and takes no memory (docs/performance.md has the figures).
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

# Keys up to which the written-out softmax is kept for the gradient.
_FEW_KEYS = 256
# Scores that are written out at a time where keys are many: 2 MiB in bf16, what a core has of second-level cache.
_SCORES_AT_ONCE = 2**20


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
            query, key, value = (_by_head(part, self.heads) for part in self.qkv(tokens).chunk(3, dim=-1))
        else:
            # Only some tokens ask: the query third of the product is computed for those alone.
            weight, bias = self.qkv.weight, self.qkv.bias
            query = _by_head(F.linear(tokens[:, queries_from:], weight[:width], bias[:width]), self.heads)
            pair = F.linear(tokens, weight[width:], bias[width:])
            key, value = (_by_head(part, self.heads) for part in pair.chunk(2, dim=-1))
        if allowed is None and may_attend is not None:
            allowed = may_attend[:, None, None, :]
        return self.proj(attend(query, key, value, allowed).transpose(1, 2).flatten(2))


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
        key, value = (_by_head(part, self.heads) for part in self.pair(memory).chunk(2, dim=-1))
        allowed = None if may_attend is None else may_attend[:, None, None, :]
        return self.proj(attend(query, key, value, allowed).transpose(1, 2).flatten(2))


def attend(
    query: Float[Tensor, "body head query dim"],
    key: Float[Tensor, "body head key dim"],
    value: Float[Tensor, "body head key dim"],
    allowed: Bool[Tensor, "#body 1 #query key"] | None = None,
) -> Float[Tensor, "body head query dim"]:
    """Attend, with the kernel that is fastest for this size, precision and device.

    Args:
        query: what asks.
        key: what is asked.
        value: what is answered.
        allowed: which query may attend to which key; None: all to all.
    """
    if query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    query = query * query.shape[-1] ** -0.5
    # What is compiled cannot be cut by hand.
    if key.shape[2] > _FEW_KEYS and not torch.compiler.is_compiling():
        return _InPieces.apply(query, key, value, allowed)
    if allowed is not None and len(allowed) == 1:
        # The same for all bodies: what must not meet is added to the product as it is computed.
        product = query.flatten(0, 1), key.flatten(0, 1).transpose(-2, -1)
        scores = torch.baddbmm(_never(allowed[0], query).expand(len(product[0]), query.shape[2], -1), *product)
        return (scores.softmax(dim=-1) @ value.flatten(0, 1)).unflatten(0, query.shape[:2])
    scores = query @ key.transpose(-2, -1)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    return scores.softmax(dim=-1) @ value


def _never(allowed: Bool[Tensor, "*any"], like: Tensor) -> Float[Tensor, "*any"]:
    """Return a term for the scores so that only allowed pairs count: 0 for these, minus infinity for the others."""
    return torch.zeros_like(allowed, dtype=like.dtype).masked_fill(~allowed, -torch.inf)


class _InPieces(torch.autograd.Function):
    """softmax(query key') value, of a few heads at a time; of the scores nothing is kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None) -> Tensor:
        leading = query.shape[:2]
        query, key, value = (tensor.reshape(-1, *tensor.shape[2:]) for tensor in (query, key, value))
        never = None if allowed is None else _never(allowed, query).expand(*leading, -1, -1).flatten(0, 1)
        ctx.save_for_backward(query, key, value, never)
        output = torch.empty_like(query)
        for heads in _pieces(query, key):
            torch.bmm(_weights(query, key, never, heads), value[heads], out=output[heads])
        return output.unflatten(0, leading)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, never = ctx.saved_tensors
        leading = gradients[0].shape[:2]
        of_output = gradients[0].reshape(query.shape)
        of_query, of_key, of_value = (torch.empty_like(tensor) for tensor in (query, key, value))
        for heads in _pieces(query, key):
            weights = _weights(query, key, never, heads)
            torch.bmm(weights.transpose(1, 2), of_output[heads], out=of_value[heads])
            of_weights = torch.bmm(of_output[heads], value[heads].transpose(1, 2))
            of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            torch.bmm(of_scores, key[heads], out=of_query[heads])
            torch.bmm(of_scores.transpose(1, 2), query[heads], out=of_key[heads])
        return *(gradient.unflatten(0, leading) for gradient in (of_query, of_key, of_value)), None


def _pieces(query: Tensor, key: Tensor) -> Iterator[slice]:
    """Yield slices of heads that are computed together."""
    several = max(1, _SCORES_AT_ONCE // (query.shape[1] * key.shape[1]))
    return (slice(first, first + several) for first in range(0, len(query), several))


def _weights(query: Tensor, key: Tensor, never: Tensor | None, heads: slice) -> Float[Tensor, "some query key"]:
    """Return the weights with which some heads attend."""
    product = query[heads], key[heads].transpose(1, 2)
    if never is None:
        return torch.bmm(*product).softmax(dim=-1)
    return torch.baddbmm(never[heads].expand(-1, query.shape[1], -1), *product).softmax(dim=-1)
