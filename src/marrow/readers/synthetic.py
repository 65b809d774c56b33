"""Synthetic: labelled recordings of an articulated Kinect v2 body, made on the fly (see `marrow.synthetic.generator`).

There is no raw format and no file: a recording is computed from its record. Identifiers follow the habit of NTU RGB+D:
`S004C2R1A013` is subject 4, camera 2, repetition 1, action 13, all counted from 0; untrimmed recordings have no action.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from marrow.errors import ConfigError
from marrow.readers.base import Split, split_by
from marrow.skeleton.layout import KINECT_V2_25, Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.synthetic.actions import CLASSES
from marrow.synthetic.generator import CAMERAS, SyntheticConfig, make_clip, make_recording

SPLITS: Mapping[str, Split] = {
    # Every second subject is unseen.
    "xsub": Split(
        train=lambda record: int(record.attributes["subject"]) % 2 == 0,
        test=lambda record: int(record.attributes["subject"]) % 2 == 1,
    ),
    # The last camera is unseen.
    "xview": split_by("camera", range(len(CAMERAS) - 1)),
}


@dataclass(frozen=True)
class Synthetic:
    """Reader of recordings that nobody made.

    Args:
        subjects: how many people act; every second one is left to the test half of "xsub".
        repetitions: how often each of them does each action (trimmed) or is recorded (untrimmed).
        kind: clips of one action, or recordings of several with segments and idle time.
        seed: another seed, other people.
        noise: factor on the errors of the sensor; 0 reports true positions.
        dropouts: factor on how often joints and bodies are lost; 0 loses none.
    """

    subjects: int = 18
    repetitions: int = 1
    kind: Literal["trimmed", "untrimmed"] = "trimmed"
    seed: int = 0
    noise: float = 1.0
    dropouts: float = 1.0

    name: ClassVar[str] = "synthetic"
    skeleton: ClassVar[Skeleton] = KINECT_V2_25
    classes: ClassVar[tuple[str, ...]] = CLASSES
    splits: ClassVar[Mapping[str, Split]] = SPLITS

    def __post_init__(self) -> None:
        if self.subjects < 1 or self.repetitions < 1:
            raise ConfigError(
                f"synthetic subjects and repetitions must be at least 1, got {self.subjects} and {self.repetitions}"
            )
        if self.kind not in ("trimmed", "untrimmed"):
            raise ConfigError(f"synthetic kind must be 'trimmed' or 'untrimmed', got {self.kind!r}")

    def records(self, root: Path) -> Iterator[Record]:
        """List all recordings; the folder is not looked at."""
        for subject in range(self.subjects):
            for camera in range(len(CAMERAS)):
                for repetition in range(self.repetitions):
                    stem = f"S{subject:03d}C{camera}R{repetition}"
                    common = {"subject": subject, "camera": camera, "repetition": repetition}
                    if self.kind == "untrimmed":
                        yield Record(stem, attributes=common)
                        continue
                    for action in range(len(CLASSES)):
                        yield Record(f"{stem}A{action:03d}", label=action, attributes={**common, "action": action})

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        """Make one recording; the folder is not looked at."""
        config = SyntheticConfig(self.seed, self.noise, self.dropouts)
        return make_clip(config, record) if self.kind == "trimmed" else make_recording(config, record)
