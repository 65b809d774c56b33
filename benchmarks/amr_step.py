"""Claim: an AMR pre-training step is 10 times faster than one of the released MAMP structure (25 times in bf16).

Three sides, all from our own modules, run in this process in turn: forward, backward and AdamW on the same clips at NTU
size (120 frames, 25 joints, width 256, 8 layers in the encoder and 5 in the decoder), of which 41 % of the bodies are
absent. The eager side does what the released code of MAMP does, in fp32 (`benchmarks/mamp_step.py`, whose comparison of
the losses is made here too). The other two are marrow's own MAMP and AMR, in the precision asked for. The three learn
different things: nothing is said here about what a step is worth. Peak memory is what a process of its own, with
glibc's own settings, holds at most in two steps beyond the weights and the batch (Linux only).

    python benchmarks/amr_step.py [--quick] [--precision auto|fp32|bf16] [--clips 16] [--rounds 5] [--no-memory]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mamp_step import ABSENT_SHARE, ALLOCATOR, check_losses, eager_loss, ntu_like

_MEMORY = "--memory-of"
if (
    __name__ == "__main__"
    and _MEMORY not in sys.argv
    and any(os.environ.get(name) != value for name, value in ALLOCATOR.items())
):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})

import torch

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.data.window import InputConfig
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.objectives.amr import AMR, AMRConfig
from marrow.objectives.base import Objective
from marrow.objectives.mamp import MAMP, MAMPConfig
from marrow.skeleton.layout import KINECT_V2_25
from marrow.train.device import choose_precision, network_context

SIDES = ("released MAMP", "our MAMP", "our AMR")


def stepper(objective: Objective, loss: Callable[[], torch.Tensor], bf16: bool) -> Callable[[], None]:
    """Return a function that makes one step."""
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-5, betas=(0.9, 0.95), weight_decay=0.05, fused=True)

    def step() -> None:
        with network_context(bf16, "cpu"):
            value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def make_side(side: str, batch: Batch, draws: Draws, bf16: bool) -> Callable[[], None]:
    """Build one of the sides, ready to step."""
    torch.manual_seed(0)
    encoder = PatchTransformer(PatchTransformerConfig(), InputConfig(), KINECT_V2_25)
    if side == "released MAMP":
        released = MAMP(MAMPConfig(decoder_depth=5, parity=True), encoder)
        return stepper(released, lambda: eager_loss(released, batch, released.sample(batch, draws)), bf16=False)
    ours = AMR(AMRConfig(), encoder) if side == "our AMR" else MAMP(MAMPConfig(decoder_depth=5), encoder)

    def loss() -> torch.Tensor:
        output = ours(batch, ours.sample(batch, draws))
        return output.loss_sum / output.weight

    return stepper(ours, loss, bf16)


def peak_mib(side: str, options: argparse.Namespace, clips: int) -> float:
    """Make two steps of a side in a process of its own; return what they held at most, in MiB."""
    command = [sys.executable, __file__, _MEMORY, side, "--clips", str(clips), "--precision", options.precision]
    # With the settings that keep memory for good, the peak would be that of the pool.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=kept).stdout.split()[-1])


def memory_of_two(step: Callable[[], None]) -> float:
    """Return what two steps hold at most beyond what is held before them, in MiB."""

    def held(what: str) -> float:
        (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(what))
        return int(line.split()[1]) / 1024

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = held("VmRSS")
    step()
    step()
    return held("VmHWM") - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 clips, 2 rounds")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-memory", action="store_true", help="leave out the memory")
    parser.add_argument(_MEMORY, choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    clips, rounds = (2, 2) if options.quick else (options.clips, options.rounds)
    torch.set_num_threads(1)
    bf16 = choose_precision(options.precision, "cpu").bf16
    batch, draws = ntu_like(clips, seed=0), Draws(0, 0, torch.arange(clips))

    if options.memory_of:
        step = make_side(options.memory_of, batch, draws, bf16)
        print(memory_of_two(step))
        return

    torch.manual_seed(0)
    encoder = PatchTransformer(PatchTransformerConfig(), InputConfig(), KINECT_V2_25)
    mamp, parity = (MAMP(MAMPConfig(decoder_depth=5, parity=each), encoder) for each in (False, True))
    parity.load_state_dict(mamp.state_dict())
    for what, difference in check_losses(mamp, parity, batch, draws).items():
        print(f"loss, {what}: relative difference {difference:.1e}")
        if difference > 1e-4:
            sys.exit("the losses differ by more than 1e-4: the two sides do not compute the same function")

    steps = {side: make_side(side, batch, draws, bf16) for side in SIDES}
    for step in steps.values():  # the first step allocates
        step()
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for side, step in steps.items():
            started = time.process_time()
            step()
            seconds[side].append((time.process_time() - started) / clips)
        shown = ", ".join(f"{side} {seconds[side][-1]:.3f}" for side in SIDES)
        print(f"round {number}: s per clip: {shown}")

    released, mamp_seconds, amr_seconds = (seconds[side] for side in SIDES)
    ratios = [one / other for one, other in zip(released, amr_seconds, strict=True)]
    to_mamp = [one / other for one, other in zip(mamp_seconds, amr_seconds, strict=True)]
    result = {
        "claim": "an AMR step (8 + 5 layers, NTU size) against the released MAMP structure in fp32",
        "ratio": round(statistics.median(ratios), 3),
        "low": round(min(ratios), 3),
        "high": round(max(ratios), 3),
        "ratio_to_our_mamp": round(statistics.median(to_mamp), 3),
        "low_to_our_mamp": round(min(to_mamp), 3),
        "high_to_our_mamp": round(max(to_mamp), 3),
        "setting": f"one CPU thread ({torch.backends.cpu.get_cpu_capability()}), ours in {'bf16' if bf16 else 'fp32'}, "
        f"{clips} clips, {ABSENT_SHARE:.0%} of the bodies absent, {rounds} rounds, all sides keep their memory",
    }
    if not options.no_memory and sys.platform == "linux":
        peaks = {side: peak_mib(side, options, clips) for side in SIDES}
        result["peak_mib_per_clip"] = {side: round(peak / clips, 1) for side, peak in peaks.items()}
        result["peak_ratio"] = round(peaks["released MAMP"] / peaks["our AMR"], 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
