"""COCO keypoint annotations: one JSON for many images, as annotation tools and data sets write it.

{"images": [{"id", "file_name", ...}], "annotations": [{"image_id", "keypoints": [x, y, v, ...], ...}], "categories":
[{"id", "keypoints": [names], "skeleton": [[1, 2], ...]}]}. In pixels; v is 0 for what is not in the picture, 1 for what
is hidden and 2 for what is seen, which becomes a confidence of 0, 0.5 and 1. Images are put together to recordings by
their video, else by their folder and name; people are told apart by a track id, else by position.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from marrow.errors import ParseError
from marrow.importing.estimators.frame_numbers import frame_number, in_order, number_in, of_names, stamp
from marrow.importing.estimators.keypoints import (
    WHOLE_BODY_133,
    Joints,
    Person,
    identity,
    joints_by_count,
    joints_by_names,
    to_numbers,
    to_recording,
)
from marrow.importing.recording import ClipEntry, Contents, Doubt, Head, ReadOptions, Recording, Source, one_by_one
from marrow.readers.base import SkipRecording
from marrow.readers.text_file import read_json
from marrow.skeleton.estimators import COCO_17

_IMAGES = re.compile(r'"images"\s*:\s*\[')
_ANNOTATIONS = re.compile(r'"annotations"\s*:\s*\[')
_VIDEO_KEYS = ("video_id", "vid_id")
_FRAME_KEYS = ("frame_id", "frame_index", "frame_number", "frame")
_WHO_KEYS = ("track_id", "instance_id", "person_id")
_CONFIDENCE_OF_FLAG = {0: 0.0, 1: 0.5, 2: 1.0}


class Coco:
    """Keypoint annotations of COCO, PoseTrack and what annotation tools export so."""

    name: ClassVar[str] = "coco"
    title: ClassVar[str] = "COCO keypoint annotations"

    def accepts(self, head: Head) -> bool:
        """Tell by images and annotations with keypoints; of large files by the images alone."""
        text = head.text
        if text is None or not text.lstrip().startswith("{"):
            return False
        if _ANNOTATIONS.search(text) and '"keypoints"' in text:
            return True
        return _IMAGES.search(text) is not None and '"file_name"' in text

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Take each file alone."""
        return one_by_one(files)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say which recordings its images are of, and what its keypoints are called.

        Raises:
            ParseError: it is no such JSON, or none with keypoints.
            ConfigError: the layout that is asked for has another number of joints.
            SkipRecording: nobody is annotated.
        """
        annotations = _cached_annotations(source.path, *stamp(source.path))
        joints = _joints_of(source.path, annotations, options)
        orders = [in_order(source.path, clip.numbers) for clip in annotations.clips.values()]
        doubts = (*annotations.doubts, *joints.doubts, *(doubt for order in orders for doubt in order.doubts))
        return Contents(
            clips=tuple(ClipEntry(key, attributes=clip.attributes) for key, clip in annotations.clips.items()),
            joint_count=joints.count,
            joints=joints.layout.joints if joints.layout else joints.names,
            parents=joints.parents,
            layout=joints.layout,
            dimensions=2,
            unit_metres=0.0,
            up="-y",
            left_out=(*joints.left_out, *annotations.left_out),
            doubts=tuple(dict.fromkeys(doubts)),
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read one of the recordings.

        Raises:
            ParseError: it is no such JSON, or people have other numbers of joints.
            SkipRecording: nobody is annotated in it.
        """
        annotations = _cached_annotations(source.path, *stamp(source.path))
        if key not in annotations.clips:
            raise ParseError(source.path, 0, f"expected images of {key!r}, got none")
        clip = annotations.clips[key]
        return to_recording(
            source.path,
            clip.people,
            in_order(source.path, clip.numbers),
            dimensions=2,
            kept=_joints_of(source.path, annotations, options).count,
            zero_is_absent=True,
            options=options,
        )


@dataclass
class _Clip:
    numbers: list[int] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    attributes: dict[str, int | str] = field(default_factory=dict)


@dataclass
class _Annotations:
    clips: dict[str, _Clip] = field(default_factory=dict)
    names: list[Any] | None = None
    links: list[tuple[int, int]] = field(default_factory=list)
    left_out: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()


