"""Claim: an exported recogniser answers within a second of the start of Python, and two people 30 times a second.

One recogniser, as large as those of the small recipes (width 128, 5 layers, a window of 64 frames, 200 tokens for the
25 joints of a Kinect), at random weights: how long it takes does not depend on them. The sides are the model in memory,
its ONNX file read by `marrow.runtime`, and that file with weights of eight bits.

First, each side in processes of its own, by turns: from the start of Python to the first answer. Then all in one
process, by turns, on one thread: from the arrays of one recording of 64 frames to the probabilities, with one, two and
four people. Times are of the clock, the median over rounds, with quartiles. Before anything is timed, the answers are
compared.

    python benchmarks/export_latency.py [--quick]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

import marrow
from marrow.models.heads import JointsHead, Recogniser
from marrow.runtime import load
from marrow.use.export import export

LAYOUT, FRAMES = marrow.get_skeleton("kinect_v2_25"), 64
STARTS = {
    "torch, eager": """
import sys, time, numpy, torch
torch.set_num_threads(1)
import marrow
joints = numpy.load(sys.argv[1] + "/joints.npy")
seen, layout = numpy.ones(joints.shape[:3], bool), marrow.get_skeleton("kinect_v2_25")
recording = marrow.SkeletonSequence(joints, seen, 30.0, layout, marrow.Record("a"))
marrow.Recogniser.load(sys.argv[1] + "/tuned").predict([recording])
""",
    "onnx, fp32": """
import sys, numpy
from marrow.runtime import Motion, load
load(sys.argv[1] + "/model.onnx").predict([Motion(numpy.load(sys.argv[1] + "/joints.npy"), layout="kinect_v2_25")])
""",
}
STARTS["onnx, int8"] = STARTS["onnx, fp32"].replace("model.onnx", "model.int8.onnx")


def recogniser() -> Recogniser:
    torch.manual_seed(0)
    size = marrow.PatchTransformerConfig(width=128, depth=5, heads=4, patch_frames=8)
    reads = marrow.InputConfig(window_frames=FRAMES, alignment="body")
    encoder = marrow.PatchTransformer(size, reads, marrow.get_skeleton("body"))
    head = JointsHead(encoder.feature_shape.joints, encoder.dim, 10)
    return Recogniser(encoder.eval(), head.eval(), tuple(f"class {number}" for number in range(10)))


def recording(people: int) -> marrow.SkeletonSequence:
    joints = np.random.default_rng(people).normal(size=(people, FRAMES, 25, 3)).astype(np.float32)
    return marrow.SkeletonSequence(joints, np.ones(joints.shape[:3], bool), 30.0, LAYOUT, marrow.Record("made up"))


def quartiles(times: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(times, n=4)
    return {"median": round(middle, 4), "low": round(low, 4), "high": round(high, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds")
    rounds, starts = (10, 3) if parser.parse_args().quick else (60, 9)
    torch.set_num_threads(1)
    model = recogniser()
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "tuned", {})
        sides = export(model, Path(folder) / "model.onnx", int8=True)
        np.save(Path(folder) / "joints.npy", recording(2).joints)
        seconds = {name: [] for name in STARTS}
        for _ in range(starts):
            for name, code in STARTS.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, "-c", code, folder], check=True)
                seconds[name].append(time.perf_counter() - start)
        answers: dict[str, Callable] = {
            "torch, eager": model.predict,
            "onnx, fp32": load(Path(folder) / "model.onnx").predict,
            "onnx, int8": load(Path(folder) / "model.int8.onnx").predict,
        }
        expected = model.predict([recording(2)])
        report = {
            "bytes": {side.name: side.size_bytes for side in sides},
            "largest difference of a probability": {
                name: float(np.abs(answer([recording(2)]) - expected).max()) for name, answer in answers.items()
            },
            "seconds from the start of Python to the first answer": {
                name: quartiles(times) for name, times in seconds.items()
            },
        }
        for people in (1, 2, 4):
            times = {name: [] for name in answers}
            for turn in range(rounds + 2):
                for name, answer in answers.items():
                    start = time.perf_counter()
                    answer([recording(people)])
                    if turn >= 2:
                        times[name].append(1000.0 * (time.perf_counter() - start))
            report[f"milliseconds of an answer, people: {people}"] = {name: quartiles(of) for name, of in times.items()}
    first = report["seconds from the start of Python to the first answer"]["onnx, fp32"]["median"]
    of_two = report["milliseconds of an answer, people: 2"]["onnx, fp32"]["median"]
    print(f"first answer after {first:.2f} s (claim: 1 s); two people {1000 / of_two:.0f} times a second (claim: 30)")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
