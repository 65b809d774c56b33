"""Northwestern-UCLA Multiview Action 3D: Kinect v1 recordings of 10 actions by 10 people from 3 views.

The usual release of its skeletons is one JSON file per recording, `aAA_sSS_eEE_vVV.json` after action, subject, episode
and view. Its key `skeletons` holds frames x 20 joints x (x, y, z), in metres in the camera's coordinates (y up, z away
from the camera). A joint at exactly (0, 0, 0) was not seen. Positions are stored as they are.

Protocol: `xview` trains on views 1 and 2 and tests on view 3. In the usual release, 95 recordings of the actions 2 and
3 are bit-identical in views 2 and 3; `marrow inspect` lists them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from marrow.errors import ParseError
from marrow.readers.base import SkipRecording, Split, faulty_record, some_files, split_by
from marrow.readers.number_lines import LARGEST, read_bytes
from marrow.readers.text_file import to_plain
from marrow.skeleton.layout import KINECT_V1_20, Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence

_NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)")
_ACTIONS = {
    1: "pick up with one hand",
    2: "pick up with two hands",
    3: "drop trash",
    4: "walk around",
    5: "sit down",
    6: "stand up",
    8: "donning",
    9: "doffing",
    11: "throw",
    12: "carry",
}
_LABELS = {action: label for label, action in enumerate(_ACTIONS)}
_VIEWS = (1, 2, 3)
_JOINT_COUNT = len(KINECT_V1_20.joints)


@dataclass(frozen=True)
class NWUCLA:
    """Reader of the JSON release of Northwestern-UCLA. It has no options."""

    name: ClassVar[str] = "nw_ucla"
    skeleton: ClassVar[Skeleton] = KINECT_V1_20
    classes: ClassVar[tuple[str, ...]] = tuple(_ACTIONS.values())
    splits: ClassVar[Mapping[str, Split]] = {"xview": split_by("view", (1, 2), (3,))}
    folds: ClassVar[Mapping[str, str]] = {"loso": "leave-one-out:subject"}
    fps: ClassVar[float] = 30.0

    def records(self, root: Path) -> Iterator[Record]:
        """List the `.json` files of a folder, by name."""
        wanted = "NW-UCLA recordings (aAA_sSS_eEE_vVV.json)"
        for file in some_files(root, root.glob("*.json"), wanted, "*.json"):
            match = _NAME.fullmatch(file.stem)
            action, subject, episode, view = map(int, match.groups()) if match else (0, 0, 0, 0)
            if action not in _LABELS or view not in _VIEWS:
                actions = ", ".join(f"{number:02d}" for number in _LABELS)
                problem = f"expected a name aAA_sSS_eEE_vVV.json with AA one of {actions} and VV 01 to 03"
                yield faulty_record(root, ParseError(file, 0, f"{problem}; got {file.name!r}"))
                continue
            attributes = {"action": action, "subject": subject, "episode": episode, "view": view}
            yield Record(id=file.stem, path=file.name, label=_LABELS[action], attributes=attributes)

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        """Read one recording."""
        if record.fault is not None:
            raise record.fault
        file = root / record.path
        text = _text_of(file)
        frames = _frames_of(file, text)
        joints = _to_array(frames)
        if joints is None:
            raise ParseError(file, *_first_fault(text, frames))
        present = (joints != 0).any(axis=-1)
        if not present.any():
            raise SkipRecording(f"nobody is seen in any of its {len(joints)} frames")
        return SkeletonSequence(
            joints=joints[None], present=present[None], fps=self.fps, skeleton=self.skeleton, record=record
        )


def _text_of(file: Path) -> str:
    content = to_plain(read_bytes(file))
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ParseError(file, line, f"expected JSON in UTF-8, got the byte {content[error.start]:#04x}") from error


def _frames_of(file: Path, text: str) -> list[Any]:
    """Return what stands under the key `skeletons`."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        got = "an empty file" if not text.strip() else f"{error.msg} (column {error.colno})"
        raise ParseError(file, error.lineno if text.strip() else 1, f"expected JSON, got {got}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets without end
        raise ParseError(
            file, 1, f"expected JSON with frames of joints, got what no recording holds: {error}"
        ) from error
    frames = document.get("skeletons") if isinstance(document, dict) else None
    if not isinstance(frames, list):
        raise ParseError(file, 1, 'expected a JSON object with a list of frames under "skeletons"')
    return frames


def _to_array(frames: list[Any]) -> np.ndarray | None:
    """Return float32 [frame, joint, 3], or None where the frames are not made of finite numbers in that shape."""
    if not frames:
        return np.zeros((0, _JOINT_COUNT, 3), np.float32)
    try:
        values = np.asarray(frames)
    except ValueError:  # rows of unequal length
        return None
    if values.dtype.kind not in "fi" or values.shape[1:] != (_JOINT_COUNT, 3):
        return None
    joints = values.astype(np.float64)
    # A position that is not a number compares as False.
    return joints.astype(np.float32) if (np.abs(joints) < LARGEST).all() else None


def _first_fault(text: str, frames: list[Any]) -> tuple[int, str]:
    """Say on which line, and where in the recording, the first frame goes wrong."""
    for frame, joints in enumerate(frames):
        got = f"{len(joints)} joints" if isinstance(joints, list) else type(joints).__name__
        if not isinstance(joints, list) or len(joints) != _JOINT_COUNT:
            return _line_of(text, frame, 0), f"expected {_JOINT_COUNT} joints in frame {frame + 1}, got {got}"
        for joint, position in enumerate(joints):
            if not _is_position(position):
                wanted = f"expected three finite numbers in metres for joint {joint + 1} of frame {frame + 1}"
                return _line_of(text, frame, joint), f"{wanted}, got {_shown(position)}"
    return 1, "expected frames of joints of three numbers"


def _is_position(position: Any) -> bool:
    return (
        isinstance(position, list)
        and len(position) == 3
        and all(type(value) in (int, float) and abs(value) < LARGEST for value in position)
    )


def _line_of(text: str, frame: int, joint: int) -> int:
    """Return the 1-based line on which a joint (or whatever stands in its place) begins, by counting commas."""
    frames_left, joints_left, depth = frame, joint, 0
    for at in range(max(text.find("[", text.rfind('"skeletons"')), 0), len(text)):
        character = text[at]
        if frames_left == 0 and joints_left == 0 and depth > 0 and not character.isspace():
            return 1 + text.count("\n", 0, at)
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 1:
            frames_left -= 1
        elif character == "," and depth == 2 and frames_left == 0:
            joints_left -= 1
    return 1


def _shown(position: Any) -> str:
    is_flat = not isinstance(position, list) or not any(isinstance(value, list | dict) for value in position)
    return str(position)[:80] if is_flat and not isinstance(position, dict) else f"{len(position)} nested values"