# The recordings of a file are read one after the other.
@lru_cache(maxsize=1)
def _cached_annotations(path: Path, _changed: int, _size: int) -> _Annotations:
    document = read_json(path)
    if not isinstance(document, dict):
        raise ParseError(path, 0, 'expected an object with "images" and "annotations"')
    images = _objects(path, document, "images")
    found = _Annotations()
    places = _places_of(path, images, document.get("videos"), found)
    with_keypoints = [
        (place, annotation)
        for place, annotation in enumerate(_objects(path, document, "annotations"))
        if annotation.get("keypoints")
    ]
    if not with_keypoints:
        raise ParseError(path, 0, 'expected annotations with "keypoints", got none')
    category = with_keypoints[0][1].get("category_id")
    _name_joints(document.get("categories"), category, found)
    for place, annotation in with_keypoints:
        where = f"annotation {place + 1}"
        if annotation.get("category_id") != category:
            found.left_out = ("annotations of other categories",)
            continue
        image = annotation.get("image_id")
        if isinstance(image, list | dict) or image not in places:
            raise ParseError(path, 0, f"expected the id of one of its images in {where}, got {str(image)[:40]!r}")
        clip, number = places[image]
        who = identity(next((annotation[key] for key in _WHO_KEYS if key in annotation), None))
        clip.people.append(Person(number, where, _with_confidence(annotation["keypoints"]), who))
    if len(found.clips) == 1:
        found.clips = {"": next(iter(found.clips.values()))}
    return found


def _objects(path: Path, document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ParseError(path, 0, f'expected a list of objects in "{key}"')
    return entries


def _places_of(
    path: Path, images: list[dict[str, Any]], videos: Any, found: _Annotations
) -> dict[Any, tuple[_Clip, int]]:
    """Return for each image, by its id, the recording that it is of and the number of its frame in it."""
    names_of_videos = {
        str(video.get("id")): str(video.get("name", video.get("file_name", video.get("id"))))
        for video in (videos if isinstance(videos, list) else [])
        if isinstance(video, dict)
    }
    names = [str(image.get("file_name", image.get("id"))) for image in images]
    by_name, doubts = of_names(list(dict.fromkeys(names)))
    places: dict[Any, tuple[_Clip, int]] = {}
    for place, (image, name) in enumerate(zip(images, names, strict=True)):
        where = f"image {place + 1}"
        who = image.get("id")
        if isinstance(who, bool) or not isinstance(who, int | str) or who in places:
            raise ParseError(path, 0, f'expected an "id" of its own in {where}, got {str(who)[:40]!r}')
        key, number = by_name[name]
        video = next((str(image[key]) for key in _VIDEO_KEYS if key in image), None)
        if video is not None:
            key, number = names_of_videos.get(video, video), number_in(name)[1] or 0
        else:
            found.doubts = doubts
        counted = next((image[key] for key in _FRAME_KEYS if key in image), None)
        if counted is not None:
            number = frame_number(path, f"the frame of {where}", counted)
        clip = found.clips.setdefault(key, _Clip(attributes={} if video is None else {"video": video}))
        clip.numbers.append(number)
        places[who] = (clip, number)
    return places


def _name_joints(categories: Any, used: Any, found: _Annotations) -> None:
    """Find what the keypoints of a category are called, and which are drawn as bones."""
    for category in categories if isinstance(categories, list) else []:
        if isinstance(category, dict) and category.get("id") == used and isinstance(category.get("keypoints"), list):
            found.names = category["keypoints"]
            links = category.get("skeleton")
            found.links = [
                (pair[0] - 1, pair[1] - 1)
                for pair in (links if isinstance(links, list) else [])
                if isinstance(pair, list) and len(pair) == 2 and all(type(joint) is int for joint in pair)
            ]


def _with_confidence(keypoints: Any) -> Any:
    """Return keypoints with what COCO's flags of visibility mean in place of them, and what is not labelled at zero."""
    if not isinstance(keypoints, list) or len(keypoints) % 3:
        return keypoints
    flags = keypoints[2::3]
    if not all(type(flag) in (int, float) and flag in _CONFIDENCE_OF_FLAG for flag in flags):
        return keypoints
    numbers = list(keypoints)
    numbers[2::3] = [_CONFIDENCE_OF_FLAG[flag] for flag in flags]
    for joint, flag in enumerate(flags):
        if flag == 0:
            numbers[3 * joint : 3 * joint + 2] = [None, None]
    return numbers


def _joints_of(path: Path, annotations: _Annotations, options: ReadOptions) -> Joints:
    first = next((person for clip in annotations.clips.values() for person in clip.people), None)
    if first is None:
        raise SkipRecording("nobody is annotated in any of its images")
    count = to_numbers(path, [first.numbers], [first.place], 3).shape[1]
    if options.layout is None and annotations.names is not None:
        if len(annotations.names) != count:
            problem = f"expected {len(annotations.names)} keypoints in {first.place}, as its category has names"
            raise ParseError(path, 0, f"{problem}, got {count}")
        return WHOLE_BODY_133 if count == 133 else joints_by_names(path, annotations.names, annotations.links)
    joints = joints_by_count(path, count, options, {17: Joints(17, COCO_17), 133: WHOLE_BODY_133})
    if options.layout is not None:
        return joints
    doubt = Doubt(f"{count} keypoints without names: taken for COCO's", "--layout NAME")
    return Joints(joints.count, joints.layout, joints.left_out, doubts=(doubt,))
