"""Claim: a Hi-TRS pre-training step is at least 2 times faster than one that pads as the released code does.

Both sides have the same weights and the same draw, and run in this process, alternately: forward, backward and AdamW on
the same sequences, each of one body that exists. The padded side does what the released code does, written here from a
description of it: all sequences padded with zeros to the longest one, and by half a clip at both ends; every one of
those frames through the frame level; as many clips of each sequence as the longest one has, with all 176 tokens through
all layers, then one clip in two orders; the sequence level twice over the padded clips, with all tokens; attention as
matrix product, -1e9 where a pair must not meet, softmax, matrix product. With bf16 both sides are in bf16; a third one
is then the padded side in fp32, in which the authors train (`ratio_to_fp32`).

What is hidden has been drawn before the clock starts. The authors hide by a loop over joints; that is a line of its own
(`hiding_ratio`): the loop against the same function of the whole batch, both with their random numbers given. What all
of our drawing costs, those numbers included, is given as a share of our step.

Before anything is timed, both sides must give the same four losses to 1e-5 (fp32, no dropout). Of sequences of unequal
length that holds for three of them: the padded side predicts the last clip of the longest sequence for all, which for
the shorter ones is padding; ours predicts the last one of each.

Lengths are drawn as in the benchmark of the store (`store_size.py`): 32 + gamma(4, 13.25) frames, at most 300, which is
85 on average. That is made to look like NTU RGB+D, not counted from it. The more sequences, the longer the longest, so
the more is padding: its share is printed for the batch, and for the authors' 64.

    python benchmarks/hi_trs_step.py [--quick] [--size paper|small|tiny] [--precision auto|fp32|bf16] [--sequences 8]
                                     [--rounds 3]
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from mamp_step import ALLOCATOR

if __name__ == "__main__" and any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.data.window import InputConfig
from marrow.models.hierarchical_transformer import SIZES, HierarchicalTransformer, HierarchicalTransformerConfig
from marrow.objectives.disorder import swapped
from marrow.objectives.hi_trs import HiTRS, HiTRSConfig, HiTRSDraw
from marrow.skeleton.layout import KINECT_V2_25
from marrow.train.device import choose_precision, network_context

LOSSES = ("pose", "clip_order", "sequence_order", "future")
HIDINGS = 20  # of a batch, in a round: one takes milliseconds


def ntu_like_lengths(count: int, random: np.random.Generator) -> list[int]:
    """Draw how many frames sequences have."""
    return [int(length) for length in np.clip(random.gamma(4.0, 53 / 4.0, count) + 32, 32, 300)]


def walks(lengths: list[int], seed: int) -> Batch:
    """Make smooth random walks of some lengths, one body each, as far from the camera as people are."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(len(lengths), 1, max(lengths), 25, 3, generator=generator) * 0.01
    start = torch.randn(len(lengths), 1, 1, 25, 3, generator=generator) * 0.4 + torch.tensor([0.0, 0.0, 3.0])
    frame_count = torch.tensor(lengths)
    inside = torch.arange(max(lengths)) < frame_count[:, None]
    present = inside[:, None, :, None].expand(-1, -1, -1, 25).contiguous()
    joints = torch.where(present[..., None], steps.cumsum(2) + start, 0.0)
    number = torch.arange(len(lengths))
    return Batch(joints, present, torch.zeros_like(number), number, frame_count)


