"""Sequences of unequal length as one long list of frames, and clips as places in it: nothing is padded.

A clip is a few frames around a centre, some of which may lie beyond the ends of its sequence; they are zeros.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

# Frames of a batch are filled up to a multiple of this.
_ROWS_AT_ONCE = 64


@dataclass
class FlatSequences:
    """The sequences of a batch, one per present body, with their frames end to end and frames of zeros behind all.

    Args:
        joints: positions in the unit of the batch; zero where absent.
        start: row of the first frame of each sequence.
        frames: how many each has.
        sequence: which sequence a frame belongs to; a frame of zeros to none, which is their number.
    """

    joints: Float[Tensor, "row joint 3"]
    start: Int64[Tensor, " sequence"]
    frames: Int64[Tensor, " sequence"]
    sequence: Int64[Tensor, " row"]

    def rows(self, sequence: Int64[Tensor, " *any"], frame: Int64[Tensor, " *any"]) -> Int64[Tensor, " *any"]:
        """Return the rows of frames; beyond the ends of a sequence that is the frame of zeros."""
        inside = (frame >= 0) & (frame < self.frames[sequence])
        return torch.where(inside, self.start[sequence] + frame, len(self.joints) - 1)


def flatten(joints: Float[Tensor, "sequence time joint 3"], frames: Int64[Tensor, " sequence"]) -> FlatSequences:
    """Lay the first `frames` frames of each sequence end to end, and fill up with zeros: one frame, or some more."""
    real = joints[torch.arange(joints.shape[1], device=joints.device) < frames[:, None]]
    zeros = filled_up(len(real) + 1, _ROWS_AT_ONCE) - len(real)
    counts = torch.cat((frames, frames.new_tensor([zeros])))
    return FlatSequences(
        joints=F.pad(real, (0, 0, 0, 0, 0, zeros)),
        start=frames.cumsum(0) - frames,
        frames=frames,
        sequence=torch.arange(len(counts), device=joints.device).repeat_interleave(counts),
    )


def clip_counts(frames: Int64[Tensor, " sequence"], stride: int) -> Int64[Tensor, " sequence"]:
    """Return how many clips sequences of some frames have: one centred on every `stride`-th frame, the first included.

    77 frames: 11 clips; 78: 12. The same as padding by half a clip at both ends and sliding it over the whole.
    """
    return torch.div(frames + stride - 1, stride, rounding_mode="floor")


def clip_places(count: Int64[Tensor, " sequence"]) -> tuple[Int64[Tensor, " clip"], Int64[Tensor, " clip"]]:
    """Return, for all clips of all sequences, whose each is and its number there."""
    sequence = torch.arange(len(count), device=count.device).repeat_interleave(count)
    first = (count.cumsum(0) - count)[sequence]
    return sequence, torch.arange(len(sequence), device=count.device) - first


def other_frames(frames: int, joints: int) -> Bool[Tensor, "token token"]:
    """Tell which tokens of a clip may attend to which: the joints of other frames, themselves, and the fusion token.

    The joints of one frame do not meet at this level. The fusion token, the last, attends to everything.
    """
    frame = torch.arange(frames).repeat_interleave(joints)
    allowed = (frame[:, None] != frame) | torch.eye(frames * joints, dtype=torch.bool)
    return F.pad(allowed, (0, 1, 0, 1), value=True)


def filled_up(count: int, step: int) -> int:
    """Round up to a multiple. Every new shape costs the libraries below time and memory: few shapes come again."""
    return -(-count // step) * step
