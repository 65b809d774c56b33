"""Absent bodies are packed away: only bodies that exist are ever computed."""

from jaxtyping import Bool, Float, Int64
from torch import Tensor


def pack(
    values: Float[Tensor, "batch body time joint 3"], body: Int64[Tensor, " packed"]
) -> Float[Tensor, "packed time joint 3"]:
    """Take the bodies with these numbers (clip-major, then body) out of a batch."""
    return values.flatten(0, 1)[body]


def unpack(
    values: Float[Tensor, "packed *rest"], body: Int64[Tensor, " packed"], clips: int, bodies: int
) -> Float[Tensor, "batch body *rest"]:
    """Put packed bodies back to their places; zero where there is none."""
    whole = values.new_zeros((clips * bodies, *values.shape[1:]))
    whole[body] = values
    return whole.unflatten(0, (clips, bodies))


def existing(usable: Bool[Tensor, "batch body token"]) -> Int64[Tensor, " packed"]:
    """Number the bodies that have at least one usable token (synchronises with the device: their count is a shape)."""
    return usable.any(2).flatten().nonzero().flatten()
