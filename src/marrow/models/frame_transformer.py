"""The encoder of Motion-Transformer: a plain vision transformer over time, with one token per frame.

A token is the whole pose of a body in one frame; attention is over time alone. A learned class token stands for the
body. Source: Cheng, Chen, Zhang, Lin, "Motion-Transformer: Self-Supervised Pre-Training for Skeleton-Based Action
Recognition", ACM Multimedia Asia 2020; what its text leaves open is listed in docs/motion_transformer.md.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.blocks import (
    Block,
    DropPath,
    ExactLinear,
    initialise_linear,
    pair_of,
    position_parameter,
    sinusoids,
    widened,
)
from marrow.models.encoder import Encoder, Features, FeatureShape, JointAxis
from marrow.models.packing import rows_of, unpack
from marrow.skeleton.layout import Skeleton


@dataclass(frozen=True)
class FrameTransformerConfig:
    """Size of a frame transformer.

    Args:
        width: length of a token.
        depth: transformer blocks.
        heads: attention heads; must divide the width.
        mlp_ratio: width of the hidden layer of the MLP, in widths.
        readout: what stands for a body. cls: a learned token that attends to all frames and they to it; mean: the
            average of the frames, and there is no such token.
        causal: let a frame attend to itself and earlier frames only; reads out the mean.
        joint_attention: embed a frame by a block of attention among its joints, averaged over those that are present,
            in place of one linear map of the pose.
    """

    width: int = 256
    depth: int = 8
    heads: int = 8
    mlp_ratio: float = 4.0
    readout: Literal["cls", "mean"] = "cls"
    causal: bool = False
    joint_attention: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"encoder.{name} must be at least 1, got {getattr(self, name)}")
        if self.mlp_ratio * self.width < 1:
            raise ConfigError(f"encoder.mlp_ratio must be positive, got {self.mlp_ratio}")
        if self.width % self.heads:
            raise ConfigError(f"encoder.heads must divide encoder.width, got {self.heads} heads for {self.width}")
        if self.causal and self.readout == "cls":
            # What attends to every frame must not be attended to by any, and then nothing would train it.
            raise ConfigError("encoder.causal leaves no place for a class token; set encoder.readout to 'mean'")


class FrameTransformer(Encoder):
    """A vision transformer over the frames of a window.

    A frame is usable when at least one joint is present in it; joints that are absent are embedded as zeros, whatever
    stands there. Frames that are not usable are neither attended to nor described.

    Args:
        config: its size.
        input: the window it reads.
        skeleton: the layout of the joints.
    """

    config_type = FrameTransformerConfig

    position: Float[Tensor, "token dim"]

    def __init__(self, config: FrameTransformerConfig, input: InputConfig, skeleton: Skeleton) -> None:
        super().__init__()
        self.config, self.input, self.skeleton = config, input, skeleton
        self.frames_per_token, self.branches = 1, 2 * config.depth
        has_cls, width = config.readout == "cls", config.width
        self.feature_shape = FeatureShape(input.window_frames, 1, width, summary_dim=width if has_cls else None)
        self.leading = 1 if has_cls else 0
        self.blocks = nn.ModuleList(Block(width, config.heads, config.mlp_ratio) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        initialise_linear(self.blocks)
        self.embedding = _JointAttention(config, skeleton) if config.joint_attention else _Pose(width, skeleton)
        self.embedding_norm = nn.LayerNorm(width)
        self.cls = position_parameter(1, width) if has_cls else None
        # Place 0 is that of the class token, whether or not there is one.
        self.register_buffer("position", sinusoids(input.window_frames + 1, width), persistent=False)

    def frames(
        self, joints: Float[Tensor, "body time joint 3"], present: Bool[Tensor, "body time joint"]
    ) -> Float[Tensor, "body time dim"]:
        """Embed every frame by itself, without its place in time."""
        joints = torch.where(present[..., None], joints, 0.0)
        return self.embedding_norm(self.embedding(joints, present))

    def encode(
        self,
        frames: Float[Tensor, "body time dim"],
        usable: Bool[Tensor, "body time"] | None = None,
        factors: Float[Tensor, "branch body 1 1"] | None = None,
    ) -> Float[Tensor, "body token dim"]:
        """Run embedded frames through the blocks.

        Args:
            frames: of each body, from the first frame of the window on.
            usable: which of them may be attended to; None when all may.
            factors: those of `DropPath`.

        Returns:
            `leading` tokens (the class token, where there is one), then the frames.
        """
        tokens = frames + self.position[1 : 1 + frames.shape[1]]
        if self.cls is not None:
            first = (self.cls + self.position[:1]).expand(len(tokens), -1, -1)
            tokens = torch.cat((first.to(tokens.dtype), tokens), dim=1)
        allowed = self._allowed(usable, tokens)
        for number, block in enumerate(self.blocks):
            tokens = block(tokens, allowed=allowed, factors=pair_of(factors, number))
        return self.norm(tokens)

    def factors(
        self, drop: DropPath | None, body: Int64[Tensor, " packed"]
    ) -> Float[Tensor, "branch packed 1 1"] | None:
        """Return the factors of the branches of each packed body; None where nothing is dropped."""
        return None if drop is None else drop.factors(self.config.depth, body)

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the embeddings, then each block, then the last norm."""
        embeddings = [*self.embedding.parameters(), *self.embedding_norm.parameters()]
        embeddings += [] if self.cls is None else [self.cls]
        return [embeddings, *(list(block.parameters()) for block in self.blocks), list(self.norm.parameters())]

    def forward(self, batch: Batch, drop: DropPath | None = None) -> Features:
        """Encode every present body on all its usable frames."""
        clips, bodies = batch.joints.shape[:2]
        usable = batch.present.any(3)
        rows = rows_of(usable, batch)
        usable, body = rows.take(usable.flatten(0, 1)), rows.body
        frames = self.frames(*rows.of(batch))
        encoded = widened(self.encode(frames, rows.may_attend(usable, batch), self.factors(drop, body)))
        tokens = torch.where(usable[..., None], encoded[:, self.leading :], 0.0)
        return Features(
            tokens=unpack(tokens, body, clips, bodies).unsqueeze(3),
            present=unpack(usable, body, clips, bodies).unsqueeze(3),
            summary=None if self.cls is None else unpack(rows.zeroed(encoded[:, 0]), body, clips, bodies),
        )

    def joint_axes(self) -> dict[str, JointAxis]:
        """Name what a frame is embedded by: coordinates side by side, or an embedding of each joint."""
        if self.config.joint_attention:
            return {"embedding.joint_position": JointAxis(0)}
        return {"embedding.linear.weight": JointAxis(1, values=3)}

    def _allowed(
        self, usable: Bool[Tensor, "body time"] | None, tokens: Float[Tensor, "body token dim"]
    ) -> Bool[Tensor, "#body 1 #query token"] | None:
        """Tell which token may attend to which; None: all to all."""
        count = tokens.shape[1]
        keys = None
        if usable is not None:
            keys = torch.cat((usable.new_ones(len(usable), self.leading), usable), dim=1)[:, None, None, :]
        if not self.config.causal:
            return keys
        earlier = torch.ones(count, count, dtype=torch.bool, device=tokens.device).tril()[None, None]
        # Frames that are not usable may come first: they attend to themselves, for the softmax of nothing is no number.
        return earlier if keys is None else (earlier & keys) | (earlier & earlier.transpose(-2, -1))


