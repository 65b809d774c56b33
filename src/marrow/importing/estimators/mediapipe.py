"""MediaPipe Pose (BlazePose) as people save it: a list of frames, each with the 33 landmarks of whoever is seen.

There is no format of MediaPipe's own, so what its results are called in Python and JavaScript is understood under all
of these names: world landmarks (metres, the origin between the hips, y down) and landmarks of the image (0 to 1 in its
width and height, y down; z is relative). A landmark is {"x", "y", "z", "visibility"}, or a list of these numbers, by
order or by name; a frame may be null, one person, or a list of people. TensorFlow.js writes "keypoints3D" likewise.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float64

from marrow.errors import ParseError
from marrow.importing.estimators.frame_numbers import FrameOrder, frame_number, in_order, stamp
from marrow.importing.estimators.keypoints import Joints, Person, joints_by_count, to_numbers, to_recording
from marrow.importing.estimators.landmarks import (
    IMAGE_KEYS,
    WORLD_KEYS,
    has_landmarks,
    is_point,
    landmarks_of,
    points_of,
    value_of,
)
from marrow.importing.recording import ClipEntry, Contents, Doubt, Head, ReadOptions, Recording, Source, one_by_one
from marrow.importing.timestamps import Timing, timing_of
from marrow.readers.base import SkipRecording
from marrow.readers.text_file import read_json
from marrow.skeleton.estimators import COCO_17, MEDIAPIPE_33

_LANDMARKS = re.compile(r'"(pose_?)?(world_?)?landmarks?"\s*:\s*[\[{n]|"keypoints3d"\s*:\s*\[', re.IGNORECASE)
_POINTS = re.compile(r'"keypoints"\s*:\s*\[\s*\{|^\s*\[\s*(null\s*,\s*|\[\s*\]\s*,\s*|\[\s*)*\{\s*"x"\s*:')

# Names are compared in lower case and without underscores.
_FRAMES_KEYS = ("frames", "posedata", "recording", "data", "poses", "results", "samples", "sequence")
_NUMBER_KEYS = ("frame", "frameindex", "frameid", "framenumber", "frameidx", "index")
_TIME_KEY = re.compile(
    r"(video|media|current|frame|capture)?_?(time_?stamp|time|ts|t)_?(in_?)?(ms|us|ns|s|secs?|seconds|milli\w*|micro\w*)?",
    re.IGNORECASE,
)
_RATE_KEYS = ("fps", "framerate", "framespersecond")
_HIPS = (23, 24)
_AT_ORIGIN = 0.02
_MOST = 0.9
# Landmarks may lie outside the image, but not as far as pixels.
_LARGEST_SHARE = 4
# Nanoseconds of 30 years, for those of this century.
_LATEST = 1e19

_WORLD_DOUBT = Doubt(
    "landmarks of the world and of the image: those of the world are read, which have no place in the room"
)
_HIPS_DOUBT = Doubt("landmarks whose hips are at the origin: taken for landmarks of the world, in metres")
_SHARES_DOUBT = Doubt("landmarks in shares of the image's width and height: bodies are squeezed unless it is square")
_JOINTS = {
    33: Joints(33, MEDIAPIPE_33),
    17: Joints(17, COCO_17, doubts=(Doubt("17 landmarks: taken for COCO's", "--layout NAME"),)),
}


class MediaPipe:
    """JSON of MediaPipe Pose."""

    name: ClassVar[str] = "mediapipe"
    title: ClassVar[str] = "MediaPipe Pose JSON"

    def accepts(self, head: Head) -> bool:
        """Tell by what its results are called, or by points with visibility."""
        text = head.text
        if text is None or text.lstrip()[:1] not in ("[", "{"):
            return False
        if _LANDMARKS.search(text):
            return True
        return _POINTS.search(text) is not None and ('"visibility"' in text or '"score"' in text)

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Take each file alone."""
        return one_by_one(files)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say which landmarks are read, and at which rate.

        Raises:
            ParseError: it holds no frames of landmarks.
            ConfigError: the layout that is asked for has another number of joints.
            SkipRecording: nobody is seen.
        """
        video = _cached_video(source.path, *stamp(source.path))
        joints = _joints_of(source.path, video, options)
        return Contents(
            clips=(ClipEntry(),),
            joint_count=joints.count,
            joints=joints.layout.joints if joints.layout else None,
            layout=joints.layout,
            dimensions=3 if video.dimensions == 3 else 2,
            fps=video.fps,
            unit_metres=1.0 if video.is_world else 0.0,
            up="-y",
            software="MediaPipe",
            doubts=(*video.doubts, *joints.doubts, *video.order.doubts),
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read the recording.

        Raises:
            ParseError: it holds no frames of landmarks, or people have other numbers of them.
            SkipRecording: nobody is seen.
        """
        video = _cached_video(source.path, *stamp(source.path))
        return to_recording(
            source.path,
            video.people,
            video.order,
            dimensions=video.dimensions,
            kept=_joints_of(source.path, video, options).count,
            zero_is_absent=False,
            options=options,
            fps=video.fps,
        )


