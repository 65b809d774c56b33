"""From the numbers of one clip in an array to a recording: what is absent, what is padding, what is no number.

Arrays have no room for absence; the field writes zeros. Shared by the formats whose clips are pieces of arrays.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped

from marrow.errors import ParseError
from marrow.importing.recording import Recording
from marrow.readers.base import SkipRecording

# No sensor sees farther, in whatever unit; what lies beyond is a damaged file.
LARGEST = 1e6

PADDING = "frames of zeros at the end were cut"
NOT_NUMBERS = "positions that are not numbers were taken for absent"
AT_ORIGIN = "a joint at the origin, amid the body, was taken for its centre and not for absent"
LENGTH = "frames beyond the length that is said were cut"


def recording_of(
    path: Path,
    place: str,
    values: Shaped[np.ndarray, "body frame joint coordinate"],
    coordinates: str,
    *,
    confidence: Shaped[np.ndarray, "body frame joint"] | None = None,
    length: int | None = None,
    fps: float | None = None,
    notes: tuple[str, ...] = (),
) -> Recording:
    """Return a recording of the numbers of a clip.

    A body of zeros alone is nobody; a joint at zero is absent, unless the origin lies amid its body and it is the only
    one there, or the same few are there all the time: then positions are relative to it.

    Args:
        path: of the file, for messages.
        place: of the clip in it, for messages: "clip 3".
        values: its numbers.
        coordinates: what the last axis is, as in `array_axes.Reading`.
        confidence: of each joint, where another array gives it.
        length: how many frames it has, where that is said; the others are padding.
        fps: frames per second, where that is said.
        notes: what was mended before.

    Raises:
        ParseError: a position is infinite or farther away than anything.
        SkipRecording: nobody is in it.
    """
    said = list(notes)
    axes = [coordinates.index(axis) for axis in "xyz" if axis in coordinates]
    if length is not None and length < values.shape[1]:
        if np.nan_to_num(values[:, length:], nan=0).any():
            said.append(LENGTH)
        values = values[:, :length]
        confidence = None if confidence is None else confidence[:, :length]
    # float16 and whole numbers turn into float32 as they are; float64 loses what no sensor measures.
    with np.errstate(all="ignore"):  # damaged files hold numbers that no type can hold
        exact = np.float64 if values.dtype.itemsize > 4 else np.float32
        positions = np.ascontiguousarray(values[..., axes]).astype(exact)
    if "c" in coordinates:
        confidence = values[..., coordinates.index("c")]
    is_number = np.logical_not(np.isnan(positions).any(axis=-1))
    too_far = (np.abs(positions) > LARGEST).any(axis=-1)
    if too_far.any():
        body, frame, joint = (int(index) for index in np.argwhere(too_far)[0])
        where = f"{place}, frame {frame + 1}, joint {joint + 1}" + (f", body {body + 1}" if len(values) > 1 else "")
        shown = ", ".join(f"{value:g}" for value in positions[body, frame, joint])
        raise ParseError(path, 0, f"{where}: expected positions below {LARGEST:,.0f}, got ({shown})")
    positions[~is_number] = 0
    written = (positions != 0).any(axis=-1)
    present = written | (_at_origin(positions, written) & is_number)
    there = present.any(axis=(1, 2))
    frames = np.flatnonzero(present.any(axis=(0, 2)))
    if not len(frames):
        raise SkipRecording(f"{place}: nobody is seen in any of its {values.shape[1]} frames")
    end = int(frames[-1]) + 1
    if end < values.shape[1]:
        said.append(PADDING)
    positions, present, is_number = positions[there, :end], present[there, :end], is_number[there, :end]
    if not is_number.all():
        said.append(NOT_NUMBERS)
    if (present & ~written[there, :end]).any():
        said.append(AT_ORIGIN)
    positions = positions.astype(np.float32)
    positions[~present] = np.nan
    if confidence is not None:
        with np.errstate(all="ignore"):
            confidence = np.nan_to_num(confidence[there, :end].astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return Recording(positions, confidence, fps, tuple(said))


def _at_origin(
    positions: Shaped[np.ndarray, "body frame joint coordinate"], written: Bool[np.ndarray, "body frame joint"]
) -> Bool[np.ndarray, "body frame joint"]:
    """Tell which joints lie at the origin because that is their place."""
    zero = ~written & written.any(axis=2, keepdims=True)
    if not zero.any():
        return zero
    # The box of a body's other joints, in each frame, has the origin in it.
    low = np.where(written[..., None], positions, np.inf).min(axis=2)
    high = np.where(written[..., None], positions, -np.inf).max(axis=2)
    amid = ((low <= 0) & (high >= 0)).all(axis=-1) & ((low < 0) & (high > 0)).any(axis=-1)
    alone = zero.sum(axis=2) == 1
    seen = written.any(axis=2)
    always = zero.sum(axis=1) == seen.sum(axis=1)[:, None]
    few = always.sum(axis=1, keepdims=True) <= 3
    same = (zero == always[:, None]).all(axis=2) & few
    return zero & (amid & (alone | same))[..., None]
