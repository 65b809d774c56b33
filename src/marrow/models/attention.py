"""Attention: everything is plain except the choice of the kernel, where the obvious answer is wrong on CPUs.

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
from torch import Tensor

# Keys up to which the written-out softmax is kept for the gradient.
_FEW_KEYS = 256
# Scores that are written out at a time where keys are many: 2 MiB in bf16, what a core has of second-level cache.
_SCORES_AT_ONCE = 2**20


def attend(
    query: Float[Tensor, "body head query dim"],
    key: Float[Tensor, "body head key dim"],
    value: Float[Tensor, "body head key dim"],
    may_attend: Bool[Tensor, "body key"] | None = None,
) -> Float[Tensor, "body head query dim"]:
    """Attend, with the kernel that is fastest for this size, precision and device.

    Args:
        query: what asks.
        key: what is asked.
        value: what is answered.
        may_attend: which keys exist; None when all do.
    """
    return attend_pairs(query, key, value, None if may_attend is None else may_attend[:, None, None, :])


def attend_pairs(
    query: Float[Tensor, "body head query dim"],
    key: Float[Tensor, "body head key dim"],
    value: Float[Tensor, "body head key dim"],
    allowed: Bool[Tensor, "#body 1 #query key"] | None = None,
) -> Float[Tensor, "body head query dim"]:
    """Do what `attend` does where a query decides, too, which keys it may attend to."""
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
    """Return what is added to scores so that only what is allowed counts: 0 there, minus infinity elsewhere."""
    return torch.zeros_like(allowed, dtype=like.dtype).masked_fill(~allowed, -torch.inf)


class _InPieces(torch.autograd.Function):
    """softmax(query key') value, of a few heads at a time; of the scores nothing is kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None) -> Tensor:
        leading = query.shape[:2]
        query, key, value = (each.reshape(-1, *each.shape[2:]) for each in (query, key, value))
        never = None if allowed is None else _never(allowed, query).expand(*leading, -1, -1).flatten(0, 1)
        ctx.save_for_backward(query, key, value, never)
        output = torch.empty_like(query)
        for some in _pieces(query, key):
            torch.bmm(_weights(query, key, never, some), value[some], out=output[some])
        return output.unflatten(0, leading)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, never = ctx.saved_tensors
        leading = gradients[0].shape[:2]
        of_output = gradients[0].reshape(query.shape)
        of_query, of_key, of_value = (torch.empty_like(each) for each in (query, key, value))
        for some in _pieces(query, key):
            weights = _weights(query, key, never, some)
            torch.bmm(weights.transpose(1, 2), of_output[some], out=of_value[some])
            of_weights = torch.bmm(of_output[some], value[some].transpose(1, 2))
            of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            torch.bmm(of_scores, key[some], out=of_query[some])
            torch.bmm(of_scores.transpose(1, 2), query[some], out=of_key[some])
        return *(each.unflatten(0, leading) for each in (of_query, of_key, of_value)), None


def _pieces(query: Tensor, key: Tensor) -> Iterator[slice]:
    """Yield as many heads as are computed at a time."""
    several = max(1, _SCORES_AT_ONCE // (query.shape[1] * key.shape[1]))
    return (slice(first, first + several) for first in range(0, len(query), several))


def _weights(query: Tensor, key: Tensor, never: Tensor | None, some: slice) -> Float[Tensor, "some query key"]:
    """Return the weights with which some heads attend."""
    product = query[some], key[some].transpose(1, 2)
    if never is None:
        return torch.bmm(*product).softmax(dim=-1)
    return torch.baddbmm(never[some].expand(-1, query.shape[1], -1), *product).softmax(dim=-1)
