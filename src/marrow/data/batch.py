"""What the network is given: a rectangular batch, whose raggedness has become the flag `present`."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from marrow.data.draws import Draws


@dataclass(frozen=True)
class Shapes:
    """What the host knows of a batch, so that nothing has to be read back from the device and all steps are alike.

    Args:
        bodies: rows into which its bodies are packed, no fewer than there are; what is left over is padding.
        whole: whether every joint of every body is present in every frame.
        frames: of all its bodies together at most. None: every row has as many as the window.
    """

    bodies: int
    whole: bool
    frames: int | None = None


@dataclass
class Batch:
    """Windows of equal length from several clips.

    Args:
        joints: positions (or a stream derived from them), in metres unless the alignment scales; zero where absent.
        present: which joints exist; False for a whole body that the clip does not have.
        label: 0-based class, -1 where unknown.
        row: the clip's row in the store.
        frame_count: how many frames each clip has in its window, which begins with them (`input.pace` is "recorded");
            the others are padding, in which nothing is present. None: all windows are full.
        shapes: sizes of what is computed of it. None: exactly what is there, which has to be counted on the device.
    """

    joints: Float[Tensor, "batch body time joint 3"]
    present: Bool[Tensor, "batch body time joint"]
    label: Int64[Tensor, " batch"]
    row: Int64[Tensor, " batch"]
    frame_count: Int64[Tensor, " batch"] | None = None
    shapes: Shapes | None = None

    def __len__(self) -> int:
        return self.joints.shape[0]

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on another device."""
        return replace(self._each(lambda values: values.to(device, non_blocking=True)), shapes=self.shapes)

    def copied(self) -> "Batch":
        """Return the batch in memory of its own."""
        return replace(self._each(Tensor.clone), shapes=self.shapes)

    def take(self, places: slice | Int64[Tensor, " taken"]) -> "Batch":
        """Return some of the clips, of which nothing is known beforehand."""
        return self._each(lambda values: values[places])

    def frames(self) -> Int64[Tensor, " batch"]:
        """Return how many frames each clip has in its window."""
        if self.frame_count is not None:
            return self.frame_count
        return torch.full_like(self.row, self.joints.shape[2])

    def absent_as_zeros(self) -> "Batch":
        """Declare every joint present, at the zeros that stand for the absent ones.

        This is how the released codes treat absence, and the one place where marrow does it (for parity): an absent
        second body becomes a skeleton at the origin that is embedded, encoded, predicted and averaged like any other.
        """
        zeroed = torch.where(self.present[..., None], self.joints, torch.zeros_like(self.joints))
        shapes = None if self.shapes is None else Shapes(self.present.shape[0] * self.present.shape[1], whole=True)
        return replace(self, joints=zeroed, present=torch.ones_like(self.present), shapes=shapes)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {name: change(value) for name, value in values.items() if isinstance(value, Tensor)}
        return Batch(**changed)


@dataclass(frozen=True)
class PlannedBatch:
    """A batch that is made when its step is taken, of frames that lie on the device already.

    Args:
        clips: which clips of these frames, on the device.
        row: their rows in the store, on the host.
        shapes: those of the batch.
        make: makes the batch of clips, draws and shapes.
    """

    clips: Int64[Tensor, " batch"]
    row: Int64[Tensor, " batch"]
    shapes: Shapes | None
    make: Callable[[Int64[Tensor, " batch"], Draws, Shapes | None], Batch]

    def __len__(self) -> int:
        return len(self.clips)


def made(batch: Batch | PlannedBatch, draws: Draws) -> Batch:
    """Return a batch; one that is planned is made."""
    return batch.make(batch.clips, draws, batch.shapes) if isinstance(batch, PlannedBatch) else batch
