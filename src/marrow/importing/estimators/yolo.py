"""YOLO-pose: what Ultralytics' results write as JSON (`to_json`, `summary`), per frame or for a whole video.

A frame is a list of people: {"name": "person", "class", "confidence", "box", "keypoints": {"x": [...], "y": [...],
"visible": [...]}, "track_id"}, in pixels, or in shares of the picture where that was asked for. A file is one frame, a
list of frames, or a list of objects that hold the number of a frame and its list. A keypoint at 0, 0 was not found.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from marrow.errors import ParseError
from marrow.importing.estimators.frame_numbers import (
    FrameOrder,
    frame_number,
    frames_and_others,
    in_order,
    number_of,
    order_of_files,
    stamp,
)
from marrow.importing.estimators.keypoints import (
    Joints,
    Person,
    identity,
    joints_by_count,
    to_numbers,
    to_recording,
    with_scores,
)
from marrow.importing.recording import ClipEntry, Contents, Doubt, Head, ReadOptions, Recording, Source
from marrow.readers.base import SkipRecording
from marrow.readers.text_file import read_json
from marrow.skeleton.estimators import COCO_17

_KEYPOINTS = re.compile(r'"keypoints"\s*:\s*\{\s*"[xy]"\s*:\s*\[')
_ONE_FRAME = re.compile(r'\s*\[\s*\{\s*"(name|class|confidence|box|keypoints|track_id)"\s*:')
_FRAME_KEYS = ("frame", "frame_id", "frame_index", "frame_number", "frame_idx")
_LIST_KEYS = ("detections", "predictions", "results", "persons", "people", "objects", "poses", "summary")


class YoloPose:
    """JSON of Ultralytics' pose models."""

    name: ClassVar[str] = "yolo_pose"
    title: ClassVar[str] = "YOLO-pose JSON"

    def accepts(self, head: Head) -> bool:
        """Tell by keypoints as one list of x and one of y."""
        text = head.text
        return text is not None and text.lstrip()[:1] in ("[", "{") and _KEYPOINTS.search(text) is not None

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Put together files of one frame each whose names differ by their last number; others stand alone."""
        return frames_and_others(files, _ONE_FRAME)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say how many keypoints people have.

        Raises:
            ParseError: it is no such JSON.
            ConfigError: the layout that is asked for has another number of joints.
            SkipRecording: nobody is seen.
        """
        video = _video_of(source)
        joints = _joints_of(source.path, video, options)
        return Contents(
            clips=(ClipEntry(),),
            joint_count=joints.count,
            joints=joints.layout.joints if joints.layout else None,
            layout=joints.layout,
            dimensions=2,
            unit_metres=0.0,
            up="-y",
            software="Ultralytics YOLO",
            doubts=(*joints.doubts, *_order(source, video).doubts),
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read the recording.

        Raises:
            ParseError: it is no such JSON, or people have other numbers of joints.
            SkipRecording: nobody is seen.
        """
        video = _video_of(source)
        return to_recording(
            source.path,
            video.people,
            _order(source, video),
            dimensions=2,
            kept=_joints_of(source.path, video, options).count,
            zero_is_absent=True,
            options=options,
        )


@dataclass
class _Video:
    numbers: list[int] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)


def _order(source: Source, video: _Video) -> FrameOrder:
    return in_order(source.path, video.numbers) if len(source.files) == 1 else order_of_files(source)


def _video_of(source: Source) -> _Video:
    if len(source.files) == 1:
        return _cached_video(source.path, *stamp(source.path))
    video = _Video()
    for file in source.files:
        video.numbers.append(number_of(file))
        _add(video, file, number_of(file), file.name, read_json(file))
    return video


@lru_cache(maxsize=1)
def _cached_video(path: Path, _changed: int, _size: int) -> _Video:
    document = read_json(path)
    if isinstance(document, dict):
        document = next((document[key] for key in ("frames", *_LIST_KEYS) if key in document), None)
    if not isinstance(document, list):
        raise ParseError(path, 0, 'expected a list of people, or of frames of people, with their "keypoints"')
    video = _Video()
    people = [entry for entry in document if isinstance(entry, dict) and "keypoints" in entry]
    if people and not any(key in people[0] for key in _FRAME_KEYS):  # one frame
        video.numbers.append(0)
        _add(video, path, 0, "the file", document)
        return video
    for place, entry in enumerate(document):
        where = f"frame {place + 1} of the file"
        number = place
        if isinstance(entry, dict):
            counted = next((entry[key] for key in _FRAME_KEYS if key in entry), place)
            number = frame_number(path, where, counted)
            entry = [entry] if "keypoints" in entry else next((entry[key] for key in _LIST_KEYS if key in entry), None)
        video.numbers.append(number)
        _add(video, path, number, where, entry)
    return video


def _add(video: _Video, path: Path, number: int, where: str, people: Any) -> None:
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise ParseError(path, 0, f"expected a list of people in {where}, each an object")
    for place, person in enumerate(people):
        of_person = f"{where}, person {place + 1}"
        keypoints = person.get("keypoints")
        if keypoints is None:  # something else than a person
            continue
        x, y = (keypoints.get(axis) for axis in "xy") if isinstance(keypoints, dict) else (None, None)
        if not isinstance(x, list) or not isinstance(y, list) or len(x) != len(y) or not isinstance(keypoints, dict):
            raise ParseError(path, 0, f'expected "keypoints" with "x" and "y" of one length in {of_person}')
        points = [[*point] for point in zip(x, y, strict=True)]
        numbers = with_scores(path, of_person, points, keypoints.get("visible"))
        video.people.append(Person(number, of_person, numbers, identity(person.get("track_id"))))


def _joints_of(path: Path, video: _Video, options: ReadOptions) -> Joints:
    if not video.people:
        raise SkipRecording("nobody is seen in any of its frames")
    first = video.people[0]
    count = to_numbers(path, [first.numbers], [first.place], 3).shape[1]
    doubt = Doubt(f"{count} keypoints, which no known model of YOLO-pose has: joints without names", "--layout NAME")
    return joints_by_count(path, count, options, {17: Joints(17, COCO_17)}, Joints(count, doubts=(doubt,)))