@dataclass(frozen=True)
class _Video:
    """People in all frames, with what they are measured in, and frames with what is known of their time."""

    people: list[Person]
    dimensions: int
    is_world: bool
    order: FrameOrder
    fps: float | None
    doubts: tuple[Doubt, ...]


@lru_cache(maxsize=1)
def _cached_video(path: Path, _changed: int, _size: int) -> _Video:
    entries, fps, doubts = _entries_of(path, read_json(path))
    frames = [landmarks_of(path, f"frame {place + 1} of the file", entry) for place, entry in enumerate(entries)]
    numbers, order, rate, more = _time_of(path, entries)
    is_world = any(frame.world for frame in frames)
    doubts += more
    if is_world and any(frame.image for frame in frames):
        doubts.append(_WORLD_DOUBT)
    is_for_several = any(frame.is_for_several for frame in frames)
    people: list[Person] = []
    dimensions = 0
    for place, frame in enumerate(frames):
        for landmarks in frame.world if is_world else frame.image:
            where = f"frame {place + 1} of the file"
            points = points_of(path, where, landmarks)
            dimensions = dimensions or (3 if any(len(point) > 2 and point[2] is not None for point in points) else 2)
            rows = [[*point[:dimensions], point[3]] for point in points]
            people.append(Person(numbers[place], where, rows, None if is_for_several else 0))
    if people and not is_world:
        values = to_numbers(path, [row.numbers for row in people], [row.place for row in people], dimensions + 1)
        is_world = _hips_at_origin(values)
        if is_world:
            doubts.append(_HIPS_DOUBT)
        elif np.nanmax(np.abs(values[..., :2]), initial=0) < _LARGEST_SHARE:
            doubts.append(_SHARES_DOUBT)
    return _Video(people, dimensions or 3, is_world, order, fps or rate, tuple(dict.fromkeys(doubts)))


def _entries_of(path: Path, document: Any) -> tuple[list[Any], float | None, list[Doubt]]:
    """Return frames as they are, the rate that the file says, and what is doubtful in that."""
    fps: float | None = None
    doubts: list[Doubt] = []
    if isinstance(document, dict):
        about = [document, *(value for value in document.values() if isinstance(value, dict))]
        rates = [rate for entry in about if (rate := value_of(entry, _RATE_KEYS)) is not None]
        rate = rates[0] if rates else None
        if isinstance(rate, int | float) and not isinstance(rate, bool) and 0 < rate < 1e6:
            fps = float(rate)
        elif rate is not None:
            doubts.append(
                Doubt(f"the file says {str(rate)[:40]!r} frames per second, which was not used", "--fps RATE")
            )
        if document and all(key.isdecimal() and len(key) < 18 for key in document):
            return [_numbered(int(key), value) for key, value in document.items()], fps, doubts
        frames = value_of(document, _FRAMES_KEYS)
        whole = next((value for keys in (WORLD_KEYS, IMAGE_KEYS) if (value := value_of(document, keys))), None)
        if isinstance(frames, list):
            document = frames
        elif isinstance(whole, list) and len(whole) > 1 and not any(is_point(entry) for entry in whole):
            # All frames under the name of the landmarks.
            key = next(key for key in document if document[key] is whole)
            document = [{key: entry} for entry in whole]
        else:
            document = [document]
    if not isinstance(document, list) or not document:
        raise ParseError(path, 0, "expected a list of frames with landmarks")
    if all(is_point(entry) for entry in document):  # one frame
        document = [document]
    return document, fps, doubts


