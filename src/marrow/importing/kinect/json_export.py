"""JSON of Kinect recordings: frames of bodies, in the ways that people's programs write them.

- Northwestern-UCLA: {"skeletons": frames x 20 joints x (x, y, z)} in metres, one body; a joint at zero was not seen.
- Azure Kinect's offline_processor: {"frames": [{"bodies": [{"body_id", "joint_positions": [[x, y, z], ...]}],
  "timestamp_usec"}], "joint_names", "bone_list"}, in millimetres, y down.
- Exports of Kinect v2 and of its kin: frames (a list, or under "frames") whose bodies (under "bodies", "Bodies" or
  "skeletons") have "joints": an object by name, or a list of {"JointType", "Position": {"X", "Y", "Z"},
  "TrackingState"}. A joint that is not tracked is absent.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from marrow.errors import ParseError
from marrow.importing.estimators.frame_numbers import stamp
from marrow.importing.estimators.keypoints import identity, tree_of
from marrow.importing.estimators.people import Detections, to_recording
from marrow.importing.recording import ClipEntry, Contents, Doubt, Head, ReadOptions, Recording, Source, one_by_one
from marrow.readers.base import SkipRecording
from marrow.readers.text_file import read_json
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25, Skeleton

# How Northwestern-UCLA calls its files: action, subject, episode, view.
_NAME = re.compile(r"(a\d\d)_s(\d\d)_e(\d\d)_v(\d\d)")
_LARGEST = 1e6
_FPS = 30.0
_MAX_JOINTS = 1000
# Half an hour of a body; as Python's objects ten times as much.
_MAX_BYTES = 1 << 27
_MAX_ROWS = 5_000_000
_UCLA = re.compile(r'"skeletons"\s*:\s*\[\s*\[\s*\[')
_AZURE = re.compile(r'"(joint_positions|body_id|joint_names|bone_list)"')
_EXPORT = re.compile(r'"[Jj]oints"\s*:\s*[\[{]')
_STATE = re.compile(r'"(TrackingState|trackingState|tracking_state|JointType|jointType|joint_type)"')
_NOT_TRACKED = (0, "0", "nottracked", "not_tracked", "untracked", "none")


class KinectJson:
    """JSON of Kinect recordings."""

    name: ClassVar[str] = "kinect_json"
    title: ClassVar[str] = "Kinect JSON (NW-UCLA, Azure Kinect, Kinect v2 exports)"

    def accepts(self, head: Head) -> bool:
        """Tell by words that only Kinect's exports have, beside frames of bodies."""
        text = head.text
        if text is None or text.lstrip()[:1] not in ("{", "["):
            return False
        if _UCLA.search(text):
            return True
        is_azure = len(set(_AZURE.findall(text))) >= 2 or '"joint_positions"' in text
        return is_azure or (_EXPORT.search(text) is not None and _STATE.search(text) is not None)

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Return each file as a source of its own."""
        return one_by_one(files)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say which of the ways it is written in; it is read for that.

        Raises:
            ParseError: it is no such JSON.
            SkipRecording: nobody is seen.
        """
        scene = _scene_of(source)
        return Contents(
            clips=(_entry(source),),
            joint_count=len(scene.joints) if scene.joints else scene.positions.shape[1],
            joints=scene.joints,
            parents=scene.parents,
            layout=scene.layout,
            fps=scene.fps,
            fps_of_format=scene.fps_of_format,
            unit_metres=scene.unit_metres,
            up=scene.up,
            software=scene.software,
            doubts=scene.doubts,
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read the bodies of a recording.

        Raises:
            ParseError: it is no such JSON.
            SkipRecording: nobody is seen.
        """
        scene = _scene_of(source)
        people = Detections(scene.frames, scene.positions, scene.confidence, scene.ids, scene.frame_count)
        return to_recording(source.path, people, fps=scene.fps, follow=options.follow)


def _entry(source: Source) -> ClipEntry:
    match = _NAME.fullmatch(source.path.stem)
    if match is None:
        return ClipEntry()
    about = zip(("subject", "episode", "view"), map(int, match.groups()[1:]), strict=True)
    return ClipEntry(label=match[1], attributes=dict(about))


@dataclass(frozen=True, eq=False)
class _Scene:
    """Bodies by frame, as `Detections`, and what is known of their joints."""

    frames: np.ndarray
    positions: np.ndarray
    ids: tuple[int | str | None, ...] | None
    frame_count: int
    joints: tuple[str, ...] | None
    layout: Skeleton | None = None
    parents: tuple[int, ...] | None = None
    confidence: np.ndarray | None = None
    fps: float | None = None
    fps_of_format: bool = False
    unit_metres: float | None = None
    up: Literal["y", "-y"] | None = None
    software: str = ""
    doubts: tuple[Doubt, ...] = ()


def _scene_of(source: Source) -> _Scene:
    return _cached_scene(source.path, *stamp(source.path))


@lru_cache(maxsize=1)
def _cached_scene(path: Path, _changed: int, size: int) -> _Scene:
    if size > _MAX_BYTES:
        raise ParseError(path, 0, f"expected at most {_MAX_BYTES:,} bytes of one recording, got {size:,}")
    document = read_json(path)
    if isinstance(document, dict) and isinstance(document.get("skeletons"), list):
        frames = document["skeletons"]
        if not frames or isinstance(frames[0], list):
            return _ucla(path, frames)
    frames = document
    if isinstance(document, dict):
        lists = [document.get(name) for name in ("frames", "Frames", "skeletons", "data")]
        frames = next((found for found in lists if isinstance(found, list)), None)
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise ParseError(path, 0, 'expected a list of "frames" with the bodies in each')
    bodies = [(number, body) for number, frame in enumerate(frames) for body in _bodies(path, number, frame)]
    if not bodies:
        raise SkipRecording(f"nobody is seen in any of its {len(frames)} frames")
    if len(bodies) > _MAX_ROWS:
        raise ParseError(path, 0, f"expected at most {_MAX_ROWS:,} bodies in all frames, got {len(bodies):,}")
    about = document if isinstance(document, dict) else {}
    if any("joint_positions" in body for _, body in bodies):
        return _azure(path, about, frames, bodies)
    return _export(path, frames, bodies)


def _ucla(path: Path, frames: list[Any]) -> _Scene:
    if not frames:
        raise SkipRecording("it has no frame")
    positions = _numbers(path, frames, [f"frame {number + 1}" for number in range(len(frames))])
    positions[(positions == 0).all(axis=-1)] = np.nan
    layout = next((known for known in (KINECT_V1_20, KINECT_V2_25) if len(known.joints) == positions.shape[1]), None)
    return _Scene(
        frames=np.arange(len(frames)),
        positions=positions,
        ids=(0,) * len(frames),
        frame_count=len(frames),
        joints=layout.joints if layout else None,
        layout=layout,
        fps=_FPS,
        fps_of_format=True,
        unit_metres=1.0,
        up="y",
        software="Kinect",
    )


def _azure(path: Path, about: Mapping[str, Any], frames: list[Any], bodies: list[tuple[int, Any]]) -> _Scene:
    places = [f"a body of frame {number + 1}" for number, _ in bodies]
    positions = _numbers(path, [body.get("joint_positions") for _, body in bodies], places)
    names = about.get("joint_names")
    joints: tuple[str, ...] | None = None
    if names is not None:
        is_right = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
        if not is_right or len(set(names)) != len(names) or len(names) != positions.shape[1]:
            raise ParseError(path, 0, f'expected "joint_names" of {positions.shape[1]} joints, each once')
        joints = tuple(names)
    times = [frame.get("timestamp_usec") for frame in frames]
    return _Scene(
        frames=np.array([number for number, _ in bodies], np.int64),
        positions=positions,
        ids=_ids(bodies),
        frame_count=len(frames),
        joints=joints,
        parents=_azure_parents(about.get("bone_list"), joints),
        fps=_rate(times),
        unit_metres=0.001,
        up="-y",
        software="Azure Kinect",
    )


def _azure_parents(bones: Any, joints: tuple[str, ...] | None) -> tuple[int, ...] | None:
    if joints is None or not isinstance(bones, list):
        return None
    places = {joint: place for place, joint in enumerate(joints)}
    links = []
    for bone in bones:
        if not isinstance(bone, list) or len(bone) != 2 or not all(isinstance(end, str) for end in bone):
            return None
        if not all(end in places for end in bone):
            return None
        links.append((places[bone[0]], places[bone[1]]))
    return tree_of(len(joints), links)


def _rate(times: Sequence[Any]) -> float | None:
    """Return frames per second by times in microseconds."""
    if len(times) < 2 or not all(type(time) in (int, float) and abs(time) < 1e18 for time in times):
        return None
    step = float(np.median(np.diff(np.array(times, np.float64))))
    return 1e6 / step if step > 0 else None


def _export(path: Path, frames: list[Any], bodies: list[tuple[int, Any]]) -> _Scene:
    found = [_joints_of(path, number, body) for number, body in bodies]
    names = _order(list(dict.fromkeys(name for joints in found for name in joints)))
    if len(names) > _MAX_JOINTS:
        raise ParseError(path, 0, f"expected at most {_MAX_JOINTS} joints, got {len(names):,}")
    place = {name: at for at, name in enumerate(names)}
    positions = np.full((len(found), len(names), 3), np.nan, np.float32)
    for row, joints in enumerate(found):
        for name, position in joints.items():
            if position is not None:
                positions[row, place[name]] = position
    is_v2 = tuple(names) == KINECT_V2_25.joints
    is_v1 = tuple(names) == KINECT_V1_20.joints
    layout = KINECT_V2_25 if is_v2 else KINECT_V1_20 if is_v1 else None
    known = layout is not None
    doubts = (Doubt("camera space of Kinect is in metres, y up", "--unit_metres SIZE"),) if known else ()
    return _Scene(
        frames=np.array([number for number, _ in bodies], np.int64),
        positions=positions,
        ids=_ids(bodies),
        frame_count=len(frames),
        joints=tuple(names),
        layout=layout,
        fps=_FPS if known else None,
        fps_of_format=known,
        unit_metres=1.0 if known else None,
        up="y" if known else None,
        software="Kinect",
        doubts=doubts,
    )


def _order(names: list[str]) -> list[str]:
    """Return names in the order of a layout of Kinect where they are its joints, else as they come."""
    for layout in (KINECT_V2_25, KINECT_V1_20):
        if set(names) == set(layout.joints):
            return list(layout.joints)
    return names


def _bodies(path: Path, number: int, frame: Mapping[str, Any]) -> list[Any]:
    named = [frame.get(name) for name in ("bodies", "Bodies", "skeletons", "Skeletons", "people")]
    bodies = next((found for found in named if found is not None), None)
    if bodies is None and ("joints" in frame or "Joints" in frame):
        bodies = [frame]
    if isinstance(bodies, dict):  # by their id
        bodies = [{"id": who, **body} if isinstance(body, dict) else body for who, body in bodies.items()]
    if bodies is None:
        bodies = []
    if not isinstance(bodies, list):
        raise ParseError(path, 0, f"expected a list of bodies in frame {number + 1}")
    kept = []
    for body in bodies:
        if not isinstance(body, dict):
            if body is None:
                continue
            raise ParseError(path, 0, f"expected bodies that are objects in frame {number + 1}")
        tracked = _first(body, "tracked", "IsTracked", "isTracked")
        if tracked is not False:
            kept.append(body)
    return kept


def _first(thing: Mapping[str, Any], *names: str) -> Any:
    return next((thing[name] for name in names if name in thing), None)


def _ids(bodies: Sequence[tuple[int, Any]]) -> tuple[int | str | None, ...] | None:
    names = ("body_id", "bodyId", "id", "Id", "ID", "TrackingId", "trackingId", "tracking_id", "bodyIndex")
    ids = tuple(identity(_first(body, *names)) for _, body in bodies)
    return None if all(who is None for who in ids) else ids


def _joints_of(path: Path, number: int, body: Mapping[str, Any]) -> dict[str, list[Any] | None]:
    """Return the position of each joint by its name; None of one that is not tracked."""
    joints = _first(body, "joints", "Joints")
    where = f"a body of frame {number + 1}"
    if isinstance(joints, list):
        named = [(_name(joint, at, len(joints)), joint) for at, joint in enumerate(joints)]
    elif isinstance(joints, dict):
        named = [
            (_name(joint, name, len(joints)) if name.isdecimal() else name, joint) for name, joint in joints.items()
        ]
    else:
        raise ParseError(path, 0, f'expected "joints" of {where}, an object by name or a list')
    found: dict[str, list[Any] | None] = {}
    for name, joint in named:
        if name in found:
            raise ParseError(path, 0, f"expected each joint of {where} once, got {name[:40]!r} again")
        found[name] = _position(path, f"{name[:40]!r} in {where}", joint)
    return found


def _name(joint: Any, otherwise: int | str, count: int) -> str:
    """Return a joint's name, where it is a number by the layout of the first Kinect (20 joints) or the second."""
    name = _first(joint, "JointType", "jointType", "joint_type", "name", "Name") if isinstance(joint, dict) else None
    name = otherwise if name is None else name
    names = (KINECT_V1_20 if count == len(KINECT_V1_20.joints) else KINECT_V2_25).joints
    if not isinstance(name, bool) and str(name).isdecimal() and len(str(name)) < 4 and int(name) < len(names):
        return names[int(name)]
    return str(name)[:100]


def _position(path: Path, where: str, joint: Any) -> list[Any] | None:
    if joint is None:
        return None
    if isinstance(joint, dict):
        state = _first(joint, "TrackingState", "trackingState", "tracking_state")
        if isinstance(state, str):
            state = state.lower()
        if not isinstance(state, bool) and isinstance(state, int | str) and state in _NOT_TRACKED:
            return None
        place = _first(joint, "Position", "position", "CameraSpacePoint", "cameraSpacePoint")
        place = joint if place is None else place
        numbers = [_first(place, axis, axis.upper()) for axis in "xyz"] if isinstance(place, dict) else place
    else:
        numbers = joint
    if isinstance(numbers, list) and len(numbers) == 3:
        if all(value is None or value != value for value in numbers):
            return None
        if all(type(value) in (int, float) and abs(value) < _LARGEST for value in numbers):
            return numbers
    raise ParseError(path, 0, f"expected x, y and z below a million of the joint {where}, got {str(joint)[:80]!r}")


def _numbers(path: Path, rows: Sequence[Any], places: Sequence[str]) -> np.ndarray:
    """Return float32 [row, joint, 3]; null and NaN are absent.

    Raises:
        ParseError: a row is something else, or has another number of joints than the first.
    """
    count = len(rows[0]) if isinstance(rows[0], list) else 0
    if not 0 < count <= _MAX_JOINTS:
        raise ParseError(path, 0, f"expected 1 to {_MAX_JOINTS} joints in {places[0]}, got {count}")
    for row, place in zip(rows, places, strict=True):
        if not isinstance(row, list) or len(row) != count:
            got = f"{len(row)}" if isinstance(row, list) else type(row).__name__
            raise ParseError(path, 0, f"expected {count} joints in {place} as in {places[0]}, got {got}")
    try:
        values = np.array(rows)
        values = values.astype(np.float64) if values.dtype.kind in "fiuO" else np.zeros(0)
    except (ValueError, TypeError, OverflowError):
        values = np.zeros(0)
    if values.shape != (len(rows), count, 3) or (np.abs(values) >= _LARGEST).any():
        for row, place in zip(rows, places, strict=True):
            for at, joint in enumerate(row):
                _position(path, f"{at + 1} in {place}", joint)
        raise ParseError(path, 0, "expected three numbers for each joint")
    values[np.isnan(values).any(axis=-1)] = np.nan
    return values.astype(np.float32)
