"""Augmentation of whole batches, on the device of the frames.

Everything linear (rotation, turn about the vertical, reflection, scale) becomes one matrix per clip that `gather`
applies together with the alignment; what is left (swapping left and right, jitter) is done on the finished batch.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from marrow.data.draws import Draws
from marrow.data.one_of_each import Choice, add_joint_noise, draw_choice, interpolate, scale_or_shear
from marrow.errors import ConfigError
from marrow.skeleton.layout import Skeleton


@dataclass(frozen=True)
class AugmentConfig:
    """What is varied in training; the defaults are those of the released MAMP code.

    Args:
        crop_low: smallest share of a clip's frames that a window takes.
        crop_high: largest share.
        min_crop_frames: no window is shorter, unless the clip is.
        rotation_radians: three angles per clip, each uniform in [-r, r), as R = Rz * Ry * Rx.
        yaw_radians: a further turn about the vertical, uniform in [-r, r); pi turns a clip anywhere.
        mirror_probability: how often left and right are exchanged, in names and in space.
        scale_share: size is multiplied by a factor uniform in [1 - s, 1 + s).
        jitter_metres: standard deviation of Gaussian noise on every present coordinate (in trunk lengths after the
            alignment `body`).
        one_of_each: how often a clip gets Hi-TRS's augmentation, before everything else: one of scale, noise on five
            joints and shear, and one of interpolation and crop. Its crop replaces the one above. Its values
            (`marrow.data.one_of_each`) were chosen for metres of the camera: after the alignment `body`, the unit of
            the noise is the trunk.
    """

    crop_low: float = 0.5
    crop_high: float = 1.0
    min_crop_frames: int = 64
    rotation_radians: float = 0.3
    yaw_radians: float = 0.0
    mirror_probability: float = 0.0
    scale_share: float = 0.0
    jitter_metres: float = 0.0
    one_of_each: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.crop_low <= self.crop_high <= 1.0:
            raise ConfigError(
                "augment: expected 0 < crop_low <= crop_high <= 1, "
                f"got crop_low={self.crop_low}, crop_high={self.crop_high}"
            )
        if self.min_crop_frames < 1:
            raise ConfigError(f"augment.min_crop_frames must be at least 1, got {self.min_crop_frames}")
        for name in ("mirror_probability", "one_of_each"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"augment.{name} must lie in [0, 1], got {getattr(self, name)}")
        if not 0.0 <= self.scale_share < 1.0:
            raise ConfigError(f"augment.scale_share must lie in [0, 1), got {self.scale_share}")
        for name in ("rotation_radians", "yaw_radians", "jitter_metres"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"augment.{name} must be a finite number of at least 0, got {getattr(self, name)}")


@dataclass
class Augmentation:
    """What was drawn for a batch, crops apart.

    Args:
        matrix: the linear part; None for the identity.
        mirrored: whose left and right joints change places; None for nobody's.
        choice: which of Hi-TRS's operations the clips get; None for none.
    """

    matrix: Float32[Tensor, "batch 3 3"] | None
    mirrored: Bool[Tensor, " batch"] | None
    choice: Choice | None = None


def draw_augmentation(draws: Draws, augment: AugmentConfig, skeleton: Skeleton) -> Augmentation:
    """Draw the linear part (rotation * turn * scale * reflection * Hi-TRS's scale or shear) and who is mirrored."""
    matrix, mirrored, choice = None, None, None
    up = "xyz".index(skeleton.up)
    if augment.one_of_each > 0:
        choice = draw_choice(draws, augment.one_of_each)
        matrix = scale_or_shear(draws, choice)
    if augment.mirror_probability > 0:
        mirrored = draws.uniform("mirror") < augment.mirror_probability
        sideways = 0 if up != 0 else 1
        sign = torch.ones((len(mirrored), 3), device=mirrored.device)
        sign[:, sideways] = torch.where(mirrored, -1.0, 1.0)
        matrix = matrix_product(torch.diag_embed(sign), matrix)
    if augment.scale_share > 0:
        factor = 1.0 + augment.scale_share * (2.0 * draws.uniform("scale") - 1.0)
        matrix = matrix_product(torch.diag_embed(factor[:, None].expand(-1, 3)), matrix)
    if augment.yaw_radians > 0:
        angle = augment.yaw_radians * (2.0 * draws.uniform("yaw") - 1.0)
        matrix = matrix_product(axis_rotation(angle, up), matrix)
    if augment.rotation_radians > 0:
        angles = augment.rotation_radians * (2.0 * draws.uniform("rotation", 3) - 1.0)
        matrix = matrix_product(euler_rotation(angles), matrix)
    return Augmentation(matrix, mirrored, choice)


def finish(
    joints: Float32[Tensor, "batch body time joint 3"],
    present: Bool[Tensor, "batch body time joint"],
    augmentation: Augmentation,
    draws: Draws,
    augment: AugmentConfig,
    skeleton: Skeleton,
    window_frames: int,
) -> tuple[Float32[Tensor, "batch body time joint 3"], Bool[Tensor, "batch body time joint"]]:
    """Do to gathered windows what no matrix can: noise and interpolation, left and right exchanged, and jitter.

    Args:
        joints: gathered and turned.
        present: which of them exist.
        augmentation: what was drawn for the batch.
        draws: where the rest comes from.
        augment: the settings.
        skeleton: whose joints are exchanged.
        window_frames: the longest time axis that a batch may have. Numbers are drawn for so many frames, so that a
            clip's do not depend on the length of the others in its batch.
    """
    if augmentation.choice is not None:
        joints = add_joint_noise(joints, present, draws, augmentation.choice)
        joints = interpolate(joints, present, draws, augmentation.choice)
    if augmentation.mirrored is not None:
        partner = joint_index(skeleton.mirror, joints.device)
        chosen = augmentation.mirrored[:, None, None, None]
        joints = torch.where(chosen[..., None], joints.index_select(3, partner), joints)
        present = torch.where(chosen, present.index_select(3, partner), present)
    if augment.jitter_metres > 0:
        bodies, times, joint_count = joints.shape[1:4]
        drawn = draws.uniform("jitter", 2, bodies, window_frames, joint_count, 3)
        radius, angle = drawn[:, :, :, :times].unbind(1)
        # Box and Muller: 1 - u lies in (0, 1], so the logarithm is finite.
        noise = torch.sqrt(-2.0 * torch.log(1.0 - radius)) * torch.cos(2.0 * math.pi * angle)
        joints = torch.where(present[..., None], joints + augment.jitter_metres * noise, joints)
    return joints, present


def axis_rotation(angle: Float32[Tensor, " batch"], axis: int) -> Float32[Tensor, "batch 3 3"]:
    """Return right-handed rotations about x (0), y (1) or z (2)."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.zeros((len(angle), 3, 3), device=angle.device)
    after, last = (axis + 1) % 3, (axis + 2) % 3
    matrix[:, axis, axis] = 1.0
    matrix[:, after, after] = cos
    matrix[:, last, last] = cos
    matrix[:, last, after] = sin
    matrix[:, after, last] = -sin
    return matrix


def euler_rotation(angles: Float32[Tensor, "batch 3"]) -> Float32[Tensor, "batch 3 3"]:
    """Return Rz * Ry * Rx for angles about x, y and z, multiplied out."""
    (cx, cy, cz), (sx, sy, sz) = torch.cos(angles).unbind(1), torch.sin(angles).unbind(1)
    czsy, szsy = cz * sy, sz * sy
    rows = [
        *(cz * cy, czsy * sx - sz * cx, czsy * cx + sz * sx),
        *(sz * cy, szsy * sx + cz * cx, szsy * cx - cz * sx),
        *(-sy, cy * sx, cy * cx),
    ]
    return torch.stack(rows, dim=1).view(-1, 3, 3)


def matrix_product(
    left: Float32[Tensor, "batch 3 3"], right: Float32[Tensor, "batch 3 3"] | None
) -> Float32[Tensor, "batch 3 3"]:
    """Return left @ right (None is the identity), without the matrix unit: global settings decide its precision."""
    if right is None:
        return left
    return (left[:, :, :, None] * right[:, None, :, :]).sum(2)


@cache
def joint_index(joints: tuple[int, ...], device: torch.device) -> Int64[Tensor, " joint"]:
    """Return numbers of joints on a device, copied there once."""
    with torch.inference_mode(False):  # it may serve for training, too
        return torch.tensor(joints, device=device)
