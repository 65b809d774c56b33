"""Hi-TRS's augmentation of whole batches: a clip gets exactly one spatial and one temporal operation, or neither.

Y. Chen et al., "Hierarchically Self-Supervised Transformer for Human Skeleton Representation Learning", ECCV 2022, doi
10.1007/978-3-031-19809-0_11; the values are those of the released code. There, positions are metres of the camera. The
noise is a length: after the alignment `body`, whose unit is the trunk (about half a metre), the same number is a shift
of half the size. Scale and shear have no unit, but act about the origin: of the camera there (a person at 3 m moves as
well as grows), of the clip after an alignment.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from marrow.data.draws import Draws

# The operations by their numbers; each is as likely as the others of its kind.
SPATIAL = ("scale", "joint_noise", "shear")
TEMPORAL = ("interpolate", "crop")

# Scale: all coordinates times a factor uniform in [0.8, 1.2).
LOWEST_SCALE, HIGHEST_SCALE = 0.8, 1.2
# Joint noise: this many joints are shifted, each by a vector of its own, uniform in [-0.2, 0.2)^3, for the whole clip.
NOISY_JOINTS, NOISE_METRES = 5, 0.2
# Shear: x becomes A x, where A has ones on its diagonal and six numbers uniform in [-0.5, 0.5) beside it.
MOST_SHEAR = 0.5
# Crop: a share of the frames uniform in [0, 0.2) is dropped.
MOST_DROPPED = 0.2


@dataclass
class Choice:
    """Which operations the clips of a batch get.

    Args:
        spatial: place in `SPATIAL`; -1 for none.
        temporal: place in `TEMPORAL`; -1 for none, which is where `spatial` has none.
    """

    spatial: Int64[Tensor, " batch"]
    temporal: Int64[Tensor, " batch"]

    def gets(self, operation: str) -> Bool[Tensor, " batch"]:
        """Return who gets an operation."""
        if operation in SPATIAL:
            return self.spatial == SPATIAL.index(operation)
        return self.temporal == TEMPORAL.index(operation)


def draw_choice(draws: Draws, probability: float) -> Choice:
    """Draw who gets operations, and which."""
    applied, spatial, temporal = draws.uniform("one_of_each", 3).unbind(1)
    return Choice(
        *(
            torch.where(applied < probability, (share * len(kind)).to(torch.int64).clamp(max=len(kind) - 1), -1)
            for share, kind in ((spatial, SPATIAL), (temporal, TEMPORAL))
        )
    )


def scale_or_shear(draws: Draws, choice: Choice) -> Float32[Tensor, "batch 3 3"]:
    """Draw the linear part; the identity for clips that get neither."""
    identity = torch.eye(3, device=choice.spatial.device)
    factor = LOWEST_SCALE + (HIGHEST_SCALE - LOWEST_SCALE) * draws.uniform("one_scale")
    factor = torch.where(choice.gets("scale"), factor, 1.0)
    # Nine are drawn, as many as there are places; the three on the diagonal are not used.
    beside = MOST_SHEAR * (2.0 * draws.uniform("one_shear", 3, 3) - 1.0) * (1.0 - identity)
    return factor[:, None, None] * identity + torch.where(choice.gets("shear")[:, None, None], beside, 0.0)


def add_joint_noise(
    joints: Float32[Tensor, "batch body time joint 3"],
    present: Bool[Tensor, "batch body time joint"],
    draws: Draws,
    choice: Choice,
) -> Float32[Tensor, "batch body time joint 3"]:
    """Shift some joints of some clips, for all their frames and bodies alike, where they are present."""
    joint_count = joints.shape[3]
    # The joints with the lowest numbers; a stable order has no ties, so they are as many as they should be.
    chosen = draws.uniform("one_noisy_joints", joint_count).argsort(dim=1, stable=True)[:, :NOISY_JOINTS]
    noisy = torch.zeros((len(joints), joint_count), dtype=torch.bool, device=joints.device).scatter_(1, chosen, True)
    noisy &= choice.gets("joint_noise")[:, None]
    shift = NOISE_METRES * (2.0 * draws.uniform("one_noise", joint_count, 3) - 1.0)
    moved = present & noisy[:, None, None, :]
    return torch.where(moved[..., None], joints + shift[:, None, None], joints)


def interpolate(
    joints: Float32[Tensor, "batch body time joint 3"],
    present: Bool[Tensor, "batch body time joint"],
    draws: Draws,
    choice: Choice,
) -> Float32[Tensor, "batch body time joint 3"]:
    """Move every frame of some clips towards the next one, by one share per clip, where both are present.

    What follows a clip's last frame is not present, so that the last frame stays.
    """
    share = draws.uniform("one_interpolation")[:, None, None, None, None]
    moved = present[:, :, :-1] & present[:, :, 1:] & choice.gets("interpolate")[:, None, None, None]
    this, following = joints[:, :, :-1], joints[:, :, 1:]
    between = torch.where(moved[..., None], this + share * (following - this), this)
    return torch.cat((between, joints[:, :, -1:]), dim=2)


def cropped(
    frame_count: Int64[Tensor, " batch"], draws: Draws
) -> tuple[Int64[Tensor, " batch"], Int64[Tensor, " batch"]]:
    """Draw the first frame and the length of what is left of each clip, were it to be cropped.

    Of F frames, round(F * share) are dropped; how many of them at the head is uniform.
    """
    share, place = draws.uniform("one_crop", 2).unbind(1)
    dropped = torch.round(frame_count * (MOST_DROPPED * share)).to(torch.int64)
    # place < 1, but the float32 product may round up to dropped + 1.
    head = torch.minimum((place * (dropped + 1)).to(torch.int64), dropped)
    return head, frame_count - dropped