def _numbered(number: int, value: Any) -> dict[str, Any]:
    """Return a frame that is written under its number."""
    return {**value, "frame": number} if has_landmarks(value) else {"frame": number, "landmarks": value}


def _time_of(path: Path, entries: Sequence[Any]) -> tuple[Sequence[int], FrameOrder, float | None, list[Doubt]]:
    """Return the number of each frame, their order, their rate and what is doubtful in that."""
    about = [entry if isinstance(entry, dict) else {} for entry in entries]
    name = next((key for entry in about for key in entry if _TIME_KEY.fullmatch(key)), None)
    timing = None if name is None else _timing(name, [entry.get(name) for entry in about])
    rate = None if timing is None else timing.fps
    doubts: list[Doubt] = [] if timing is None else list(timing.doubts)
    if name is not None and timing is None:
        doubts.append(Doubt(f"{name!r} of frames are not all numbers, and were not used", "--fps RATE"))
    given = [value_of(entry, _NUMBER_KEYS) for entry in about]
    if all(type(number) is int for number in given) and len(set(given)) == len(given):
        counted = [frame_number(path, f"frame {place + 1} of the file", number) for place, number in enumerate(given)]
        order = in_order(path, counted)
        if rate is not None and len(counted) > 1:
            # Between frames that are next to each other in the file some were left out.
            rate *= float(np.median(np.abs(np.diff([order.index[number] for number in counted]))))
        return counted, order, rate, doubts
    numbers: Sequence[int] = range(len(entries)) if timing is None else timing.numbers
    notes = () if timing is None else timing.notes
    return numbers, replace(in_order(path, numbers), notes=notes, doubts=()), rate, doubts


def _timing(name: str, stamps: Sequence[Any]) -> Timing | None:
    """Return what timestamps say, a frame without one being between its neighbours; None if they say nothing."""
    places = [place for place, time in enumerate(stamps) if time is not None]
    times = [stamps[place] for place in places]
    if not all(type(time) in (int, float) and abs(time) < _LATEST for time in times):  # not a number is not, either
        return None
    between = np.interp(np.arange(len(stamps)), places, np.asarray(times, np.float64))
    return timing_of(between.tolist(), name)


def _hips_at_origin(values: Float64[np.ndarray, "row joint column"]) -> bool:
    """Tell landmarks of the world, whatever they are called: the middle of the hips is their origin."""
    if values.shape[1:] != (len(MEDIAPIPE_33.joints), 4):
        return False
    hips = values[:, list(_HIPS), :3].mean(axis=1)
    hips = hips[np.isfinite(hips).all(axis=1) & (values[:, :, :3] != 0).any(axis=(1, 2))]
    return len(hips) > 0 and bool((np.abs(hips) < _AT_ORIGIN).all(axis=1).mean() > _MOST)


def _joints_of(path: Path, video: _Video, options: ReadOptions) -> Joints:
    if not video.people:
        raise SkipRecording("nobody is seen in any of its frames")
    first = video.people[0]
    count = to_numbers(path, [first.numbers], [first.place], video.dimensions + 1).shape[1]
    return joints_by_count(path, count, options, _JOINTS)
