"""What Motion-Transformer hides and predicts and how it errs, as pure functions: spans of frames, flow, terms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

DIRECTIONS = 27  # three signs for each of three axes

_FOLLOWED = (
    "What is predicted is flow: hidden frames follow it from the last true frame before them; those before any true "
    "frame start from the first."
)
# What of the truth goes into a picture of predicted flow, by variant (`followed`).
NOTES = {
    "flow-cls": _FOLLOWED,
    "flow-reg": f"{_FOLLOWED} Its size is that of the body's true flow, on average.",
    "causal": "Nothing is hidden: each frame is predicted by the flow that leads to it from a true earlier one.",
}


def flow(
    joints: Float[Tensor, "body time joint 3"], present: Bool[Tensor, "body time joint"], interval: int
) -> tuple[Float[Tensor, "body time joint 3"], Bool[Tensor, "body time joint"]]:
    """Return the displacement over `interval` frames, and where it is known: where it leads from present to present.

    The last frames have nowhere to lead; where it is not known, it is zero.
    """
    displacement = F.pad(joints[:, interval:] - joints[:, :-interval], (0, 0, 0, 0, 0, interval))
    leads_on = torch.arange(present.shape[1], device=present.device) < present.shape[1] - interval
    has_flow = present & present.roll(-interval, dims=1) & leads_on[:, None]
    return torch.where(has_flow[..., None], displacement, 0.0), has_flow


def at_intervals(
    joints: Float[Tensor, "body time joint 3"], present: Bool[Tensor, "body time joint"], intervals: Sequence[int]
) -> tuple[Float[Tensor, "body time interval joint 3"], Bool[Tensor, "body time interval joint"]]:
    """Return the flow at every interval, and where it is known."""
    parts = [flow(joints, present, interval) for interval in intervals]
    return torch.stack([part for part, _ in parts], dim=2), torch.stack([has_flow for _, has_flow in parts], dim=2)


def touching(hidden: Bool[Tensor, "body time"], intervals: Sequence[int]) -> Bool[Tensor, "body time interval"]:
    """Tell from which frames flow leads from or to a hidden frame."""
    parts: list[Tensor] = []
    for interval in intervals:
        leads_on = torch.arange(hidden.shape[1], device=hidden.device) < hidden.shape[1] - interval
        parts.append(hidden | hidden.roll(-interval, dims=1) & leads_on)
    return torch.stack(parts, dim=2)


def size(
    displacement: Float[Tensor, "body time interval joint 3"],
    has_flow: Bool[Tensor, "body time interval joint"],
    dead_zone: float,
) -> Float[Tensor, "body 1 interval 1 1"]:
    """Return how large a coordinate of a body's flow is (root mean square), but no less than the dead zone."""
    share = has_flow / has_flow.sum((1, 3), keepdim=True).clamp(min=1)
    mean_square = (share[..., None] * displacement.square()).sum((1, 3, 4), keepdim=True).div(3)
    return mean_square.sqrt().clamp(min=max(dead_zone, 1e-6))


def direction_class(displacement: Float[Tensor, "*rest 3"], dead_zone: float) -> Int64[Tensor, "*rest"]:
    """Number directions from 0 to 26: the sum over axes i of 3^i s_i.

    s is 0 below -dead_zone, 2 above dead_zone, and 1 between, bounds included; 13 is no motion.
    """
    sign = 1 + (displacement > dead_zone).long() - (displacement < -dead_zone).long()
    return sign[..., 0] + 3 * sign[..., 1] + 9 * sign[..., 2]


