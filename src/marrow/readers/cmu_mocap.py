"""CMU motion capture as text: joint angles of 8 actions at 120 frames per second, as motion prediction is measured on.

The files are `train|test/ACTION/ACTION_N.txt`; those of `walking_extra/` are called `walking_N.txt`, and are of the
class walking. Each line is a frame of 117 numbers with commas between: where the hips are, then the exponential maps of
38 joints, the first of which turns the hips. Lengths are in units of 1/0.45 inch, 0.056444 m. Positions follow by
forward kinematics (`readers/kinematics.py`), in metres, y up; in the rest pose the body faces +z, its left is at +x.

The first line of each file is the rest pose that the conversion to BVH puts before a recording. It is left out. The
conversion also leaves single frames in which the hips flip; they are read as they are and counted, where the hips
turn by more than 10 degrees from one frame to the next (1200 degrees per second; in good recordings below 9).

Protocol: `prediction` trains and tests on the folders of these names, `walking_extra` included; leave that out by
`action!=walking_extra`. Prediction of posture alone sets position and turn of the hips to zero (`zero_root`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from marrow.errors import ConfigError, ParseError
from marrow.readers.base import SkipRecording, Split, faulty_record, some_files, split_by
from marrow.readers.kinematics import expm, positions
from marrow.readers.number_lines import read_rows
from marrow.skeleton.layout import CMU_38, Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence

# Where each joint lies from its parent in the rest pose, in the units of the files.
_OFFSETS = {
    "LeftUpLeg": (1.65674, -1.80282, 0.62477),
    "LeftLeg": (2.5972, -7.13576, 0),
    "LeftFoot": (2.49236, -6.8477, 0),
    "LeftToeBase": (0.19704, -0.54136, 2.14581),
    "LeftToeBase_end": (0, 0, 1.11249),
    "RightUpLeg": (-1.6107, -1.80282, 0.62476),
    "RightLeg": (-2.59502, -7.12977, 0),
    "RightFoot": (-2.4678, -6.78024, 0),
    "RightToeBase": (-0.23024, -0.63258, 2.13368),
    "RightToeBase_end": (0, 0, 1.11569),
    "Spine": (0.01961, 2.0545, -0.14112),
    "Spine1": (0.01021, 2.06436, -0.05921),
    "Neck1": (0.00713, 1.56711, 0.14968),
    "Head": (0.03429, 1.56041, -0.10006),
    "Head_end": (0.01305, 1.6256, -0.05265),
    "LeftArm": (3.54205, 0.90436, -0.17364),
    "LeftForeArm": (4.86513, 0, 0),
    "LeftHand": (3.35554, 0, 0),
    "LeftHandIndex1": (0.66117, 0, 0),
    "LeftHandIndex1_end": (0.53306, 0, 0),
    "LThumb_end": (0.5412, 0, 0.5412),
    "RightArm": (-3.49802, 0.75994, -0.32616),
    "RightForeArm": (-5.02649, 0, 0),
    "RightHand": (-3.36431, 0, 0),
    "RightHandIndex1": (-0.73041, 0, 0),
    "RightHandIndex1_end": (-0.58887, 0, 0),
    "RThumb_end": (-0.59786, 0, 0.59786),
}
UNIT_M = 0.056444
OFFSETS_M = UNIT_M * np.array([_OFFSETS.get(joint, (0, 0, 0)) for joint in CMU_38.joints], np.float64)

_CLASSES = (
    "basketball",
    "basketball_signal",
    "directing_traffic",
    "jumping",
    "running",
    "soccer",
    "walking",
    "washwindow",
)
_EXTRA = "walking_extra"
_HALVES = ("train", "test")
_NAME = re.compile(r"([a-z_]+)_(\d{1,6})", re.ASCII)
_COLUMNS = 117
_FRAMES_PER_SECOND = 120.0
_FLIP_DEGREES = 10.0

# Reasons and notes are the same words for every recording, so that they can be counted.
_REST_POSE = "the first line was left out: it is the rest pose of the conversion to BVH"
_FLIPPED = f"the hips turn by more than {_FLIP_DEGREES:g} degrees from one frame to the next"


@dataclass(frozen=True)
class CMUMocap:
    """Reader of the exponential maps of the CMU motion prediction benchmark.

    Args:
        zero_root: leave out where the hips are and how they are turned, as motion prediction does.
        stride: keep every so many frames; 4 makes 30 frames per second of 120.
    """

    zero_root: bool = False
    stride: int = 1

    name: ClassVar[str] = "cmu_mocap"
    skeleton: ClassVar[Skeleton] = CMU_38
    classes: ClassVar[tuple[str, ...]] = tuple(name.replace("_", " ") for name in _CLASSES)
    splits: ClassVar[Mapping[str, Split]] = {"prediction": split_by("half", ("train",), ("test",))}

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ConfigError(f"cmu_mocap stride must be at least 1, got {self.stride}")

    def records(self, root: Path) -> Iterator[Record]:
        """List the files {train,test}/{action}/{action}_{number}.txt below a folder, by half, action and number."""
        files = (file for half in _HALVES for file in root.glob(f"{half}/*/*.txt"))
        wanted = "CMU recordings (train/walking/walking_1.txt, ...)"
        files = some_files(root, files, wanted, "train/*/*.txt or test/*/*.txt")
        records = [_record(root, file) for file in files]
        yield from sorted(
            records,
            key=lambda record: (record.fault is None, *map(record.attributes.get, ("half", "action", "take"))),
        )

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        """Read one recording."""
        if record.fault is not None:
            raise record.fault
        values, notes = read_rows(root / record.path, _COLUMNS, separator=b",")
        values = values[1:]
        if not len(values):
            raise SkipRecording("there is no frame but the rest pose")
        angles = values[:, 3:].reshape(-1, len(self.skeleton.joints), 3)
        turn = expm(angles[:, 0])
        path, matrices = (None, None) if self.zero_root else (UNIT_M * values[:, :3], turn)
        joints = positions(angles, OFFSETS_M, self.skeleton.parents, path, matrices)[:: self.stride]
        flips = 0 if self.zero_root else int((_turned_degrees(turn) > _FLIP_DEGREES).sum())
        return SkeletonSequence(
            joints=joints.astype(np.float32)[None],
            present=np.ones((1, *joints.shape[:2]), np.bool_),
            fps=_FRAMES_PER_SECOND / self.stride,
            skeleton=self.skeleton,
            record=record,
            notes=(*notes, _REST_POSE, *[_FLIPPED] * flips),
        )


def _turned_degrees(turn: Float64[np.ndarray, "frame 3 3"]) -> Float64[np.ndarray, " step"]:
    """Return by how much each frame is turned against the one before it."""
    # The trace of the matrix that leads from one to the other is 1 + 2 cos(angle).
    trace = (turn[1:] * turn[:-1]).sum(axis=(1, 2))
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def _record(root: Path, file: Path) -> Record:
    half, action = file.parent.parent.name, file.parent.name
    name = "walking" if action == _EXTRA else action
    match = _NAME.fullmatch(file.stem)
    if name not in _CLASSES or match is None or match[1] != name:
        problem = (
            f"expected a name ACTION/ACTION_N.txt with one of the actions {', '.join(_CLASSES)}, or "
            f"{_EXTRA}/walking_N.txt; got {action}/{file.name}"
        )
        return faulty_record(root, ParseError(file, 0, problem))
    return Record(
        id=f"{half}_{action}_{match[2]}",
        path=file.relative_to(root).as_posix(),
        label=_CLASSES.index(name),
        attributes={"half": half, "action": action, "take": int(match[2])},
    )
