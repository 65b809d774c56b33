"""What makes one sensor's recordings look like another's: other proportions, fewer joints, a camera instead of depth.

Limbs of other lengths and tubes of joints are what "SLiM" varies; see `docs/general.md` for what of it helps.
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from marrow.errors import ConfigError
from marrow.skeleton.known import get_skeleton
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.places import places_of

# Whose lengths have a factor of their own, and by which words of a place their joints are known.
LIMBS = ("trunk", "head", "arm", "leg")
_TRUNK = ("spine", "chest", "shoulder centre", "collar", "shoulder")
_HEAD = ("neck", "head", "head top", "nose", "eye", "ear")
_ARM = ("elbow", "wrist", "hand", "hand tip", "thumb")
_LEG = ("knee", "ankle", "heel", "foot", "toe")

# Layouts of few joints: of estimators, of the first Kinect, of lifting, and of annotators.
SHOWN_AS = ("coco_17", "kinect_v1_20", "h36m_17", "penn_13")

# How far above or below a camera may look from.
_HIGHEST_RADIANS = torch.pi / 6


@dataclass(frozen=True)
class _Limbs:
    """Which joints of a layout belong to which limb, on a device.

    Args:
        limb: place of each joint in `LIMBS`; -1 for those that stay where they are.
        origin: the joint that the limb of each joint begins at; the joint itself where it is of no limb or of the
            trunk or head, which begin in the middle of the hips and of the shoulders.
        hips: left and right.
        shoulders: left and right.
    """

    limb: Int64[Tensor, " joint"]
    origin: Int64[Tensor, " joint"]
    hips: tuple[int, int]
    shoulders: tuple[int, int]


@cache
def _limbs_of(skeleton: Skeleton, device: torch.device) -> _Limbs:
    places = places_of(skeleton)
    missing = [name for name in ("left hip", "right hip", "left shoulder", "right shoulder") if name not in places]
    if missing:
        raise ConfigError(
            f"augment.limb_share needs to know where the limbs begin; the layout {skeleton.name!r} has no "
            f"{', '.join(missing)}. Set it to 0"
        )
    limb = [-1] * len(skeleton.joints)
    origin = list(range(len(skeleton.joints)))
    for place, joint in places.items():
        side = next((side for side in ("left", "right") if place.startswith(f"{side} ")), "")
        part = place.removeprefix(f"{side} ")
        for number, parts in enumerate((_TRUNK, _HEAD, _ARM, _LEG)):
            if part in parts:
                limb[joint] = number
        if part in _ARM:
            origin[joint] = places[f"{side} shoulder"]
        elif part in _LEG:
            origin[joint] = places[f"{side} hip"]
    with torch.inference_mode(False):  # it may serve for training, too
        return _Limbs(
            torch.tensor(limb, device=device),
            torch.tensor(origin, device=device),
            (places["left hip"], places["right hip"]),
            (places["left shoulder"], places["right shoulder"]),
        )


def scale_limbs(
    joints: Float32[Tensor, "batch body time joint 3"],
    present: Bool[Tensor, "batch body time joint"],
    factors: Float32[Tensor, "batch limb"],
    skeleton: Skeleton,
) -> Float32[Tensor, "batch body time joint 3"]:
    """Make limbs longer or shorter by a factor each; hips and pelvis stay where they are.

    What hangs from a limb moves with its end: arms and head with the top of the trunk. Where the joint that a limb
    begins at was not seen, it keeps its length in that frame.

    Args:
        joints: positions; zero where absent.
        present: which of them exist.
        factors: of trunk, head, arms and legs (`LIMBS`).
        skeleton: the layout.
    """
    limbs = _limbs_of(skeleton, joints.device)
    hips, hips_seen = _middle(joints, present, limbs.hips)
    shoulders, shoulders_seen = _middle(joints, present, limbs.shoulders)
    is_trunk, is_head, is_arm, is_leg = (limbs.limb == number for number in range(len(LIMBS)))
    more = (factors - 1.0)[:, None, None, None, :, None]
    trunk, head, arm, leg = more.unbind(4)

    # How far the trunk moves its own joints, and the joints that limbs begin at.
    moved_by_trunk = trunk * (joints - hips) * hips_seen
    begins = joints.index_select(3, limbs.origin)
    begins_seen = present.index_select(3, limbs.origin)[..., None]
    moved_begin = moved_by_trunk.index_select(3, limbs.origin)
    moved_shoulders = trunk * (shoulders - hips) * (hips_seen & shoulders_seen)

    shift = torch.where(is_trunk[:, None], moved_by_trunk, 0.0)
    shift = torch.where(is_head[:, None], moved_shoulders + head * (joints - shoulders) * shoulders_seen, shift)
    shift = torch.where(is_arm[:, None], (moved_begin + arm * (joints - begins)) * begins_seen, shift)
    shift = torch.where(is_leg[:, None], leg * (joints - begins) * begins_seen, shift)
    return torch.where(present[..., None], joints + shift, joints)


def _middle(
    joints: Float32[Tensor, "batch body time joint 3"],
    present: Bool[Tensor, "batch body time joint"],
    pair: tuple[int, int],
) -> tuple[Float32[Tensor, "batch body time 1 3"], Bool[Tensor, "batch body time 1 1"]]:
    """Return the middle of two joints, and whether both were seen."""
    one, other = pair
    seen = present[..., one] & present[..., other]
    return (0.5 * (joints[..., one, :] + joints[..., other, :]))[..., None, :], seen[..., None, None]


def camera(angles: Float32[Tensor, "batch 2"]) -> Float32[Tensor, "batch 3 3"]:
    """Return what a far camera makes of bodies that stand along y: x to its right, y up, and no depth.

    Args:
        angles: two numbers uniform on [0, 1): where around the body it stands, and from how high it looks down.
    """
    around = 2.0 * torch.pi * angles[:, 0]
    above = _HIGHEST_RADIANS * (2.0 * angles[:, 1] - 1.0)
    (ca, sa), (cb, sb), zero = (torch.cos(around), torch.sin(around)), (torch.cos(above), torch.sin(above)), 0 * around
    # A turn about y, then one about x; the third row would be the depth.
    rows = (ca, zero, sa, sa * sb, cb, -ca * sb, zero, zero, zero)
    return torch.stack(rows, dim=1).view(-1, 3, 3)


@cache
def joints_of_layouts(skeleton: Skeleton, device: torch.device) -> Bool[Tensor, "layout joint"]:
    """Tell which joints of a layout those in `SHOWN_AS` have, too, by the places that they are; the last row has all.

    Raises:
        ConfigError: one of them shares no joint with it.
    """
    places = places_of(skeleton)
    flags = torch.ones((len(SHOWN_AS) + 1, len(skeleton.joints)), dtype=torch.bool)
    for number, name in enumerate(SHOWN_AS):
        shared = [joint for place, joint in places.items() if place in places_of(get_skeleton(name))]
        if not shared:
            raise ConfigError(f"augment.left_out: {name!r} shares no joint with {skeleton.name!r}; set it to 0")
        flags[number] = False
        flags[number, shared] = True
    with torch.inference_mode(False):
        return flags.to(device)
