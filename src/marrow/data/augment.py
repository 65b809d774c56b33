"""What is varied in training, and its draw: all random numbers of a batch, before anything is done to its frames.

`marrow.data.sampling` applies what is drawn here. The numbers of a clip do not depend on the others in its batch.

Hi-TRS's augmentation (`one_of_each`) gives a clip exactly one spatial and one temporal operation, or neither. Y. Chen
et al., "Hierarchically Self-Supervised Transformer for Human Skeleton Representation Learning", ECCV 2022, doi
10.1007/978-3-031-19809-0_11; the values are those of the released code. There, positions are metres of the camera. The
noise is a length: after the alignment `body`, whose unit is the trunk (about half a metre), the same number is a shift
of half the size. Scale and shear have no unit, but act about the origin: of the camera there (a person at 3 m moves as
well as grows), of the clip after an alignment.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from marrow.data.draws import Draws
from marrow.data.window import Windows
from marrow.errors import ConfigError
from marrow.skeleton.layout import Skeleton

# Hi-TRS's operations by their numbers; each is as likely as the others of its kind.
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


@dataclass(frozen=True)
class AugmentConfig:
    """What is varied in training; the defaults are those of the released MAMP code.

    Args:
        crop_low: smallest share of a clip's frames that a window takes.
        crop_high: largest share.
        min_crop_frames: no window is shorter, unless the clip is.
        min_crop_seconds: the same in seconds, for clips of different rates; null: no such bound.
        max_crop_seconds: no window is longer, which for long recordings takes the place of a share; null: no bound.
        rotation_radians: three angles per clip, each uniform in [-r, r), as R = Rz * Ry * Rx. In two dimensions only
            the one in the image.
        yaw_radians: a further turn about the vertical, uniform in [-r, r); pi turns a clip anywhere.
        mirror_probability: how often left and right are exchanged, in names and in space.
        scale_share: size is multiplied by a factor uniform in [1 - s, 1 + s).
        projection_probability: how often a clip is seen by a camera, so that two of its dimensions are left: the camera
            looks from anywhere around at up to 30 degrees from above or below, and is far away (parallel rays). For
            encoders that take recordings in two dimensions, too.
        jitter_metres: standard deviation of Gaussian noise on every present coordinate (in trunk lengths after the
            alignment `body`).
        one_of_each: how often a clip gets Hi-TRS's augmentation, before everything else: one of scale, noise on five
            joints and shear, and one of interpolation and crop. Its crop replaces the one above. Its values were
            chosen for metres of the camera: after the alignment `body`, the unit of the noise is the trunk.
    """

    crop_low: float = 0.5
    crop_high: float = 1.0
    min_crop_frames: int = 64
    min_crop_seconds: float | None = None
    max_crop_seconds: float | None = None
    rotation_radians: float = 0.3
    yaw_radians: float = 0.0
    mirror_probability: float = 0.0
    scale_share: float = 0.0
    projection_probability: float = 0.0
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
        shortest = 0.0 if self.min_crop_seconds is None else self.min_crop_seconds
        longest = math.inf if self.max_crop_seconds is None else self.max_crop_seconds
        if not 0.0 <= shortest <= longest or longest == 0.0:
            raise ConfigError(
                "augment: expected 0 <= min_crop_seconds <= max_crop_seconds, the latter above 0, "
                f"got min_crop_seconds={self.min_crop_seconds}, max_crop_seconds={self.max_crop_seconds}"
            )
        for name in ("mirror_probability", "one_of_each", "projection_probability"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"augment.{name} must lie in [0, 1], got {getattr(self, name)}")
        if not 0.0 <= self.scale_share < 1.0:
            raise ConfigError(f"augment.scale_share must lie in [0, 1), got {self.scale_share}")
        for name in ("rotation_radians", "yaw_radians", "jitter_metres"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"augment.{name} must be a finite number of at least 0, got {getattr(self, name)}")

    def check_layout(self, skeleton: Skeleton) -> None:
        """Refuse to exchange left and right in a layout that does not say which joints these are.

        Raises:
            ConfigError: this mirrors, and every joint of the layout is its own partner.
        """
        if self.mirror_probability > 0 and not skeleton.has_sides:
            raise ConfigError(
                f"augment.mirror_probability is {self.mirror_probability:g}, but the layout {skeleton.name!r} has no "
                "pairs of left and right joints: a mirrored body would have its left leg at the right. Name the pairs "
                "when the store is made (marrow import --sides, marrow prepare bvh --options.sides), or set it to 0"
            )
        if self.projection_probability > 0 and (skeleton.dimensions, skeleton.up) != (3, "y"):
            raise ConfigError(
                f"augment.projection_probability is {self.projection_probability:g}, but a camera sees bodies of three "
                f"dimensions that stand along y; {skeleton.name!r} has {skeleton.dimensions}, {skeleton.up} up"
            )


@dataclass
class Choice:
    """Which operations of Hi-TRS's the clips of a batch get.

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


