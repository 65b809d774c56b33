"""Claim: where sizes are fixed, Hi-TRS at recorded pace computes what clips have, and little more.

Eager steps (draw, loss, backward) of `hi_trs_nw_ucla` on batches of fixed shapes, alternately with the total of frames
that the host knows and with full windows. Rows of frames and clips are counted where the network computes them.

    python benchmarks/fixed_frames.py [--quick] [--store stores/nw_ucla] [--steps 40]       else: synthetic motion
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import marrow
from marrow.data.augment import AugmentConfig
from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.data.loader import ResidentLoader
from marrow.data.window import InputConfig
from marrow.models.hierarchical_transformer import SIZES, HierarchicalTransformer
from marrow.objectives.hi_trs import HiTRS, HiTRSConfig
from marrow.readers.synthetic import Synthetic
from marrow.store.format import Store


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 steps")
    parser.add_argument("--store", type=Path, help="what to learn from; left out: synthetic motion")
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(options.store) if options.store else marrow.prepare(Synthetic(), ".", Path(folder) / "store")
        rows = store.split_rows("xview")[0] if "xview" in store.splits else np.arange(len(store))
        measure(store, rows, 4 if options.quick else options.steps)


def measure(store: Store, chosen: np.ndarray, steps: int) -> None:
    """Take steps of both sides in turns, and print the figures as one JSON object."""
    input = InputConfig(120, "joint", "body", 1.0, "recorded", 15)
    augment = AugmentConfig(1.0, 1.0, rotation_radians=0.3, one_of_each=0.5)
    where = {"batch_clips": 32, "seed": 0, "device": "cpu", "fixed": True}
    loader = ResidentLoader(store, chosen, input, augment, **where)
    torch.manual_seed(0)
    objective = HiTRS(HiTRSConfig(), HierarchicalTransformer(SIZES["tiny"], input, store.skeleton))
    rows: list[int] = []
    for layers in (objective.encoder.frame_layers, objective.encoder.clip_layers):
        layers[0].register_forward_hook(lambda _, __, output: rows.append(len(output)))

    def seconds_of(batch: Batch, draws: Draws) -> float:
        rows.clear()
        begin = time.process_time()
        objective(batch, objective.sample(batch, draws)).loss_sum.backward()
        return time.process_time() - begin

    ratios, figures = [], {}
    for step in range(steps + 3):
        ((batch, draws),) = loader.next_step()
        assert batch.shapes is not None
        sides = {"full windows": replace(batch, shapes=replace(batch.shapes, frames=None)), "fixed total": batch}
        seconds = {}
        for name in sorted(sides, reverse=step % 2 == 0):
            seconds[name] = seconds_of(sides[name], draws)
            figures[f"{name}: rows of frames, clips"] = list(rows)
        if step >= 3:  # the first ones warm up
            ratios.append(seconds["full windows"] / seconds["fixed total"])
    quartiles = np.quantile(ratios, [0.25, 0.5, 0.75]).round(2).tolist()
    claim = "Hi-TRS of fixed shapes computes what clips have, and little more, against full windows"
    low, ratio, high = quartiles
    print(
        json.dumps({"claim": claim, "ratio": ratio, "low": low, "high": high, **figures, "setting": f"{steps} steps"})
    )


if __name__ == "__main__":
    main()
