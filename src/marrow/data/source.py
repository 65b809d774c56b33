"""Where clips come from: a store, or several taken together (`marrow.data.pool`)."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from marrow.skeleton.layout import Skeleton


@runtime_checkable
class ClipSource(Protocol):
    """Clips by row.

    Attributes:
        skeleton: layout of the joint axis of all clips.
        label: 0-based class of each clip, -1 where unknown.
        frame_count: frames of each clip.
        body_count: bodies of each clip, at least one.
        fps: frames per second of each clip.
        read_as: the layout that an encoder reads clips in, which may have more dimensions.
    """

    skeleton: Skeleton
    read_as: Skeleton
    label: Int64[np.ndarray, " clip"]
    frame_count: Int64[np.ndarray, " clip"]
    body_count: Int64[np.ndarray, " clip"]
    fps: Float64[np.ndarray, " clip"]

    def __len__(self) -> int: ...

    def frames(
        self, row: int
    ) -> tuple[Float32[np.ndarray, "body frame joint 3"], Bool[np.ndarray, "body frame joint"]]:
        """Return positions and flags of a clip."""
        ...

    def layout_of(self, row: int) -> Skeleton:
        """Return the layout of a clip: that of all, with what is derived in it, and its dimensions."""
        ...

    def subjects(self) -> np.ndarray | None:
        """Return who is in each clip, in any form; None where that is not known."""
        ...

    def members_of(self, rows: Int64[np.ndarray, " row"]) -> dict[str, Int64[np.ndarray, " place"]]:
        """Return the places of some rows by the store that they are of; nothing where there is one store."""
        ...

    def reopened(self) -> "ClipSource":
        """Open the same clips anew: for another process."""
        ...
