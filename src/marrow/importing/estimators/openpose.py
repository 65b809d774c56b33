"""OpenPose: one JSON per frame, with the people in it.

It writes `NAME_000000000012_keypoints.json` per frame: {"people": [{"pose_keypoints_2d": [x, y, c, ...]}]}, in pixels,
for 25, 18 or 15 keypoints after its model; with several cameras also "pose_keypoints_3d" (x, y, z, c), in the unit and
axes of their calibration. A keypoint that was not found is 0, 0, 0. Files whose names differ by their last number alone
are one recording. AlphaPose's form "open" writes the same.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from marrow.errors import ParseError
from marrow.importing.estimators.frame_numbers import by_last_number, number_of, order_of_files, stamp
from marrow.importing.estimators.keypoints import Joints, Person, identity, joints_by_count, to_numbers, to_recording
from marrow.importing.recording import ClipEntry, Contents, Head, ReadOptions, Recording, Source
from marrow.readers.base import SkipRecording
from marrow.readers.text_file import read_json
from marrow.skeleton.estimators import BODY_25, COCO_18, MPI_15

_OBJECT_FIRST = re.compile(r'\s*\{\s*"[^"]*"\s*:\s*\{')
_PEOPLE = re.compile(r'"people"\s*:\s*\[')
_NOBODY = re.compile(r'"people"\s*:\s*\[\s*\]')
# A frame of a thousand people with face and hands is smaller.
_MAX_FRAME_BYTES = 1 << 25
_JOINTS = {25: Joints(25, BODY_25), 18: Joints(18, COCO_18), 15: Joints(15, MPI_15)}
# The first of these that the first person has is read.
_KEYPOINTS = ("pose_keypoints_3d", "body_keypoints_3d", "pose_keypoints_2d", "pose_keypoints")


class OpenPose:
    """JSON of OpenPose, one file per frame."""

    name: ClassVar[str] = "openpose"
    title: ClassVar[str] = "OpenPose JSON, one file per frame"

    def accepts(self, head: Head) -> bool:
        """Tell by the list of people and their keypoints."""
        text = head.text
        if text is None or not text.lstrip().startswith("{") or _OBJECT_FIRST.match(text):
            return False
        return bool(_PEOPLE.search(text) and '"pose_keypoints' in text) or bool(_NOBODY.search(text))

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Put frames together whose names differ by their last number."""
        return by_last_number(files)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say which joints the first person has who is seen.

        Raises:
            ParseError: a frame is no JSON of OpenPose.
            ConfigError: the layout that is asked for has another number of joints.
            SkipRecording: nobody is seen in any frame.
        """
        order = order_of_files(source)
        for file, place, person, version in _people_of(source):
            key = _keypoints_key(person)
            if key is None:
                continue
            joints = _joints_of(file, place, person, options)
            in_space = "3d" in key
            return Contents(
                clips=(ClipEntry(),),
                joint_count=joints.count,
                joints=joints.layout.joints if joints.layout else None,
                layout=joints.layout,
                dimensions=3 if in_space else 2,
                unit_metres=None if in_space else 0.0,
                up=None if in_space else "-y",
                software="AlphaPose" if "AlphaPose" in version else "OpenPose",
                left_out=tuple(name for name, value in person.items() if "keypoints" in name and name != key and value),
                doubts=order.doubts,
            )
        raise SkipRecording(f"nobody is seen in any of its {order.count} frames")

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read the frames of one recording.

        Raises:
            ParseError: a frame is no JSON of OpenPose, or has other joints than the first.
            SkipRecording: nobody is seen.
        """
        order = order_of_files(source)
        rows: list[Person] = []
        kept, used = 0, ""
        for file, place, person, _ in _people_of(source):
            used = used or _keypoints_key(person) or ""
            numbers = person.get(used)
            if not numbers:
                continue
            if not rows:
                kept = _joints_of(file, place, person, options).count
            elif not isinstance(numbers, list) or len(numbers) != len(rows[0].numbers):
                got = f"{len(numbers)} numbers" if isinstance(numbers, list) else repr(numbers)[:40]
                wanted = f"expected {len(rows[0].numbers)} numbers in {used} of {place} as in {source.path.name}"
                raise ParseError(file, 0, f"{wanted}, got {got}")
            rows.append(Person(number_of(file), f"{file.name}, {place}", numbers, identity(person.get("person_id"))))
        dimensions = 3 if "3d" in used else 2
        return to_recording(
            source.path,
            rows,
            order,
            dimensions=dimensions,
            kept=kept,
            zero_is_absent=dimensions == 2,
            options=options,
        )


def _people_of(source: Source) -> Iterator[tuple[Path, str, dict[str, Any], str]]:
    """Yield the people of each frame: file, place in it, what it says of the person, version of the file.

    Raises:
        ParseError: a file is no JSON of OpenPose.
    """
    for file in source.files:
        size = stamp(file)[1]
        if size > _MAX_FRAME_BYTES:
            raise ParseError(file, 0, f"expected a frame of at most {_MAX_FRAME_BYTES:,} bytes, got {size:,}")
        document = read_json(file)
        people = document.get("people") if isinstance(document, dict) else None
        if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
            raise ParseError(file, 0, 'expected an object with a list of "people", each an object')
        version = str(document.get("version", ""))
        for place, person in enumerate(people):
            yield file, f"person {place + 1}", person, version


def _keypoints_key(person: dict[str, Any]) -> str | None:
    """Return under which name a person's joints are: in three dimensions where there are such."""
    return next((key for key in _KEYPOINTS if person.get(key)), None)


def _joints_of(file: Path, place: str, person: dict[str, Any], options: ReadOptions) -> Joints:
    key = _keypoints_key(person) or ""
    count = to_numbers(file, [person[key]], [place], 4 if "3d" in key else 3).shape[1]
    return joints_by_count(file, count, options, _JOINTS)
