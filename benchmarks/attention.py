"""Claim: in bf16 on a CPU, attention over many keys is faster written out a few heads at a time than fused.

Forward and backward of `marrow.models.attention.attend` and of PyTorch's fused kernel on the same tensors, in turns, on
one thread: 6 bodies of 8 heads of width 32, 675 queries and 750 keys, as in the last block of MAMP's decoder at NTU
size; beside them the fused kernel in fp32. Both sides keep their memory.

    python benchmarks/attention.py [--quick] [--queries 675] [--keys 750] [--rounds 9]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from marrow.models.attention import attend
from marrow.train.device import keep_freed_memory


def seconds(attention: Callable[[Tensor, Tensor, Tensor], Tensor], parts: list[Tensor]) -> float:
    """Return the processor seconds of a pass forward and backward."""
    began = time.process_time()
    attention(*parts).sum().backward()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    parser.add_argument("--queries", type=int, default=675)
    parser.add_argument("--keys", type=int, default=750)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    lengths = options.queries, options.keys, options.keys
    exact = [torch.randn(6, 8, length, 32, generator=generator) for length in lengths]
    of_format = {
        name: [part.to(dtype).requires_grad_() for part in exact]
        for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32))
    }
    sides = {
        "fused, bf16": (F.scaled_dot_product_attention, of_format["bf16"]),
        "ours, bf16": (attend, of_format["bf16"]),
        "fused, fp32": (F.scaled_dot_product_attention, of_format["fp32"]),
    }
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(1 + (3 if options.quick else options.rounds)):
        for name, side in sides.items():
            spent = seconds(*side)
            taken[name] += [spent] if number else []  # the first round warms up
    ratios = [fused / ours for fused, ours in zip(taken["fused, bf16"], taken["ours, bf16"], strict=True)]
    milliseconds = {name: round(1e3 * statistics.median(values), 1) for name, values in taken.items()}
    print(
        json.dumps(
            {
                "claim": "attention in bf16 on a CPU is faster written out a few heads at a time than fused",
                "ratio": round(statistics.median(ratios), 2),
                "low": round(min(ratios), 2),
                "high": round(max(ratios), 2),
                "milliseconds": milliseconds,
                "setting": f"one CPU thread ({torch.backends.cpu.get_cpu_capability()}), 48 heads, "
                f"{options.queries} queries, {options.keys} keys, {len(ratios)} rounds",
            }
        )
    )


if __name__ == "__main__":
    main()
