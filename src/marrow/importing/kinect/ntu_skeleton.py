"""NTU RGB+D's `.skeleton` text, wherever it lies and whatever it is called (`readers/ntu_parser.py`).

25 joints of Kinect v2 in metres, y up, 30 frames per second; people by the tracker's id. Nothing is cleaned: bodies
are as they were tracked, those of whom most was seen first. A name such as S001C002P003R001A050 says the class (A050)
and setup, camera, subject and replication.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from marrow.importing.estimators.people import Detections, to_recording
from marrow.importing.recording import ClipEntry, Contents, Head, ReadOptions, Recording, Source, one_by_one
from marrow.readers.base import SkipRecording
from marrow.skeleton.layout import KINECT_V2_25

_FPS = 30.0
_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})(A\d{3})(?!\d)")
_COUNT = re.compile(r"\d{1,9}")
_JOINT_COUNT = "25"
# Frames without anybody that may come before the first body, for a file to be told by its beginning.
_LINES = 2000


class NtuSkeleton:
    """Text of NTU RGB+D."""

    name: ClassVar[str] = "ntu_skeleton"
    title: ClassVar[str] = "NTU RGB+D skeleton text"

    def accepts(self, head: Head) -> bool:
        """Tell by the counts of frames, bodies and joints; by the extension where nobody is seen for long."""
        if head.text is None:
            return False
        lines = [line.split() for line in head.text.split("\n", _LINES)[:_LINES] if line.strip()]
        if not lines or len(lines[0]) != 1 or not _COUNT.fullmatch(lines[0][0]):
            return False
        body = next((at for at, line in enumerate(lines[1:], 1) if line != ["0"]), None)
        if body is None or body + 2 >= len(lines):
            return head.suffix == ".skeleton"
        count, columns, joints = lines[body : body + 3]
        is_body = len(count) == 1 and _COUNT.fullmatch(count[0]) is not None and len(columns) == 10
        return is_body and joints == [_JOINT_COUNT]

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Return each file as a source of its own."""
        return one_by_one(files)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say what the name says; the layout is that of Kinect v2."""
        match = _NAME.search(source.path.stem)
        entry = ClipEntry()
        if match is not None:
            setup, camera, subject, replication = map(int, match.groups()[:4])
            about = {"setup": setup, "camera": camera, "subject": subject, "replication": replication}
            entry = ClipEntry(label=match[5], attributes=about)
        return Contents(
            clips=(entry,),
            joint_count=len(KINECT_V2_25.joints),
            joints=KINECT_V2_25.joints,
            layout=KINECT_V2_25,
            fps=_FPS,
            fps_of_format=True,
            unit_metres=1.0,
            up="y",
            software="Kinect v2",
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read the bodies of a recording.

        Raises:
            ParseError: it does not follow the format.
            SkipRecording: nobody is seen.
        """
        # Here and not above, so that looking at other files need not wait for numba.
        from marrow.readers.ntu_parser import parse_skeleton_file

        parsed = parse_skeleton_file(source.path)
        positions = parsed.joints.copy()
        # A body whose joints are all at the camera itself was not seen.
        positions[~positions.any(axis=(1, 2))] = np.nan
        if not np.isfinite(positions).any():
            raise SkipRecording(f"nobody is seen in any of its {parsed.frame_count} frames")
        ids = tuple(int(body) for body in parsed.body_ids)
        people = Detections(parsed.frames, positions, None, ids, parsed.frame_count)
        return to_recording(source.path, people, fps=_FPS, follow=options.follow)
