"""Which tokens MAMP and AMR hide: any at random, or rather those that move.

Hiding is a Gumbel top-k draw: tokens are ordered by log-probability plus Gumbel noise, the smallest stay visible. That
is the same as drawing the hidden ones from the probabilities one by one without replacement (Plackett-Luce).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from marrow.data.batch import Batch, Shapes
from marrow.errors import ConfigError
from marrow.models.grid import PatchGrid
from marrow.models.packing import Rows, rows_of

_FLOOR = 1e-10  # keeps the logarithms and the division finite; the value is the authors'


@dataclass
class Hiding:
    """Which tokens of each body are visible and which are hidden, as places on the grid.

    Rows are padded where bodies have different numbers of usable tokens; the flags tell what is padding, and are None
    where nothing is.
    """

    visible: Int64[Tensor, "body visible"]
    hidden: Int64[Tensor, "body hidden"]
    visible_exists: Bool[Tensor, "body visible"] | None
    hidden_exists: Bool[Tensor, "body hidden"] | None

    def exists(self) -> Bool[Tensor, "body token"] | None:
        """Tell which of the visible tokens, then of the hidden ones, are no padding; None: all."""
        if self.visible_exists is None or self.hidden_exists is None:
            return None
        return torch.cat((self.visible_exists, self.hidden_exists), dim=1)

    def per_joint(self, grid: PatchGrid) -> tuple[Bool[Tensor, "body time joint"], Bool[Tensor, "body time joint"]]:
        """Return which joints are visible, and which are hidden."""
        visible = grid.flags_at(self.visible, self.visible_exists)
        return grid.spread(visible), grid.spread(grid.flags_at(self.hidden, self.hidden_exists))


@dataclass
class HidingDraw:
    """What is random in a step: which bodies are in it, and which of their tokens are hidden."""

    rows: Rows
    hiding: Hiding


def hide(
    batch: Batch,
    noise: Float[Tensor, "batch body token"],
    grid: PatchGrid,
    mask_ratio: float,
    *,
    tau: float | None,
    rounded: bool = False,
) -> HidingDraw:
    """Choose the bodies that are computed, and hide most of their tokens.

    Args:
        batch: clips. A token is usable when its joints are present in all its frames.
        noise: uniform on [0, 1).
        grid: the tokens.
        mask_ratio: share of a body's usable tokens that is hidden.
        tau: temperature at which tokens that move are hidden rather than others; None: whether they move has no say.
        rounded: round the number of visible ones to the nearest instead of down.
    """
    usable = grid.all_of_patch(batch.present.flatten(0, 1))
    rows = rows_of(usable.unflatten(0, batch.joints.shape[:2]), batch)
    usable, score = rows.take(usable), noise.flatten(0, 1)[rows.body]
    if tau is not None:
        intensity = motion_intensity(grid.patchify(rows.joints(batch)), usable, grid)
        score = motion_guided_order(intensity, score, tau)
    return HidingDraw(rows, hide_all_but_smallest(score, usable, mask_ratio, batch.shapes, rounded=rounded))


def visible_count(tokens: int, mask_ratio: float, *, rounded: bool = False) -> int:
    """Return how many of a number of tokens stay visible, at least one.

    The integer part, as in the released code of MAMP: 750 * (1 - 0.9) is 74.99999999999999 in floating point, so 74
    stay. With `rounded` it is the nearest whole number, 75.
    """
    count = tokens * (1 - mask_ratio)
    return max(1, round(count) if rounded else int(count))


def visible_counts(
    tokens: Int64[Tensor, " body"], mask_ratio: float, *, rounded: bool = False
) -> Int64[Tensor, " body"]:
    """Return the same for the tokens of several bodies, on their device where that has float64."""
    home = tokens.device
    share = (tokens.cpu() if home.type == "mps" else tokens).double() * (1 - mask_ratio)
    return (share.round() if rounded else share).long().clamp(min=1).to(home)


def motion_intensity(
    patches: Float[Tensor, "body token value"], usable: Bool[Tensor, "body token"], grid: PatchGrid
) -> Float[Tensor, "body token"]:
    """Measure how far each patch is from the one before it in time (mean absolute difference, in input units).

    The first patch in time has the intensity of the second; a difference with an unusable patch counts as none.
    """
    if grid.times == 1:
        return patches.new_zeros(patches.shape[:2])
    patches = patches.unflatten(1, (grid.times, grid.joint_patches))
    usable = usable.unflatten(1, (grid.times, grid.joint_patches))
    steps = (patches[:, 1:] - patches[:, :-1]).abs().mean(-1)
    steps = torch.where(usable[:, 1:] & usable[:, :-1], steps, 0.0)
    return torch.cat((steps[:, :1], steps), dim=1).flatten(1)


def motion_guided_order(
    intensity: Float[Tensor, "body token"], noise: Float[Tensor, "body token"], tau: float
) -> Float[Tensor, "body token"]:
    """Score tokens so that the smallest stay visible; the still ones mostly do.

    The log-probability is intensity / (tau * its maximum), up to a constant per body, which cannot change an order.

    Args:
        intensity: how much each token moves; zero where unusable.
        noise: uniform on [0, 1).
        tau: temperature; the smaller, the stronger motion decides.
    """
    if tau <= 0:
        raise ConfigError(f"tau must be positive, got {tau}; for uniform hiding set masking to 'uniform'")
    logits = intensity / (tau * intensity.amax(dim=1, keepdim=True) + _FLOOR)
    gumbel = -torch.log(-torch.log(noise + _FLOOR) + _FLOOR)
    return logits + gumbel


def hide_all_but_smallest(
    score: Float[Tensor, "body token"],
    usable: Bool[Tensor, "body token"],
    mask_ratio: float,
    shapes: Shapes | None = None,
    *,
    rounded: bool = False,
) -> Hiding:
    """Hide all but the tokens with the smallest scores.

    Args:
        score: what decides; the smallest stay visible.
        usable: tokens that may be either; the others are neither visible nor hidden.
        mask_ratio: share of the usable tokens that is hidden.
        shapes: of the batch. None: rows are as short as its bodies allow, which is read from the device.
        rounded: round the number of visible ones to the nearest instead of down.
    """
    order = torch.where(usable, score, torch.inf).argsort(dim=1)
    tokens = usable.shape[1]
    widest = visible_count(tokens, mask_ratio, rounded=rounded)
    if bool(usable.all()) if shapes is None else shapes.whole:
        return Hiding(order[:, :widest], order[:, widest:], None, None)
    usable_count = usable.sum(1)
    count = visible_counts(usable_count, mask_ratio, rounded=rounded)
    hidden_count, most = usable_count - count, tokens - widest
    if shapes is None:
        widest, most = int(count.max()), int(hidden_count.max())
    most = max(1, most)
    place = torch.arange(tokens, device=score.device)
    # The hidden ones of a body start behind its own visible ones; shift each row to the left by that many.
    shifted = (place + count[:, None]).clamp(max=tokens - 1)
    return Hiding(
        visible=order[:, :widest],
        hidden=order.gather(1, shifted)[:, :most],
        visible_exists=(place < count[:, None])[:, :widest],
        hidden_exists=(place < hidden_count[:, None])[:, :most],
    )
