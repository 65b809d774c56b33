"""MAT: variables of MATLAB that hold positions, and what two data sets call them.

Penn Action: `x`, `y` and `visibility` of 13 joints, with action and part. UTD-MHAD: `d_skel`, 20 joints of Kinect v1
in an order of its own. Others: a variable of numbers whose axes are found as those of any array.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from marrow.errors import ParseError
from marrow.importing.arrays.file import Rows
from marrow.importing.arrays.plan import Plan, plan_of
from marrow.importing.recording import ClipEntry, Contents, Doubt, Head, ReadOptions, Recording, Source, one_by_one
from marrow.readers.base import SkipRecording
from marrow.readers.mat_file import is_mat, read_mat
from marrow.readers.penn_action import is_penn_action, video_of
from marrow.skeleton.estimators import PENN_13
from marrow.skeleton.layout import KINECT_V1_20

# Head, shoulders' centre, spine, hips' centre; then the arms and the legs as everywhere.
_UTD_ORDER = (3, 2, 1, 0, *range(4, 20))
_UTD_NAME = re.compile(r"a(\d+)_s(\d+)_t(\d+)(_skeleton)?")
_KINECT_FPS = 30.0


class Mat:
    """MAT files of versions 5 to 7."""

    name = "mat"
    title = "MAT"

    def accepts(self, head: Head) -> bool:
        """See `Format`."""
        is_damaged = head.suffix == ".mat" and (head.text is None or not head.text.strip())
        return is_mat(head.content) or is_damaged

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """See `Format`."""
        return one_by_one(files)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """See `Format`."""
        variables, left_out = read_mat(source.path)
        if is_penn_action(variables) and options.axes is None:
            return _penn_contents(source.path, variables, left_out)
        return _plan(source, options.axes, options.layout)[0].contents

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """See `Format`."""
        variables, _ = read_mat(source.path)
        if is_penn_action(variables) and options.axes is None:
            return _penn_recording(source.path, variables)
        plan, arrays = _plan(source, options.axes, options.layout)
        return plan.read(source.path, arrays, key)


def _plan(source: Source, axes: str | None, layout: str | None) -> tuple[Plan, dict[str, Rows]]:
    path = source.path
    return _plan_once(source, axes, layout, (path.stat().st_mtime_ns, path.stat().st_size))


@lru_cache(maxsize=4)
def _plan_once(source: Source, axes: str | None, layout: str | None, state: object) -> tuple[Plan, dict[str, Rows]]:
    path = source.path
    variables, left_out = read_mat(path)
    arrays = {}
    for name, values in variables.items():
        array = np.array(values) if isinstance(values, list) else values
        if array.ndim == 2 and 1 in array.shape:
            array = array.ravel()  # MATLAB has no arrays of one axis
        arrays[name] = Rows(path, name, array.shape, array.dtype, False, 0, held=array)
    if "d_skel" in arrays:
        arrays["d_skel"] = _checked_utd(path, arrays["d_skel"])
        plan = plan_of(path, arrays, ReadOptions(axes="VCT", layout=layout), left_out=left_out)
        return replace(plan, contents=_utd_contents(path, plan.contents, layout)), arrays
    return plan_of(path, arrays, ReadOptions(axes=axes, layout=layout), left_out=left_out, extra=None), arrays


def _checked_utd(path: Path, rows: Rows) -> Rows:
    shape = (*rows.shape, 1) if len(rows.shape) == 2 else rows.shape  # MATLAB drops a last axis of one
    if len(shape) != 3 or shape[:2] != (20, 3) or rows.held is None:
        got = " × ".join(str(size) for size in rows.shape)
        raise ParseError(path, 0, f"expected d_skel to be 20 joints × 3 coordinates × frames, got {got}")
    return replace(rows, shape=shape, held=rows.held.reshape(shape))


def _utd_contents(path: Path, contents: Contents, layout: str | None) -> Contents:
    match = _UTD_NAME.fullmatch(path.stem)
    attributes: dict[str, int | str] = {}
    label = None
    if match is not None:
        attributes = {"action": int(match[1]), "subject": int(match[2]), "trial": int(match[3])}
        label = f"a{int(match[1]):02d}"
    place = {joint: at for at, joint in enumerate(_UTD_ORDER)}
    by_name = "layout" if layout is not None else "joints"
    return replace(
        contents,
        clips=(ClipEntry("", label, attributes),),
        joints=None if by_name == "layout" else tuple(KINECT_V1_20.joints[joint] for joint in _UTD_ORDER),
        parents=None if by_name == "layout" else tuple(place[KINECT_V1_20.parents[joint]] for joint in _UTD_ORDER),
        layout=contents.layout if by_name == "layout" else None,
        fps=_KINECT_FPS,
        fps_of_format=True,
        unit_metres=1.0,
        up="y",
        software="UTD-MHAD (Kinect v1)",
        doubts=(Doubt("d_skel was taken for UTD-MHAD's: Kinect v1, metres, 30 frames per second", "--layout NAME"),),
    )


# In 24 of the 29 clips whose viewpoint is "front", the left shoulder is at the left of the image.
_PENN_SIDES = Doubt("left and right look like those of the viewer: of people seen from the front, left is at the left")


def _penn_contents(path: Path, variables: dict[str, Any], left_out: tuple[str, ...]) -> Contents:
    video = video_of(path, variables)
    attributes: dict[str, int | str] = {"viewpoint": video.viewpoint} if video.viewpoint else {}
    known = {"x", "y", "visibility", "action", "train", "pose"}
    return Contents(
        clips=(ClipEntry("", video.action, attributes, (video.part,)),),
        joint_count=len(PENN_13.joints),
        joints=PENN_13.joints,
        parents=PENN_13.parents,
        layout=PENN_13,
        dimensions=2,
        unit_metres=0.0,
        up="-y",
        software="Penn Action",
        axes=f"T V of {len(PENN_13.joints)} joints, x and y apart",
        left_out=(*left_out, *(name for name in variables if name not in known)),
        doubts=(_PENN_SIDES,),
    )


def _penn_recording(path: Path, variables: dict[str, Any]) -> Recording:
    video = video_of(path, variables)
    if not video.visible.any():
        raise SkipRecording(f"no joint is visible in any of its {len(video.visible)} frames")
    return Recording(np.where(video.visible[..., None], video.positions, np.nan)[None].astype(np.float32))
