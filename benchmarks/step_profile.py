"""Claim: data, augmentation, drawing and logging together take less than a tenth of an AMR pre-training step.

A real run of `marrow pretrain` with the recipe `amr_ntu60_xsub` (120 frames, 25 joints, width 256, 8 + 5 layers) on
built-in synthetic motion of the same layout, so loader, augmentation, log, monitor and checkpoints are those of any
run; only the batch is smaller. `--profile true` tells where the time of a step goes. A checkpoint is saved once here,
after few steps, and once in half an hour or an epoch in a real run: its share is shown, and not counted. The last line
is one JSON object: `ratio` is the share in percent.

    python benchmarks/step_profile.py [--quick] [--method amr|mamp] [--batch_clips 16] [--steps 60]
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

import marrow
from marrow.cli.arguments import parse
from marrow.cli.pretrain import build_parser
from marrow.pretrain_config import config_of
from marrow.readers.synthetic import Synthetic

# `load` waits for the batch (read, crop, augment), `sample` draws what is hidden.
AROUND = ("load", "sample", "log")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 clips, 40 steps")
    parser.add_argument("--method", default="amr", choices=("amr", "mamp"))
    parser.add_argument("--batch_clips", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    clips, steps = (4, 40) if options.quick else (options.batch_clips, options.steps)
    torch.set_num_threads(1)

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        store = marrow.prepare(Synthetic(subjects=2, repetitions=1), ".", out / "store")
        words = ["--recipe", f"{options.method}_ntu60_xsub", "--store", str(store.path), "--out", str(out / "run")]
        settings = build_parser(words)
        config = config_of(settings, parse(settings, words))
        marrow.pretrain(replace(config, batch_clips=clips, max_steps=steps, threads=1, profile=True))
        profile = json.loads((out / "run" / "profile.json").read_text())

    shares = {name: round(100.0 * phase["share"], 2) for name, phase in profile["phases"].items()}
    print(
        json.dumps(
            {
                "claim": "loading, augmenting, drawing and logging are under 10 % of an AMR step",
                "ratio": round(sum(shares[name] for name in AROUND), 2),
                "shares_percent": shares,
                "setting": f"{options.method}_ntu60_xsub, one CPU thread, {clips} clips per step, {steps} steps",
            }
        )
    )


if __name__ == "__main__":
    main()
