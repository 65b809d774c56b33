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

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.errors import ConfigError
from marrow.models.blocks import DropPath, position_parameter
from marrow.models.frame_transformer import FrameTransformer
from marrow.models.packing import existing, pack
from marrow.models.trainable import StepOutput
from marrow.objectives.base import Objective, Picture
from marrow.objectives.motion_flow import (
    DIRECTIONS,
    direction_class,
    direction_vector,
    flow,
    hide_spans,
    length_of,
    log_magnitude,
    replace_hidden,
    span_count,
)

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
        body: which bodies are in it.
        usable: which of their frames can be used.
        all_usable: whether that is all of them.
        hidden: which frames are hidden.
        vector: which of them the encoder is given as the learned vector.
        source: from which frame each of the others is taken.
        drop: which residual branches are left out.
    """

    body: Int64[Tensor, " packed"]
    usable: Bool[Tensor, "packed time"]
    all_usable: bool
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
        flows = len(config.intervals) * joints
        values = {"pose": 3 * joints, "direction": DIRECTIONS * flows, "magnitude": flows, "flow": 3 * flows}
        self.heads = nn.ModuleDict({name: _head(width, values[name]) for name in _HEADS[config.variant]})
        self.hidden_frame = None if config.variant == "causal" else position_parameter(width)

    def sample(self, batch: Batch, draws: Draws) -> MotionTransformerDraw:
        """Draw the hidden frames of every body, what the encoder is given in their place, and what it leaves out."""
        config, (_, bodies, frames, _) = self.config, batch.present.shape
        spans = span_count(frames, config.mask_ratio, config.shortest_span, config.longest_span_share)
        drop = None
        if config.drop_path > 0:
            drop = DropPath(draws.uniform("drop_path", bodies, self.encoder.branches), config.drop_path)
        of_spans, of_frames = draws.uniform("hidden", bodies, spans, 2), draws.uniform("replaced", bodies, frames, 2)
        return self.hide(batch, of_spans, of_frames, drop)

    @torch.no_grad()
    def hide(
        self,
        batch: Batch,
        of_spans: Float[Tensor, "batch body span 2"],
        of_frames: Float[Tensor, "batch body time 2"],
        drop: DropPath | None = None,
    ) -> MotionTransformerDraw:
        """Turn uniform noise into hidden frames and what replaces them."""
        config = self.config
        usable = batch.present.any(3)
        body = existing(usable)
        usable = usable.flatten(0, 1)[body]
        hidden = torch.zeros_like(usable)
        if config.variant != "causal":
            spans = config.shortest_span, config.longest_span_share
            hidden = hide_spans(pack(of_spans, body), usable, config.mask_ratio, *spans)
        vector, source = replace_hidden(
            pack(of_frames, body), hidden, usable & ~hidden, config.vector_share, config.swapped_share
        )
        return MotionTransformerDraw(body, usable, bool(usable.all()), hidden, vector, source, drop)

    def forward(self, batch: Batch, draw: MotionTransformerDraw) -> StepOutput:
        """Compute the loss over the hidden poses and the flow around them."""
        config, present = self.config, pack(batch.present, draw.body)
        joints = torch.where(present[..., None], pack(batch.joints, draw.body), 0.0)

        # Encode what is left of the frames, and predict everywhere.
        said = self._predict(joints, present, draw, draw.drop)

        # Targets: the poses, and the flow at every interval; functions of the input alone.
        pose = joints / config.pose_unit_metres
        displacement, known = self._flow(joints, present)

        # Loss: every term is averaged over what a body has of it, then summed over the bodies.
        of_pose = share_of_body(draw.hidden[..., None] & present)
        of_flow = share_of_body(self._predicted_flow(draw)[..., None] & known)
        terms, metrics = list[tuple[float, Term]](), dict[str, Tensor]()
        counts = torch.zeros_like(draw.body, dtype=torch.bool)
        if "pose" in said:
            terms.append((config.pose_weight, smooth_term(said["pose"], pose, of_pose)))
            metrics["pose_error"] = (of_pose * (said["pose"] - pose).norm(dim=-1)).sum() * config.pose_unit_metres
            counts = counts | (of_pose.flatten(1).sum(1) > 0)
        if "direction" in said:
            number = direction_class(displacement, config.dead_zone_metres)
            magnitude = log_magnitude(displacement, config.magnitude_unit_metres)
            terms.append((config.direction_weight, class_term(said["direction"], number, of_flow)))
            terms.append(
                (config.magnitude_weight, smooth_term(said["magnitude"][..., None], magnitude[..., None], of_flow))
            )
            metrics["direction_accuracy_percent"] = 100.0 * (of_flow * (said["direction"].argmax(-1) == number)).sum()
            # To compare with: always answering with the commonest direction of this micro-batch.
            metrics["direction_majority_percent"] = 100.0 * class_shares(number, of_flow).sum(1).amax(-1).sum()
        if "flow" in said:
            sigma = root_mean_square(displacement, known).clamp(min=max(config.dead_zone_metres, 1e-6))
            terms.append((1.0, smooth_term(said["flow"], displacement / sigma, of_flow)))
        if config.variant != "rec":
            counts = counts | (of_flow.flatten(1).sum(1) > 0)
        metrics["loss_of_mean"] = torch.stack([weight * term.loss_of_mean for weight, term in terms]).sum()
        return StepOutput(
            loss_sum=torch.stack([weight * term.loss for weight, term in terms]).sum(),
            weight=counts.float().sum(),
            metrics={name: metric.detach() for name, metric in metrics.items()},
        )

    @torch.no_grad()
    def explain(self, batch: Batch, draw: MotionTransformerDraw) -> Picture:
        """Show the frames that are hidden, and the predicted poses there, or where the predicted flow leads."""
        config, present = self.config, pack(batch.present, draw.body)
        joints = torch.where(present[..., None], pack(batch.joints, draw.body), 0.0)
        said = self._predict(joints, present, draw, None)
        # Hidden frames that the encoder was given as they are, were not kept from it.
        itself = torch.arange(present.shape[1], device=present.device)
        shown_as_is = draw.hidden & ~draw.vector & (draw.source == itself)
        hidden, visible, note = draw.hidden & ~shown_as_is, draw.usable & (~draw.hidden | shown_as_is), ""
        if "pose" in said:
            predicted = said["pose"] * config.pose_unit_metres
        else:
            number = min(range(len(config.intervals)), key=lambda each: config.intervals[each])
            steps = self._steps(said, joints, present)[:, :, number]
            if config.variant == "causal":
                visible = draw.usable & (draw.usable.cumsum(1) <= config.intervals[number])
                hidden = draw.usable & ~visible
                predicted = followed(steps, joints, present, config.intervals[number])
                note = (
                    "Nothing is hidden: each frame is predicted by the flow that leads to it from a true earlier one."
                )
            else:
                predicted = followed(steps, joints, present & visible[..., None], config.intervals[number])
                note = (
                    "What is predicted is flow: hidden frames follow it from the last true frame before them; those "
                    "before any true frame start from the first."
                )
            if config.variant == "flow-reg":
                note += " Its size is that of the body's true flow, on average."

        def per_joint(frames: Bool[Tensor, "packed time"]) -> Bool[Tensor, "batch body time joint"]:
            whole = torch.zeros_like(batch.present).flatten(0, 1)
            whole[draw.body] = frames[..., None] & present
            return whole.view_as(batch.present)

        shown = batch.joints.flatten(0, 1).clone()
        shown[draw.body] = predicted
        return Picture(
            batch.joints, batch.present, per_joint(visible), per_joint(hidden), shown.view_as(batch.joints), note
        )

    def _predict(
        self,
        joints: Float[Tensor, "body time joint 3"],
        present: Bool[Tensor, "body time joint"],
        draw: MotionTransformerDraw,
        drop: DropPath | None,
    ) -> dict[str, Tensor]:
        """Return what each head says of every frame: values by interval (where it is about flow) and joint."""
        frames = self.encoder.frames(joints, present)
        if self.hidden_frame is not None:
            frames = frames.gather(1, draw.source[..., None].expand_as(frames))
            frames = torch.where(draw.vector[..., None], self.hidden_frame.to(frames.dtype), frames)
        factors = self.encoder.factors(drop, draw.body)
        encoded = self.encoder.encode(frames, None if draw.all_usable else draw.usable, factors)
        encoded = encoded[:, self.encoder.leading :]
        intervals, joint_count = len(self.config.intervals), joints.shape[2]
        shapes = {
            "pose": (joint_count, 3),
            "direction": (intervals, joint_count, DIRECTIONS),
            "magnitude": (intervals, joint_count),
            "flow": (intervals, joint_count, 3),
        }
        return {name: head(encoded).float().unflatten(2, shapes[name]) for name, head in self.heads.items()}

    def _flow(
        self, joints: Float[Tensor, "body time joint 3"], present: Bool[Tensor, "body time joint"]
    ) -> tuple[Float[Tensor, "body time interval joint 3"], Bool[Tensor, "body time interval joint"]]:
        """Return the flow at every interval, and where it is known."""
        parts = [flow(joints, present, interval) for interval in self.config.intervals]
        return torch.stack([part for part, _ in parts], dim=2), torch.stack([known for _, known in parts], dim=2)

    def _predicted_flow(self, draw: MotionTransformerDraw) -> Bool[Tensor, "body time interval"]:
        """Tell from which frames flow is predicted, as far as it is known."""
        parts = []
        for interval in self.config.intervals:
            touched = draw.hidden.clone()
            touched[:, :-interval] |= draw.hidden[:, interval:]
            parts.append(touched)
        touched = torch.stack(parts, dim=2)
        if self.config.variant == "causal" or self.config.flow_on == "all":
            return torch.ones_like(touched)
        return touched if self.config.flow_on == "hidden" else ~touched

    def _steps(
        self,
        said: dict[str, Tensor],
        joints: Float[Tensor, "body time joint 3"],
        present: Bool[Tensor, "body time joint"],
    ) -> Float[Tensor, "body time interval joint 3"]:
        """Turn what the heads say of the flow into displacements."""
        if "flow" in said:
            floor = max(self.config.dead_zone_metres, 1e-6)
            return said["flow"] * root_mean_square(*self._flow(joints, present)).clamp(min=floor)
        length = length_of(said["magnitude"], self.config.magnitude_unit_metres)
        return direction_vector(said["direction"].argmax(-1)) * length[..., None]


@dataclass
class Term:
    """One part of the loss, summed over bodies.

    Args:
        loss: of the prediction.
        loss_of_mean: of always predicting the mean of this micro-batch for a joint (for classes, their frequencies).
    """

    loss: Float[Tensor, ""]
    loss_of_mean: Float[Tensor, ""]


def share_of_body(counts: Bool[Tensor, "body *rest"]) -> Float[Tensor, "body *rest"]:
    """Weigh what counts so that it sums to 1 for every body that has any of it, and to 0 for the others."""
    number = counts.flatten(1).sum(1).clamp(min=1)
    return counts / number.view(-1, *(1 for _ in counts.shape[1:]))


def smooth_term(
    prediction: Float[Tensor, "body time *rest value"],
    target: Float[Tensor, "body time *rest value"],
    share: Float[Tensor, "body time *rest"],
) -> Term:
    """Return the smooth absolute error: half the square up to an error of 1, its size less a half beyond."""
    error = F.smooth_l1_loss(prediction, target, reduction="none").mean(-1)
    mean = (share[..., None] * target).sum((0, 1)) / share.sum((0, 1))[..., None].clamp(min=1e-12)
    error_of_mean = F.smooth_l1_loss(mean.expand_as(target), target, reduction="none").mean(-1)
    return Term((share * error).sum(), (share * error_of_mean).sum())


def class_term(
    logits: Float[Tensor, "body time interval joint direction"],
    number: Int64[Tensor, "body time interval joint"],
    share: Float[Tensor, "body time interval joint"],
) -> Term:
    """Return the cross-entropy; to compare with, the entropy of each joint's own frequencies."""
    error = F.cross_entropy(logits.flatten(0, -2), number.flatten(), reduction="none").view_as(share)
    shares = class_shares(number, share)
    frequency = shares / shares.sum(-1, keepdim=True).clamp(min=1e-12)
    return Term((share * error).sum(), -torch.xlogy(shares, frequency).sum())