def padding_shares(lengths: list[int], config: HierarchicalTransformerConfig) -> tuple[float, float]:
    """Return which share of the padded side's frames, and of its clips, is padding."""
    ends = 2 * config.clip_dilation * (config.clip_frames // 2)
    frames = sum(lengths) / (len(lengths) * (max(lengths) + ends))
    clips = sum(map(config.clip_count, lengths)) / (len(lengths) * config.clip_count(max(lengths)))
    return 1.0 - frames, 1.0 - clips


def padded_layer(layer: Any, tokens: Tensor, barred: Tensor | None, dropout: float) -> Tensor:
    """Run a layer with attention written out; `barred` tells which pairs of query and key must not meet."""
    query, key, value = layer.qkv(layer.norm1(tokens)).unflatten(-1, (3, layer.heads, -1)).permute(2, 0, 3, 1, 4)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if barred is not None:
        scores = scores.masked_fill(barred, -1e9)
    attended = layer.proj((scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))
    tokens = tokens + F.dropout(attended, dropout, dropout > 0)
    # Not `layer.mlp`, which spares memory: it computes the GELU a second time for the gradient.
    said = layer.mlp.fc2(F.gelu(layer.mlp.fc1(layer.norm2(tokens))))
    return tokens + F.dropout(said, dropout, dropout > 0)


def padded_clips(encoder: HierarchicalTransformer, clips: Tensor, dropout: float) -> Tensor:
    """Run the clip level over clips of embedded frames [item, clip_frame, joint, frame_dim]."""
    tokens = (encoder.to_clip(clips) + encoder.clip_position).flatten(1, 2)
    tokens = torch.cat((tokens, encoder.clip_fusion.to(tokens.dtype).expand(len(tokens), -1, -1)), dim=1)
    for layer in encoder.clip_layers:
        tokens = padded_layer(layer, tokens, ~encoder.get_buffer("_clip_pairs"), dropout)
    return tokens[:, -1]


def padded_sequences(encoder: HierarchicalTransformer, clips: Tensor, barred: Tensor, dropout: float) -> Tensor:
    """Run the sequence level over clip embeddings [sequence, clip, clip_dim]; return the fusion tokens."""
    tokens = encoder.to_sequence(clips) + encoder.sequence_position[: clips.shape[1]]
    tokens = torch.cat((tokens, encoder.sequence_fusion.to(tokens.dtype).expand(len(tokens), -1, -1)), dim=1)
    barred = F.pad(barred, (0, 1), value=False)[:, None, None]
    for layer in encoder.sequence_layers:
        tokens = padded_layer(layer, tokens, barred, dropout)
    return tokens[:, -1]


def padded_losses(hi_trs: HiTRS, batch: Batch, draw: HiTRSDraw) -> dict[str, Tensor]:
    """Compute the four losses with everything padded to the longest sequence."""
    encoder, config = hi_trs.encoder, hi_trs.config
    size, dropout = encoder.config, encoder.config.dropout if hi_trs.training else 0.0
    reach = size.clip_dilation * (size.clip_frames // 2)
    own = torch.arange(len(batch))

    # Frame level: every frame, padding or not.
    tokens = encoder.embedding(F.pad(draw.shown, (0, 0, 0, 0, reach, reach))) + encoder.joint_position
    tokens = tokens.flatten(0, 1)
    for layer in encoder.frame_layers:
        tokens = padded_layer(layer, tokens, None, dropout)
    frames = tokens.unflatten(0, (len(batch), -1))
    said = hi_trs.pose(frames[:, reach:-reach][draw.selected]).float()
    truth = config.pose_scale * batch.joints[:, 0][draw.selected]
    pose = F.smooth_l1_loss(config.pose_scale * said, truth)

    # Clip level: the clips of the longest sequence for all; then one clip in two orders.
    windows = frames.unfold(1, 2 * reach + 1, size.clip_stride)[..., :: size.clip_dilation].permute(0, 1, 4, 2, 3)
    clips = padded_clips(encoder, windows.flatten(0, 1), dropout).unflatten(0, (len(batch), -1))
    places = draw.centre[:, None] + size.clip_dilation * torch.arange(size.clip_frames)
    in_order = frames[own[:, None], places]
    pair = torch.cat((in_order, swapped(in_order, draw.frame_swap)))
    clip_order = order_loss(hi_trs.clip_order(padded_clips(encoder, pair, dropout)).float(), draw.moves)

    # Sequence level: from a sequence's own last clip on, nothing may be attended to.
    count = torch.tensor([size.clip_count(int(frames)) for frames in batch.frames()])
    barred = torch.arange(clips.shape[1] - 1) >= count[:, None] - 1
    context = clips[:, :-1]
    summary = padded_sequences(encoder, context, barred, dropout)
    exchanged = padded_sequences(encoder, swapped(context, draw.clip_swap), barred, dropout)
    orders = hi_trs.sequence_order(torch.cat((summary, exchanged))).float()
    sequence_order = order_loss(orders, torch.ones_like(draw.moves))
    said, target = hi_trs.future(summary).float(), clips[:, -1].detach().float()
    logits = F.normalize(said, dim=1) @ F.normalize(target, dim=1).T / config.temperature
    return dict(zip(LOSSES, (pose, clip_order, sequence_order, F.cross_entropy(logits, own)), strict=True))


def order_loss(logits: Tensor, counts: Tensor) -> Tensor:
    """Return the mean cross-entropy of those that count; the first half is in order (class 1), the second not."""
    truth = torch.tensor([1, 0]).repeat_interleave(len(counts))
    return F.cross_entropy(logits[counts.repeat(2)], truth[counts.repeat(2)])


def hide_by_loops(
    config: HiTRSConfig, joints: np.ndarray, lengths: list[int], numbers: list[list[list[list[float]]]]
) -> tuple[np.ndarray, np.ndarray]:
    """Hide as the authors do, joint by joint; `numbers` are uniform, three per joint.

    Returns:
        which joints are selected, and what the encoder is shown.
    """
    selected, shown = np.zeros(joints.shape[:3], np.bool_), joints.copy()
    joint_count = joints.shape[2]
    for sequence, length in enumerate(lengths):
        for frame in range(length):
            for joint in range(joint_count):
                first, second, third = numbers[sequence][frame][joint]
                if first >= config.mask_ratio:
                    continue
                selected[sequence, frame, joint] = True
                kind = first / config.mask_ratio
                if kind < config.constant_share:
                    shown[sequence, frame, joint] = config.constant
                elif kind < config.constant_share + config.swapped_share:
                    other_frame = (frame + int(second * (length - 1)) + 1) % length
                    other_joint = (joint + int(third * (joint_count - 1)) + 1) % joint_count
                    shown[sequence, frame, joint] = joints[sequence, other_frame, other_joint]
    return selected, shown


def hide_at_once(hi_trs: HiTRS, batch: Batch, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Do the same for the whole batch, as `HiTRS.sample` does once it has drawn."""
    joints, present = batch.joints[:, 0], batch.present[:, 0]
    selected = (numbers[..., 0] < hi_trs.config.mask_ratio) & present
    return selected, hi_trs._replaced(joints, present, batch.frames(), selected, numbers)


def build(size: str) -> HiTRS:
    """Build the objective, at the same weights every time."""
    torch.manual_seed(0)
    input = InputConfig(window_frames=300, pace="recorded", min_frames=15, test_crop=1.0)
    return HiTRS(HiTRSConfig(), HierarchicalTransformer(SIZES[size], input, KINECT_V2_25))


def draws(batch: Batch) -> Draws:
    return Draws(0, 0, batch.row)


def check_losses(size: str, lengths: list[int], names: tuple[str, ...]) -> dict[str, float]:
    """Compare some of the losses without dropout; return the relative differences."""
    hi_trs, batch = build(size).eval(), walks(lengths, seed=1)
    draw = hi_trs.sample(batch, draws(batch))
    with torch.no_grad():
        padded, ours = padded_losses(hi_trs, batch, draw), hi_trs(batch, draw)
    return {name: abs(float(ours.metrics[f"{name}_loss"] / ours.weight / padded[name]) - 1) for name in names}


def make_side(size: str, batch: Batch, *, padded: bool, bf16: bool) -> Callable[[], None]:
    """Build one of the sides, ready to step."""
    hi_trs = build(size)
    draw = hi_trs.sample(batch, draws(batch))
    optimizer = torch.optim.AdamW(hi_trs.parameters(), lr=1e-5, weight_decay=0.01, fused=True)

    def loss() -> Tensor:
        if padded:
            return torch.stack(list(padded_losses(hi_trs, batch, draw).values())).sum()
        output = hi_trs(batch, draw)
        return output.loss_sum / output.weight

    def step() -> None:
        with network_context(bf16, "cpu"):
            value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(hi_trs.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def hiding_seconds(hi_trs: HiTRS, batch: Batch, lengths: list[int], rounds: int) -> dict[str, list[float]]:
    """Time both ways to hide, after they have been seen to agree, and all that a step of ours draws."""
    with torch.no_grad():
        numbers = draws(batch).uniform("hidden", max(lengths), 25, 3)
        joints, listed = batch.joints[:, 0].numpy(), numbers.tolist()
        looped, at_once = hide_by_loops(hi_trs.config, joints, lengths, listed), hide_at_once(hi_trs, batch, numbers)
        if any(not np.array_equal(one, other.numpy()) for one, other in zip(looped, at_once, strict=True)):
            sys.exit("the loop hides other joints than the function of the whole batch")
        ways: dict[str, Callable[[], object]] = {
            "loop": lambda: hide_by_loops(hi_trs.config, joints, lengths, listed),
            "at once": lambda: hide_at_once(hi_trs, batch, numbers),
            "whole draw": lambda: hi_trs.sample(batch, draws(batch)),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, hide in ways.items():
                started = time.process_time()
                for _ in range(HIDINGS):
                    hide()
                seconds[way].append((time.process_time() - started) / HIDINGS)
    return seconds


def spread(name: str, reference: list[float], ours: list[float]) -> dict[str, float]:
    """Return the median, the lowest and the highest ratio of the rounds."""
    ratios = [one / other for one, other in zip(reference, ours, strict=True)]
    low, high = ("low", "high") if name == "ratio" else (name.replace("ratio", each) for each in ("low", "high"))
    return {name: round(statistics.median(ratios), 3), low: round(min(ratios), 3), high: round(max(ratios), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 sequences, 2 rounds")
    parser.add_argument("--size", default="paper", choices=sorted(SIZES))
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    sequences, rounds = (4, 2) if options.quick else (options.sequences, options.rounds)
    torch.set_num_threads(1)
    bf16 = choose_precision(options.precision, "cpu").bf16

    random = np.random.default_rng(0)
    lengths = ntu_like_lengths(sequences, random)
    of_frames, of_clips = padding_shares(lengths, SIZES[options.size])
    many = [padding_shares(ntu_like_lengths(64, random), SIZES[options.size]) for _ in range(200)]
    of_64 = tuple(statistics.mean(shares) for shares in zip(*many, strict=True))
    print(
        f"{sequences} sequences of {min(lengths)} to {max(lengths)} frames, {statistics.mean(lengths):.0f} on average"
    )
    print(
        f"padding: {of_frames:.0%} of the frames, {of_clips:.0%} of the clips (of 64: {of_64[0]:.0%}, {of_64[1]:.0%})"
    )

    for what, some, names in (("equal", [50] * 4, LOSSES), ("unequal", lengths[:4], LOSSES[:3])):
        for name, difference in check_losses(options.size, some, names).items():
            print(f"{name} loss, {what} lengths: relative difference {difference:.1e}")
            if not difference <= 1e-5:
                sys.exit("the losses differ by more than 1e-5: the two sides do not compute the same function")

    batch = walks(lengths, seed=0)
    hiding = hiding_seconds(build(options.size), batch, lengths, rounds)
    shown = ", ".join(f"{way} {1000 * statistics.median(values):.1f}" for way, values in hiding.items())
    print(f"hiding, ms per batch: {shown}")

    steps = {
        "padded": make_side(options.size, batch, padded=True, bf16=bf16),
        "ours": make_side(options.size, batch, padded=False, bf16=bf16),
    }
    if bf16:
        steps["padded fp32"] = make_side(options.size, batch, padded=True, bf16=False)
    for step in 2 * list(steps.values()):  # the first steps allocate, and leave each other's holes
        step()
    seconds: dict[str, list[float]] = {side: [] for side in steps}
    for number in range(rounds):
        for side, step in steps.items():
            started = time.process_time()
            step()
            seconds[side].append((time.process_time() - started) / sequences)
        shown = ", ".join(f"{side} {values[-1]:.3f}" for side, values in seconds.items())
        print(f"round {number}: s per sequence: {shown}")

    result = {
        "claim": f"a Hi-TRS step (size {options.size}) against one padded as the released code does, without hiding",
        **spread("ratio", seconds["padded"], seconds["ours"]),
        **(spread("ratio_to_fp32", seconds["padded fp32"], seconds["ours"]) if bf16 else {}),
        **spread("hiding_ratio", hiding["loop"], hiding["at once"]),
        "setting": f"one CPU thread ({torch.backends.cpu.get_cpu_capability()}), {'bf16' if bf16 else 'fp32'}, "
        f"{sequences} sequences of {statistics.mean(lengths):.0f} frames on average, {rounds} rounds, "
        "both sides keep their memory",
        "drawing_share_of_our_step": round(
            statistics.median(hiding["whole draw"]) / (sequences * statistics.median(seconds["ours"])), 4
        ),
        "padding_share_of_frames": round(of_frames, 3),
        "padding_share_of_clips": round(of_clips, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
