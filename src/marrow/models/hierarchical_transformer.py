"""The encoder of Hi-TRS: three transformers in series, over the joints of a frame, a clip, and a whole sequence.

Chen, Zhao, Yuan, Tian, Xia, Geng, Han, Metaxas: "Hierarchically Self-Supervised Transformer for Human Skeleton
Representation Learning", ECCV 2022 (doi 10.1007/978-3-031-19809-0_11). The frame level relates the joints of one frame;
the clip level relates the joints of different frames (never of one: that has been done) in a clip of 7 frames, of which
every second frame is taken; the sequence level relates clips. A fusion token at the end of a clip or a sequence
collects what is said about it.

Nothing is padded before the sequence level: frames of all sequences are computed end to end, each once, then their
clips. Clips reach beyond the ends of a sequence; the frames there are zeros, as in the released code, of which one is
computed for the whole batch.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.attention import attend
from marrow.models.blocks import MLP, Dropout, DropPath, ExactLinear, pair_of, sinusoids, widened
from marrow.models.clips import FlatSequences, clip_counts, clip_places, filled_up, flatten, other_frames, side_by_side
from marrow.models.encoder import Encoder, Features, FeatureShape, JointAxis
from marrow.models.packing import rows_of, unpack
from marrow.skeleton.layout import Skeleton

# Clips of a batch are filled up to a multiple of this.
_CLIPS_AT_ONCE = 16


@dataclass(frozen=True)
class HierarchicalTransformerConfig:
    """Size of a hierarchical transformer; the defaults are the paper's.

    Args:
        widths: length of a token at the frame, the clip and the sequence level.
        depths: layers of each level.
        mlp_ratios: width of the hidden layer of the MLPs of each level, in its widths.
        heads: attention heads, at every level.
        head_width: numbers of a head, whatever the width of the level.
        clip_frames: frames of a clip; odd, so that one of them is its centre.
        clip_dilation: frames from one of them to the next.
        clip_stride: frames from the centre of a clip to that of the next.
        max_clips: the most clips of a sequence that there are positions for.
        dropout: share of what attention and MLPs say that is left out in pre-training.
        parity: do as the released code with bodies that are absent: they are sequences of zeros, averaged in.
    """

    widths: tuple[int, int, int] = (128, 256, 512)
    depths: tuple[int, int, int] = (3, 3, 3)
    mlp_ratios: tuple[float, float, float] = (1.0, 0.5, 0.5)
    heads: int = 8
    head_width: int = 64
    clip_frames: int = 7
    clip_dilation: int = 2
    clip_stride: int = 7
    max_clips: int = 200
    dropout: float = 0.2
    parity: bool = False

    def __post_init__(self) -> None:
        for name in ("widths", "depths", "mlp_ratios"):
            values = getattr(self, name)
            if len(values) != 3 or min(values) <= 0:
                raise ConfigError(
                    f"encoder.{name} must be three positive numbers, for the frame, the clip and the sequence level; "
                    f"got {list(values)}"
                )
        for name in ("heads", "head_width", "clip_dilation", "clip_stride", "max_clips"):
            if getattr(self, name) < 1:
                raise ConfigError(f"encoder.{name} must be at least 1, got {getattr(self, name)}")
        if self.clip_frames < 1 or self.clip_frames % 2 == 0:
            raise ConfigError(f"encoder.clip_frames must be odd and at least 1, got {self.clip_frames}")
        if self.widths[1] % 4 or self.widths[0] % 2 or self.widths[2] % 2:
            raise ConfigError(
                "encoder.widths: half of the channels are sines, and at the clip level half of those tell the joint: "
                f"the first and last must be even, the second a multiple of 4; got {list(self.widths)}"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"encoder.dropout must lie in [0, 1), got {self.dropout}")

    def clip_count(self, frames: int) -> int:
        """Return how many clips a sequence of some frames has."""
        return (frames + self.clip_stride - 1) // self.clip_stride


# Sizes with a name. Operations of a pre-training step, per sequence of 84 frames, forward and backward: 33.5 G, 2.9 G
# and 1.1 G; parameters of the encoder with 25 joints: 6.9 M, 0.76 M and 0.44 M.
SIZES = {
    "paper": HierarchicalTransformerConfig(),
    "small": HierarchicalTransformerConfig((64, 128, 256), (2, 2, 2), heads=2, dropout=0.0),
    "tiny": HierarchicalTransformerConfig((64, 128, 256), (1, 1, 1), heads=2, dropout=0.0),
}


class Layer(nn.Module):
    """Pre-norm attention and MLP; the heads have their own width, and attention has no biases.

    Args:
        width: length of a token.
        heads: attention heads.
        head_width: numbers of a head.
        mlp_ratio: width of the MLP's hidden layer, in widths.
    """

    def __init__(self, width: int, heads: int, head_width: int, mlp_ratio: float) -> None:
        super().__init__()
        self.heads, inner = heads, heads * head_width
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.proj = nn.Linear(inner, width, bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, mlp_ratio)

    def forward(
        self,
        tokens: Float[Tensor, "item token dim"],
        *,
        allowed: Bool[Tensor, "#item 1 #token token"] | None = None,
        queries_from: int = 0,
        dropout: Dropout | None = None,
        factors: Float[Tensor, "2 item 1 1"] | None = None,
    ) -> Float[Tensor, "item query dim"]:
        """Return the tokens from `queries_from` on, after they have attended.

        Args:
            tokens: of each frame, clip or sequence.
            allowed: which pairs of query and key may meet; None: all.
            queries_from: the first token that is wanted.
            dropout: of what the two branches say; None: none.
            factors: what the two branches of each item are multiplied by (`DropPath`); None: nothing.
        """
        inner = self.proj.in_features
        weight, normed = self.qkv.weight, self.norm1(tokens)
        query = F.linear(normed[:, queries_from:].contiguous(), weight[:inner])
        key, value = F.linear(normed, weight[inner:]).chunk(2, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        if allowed is not None and allowed.shape[2] > 1:
            allowed = allowed[:, :, queries_from:]
        attended = self.proj(attend(query, key, value, allowed).transpose(1, 2).flatten(2))
        scales = (1.0, 1.0) if factors is None else factors.unbind(0)
        tokens = tokens[:, queries_from:] + scales[0] * _dropped(attended, dropout, 0)
        return tokens + scales[1] * _dropped(self.mlp(self.norm2(tokens)), dropout, 1)


class HierarchicalTransformer(Encoder):
    """Hi-TRS: from the joints of a frame to clips to the sequence.

    Its features are the clip embeddings in their context (a step of time is a clip); its summary is the fusion token of
    the sequence.

    Args:
        config: its size.
        input: the window it reads; `pace: recorded` is the paper's.
        skeleton: the layout of the joints.
    """

    config_type = HierarchicalTransformerConfig
    sizes = SIZES
    config: HierarchicalTransformerConfig

    _clip_pairs: Bool[Tensor, "1 1 token token"]

    def __init__(self, config: HierarchicalTransformerConfig, input: InputConfig, skeleton: Skeleton) -> None:
        super().__init__()
        self.config, self.input, self.skeleton = config, input, skeleton
        self.frames_per_token, self.branches = config.clip_stride, 2 * sum(config.depths)
        window_clips = config.clip_count(input.window_frames)
        self.feature_shape = FeatureShape(window_clips, 1, config.widths[2], summary_dim=config.widths[2])
        if window_clips > config.max_clips:
            raise ConfigError(
                f"a window of {input.window_frames} frames has {window_clips} clips, more "
                f"than encoder.max_clips = {config.max_clips}: raise that, or shorten input.window_frames"
            )
        joints, (frame, clip, sequence) = len(skeleton.joints), config.widths
        self.embedding = nn.Sequential(ExactLinear(3, frame), nn.GELU(), nn.LayerNorm(frame))
        self.joint_position = nn.Parameter(sinusoids(joints, frame))
        self.to_clip = nn.Linear(frame, clip)
        place = (config.clip_frames, joints, clip // 2)
        by_joint, by_frame = sinusoids(joints, clip // 2), sinusoids(config.clip_frames, clip // 2)[:, None]
        self.clip_position = nn.Parameter(torch.cat((by_joint.expand(place), by_frame.expand(place)), dim=-1))
        self.clip_fusion = nn.Parameter(torch.rand(1, 1, clip))
        self.to_sequence = nn.Linear(clip, sequence)
        self.sequence_position = nn.Parameter(sinusoids(config.max_clips, sequence))
        self.sequence_fusion = nn.Parameter(torch.rand(1, 1, sequence))
        self.frame_layers, self.clip_layers, self.sequence_layers = (
            nn.ModuleList(Layer(width, config.heads, config.head_width, ratio) for _ in range(depth))
            for width, ratio, depth in zip(config.widths, config.mlp_ratios, config.depths, strict=True)
        )
        pairs = other_frames(config.clip_frames, joints)[None, None]
        self.register_buffer("_clip_pairs", pairs, persistent=False)

    def embed_frames(
        self,
        joints: Float[Tensor, "row joint 3"],
        dropout: Dropout | None = None,
        factors: Float[Tensor, "branch row 1 1"] | None = None,
    ) -> Float[Tensor, "row joint frame_dim"]:
        """Relate the joints of every frame to each other."""
        tokens = self.embedding(joints) + self.joint_position
        return _through(self.frame_layers, tokens, dropout=dropout, factors=factors)

    def embed_clips(
        self,
        frames: Float[Tensor, "row joint clip_dim"],
        rows: Int64[Tensor, "clip clip_frame"],
        dropout: Dropout | None = None,
        factors: Float[Tensor, "branch clip 1 1"] | None = None,
    ) -> Float[Tensor, "clip clip_dim"]:
        """Relate the joints of different frames of every clip, and return the clips' fusion tokens.

        Args:
            frames: from `embed_frames`, then `to_clip`.
            rows: which of them each clip consists of, in its order.
            dropout: as in pre-training.
            factors: of `DropPath`.
        """
        clips = len(rows)
        fill = filled_up(clips, _CLIPS_AT_ONCE) - clips
        rows = torch.cat((rows, rows.new_full((fill, rows.shape[1]), len(frames) - 1)))
        factors = None if factors is None else F.pad(factors, (0, 0, 0, 0, 0, fill))
        tokens = (frames[rows] + self.clip_position).flatten(1, 2)
        fusion = self.clip_fusion.to(tokens.dtype).expand(len(rows), -1, -1)
        tokens = torch.cat((tokens, fusion), dim=1)
        tokens = _through(
            *(self.clip_layers, tokens), allowed=self._clip_pairs, last_alone=True, dropout=dropout, factors=factors
        )
        return tokens[:clips, -1]

    def embed_sequences(
        self,
        clips: Float[Tensor, "sequence clip clip_dim"],
        exists: Bool[Tensor, "sequence clip"],
        dropout: Dropout | None = None,
        factors: Float[Tensor, "branch sequence 1 1"] | None = None,
        *,
        summary_alone: bool = False,
    ) -> Float[Tensor, "sequence token dim"]:
        """Relate the clips of every sequence, and return them in their context, the sequence's fusion token last.

        Args:
            clips: from `embed_clips`, padded.
            exists: which are clips, and not padding.
            dropout: as in pre-training.
            factors: of `DropPath`.
            summary_alone: return the fusion token and nothing else, which costs less.
        """
        tokens = self.to_sequence(clips) + self.sequence_position[: clips.shape[1]]
        tokens = torch.cat((tokens, self.sequence_fusion.to(tokens.dtype).expand(len(clips), -1, -1)), dim=1)
        allowed = F.pad(exists, (0, 1), value=True)[:, None, None]
        return _through(
            *(self.sequence_layers, tokens), allowed=allowed, last_alone=summary_alone, dropout=dropout, factors=factors
        )

    def most(self, count: Int64[Tensor, " sequence"], batch: Batch) -> tuple[int | None, int | None, int]:
        """Return how many frames and clips sequences have together, and clips the longest, at most.

        None, and the longest of them: shapes are not fixed, and their numbers are read from the device.
        """
        if batch.shapes is None:
            return None, None, int(count.max()) if len(count) else 0
        rows, times, stride = len(count), batch.joints.shape[2], self.config.clip_stride
        longest = self.config.clip_count(times)
        frames = rows * times if batch.shapes.frames is None else batch.shapes.frames
        # F frames have (F + stride - 1) // stride clips; all rows together no more than the sum of these, divided once.
        return frames, min(rows * longest, (frames + rows * (stride - 1)) // stride), longest

    def clip_rows(
        self, flat: FlatSequences, sequence: Int64[Tensor, " clip"], centre: Int64[Tensor, " clip"]
    ) -> Int64[Tensor, "clip clip_frame"]:
        """Return the rows of the frames of some clips, by their sequence and the frame in their middle."""
        offset = torch.arange(self.config.clip_frames, device=centre.device) - self.config.clip_frames // 2
        frame = centre[:, None] + self.config.clip_dilation * offset
        return flat.rows(sequence[:, None].expand_as(frame), frame)

    def forward(self, batch: Batch, drop: DropPath | None = None) -> Features:
        """Encode every present body: its frames, its clips, then all of it."""
        if self.config.parity:
            batch = batch.absent_as_zeros()
        clips, bodies = batch.joints.shape[:2]
        rows = rows_of(batch.present.flatten(2), batch)
        joints, present = rows.of(batch)
        frames, body = rows.frames(batch), rows.body
        count = clip_counts(frames, self.config.clip_stride)
        most_frames, most_clips, longest = self.most(count, batch)
        flat = flatten(torch.where(present[..., None], joints, 0.0), frames, most_frames)
        sequence, place = clip_places(count, most_clips)
        of_frame, of_clip, of_sequence = self._factors(drop, body, flat.sequence, sequence)

        embedded = self.to_clip(self.embed_frames(flat.joints, factors=of_frame))
        of_clips = self.clip_rows(flat, sequence, place * self.config.clip_stride)
        embedded = self.embed_clips(embedded, of_clips, factors=of_clip)
        padded, exists = side_by_side(embedded, count, longest)
        tokens = widened(self.embed_sequences(padded, exists, factors=of_sequence))

        # A clip that the body is nowhere seen in was computed, and attended to, but is nobody's feature.
        seen = flat.of(present.any(2))[of_clips].any(1)
        exists = side_by_side(seen, count, longest)[0] & exists
        tokens = torch.where(F.pad(exists, (0, 1), value=True)[..., None], rows.zeroed(tokens), 0.0)
        whole = unpack(tokens, body, clips, bodies)
        return Features(
            tokens=whole[:, :, :-1, None],
            present=unpack(exists, body, clips, bodies)[..., None],
            summary=whole[:, :, -1],
        )

    def _factors(
        self, drop: DropPath | None, body: Int64[Tensor, " packed"], *of: Int64[Tensor, " _"]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the factors of the branches at each level: those of the sequence that a frame or clip belongs to."""
        if drop is None:
            return None, None, None
        branches = [2 * depth for depth in self.config.depths]
        frame, clip, sequence = drop.factors(sum(self.config.depths), body).split(branches)
        everybody = torch.ones_like(frame[:, :1])  # whose the frames of zeros are
        return torch.cat((frame, everybody), dim=1)[:, of[0]], clip[:, of[1]], sequence

    def layers(self) -> list[list[nn.Parameter]]:
        """Return what each level begins with together with its first layer, and its other layers one by one."""
        levels: list[tuple[Any, list[nn.Parameter]]] = [
            (self.frame_layers, [*self.embedding.parameters(), self.joint_position]),
            (self.clip_layers, [*self.to_clip.parameters(), self.clip_position, self.clip_fusion]),
            (self.sequence_layers, [*self.to_sequence.parameters(), self.sequence_position, self.sequence_fusion]),
        ]
        groups = []
        for layers, begins_with in levels:
            first, *following = [list(layer.parameters()) for layer in layers]
            groups += [begins_with + first, *following]
        return groups

    def joint_axes(self) -> dict[str, JointAxis]:
        """Name the embeddings of the joints at the frame and the clip level."""
        return {"joint_position": JointAxis(0), "clip_position": JointAxis(1)}


def _through(
    layers: nn.ModuleList,
    tokens: Float[Tensor, "item token dim"],
    *,
    allowed: Bool[Tensor, "#item 1 #token token"] | None = None,
    last_alone: bool = False,
    dropout: Dropout | None,
    factors: Float[Tensor, "branch item 1 1"] | None,
) -> Float[Tensor, "item query dim"]:
    """Run tokens through the layers of a level; `last_alone`: of the last layer, nothing but the last token is read."""
    for number, layer in enumerate(layers):
        is_last = number == len(layers) - 1
        tokens = layer(
            tokens,
            allowed=allowed,
            queries_from=tokens.shape[1] - 1 if last_alone and is_last else 0,
            dropout=None if dropout is None else dropout.of(number),
            factors=pair_of(factors, number),
        )
    return tokens


def _dropped(values: Tensor, dropout: Dropout | None, branch: int) -> Tensor:
    return values if dropout is None else dropout.of(branch)(values)
