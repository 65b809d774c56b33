"""AlphaPose: one JSON for all images, in three forms; the first is also that of COCO's results.

The usual form is a list of {"image_id", "keypoints": [x, y, c, ...], "idx"}, one entry for each person in each image,
in pixels. Form "cmu" is an object by image of {"bodies": [{"joints": [...]}]} with COCO's 18 joints, and form "open"
one of {"people": [{"pose_keypoints_2d": [...]}]}; beside it lies a folder with one file per image. "image_id" is the
name of an image ("12.jpg" is frame 12 of a video); names that differ by more than their number are several recordings.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from marrow.errors import ParseError
from marrow.importing.estimators.frame_numbers import (
    begins_as,
    frame_number,
    frames_and_others,
    in_order,
    number_of,
    of_names,
    order_of_files,
    stamp,
)
from marrow.importing.estimators.keypoints import (
    FACE_AND_HANDS,
    WHOLE_BODY_133,
    Joints,
    Person,
    identity,
    joints_by_count,
    to_numbers,
    to_recording,
)
from marrow.importing.recording import ClipEntry, Contents, Doubt, Head, ReadOptions, Recording, Source
from marrow.readers.base import SkipRecording
from marrow.readers.text_file import read_json
from marrow.skeleton.estimators import COCO_17, COCO_18, HALPE_26

_OBJECT_FIRST = re.compile(r'\s*\{\s*"[^"]*"\s*:\s*\{')
_BODIES = re.compile(r'\s*\{\s*(?:"version"\s*:\s*[^,{\[]*,\s*)?"bodies"\s*:\s*\[')
_IMAGE_ID = re.compile(r'"image_id"\s*:')

_JOINTS = {
    17: Joints(17, COCO_17),
    18: Joints(18, COCO_18),
    26: Joints(26, HALPE_26),
    133: WHOLE_BODY_133,
    136: Joints(26, HALPE_26, FACE_AND_HANDS),
}


class AlphaPose:
    """JSON of AlphaPose: results of a video or of a folder of images, in any of its forms."""

    name: ClassVar[str] = "alphapose"
    title: ClassVar[str] = "AlphaPose JSON, COCO results"

    def accepts(self, head: Head) -> bool:
        """Tell by image and keypoints in a list; or by bodies or people by image."""
        text = head.text
        if text is None:
            return False
        if text.lstrip().startswith("["):
            return bool(_IMAGE_ID.search(text)) and '"keypoints"' in text
        if _OBJECT_FIRST.match(text):
            return ('"bodies"' in text and '"joints"' in text) or ('"people"' in text and '"pose_keypoints' in text)
        return _BODIES.match(text) is not None

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Put together files of one image each whose names differ by their last number; others stand alone."""
        return frames_and_others(files, _BODIES)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say which recordings its images are of, and which joints people have.

        Raises:
            ParseError: it is no JSON of AlphaPose.
            ConfigError: the layout that is asked for has another number of joints.
            SkipRecording: nobody is seen.
        """
        results = _results_of(source)
        people = [person for clip in results.clips.values() for person in clip.people]
        if not people:
            raise SkipRecording("nobody is seen in any of its images")
        joints = _joints_of(source.path, people[0], options)
        orders = [in_order(source.path, clip.numbers) for clip in results.clips.values()]
        return Contents(
            clips=tuple(ClipEntry(key) for key in results.clips),
            joint_count=joints.count,
            joints=joints.layout.joints if joints.layout else None,
            layout=joints.layout,
            dimensions=2,
            unit_metres=0.0,
            up="-y",
            software="AlphaPose",
            left_out=joints.left_out,
            doubts=tuple(dict.fromkeys((*results.doubts, *(doubt for order in orders for doubt in order.doubts)))),
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read one of the recordings.

        Raises:
            ParseError: it is no JSON of AlphaPose, or people have other numbers of joints.
            SkipRecording: nobody is seen.
        """
        clips = _results_of(source).clips
        if key not in clips:
            raise ParseError(source.path, 0, f"expected images of {key!r}, got none")
        clip = clips[key]
        # All recordings of a file have the joints of its first person, as `peek` says.
        first = next((person for other in clips.values() for person in other.people), None)
        return to_recording(
            source.path,
            clip.people,
            in_order(source.path, clip.numbers),
            dimensions=2,
            kept=0 if first is None else _joints_of(source.path, first, options).count,
            zero_is_absent=True,
            options=options,
        )


@dataclass(frozen=True)
class _Clip:
    """Numbers of the frames that are named, and the people in them in the order of the file."""

    numbers: list[int] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)


@dataclass(frozen=True)
class _Results:
    """Recordings by their key, which is "" where there is one."""

    clips: dict[str, _Clip]
    doubts: tuple[Doubt, ...] = ()


def _results_of(source: Source) -> _Results:
    if not begins_as(source.path, _BODIES):
        return _cached_results(source.path, *stamp(source.path))
    clip = _Clip()
    for file in source.files:
        clip.numbers.append(number_of(file))
        clip.people.extend(_bodies(file, read_json(file), file.name, number_of(file)))
    return _Results({"": clip}, order_of_files(source).doubts)


# The recordings of a file are read one after the other.
@lru_cache(maxsize=1)
def _cached_results(path: Path, _changed: int, _size: int) -> _Results:
    document = read_json(path)
    entries: list[tuple[Any, Any, str]]
    if isinstance(document, dict):
        entries = [(image, bodies, f"image {image!r}") for image, bodies in document.items()]
    elif isinstance(document, list) and all(isinstance(entry, dict) for entry in document):
        entries = [(entry.get("image_id"), entry, f"entry {place + 1}") for place, entry in enumerate(document)]
    else:
        raise ParseError(path, 0, 'expected a list of objects with "image_id" and "keypoints"')
    entries = [
        (image if isinstance(image, str) else frame_number(path, f'"image_id" of {where}', image), entry, where)
        for image, entry, where in entries
    ]
    images, doubts = of_names(list(dict.fromkeys(image for image, _, _ in entries)))
    clips: dict[str, _Clip] = {}
    for image, entry, where in entries:
        key, number = images[image]
        clip = clips.setdefault(key, _Clip())
        clip.numbers.append(number)
        if isinstance(document, dict):
            clip.people.extend(_bodies(path, entry, where, number))
        else:
            who = identity(entry.get("idx", entry.get("track_id")))
            clip.people.append(Person(number, where, _keypoints(path, where, entry.get("keypoints")), who))
    if len(clips) == 1:
        clips = {"": next(iter(clips.values()))}
    return _Results(clips, doubts)


def _bodies(path: Path, entry: Any, where: str, number: int) -> list[Person]:
    """Return the people of an image in the forms "cmu" and "open"."""
    bodies = entry.get("bodies", entry.get("people")) if isinstance(entry, dict) else None
    if not isinstance(bodies, list) or not all(isinstance(body, dict) for body in bodies):
        raise ParseError(path, 0, f'expected a list of "bodies" in {where}, each with its "joints"')
    people = []
    for place, body in enumerate(bodies):
        of_body = f"{where}, body {place + 1}"
        joints = _keypoints(path, of_body, body.get("joints", body.get("pose_keypoints_2d")))
        people.append(Person(number, of_body, joints, identity(body.get("idx"))))
    return people


def _keypoints(path: Path, where: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ParseError(path, 0, f"expected a list of keypoints (x, y, confidence, x, ...) in {where}")
    return value


def _joints_of(path: Path, person: Person, options: ReadOptions) -> Joints:
    count = to_numbers(path, [person.numbers], [person.place], 3).shape[1]
    return joints_by_count(path, count, options, _JOINTS)