@dataclass
class OneOfEach:
    """What Hi-TRS's operations do to the clips that get them, the crop apart.

    Args:
        matrix: scale or shear; the identity for clips that get neither.
        is_shifted: joints that noise moves, in all frames and bodies of the clip alike.
        shift: by how much it moves a joint.
        is_interpolated: whose frames move towards the next one.
        share: of the way.
    """

    matrix: Float32[Tensor, "batch 3 3"]
    is_shifted: Bool[Tensor, "batch joint"]
    shift: Float32[Tensor, "batch joint 3"]
    is_interpolated: Bool[Tensor, " batch"]
    share: Float32[Tensor, " batch"]


@dataclass
class Augmentation:
    """What was drawn for a batch; None where the settings do not ask for it.

    Args:
        windows: which frames of each clip.
        one_of_each: Hi-TRS's operations.
        mirrored: whose left and right change places, in names and in space.
        scale: factor of the size.
        yaw_radians: turn about the vertical.
        rotation_radians: angles about x, y and z.
        projected: which clips a camera sees, and two numbers uniform on [0, 1) that say from where.
        jitter_metres: added to every present coordinate, for the longest time axis that a batch may have.
    """

    windows: Windows
    one_of_each: OneOfEach | None = None
    mirrored: Bool[Tensor, " batch"] | None = None
    scale: Float32[Tensor, " batch"] | None = None
    yaw_radians: Float32[Tensor, " batch"] | None = None
    rotation_radians: Float32[Tensor, "batch 3"] | None = None
    projected: tuple[Bool[Tensor, " batch"], Float32[Tensor, "batch 2"]] | None = None
    jitter_metres: Float32[Tensor, "batch body time joint 3"] | None = None


def draw_augmentation(
    draws: Draws,
    augment: AugmentConfig,
    frame_count: Int64[Tensor, " batch"],
    fps: Float32[Tensor, " batch"] | None = None,
    *,
    bodies: int,
    window_frames: int,
    joints: int,
) -> Augmentation:
    """Draw everything that is random in a batch.

    Args:
        draws: where the numbers come from.
        augment: the settings.
        frame_count: frames of each clip.
        fps: frames per second of each, where crops have bounds in seconds.
        bodies: length of the body axis.
        window_frames: the longest time axis that a batch may have.
        joints: of the skeleton.
    """
    drawn = Augmentation(random_windows(frame_count, draws, augment, fps))
    if augment.one_of_each > 0:
        drawn.one_of_each = draw_operations(draws, draw_choice(draws, augment.one_of_each), joints)
    if augment.mirror_probability > 0:
        drawn.mirrored = draws.uniform("mirror") < augment.mirror_probability
    if augment.scale_share > 0:
        drawn.scale = 1.0 + augment.scale_share * (2.0 * draws.uniform("scale") - 1.0)
    if augment.yaw_radians > 0:
        drawn.yaw_radians = augment.yaw_radians * (2.0 * draws.uniform("yaw") - 1.0)
    if augment.rotation_radians > 0:
        drawn.rotation_radians = augment.rotation_radians * (2.0 * draws.uniform("rotation", 3) - 1.0)
    if augment.projection_probability > 0:
        drawn.projected = draws.uniform("projected") < augment.projection_probability, draws.uniform("camera", 2)
    if augment.jitter_metres > 0:
        radius, angle = draws.uniform("jitter", 2, bodies, window_frames, joints, 3).unbind(1)
        # Box and Muller: 1 - u lies in (0, 1], so the logarithm is finite.
        noise = torch.sqrt(-2.0 * torch.log(1.0 - radius)) * torch.cos(2.0 * math.pi * angle)
        drawn.jitter_metres = augment.jitter_metres * noise
    return drawn


