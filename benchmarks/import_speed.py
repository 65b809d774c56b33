"""Claim: 3,000 small BVH files become a store in under a minute on two idle cores.

The script writes its own files (24 joints, 60 frames each, no two alike), imports them with `marrow import` and two
processes, and reads the same files with one process and nothing else. What is timed of the import is the whole command:
starting Python, looking at every file, deciding, starting the workers, reading, writing to the disk, index.

    python benchmarks/import_speed.py [--quick] [--files 3000] [--jobs 2] [--profile]
"""

import argparse
import cProfile
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

FRAMES = 60
# Name, parent, offset in centimetres.
JOINTS = (
    ("Hips", "", (0, 95, 0)),
    *(("Spine", "Hips", (0, 10, 0)), ("Spine1", "Spine", (0, 14, 0)), ("Spine2", "Spine1", (0, 14, 0))),
    *(("Neck", "Spine2", (0, 14, 0)), ("Head", "Neck", (0, 12, 0))),
    *(
        (f"{side}{name}", parent and (parent if parent in ("Spine2", "Hips") else f"{side}{parent}"), (sign * x, y, z))
        for side, sign in (("Left", 1), ("Right", -1))
        for name, parent, (x, y, z) in (
            ("Shoulder", "Spine2", (4, 10, 0)),
            ("Arm", "Shoulder", (14, 0, 0)),
            ("ForeArm", "Arm", (28, 0, 0)),
            ("Hand", "ForeArm", (25, 0, 0)),
            ("HandMiddle", "Hand", (9, 0, 0)),
            ("UpLeg", "Hips", (9, -4, 0)),
            ("Leg", "UpLeg", (0, -42, 0)),
            ("Foot", "Leg", (0, -40, 0)),
            ("ToeBase", "Foot", (0, -6, 13)),
        )
    ),
)


def hierarchy(name: str = "Hips", depth: int = 0) -> str:
    """Return the text of a joint and all below it."""
    blanks = "  " * depth
    offset = next(offset for joint, _, offset in JOINTS if joint == name)
    children = [joint for joint, parent, _ in JOINTS if parent == name]
    channels = "3 Zrotation Xrotation Yrotation"
    if depth == 0:
        channels = "6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"
    head = f"{blanks}{'JOINT' if depth else 'ROOT'} {name}\n{blanks}{{\n"
    head += f"{blanks}  OFFSET {' '.join(f'{value:.4f}' for value in offset)}\n{blanks}  CHANNELS {channels}\n"
    below = "".join(hierarchy(child, depth + 1) for child in children)
    end = f"{blanks}  End Site\n{blanks}  {{\n{blanks}    OFFSET 0.0000 5.0000 0.0000\n{blanks}  }}\n"
    return f"{head}{below or end}{blanks}}}\n"


def write_files(folder: Path, count: int, frames: int = FRAMES) -> int:
    """Write files of four classes by folder, of which each takes its frames from a long walk; return the mean size."""
    random = np.random.default_rng(0)
    columns = 3 * (len(JOINTS) + 1)
    time_frames = np.arange(4000)[:, None]
    angles = 20 * np.sin(0.15 * time_frames * random.uniform(0.5, 1.5, columns) + random.uniform(0, 6, columns))
    angles[:, :3] = np.array([0, 95, 0]) + 3 * np.sin(0.05 * time_frames)
    rows = [" ".join(f"{value:.4f}" for value in row) for row in angles]
    head = f"HIERARCHY\n{hierarchy()}MOTION\nFrames: {frames}\nFrame Time: 0.0333333\n"
    for number in range(count):
        file = folder / ("walk", "run", "jump", "wave")[number % 4] / f"take{number:05d}.bvh"
        file.parent.mkdir(parents=True, exist_ok=True)
        start = (number * 37) % (len(rows) - frames)
        first = f"{number / 100:.4f}{rows[start][rows[start].index(' ') :]}"
        file.write_text(head + "\n".join([first, *rows[start + 1 : start + frames]]) + "\n")
    return sum(file.stat().st_size for file in folder.rglob("*.bvh")) // count


def import_seconds(source: Path, out: Path, jobs: int) -> float:
    """Return the wall time of the command."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "marrow", "import", str(source), "--out", str(out), "--jobs", str(jobs)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def reading_seconds(source: Path) -> float:
    """Return the time that parsing all files takes, once it is known what they are."""
    from marrow.importing.importer import Recordings

    reader = Recordings().for_root(source)
    started = time.perf_counter()
    for record in reader.records(source):
        reader.read(source, record)
    return time.perf_counter() - started


def profile(source: Path, out: Path) -> None:
    """Print what an import in one process spends its time on."""
    from marrow.cli.main import main as marrow

    profiler = cProfile.Profile()
    profiler.runcall(marrow, ["import", str(source), "--out", str(out), "--jobs", "1"])
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    pstats.Stats(profiler).sort_stats("cumtime").print_stats(60)


def main() -> None:
    """Write the files, import them, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="300 files")
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="say where the time goes, in one process")
    arguments = parser.parse_args()
    count = 300 if arguments.quick else arguments.files
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        size = write_files(source, count)
        print(f"{count:,} BVH files of {FRAMES} frames, {len(JOINTS)} joints and {size / 1000:.0f} kB")
        if arguments.profile:
            profile(source, Path(folder, "store"))
            return
        whole = import_seconds(source, Path(folder, "store"), arguments.jobs)
        reading = reading_seconds(source)
    print(f"import, {arguments.jobs} processes   {whole:6.1f} s   {count / whole:6.0f} files per second")
    print(f"reading alone, 1 process  {reading:6.1f} s   {count / reading:6.0f} files per second")
    print(
        json.dumps(
            {
                "claim": "3,000 small BVH files become a store in under a minute on two idle cores",
                "seconds": round(whole, 1),
                "files_per_second": round(count / whole),
                "ratio": round(whole / reading, 2),
                "setting": f"{count} files of {size // 1000} kB, wall time of the whole command with {arguments.jobs} "
                f"processes; ratio to reading them with one, {os.cpu_count()} cores",
            }
        )
    )


if __name__ == "__main__":
    main()
