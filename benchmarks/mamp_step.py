"""Claim: a MAMP pre-training step is at least 2 times faster than with the released structure (4 times with AMX bf16).

Both sides are built from our own modules, share one set of weights, and run in this process, alternately: forward,
backward and AdamW on the same clips at NTU size (120 frames, 25 joints, 8 + 5 layers, width 256), of which 41 % of the
bodies are absent. The eager side does what the released code does: all bodies, absent ones as zeros; all 750 patches
embedded; attention as matrix product, scaling, softmax, matrix product; un-shuffled; 5 decoder layers over all tokens;
fp32. Before anything is timed, the losses are compared: parity mode with the eager one, and the packed one with the
eager one restricted to the bodies that exist.

    python benchmarks/mamp_step.py [--quick] [--precision auto|fp32|bf16] [--clips 16] [--rounds 5]
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

# glibc's default returns large blocks to the system after every step and takes them again (page faults cost up to half
# of the time). The same settings for both sides; they only take effect at the start of a process.
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "OMP_NUM_THREADS": "1",
}
if __name__ == "__main__" and any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.data.window import InputConfig
from marrow.models.blocks import Block
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.objectives.mamp import MAMP, MAMPConfig
from marrow.objectives.masking import HidingDraw
from marrow.skeleton.layout import KINECT_V2_25
from marrow.train.device import choose_precision, network_context

ABSENT_SHARE = 0.41  # of the bodies of NTU RGB+D 60, at two per clip


def eager_block(block: Block, tokens: Tensor) -> Tensor:
    """Run a block as the released code does, with attention written out."""
    attention = block.attn
    query, key, value = (
        attention.qkv(block.norm1(tokens)).unflatten(-1, (3, attention.heads, -1)).permute(2, 0, 3, 1, 4)
    )
    weights = ((query @ key.transpose(-2, -1)) * query.shape[-1] ** -0.5).softmax(dim=-1)
    tokens = tokens + attention.proj((weights @ value).transpose(1, 2).flatten(2))
    # Not `block.mlp`, which spares memory: it computes the GELU a second time for the gradient.
    return tokens + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(tokens))))


def eager_loss(mamp: MAMP, batch: Batch, draw: HidingDraw, *, only: Tensor | None = None) -> Tensor:
    """Compute the loss over all bodies with the released code's structure; `only` restricts the average to some."""
    encoder, grid = mamp.encoder, mamp.grid
    batch = batch.absent_as_zeros()
    joints = batch.joints.flatten(0, 1)
    visible, hidden = draw.hiding.visible, draw.hiding.hidden
    tokens = encoder.embedding(grid.patchify(joints)) + encoder.position()
    width = tokens.shape[-1]
    tokens = tokens.gather(1, visible[..., None].expand(-1, -1, width))
    for block in encoder.blocks:
        tokens = eager_block(block, tokens)
    tokens = mamp.bridge(encoder.norm(tokens))
    tokens = torch.cat((tokens, mamp.hidden_token.expand(len(tokens), hidden.shape[1], -1)), dim=1)
    order = torch.cat((visible, hidden), dim=1)
    back = order.argsort(dim=1)[..., None].expand(-1, -1, tokens.shape[-1])
    tokens = tokens.gather(1, back) + (mamp.time_position + mamp.joint_position).flatten(0, 1)
    for block in mamp.blocks:
        tokens = eager_block(block, tokens)
    prediction = mamp.predict(mamp.norm(tokens))
    is_hidden = torch.zeros_like(order, dtype=torch.bool).scatter(1, hidden, True)
    if only is not None:
        is_hidden = is_hidden & only[:, None]
    error = (prediction - mamp._target(joints)).square().mean(-1)
    return (error * is_hidden).sum() / is_hidden.sum()


