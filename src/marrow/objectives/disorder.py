"""What Hi-TRS hides and puts out of order, as pure functions of uniform noise."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def replacements(
    selected: Bool[Tensor, "sequence time joint"],
    present: Bool[Tensor, "sequence time joint"],
    frames: Int64[Tensor, " sequence"],
    noise: Float[Tensor, "sequence time joint 3"],
    mask_ratio: float,
    constant_share: float,
    swapped_share: float,
) -> tuple[Bool[Tensor, "sequence time joint"], Int64[Tensor, "sequence time joint"]]:
    """Choose what takes the place of the selected joints: a constant point, another joint of another frame, or nothing.

    Args:
        selected: those whose first number of the noise is below `mask_ratio`.
        present: which joints there are; an absent one takes nobody's place.
        frames: of each sequence.
        noise: uniform on [0, 1): what happens to a joint, and from which frame and joint another one comes.
        mask_ratio: share of the joints that is selected.
        constant_share: share of those that become the constant point.
        swapped_share: share of those that become another joint.

    Returns:
        Which become the constant point; and from which place of its sequence (time * joints + joint) each other joint
        is taken, mostly from its own.
    """
    times, joints = present.shape[1:]
    time = torch.arange(times, device=present.device)[:, None]
    joint = torch.arange(joints, device=present.device)
    length = frames.clamp(min=1)[:, None, None]
    which, when, where = noise.unbind(3)
    # Below mask_ratio the first number is uniform once more: it decides what takes a selected joint's place.
    kind = which / mask_ratio
    other_time = torch.remainder(time + (when * (length - 1)).long() + 1, length)
    other_joint = torch.remainder(joint + (where * (joints - 1)).long() + 1, joints)
    own, other = (time * joints + joint).expand_as(other_time), other_time * joints + other_joint
    is_constant = kind < constant_share
    is_swapped = ~is_constant & (kind < constant_share + swapped_share)
    is_swapped &= present.flatten(1).gather(1, other.flatten(1)).view_as(present)
    return selected & is_constant, torch.where(selected & is_swapped, other, own)


def moving_clips(
    joints: Float[Tensor, "sequence time joint 3"],
    present: Bool[Tensor, "sequence time joint"],
    frames: Int64[Tensor, " sequence"],
    clip_frames: int,
    dilation: int,
) -> Bool[Tensor, "sequence time"]:
    """Tell which frames are the centre of a clip in which anything moves.

    Flow is the sum of the absolute differences of a frame and the one before it; a clip moves when any of its frames
    inside the sequence, the first one of the sequence apart, has flow.
    """
    steps = torch.where((present[:, 1:] & present[:, :-1])[..., None], joints[:, 1:] - joints[:, :-1], 0.0)
    inside = torch.arange(joints.shape[1], device=joints.device) < frames[:, None]
    flows = F.pad((steps != 0).flatten(2).any(2), (1, 0)) & inside
    reach = dilation * (clip_frames // 2)
    within_reach = F.pad(flows, (reach, reach)).unfold(1, 2 * reach + 1, 1)[..., ::dilation]
    return within_reach.any(2) & inside


def chosen(
    candidates: Bool[Tensor, "sequence time"], uniform: Float[Tensor, " sequence"]
) -> Int64[Tensor, " sequence"]:
    """Choose one of the candidates of each sequence, each equally often; 0 where there is none."""
    rank = candidates.cumsum(1)
    wanted = (uniform * rank[:, -1]).long() + 1
    return (rank >= wanted[:, None]).int().argmax(1)


def distant_pair(
    count: Int64[Tensor, " sequence"], uniform: Float[Tensor, "sequence 2"]
) -> Int64[Tensor, "sequence 2"]:
    """Choose two of `count` places that are at least 2 apart, each pair equally often; of two places, both.

    A pair (a, b) with b >= a + 2 is a pair (a, b - 1) of different places among one fewer.
    """
    fewer = (count - 1).clamp(min=2)
    first = (uniform[:, 0] * fewer).long()
    second = torch.remainder(first + 1 + (uniform[:, 1] * (fewer - 1)).long(), fewer)
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    return torch.stack((low, torch.where(count > 2, high + 1, high)), dim=1)


def swapped(items: Tensor, pair: Int64[Tensor, "sequence 2"]) -> Tensor:
    """Exchange two items of each sequence."""
    own = torch.arange(len(items), device=items.device)[:, None]
    order = torch.arange(items.shape[1], device=items.device).repeat(len(items), 1)
    return items[own, order.scatter(1, pair, pair.flip(1))]
