"""Absent bodies are packed away: only bodies that exist are ever computed."""

from jaxtyping import Bool, Int64, Shaped
from torch import Tensor


def pack(values: Shaped[Tensor, "batch body *rest"], body: Int64[Tensor, " packed"]) -> Shaped[Tensor, "packed *rest"]:
    """Take the bodies with these numbers (clip-major, then body) out of a batch."""
    return values.flatten(0, 1)[body]


def unpack(
    values: Shaped[Tensor, "packed *rest"], body: Int64[Tensor, " packed"], clips: int, bodies: int
) -> Shaped[Tensor, "batch body *rest"]:
    """Put packed bodies back to their places; zero (or False) where there is none."""
    whole = values.new_zeros((clips * bodies, *values.shape[1:]))
    whole[body] = values
    return whole.unflatten(0, (clips, bodies))


def existing(usable: Bool[Tensor, "batch body token"]) -> Int64[Tensor, " packed"]:
    """Number the bodies that have at least one usable token (synchronises with the device: their count is a shape)."""
    return usable.any(2).flatten().nonzero().flatten()
