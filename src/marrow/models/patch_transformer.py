"""The encoder of MAMP and AMR: a plain vision transformer over patches of joint trajectories.

A token is one joint over a few frames; it attends to all others in space and time (no factorisation). Joint and time
embeddings are learned, separate, and added. Source: Mao et al., "Masked Motion Predictors are Strong 3D Action
Representation Learners", ICCV 2023 (arXiv 2308.07092), section 3.
"""

from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.blocks import Block, DropPath, ExactLinear, initialise_linear, pair_of, position_parameter, widened
from marrow.models.encoder import Encoder, Features, FeatureShape, JointAxis, Pooling
from marrow.models.grid import PatchGrid
from marrow.models.packing import first_flagged, rows_of, unpack
from marrow.skeleton.layout import Skeleton


@dataclass(frozen=True)
class PatchTransformerConfig:
    """Size of a patch transformer; the defaults are the paper's.

    Args:
        width: length of a token.
        depth: transformer blocks.
        heads: attention heads; must divide the width.
        mlp_ratio: width of the hidden layer of the MLP, in widths.
        patch_frames: frames per token; must divide the window.
        takes_flat: whether recordings in two dimensions may come besides those in three; a learned vector tells their
            tokens apart.
        pooling: what of the tokens stands for a body (`Features.pooling`); no weight depends on it.
    """

    width: int = 256
    depth: int = 8
    heads: int = 8
    mlp_ratio: float = 4.0
    patch_frames: int = 4
    takes_flat: bool = False
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "patch_frames"):
            if getattr(self, name) < 1:
                raise ConfigError(f"encoder.{name} must be at least 1, got {getattr(self, name)}")
        if self.mlp_ratio * self.width < 1:
            raise ConfigError(f"encoder.mlp_ratio must be positive, got {self.mlp_ratio}")
        if self.width % self.heads:
            raise ConfigError(f"encoder.heads must divide encoder.width, got {self.heads} heads for {self.width}")
        if self.pooling not in get_args(Pooling):
            raise ConfigError(f"encoder.pooling must be mean or extremes, got {self.pooling!r}")


