"""MMPose and RTMPose: predictions of the inferencer, one JSON per video or per image.

For a video that is {"meta_info": {...}, "instance_info": [{"frame_id", "instances": [...]}]}, or that list alone; for
an image the list of its instances. An instance is one person: {"keypoints": [[x, y], ...], "keypoint_scores": [...]},
in pixels; lifted to three dimensions, keypoints have three numbers, in the unit and axes of the model. What was dumped
from Python, {"predictions": [...]}, is read as well.
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
    WHOLE_BODY_133,
    Joints,
    Person,
    identity,
    joints_by_count,
    joints_by_names,
    to_numbers,
    to_recording,
    with_scores,
)
from marrow.importing.recording import ClipEntry, Contents, Doubt, Head, ReadOptions, Recording, Source
from marrow.readers.base import SkipRecording
from marrow.readers.text_file import read_json
from marrow.skeleton.estimators import COCO_17, H36M_17, HALPE_26

_FRAMES = re.compile(r'"(instance_info|instances|predictions)"\s*:\s*\[')
_NAMES = re.compile(r'"keypoint_id2name"\s*:')
_ONE_IMAGE = re.compile(r'\s*\[\s*\{\s*"(keypoints|keypoint_scores|bbox|bbox_score|track_id)"\s*:\s*[\[\d]')
_POINTS = re.compile(r'"keypoints(_3d)?"\s*:\s*\[\s*\[')

_JOINTS = {17: Joints(17, COCO_17), 26: Joints(26, HALPE_26), 133: WHOLE_BODY_133}
_TAKEN_FOR = "{count} keypoints without names: taken for those of {layout}"
_LIFTED = {17: Joints(17, H36M_17)}


class MmPose:
    """JSON of MMPose's inferencer."""

    name: ClassVar[str] = "mmpose"
    title: ClassVar[str] = "MMPose, RTMPose JSON"

    def accepts(self, head: Head) -> bool:
        """Tell by frames of instances, or by the names of keypoints before them, or by one image's instances."""
        text = head.text
        if text is None or text.lstrip()[:1] not in ("[", "{") or '"annotations"' in text:
            return False
        if _NAMES.search(text) or (_FRAMES.search(text) and ("_scores" in text or _POINTS.search(text))):
            return True
        if _FRAMES.search(text) and '"frame_id"' in text:  # frames without anybody at the beginning
            return True
        return _ONE_IMAGE.match(text) is not None and ('"keypoint_scores"' in text or _POINTS.search(text) is not None)

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Put together files of one image each whose names differ by their last number; others stand alone."""
        return frames_and_others(files, _ONE_IMAGE)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say what its keypoints are, by their names where there are some.

        Raises:
            ParseError: it is no JSON of MMPose.
            ConfigError: the layout that is asked for has another number of joints.
            SkipRecording: nobody is seen.
        """
        video = _video_of(source)
        if not video.people:
            raise SkipRecording("nobody is seen in any of its frames")
        joints = _joints_of(source.path, video, options)
        in_space = video.dimensions == 3
        return Contents(
            clips=(ClipEntry(),),
            joint_count=joints.count,
            joints=joints.layout.joints if joints.layout else joints.names,
            parents=joints.parents,
            layout=joints.layout,
            dimensions=3 if in_space else 2,
            unit_metres=None if in_space else 0.0,
            up=None if in_space else "-y",
            software="MMPose",
            left_out=joints.left_out,
            doubts=(*joints.doubts, *_order(source, video).doubts),
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read the recording.

        Raises:
            ParseError: it is no JSON of MMPose, or people have other numbers of joints.
            SkipRecording: nobody is seen.
        """
        video = _video_of(source)
        return to_recording(
            source.path,
            video.people,
            _order(source, video),
            dimensions=video.dimensions,
            kept=_joints_of(source.path, video, options).count if video.people else 0,
            zero_is_absent=video.dimensions == 2,
            options=options,
        )


@dataclass
class _Video:
    """Numbers of its frames, the people in them, numbers per position, and what it says of its keypoints."""

    numbers: list[int] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    dimensions: int = 2
    meta: dict[str, Any] = field(default_factory=dict)


def _order(source: Source, video: _Video) -> FrameOrder:
    return in_order(source.path, video.numbers) if len(source.files) == 1 else order_of_files(source)


def _video_of(source: Source) -> _Video:
    if len(source.files) == 1:
        return _cached_video(source.path, *stamp(source.path))
    video = _Video()
    for file in source.files:
        _add(video, file, number_of(file), file.name, _instances(file, file.name, read_json(file)))
    return video


@lru_cache(maxsize=1)
def _cached_video(path: Path, _changed: int, _size: int) -> _Video:
    document = read_json(path)
    video = _Video()
    if isinstance(document, dict):
        meta = document.get("meta_info", {})
        if not isinstance(meta, dict):
            raise ParseError(path, 0, f'expected an object in "meta_info", got {str(meta)[:40]!r}')
        video.meta = meta
        document = document.get("instance_info", document.get("predictions"))
    if not isinstance(document, list) or not all(isinstance(entry, dict | list) for entry in document):
        raise ParseError(path, 0, 'expected a list of frames, each with its "instances"')
    is_image = bool(document) and all(isinstance(entry, dict) and "keypoints" in entry for entry in document)
    frames: list[Any] = [document] if is_image else document
    for place, entry in enumerate(frames):
        where = f"frame {place + 1} of the file"
        number = place
        if isinstance(entry, dict) and "frame_id" in entry:
            number = frame_number(path, f'"frame_id" of {where}', entry["frame_id"])
        _add(video, path, number, where, _instances(path, where, entry))
    return video


def _instances(path: Path, where: str, entry: Any) -> list[Any]:
    """Return the people of a frame, under whatever they are kept."""
    if isinstance(entry, dict):
        entry = entry.get("instances", entry.get("predictions", entry.get("instance_info")))
    while isinstance(entry, list) and len(entry) == 1 and isinstance(entry[0], list):
        entry = entry[0]
    if not isinstance(entry, list) or not all(isinstance(instance, dict) for instance in entry):
        raise ParseError(path, 0, f'expected a list of "instances" in {where}, each an object')
    return entry


def _add(video: _Video, path: Path, number: int, where: str, instances: list[Any]) -> None:
    video.numbers.append(number)
    for place, instance in enumerate(instances):
        of_person = f"{where}, person {place + 1}"
        points = _unwrapped(instance.get("keypoints_3d") or instance.get("keypoints"))
        scores = _unwrapped(instance.get("keypoint_scores"))
        if not video.people and isinstance(points, list) and points and isinstance(points[0], list):
            video.dimensions = 3 if len(points[0]) == 3 else 2
        numbers = with_scores(path, of_person, points, scores)
        who = identity(instance.get("track_id", instance.get("instance_id")))
        video.people.append(Person(number, of_person, numbers, who))


def _unwrapped(value: Any) -> Any:
    """Take what one person has out of lists around it."""
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list) and value[0]:
        value = value[0]
    return value


def _joints_of(path: Path, video: _Video, options: ReadOptions) -> Joints:
    first = video.people[0]
    count = to_numbers(path, [first.numbers], [first.place], video.dimensions + 1).shape[1]
    lifted = video.dimensions == 3
    if options.layout is not None:
        return joints_by_count(path, count, options, {})
    names = video.meta.get("keypoint_id2name")
    if isinstance(names, dict) and len(names) == count:
        if count == 133:
            return WHOLE_BODY_133
        by_number = [names.get(str(joint)) for joint in range(count)]
        by_names = joints_by_names(path, by_number, _links(video.meta.get("skeleton_links")))
        if by_names.layout is None and "h36m" in str(video.meta.get("dataset_name", "")) and count == 17:
            return _LIFTED[17]
        return by_names
    joints = joints_by_count(path, count, options, _LIFTED if lifted else _JOINTS)
    layout = joints.layout.name if joints.layout else ""
    doubt = Doubt(_TAKEN_FOR.format(count=count, layout=layout), "--layout NAME")
    return Joints(joints.count, joints.layout, joints.left_out, doubts=(doubt,))


def _links(links: Any) -> list[tuple[int, int]]:
    """Return pairs of joints, of what may be anything."""
    pairs = links if isinstance(links, list) else []
    return [
        (pair[0], pair[1])
        for pair in pairs
        if isinstance(pair, list) and len(pair) == 2 and all(type(joint) is int for joint in pair)
    ]
