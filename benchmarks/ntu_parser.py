"""Claim: a `.skeleton` file is parsed many times faster than by reading it line by line with every number made a float.

Both sides read the same files, which are written here: one or two bodies on a random walk for 70 to 120 frames, twelve
numbers a line. CPU time of one thread, both sides in turn in every round; the compiled pass is warmed up before.

    python benchmarks/ntu_parser.py [--quick]
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from marrow.readers.ntu_parser import parse_skeleton_file


def write_recording(path: Path, generator: np.random.Generator) -> None:
    """Write a recording of NTU-like length, a fifth of them with two bodies, with the corpus's number of digits."""
    frame_count = int(generator.integers(70, 121))
    body_count = 2 if generator.random() < 0.2 else 1
    poses = generator.normal(scale=0.4, size=(body_count, 25, 3)) + np.array([0, 0, 3])
    lines = [str(frame_count)]
    for _ in range(frame_count):
        poses = poses + generator.normal(scale=0.01, size=poses.shape)
        lines.append(str(body_count))
        for body, pose in enumerate(poses):
            lines += [f"{72057594037931101 + body} 0 1 1 1 1 0 {pose[0, 0]:.6f} {pose[0, 1]:.6f} 2", "25"]
            pixels = generator.uniform(100, 900, size=(25, 4))
            turns = generator.uniform(-1, 1, size=(25, 4))
            for place, pixel, turn in zip(pose, pixels, turns, strict=True):
                columns = [f"{value:.7g}" for value in (*place, *pixel, *turn)]
                lines.append(" ".join(columns) + " 2")
    path.write_text("\n".join(lines) + "\n")


def parse_line_by_line(path: Path) -> tuple[list[int], np.ndarray]:
    """Read as the format suggests: a `readline` per line, and `float` for each of its twelve numbers."""
    body_frames, rows = [], []
    with path.open() as file:
        for frame in range(int(file.readline())):
            for _ in range(int(file.readline())):
                file.readline()
                joint_count = int(file.readline())
                body_frames.append(frame)
                rows.append([[float(word) for word in file.readline().split()] for _ in range(joint_count)])
    return body_frames, np.array(rows)[:, :, :3].astype(np.float32)


def cpu_seconds(parse, files: list[Path]) -> float:
    started = time.process_time()
    for file in files:
        parse(file)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer files and rounds, under a minute")
    quick = parser.parse_args().quick
    file_count, rounds = (12, 7) if quick else (60, 21)
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"S001C001P001R001A{number:03d}.skeleton") for number in range(1, file_count + 1)]
        for file in files:
            write_recording(file, generator)
            body_frames, joints = parse_line_by_line(file)
            parsed = parse_skeleton_file(file)
            if not (np.array_equal(parsed.joints, joints) and parsed.frames.tolist() == body_frames):
                raise SystemExit(f"the two sides disagree on {file.name}")
        size_kib = sum(file.stat().st_size for file in files) / file_count / 1024
        slow, fast = [], []
        for _ in range(rounds):
            slow.append(cpu_seconds(parse_line_by_line, files))
            fast.append(cpu_seconds(parse_skeleton_file, files))
    ratios = sorted(one / other for one, other in zip(slow, fast, strict=True))
    low, high = (float(np.quantile(ratios, share)) for share in (0.1, 0.9))
    ratio = statistics.median(ratios)
    per_file_ms = [1000 * statistics.median(times) / file_count for times in (slow, fast)]
    print(f"{file_count} files of {size_kib:.0f} KiB on average, {rounds} rounds; both sides give the same positions")
    print(f"line by line, every number a float: {per_file_ms[0]:7.2f} ms per file")
    print(f"marrow                            : {per_file_ms[1]:7.2f} ms per file")
    print(f"ratio {ratio:.1f} (10 % of the rounds below {low:.1f}, 10 % above {high:.1f})")
    claim = "the NTU parser is at least 3 times faster per file than readline with 12 floats a line"
    setting = f"{file_count} files, {size_kib:.0f} KiB, {rounds} rounds, 1 thread, CPU time, warm file cache"
    print(json.dumps({"claim": claim, "ratio": ratio, "low": low, "high": high, "setting": setting}))


if __name__ == "__main__":
    main()