def random_windows(
    frame_count: Int64[Tensor, " batch"],
    draws: Draws,
    augment: AugmentConfig,
    fps: Float32[Tensor, " batch"] | None = None,
) -> Windows:
    """Draw a window per clip: a random share of its frames at a random place.

    With p uniform on [crop_low, crop_high) and L frames, the length is floor(p * L), but not below `min_crop_frames`
    and never above L; bounds in seconds are those of the clip's own rate. Clips that get Hi-TRS's crop (`one_of_each`)
    get that one instead.
    """
    share, place = draws.uniform("crop", 2).unbind(1)
    share = augment.crop_low + (augment.crop_high - augment.crop_low) * share
    length = torch.floor(share * frame_count).to(torch.int64).clamp(min=augment.min_crop_frames)
    if augment.min_crop_seconds is not None or augment.max_crop_seconds is not None:
        assert fps is not None, "the rate of every clip is needed"
        shortest, longest = augment.min_crop_seconds or 0.0, augment.max_crop_seconds or math.inf
        length = torch.minimum(length, torch.floor(longest * fps).clamp(max=2**30).to(torch.int64).clamp(min=1))
        length = torch.maximum(length, torch.ceil(shortest * fps).to(torch.int64))
    length = torch.minimum(length, frame_count)
    slack = frame_count - length
    # place < 1, but the float32 product may round up to slack + 1.
    start = torch.minimum(torch.floor(place * (slack + 1)).to(torch.int64), slack)
    if augment.one_of_each > 0:
        is_cropped = draw_choice(draws, augment.one_of_each).gets("crop")
        other_start, other_length = cropped(frame_count, draws)
        start, length = torch.where(is_cropped, other_start, start), torch.where(is_cropped, other_length, length)
    return Windows(start, length)


def draw_choice(draws: Draws, probability: float) -> Choice:
    """Draw who gets operations, and which."""
    applied, spatial, temporal = draws.uniform("one_of_each", 3).unbind(1)
    return Choice(
        *(
            torch.where(applied < probability, (share * len(kind)).to(torch.int64).clamp(max=len(kind) - 1), -1)
            for share, kind in ((spatial, SPATIAL), (temporal, TEMPORAL))
        )
    )


def draw_operations(draws: Draws, choice: Choice, joints: int) -> OneOfEach:
    """Draw what Hi-TRS's operations do to the clips that get them."""
    # The joints with the lowest numbers; a stable order has no ties, so they are as many as they should be.
    lowest = draws.uniform("one_noisy_joints", joints).argsort(dim=1, stable=True)[:, :NOISY_JOINTS]
    is_shifted = torch.zeros((len(lowest), joints), dtype=torch.bool, device=lowest.device).scatter_(1, lowest, True)
    return OneOfEach(
        matrix=scale_or_shear(draws, choice),
        is_shifted=is_shifted & choice.gets("joint_noise")[:, None],
        shift=NOISE_METRES * (2.0 * draws.uniform("one_noise", joints, 3) - 1.0),
        is_interpolated=choice.gets("interpolate"),
        share=draws.uniform("one_interpolation"),
    )


def scale_or_shear(draws: Draws, choice: Choice) -> Float32[Tensor, "batch 3 3"]:
    """Draw the linear part; the identity for clips that get neither."""
    identity = torch.eye(3, device=choice.spatial.device)
    factor = LOWEST_SCALE + (HIGHEST_SCALE - LOWEST_SCALE) * draws.uniform("one_scale")
    factor = torch.where(choice.gets("scale"), factor, 1.0)
    # Nine are drawn, as many as there are places; the three on the diagonal are not used.
    beside = MOST_SHEAR * (2.0 * draws.uniform("one_shear", 3, 3) - 1.0) * (1.0 - identity)
    return factor[:, None, None] * identity + torch.where(choice.gets("shear")[:, None, None], beside, 0.0)


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
