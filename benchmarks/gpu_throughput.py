"""Claim: on a GPU, pre-training runs as fast as its own captured step allows, and that is many times the eager step.

For the NTU RGB+D 60 recipes of all methods, on synthetic clips as long as its own (84 frames in the mean), 18 % of them
of two people: the bare step (batch from frames on the device, draw, forward, backward, clipping, AdamW) one operation
after the other, compiled, captured, and both, in turns; and the real loop, `marrow pretrain --compile on` in a process
of its own with log, monitor and checkpoints, for AMR also with 5 % of the joints absent. Compilers work side by side
first, and what they make is found again by the runs. Made to take about four minutes on an H200.

    python benchmarks/gpu_throughput.py [--methods amr,mamp,hi_trs,motion_transformer] [--steps 20] [--rounds 3]
    python benchmarks/gpu_throughput.py --quick        tiny networks, wherever: tries the code only
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from jsonargparse import ArgumentParser
from torch.profiler import ProfilerActivity, profile

from marrow.cli.arguments import recipe_path
from marrow.data.loader import ResidentLoader
from marrow.pretrain_config import PretrainConfig, add_settings, config_of
from marrow.pretraining import build_objective
from marrow.skeleton.layout import KINECT_V2_25
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.memory import write_store
from marrow.train.captured import CapturedStepper, CudaGraphs
from marrow.train.compiled import one_graph
from marrow.train.device import make_fabric
from marrow.train.logs import read_log
from marrow.train.optim import optimizer_of
from marrow.train.profile import Profile
from marrow.train.step import Stepper

CLIPS, EPOCHS = 40_091, 400  # of NTU RGB+D 60, cross-subject
METHODS = "amr,mamp,hi_trs,motion_transformer"
MODES = {"eager": (False, False), "captured": (False, True), "compiled": (True, False), "both": (True, True)}
TINY = {
    "amr": {"encoder": {"width": 32, "depth": 1, "heads": 4}, "objective": {"decoder_width": 32, "decoder_depth": 1}},
    "hi_trs": {"encoder": {"widths": [16, 32, 32], "depths": [1, 1, 1], "heads": 2, "head_width": 16}},
    "motion_transformer": {"encoder": {"width": 32, "depth": 1, "heads": 4}},
}
TINY["mamp"] = TINY["amr"]


def make_store(folder: Path, clips: int, absent: float) -> Store:
    """Write random walks as long as NTU's clips; of each body, some joints are absent for a while."""
    generator, sequences = np.random.default_rng(0), []
    for number in range(clips):
        bodies = 1 + (generator.random() < 0.18)
        frames = int(np.clip(generator.normal(84, 30), 32, 300))
        joints = np.cumsum(generator.normal(0, 0.01, (bodies, frames, 25, 3)), axis=1).astype(np.float32)
        present = np.ones(joints.shape[:3], np.bool_)
        if absent > 0:
            present[:, frames // 4 : frames // 2, generator.random(25) < 4 * absent] = False
        record = Record(f"clip{number}", label=number % 60)
        sequences.append(SkeletonSequence(np.float32(3) + joints, present, 30.0, KINECT_V2_25, record))
    return write_store(folder, sequences, source="random walks", classes=tuple(f"class {n}" for n in range(60)))


def settings(method: str, store: Store, out: Path, options: argparse.Namespace) -> PretrainConfig:
    """Return the method's recipe for NTU RGB+D 60, without its protocol."""
    values = yaml.safe_load(recipe_path(f"{method}_ntu60_xsub").read_text(encoding="utf-8"))
    values |= {"store": str(store.path), "out": str(out), "protocol": None, "device": options.device}
    if options.quick:
        for part, changes in TINY[method].items():
            values[part] |= changes
        values |= {"batch_clips": 8, "micro_batches": 1}
    parser = ArgumentParser(exit_on_error=False)
    add_settings(parser, method)
    return config_of(parser, parser.parse_object(values))


class Side:
    """The bare step of a method in one mode."""

    def __init__(self, config: PretrainConfig, store: Store, mode: str) -> None:
        self.method, self.mode, self.clips = config.method, mode, config.batch_clips
        self.clips_per_second: list[float] = []
        compiled, captured = MODES[mode]
        fabric, _ = make_fabric(config.device, config.precision)
        fabric.launch()
        objective = build_objective(config, store.skeleton).to(fabric.device)
        cut = {"batch_clips": config.batch_clips, "seed": 0, "device": fabric.device, "fixed": compiled or captured}
        rows = np.arange(len(store))
        cut |= {"micro_batches": config.micro_batches, "planned": captured}
        self.loader = ResidentLoader(store, rows, config.input, config.augment, **cut)
        module = fabric.setup_module(one_graph(objective) if compiled else objective, _reapply_compile=False)
        module.train()
        optimizer = optimizer_of(objective, config.optimizer)
        direct = Stepper(
            *(fabric, module, fabric.setup_optimizers(optimizer), objective, config.optimizer.clip_norm),
            Profile(fabric.device, None),
            compiled=compiled,
            fixed=captured,
        )
        self.take = CapturedStepper(direct, optimizer, CudaGraphs(fabric.device)) if captured else direct
        self.device = fabric.device

    def steps(self, count: int) -> float:
        """Take steps; return the seconds that they took."""
        wait(self.device)
        began = time.perf_counter()
        for _ in range(count):
            self.take(self.loader.next_step(), 1e-4)
        wait(self.device)
        return time.perf_counter() - began

    def measure(self, count: int) -> None:
        """Note the clips per second of some steps."""
        self.clips_per_second.append(count * self.clips / self.steps(count))


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def dearest_kernels(side: Side, steps: int) -> dict[str, Any]:
    """Return milliseconds per step of the ten dearest kernels, and the share of the time in which any ran."""
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        seconds = side.steps(steps)
    events = sorted(seen.key_averages(), key=lambda event: -event.self_device_time_total)
    dearest = {event.key[:80]: round(event.self_device_time_total / 1e3 / steps, 3) for event in events[:10]}
    busy = sum(event.self_device_time_total for event in events) / 1e6 / seconds
    return {"milliseconds_per_step": dearest, "busy_share": round(busy, 2)}


def real_loop(config: PretrainConfig, steps: int) -> dict[str, Any]:
    """Run `marrow pretrain` with a recipe; return clips per second by the later half of its log."""
    words = {"recipe": f"{config.method}_ntu60_xsub", "store": config.store, "out": config.out, "protocol": "null"}
    words |= {"max_steps": steps, "device": config.device, "compile": "on"}
    if torch.device(config.device).type == "cpu":
        words |= {"compile": "off", "batch_clips": 8, "micro_batches": 1}
    command = [sys.executable, "-m", "marrow", "pretrain", *(f"--{name}={value}" for name, value in words.items())]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"failed": done.stderr[-500:]}
    log = read_log(config.out / "log.jsonl")
    later = log[len(log) // 2 :]
    return {
        **speeds([entry["clips_per_second"] for entry in later]),
        "peak_memory_mib": log[-1].get("peak_memory_mib"),
        "said": [line for line in done.stderr.splitlines() if "captured" in line or "compiled" in line],
    }


def speeds(values: list[float]) -> dict[str, Any]:
    """Return the median, the spread, and what 400 epochs of NTU RGB+D 60 would take."""
    speed = statistics.median(values)
    minutes = round(CLIPS * EPOCHS / speed / 60, 1)
    return {"clips_per_second": round(speed), "low": round(min(values)), "high": round(max(values)), "minutes": minutes}


def compile_side_by_side(methods: list[str], options: argparse.Namespace) -> None:
    """Let a process for each method fill the cache of compiled graphs."""
    command = [sys.executable, __file__, "--only-compile", "--device", options.device, "--methods"]
    began = time.perf_counter()
    for process in [subprocess.Popen([*command, method]) for method in methods]:
        process.wait()
    print(f"compiled in {time.perf_counter() - began:.0f} s", file=sys.stderr)


def bare(methods: list[str], store: Store, folder: Path, options: argparse.Namespace) -> Iterator[Side]:
    """Yield every side after its rounds; sides of a method take turns."""
    modes = ["eager"] if torch.device(options.device).type == "cpu" else list(MODES)
    for method in methods:
        config = settings(method, store, folder / "bare", options)
        sides = [Side(config, store, mode) for mode in modes]
        for side in sides:
            side.steps(5)
        for _ in range(options.rounds):
            for side in sides:
                side.measure(options.steps)
        yield from sides
        print(f"measured: {method}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--steps", type=int, default=20, help="per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--real-steps", type=int, default=300, help="of the real loop; 0: not at all")
    parser.add_argument("--only-compile", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    on_gpu = torch.device(options.device).type == "cuda"
    claim = "pre-training on a GPU is as fast as its captured step, and many times the eager step"
    if not on_gpu and not options.quick:
        print(json.dumps({"claim": claim, "ratio": None, "setting": "no CUDA device here: not measured"}))
        return
    if options.quick:
        options.steps, options.rounds = 2, 1
        options.real_steps = options.real_steps if on_gpu else 0  # of the paper's size
    methods, results = options.methods.split(","), {}
    with tempfile.TemporaryDirectory() as temporary:
        folder, clips = Path(temporary), 64 if options.quick else 2_560
        store = make_store(folder / "store", clips, absent=0.0)
        if options.only_compile:
            for method in methods:
                Side(settings(method, store, folder, options), store, "compiled").steps(3)
            return
        if on_gpu and not options.quick:
            compile_side_by_side(methods, options)
        for side in bare(methods, store, folder, options):
            results.setdefault(side.method, {})[side.mode] = speeds(side.clips_per_second)
            if (side.method, side.mode) == ("amr", "both"):
                results["kernels of amr, both"] = dearest_kernels(side, options.steps)
        if options.real_steps:
            scarce = make_store(folder / "absent", clips, absent=0.05)
            loops = {method: (method, store) for method in methods}
            loops |= {"amr, joints absent": ("amr", scarce)} if "amr" in methods else {}
            for number, (name, (method, its)) in enumerate(loops.items()):
                config = settings(method, its, folder / f"run{number}", options)
                results.setdefault(name, {})["real loop"] = real_loop(config, options.real_steps)
    first = results[methods[0]]
    best, slow = first.get("both", first["eager"]), first["eager"]
    ratios = {
        method: round(modes["real loop"]["clips_per_second"] / modes["both"]["clips_per_second"], 2)
        for method, modes in results.items()
        if "both" in modes and "clips_per_second" in modes.get("real loop", {})
    }
    name = torch.cuda.get_device_name(options.device) if on_gpu else "CPU, tiny networks: no statement about speed"
    print(
        json.dumps(
            {
                "claim": claim,
                "ratio": round(best["clips_per_second"] / slow["clips_per_second"], 2),
                "low": round(best["low"] / slow["high"], 2),
                "high": round(best["high"] / slow["low"], 2),
                "real_loop_over_captured_step": ratios,
                "sides": results,
                "setting": f"{name}, torch {torch.__version__}, ratio of {methods[0]}, {clips} random walks, "
                f"{options.rounds} rounds of {options.steps} steps, real loops of {options.real_steps}",
            }
        )
    )


if __name__ == "__main__":
    main()