def ntu_like(clips: int, seed: int) -> Batch:
    """Make smooth random walks at NTU size, with absent second bodies."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(clips, 2, 120, 25, 3, generator=generator) * 0.01
    joints = steps.cumsum(2) + torch.randn(clips, 2, 1, 25, 3, generator=generator) * 0.4
    present = torch.ones(clips, 2, 120, 25, dtype=torch.bool)
    absent = round(2 * clips * ABSENT_SHARE)
    present[torch.randperm(clips, generator=generator)[:absent], 1] = False
    joints = torch.where(present[..., None], joints, 0.0)
    return Batch(joints, present, torch.zeros(clips, dtype=torch.long), torch.arange(clips))


def check_losses(mamp: MAMP, parity: MAMP, batch: Batch, draws: Draws) -> dict[str, float]:
    """Compare the losses; return the relative differences."""
    with torch.no_grad():
        all_bodies = parity.sample(batch, draws)
        released = eager_loss(parity, batch, all_bodies)
        ours = parity(batch, all_bodies)
        packed = mamp(batch, mamp.sample(batch, draws))
        exists = batch.present.flatten(2).any(2).flatten()
        restricted = eager_loss(parity, batch, all_bodies, only=exists)
    return {
        "parity mode against eager": abs(float(ours.loss_sum / ours.weight / released) - 1),
        "packed against eager, present bodies": abs(float(packed.loss_sum / packed.weight / restricted) - 1),
    }


# What a kernel does, by the first of these words in its name.
KINDS = {
    "attention, fused": ("scaled_dot_product", "flash"),
    "matrix products, batched (attention written out)": ("bmm", "baddbmm"),
    "matrix products": ("mm", "mkldnn_linear", "linear"),
    "GELU": ("gelu",),
    "softmax": ("softmax",),
    "LayerNorm": ("layer_norm",),
    "copies and casts": ("copy_", "_to_copy", "clone", "contiguous", "cat"),
    "sums (residuals, gradients of biases)": ("add", "sum"),
    "gather and scatter": ("index", "gather", "scatter"),
    "AdamW": ("adamw", "AdamW"),
}


def where_time_goes(step: Callable[[], None], steps: int) -> dict[str, float]:
    """Return the share of each kind of kernel in the time of some steps, in percent."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(steps):
            step()
    spent = dict.fromkeys([*KINDS, "everything else"], 0.0)
    for event in seen.key_averages():
        kind = next((kind for kind, words in KINDS.items() if any(word in event.key for word in words)), None)
        spent[kind or "everything else"] += event.self_cpu_time_total
    total = sum(spent.values())
    return {kind: round(100.0 * time / total, 1) for kind, time in sorted(spent.items(), key=lambda each: -each[1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 clips, 2 rounds")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--decoder-depth", type=int, default=5)
    parser.add_argument("--where", action="store_true", help="tell which kernels our side spends its time in")
    options = parser.parse_args()
    clips, rounds = (2, 2) if options.quick else (options.clips, options.rounds)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    bf16 = choose_precision(options.precision, "cpu").bf16

    encoder = PatchTransformer(PatchTransformerConfig(), InputConfig(), KINECT_V2_25)
    mamp = MAMP(MAMPConfig(decoder_depth=options.decoder_depth), encoder)
    parity = MAMP(MAMPConfig(decoder_depth=options.decoder_depth, parity=True), encoder)
    parity.load_state_dict(mamp.state_dict())
    batch, draws = ntu_like(clips, seed=0), Draws(0, 0, torch.arange(clips))

    differences = check_losses(mamp, parity, batch, draws)
    for what, difference in differences.items():
        print(f"loss, {what}: relative difference {difference:.1e}")
        if difference > 1e-4:
            sys.exit("the losses differ by more than 1e-4: the two sides do not compute the same function")

    def optimizer_of(module: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(module.parameters(), lr=1e-5, betas=(0.9, 0.95), weight_decay=0.05, fused=True)

    ours_optimizer, eager_optimizer = optimizer_of(mamp), optimizer_of(parity)

    def ours() -> None:
        with network_context(bf16, "cpu"):
            output = mamp(batch, mamp.sample(batch, draws))
        (output.loss_sum / output.weight).backward()
        ours_optimizer.step()
        ours_optimizer.zero_grad(set_to_none=True)

    def eager() -> None:
        eager_loss(parity, batch, parity.sample(batch, draws)).backward()
        eager_optimizer.step()
        eager_optimizer.zero_grad(set_to_none=True)

    ours()  # the first step allocates
    eager()
    ratios = []
    for number in range(rounds):
        seconds = []
        for side in (eager, ours):
            started = time.process_time()
            side()
            seconds.append(time.process_time() - started)
        ratios.append(seconds[0] / seconds[1])
        per_clip = [value / clips for value in seconds]
        print(f"round {number}: s per clip: eager {per_clip[0]:.2f}, ours {per_clip[1]:.2f}; ratio {ratios[-1]:.2f}")

    shares = where_time_goes(ours, rounds) if options.where else {}
    for kind, share in shares.items():
        print(f"{share:5.1f} %  {kind}")
    result = {
        "claim": f"a MAMP step (8 + {options.decoder_depth} layers, NTU size) against the released structure in fp32",
        "ratio": round(statistics.median(ratios), 3),
        "low": round(min(ratios), 3),
        "high": round(max(ratios), 3),
        "setting": f"one CPU thread ({torch.backends.cpu.get_cpu_capability()}), ours in {'bf16' if bf16 else 'fp32'}, "
        f"{clips} clips, {ABSENT_SHARE:.0%} of the bodies absent, {rounds} rounds, both sides keep their memory",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
