"""The encoder of MAMP and AMR: a plain vision transformer over patches of joint trajectories.

A token is one joint over a few frames; it attends to all others in space and time (no factorisation). Joint and time
embeddings are learned, separate, and added. Source: Mao et al., "Masked Motion Predictors are Strong 3D Action
Representation Learners", ICCV 2023 (arXiv 2308.07092), section 3.
"""

from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.blocks import Block, DropPath, ExactLinear, initialise_linear, pair_of, position_parameter, widened
from marrow.models.encoder import Encoder, Features, FeatureShape, JointAxis
from marrow.models.grid import PatchGrid
from marrow.models.packing import Rows, first_flagged, rows_of, unpack
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
        summary_blocks: blocks, counted from 1, whose tokens stand for a body: the average, the highest and the lowest
            value of each of their numbers, one behind the other; no weight depends on it. None named: the average of
            the encoder's last tokens stands for it.
        summary_mirrored: whether the mirror image of a body, left and right exchanged, is encoded and summarised, too,
            where the layout says which joints these are: behind the summary come the average, the highest and the
            lowest of each number of both. What a person does with the other hand then looks alike and is still told
            apart. It takes as long again.
    """

    width: int = 256
    depth: int = 8
    heads: int = 8
    mlp_ratio: float = 4.0
    patch_frames: int = 4
    takes_flat: bool = False
    summary_blocks: tuple[int, ...] = ()
    summary_mirrored: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "patch_frames"):
            if getattr(self, name) < 1:
                raise ConfigError(f"encoder.{name} must be at least 1, got {getattr(self, name)}")
        if self.mlp_ratio * self.width < 1:
            raise ConfigError(f"encoder.mlp_ratio must be positive, got {self.mlp_ratio}")
        if self.width % self.heads:
            raise ConfigError(f"encoder.heads must divide encoder.width, got {self.heads} heads for {self.width}")
        blocks = range(1, self.depth + 1)
        if not set(self.summary_blocks) <= set(blocks):
            raise ConfigError(
                f"encoder.summary_blocks must name some of the blocks 1 to {self.depth} (encoder.depth), got "
                f"{list(self.summary_blocks)}"
            )
        if self.summary_mirrored and not self.summary_blocks:
            raise ConfigError(
                "encoder.summary_mirrored is about the summary, and encoder.summary_blocks names no block"
            )


class PatchTransformer(Encoder):
    """A vision transformer over (frames × joint) patches; patches that are absent are not computed.

    Args:
        config: its size.
        input: the window it reads.
        skeleton: the layout of the joints.
    """

    config_type = PatchTransformerConfig
    other_side: Tensor
    sign: Tensor

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
        self.is_mirrored = config.summary_mirrored and skeleton.has_sides
        # Average, highest and lowest; and with the mirror image, the average and the extremes of both behind each.
        per_number = 3 * (4 if self.is_mirrored else 1)
        summary_dim = per_number * len(config.summary_blocks) * config.width or None
        self.feature_shape = FeatureShape(self.grid.times, self.grid.joint_patches, config.width, summary_dim)
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        initialise_linear(self.blocks)
        # The embedding keeps PyTorch's default initialisation, as the convolution does that the authors use.
        self.embedding = ExactLinear(self.grid.patch_values, config.width)
        self.joint_position = position_parameter(1, self.grid.joint_patches, config.width)
        self.time_position = position_parameter(self.grid.times, 1, config.width)
        self.flat = position_parameter(config.width) if config.takes_flat else None
        if self.is_mirrored:
            # The other side of every joint, and what its coordinates are multiplied by.
            sign = torch.where(torch.arange(3) == skeleton.sideways, -1.0, 1.0)
            self.register_buffer("other_side", torch.tensor(skeleton.mirror), persistent=False)
            self.register_buffer("sign", sign, persistent=False)

    def one_sided(self) -> Encoder:
        """Return an encoder of the same weights whose summary holds no mirror image; itself where it holds none."""
        if not self.is_mirrored:
            return self
        other = PatchTransformer(replace(self.config, summary_mirrored=False), self.input, self.skeleton)
        other.load_state_dict(self.state_dict())
        return other.to(self.joint_position.device).train(self.training)

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
        return self.norm(self._after_blocks(tokens, may_attend, factors)[-1])

    def _after_blocks(
        self,
        tokens: Float[Tensor, "body token dim"],
        may_attend: Bool[Tensor, "body token"] | None,
        factors: Float[Tensor, "branch body 1 1"] | None,
    ) -> list[Float[Tensor, "body token dim"]]:
        """Return the tokens as they are after each of the blocks."""
        after = []
        for number, block in enumerate(self.blocks):
            tokens = block(tokens, may_attend=may_attend, factors=pair_of(factors, number))
            after.append(tokens)
        return after

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
        return self.encode(self._embedded_at(joints, place, is_flat), exists, factors)

    def _embedded_at(
        self,
        joints: Float[Tensor, "body time joint 3"],
        place: Int64[Tensor, "body taken"],
        is_flat: Bool[Tensor, " body"] | None,
    ) -> Float[Tensor, "body taken dim"]:
        tokens = self.embedding(self.grid.take(self.grid.patchify(joints), place)) + self.position()[place]
        return self._told(tokens, is_flat)

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
        encode = partial(self._encoded, rows=rows, batch=batch, factors=factors)
        joints = rows.joints(batch)
        encoded, summary = encode(joints, usable)
        if self.is_mirrored:
            image = joints.index_select(2, self.other_side) * self.sign
            usable_image = usable.unflatten(1, (self.grid.times, -1)).index_select(2, self.other_side).flatten(1)
            _, mirrored = encode(image, usable_image)
            assert summary is not None, "there is a summary to be mirrored"
            assert mirrored is not None
            summary = of_both_sides(summary, mirrored)
        axes = (self.grid.times, self.grid.joint_patches)
        return Features(
            tokens=unpack(encoded, body, clips, bodies).unflatten(2, axes),
            present=unpack(usable, body, clips, bodies).unflatten(2, axes),
            summary=None if summary is None else unpack(summary, body, clips, bodies),
        )

    def _encoded(
        self,
        joints: Float[Tensor, "row time joint 3"],
        usable: Bool[Tensor, "row token"],
        rows: Rows,
        batch: Batch,
        factors: Float[Tensor, "branch row 1 1"] | None,
    ) -> tuple[Float[Tensor, "row token dim"], Float[Tensor, "row summary"] | None]:
        """Return the tokens of bodies, zero where they are not usable, and their summary."""
        is_flat, most = rows.are_flat(batch), self._most_tokens(usable, batch)
        if most < self.grid.tokens:
            place, exists = first_flagged(usable, most)
            # In padding all may attend: nobody reads what is said there, but it must be a number.
            may_attend = exists if rows.exists is None else exists | ~rows.exists[:, None]
            after = self._after_blocks(self._embedded_at(joints, place, is_flat), may_attend, factors)
            encoded = self.grid.put(widened(self.norm(after[-1])), place, exists)
        else:
            tokens, exists = self.embedding(self.grid.patchify(joints)) + self.position(), usable
            after = self._after_blocks(self._told(tokens, is_flat), rows.may_attend(usable, batch), factors)
            encoded = widened(self.norm(after[-1]))
        encoded = torch.where(usable[..., None], encoded, 0.0)
        if not self.config.summary_blocks:
            return encoded, None
        of_blocks = torch.cat([after[number - 1] for number in self.config.summary_blocks], dim=-1)
        return encoded, average_and_extremes(widened(of_blocks), exists)

    def _most_tokens(self, usable: Bool[Tensor, "row token"], batch: Batch) -> int:
        """Return how many tokens any body has at most: what the batch says, or what is counted on the device."""
        if batch.shapes is None:
            return max(1, int(usable.sum(1).max())) if len(usable) else self.grid.tokens
        joints = batch.shapes.joints
        return self.grid.tokens if joints is None else max(1, min(joints, self.grid.joints)) * self.grid.times

    def joint_axes(self) -> dict[str, JointAxis]:
        """Name the embedding of the joints."""
        return {"joint_position": JointAxis(1)}


def average_and_extremes(
    tokens: Float[Tensor, "body token dim"], exists: Bool[Tensor, "body token"]
) -> Float[Tensor, "body three_dims"]:
    """Return the average, the highest and the lowest value of each number over the tokens that exist; of none, zero."""
    exists = exists[..., None]
    average = torch.where(exists, tokens, 0.0).sum(1) / exists.sum(1).clamp(min=1)
    highest = torch.where(exists, tokens, -torch.inf).amax(1)
    lowest = torch.where(exists, tokens, torch.inf).amin(1)
    return torch.where(exists.any(1), torch.cat((average, highest, lowest), dim=-1), 0.0)


def of_both_sides(
    summary: Float[Tensor, "body dim"], mirrored: Float[Tensor, "body dim"]
) -> Float[Tensor, "body four_dims"]:
    """Return a summary, and the average, the highest and the lowest of each of its numbers and the mirror image's."""
    both = (summary + mirrored) / 2, torch.maximum(summary, mirrored), torch.minimum(summary, mirrored)
    return torch.cat((summary, *both), dim=-1)
