"""Claim: where sizes are fixed, Hi-TRS at recorded pace computes what clips have, and little more.

Eager steps (draw, loss, backward) of `hi_trs_nw_ucla` on batches of fixed shapes, alternately with the total of frames
that the host knows and with full windows. Rows of frames and clips are counted where the network computes them.

    python benchmarks/fixed_frames.py --store stores/nw_ucla [--steps 40]
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from marrow.data.augment import AugmentConfig
from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.data.loader import ResidentLoader
from marrow.data.window import InputConfig
from marrow.models.hierarchical_transformer import SIZES, HierarchicalTransformer
from marrow.objectives.hi_trs import HiTRS, HiTRSConfig
from marrow.store.format import Store


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    store = Store.open(arguments.store)
    input = InputConfig(120, "joint", "body", 1.0, "recorded", 15)
    augment = AugmentConfig(1.0, 1.0, rotation_radians=0.3, one_of_each=0.5)
    where = {"batch_clips": 32, "seed": 0, "device": "cpu", "fixed": True}
    loader = ResidentLoader(store, store.split_rows("xview")[0], input, augment, **where)
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
    for step in range(arguments.steps + 3):
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
    print(json.dumps({**figures, "ratio of processor time, quartiles": quartiles}))


if __name__ == "__main__":
    main()
