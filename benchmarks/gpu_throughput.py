"""Claim: on one large GPU, 400 epochs of NTU RGB+D 60 (40,091 clips) are pre-trained with AMR in less than 10 minutes.

Steps of AMR and of MAMP at the papers' size (120 frames, 25 joints, width 256, 8 + 5 layers, batches of 128), as a run
takes them: frames resident on the device, crop and augmentation there, absent bodies packed away, forward, backward,
fused AdamW, no number read back. The recordings are synthetic; about as many second bodies are empty as in NTU RGB+D.
Each side is measured eagerly and compiled (draw and loss as one graph of fixed shapes, as `--compile on` does), in the
formats asked for, in turns. `--real` measures `marrow pretrain` itself besides: recipes as they are, with log, monitor
and checkpoints, for some hundred steps. GPU busy share: time with a kernel running, by torch's profiler, over the time
of the profiled steps. Without a CUDA device it says so; `--device cpu --quick` only tries the code.

    python benchmarks/gpu_throughput.py [--quick] [--device cuda] [--precisions bf16,fp32] [--modes eager,compiled]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

import marrow
from marrow.data.augment import AugmentConfig
from marrow.data.loader import ResidentLoader
from marrow.data.window import InputConfig
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.objectives.amr import AMR, AMRConfig
from marrow.objectives.base import Objective
from marrow.objectives.mamp import MAMP, MAMPConfig
from marrow.readers.synthetic import Synthetic
from marrow.skeleton.layout import KINECT_V2_25
from marrow.store.format import Store
from marrow.train.compiled import one_graph
from marrow.train.logs import read_log
from marrow.train.memory import peak_memory
from marrow.train.precision import network_context

CLIPS, EPOCHS = 40_091, 400  # of NTU RGB+D 60, cross-subject


@dataclass
class Side:
    """One method in one number format and mode.

    Args:
        name: of it.
        step: takes one optimizer step.
        clips_per_second: one value per round.
    """

    name: str
    step: Callable[[], None]
    clips_per_second: list[float]


def make_objective(method: str, quick: bool) -> Objective:
    """Build a method at the paper's size, or a tiny one."""
    torch.manual_seed(0)
    size = PatchTransformerConfig(width=32, depth=1, heads=4) if quick else PatchTransformerConfig()
    encoder = PatchTransformer(size, InputConfig(alignment="yaw"), KINECT_V2_25)
    decoder = {"decoder_width": 32, "decoder_depth": 2, "decoder_heads": 4} if quick else {}
    if method == "AMR":
        return AMR(AMRConfig(**decoder), encoder)
    return MAMP(MAMPConfig(**(decoder or {"decoder_depth": 5})), encoder)


def make_side(method: str, precision: str, mode: str, store: Store, options: argparse.Namespace) -> Side:
    """Build one side, with a loader of its own."""
    device = torch.device(options.device)
    objective = make_objective(method, options.quick).to(device)
    loader = ResidentLoader(
        store,
        torch.arange(len(store)).numpy(),
        objective.encoder.input,
        AugmentConfig(),
        batch_clips=options.batch_clips,
        seed=0,
        device=device,
        fixed=mode == "compiled",
    )
    graph = one_graph(objective) if mode == "compiled" else None
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05, fused=True)

    def step() -> None:
        for batch, draws in loader.next_step():
            with network_context(precision == "bf16", device.type):
                if graph is None:
                    output = objective(batch, objective.sample(batch, draws))
                else:
                    step = torch.full((), int(draws.step), dtype=torch.int64, device=device)
                    output = graph(batch, replace(draws, step=step))
            (output.loss_sum / output.weight).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return Side(f"{method}, {precision}, {mode}", step, [])


def measure(side: Side, steps: int, options: argparse.Namespace) -> None:
    """Take some steps and note the clips per second."""
    wait(options.device)
    started = time.perf_counter()
    for _ in range(steps):
        side.step()
    wait(options.device)
    side.clips_per_second.append(steps * options.batch_clips / (time.perf_counter() - started))


