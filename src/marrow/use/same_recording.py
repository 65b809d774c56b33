"""Whether a recording is one of some others, told by its positions: names of files and stores do not tell.

An example that was copied out of a folder of recordings has another path than there, or is a row of a store. Compared
are the first, the middle and the last frame. Files of one image size may have been brought to another size of the body.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from marrow.skeleton.sequence import SkeletonSequence

# Positions that differ by less, as a share of how large they are, are the same: below a millimetre, above rounding.
_SAME = 1e-4

_Frames = tuple[Float32[np.ndarray, "body frame joint 3"], Bool[np.ndarray, "body frame joint"]]


@dataclass(frozen=True)
class KnownRecordings:
    """Some recordings, of which a few frames are kept.

    Args:
        frames: of each, by the numbers of bodies, frames and joints of the recording.
    """

    frames: dict[tuple[int, ...], list[_Frames]]

    @classmethod
    def of(cls, sequences: Iterable[SkeletonSequence]) -> "KnownRecordings":
        """Keep what is needed of recordings of one layout."""
        frames: dict[tuple[int, ...], list[_Frames]] = {}
        for sequence in sequences:
            frames.setdefault(sequence.joints.shape[:3], []).append(_some_frames(sequence))
        return cls(frames)

    def __contains__(self, sequence: SkeletonSequence) -> bool:
        joints, present = _some_frames(sequence)
        for others, others_present in self.frames.get(sequence.joints.shape[:3], ()):
            both = present & others_present
            if both.any() and _are_same(joints[both], others[both]):
                return True
        return False


def _some_frames(sequence: SkeletonSequence) -> _Frames:
    count = sequence.frame_count
    chosen = sorted({0, count // 2, count - 1})
    return sequence.joints[:, chosen].copy(), sequence.present[:, chosen].copy()


def _are_same(one: Float32[np.ndarray, "point 3"], other: Float32[np.ndarray, "point 3"]) -> bool:
    """Tell whether most points are the same, as they are or but for their size.

    Not all of them: where files differ in the ends of chains, a place or two are found by other joints.
    """
    extent = float(np.sqrt((one**2).sum(axis=1).mean()))
    scale = float((one * other).sum()) / max(float((other * other).sum()), 1e-12)
    return any(
        float(np.median(np.linalg.norm(one - factor * other, axis=1))) <= _SAME * extent for factor in (1.0, scale)
    )
