"""How long the encoder that comes with marrow takes: for the first answer, and for each window after it, on one thread.

    python benchmarks/general_latency.py

Times are of the process (`time.process_time`), so that a busy machine does not count; the import of torch and marrow is
stated apart. The recording is two seconds of one person, 20 joints of the first Kinect at 30 frames per second.
"""

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
began = time.process_time()
import numpy as np
import torch

import marrow

marrow.load_encoder  # noqa: B018  (imported on its first use)
IMPORT = time.process_time() - began
WINDOWS = 100


def main() -> None:
    torch.set_num_threads(1)
    skeleton = marrow.get_skeleton("kinect_v1_20")
    joints = np.cumsum(np.random.default_rng(0).normal(0, 0.02, (1, 60, 20, 3)), axis=1).astype(np.float32)
    record = marrow.Record("one")
    recording = marrow.SkeletonSequence(joints, np.ones(joints.shape[:3], bool), 30.0, skeleton, record)
    began = time.process_time()
    encoder = marrow.load_encoder("general")
    encoder.embed([recording])
    first = time.process_time() - began
    times = []
    for _ in range(WINDOWS):
        began = time.process_time()
        encoder.embed([recording])
        times.append(1e3 * (time.process_time() - began))
    low, middle, high = np.percentile(times, [5, 50, 95])
    print(f"import of torch and marrow  {IMPORT:.2f} s")
    print(f"first answer after that     {first:.2f} s (weights read, one recording encoded)")
    print(f"each window                 {middle:.1f} ms ({low:.1f} to {high:.1f}), {1e3 / middle:.0f} per second")


if __name__ == "__main__":
    main()
