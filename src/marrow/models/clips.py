"""Sequences of unequal length as one long list of frames, and clips as places in it: nothing is padded.

A clip is a few frames around a centre, some of which may lie beyond the ends of its sequence; they are zeros.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

# Frames of a batch are filled up to a multiple of this.
_ROWS_AT_ONCE = 64
# A place that no sequence reaches.
_FAR = 2**20


@dataclass
class FlatSequences:
    """The sequences of a batch, one per present body, with their frames end to end and frames of zeros behind all.

    Args:
        joints: positions in the unit of the batch; zero where absent.
        start: row of the first frame of each sequence.
        frames: how many each has.
        sequence: which sequence a frame belongs to; a frame of zeros to none, which is their number.
        place: of each frame in the sequences as they were, one behind the other; a frame of zeros lies behind all.
    """

    joints: Float[Tensor, "row joint 3"]
    start: Int64[Tensor, " sequence"]
    frames: Int64[Tensor, " sequence"]
    sequence: Int64[Tensor, " row"]
    place: Int64[Tensor, " row"]

    def of(self, values: Shaped[Tensor, "sequence time *rest"]) -> Shaped[Tensor, "row *rest"]:
        """Lay values of frames end to end likewise; zero, or False, in the frames of zeros."""
        flat = values.flatten(0, 1)
        return torch.cat((flat, flat.new_zeros(1, *flat.shape[1:])))[self.place]

    def padded(self, values: Shaped[Tensor, "row *rest"], times: int) -> Shaped[Tensor, "sequence time *rest"]:
        """Put values of frames back into their sequences; beyond the ends, those of the frame of zeros."""
        time = torch.arange(times, device=values.device).expand(len(self.start), -1)
        return values[self.rows(torch.arange(len(self.start), device=values.device)[:, None].expand_as(time), time)]

    def rows(self, sequence: Int64[Tensor, " *any"], frame: Int64[Tensor, " *any"]) -> Int64[Tensor, " *any"]:
        """Return the rows of frames; beyond the ends of a sequence that is the frame of zeros."""
        inside = (frame >= 0) & (frame < self.frames[sequence])
        return torch.where(inside, self.start[sequence] + frame, len(self.joints) - 1)


def flatten(
    joints: Float[Tensor, "sequence time joint 3"], frames: Int64[Tensor, " sequence"], total: int | None = None
) -> FlatSequences:
    """Lay the first `frames` frames of each sequence end to end, and fill up with zeros: one frame, or some more.

    Args:
        joints: of the sequences.
        frames: of each.
        total: frames of all of them at most; None: their sum, which is read from the device.
    """
    total = int(frames.sum()) if total is None else total
    sequence, frame = _places(frames, filled_up(total + 1, _ROWS_AT_ONCE))
    # The frames of zeros are those of one more sequence.
    times = joints.shape[1]
    place = torch.where(sequence < len(frames), sequence * times + frame, len(frames) * times)
    return FlatSequences(
        joints=F.pad(joints.flatten(0, 1), (0, 0, 0, 0, 0, 1))[place],
        start=frames.cumsum(0) - frames,
        frames=frames,
        sequence=sequence,
        place=place,
    )


def clip_counts(frames: Int64[Tensor, " sequence"], stride: int) -> Int64[Tensor, " sequence"]:
    """Return how many clips sequences of some frames have: one centred on every `stride`-th frame, the first included.

    77 frames: 11 clips; 78: 12. The same as padding by half a clip at both ends and sliding it over the whole.
    """
    return torch.div(frames + stride - 1, stride, rounding_mode="floor")


def clip_places(
    count: Int64[Tensor, " sequence"], total: int | None = None
) -> tuple[Int64[Tensor, " clip"], Int64[Tensor, " clip"]]:
    """Return, for all clips of all sequences, whose each is and its number there.

    Args:
        count: clips of each sequence.
        total: clips of all of them at most, of which those that do not exist are clips of the last sequence behind its
            own; None: their sum, which is read from the device.
    """
    sequence, place = _places(count, int(count.sum()) if total is None else total)
    # Nothing of a clip so far behind lies inside of the sequence.
    return sequence.clamp(max=max(0, len(count) - 1)), torch.where(sequence < len(count), place, place + _FAR)


def _places(count: Int64[Tensor, " sequence"], total: int) -> tuple[Int64[Tensor, " item"], Int64[Tensor, " item"]]:
    """Return whose each of the items is and its number there; those behind all are of a sequence after the last."""
    item, ends = torch.arange(total, device=count.device), F.pad(count.cumsum(0), (1, 0))
    owner = torch.searchsorted(ends[1:], item, right=True)
    return owner, item - ends[owner]


def side_by_side(
    items: Shaped[Tensor, "item *rest"], count: Int64[Tensor, " sequence"], most: int
) -> tuple[Shaped[Tensor, "sequence most *rest"], Bool[Tensor, "sequence most"]]:
    """Lay the items of each sequence, which lie end to end, beside each other, and tell which exist; zero elsewhere."""
    number = torch.arange(most, device=count.device)
    exists = number < count[:, None]
    place = ((count.cumsum(0) - count)[:, None] + number).clamp(max=max(0, len(items) - 1))
    laid = items[place]
    return torch.where(exists.view(*exists.shape, *(1 for _ in laid.shape[2:])), laid, torch.zeros_like(laid)), exists


def other_frames(frames: int, joints: int) -> Bool[Tensor, "token token"]:
    """Tell which tokens of a clip may attend to which: the joints of other frames, themselves, and the fusion token.

    The joints of one frame do not meet at this level. The fusion token, the last, attends to everything.
    """
    frame = torch.arange(frames).repeat_interleave(joints)
    allowed = (frame[:, None] != frame) | torch.eye(frames * joints, dtype=torch.bool)
    return F.pad(allowed, (0, 1, 0, 1), value=True)


def filled_up(count: int, step: int) -> int:
    """Round up to a multiple. Every new shape costs the libraries below time and memory: few shapes come again."""
    return (count + step - 1) // step * step
