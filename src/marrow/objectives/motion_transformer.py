"""Motion-Transformer: hidden poses and the flow of the skeleton, from a transformer over time.

Cheng, Chen, Zhang, Lin: "Motion-Transformer: Self-Supervised Pre-Training for Skeleton-Based Action Recognition", ACM
Multimedia Asia 2020. Spans of frames are hidden. From the rest an encoder with one token per frame predicts the hidden
poses, and between them and their neighbours the flow: in which of 27 directions each joint moves, and how far.

The text of the paper that is open to us says that flow is predicted, and nothing else of what follows. That flow means
the direction and size of the displacement between adjacent frames is the best-supported reading of it; all numbers are
ours (docs/motion_transformer.md). Where that page's description of the method is not met, or is made precise:

1. Flow is measured per frame of the window, whose clip was resized to it, and not per frame of the recording: the dead
   zone and the unit of magnitude are settings in metres (trunk lengths where `input.alignment` is "body"). With
   `input.pace` "recorded" the two frames are the same.
2. The last span is cut off where the ratio is reached, so that the number of hidden frames is exact.
3. A hidden frame that becomes another frame becomes a visible one: what is hidden appears nowhere else.
4. Each term of the loss is a mean over what a body has of it, and the loss the mean over bodies: it is the same however
   a batch is cut. A body without any term (a single frame) does not count.
5. Frames in which no joint is present are neither attended to nor hidden. Joints that are absent in a frame are given
   as zeros and not predicted; nor is flow from or to an absent joint.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.errors import ConfigError
from marrow.models.blocks import DropPath, ExactLinear, position_parameter, widened
from marrow.models.frame_transformer import FrameTransformer
from marrow.models.packing import Rows, pack, rows_of
from marrow.models.trainable import StepOutput
from marrow.objectives import flow
from marrow.objectives.base import Objective, Picture, picture_of

# What each variant predicts: one head each.
_HEADS: dict[str, tuple[str, ...]] = {
    "rec+flow": ("pose", "direction", "magnitude"),
    "rec": ("pose",),
    "flow-cls": ("direction", "magnitude"),
    "flow-reg": ("flow",),
    "causal": ("direction", "magnitude"),
}


@dataclass(frozen=True)
class MotionTransformerConfig:
    """Settings of Motion-Transformer; all defaults are ours.

    Args:
        variant: what is predicted. rec+flow: hidden poses, and direction and magnitude of the flow; rec: the poses
            alone; flow-cls: direction and magnitude alone; flow-reg: the flow as a vector, divided by the root mean
            square of the body's own; causal: nothing is hidden, and direction and magnitude are predicted from a frame
            and those before it (needs `encoder.causal`).
        mask_ratio: share of the usable frames that is hidden.
        shortest_span: frames of the shortest hidden span.
        longest_span_share: length of the longest, as a share of the usable frames.
        vector_share: share of the hidden frames in whose place the encoder is given one learned vector.
        swapped_share: share of the hidden frames in whose place it is given another frame; it is given the others as
            they are.
        flow_on: between which frames flow is predicted. hidden: where at least one of the two is hidden; visible: where
            neither is, which a linear map of two embeddings would do; all. "causal" predicts all.
        intervals: frames from a frame to the one that its flow leads to, for one or several kinds of flow.
        dead_zone_metres: along an axis, up to this displacement per interval counts as none (in trunk lengths after the
            alignment "body").
        magnitude_unit_metres: displacement whose magnitude is log 2 (in trunk lengths after the alignment "body").
        pose_unit_metres: error of a coordinate from which on it counts by its size and no longer by its square (in
            trunk lengths after the alignment "body").
        pose_weight: of the poses in the loss.
        direction_weight: of the directions.
        magnitude_weight: of the magnitudes.
        drop_path: how often the last block's residual branches are left out; the rate rises linearly from 0.
    """

    variant: Literal["rec+flow", "rec", "flow-cls", "flow-reg", "causal"] = "rec+flow"
    mask_ratio: float = 0.4
    shortest_span: int = 3
    longest_span_share: float = 0.2
    vector_share: float = 0.8
    swapped_share: float = 0.1
    flow_on: Literal["hidden", "visible", "all"] = "hidden"
    intervals: tuple[int, ...] = (1,)
    dead_zone_metres: float = 0.005
    magnitude_unit_metres: float = 0.01
    pose_unit_metres: float = 0.1
    pose_weight: float = 1.0
    direction_weight: float = 1.0
    magnitude_weight: float = 0.5
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 < self.mask_ratio < 1.0:
            raise ConfigError(f"objective.mask_ratio must lie between 0 and 1, got {self.mask_ratio}")
        if self.shortest_span < 1 or not 0.0 < self.longest_span_share <= 1.0:
            raise ConfigError(
                "objective.shortest_span must be at least 1 and objective.longest_span_share must lie in (0, 1], got "
                f"{self.shortest_span} and {self.longest_span_share}"
            )
        if min(self.vector_share, self.swapped_share) < 0.0 or self.vector_share + self.swapped_share > 1.0 + 1e-9:
            raise ConfigError(
                "objective.vector_share and objective.swapped_share must not be negative and sum to 1 at most, got "
                f"{self.vector_share} and {self.swapped_share}"
            )
        if not self.intervals or min(self.intervals) < 1 or len(set(self.intervals)) < len(self.intervals):
            raise ConfigError(
                "objective.intervals must name at least one number of frames, each of at least 1 and once, got "
                f"{list(self.intervals)}"
            )
        for name in ("magnitude_unit_metres", "pose_unit_metres"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"objective.{name} must be positive, got {getattr(self, name)}")
        for name in ("dead_zone_metres", "pose_weight", "direction_weight", "magnitude_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"objective.{name} must not be negative, got {getattr(self, name)}")
        if not 0.0 <= self.drop_path < 1.0:
            raise ConfigError(f"objective.drop_path must lie in [0, 1), got {self.drop_path}")


@dataclass
class MotionTransformerDraw:
    """What is random in a step.

    Args:
        rows: which bodies are in it.
        usable: which of their frames can be used.
        may_attend: which of them may be attended to; None: all.
        hidden: which frames are hidden.
        vector: which of them the encoder is given as the learned vector.
        source: from which frame each of the others is taken.
        drop: which residual branches are left out.
    """

    rows: Rows
    usable: Bool[Tensor, "packed time"]
    may_attend: Bool[Tensor, "packed time"] | None
    hidden: Bool[Tensor, "packed time"]
    vector: Bool[Tensor, "packed time"]
    source: Int64[Tensor, "packed time"]
    drop: DropPath | None


class MotionTransformer(Objective):
    """Prediction of hidden poses and of the flow around them.

    Args:
        config: settings.
        encoder: the network that is kept.
    """

    title = "Motion-Transformer"
    config_type = MotionTransformerConfig
    encoder_type = FrameTransformer
    encoder: FrameTransformer

    def __init__(self, config: MotionTransformerConfig, encoder: FrameTransformer) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        frames, joints, width = encoder.input.window_frames, len(encoder.skeleton.joints), encoder.dim
        if max(config.intervals) >= frames:
            raise ConfigError(
                f"objective.intervals must be less than the {frames} frames of the window, got {list(config.intervals)}"
            )
        if (config.variant == "causal") != encoder.config.causal:
            raise ConfigError(
                f"objective.variant {config.variant!r} needs encoder.causal {str(config.variant == 'causal').lower()}, "
                f"got {str(encoder.config.causal).lower()}"
            )
        of_flow = (len(config.intervals), joints)
        self._shapes = {
            "pose": (joints, 3),
            "direction": (*of_flow, flow.DIRECTIONS),
            "magnitude": of_flow,
            "flow": (*of_flow, 3),
        }
        self.heads = nn.ModuleDict(
            {name: _head(name, width, math.prod(self._shapes[name])) for name in _HEADS[config.variant]}
        )
        # One term of the loss for each head.
        self._terms = {
            "pose": partial(flow.pose_term, config.pose_weight, config.pose_unit_metres),
            "direction": partial(flow.direction_term, config.direction_weight, config.dead_zone_metres),
            "magnitude": partial(flow.magnitude_term, config.magnitude_weight, config.magnitude_unit_metres),
            "flow": flow.smooth_term,
        }
        self.hidden_frame = None if config.variant == "causal" else position_parameter(width)

    @torch.no_grad()
    def sample(self, batch: Batch, draws: Draws) -> MotionTransformerDraw:
        """Draw the hidden frames of every body, what the encoder is given in their place, and what it leaves out."""
        config, (_, bodies, frames, _) = self.config, batch.present.shape
        rows = rows_of(batch.present.any(3), batch)
        usable = rows.take(batch.present.any(3).flatten(0, 1))
        hidden = torch.zeros_like(usable)
        if config.variant != "causal":
            ratio, lengths = config.mask_ratio, (config.shortest_span, config.longest_span_share)
            spans = flow.span_count(self.encoder.input.window_frames, ratio, *lengths)
            noise = pack(draws.uniform("hidden", bodies, spans, 2), rows.body)
            hidden = flow.hide_spans(noise, usable, ratio, *lengths)
        # Time comes first, so that the numbers do not depend on how long the longest clip of the batch is.
        noise = pack(draws.uniform("replaced", frames, bodies, 2).transpose(1, 2), rows.body)
        vector, source = flow.replace_hidden(noise, hidden, usable & ~hidden, config.vector_share, config.swapped_share)
        branches = draws.uniform("drop_path", bodies, self.encoder.branches)
        drop = DropPath(branches, config.drop_path) if config.drop_path > 0 else None
        return MotionTransformerDraw(rows, usable, rows.may_attend(usable, batch), hidden, vector, source, drop)

    def forward(self, batch: Batch, draw: MotionTransformerDraw) -> StepOutput:
        """Compute the loss over the hidden poses and the flow around them."""
        joints, present = draw.rows.of(batch)
        joints = torch.where(present[..., None], joints, 0.0)

        # Encode: what is left of the frames.
        encoded = self._encode(joints, present, draw, draw.drop)

        # Targets: the poses, and the flow at every interval; functions of the input alone.
        displacement, has_flow = flow.at_intervals(joints, present, self.config.intervals)
        target = {"pose": joints, "direction": displacement, "magnitude": displacement}
        if "flow" in self.heads:
            target["flow"] = displacement / flow.size(displacement, has_flow, self.config.dead_zone_metres)

        # Decode and loss: one term per head, averaged over what a body has of it, then summed over the bodies. Only
        # frames that have a target are asked about, whose number is read from the device; where shapes are fixed, all
        # are.
        wanted = self._predicted_flow(draw)
        of_pose = flow.share_of_body(draw.hidden[..., None] & present)
        of_flow = flow.share_of_body(wanted[..., None] & has_flow)
        terms: list[flow.Term] = []
        counts = torch.zeros_like(draw.rows.body, dtype=torch.bool)
        for name in self.heads:
            share, asked = (of_pose, draw.hidden) if name == "pose" else (of_flow, wanted.any(2))
            counts = counts | (share.flatten(1).sum(1) > 0)
            asked = asked if batch.shapes is None else None
            answer, truth = self._say(name, _at(asked, encoded)), _at(asked, target[name])
            if name in ("pose", "flow"):  # of a layout in two dimensions, the third coordinate does not exist
                answer, truth = (values[..., : self.encoder.skeleton.dimensions] for values in (answer, truth))
            terms.append(self._terms[name](answer, truth, _at(asked, share)))
        metrics = {name: metric for term in terms for name, metric in term.metrics.items()}
        metrics["loss_of_mean"] = torch.stack([term.loss_of_mean for term in terms]).sum()
        return StepOutput(
            loss_sum=torch.stack([term.loss for term in terms]).sum(),
            weight=counts.float().sum(),
            metrics={name: metric.detach() for name, metric in metrics.items()},
        )

    @torch.no_grad()
    def explain(self, batch: Batch, draw: MotionTransformerDraw) -> Picture:
        """Show the frames that are hidden, and the predicted poses there, or where the predicted flow leads."""
        config, (joints, present) = self.config, draw.rows.of(batch)
        joints = torch.where(present[..., None], joints, 0.0)
        encoded = self._encode(joints, present, draw, None)
        # Hidden frames that the encoder was given as they are, were not kept from it.
        as_it_is = ~draw.vector & (draw.source == torch.arange(present.shape[1], device=present.device))
        hidden, note = draw.hidden & ~as_it_is, ""
        if "pose" in self.heads:
            predicted = self._say("pose", encoded) * config.pose_unit_metres
        else:
            interval = min(config.intervals)
            steps = self._steps(encoded, joints, present)[:, :, config.intervals.index(interval)]
            given, note = present & ~hidden[..., None], flow.NOTES[config.variant]
            if config.variant == "causal":
                hidden = draw.usable & (draw.usable.cumsum(1) > interval)
            predicted = flow.followed(steps, joints, given, interval)
        visible = draw.usable & ~hidden
        flags = visible[..., None] & present, hidden[..., None] & present
        return picture_of(batch, draw.rows, *flags, predicted, note)

    def _encode(
        self,
        joints: Float[Tensor, "body time joint 3"],
        present: Bool[Tensor, "body time joint"],
        draw: MotionTransformerDraw,
        drop: DropPath | None,
    ) -> Float[Tensor, "body time dim"]:
        """Encode what is shown in the place of every frame."""
        frames = self.encoder.frames(joints, present)
        if self.hidden_frame is not None:
            frames = frames.gather(1, draw.source[..., None].expand_as(frames))
            frames = torch.where(draw.vector[..., None], self.hidden_frame.to(frames.dtype), frames)
        factors = self.encoder.factors(drop, draw.rows.body)
        encoded = self.encoder.encode(frames, draw.may_attend, factors)
        return encoded[:, self.encoder.leading :]

    def _say(self, name: str, encoded: Float[Tensor, "*frame dim"]) -> Float[Tensor, "..."]:
        """Return the values that a head predicts for frames, by interval (where it is about flow) and joint."""
        return widened(self.heads[name](encoded)).unflatten(-1, self._shapes[name])

    def _predicted_flow(self, draw: MotionTransformerDraw) -> Bool[Tensor, "body time interval"]:
        """Tell from which frames flow is predicted, as far as it is known."""
        touched = flow.touching(draw.hidden, self.config.intervals)
        if self.config.variant == "causal" or self.config.flow_on == "all":
            return torch.ones_like(touched)
        return touched if self.config.flow_on == "hidden" else ~touched

    def _steps(
        self,
        encoded: Float[Tensor, "body time dim"],
        joints: Float[Tensor, "body time joint 3"],
        present: Bool[Tensor, "body time joint"],
    ) -> Float[Tensor, "body time interval joint 3"]:
        """Turn what the heads say of the flow into displacements."""
        if "flow" in self.heads:
            true_flow = flow.at_intervals(joints, present, self.config.intervals)
            return self._say("flow", encoded) * flow.size(*true_flow, self.config.dead_zone_metres)
        length = flow.length_of(self._say("magnitude", encoded), self.config.magnitude_unit_metres)
        return flow.direction_vector(self._say("direction", encoded).argmax(-1)) * length[..., None]


def _at(flags: Bool[Tensor, "body time"] | None, values: Tensor) -> Tensor:
    """Return the frames that have a flag, one behind the other; all of them where there are no flags."""
    return values.flatten(0, 1) if flags is None else values[flags]


def _head(name: str, width: int, values: int) -> nn.Sequential:
    # Directions are classes; all the others are metres in one form or another.
    last = nn.Linear if name == "direction" else ExactLinear
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), last(width, values))
