"""Moving skeletons as small numbers for a page: steps of two millimetres in 16 bits, compressed, played by `player.js`.

The page turns and projects the skeletons itself, so that the view can be chosen; nothing is drawn ahead of time. What
is in two dimensions has one view: as it was seen.
"""

import base64
import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int16

from marrow.skeleton.geometry import alignment_of
from marrow.skeleton.layout import Skeleton

ABSENT = -32768
# The finest step: no joint is more than a millimetre off along an axis. Clips that reach further than 65 metres take
# larger steps.
_UNIT_METRES = 0.002
_REACH = 32_767
_FRAMES_PER_SECOND = 15.0
# Axes of a layout as (to the right, upwards, towards the viewer), right-handed, by the axis that points up.
_VIEW_AXES = {"y": ((0, 1), (1, 1), (2, 1)), "z": ((0, 1), (2, 1), (1, -1)), "x": ((1, 1), (0, 1), (2, -1))}


@dataclass(frozen=True)
class PackedMotion:
    """A clip as 16-bit numbers.

    Args:
        values: positions as (to the right, upwards, towards the viewer) in units; ABSENT where there is no joint.
        unit_metres: metres per unit.
        seconds: how long the shown frames take in life.
    """

    values: Int16[np.ndarray, "frame body joint 3"]
    unit_metres: float
    seconds: float

    def positions(self) -> tuple[Float32[np.ndarray, "body frame joint 3"], Bool[np.ndarray, "body frame joint"]]:
        """Return positions in metres (to the right, upwards, towards the viewer) and which joints are there."""
        present = (self.values != ABSENT).all(-1)
        metres = np.where(present[..., None], self.values, 0).astype(np.float32) * np.float32(self.unit_metres)
        return metres.swapaxes(0, 1), present.swapaxes(0, 1)


def pack_motion(
    tracks: Sequence[tuple[Float32[np.ndarray, "body frame joint 3"], Bool[np.ndarray, "body frame joint"]]],
    skeleton: Skeleton,
    fps: float,
    max_frames: int,
    most_per_second: float = _FRAMES_PER_SECOND,
) -> list[PackedMotion]:
    """Pack one clip, or several versions of it that are to be drawn over each other.

    All are turned and shifted as the first one asks: the first body's mean hip and shoulder axis lies across, so that
    "front" is the front, and the middle of its space is the origin. In two dimensions nothing is turned.

    Args:
        tracks: positions and presence, the same frames in each.
        skeleton: the layout of the joint axis.
        fps: frames per second.
        max_frames: frames beyond this number are thinned out evenly; the player draws what lies between.
        most_per_second: likewise frames beyond so many in a second.
    """
    frames = tracks[0][0].shape[1]
    enough = max(2, math.ceil(most_per_second * frames / fps))
    kept = np.linspace(0, frames - 1, min(frames, max_frames, enough)).round().astype(int)
    matrix, _ = alignment_of(*tracks[0], skeleton, "yaw")
    axes = _VIEW_AXES[skeleton.up]
    seen_from_front = np.stack([sign * matrix[axis] for axis, sign in axes])
    turned = [(joints[:, kept] @ seen_from_front.T, present[:, kept]) for joints, present in tracks]

    first = turned[0][0][turned[0][1]]
    middle = (first.min(0) + first.max(0)) / 2 if len(first) else np.zeros(3, np.float32)
    reach = max(float(np.abs(joints[present] - middle).max(initial=0.0)) for joints, present in turned)
    unit = max(_UNIT_METRES, reach / _REACH)
    packed = []
    for joints, present in turned:
        values = np.where(present[..., None], np.round((joints - middle) / unit), ABSENT).astype(np.int16)
        packed.append(PackedMotion(np.ascontiguousarray(values.swapaxes(0, 1)), unit, frames / fps))
    return packed


@dataclass
class Reel:
    """All clips of a page, one behind the other, and the skeleton that they share.

    Args:
        skeleton: the layout of the joint axis.
        motions: the clips.
    """

    skeleton: Skeleton
    motions: list[PackedMotion] = field(default_factory=list)

    @property
    def is_flat(self) -> bool:
        """Whether the clips are in two dimensions."""
        return self.skeleton.dimensions == 2

    def add(self, motion: PackedMotion) -> int:
        """Add a clip and return its number."""
        self.motions.append(motion)
        return len(self.motions) - 1

    def payload(self) -> dict[str, Any]:
        """Return what the page is given: plain values, and the numbers of all clips as one compressed text."""
        # Differences in time are small numbers, which compress to about half.
        steps = [np.diff(motion.values, axis=0, prepend=np.int16(0)).astype("<i2") for motion in self.motions]
        raw = b"".join(step.tobytes() for step in steps)
        head = next((index for index, joint in enumerate(self.skeleton.joints) if joint.lower() == "head"), -1)
        return {
            "bones": [list(bone) for bone in self.skeleton.bones],
            "sides": list(self.skeleton.sides),
            "head": head,
            "joints": len(self.skeleton.joints),
            "flat": self.is_flat,
            "clips": [
                [len(motion.values), motion.values.shape[1], motion.unit_metres, round(motion.seconds, 3)]
                for motion in self.motions
            ],
            "frames": compressed(raw),
        }


def compressed(raw: bytes) -> str:
    """Return bytes as text that a browser can unpack by itself: gzip in base64."""
    return base64.b64encode(gzip.compress(raw, compresslevel=9, mtime=0)).decode("ascii")


def player_script() -> str:
    """Return the script that plays the clips of a page."""
    return files("marrow.viewer").joinpath("player.js").read_text(encoding="utf-8")
