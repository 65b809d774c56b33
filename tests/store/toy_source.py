"""A reader of made-up files for the tests of the store, and a program that prepares them (to be killed)."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from marrow.errors import ParseError
from marrow.readers.base import SkipRecording, Split
from marrow.skeleton.layout import KINECT_V1_20, Skeleton
from marrow.skeleton.sequence import Placement, Record, Segment, SkeletonSequence
from marrow.store import convert_recordings

# Environment variable with the number of the recording at which reading stops for ever.
STALLS_FROM = "TOY_STALLS_FROM"


@dataclass(frozen=True)
class Toy:
    """Files `N.toy` hold a seed, or "empty", or nonsense."""

    seconds_per_clip: float = 0.0
    scale: float = 1.0

    name: ClassVar[str] = "toy"
    skeleton: ClassVar[Skeleton] = KINECT_V1_20
    classes: ClassVar[tuple[str, ...]] = ("walk", "sit")
    splits: ClassVar[Mapping[str, Split]] = {
        "xsub": Split(train=lambda r: r.attributes["subject"] in (0, 1), test=lambda r: r.attributes["subject"] == 2)
    }

    def records(self, root: Path) -> Iterator[Record]:
        for file in sorted(root.glob("*.toy")):
            number = int(file.stem)
            yield Record(file.stem, file.name, number % 2, {"subject": number % 4, "place": f"room {number % 3}"})

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        time.sleep(1e6 if int(record.id) >= int(os.environ.get(STALLS_FROM, 10**9)) else self.seconds_per_clip)
        text = (root / record.path).read_text()
        if text == "empty":
            raise SkipRecording(f"{root / record.path}: nobody is seen")
        if not text.isdigit():
            raise ParseError(root / record.path, 1, f"expected a seed, got {text!r}")
        return make_sequence(int(text), record, self.scale)


def make_sequence(seed: int, record: Record, scale: float = 1.0) -> SkeletonSequence:
    random = np.random.default_rng(seed)
    bodies, frames = 1 + seed % 2, int(random.integers(2, 12))
    joints = scale * random.standard_normal((bodies, frames, 20, 3)).astype(np.float32)
    present = random.random((bodies, frames, 20)) > 0.1
    return SkeletonSequence(
        joints=np.where(present[..., None], joints, 0).astype(np.float32),
        present=present,
        fps=30.0,
        skeleton=KINECT_V1_20,
        record=record,
        segments=(Segment(0, 2, 1),),
        placement=Placement(np.eye(3)[[1, 2, 0]], random.standard_normal(3), 2.0),
    )


def write_files(root: Path, count: int) -> None:
    root.mkdir()
    for number in range(count):
        (root / f"{number:03d}.toy").write_text(str(number))


if __name__ == "__main__":
    source, out, jobs, seconds = sys.argv[1:]
    # A test run that was started in the background ignores Ctrl-C, and so would everything below it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        convert_recordings(Toy(float(seconds)), source, out, jobs=int(jobs), shard_clips=2)
    except KeyboardInterrupt:
        print("interrupted")
        sys.exit(130)
