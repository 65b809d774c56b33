"""Absent bodies are packed away: only bodies that exist are ever computed, and where shapes are fixed, some padding."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from marrow.data.batch import Batch


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


@dataclass
class Rows:
    """The bodies of a batch that are computed.

    Args:
        body: their numbers (clip-major, then body), each once.
        exists: which of them exist; the others are padding, and nothing that stands there may matter. None: all do.
    """

    body: Int64[Tensor, " row"]
    exists: Bool[Tensor, " row"] | None = None

    def of(self, batch: Batch) -> tuple[Float[Tensor, "row time joint 3"], Bool[Tensor, "row time joint"]]:
        """Return joints and flags of the rows; in padding nothing is present, and all is zero."""
        return self.joints(batch), self.take(batch.present.flatten(0, 1))

    def joints(self, batch: Batch) -> Float[Tensor, "row time joint 3"]:
        """Return the joints of the rows, zero in padding."""
        return self.zeroed(pack(batch.joints, self.body))

    def may_attend(self, usable: Bool[Tensor, "row token"], batch: Batch) -> Bool[Tensor, "row token"] | None:
        """Return which tokens of the rows may be attended to; None where all may, as far as is known.

        In padding all may: nobody reads what is said there, but it must be a number.
        """
        if bool(usable.all()) if batch.shapes is None else batch.shapes.whole and batch.frame_count is None:
            return None
        return usable if self.exists is None else usable | ~self.exists[:, None]

    def are_flat(self, batch: Batch) -> Bool[Tensor, " row"] | None:
        """Return which of the rows have two dimensions (`Batch.flat`); None: none."""
        return None if batch.flat is None else batch.flat[self.body // batch.joints.shape[1]]

    def frames(self, batch: Batch) -> Int64[Tensor, " row"]:
        """Return how many frames of its window each row has; none in padding."""
        frames = batch.frames()[self.body // batch.joints.shape[1]]
        return frames if self.exists is None else torch.where(self.exists, frames, 0)

    def zeroed(self, values: Float[Tensor, "row *rest"]) -> Float[Tensor, "row *rest"]:
        """Return values of the rows, zero in padding."""
        if self.exists is None:
            return values
        return torch.where(self.exists.view(-1, *(1 for _ in values.shape[1:])), values, 0.0)

    def take(self, flags: Bool[Tensor, "body *rest"]) -> Bool[Tensor, "row *rest"]:
        """Return the flags of the rows, of which padding has none."""
        taken = flags[self.body]
        return taken if self.exists is None else taken & self.exists.view(-1, *(1 for _ in taken.shape[1:]))


def first_flagged(
    flags: Bool[Tensor, "row token"], most: int
) -> tuple[Int64[Tensor, "row taken"], Bool[Tensor, "row taken"]]:
    """Return the places of the flags of each row, in their order, and which of them are no padding.

    Args:
        flags: no more than `most` in a row.
        most: length of the result.
    """
    place = (~flags).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
    return place, flags.gather(1, place)


def rows_of(usable: Bool[Tensor, "batch body token"], batch: Batch) -> Rows:
    """Choose the rows for the bodies that have at least one usable token.

    They are so many as the batch says (`Batch.shapes`), or as many as exist, which synchronises with the device.
    """
    if batch.shapes is None:
        return Rows(existing(usable))
    exists = usable.any(2).flatten()
    body = (~exists).to(torch.uint8).argsort(stable=True)[: batch.shapes.bodies]
    return Rows(body, exists[body])