def busy_share(side: Side, steps: int, options: argparse.Namespace) -> float | None:
    """Return the share of the time in which the device computed; None where there is no such clock."""
    if torch.device(options.device).type != "cuda":
        return None
    wait(options.device)
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        started = time.perf_counter()
        for _ in range(steps):
            side.step()
        wait(options.device)
        seconds = time.perf_counter() - started
    return sum(event.self_device_time_total for event in seen.key_averages()) / 1e6 / seconds


def real_loop(store: Store, recipe: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Return what `marrow pretrain` does with a recipe, compiled: clips per second by the later half of its log."""
    steps = 40 if options.quick else 400
    command = [sys.executable, "-m", "marrow", "pretrain", "--recipe", recipe, "--store", str(store.path)]
    command += [
        "--out",
        str(folder / recipe),
        "--protocol",
        "null",
        "--max_steps",
        str(steps),
        "--device",
        options.device,
    ]
    subprocess.run([*command, "--compile", "on"], check=True, stdout=subprocess.DEVNULL)
    log = read_log(folder / recipe / "log.jsonl")
    speed = statistics.median(entry["clips_per_second"] for entry in log[len(log) // 2 :])
    return {"clips_per_second": round(speed), "minutes_of_400_epochs": round(CLIPS * EPOCHS / speed / 60, 1)}


def wait(device: str) -> None:
    """Wait until the device has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny networks, 8 clips, 2 steps: tries the code only")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precisions", default="bf16,fp32")
    parser.add_argument("--modes", default="eager,compiled")
    parser.add_argument("--batch_clips", type=int, default=128)
    parser.add_argument("--steps", type=int, default=50, help="per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--real", default="", help="recipes to run for real, for example amr_ntu60_xsub,mamp_ntu60_xsub"
    )
    options = parser.parse_args()
    on_gpu = torch.device(options.device).type == "cuda"
    if not on_gpu and not options.quick:
        print(
            json.dumps({"claim": "throughput on a GPU", "ratio": None, "setting": "no CUDA device here: not measured"})
        )
        return
    if options.quick:
        options.batch_clips, options.steps, options.rounds = 8, 2, 1
        if not on_gpu:
            options.modes = "eager"  # a compiler for the CPU need not be there
    with tempfile.TemporaryDirectory() as folder:
        people = 2 if options.quick else 40
        store = marrow.prepare(Synthetic(subjects=people), ".", Path(folder) / "store")
        absent = 1.0 - float(store.body_count.mean()) / int(store.body_count.max())
        sides = [
            make_side(method, precision, mode, store, options)
            for method in ("AMR", "MAMP")
            for precision in options.precisions.split(",")
            for mode in options.modes.split(",")
        ]
        for side in sides:  # allocates, compiles
            for _ in range(3):
                side.step()
            print(f"ready: {side.name}", file=sys.stderr)
        for _ in range(options.rounds):
            for side in sides:
                measure(side, options.steps, options)
        results: dict[str, dict[str, float | None]] = {
            f"marrow pretrain --recipe {recipe}": {**real_loop(store, recipe, Path(folder), options)}
            for recipe in options.real.split(",")
            if recipe
        }
        for side in sides:
            speed = statistics.median(side.clips_per_second)
            share = busy_share(side, options.steps, options)
            results[side.name] = {
                "clips_per_second": round(speed),
                "low": round(min(side.clips_per_second)),
                "high": round(max(side.clips_per_second)),
                "minutes_of_400_epochs": round(CLIPS * EPOCHS / speed / 60, 1),
                "busy_share": None if share is None else round(share, 2),
            }

    best = {
        method: max(v["clips_per_second"] or 0 for k, v in results.items() if k.startswith(method))
        for method in ("AMR", "MAMP")
    }
    name = torch.cuda.get_device_name(options.device) if on_gpu else "CPU, tiny networks: no statement about speed"
    print(
        json.dumps(
            {
                "claim": "400 epochs of 40,091 clips with AMR take less than 10 minutes",
                "ratio": round(best["AMR"] / best["MAMP"], 2),
                "sides": results,
                **peak_memory(torch.device(options.device)),
                "setting": f"{name}, torch {torch.__version__}, {options.batch_clips} clips per step, "
                f"{absent:.0%} of the bodies absent, "
                f"{options.rounds} rounds of {options.steps} steps",
            }
        )
    )


if __name__ == "__main__":
    main()
