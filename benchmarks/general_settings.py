"""Which settings of the recipe `general` serve sets that it never saw? Equal time for each, several seeds, one table.

    python benchmarks/general_settings.py STORES OUT [--seconds 180] [--seeds 0,1,2] [--rows recipe,mask_ratio_0.8]

STORES is a folder with the stores `cmu`, `ui_prmd` and `synthetic`, which are learned from, and `utkinect_clips` and
`bandai`, which decide: logistic regression and nearest neighbours, frozen, on people and on styles that no label was
given for. NW-UCLA, UI-PRMD's labels and Penn Action take no part, so that they can be reported. What is in OUT is not
made again; what was interrupted goes on.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import marrow
from marrow.store.format import Store

ROWS = {
    "recipe": (),
    "adamw": ("--optimizer.name", "adamw"),
    "mask_ratio_0.8": ("--objective.mask_ratio", "0.8"),
    "mask_ratio_0.95": ("--objective.mask_ratio", "0.95"),
    "query_std_0.5": ("--objective.query_std", "0.5"),
    "decoder_depth_1": ("--objective.decoder_depth", "1"),
    "target_frames_64": ("--objective.target_frames", "64"),
    "crop_low_0.2": ("--augment.crop_low", "0.2"),
    "learning_rate_0.002": ("--optimizer.learning_rate", "0.002"),
    "batch_clips_32": ("--batch_clips", "32"),
    "mirrored": ("--augment.mirror_probability", "0.5"),
    "width_192": ("--encoder.width", "192"),
}
UNSEEN_STYLES = "dataset=2 & style!=elderly,exhausted,youthful -> dataset=2 & style=elderly,exhausted,youthful"
DECIDE = {"utkinect_clips": "leave-one-out:subject", "bandai": UNSEEN_STYLES}
SYNTHETIC = "camera!=2 & label!=3,8,10,13,16,18,19,20,24,26"


def pretrained(stores: Path, out: Path, seconds: float, seed: int, options: tuple[str, ...]) -> Path:
    """Pre-train on the pool, on one thread, or go on with it."""
    words = [sys.executable, "-m", "marrow", "pretrain", "--recipe", "general", "--out", str(out), "--seed", str(seed)]
    words += ["--store", f"cmu={stores / 'cmu'}", "--store", f"ui_prmd={stores / 'ui_prmd'}"]
    words += ["--store", f"synthetic={stores / 'synthetic'}:{SYNTHETIC}", "--max_cpu_seconds", f"{seconds:g}", *options]
    if not (out / "result.json").exists():
        subprocess.run(words, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return out


def scores(run: Path, stores: Path) -> list[float]:
    """Return logistic regression and nearest neighbours on each set that decides, in percent."""
    found = []
    for name, protocol in DECIDE.items():
        store = Store.open(stores / name)
        report = marrow.evaluate(run, store, protocol, tasks=["linear_probe", "knn"], baselines=())
        by_task = {part.task: part.metrics for part in report.reports}
        found += [by_task[task]["top1_percent"] for task in ("logistic/pooled", "knn/pooled")]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, nargs="?")
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=180.0, help="processor seconds of each pre-training")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rows", default=",".join(ROWS), help="some of the settings")
    parser.add_argument("--quick", action="store_true", help="nothing: this needs stores")
    arguments = parser.parse_args()
    if arguments.out is None:
        print("general_settings: give a folder of stores, and one for the runs; nothing was measured")
        return
    print("mean and deviation over seeds: UTKinect logistic, 1-NN, Bandai-Namco logistic, 1-NN, mean of the four")
    for row in arguments.rows.split(","):
        table = []
        for seed in arguments.seeds.split(","):
            run = arguments.out / f"{row}_{seed}"
            pretrained(arguments.stores, run, arguments.seconds, int(seed), ROWS[row])
            found = scores(run, arguments.stores)
            table.append([*found, float(np.mean(found))])
        mean, deviation = np.mean(table, axis=0), np.std(table, axis=0)
        cells = "  ".join(f"{one:5.1f} ± {spread:3.1f}" for one, spread in zip(mean, deviation, strict=True))
        print(f"{row:20s} {cells}", flush=True)


if __name__ == "__main__":
    main()
