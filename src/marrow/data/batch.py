"""What the network is given: a rectangular batch, whose raggedness has become the flag `present`, and its sizes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from marrow.data.draws import Draws
from marrow.data.window import InputConfig

# Where sizes are fixed, rows are a multiple of this, and so are frames, with one of zeros behind all; so many standard
# deviations above the mean, a step in many thousands needs the larger size.
_ROWS_AT_ONCE, _FRAMES_AT_ONCE, _DEVIATIONS = 8, 64, 4.0


@dataclass(frozen=True)
class Shapes:
    """What the host knows of a batch, so that nothing has to be read back from the device and all steps are alike.

    Args:
        bodies: rows into which its bodies are packed, no fewer than there are; what is left over is padding.
        whole: whether every joint of every body is present in every frame.
        frames: of all its bodies together at most. None: every row has as many as the window.
        joints: most joints that any of its bodies has; the others are absent all the time. None: as many as the layout.
    """

    bodies: int
    whole: bool
    frames: int | None = None
    joints: int | None = None


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
        flat: which clips have two dimensions, where the layout has three: their third coordinate is zero and means
            nothing. None: none.
    """

    joints: Float[Tensor, "batch body time joint 3"]
    present: Bool[Tensor, "batch body time joint"]
    label: Int64[Tensor, " batch"]
    row: Int64[Tensor, " batch"]
    frame_count: Int64[Tensor, " batch"] | None = None
    shapes: Shapes | None = None
    flat: Bool[Tensor, " batch"] | None = None

    def __len__(self) -> int:
        return self.joints.shape[0]

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on another device."""
        return replace(self._changed(lambda values: values.to(device, non_blocking=True)), shapes=self.shapes)

    def copied(self) -> "Batch":
        """Return the batch in memory of its own."""
        return replace(self._changed(Tensor.clone), shapes=self.shapes)

    def take(self, places: slice | Int64[Tensor, " taken"]) -> "Batch":
        """Return some of the clips, of which nothing is known beforehand."""
        return self._changed(lambda values: values[places])

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

    def _changed(self, change: Callable[[Tensor], Tensor]) -> "Batch":
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


class FixedShapes:
    """Chooses the shapes of micro-batches from what the host knows: one for nearly all, and a larger one for the rest.

    Args:
        body_count: bodies of each clip that may come.
        clips: of a micro-batch.
        max_bodies: length of its body axis.
        whole: whether every joint of every body is present in every frame, in all clips that may come.
        frames: of all bodies together, of each clip that may come; None: windows are full.
        window_frames: the most of one body.
        joints: most joints that a clip has; None: all of the layout.
    """

    def __init__(
        self,
        body_count: Int64[np.ndarray, " clip"],
        clips: int,
        max_bodies: int,
        *,
        whole: bool,
        frames: Int64[np.ndarray, " clip"] | None = None,
        window_frames: int | None = None,
        joints: int | None = None,
    ) -> None:
        self._body_count, self._frames = body_count, frames
        largest = clips * max_bodies
        usual = min(largest, _round_up(_usual_sum(body_count, clips), _ROWS_AT_ONCE))
        most_frames = usual_frames = None
        if frames is not None:
            assert window_frames is not None
            most_frames = largest * window_frames
            usual_frames = min(usual * window_frames, _round_up(_usual_sum(frames, clips) + 1, _FRAMES_AT_ONCE) - 1)
        self.usual = Shapes(usual, whole, usual_frames, joints)
        self.largest = Shapes(largest, whole, most_frames, joints)

    @classmethod
    def of_windows(
        cls,
        body_count: Int64[np.ndarray, " clip"],
        frame_count: Int64[np.ndarray, " clip"],
        fps: Float64[np.ndarray, " clip"],
        input: InputConfig,
        clips: int,
        max_bodies: int,
        *,
        whole: bool,
        joints: int | None = None,
    ) -> "FixedShapes":
        """Choose the shapes of micro-batches of training windows; `frame_count` is that of clips before a crop."""
        frames = most_frames(body_count, frame_count, input, fps)
        sizes = {"frames": frames, "window_frames": input.window_frames, "joints": joints}
        return cls(body_count, clips, max_bodies, whole=whole, **sizes)

    def of(self, clips: Int64[np.ndarray, " batch"]) -> Shapes:
        """Return the shapes of a micro-batch of some clips: no body is ever left out, and no frame."""
        fits = int(self._body_count[clips].sum()) <= self.usual.bodies
        if self._frames is not None and self.usual.frames is not None:
            fits = fits and int(self._frames[clips].sum()) <= self.usual.frames
        return self.usual if fits else self.largest


def most_frames(
    body_count: Int64[np.ndarray, " clip"],
    frame_count: Int64[np.ndarray, " clip"],
    input: InputConfig,
    fps: Float64[np.ndarray, " clip"] | None = None,
) -> Int64[np.ndarray, " clip"] | None:
    """Return how many frames the bodies of each clip have together in a batch, at most; None: all windows are full.

    No crop has more frames than the clip, and what it has, at the rate of the input, is brought between `min_frames`
    and `window_frames`.
    """
    if input.pace == "resized":
        return None
    if input.fps is not None:
        assert fps is not None, "the rate of every clip is needed"
        frame_count = np.ceil(frame_count * (input.fps / fps)).astype(np.int64)
    return body_count * frame_count.clip(input.min_frames, input.window_frames)


def _usual_sum(number: Int64[np.ndarray, " clip"], clips: int) -> float:
    """Return a sum that the numbers of some clips hardly ever exceed."""
    return clips * float(number.mean()) + _DEVIATIONS * math.sqrt(clips) * float(number.std())


def _round_up(number: float, step: int) -> int:
    return step * math.ceil(number / step)
