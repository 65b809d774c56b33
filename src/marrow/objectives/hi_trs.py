"""Hi-TRS: a pretext task at every level of a hierarchical transformer.

Chen, Zhao, Yuan, Tian, Xia, Geng, Han, Metaxas: "Hierarchically Self-Supervised Transformer for Human Skeleton
Representation Learning", ECCV 2022 (doi 10.1007/978-3-031-19809-0_11). A seventh of the joints is hidden, and what is
left feeds four tasks at once: where the hidden joints are (frame level); whether two frames of a clip have changed
places (clip level); whether two clips have (sequence level); and which of the batch's last clips follows what came
before (sequence level).

The same functions as the released code, computed with less work:

1. Every frame is computed once for all tasks, end to end with the frames of the other sequences. Frames and clips that
   would be padding are never computed, nor are absent bodies. Of a clip, only the fusion token runs through the second
   half of the last layer.
2. Hiding is a draw for the whole batch, without a loop over joints.

Deviations:

3. Frames beyond the ends of a sequence are one and the same frame of zeros, so that they share their dropout.
4. Sequences of unequal length: the future clip of each is its own last one, which hides nothing of the others.
5. An absent joint is never hidden, no target, and no source of another joint's place; the step into or out of an absent
   frame is no flow. Frames of a present body in which it is not seen are zeros, as in the released code.
6. Both bodies of a clip are in the same batch, as sequences of their own, and so negatives of each other.
7. A sequence that is too short for three clips is stretched to that (`input.min_frames`) instead of being dropped.
8. Streams are those of marrow: motion is the forward difference, where the authors take the backward one.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.errors import ConfigError
from marrow.models.blocks import Dropout, ExactLinear, widened
from marrow.models.clips import clip_counts, clip_places, flatten, side_by_side
from marrow.models.hierarchical_transformer import HierarchicalTransformer
from marrow.models.packing import Rows, pack, rows_of
from marrow.models.trainable import StepOutput
from marrow.objectives.base import Objective, Picture, picture_of
from marrow.objectives.disorder import chosen, distant_pair, moving_clips, replacements, swapped


@dataclass(frozen=True)
class HiTRSConfig:
    """Settings of hierarchical pre-training; the defaults are the paper's.

    Args:
        mask_ratio: share of the joints that are to be predicted.
        constant_share: share of those that are replaced by the constant point.
        swapped_share: share of those that are replaced by another joint of another frame. The rest stays as it is.
        constant: each coordinate of the constant point, in the unit of the input.
        pose_scale: by how much predicted and true positions are multiplied before they are compared.
        temperature: by which the similarities of future clips are divided.
        pose_weight: of the hidden joints' positions in the loss.
        clip_order_weight: of the order of a clip's frames.
        sequence_order_weight: of the order of a sequence's clips.
        future_weight: of the clip that follows.
    """

    mask_ratio: float = 0.15
    constant_share: float = 0.8
    swapped_share: float = 0.1
    constant: float = 1.0
    pose_scale: float = 10.0
    temperature: float = 0.07
    pose_weight: float = 1.0
    clip_order_weight: float = 1.0
    sequence_order_weight: float = 1.0
    future_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.mask_ratio < 1.0:
            raise ConfigError(f"objective.mask_ratio must lie between 0 and 1, got {self.mask_ratio}")
        if min(self.constant_share, self.swapped_share) < 0 or self.constant_share + self.swapped_share > 1:
            raise ConfigError(
                "objective: expected constant_share and swapped_share of at least 0, and at most 1 together, got "
                f"{self.constant_share} and {self.swapped_share}"
            )
        for name in ("pose_scale", "temperature"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"objective.{name} must be positive, got {getattr(self, name)}")
        for name in ("pose_weight", "clip_order_weight", "sequence_order_weight", "future_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"objective.{name} must not be negative, got {getattr(self, name)}")


@dataclass
class HiTRSDraw:
    """What is random in a step.

    Args:
        rows: the bodies in it, each a sequence.
        frames: how many each of them has; none where there is no body.
        selected: joints whose position is to be predicted.
        constant: which of them the encoder is given as the constant point.
        source: from which place of its sequence every other joint is taken, mostly its own: time * joints + joint.
        centre: frame in the middle of the clip whose order is asked for.
        moves: whether that clip moves; only then it counts.
        frame_swap: its two frames that change places, counted in the clip.
        clip_swap: the two clips of the sequence that change places.
        dropout: what attention and MLPs leave out; None: nothing.
    """

    rows: Rows
    frames: Int64[Tensor, " sequence"]
    selected: Bool[Tensor, "sequence time joint"]
    constant: Bool[Tensor, "sequence time joint"]
    source: Int64[Tensor, "sequence time joint"]
    centre: Int64[Tensor, " sequence"]
    moves: Bool[Tensor, " sequence"]
    frame_swap: Int64[Tensor, "sequence 2"]
    clip_swap: Int64[Tensor, "sequence 2"]
    dropout: Dropout | None


class HiTRS(Objective):
    """Hierarchical pre-training.

    Args:
        config: settings.
        encoder: the network that is kept.
    """

    title = "Hi-TRS"
    config_type = HiTRSConfig
    encoder_type = HierarchicalTransformer
    encoder: HierarchicalTransformer
    # The future clip is told from the last clips of the other sequences, and terms are averaged each by its own count.
    couples_samples = True

    def __init__(self, config: HiTRSConfig, encoder: HierarchicalTransformer) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        shortest = encoder.input.window_frames if encoder.input.pace == "resized" else encoder.input.min_frames
        stride = encoder.config.clip_stride
        if encoder.config.clip_count(shortest) < 3:
            raise ConfigError(
                "Hi-TRS asks for the order of two clips and for a third: a sequence needs at least 3 clips, which are "
                f"{2 * stride + 1} frames with encoder.clip_stride = {stride}; the shortest has {shortest}. Raise "
                "input.min_frames, or input.window_frames where the pace is resized"
            )
        if encoder.config.clip_frames < 3:
            raise ConfigError(f"Hi-TRS needs clips of at least 3 frames, got {encoder.config.clip_frames}")
        frame, clip, sequence = encoder.config.widths
        self.pose = ExactLinear(frame, 3)
        self.clip_order = nn.Linear(clip, 2)
        self.sequence_order = nn.Linear(sequence, 2)
        self.future = nn.Linear(sequence, clip)

    @torch.no_grad()
    def sample(self, batch: Batch, draws: Draws) -> HiTRSDraw:
        """Draw the hidden joints of every body, a moving clip, and what changes places."""
        encoder, bodies = self.encoder.config, batch.joints.shape[1]
        rows = rows_of(batch.present.flatten(2), batch)
        joints, present = rows.of(batch)
        joints, body = torch.where(present[..., None], joints, 0.0), rows.body
        frames = rows.frames(batch)

        # Time comes first, so that the numbers do not depend on how long the longest sequence of the batch is.
        noise = draws.uniform("hidden", present.shape[1], bodies, present.shape[2], 3).transpose(1, 2)
        noise = pack(noise, body)
        selected = (noise[..., 0] < self.config.mask_ratio) & present
        shares = self.config.mask_ratio, self.config.constant_share, self.config.swapped_share
        constant, source = replacements(selected, present, frames, noise, *shares)

        moving = moving_clips(joints, present, frames, encoder.clip_frames, encoder.clip_dilation)
        choice = pack(draws.uniform("moving_clip", bodies), body)
        order = pack(draws.uniform("order_swaps", bodies, 4), body)
        context = clip_counts(frames, encoder.clip_stride) - 1
        return HiTRSDraw(
            rows=rows,
            frames=frames,
            selected=selected,
            constant=constant,
            source=source,
            centre=chosen(moving, choice),
            moves=moving.any(1),
            frame_swap=distant_pair(torch.full_like(context, encoder.clip_frames), order[:, :2]),
            clip_swap=distant_pair(context, order[:, 2:]),
            dropout=Dropout(draws.key("dropout"), encoder.dropout) if encoder.dropout > 0 else None,
        )

    def forward(self, batch: Batch, draw: HiTRSDraw) -> StepOutput:
        """Compute the four losses of a batch."""
        config, exists = self.config, draw.frames > 0
        weight = exists.sum().float()

        # Encode and decode: an answer to each of the four tasks.
        answers = self.answers(batch, draw, draw.dropout)

        # Targets and losses. Frame level: where the hidden joints are, which the batch itself tells.
        dimensions = self.encoder.skeleton.dimensions
        truth = config.pose_scale * draw.rows.joints(batch)[..., :dimensions]
        said = config.pose_scale * answers["pose"][..., :dimensions]
        pose = _mean(F.smooth_l1_loss(said, truth, reduction="none"), draw.selected)
        # Clip and sequence level: in order (the first half) or not.
        clip_order, clip_right = _in_order(answers["clip_order"], draw.moves)
        sequence_order, sequence_right = _in_order(answers["sequence_order"], exists)
        # Sequence level: which last clip follows, by cosine similarity (InfoNCE, one direction).
        with torch.autocast(truth.device.type, enabled=False):
            similarity = F.normalize(answers["future"], dim=1) @ F.normalize(answers["future_target"], dim=1).T
        own = torch.arange(len(similarity), device=similarity.device)
        # What does not exist is nobody's negative.
        logits = (similarity / config.temperature).masked_fill(~exists & (own[:, None] != own), -torch.inf)
        future = (F.cross_entropy(logits, own, reduction="none") * exists).sum() / weight.clamp(min=1.0)
        future_right = ((logits.detach().argmax(1) == own) * exists).sum() / weight.clamp(min=1.0)

        losses = {
            "pose": config.pose_weight * pose,
            "clip_order": config.clip_order_weight * clip_order,
            "sequence_order": config.sequence_order_weight * sequence_order,
            "future": config.future_weight * future,
        }
        return StepOutput(
            loss_sum=torch.stack(list(losses.values())).sum() * weight,
            weight=weight,
            metrics={
                **{f"{name}_loss": loss.detach() * weight for name, loss in losses.items()},
                "clip_order_percent": 100.0 * clip_right * weight,
                "sequence_order_percent": 100.0 * sequence_right * weight,
                "future_percent": 100.0 * future_right * weight,
                "loss_of_mean": self._loss_of_knowing_nothing(truth, draw.selected, weight) * weight,
            },
        )

    def answers(self, batch: Batch, draw: HiTRSDraw, dropout: Dropout | None = None) -> dict[str, Tensor]:
        """Answer the four tasks.

        Returns:
            `pose` [sequence, time, joint, 3] in the unit of the input; `clip_order` and `sequence_order` [2 * sequence,
            2], those in order first; `future` and `future_target` [sequence, clip_dim].
        """
        encoder = self.encoder
        of_frames, of_clips, of_sequences = (None if dropout is None else dropout.of(level) for level in range(3))
        count = clip_counts(draw.frames, encoder.config.clip_stride)
        most_frames, most_clips, longest = encoder.most(count, batch)
        flat = flatten(self.shown(batch, draw), draw.frames, most_frames)
        sequence, place = clip_places(count, most_clips)
        own = torch.arange(len(count), device=count.device)

        # Encode: every frame once; then the clips of all sequences and, for the clip task, one clip in two orders.
        embedded = encoder.embed_frames(flat.joints, of_frames)
        in_order = encoder.clip_rows(flat, own, draw.centre)
        rows = torch.cat(
            (
                encoder.clip_rows(flat, sequence, place * encoder.config.clip_stride),
                in_order,
                swapped(in_order, draw.frame_swap),
            )
        )
        clips = encoder.embed_clips(encoder.to_clip(embedded), rows, of_clips)
        clips, pair = clips.split([len(sequence), 2 * len(count)])

        # Decode: the context is all clips but the last of each sequence, in order and not.
        padded, exists = side_by_side(clips, count, longest)
        target = padded[own, count - 1].detach()
        context = torch.cat((padded, swapped(padded, draw.clip_swap)))[:, :-1]
        in_context = exists[:, 1:].repeat(2, 1)
        summary = encoder.embed_sequences(context, in_context, of_sequences, summary_alone=True)[:, -1]
        return {
            "pose": flat.padded(self.pose(embedded), batch.joints.shape[2]),
            "clip_order": widened(self.clip_order(pair)),
            "sequence_order": widened(self.sequence_order(summary)),
            "future": widened(self.future(summary[: len(own)])),
            "future_target": widened(target),
        }

    @torch.no_grad()
    def explain(self, batch: Batch, draw: HiTRSDraw) -> Picture:
        """Show which joints are to be predicted, and where they are said to be."""
        hidden, present = draw.selected, draw.rows.of(batch)[1]
        pose = torch.where(hidden[..., None], self.answers(batch, draw)["pose"], pack(batch.joints, draw.rows.body))
        note = "A joint in ten of those that are to be predicted is shown as it is, another with a wrong place."
        return picture_of(batch, draw.rows, present & ~hidden, hidden, pose, note)

    def shown(self, batch: Batch, draw: HiTRSDraw) -> Float[Tensor, "sequence time joint 3"]:
        """Return the joints that the encoder is given in place of those of the sequences."""
        joints, present = draw.rows.of(batch)
        joints = torch.where(present[..., None], joints, 0.0)
        taken = draw.source.flatten(1)[..., None].expand(-1, -1, 3)
        shown = joints.flatten(1, 2).gather(1, taken).view_as(joints)
        return torch.where(draw.constant[..., None], self.config.constant, shown)

    def _loss_of_knowing_nothing(self, truth: Tensor, selected: Tensor, sequences: Tensor) -> Tensor:
        """Return the loss of the mean position, and of a guess in every choice."""
        config = self.config
        mean = (truth * selected[..., None]).sum((0, 1, 2)) / selected.sum().clamp(min=1)
        pose = _mean(F.smooth_l1_loss(mean.expand_as(truth), truth, reduction="none"), selected)
        orders = (config.clip_order_weight + config.sequence_order_weight) * math.log(2.0)
        return config.pose_weight * pose + orders + config.future_weight * sequences.clamp(min=1.0).log()


def _in_order(
    logits: Float[Tensor, "twice 2"], counts: Bool[Tensor, " sequence"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the mean cross-entropy and the share that is right; the first half is in order (class 1)."""
    truth = torch.arange(2, device=logits.device).flip(0).repeat_interleave(len(counts))
    weight = counts.repeat(2).float()
    total = weight.sum().clamp(min=1.0)
    loss = (F.cross_entropy(logits, truth, reduction="none") * weight).sum() / total
    right = ((logits.detach().argmax(1) == truth) * weight).sum() / total
    return loss, right


def _mean(values: Float[Tensor, "*rest coordinate"], selected: Bool[Tensor, "*rest"]) -> Float[Tensor, ""]:
    """Return the mean over what is selected; zero of nothing."""
    return torch.where(selected[..., None], values, 0.0).sum() / (values.shape[-1] * selected.sum()).clamp(min=1)
