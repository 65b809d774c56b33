"""Sizes of a step that the host knows beforehand: one for nearly all steps, and a larger one for the rest."""

import math

import numpy as np
from jaxtyping import Int64

from marrow.data.batch import Shapes
from marrow.data.window import InputConfig

# Rows are a multiple of this, and so are frames, with one of zeros behind all; so many standard deviations above the
# mean, a step in many thousands needs the larger size.
_ROWS_AT_ONCE, _FRAMES_AT_ONCE, _DEVIATIONS = 8, 64, 4.0


class FixedShapes:
    """Chooses the shapes of micro-batches.

    Args:
        body_count: bodies of each clip that may come.
        clips: of a micro-batch.
        max_bodies: length of its body axis.
        whole: whether every joint of every body is present in every frame, in all clips that may come.
        frames: of all bodies together, of each clip that may come; None: windows are full.
        window_frames: the most of one body.
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
    ) -> None:
        self._body_count, self._frames = body_count, frames
        largest = clips * max_bodies
        usual = min(largest, _up(_usual(body_count, clips), _ROWS_AT_ONCE))
        most_frames = usual_frames = None
        if frames is not None:
            assert window_frames is not None
            most_frames = largest * window_frames
            usual_frames = min(usual * window_frames, _up(_usual(frames, clips) + 1, _FRAMES_AT_ONCE) - 1)
        self.usual = Shapes(usual, whole, usual_frames)
        self.largest = Shapes(largest, whole, most_frames)

    def of(self, clips: Int64[np.ndarray, " batch"]) -> Shapes:
        """Return the shapes of a micro-batch of some clips: no body is ever left out, and no frame."""
        fits = int(self._body_count[clips].sum()) <= self.usual.bodies
        if self._frames is not None and self.usual.frames is not None:
            fits = fits and int(self._frames[clips].sum()) <= self.usual.frames
        return self.usual if fits else self.largest


def training_shapes(
    body_count: Int64[np.ndarray, " clip"],
    frame_count: Int64[np.ndarray, " clip"],
    input: InputConfig,
    clips: int,
    max_bodies: int,
    *,
    whole: bool,
) -> FixedShapes:
    """Choose the shapes of micro-batches of training windows.

    Args:
        body_count: bodies of each clip that may come.
        frame_count: frames of each, before it is cropped.
        input: window and pace.
        clips: of a micro-batch.
        max_bodies: length of its body axis.
        whole: whether every joint of every body is present in every frame, in all clips that may come.
    """
    frames = most_frames(body_count, frame_count, input)
    return FixedShapes(body_count, clips, max_bodies, whole=whole, frames=frames, window_frames=input.window_frames)


def most_frames(
    body_count: Int64[np.ndarray, " clip"], frame_count: Int64[np.ndarray, " clip"], input: InputConfig
) -> Int64[np.ndarray, " clip"] | None:
    """Return how many frames the bodies of each clip have together in a batch, at most; None: all windows are full.

    No crop has more frames than the clip, and what it has is brought between `min_frames` and `window_frames`.
    """
    if input.pace == "resized":
        return None
    return body_count * frame_count.clip(input.min_frames, input.window_frames)


def _usual(number: Int64[np.ndarray, " clip"], clips: int) -> float:
    """Return what the numbers of some clips hardly ever exceed together."""
    return clips * float(number.mean()) + _DEVIATIONS * math.sqrt(clips) * float(number.std())


def _up(number: float, step: int) -> int:
    return step * math.ceil(number / step)