class PatchTransformer(Encoder):
    """A vision transformer over (frames × joint) patches; patches that are absent are not computed.

    Args:
        config: its size.
        input: the window it reads.
        skeleton: the layout of the joints.
    """

    config_type = PatchTransformerConfig

    def __init__(self, config: PatchTransformerConfig, input: InputConfig, skeleton: Skeleton) -> None:
        super().__init__()
        if input.pace != "resized":
            raise ConfigError(f"this encoder reads full windows: input.pace must be resized, got {input.pace!r}")
        self.config, self.input, self.skeleton = config, input, skeleton
        self.frames_per_token, self.branches = config.patch_frames, 2 * config.depth
        if config.takes_flat and skeleton.dimensions == 2:
            raise ConfigError("encoder.takes_flat is for a layout of three dimensions; this one has two")
        self.grid = PatchGrid(
            *(input.window_frames, len(skeleton.joints), config.patch_frames), coordinates=skeleton.dimensions
        )
        self.feature_shape = FeatureShape(self.grid.times, self.grid.joint_patches, config.width)
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        initialise_linear(self.blocks)
        # The embedding keeps PyTorch's default initialisation, as the convolution does that the authors use.
        self.embedding = ExactLinear(self.grid.patch_values, config.width)
        self.joint_position = position_parameter(1, self.grid.joint_patches, config.width)
        self.time_position = position_parameter(self.grid.times, 1, config.width)
        self.flat = position_parameter(config.width) if config.takes_flat else None

    @property
    def pooled_dim(self) -> int:
        """Length of a pooled feature vector."""
        return self.dim if self.config.pooling == "mean" else 3 * self.dim

    @property
    def takes_flat(self) -> bool:
        """Whether recordings in two dimensions may come besides those in three."""
        return self.config.takes_flat

    def position(self) -> Float[Tensor, "token dim"]:
        """Return the embedding of every place of the grid."""
        return (self.time_position + self.joint_position).flatten(0, 1)

    def encode(
        self,
        tokens: Float[Tensor, "body token dim"],
        may_attend: Bool[Tensor, "body token"] | None = None,
        factors: Float[Tensor, "branch body 1 1"] | None = None,
    ) -> Float[Tensor, "body token dim"]:
        """Run embedded tokens, any number in any order, through the blocks; `factors` are those of `DropPath`."""
        for number, block in enumerate(self.blocks):
            tokens = block(tokens, may_attend=may_attend, factors=pair_of(factors, number))
        return self.norm(tokens)

    def encode_at(
        self,
        joints: Float[Tensor, "body time joint 3"],
        place: Int64[Tensor, "body taken"],
        exists: Bool[Tensor, "body taken"] | None,
        is_flat: Bool[Tensor, " body"] | None = None,
        factors: Float[Tensor, "branch body 1 1"] | None = None,
    ) -> Float[Tensor, "body taken dim"]:
        """Encode the patches at some places of the grid, which differ from body to body, as if there were no others.

        Args:
            joints: of each body.
            place: of the patches.
            exists: which of them are no padding; None: all.
            is_flat: which bodies have two dimensions (`Batch.flat`); None: none.
            factors: those of `DropPath`.
        """
        tokens = self.embedding(self.grid.take(self.grid.patchify(joints), place)) + self.position()[place]
        return self.encode(self._told(tokens, is_flat), exists, factors)

    def _told(
        self, tokens: Float[Tensor, "body token dim"], is_flat: Bool[Tensor, " body"] | None
    ) -> Float[Tensor, "body token dim"]:
        """Tell the tokens of bodies that have two dimensions that they do."""
        if is_flat is None:
            return tokens
        if self.flat is None:
            raise ConfigError(
                "this encoder was not made for recordings in two dimensions beside those in three; use one that was "
                "(encoder.takes_flat)"
            )
        return tokens + torch.where(is_flat[:, None, None], self.flat, 0.0)

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the embeddings, then each block, then the last norm."""
        embeddings = [*self.embedding.parameters(), self.joint_position, self.time_position]
        embeddings += [] if self.flat is None else [self.flat]
        return [embeddings, *(list(block.parameters()) for block in self.blocks), list(self.norm.parameters())]

    def forward(self, batch: Batch, drop: DropPath | None = None) -> Features:
        """Encode every present body on all its usable tokens."""
        clips, bodies = batch.joints.shape[:2]
        usable = self.grid.all_of_patch(batch.present.flatten(0, 1))
        rows = rows_of(usable.unflatten(0, (clips, bodies)), batch)
        usable, body = rows.take(usable), rows.body
        factors = None if drop is None else drop.factors(self.config.depth, body)
        joints, is_flat, most = rows.joints(batch), rows.are_flat(batch), self._most_tokens(usable, batch)
        if most < self.grid.tokens:
            place, exists = first_flagged(usable, most)
            # In padding all may attend: nobody reads what is said there, but it must be a number.
            may_attend = exists if rows.exists is None else exists | ~rows.exists[:, None]
            taken = self.encode_at(joints, place, may_attend, is_flat, factors)
            encoded = self.grid.put(widened(taken), place, exists)
        else:
            tokens = self.embedding(self.grid.patchify(joints)) + self.position()
            encoded = self.encode(self._told(tokens, is_flat), rows.may_attend(usable, batch), factors)
        encoded = torch.where(usable[..., None], widened(encoded), 0.0)
        axes = (self.grid.times, self.grid.joint_patches)
        return Features(
            tokens=unpack(encoded, body, clips, bodies).unflatten(2, axes),
            present=unpack(usable, body, clips, bodies).unflatten(2, axes),
            pooling=self.config.pooling,
        )

    def _most_tokens(self, usable: Bool[Tensor, "row token"], batch: Batch) -> int:
        """Return how many tokens any body has at most: what the batch says, or what is counted on the device."""
        if batch.shapes is None:
            return max(1, int(usable.sum(1).max())) if len(usable) else self.grid.tokens
        joints = batch.shapes.joints
        return self.grid.tokens if joints is None else max(1, min(joints, self.grid.joints)) * self.grid.times

    def joint_axes(self) -> dict[str, JointAxis]:
        """Name the embedding of the joints."""
        return {"joint_position": JointAxis(1)}
