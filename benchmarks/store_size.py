"""Claim: a store is at least 5 times smaller than float32 arrays padded to [300 frames, 2 bodies], at NTU-like lengths.

Clips are about 85 frames long on average (32 to 300), 30 % of them with two bodies; `low` and `high` are the ratios at
40 % and 20 %. Every file of the store counts, index and check sums included. Random reads of single clips are timed on
both sides, alternately, from warm files; each clip that is read is also summed up, so that its pages are touched.

    python benchmarks/store_size.py [--quick] [--clips 2000] [--rounds 5]
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from marrow.skeleton.layout import KINECT_V2_25
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store import Store, write_store

PADDED_SHAPE = (300, 2, 25, 3)


def ntu_like(count: int, two_body_share: float, seed: int) -> list[SkeletonSequence]:
    """Make noise of NTU's lengths; its values do not matter, since neither side compresses."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.gamma(4.0, 53 / 4.0, count) + 32, 32, 300).astype(int)
    clips = []
    for number, length in enumerate(lengths):
        bodies = 1 + (number < two_body_share * count)
        joints = random.standard_normal((bodies, length, 25, 3), dtype=np.float32)
        present = np.ones(joints.shape[:3], np.bool_)
        clips.append(
            SkeletonSequence(joints, present, 30.0, KINECT_V2_25, Record(f"clip {number:06d}", "", number % 60))
        )
    return clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    count = 400 if arguments.quick else arguments.clips
    rounds = 3 if arguments.quick else arguments.rounds

    ratios = {}
    folder = Path(tempfile.mkdtemp(prefix="marrow-benchmark-"))
    try:
        for share in (0.2, 0.3, 0.4):
            clips = ntu_like(count, share, seed=0)
            store = write_store(folder / f"{share}", clips, source="benchmark")
            ratios[share] = count * 4 * int(np.prod(PADDED_SHAPE)) / store.byte_count
            mean = store.frame_count.mean()
            print(f"{share:.0%} with two bodies, mean {mean:.1f} frames: {ratios[share]:.2f} times smaller")
        speed = reads_per_second(folder, store, clips, rounds)
    finally:
        shutil.rmtree(folder)
    print(f"random reads: store {speed[0]:,.0f} clips/s, padded memory map {speed[1]:,.0f} clips/s")
    print(
        json.dumps(
            {
                "claim": "store at least 5 times smaller than padded [300, 2] float32",
                "ratio": round(ratios[0.3], 2),
                "low": round(ratios[0.4], 2),
                "high": round(ratios[0.2], 2),
                "setting": f"{count} clips, mean {mean:.0f} frames, 30 % with two bodies (low: 40 %, high: 20 %)",
            }
        )
    )


def reads_per_second(folder: Path, store: Store, clips: list[SkeletonSequence], rounds: int) -> tuple[float, float]:
    padded = np.lib.format.open_memmap(folder / "padded.npy", "w+", np.float32, (len(clips), *PADDED_SHAPE))
    for row, clip in enumerate(clips):
        padded[row, : clip.frame_count, : clip.body_count] = clip.joints.swapaxes(0, 1)
    order = np.random.default_rng(1).permutation(len(clips))
    store_seconds, padded_seconds = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        for row in order:
            joints, present = store.frames(row)
            joints.sum(), present.any()
        middle = time.perf_counter()
        for row in order:
            padded[row].sum()
        store_seconds.append(middle - start)
        padded_seconds.append(time.perf_counter() - middle)
    return len(clips) / statistics.median(store_seconds), len(clips) / statistics.median(padded_seconds)


if __name__ == "__main__":
    main()
