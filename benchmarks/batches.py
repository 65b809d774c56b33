"""Claim: training batches are made at least 7 times faster than clip by clip (25 times with the fused pass).

The other side works as the released feeders do: clips as zero-padded float32 arrays [3, 300, 25, 2]; for each sample of
a batch the valid length is counted, a window cropped (50 to 100 %, at least 64 frames), resized to 120 frames by
bilinear interpolation, turned by one random rotation, and the samples are stacked. Ours keeps the same clips as flat
frames and makes the whole batch at once, by the fused pass (what the loaders use on the CPU) and by the tensor code
(what they use elsewhere). Before anything is timed, all three are compared on the same windows and rotations.

All sides take turns in one process with one thread, on the same clips: 25 joints, 85 frames on average, 18 % with a
second body, batches of 128. Times are seconds of CPU time of this thread, so that other work on the machine counts
little; the ratio is the median over rounds, low and high are its quartiles.

    python benchmarks/batches.py [--quick]
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from marrow.data.augment import AugmentConfig, draw_augmentation
from marrow.data.draws import Draws
from marrow.data.frames import FlatFrames, flat_from_sequences
from marrow.data.gather import gather_fused, gather_tensor
from marrow.data.sampling import linear_part
from marrow.data.window import InputConfig, Windows
from marrow.skeleton.layout import KINECT_V2_25
from marrow.skeleton.sequence import Record, SkeletonSequence

# glibc's default gives large blocks back to the system and takes them again at every batch. The same settings for all
# sides; they only take effect at the start of a process.
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "OMP_NUM_THREADS": "1",
}
BATCH_CLIPS, WINDOW_FRAMES, PADDED_FRAMES = 128, 120, 300
AUGMENT = AugmentConfig()
RNG = np.random.default_rng(0)

Gather = Callable[[FlatFrames, Tensor, Windows, Tensor], Tensor]


def make_clips(count: int) -> list[SkeletonSequence]:
    """Make clips of NTU-like lengths; what the numbers are does not matter to the time."""
    rng = np.random.default_rng(0)
    clips = []
    for clip in range(count):
        frame_count = int(np.clip(rng.gamma(6.0, 14.2), 20, PADDED_FRAMES))
        bodies = 2 if rng.random() < 0.18 else 1
        joints = rng.normal(size=(bodies, frame_count, 25, 3)).astype(np.float32)
        present = np.ones(joints.shape[:3], np.bool_)
        clips.append(SkeletonSequence(joints, present, 30.0, KINECT_V2_25, Record(id=str(clip))))
    return clips


def pad(clips: list[SkeletonSequence]) -> np.ndarray:
    """Return the clips as one zero-padded array [clip, 3, frame, joint, body]."""
    padded = np.zeros((len(clips), 3, PADDED_FRAMES, 25, 2), np.float32)
    for row, clip in enumerate(clips):
        padded[row, :, : clip.frame_count, :, : clip.body_count] = clip.joints.transpose(3, 1, 2, 0)
    return padded


def euler(angles: Tensor) -> Tensor:
    """Return Rz * Ry * Rx."""
    (cx, cy, cz), (sx, sy, sz) = torch.cos(angles), torch.sin(angles)
    one, zero = torch.ones(()), torch.zeros(())
    about_x = torch.stack([one, zero, zero, zero, cx, -sx, zero, sx, cx]).view(3, 3)
    about_y = torch.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy]).view(3, 3)
    about_z = torch.stack([cz, -sz, zero, sz, cz, zero, zero, zero, one]).view(3, 3)
    return about_z @ about_y @ about_x


def one_sample(padded: np.ndarray, row: int, chosen: tuple[int, int] | None, rotation: Tensor | None) -> Tensor:
    """Make one sample [3, time, joint, body]; a window and a rotation that are not given are drawn."""
    clip = padded[row]
    valid = int((clip.sum(0).sum(-1).sum(-1) != 0).sum())
    if chosen is None:
        share = RNG.random() * (AUGMENT.crop_high - AUGMENT.crop_low) + AUGMENT.crop_low
        length = min(max(int(np.floor(share * valid)), AUGMENT.min_crop_frames), valid)
        chosen = (RNG.integers(0, valid - length + 1), length)
    start, length = chosen
    window = torch.from_numpy(clip[:, start : start + length]).reshape(1, 3, length, 50)
    window = torch.nn.functional.interpolate(window, size=(WINDOW_FRAMES, 50), mode="bilinear", align_corners=False)[0]
    if rotation is None:
        rotation = euler(torch.empty(3).uniform_(-AUGMENT.rotation_radians, AUGMENT.rotation_radians))
    # One product of [3, 3] with [3, all points]: the fastest of einsum, bmm per frame, and this.
    return (rotation @ window.reshape(3, -1)).view(3, WINDOW_FRAMES, 25, 2)


def per_sample_batch(padded: np.ndarray, rows: np.ndarray) -> Tensor:
    return torch.stack([one_sample(padded, int(row), None, None) for row in rows])


def whole_batch(frames: FlatFrames, rows: np.ndarray, step: int, gathered: Gather) -> Tensor:
    """Make a batch as the loaders do, with a given way to gather."""
    clips = torch.from_numpy(rows)
    draws = Draws(0, step, torch.arange(len(rows)))
    windows, rotation = drawn(frames, clips, draws)
    return gathered(frames, clips, windows, rotation)


def drawn(frames: FlatFrames, clips: Tensor, draws: Draws) -> tuple[Windows, Tensor]:
    """Draw windows and rotations as the loaders do."""
    size = {"bodies": frames.max_bodies, "window_frames": WINDOW_FRAMES, "joints": len(frames.skeleton.joints)}
    augmentation = draw_augmentation(draws, AUGMENT, frames.frame_count[clips], **size)
    rotation = linear_part(augmentation, frames.skeleton)
    assert rotation is not None
    return augmentation.windows, rotation


def fused(frames: FlatFrames, clips: Tensor, windows: Windows, rotation: Tensor) -> Tensor:
    return gather_fused(frames, clips, windows.start, windows.length, WINDOW_FRAMES, rotation)[0]


def tensor(frames: FlatFrames, clips: Tensor, windows: Windows, rotation: Tensor) -> Tensor:
    return gather_tensor(frames, clips, windows, WINDOW_FRAMES, rotation)[0]


def check_equal(padded: np.ndarray, frames: FlatFrames) -> None:
    """Compare all sides on the same windows and rotations."""
    clips, draws = torch.arange(16), Draws(0, 0, torch.arange(16))
    windows, rotation = drawn(frames, clips, draws)
    chosen = list(zip(windows.start.tolist(), windows.length.tolist(), strict=True))
    expected = torch.stack([one_sample(padded, row, chosen[row], rotation[row]) for row in range(16)])
    for gathered in (fused, tensor):
        got = gathered(frames, clips, windows, rotation).permute(0, 4, 2, 3, 1)
        # torch's interpolation computes source positions in float32: up to 1e-5 of a frame at 85 frames.
        torch.testing.assert_close(got, expected, atol=2e-4, rtol=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer clips and rounds, under a minute")
    quick = parser.parse_args().quick
    clip_count, rounds = (512, 9) if quick else (4096, 41)
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    torch.set_num_threads(1)

    clips = make_clips(clip_count)
    padded, frames = pad(clips), flat_from_sequences(clips, InputConfig(), "cpu")
    check_equal(padded, frames)

    sides: dict[str, Callable[[np.ndarray, int], Tensor]] = {
        "per sample": lambda rows, step: per_sample_batch(padded, rows),
        "tensor": lambda rows, step: whole_batch(frames, rows, step, tensor),
        "fused": lambda rows, step: whole_batch(frames, rows, step, fused),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    rng = np.random.default_rng(1)
    for step in range(rounds + 1):
        rows = rng.permutation(clip_count)[:BATCH_CLIPS]
        for name, make in sides.items():
            begin = time.thread_time()
            make(rows, step)
            if step:  # the first round warms up
                seconds[name].append(time.thread_time() - begin)

    mean_frames = float(frames.frame_count.double().mean())
    print(f"{clip_count} clips, {mean_frames:.0f} frames on average, batches of {BATCH_CLIPS}, {rounds} rounds")
    ratios = {}
    for name, taken in seconds.items():
        ratio = [base / own for base, own in zip(seconds["per sample"], taken, strict=True)]
        low, middle, high = statistics.quantiles(ratio, n=4)
        ratios[name] = (middle, low, high)
        clips_per_second = BATCH_CLIPS / statistics.median(taken)
        print(f"{name:10s} {clips_per_second:9,.0f} clips/s   ratio {middle:5.1f} ({low:.1f} to {high:.1f})")
    ratio, low, high = ratios["fused"]
    result = {
        "claim": "batches are made at least 7 times (aim 25) faster than per-sample crop, resize and rotate",
        "ratio": round(ratio, 2),
        "low": round(low, 2),
        "high": round(high, 2),
        "setting": {
            "way": "fused pass on the CPU",
            "tensor_code_ratio": [round(value, 2) for value in ratios["tensor"]],
            "batch_clips": BATCH_CLIPS,
            "window_frames": WINDOW_FRAMES,
            "mean_frames": round(mean_frames, 1),
            "rounds": rounds,
            "threads": 1,
            "time": "CPU seconds of the thread, median and quartiles over rounds",
            "allocator": {name: value for name, value in ALLOCATOR.items() if name.startswith("MALLOC")},
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
