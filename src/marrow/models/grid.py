"""How patches tile a window of frames and joints: from (frame, joint) to tokens and back.

A grid is a value, not a property of a model: an objective may predict on other patches than the encoder reads.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from marrow.errors import ConfigError


@dataclass(frozen=True)
class PatchGrid:
    """Patches of `patch_frames` × `patch_joints`, numbered time-major: token = time * joint_patches + joint.

    Args:
        frames: frames of the window.
        joints: joints of the skeleton.
        patch_frames: frames per patch; must divide `frames`.
        patch_joints: neighbouring joints (in layout order) per patch; must divide `joints`.
        coordinates: of a position that are read; windows have three all the same.
    """

    frames: int
    joints: int
    patch_frames: int
    patch_joints: int = 1
    coordinates: int = 3

    def __post_init__(self) -> None:
        for what, total, size in (
            ("frames", self.frames, self.patch_frames),
            ("joints", self.joints, self.patch_joints),
        ):
            if size < 1 or total % size:
                divisors = [n for n in range(1, total + 1) if total % n == 0]
                raise ConfigError(f"patches of {size} {what} do not tile {total} {what}; choose one of {divisors}")

    @property
    def times(self) -> int:
        """Patches along time."""
        return self.frames // self.patch_frames

    @property
    def joint_patches(self) -> int:
        """Patches along the joints."""
        return self.joints // self.patch_joints

    @property
    def tokens(self) -> int:
        """Patches in all."""
        return self.times * self.joint_patches

    @property
    def patch_values(self) -> int:
        """Numbers in a patch."""
        return self.patch_frames * self.patch_joints * self.coordinates

    def patchify(self, window: Float[Tensor, "body frame joint 3"]) -> Float[Tensor, "body token value"]:
        """Cut a window into patches; within a patch the frame is outermost, then the joint, then the coordinate."""
        cut = window[..., : self.coordinates].unflatten(2, (self.joint_patches, self.patch_joints))
        cut = cut.unflatten(1, (self.times, self.patch_frames))
        return cut.transpose(2, 3).reshape(len(window), self.tokens, self.patch_values)

    def unpatchify(self, patches: Float[Tensor, "body token value"]) -> Float[Tensor, "body frame joint 3"]:
        """Undo `patchify`; coordinates that are not read are zero."""
        shape = (len(patches), self.times, self.joint_patches, self.patch_frames, self.patch_joints, self.coordinates)
        window = patches.reshape(shape).transpose(2, 3).reshape(len(patches), self.frames, self.joints, -1)
        return window if self.coordinates == 3 else F.pad(window, (0, 3 - self.coordinates))

    def all_of_patch(self, flag: Bool[Tensor, "body frame joint"]) -> Bool[Tensor, "body token"]:
        """Tell which tokens have the flag in every frame and joint of their patch."""
        cut = flag.unflatten(2, (self.joint_patches, self.patch_joints))
        return cut.unflatten(1, (self.times, self.patch_frames)).all(4).all(2).flatten(1)

    def coordinates_exist(self, is_flat: Bool[Tensor, " body"] | None) -> Bool[Tensor, "body 1 value"] | None:
        """Tell which numbers of a patch exist: of bodies in two dimensions, none of the third coordinate. None: all."""
        if is_flat is None:
            return None
        third = torch.arange(self.patch_values, device=is_flat.device) % self.coordinates == 2
        return ~(is_flat[:, None] & third)[:, None]

    @staticmethod
    def take(
        patches: Shaped[Tensor, "body token value"], place: Int64[Tensor, "body taken"]
    ) -> Shaped[Tensor, "body taken value"]:
        """Take the patches at some places of the grid, which differ from body to body."""
        return patches.gather(1, place[..., None].expand(-1, -1, patches.shape[-1]))

    def put(
        self,
        taken: Float[Tensor, "body taken value"],
        place: Int64[Tensor, "body taken"],
        exists: Bool[Tensor, "body taken"] | None,
    ) -> Float[Tensor, "body token value"]:
        """Undo `take`; zero at the other places.

        Args:
            taken: patches.
            place: where each of them belongs.
            exists: which of them are no padding, and no place is named twice among these; None: all.
        """
        if exists is not None:
            taken = torch.where(exists[..., None], taken, 0.0)
        patches = taken.new_zeros(len(taken), self.tokens, taken.shape[-1])
        return patches.scatter_add(1, place[..., None].expand_as(taken), taken)

    def flags_at(
        self, place: Int64[Tensor, "body taken"], exists: Bool[Tensor, "body taken"] | None
    ) -> Bool[Tensor, "body token"]:
        """Flag the tokens at some places, padding (which does not exist) left out. None: all exist."""
        return self.put(torch.ones(*place.shape, 1, device=place.device), place, exists)[..., 0] > 0

    def spread(self, flag: Bool[Tensor, "body token"]) -> Bool[Tensor, "body frame joint"]:
        """Give every frame and joint the flag of its patch."""
        return self.unpatchify(flag[..., None].expand(-1, -1, self.patch_values).float())[..., 0] > 0

    def follow(
        self, motion: Float[Tensor, "body token value"], truth: Float[Tensor, "body token value"], stride: int
    ) -> Float[Tensor, "body token value"]:
        """Follow the motion of each patch from the true positions of its first `stride` frames.

        Args:
            motion: what each frame is displaced by until `stride` frames later, in patches.
            truth: true positions, in patches and in the same unit.
            stride: frames per step of the motion.
        """
        steps = motion.unflatten(-1, (self.patch_frames, -1))
        positions = list(truth.unflatten(-1, (self.patch_frames, -1)).unbind(2)[:stride])
        for frame in range(stride, self.patch_frames):
            positions.append(positions[frame - stride] + steps[:, :, frame - stride])
        return torch.stack(positions, dim=2).flatten(2)