class _Pose(nn.Module):
    """One linear map of the pose. It keeps PyTorch's default initialisation, as the embedding of patches does."""

    def __init__(self, width: int, skeleton: Skeleton) -> None:
        super().__init__()
        self.linear = ExactLinear(3 * len(skeleton.joints), width)

    def forward(
        self, joints: Float[Tensor, "body time joint 3"], present: Bool[Tensor, "body time joint"]
    ) -> Float[Tensor, "body time dim"]:
        return self.linear(joints.flatten(2))


class _JointAttention(nn.Module):
    """A block of attention among the joints of a frame, averaged over those that are present."""

    def __init__(self, config: FrameTransformerConfig, skeleton: Skeleton) -> None:
        super().__init__()
        self.linear = ExactLinear(3, config.width)
        self.joint_position = position_parameter(len(skeleton.joints), config.width)
        self.block = Block(config.width, config.heads, config.mlp_ratio)
        initialise_linear(self.block)

    def forward(
        self, joints: Float[Tensor, "body time joint 3"], present: Bool[Tensor, "body time joint"]
    ) -> Float[Tensor, "body time dim"]:
        flags = present.flatten(0, 1)
        # Where no joint is present, all are asked: nobody reads the answer, but it must be a number.
        asked = flags | ~flags.any(1, keepdim=True)
        tokens = self.block(self.linear(joints.flatten(0, 1)) + self.joint_position, may_attend=asked)
        weight = flags[..., None].to(tokens.dtype)
        mean = (tokens * weight).sum(1) / weight.sum(1).clamp(min=1.0)
        return mean.unflatten(0, joints.shape[:2])
