"""Claim: two processes prepare NTU text files at least 1.6 times faster than one.

The script writes its own files in the NTU `.skeleton` format (a few dozen different ones, under as many names as are
wanted), and prepares all of them with one process and with two, alternately, each time in a fresh interpreter and into
a fresh folder. What is timed is `prepare` as a whole: listing, starting the workers and their imports, parsing,
cleaning, writing to the disk, index. The parser is compiled once before (its machine code is kept on the disk).

Starting a worker costs about a second of its processor, mostly for loading the compiled parser; NTU RGB+D 60 has ten
times as many files as are prepared here. It takes two idle cores to measure this.

    python benchmarks/prepare_parallel.py [--quick] [--files 12000] [--rounds 3]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

DIFFERENT_FILES = 40
PROGRAM = """
import sys
from marrow.readers import get_reader
from marrow.store import convert_recordings
print(convert_recordings(get_reader("ntu"), sys.argv[1], sys.argv[2], jobs=int(sys.argv[3])).seconds)
"""


def skeleton_text(random: np.random.Generator, frames: int, bodies: int) -> str:
    """Write one recording of bodies that drift, in the NTU text format."""
    rest = random.normal((0, 0, 3), 0.3, (bodies, 25, 3))
    positions = rest + random.normal(0, 0.02, (frames, bodies, 25, 3)).cumsum(axis=0)
    lines = [str(frames)]
    for frame in range(frames):
        lines.append(str(bodies))
        for body in range(bodies):
            lines += [f"7205759404{body:08d} 0 1 1 0 0 0 -0.1738873 0.0421569 2", "25"]
            for x, y, z in positions[frame, body]:
                lines.append(
                    f"{x:.7f} {y:.7f} {z:.6f} {256 + 100 * x:.4f} {212 - 100 * y:.4f} {960 + 300 * x:.4f} "
                    f"{540 - 300 * y:.4f} -0.2059293 0.05349118 0.9692109 -0.1239193 2"
                )
    return "\n".join(lines) + "\n"


def write_files(folder: Path, count: int) -> int:
    """Write the different files and link the others to them; return the mean size in bytes."""
    random = np.random.default_rng(0)
    folder.mkdir()
    names = [
        f"S{setup:03d}C{camera:03d}P{subject:03d}R{replication:03d}A{action:03d}.skeleton"
        for setup in range(1, 18)
        for camera in (1, 2, 3)
        for subject in range(1, 9)
        for replication in (1, 2)
        for action in range(1, 61)
    ][:count]
    for number, name in enumerate(names):
        if number < DIFFERENT_FILES:
            length = int(np.clip(random.gamma(4.0, 53 / 4.0) + 32, 32, 300))
            (folder / name).write_text(skeleton_text(random, length, 1 + (number % 4 == 0)))
        else:
            os.link(folder / names[number % DIFFERENT_FILES], folder / name)
    return sum((folder / name).stat().st_size for name in names) // len(names)


def seconds(source: Path, out: Path, jobs: int) -> float:
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(source), str(out), str(jobs)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ).stdout
    shutil.rmtree(out)
    return float(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--files", type=int, default=12000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    files = 6000 if arguments.quick else arguments.files
    rounds = 2 if arguments.quick else arguments.rounds

    folder = Path(tempfile.mkdtemp(prefix="marrow-benchmark-"))
    try:
        write_files(folder / "warm", DIFFERENT_FILES)
        seconds(folder / "warm", folder / "out", 1)
        mean_bytes = write_files(folder / "raw", files)
        ratios = []
        for number in range(rounds):
            one = seconds(folder / "raw", folder / "out", 1)
            two = seconds(folder / "raw", folder / "out", 2)
            ratios.append(one / two)
            print(f"round {number + 1}: one process {one:.2f} s ({files / one:.0f} files/s), two {two:.2f} s")
    finally:
        shutil.rmtree(folder)
    print(
        json.dumps(
            {
                "claim": "two processes prepare at least 1.6 times faster than one",
                "ratio": round(statistics.median(ratios), 2),
                "low": round(min(ratios), 2),
                "high": round(max(ratios), 2),
                "setting": f"{files} NTU text files of {mean_bytes // 1000} kB on average, wall time, "
                f"{os.cpu_count()} cores, {rounds} rounds",
            }
        )
    )


if __name__ == "__main__":
    main()
