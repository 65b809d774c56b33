"""Human3.6M as text: joint angles of 15 actions by 7 people, recorded by motion capture at 50 frames per second.

The files are those that motion prediction is measured on: `S{1,5,6,7,8,9,11}/{action}_{1,2}.txt` after subject, action
and take. Each line is a frame of 99 numbers with commas between: a translation of the hips in millimetres, then the
exponential maps of 32 joints, the first of which turns the hips. Positions follow by forward kinematics
(`readers/kinematics.py`), in metres, y up in the rest pose.

Translation and turn of the hips say how they went since the frame before. Prediction sets both to zero (`zero_root`),
so that only posture is left; otherwise the path is followed from the origin on.

Protocol: `prediction` trains on subjects 1, 6, 7, 8 and 9 and tests on 5; subject 11 is left for validation and is in
neither half. It models the 22 joints of `PREDICTED_JOINTS`: the other ten stay where they are, or on another joint.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from marrow.errors import ConfigError, ParseError
from marrow.readers.base import Split, faulty_record, some_files, split_by
from marrow.readers.kinematics import expm, positions
from marrow.readers.number_lines import read_rows
from marrow.skeleton.layout import H36M_32, Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence

PREDICTED_JOINTS = (2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15, 17, 18, 19, 21, 22, 25, 26, 27, 29, 30)

_SUBJECTS = (1, 5, 6, 7, 8, 9, 11)
# The name in the files, and what it is.
_ACTIONS = {
    "walking": "walking",
    "eating": "eating",
    "smoking": "smoking",
    "discussion": "discussion",
    "directions": "directions",
    "greeting": "greeting",
    "phoning": "phoning",
    "posing": "posing",
    "purchases": "purchases",
    "sitting": "sitting",
    "sittingdown": "sitting down",
    "takingphoto": "taking photo",
    "waiting": "waiting",
    "walkingdog": "walking dog",
    "walkingtogether": "walking together",
}
# Where each joint lies from its parent in the rest pose, in millimetres.
_OFFSETS_MM = {
    "HipRight": (-132.948591, 0, 0),
    "KneeRight": (0, -442.894612, 0),
    "AnkleRight": (0, -454.206447, 0),
    "FootRight": (0, 0, 162.767078),
    "ToeRight": (0, 0, 74.999437),
    "HipLeft": (132.948826, 0, 0),
    "KneeLeft": (0, -442.894413, 0),
    "AnkleLeft": (0, -454.206590, 0),
    "FootLeft": (0, 0, 162.767426),
    "ToeLeft": (0, 0, 74.999948),
    "SpineBase": (0, 0.1, 0),
    "SpineMid": (0, 233.383263, 0),
    "Neck": (0, 257.077681, 0),
    "Head": (0, 121.134938, 0),
    "HeadTop": (0, 115.002227, 0),
    "CollarLeft": (0, 257.077681, 0),
    "ShoulderLeft": (0, 151.034226, 0),
    "ElbowLeft": (0, 278.882773, 0),
    "WristLeft": (0, 251.733451, 0),
    "ThumbLeft": (0, 0, 99.999627),
    "HandLeft": (0, 100.000188, 0),
    "CollarRight": (0, 257.077681, 0),
    "ShoulderRight": (0, 151.031437, 0),
    "ElbowRight": (0, 278.892924, 0),
    "WristRight": (0, 251.728680, 0),
    "ThumbRight": (0, 0, 99.999888),
    "HandRight": (0, 137.499922, 0),
}
OFFSETS_M = 0.001 * np.array([_OFFSETS_MM.get(joint, (0, 0, 0)) for joint in H36M_32.joints], np.float64)
_LABELS = {action: label for label, action in enumerate(_ACTIONS)}
_FOLDER = re.compile(r"S\d+")
_NAME = re.compile(r"([a-z]+)_([12])")
_COLUMNS = 99
_FRAMES_PER_SECOND = 50.0


@dataclass(frozen=True)
class H36M:
    """Reader of the exponential maps of Human3.6M.

    Args:
        zero_root: leave out where the hips are and how they are turned, as motion prediction does.
        stride: keep every so many frames; 2 makes 25 frames per second of 50.
    """

    zero_root: bool = True
    stride: int = 2

    name: ClassVar[str] = "h36m"
    skeleton: ClassVar[Skeleton] = H36M_32
    classes: ClassVar[tuple[str, ...]] = tuple(_ACTIONS.values())
    splits: ClassVar[Mapping[str, Split]] = {"prediction": split_by("subject", (1, 6, 7, 8, 9), (5,))}

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ConfigError(f"h36m stride must be at least 1, got {self.stride}")

    def records(self, root: Path) -> Iterator[Record]:
        """List the files S{subject}/{action}_{take}.txt, at any depth below a folder."""
        files = (file for file in root.rglob("*.txt") if _FOLDER.fullmatch(file.parent.name))
        files = some_files(root, files, "Human3.6M as text (S1/walking_1.txt, ...)", "S*/*.txt")
        records = [_record(root, file) for file in files]
        yield from sorted(records, key=lambda record: (record.attributes.get("subject", 0), record.id))

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        """Read one recording."""
        if record.fault is not None:
            raise record.fault
        values, notes = read_rows(root / record.path, _COLUMNS, separator=b",")
        angles = values[:, 3:].reshape(-1, len(self.skeleton.joints), 3)
        path, turn = (None, None) if self.zero_root else follow_root(values[:, :6])
        joints = positions(angles, OFFSETS_M, self.skeleton.parents, path, turn)[:: self.stride].astype(np.float32)[
            None
        ]
        return SkeletonSequence(
            joints=joints,
            present=np.ones(joints.shape[:3], np.bool_),
            fps=_FRAMES_PER_SECOND / self.stride,
            skeleton=self.skeleton,
            record=record,
            notes=notes,
        )


def _record(root: Path, file: Path) -> Record:
    subject = int(file.parent.name[1:])
    match = _NAME.fullmatch(file.stem)
    if subject not in _SUBJECTS or match is None or match[1] not in _LABELS:
        subjects = ", ".join(f"S{number}" for number in _SUBJECTS)
        problem = (
            f"expected a name S*/ACTION_TAKE.txt with one of {subjects}, TAKE 1 or 2 and one of the actions "
            f"{', '.join(_LABELS)}; got {file.parent.name}/{file.name}"
        )
        return faulty_record(root, ParseError(file, 0, problem))
    return Record(
        id=f"S{subject}_{file.stem}",
        path=file.relative_to(root).as_posix(),
        label=_LABELS[match[1]],
        attributes={"subject": subject, "action": match[1], "take": int(match[2])},
    )


def follow_root(
    steps: Float64[np.ndarray, "frame 6"],
) -> tuple[Float64[np.ndarray, "frame 3"], Float64[np.ndarray, "frame 3 3"]]:
    """Return the path of the hips (metres) and their matrices.

    The files hold, for every frame, how far the hips went and how they turned since the frame before, as seen from
    there: translation in millimetres and exponential map. The path begins at the origin, unturned.
    """
    turns = expm(steps[:, 3:])
    path = np.zeros((len(steps), 3))
    matrices = np.zeros((len(steps), 3, 3))
    place, matrix = np.zeros(3), np.eye(3)
    for frame, (step, turn) in enumerate(zip(0.001 * steps[:, :3], turns, strict=True)):
        place = place + step @ matrix
        matrix = turn @ matrix
        path[frame], matrices[frame] = place, matrix
    return path, matrices
