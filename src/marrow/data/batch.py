"""What the network is given: a rectangular batch, whose raggedness has become the flag `present`."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


@dataclass
class Batch:
    """Windows of equal length from several clips.

    Args:
        joints: positions (or a stream derived from them), in metres unless the alignment scales; zero where absent.
        present: which joints exist; False for a whole body that the clip does not have.
        label: 0-based class, -1 where unknown.
        row: the clip's row in the store.
    """

    joints: Float[Tensor, "batch body time joint 3"]
    present: Bool[Tensor, "batch body time joint"]
    label: Int64[Tensor, " batch"]
    row: Int64[Tensor, " batch"]

    def __len__(self) -> int:
        return self.joints.shape[0]

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on another device."""
        return Batch(
            self.joints.to(device, non_blocking=True),
            self.present.to(device, non_blocking=True),
            self.label.to(device, non_blocking=True),
            self.row.to(device, non_blocking=True),
        )

    def absent_as_zeros(self) -> "Batch":
        """Declare every joint present, at the zeros that stand for the absent ones.

        This is how the released codes treat absence, and the one place where marrow does it (for parity): an absent
        second body becomes a skeleton at the origin that is embedded, encoded, predicted and averaged like any other.
        """
        zeroed = torch.where(self.present[..., None], self.joints, torch.zeros_like(self.joints))
        return Batch(zeroed, torch.ones_like(self.present), self.label, self.row)
