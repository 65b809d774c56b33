"""What Muon's orthogonal steps take: all matrices of one shape at once, against `torch.optim.Muon`'s one by one.

    python benchmarks/muon_step.py
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python benchmarks/muon_step.py  # where bf16 is emulated

Measured are the matrices of an encoder of five blocks of width 128 (the recipe `general`), in turns, on one thread, in
processor time. Printed is how many times as long torch's way takes: median, least and most over rounds.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from marrow.train.muon import orthogonal

SHAPES, BLOCKS = ((384, 128), (128, 128), (512, 128), (128, 512)), 5


def seconds(call: Callable[[], object]) -> float:
    """Return the processor time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="two rounds: whether it runs, not how fast")
    arguments = parser.parse_args()
    if not hasattr(torch.optim, "Muon"):
        print("muon_step: this torch has no Muon to compare with; nothing was measured")
        return
    torch.set_num_threads(1)
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES for _ in range(BLOCKS)]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    stacks = [torch.randn(BLOCKS, *shape) for shape in SHAPES]
    of_torch = torch.optim.Muon(parameters)
    rounds = []
    for number in range((2 if arguments.quick else arguments.rounds) + 1):
        times = seconds(lambda: [orthogonal(stack) for stack in stacks]), seconds(of_torch.step)
        if number:  # the first warms up
            rounds.append(times)
    ours, theirs = np.array(rounds).T
    ratio = theirs / ours
    print(f"ours {1e3 * np.median(ours):.1f} ms, torch.optim.Muon {1e3 * np.median(theirs):.1f} ms a step")
    print(f"torch takes {np.median(ratio):.2f} times as long ({ratio.min():.2f} to {ratio.max():.2f})")


if __name__ == "__main__":
    main()