def direction_vector(number: Int64[Tensor, "*rest"]) -> Float[Tensor, "*rest 3"]:
    """Return the unit vector in the middle of a direction; zero for the one that is no motion (13)."""
    sign = torch.stack((number % 3, number // 3 % 3, number // 9), dim=-1).float() - 1.0
    return F.normalize(sign, dim=-1)


def log_magnitude(displacement: Float[Tensor, "*rest 3"], unit: float) -> Float[Tensor, "*rest"]:
    """Return log(1 + length / unit): in proportion to the length below the unit, to its logarithm far above."""
    return torch.log1p(displacement.norm(dim=-1) / unit)


def length_of(magnitude: Float[Tensor, "*rest"], unit: float) -> Float[Tensor, "*rest"]:
    """Return the length of a magnitude; 0 for magnitudes below 0."""
    return torch.expm1(magnitude.clamp(min=0.0)) * unit


def span_count(frames: int, mask_ratio: float, shortest: int, longest_share: float) -> int:
    """Return how many spans to draw so that they practically always cover a share of the frames: four times the mean.

    With m the mean length of a span as a share of the window, n of them leave about (1 - m)^n uncovered.
    """
    longest = max(shortest, math.floor(longest_share * frames))
    mean_share = min((shortest + longest) / 2 / frames, 0.9)
    return 4 + math.ceil(4 * math.log(1.0 - mask_ratio) / math.log(1.0 - mean_share))


def hide_spans(
    noise: Float[Tensor, "body span 2"],
    usable: Bool[Tensor, "body time"],
    mask_ratio: float,
    shortest: int,
    longest_share: float,
) -> Bool[Tensor, "body time"]:
    """Hide spans of frames, one after the other until their union covers the ratio; the last one is cut off there.

    Usable frames are counted as if they followed each other, so that a span may bridge a gap. Of n of them
    ceil(mask_ratio * n) are hidden, but never the only one that is left.

    Args:
        noise: uniform on [0, 1): length and place of each span, in the order in which they are hidden.
        usable: which frames there are.
        mask_ratio: share of the usable frames to hide.
        shortest: frames of the shortest span.
        longest_share: length of the longest span, as a share of the usable frames (if that is not below `shortest`).
    """
    frames = usable.shape[1]
    count = usable.sum(1, keepdim=True)
    longest = (count * longest_share + 1e-4).floor().long().clamp(min=shortest)
    length = shortest + (noise[..., 0] * (longest - shortest + 1)).floor().long()
    # noise < 1, but a float32 product may round up to its bound.
    length = torch.minimum(torch.minimum(length, longest), count)
    start = torch.minimum((noise[..., 1] * (count - length + 1)).floor().long(), count - length)

    offset = (usable.cumsum(1) - 1)[:, None, :] - start[:, :, None]
    covered = (offset >= 0) & (offset < length[:, :, None]) & usable[:, None, :]
    # When a frame's turn comes: with the first span that covers it, from left to right.
    never = noise.shape[1] * frames
    turn = torch.arange(noise.shape[1], device=noise.device)[:, None] * frames + offset
    turn = torch.where(covered, turn, never).amin(1)
    wanted = torch.minimum((count * mask_ratio - 1e-4).ceil().long(), count - 1)
    return (turn.argsort(1).argsort(1) < wanted) & (turn < never)


def replace_hidden(
    noise: Float[Tensor, "body time 2"],
    hidden: Bool[Tensor, "body time"],
    visible: Bool[Tensor, "body time"],
    vector_share: float,
    swapped_share: float,
) -> tuple[Bool[Tensor, "body time"], Int64[Tensor, "body time"]]:
    """Draw what the encoder is given in place of hidden frames: a vector, another frame, or the frame itself.

    The other frame is one of the visible ones: what is hidden appears nowhere else.

    Args:
        noise: uniform on [0, 1): what happens to a frame, and which other frame it may become.
        hidden: which frames are hidden.
        visible: which are visible.
        vector_share: share of the hidden frames that become the vector.
        swapped_share: share of the hidden frames that become another frame.

    Returns:
        Which frames become the vector, and from which frame each is taken (mostly from itself).
    """
    vector = hidden & (noise[..., 0] < vector_share)
    swapped = hidden & ~vector & (noise[..., 0] < vector_share + swapped_share)
    count = visible.sum(1, keepdim=True)
    # The visible frames come first, in the order of time.
    chosen = torch.minimum((noise[..., 1] * count).floor().long(), (count - 1).clamp(min=0))
    other = (~visible).long().argsort(dim=1, stable=True).gather(1, chosen)
    itself = torch.arange(hidden.shape[1], device=hidden.device).expand_as(other)
    return vector, torch.where(swapped, other, itself)


@dataclass
class Term:
    """One part of the loss, summed over bodies.

    Args:
        loss: of the prediction.
        loss_of_mean: of always predicting the mean of this micro-batch for a joint (for classes, their frequencies).
        metrics: what else there is to say of the prediction, in the unit that its name says.
    """

    loss: Float[Tensor, ""]
    loss_of_mean: Float[Tensor, ""]
    metrics: dict[str, Float[Tensor, ""]] = field(default_factory=dict)


def share_of_body(counts: Bool[Tensor, "body *rest"]) -> Float[Tensor, "body *rest"]:
    """Weigh what counts so that it sums to 1 for every body that has any of it, and to 0 for the others."""
    number = counts.flatten(1).sum(1).clamp(min=1)
    return counts / number.view(-1, *(1 for _ in counts.shape[1:]))


def smooth_term(
    prediction: Float[Tensor, "frame *rest value"],
    target: Float[Tensor, "frame *rest value"],
    share: Float[Tensor, "frame *rest"],
) -> Term:
    """Return the smooth absolute error: half the square up to an error of 1, its size less a half beyond."""
    error = F.smooth_l1_loss(prediction, target, reduction="none").mean(-1)
    mean = (share[..., None] * target).sum(0) / share.sum(0)[..., None].clamp(min=1e-12)
    error_of_mean = F.smooth_l1_loss(mean.expand_as(target), target, reduction="none").mean(-1)
    return Term((share * error).sum(), (share * error_of_mean).sum())


def class_term(
    logits: Float[Tensor, "frame interval joint direction"],
    number: Int64[Tensor, "frame interval joint"],
    share: Float[Tensor, "frame interval joint"],
) -> Term:
    """Return the cross-entropy; to compare with, the entropy of each joint's own frequencies."""
    error = F.cross_entropy(logits.flatten(0, -2), number.flatten(), reduction="none").view_as(share)
    shares = class_shares(number, share)
    frequency = shares / shares.sum(-1, keepdim=True).clamp(min=1e-12)
    return Term((share * error).sum(), -torch.xlogy(shares, frequency).sum())


def class_shares(
    number: Int64[Tensor, "frame interval joint"], share: Float[Tensor, "frame interval joint"]
) -> Float[Tensor, "interval joint direction"]:
    """Sum the shares of each direction."""
    intervals, joints = number.shape[1:]
    row = torch.arange(intervals * joints, device=number.device).view(intervals, joints)
    shares = share.new_zeros(intervals * joints * DIRECTIONS)
    shares.index_add_(0, (row * DIRECTIONS + number).flatten(), share.flatten())
    return shares.view(intervals, joints, DIRECTIONS)


def pose_term(
    weight: float,
    unit: float,
    prediction: Float[Tensor, "frame joint coordinate"],
    joints: Float[Tensor, "frame joint coordinate"],
    share: Float[Tensor, "frame joint"],
) -> Term:
    """Return the smooth error of poses, which are predicted in some unit; the metric is in that of the joints."""
    target = joints / unit
    term = smooth_term(prediction, target, share)
    error = (share * (prediction - target).norm(dim=-1)).sum() * unit
    return Term(weight * term.loss, weight * term.loss_of_mean, {"pose_error": error})


def direction_term(
    weight: float,
    dead_zone: float,
    logits: Float[Tensor, "frame interval joint direction"],
    displacement: Float[Tensor, "frame interval joint 3"],
    share: Float[Tensor, "frame interval joint"],
) -> Term:
    """Return the cross-entropy of directions, and how often they are right.

    To compare with: how often the commonest direction of this micro-batch is.
    """
    number = direction_class(displacement, dead_zone)
    term = class_term(logits, number, share)
    right = logits.gather(-1, number[..., None])[..., 0] >= logits.amax(-1)
    metrics = {
        "direction_accuracy_percent": 100.0 * (share * right).sum(),
        "direction_majority_percent": 100.0 * class_shares(number, share).sum(1).amax(-1).sum(),
    }
    return Term(weight * term.loss, weight * term.loss_of_mean, metrics)


def magnitude_term(
    weight: float,
    unit: float,
    prediction: Float[Tensor, "frame interval joint"],
    displacement: Float[Tensor, "frame interval joint 3"],
    share: Float[Tensor, "frame interval joint"],
) -> Term:
    """Return the smooth error of the logarithms of lengths."""
    term = smooth_term(prediction[..., None], log_magnitude(displacement, unit)[..., None], share)
    return Term(weight * term.loss, weight * term.loss_of_mean)


def followed(
    steps: Float[Tensor, "body time joint 3"],
    joints: Float[Tensor, "body time joint 3"],
    given: Bool[Tensor, "body time joint"],
    interval: int,
) -> Float[Tensor, "body time joint 3"]:
    """Follow steps to where they lead: from given positions, or from what was reached where none is given.

    Args:
        steps: from each frame to the one that is `interval` frames later.
        joints: the positions.
        given: which of them are known; before any, the first one stands.
        interval: frames per step.
    """
    first = given.long().argmax(1)[:, None, :, None].expand(-1, 1, -1, 3)
    start = joints.gather(1, first)[:, 0]
    reached: list[Tensor] = []
    leads_from: list[Tensor] = []
    for time in range(joints.shape[1]):
        place = start if time < interval else leads_from[time - interval] + steps[:, time - interval]
        reached.append(place)
        leads_from.append(torch.where(given[:, time, :, None], joints[:, time], place))
    return torch.stack(reached, dim=1)