def class_shares(
    number: Int64[Tensor, "body time interval joint"], share: Float[Tensor, "body time interval joint"]
) -> Float[Tensor, "interval joint direction"]:
    """Sum the shares of each direction."""
    intervals, joints = number.shape[2:]
    row = torch.arange(intervals * joints, device=number.device).view(intervals, joints)
    shares = share.new_zeros(intervals * joints * DIRECTIONS)
    shares.index_add_(0, (row * DIRECTIONS + number).flatten(), share.flatten())
    return shares.view(intervals, joints, DIRECTIONS)


def root_mean_square(
    displacement: Float[Tensor, "body time interval joint 3"], known: Bool[Tensor, "body time interval joint"]
) -> Float[Tensor, "body 1 interval 1 1"]:
    """Return how large a coordinate of a body's flow is at each interval."""
    share = known / known.sum((1, 3), keepdim=True).clamp(min=1)
    return (share[..., None] * displacement.square()).sum((1, 3, 4), keepdim=True).div(3).sqrt()


def followed(
    steps: Float[Tensor, "body time joint 3"],
    joints: Float[Tensor, "body time joint 3"],
    given: Bool[Tensor, "body time joint"],
    interval: int,
) -> Float[Tensor, "body time joint 3"]:
    """Follow steps to where they lead: from given positions, or from what was reached where none is given.

    Args:
        steps: from each frame to the one that is `interval` frames later.
        joints: the positions.
        given: which of them are known; before any, the first one stands.
        interval: frames per step.
    """
    first = given.long().argmax(1)[:, None, :, None].expand(-1, 1, -1, 3)
    start = joints.gather(1, first)[:, 0]
    reached, known = list[Tensor](), list[Tensor]()
    for time in range(joints.shape[1]):
        place = start if time < interval else known[time - interval] + steps[:, time - interval]
        reached.append(place)
        known.append(torch.where(given[:, time, :, None], joints[:, time], place))
    return torch.stack(reached, dim=1)


def _head(width: int, values: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, values))
