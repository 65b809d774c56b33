"""Penn Action: 15 kinds of sport and exercise in videos, 13 joints of one person marked by hand, in two dimensions.

The release has a file of MATLAB per video, `labels/NNNN.mat`, with `x` and `y` (frames x 13, pixels, y down),
`visibility` (1 where a joint can be seen), `action`, `train` (1 or -1) and `pose`, the side from which the person is
filmed. Joints are in the order of `PENN_13`; left and right are kept as the files call them, which seems to be as the
viewer sees them. The files do not say their rate; 30 frames per second are nominal.

What is read has y up. An image has no metres: a pixel is taken for 8 mm, by which the median person is as large as an
adult; single ones are several times smaller or larger, as they are in the images. `placement` leads back to pixels.
The middles of hips and of shoulders are derived. A joint that cannot be seen is absent: where annotators guessed it,
its position is written, and 4 of 10 such joints stand in the corner of the image.

Label, viewpoint and part stand in the files, so that listing opens them. Protocol: `official`, 1,258 videos to train
on and 1,068 to test on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float64

from marrow.errors import ParseError
from marrow.readers.base import SkipRecording, Split, faulty_record, some_files, split_by
from marrow.readers.mat_file import read_mat
from marrow.readers.number_lines import LARGEST
from marrow.skeleton.derived import derive, room_for, with_middles
from marrow.skeleton.estimators import PENN_13
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import Placement, Record, SkeletonSequence

_CLASSES = (
    "baseball_pitch",
    "baseball_swing",
    "bench_press",
    "bowl",
    "clean_and_jerk",
    "golf_swing",
    "jump_rope",
    "jumping_jacks",
    "pullup",
    "pushup",
    "situp",
    "squat",
    "strum_guitar",
    "tennis_forehand",
    "tennis_serve",
)
_LABELS = {action: label for label, action in enumerate(_CLASSES)}
_VARIABLES = {"x", "y", "visibility", "action", "train"}
_PARTS = {1.0: "train", -1.0: "test"}
_METRES_PER_PIXEL = 0.008


@dataclass(frozen=True)
class PennVideo:
    """What a file says.

    Args:
        positions: x and y in pixels, y down; whatever was written where a joint cannot be seen.
        visible: which joints can be seen.
        action: the name of its class.
        part: "train" or "test".
        viewpoint: "front", "back", "left" or "right"; "" where the file does not say.
    """

    positions: Float64[np.ndarray, "frame joint 2"]
    visible: Bool[np.ndarray, "frame joint"]
    action: str
    part: str
    viewpoint: str


@dataclass(frozen=True)
class PennAction:
    """Reader of Penn Action.

    Args:
        unseen_as_written: take joints that cannot be seen for seen, at the positions that the files have for them.
    """

    unseen_as_written: bool = False

    name: ClassVar[str] = "penn_action"
    skeleton: ClassVar[Skeleton] = replace(with_middles(PENN_13), dimensions=2)
    classes: ClassVar[tuple[str, ...]] = _CLASSES
    splits: ClassVar[Mapping[str, Split]] = {"official": split_by("part", ("train",), ("test",))}
    fps: ClassVar[float] = 30.0

    def records(self, root: Path) -> Iterator[Record]:
        """List the `.mat` files of a folder, or of the folder `labels` in it, by name."""
        wanted = "the labels of Penn Action (NNNN.mat)"
        for file in some_files(root, [*root.glob("*.mat"), *root.glob("labels/*.mat")], wanted, "*.mat"):
            try:
                video = read_video(file)
                if video.action not in _LABELS:
                    raise ParseError(file, 0, f"expected one of {', '.join(_CLASSES)} for action, got {video.action!r}")
            except ParseError as fault:
                yield faulty_record(root, fault)
                continue
            about = {"part": video.part, "viewpoint": video.viewpoint}
            yield Record(file.stem, file.relative_to(root).as_posix(), _LABELS[video.action], about)

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        """Read one recording."""
        if record.fault is not None:
            raise record.fault
        video = read_video(root / record.path)
        present = video.visible
        if self.unseen_as_written:
            present = present | (np.abs(video.positions) <= LARGEST).all(axis=-1)
        if not present.any():
            raise SkipRecording(f"no joint is visible in any of its {len(present)} frames")
        flat = np.where(present[..., None], video.positions, 0) * (_METRES_PER_PIXEL, -_METRES_PER_PIXEL)
        joints = np.concatenate([flat, np.zeros_like(flat[..., :1])], axis=-1).astype(np.float32)
        joints, present = derive(*room_for(joints[None], present[None], self.skeleton), self.skeleton.derived)
        return SkeletonSequence(
            joints=joints,
            present=present,
            fps=self.fps,
            skeleton=self.skeleton,
            record=record,
            placement=Placement(np.diag([1.0, -1.0, -1.0]), scale=1 / _METRES_PER_PIXEL),
        )


def read_video(path: Path) -> PennVideo:
    """Read a file.

    Raises:
        ParseError: it is none of Penn Action, or damaged.
    """
    variables, _ = read_mat(path)
    missing = sorted(_VARIABLES - variables.keys())
    if missing:
        raise ParseError(path, 0, f"expected x, y, visibility, action and train, got no {', '.join(missing)}")
    return video_of(path, variables)


def is_penn_action(variables: Mapping[str, Any]) -> bool:
    """Tell by its variables whether a file is one of Penn Action."""
    return variables.keys() >= _VARIABLES


def video_of(path: Path, variables: Mapping[str, Any]) -> PennVideo:
    """Return what the variables of a file say.

    Raises:
        ParseError: they are not as those of Penn Action.
    """
    x, y, visibility = (variables[name] for name in ("x", "y", "visibility"))
    joints = PENN_13.joints
    shapes = [getattr(values, "shape", ()) for values in (x, y, visibility)]
    if len(shapes[0]) != 2 or shapes[0][1] != len(joints) or len(set(shapes)) != 1 or not shapes[0][0]:
        got = ", ".join(" × ".join(map(str, shape)) or "words" for shape in shapes)
        raise ParseError(path, 0, f"expected x, y and visibility to be frames × {len(joints)}, got {got}")
    action, train, pose = variables["action"], variables["train"], variables.get("pose")
    if not isinstance(action, list) or len(action) != 1:
        raise ParseError(path, 0, "expected action to be the name of a class, got something else")
    part = _PARTS.get(float(train.ravel()[0])) if getattr(train, "size", 0) == 1 else None
    if part is None:
        raise ParseError(path, 0, "expected train to be 1 or -1, got something else")
    positions = np.stack([x, y], axis=-1).astype(np.float64)
    visible = visibility != 0
    wrong = visible & ~(np.abs(positions) <= LARGEST).all(axis=-1)  # a position that is not a number is wrong, too
    if wrong.any():
        frame, joint = (int(index) for index in np.argwhere(wrong)[0])
        shown = ", ".join(f"{value:g}" for value in positions[frame, joint])
        where = f"frame {frame + 1}, {joints[joint]}"
        raise ParseError(path, 0, f"{where}: expected positions below {LARGEST:,.0f}, got ({shown})")
    viewpoint = pose[0] if isinstance(pose, list) and len(pose) == 1 else ""
    return PennVideo(positions, visible, action[0], part, viewpoint)
