"""Acclaim's ASF and AMC, as CMU's recordings have them. How they are written: `acclaim_files.py`.

A joint is called after the bone that begins there, as in BVH: `lfemur` lies at the hip, `lfemur`'s end is called after
the bone that follows, `ltibia`, and the end of a last one `ltoes_end`. A bone that begins where the one above it does
(CMU's `lhipjoint` at the root) is no joint of its own.

The unit is known for CMU's `length 0.45` alone: numbers times 1 / 0.45 are inches, so one is 0.056444 m.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from marrow.errors import ParseError
from marrow.importing.motion_capture.acclaim_files import Acclaim as Skeleton
from marrow.importing.motion_capture.acclaim_files import place, read_motion, read_skeleton
from marrow.importing.recording import ClipEntry, Contents, Doubt, Head, ReadOptions, Recording, Source
from marrow.readers.base import SkipRecording

_INCH_METRES = 0.0254
_CMU_LENGTH = 0.45
_NO_LENGTH = 1e-6
_SECTIONS = (":version", ":name", ":units", ":documentation", ":root", ":bonedata", ":hierarchy")
_RATE = Doubt("the files do not say their rate; most of CMU's have 120 frames per second", "--fps RATE")


class Acclaim:
    """A skeleton (.asf) and the motions of it (.amc, one recording each)."""

    name: ClassVar[str] = "acclaim"
    title: ClassVar[str] = "Acclaim ASF + AMC motion capture"

    def accepts(self, head: Head) -> bool:
        """Tell by the first statement: a section of a skeleton, or a keyword of a motion and a frame's number."""
        if head.text is None:
            return False
        lines = (line.partition("#")[0].split() for line in head.text.split("\n"))
        first = next((words for words in lines if words), [])
        if first and first[0].lower() in (*_SECTIONS, ":fully-specified", ":fully_specified", ":degrees", ":radians"):
            return True
        return head.suffix in (".asf", ".amc")

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Put each motion together with its skeleton: in its folder, or else in the nearest one above.

        Of several there, the one with whose name the motion's begins (the longest). A motion without any is a source
        that cannot be read; a skeleton alone is none.
        """
        skeletons: defaultdict[Path, set[Path]] = defaultdict(set)
        for file in files:
            if file.suffix.lower() == ".asf":
                skeletons[file.parent].add(file)
        beside = cache(_skeletons_in)
        sources = []
        for file in (file for file in files if file.suffix.lower() != ".asf"):
            found = None
            for folder in file.parents:
                there = skeletons.get(folder, set[Path]()) | (beside(folder) if folder == file.parent else set[Path]())
                found = _skeleton_of(file, sorted(there))
                if found is not None:
                    break
            sources.append(Source(file.stem, (file,) if found is None else (file, found)))
        return sources

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say what the skeleton has. The motion is not read.

        Raises:
            ParseError: there is no skeleton, or it does not follow the format.
        """
        skeleton = read_skeleton(_skeleton_file(source))
        names, parents, _ = _joints(skeleton)
        is_cmu = skeleton.length_unit is not None and abs(skeleton.length_unit - _CMU_LENGTH) < 1e-6
        kept = set(names)
        return Contents(
            clips=(ClipEntry(),),
            joint_count=len(names),
            joints=names,
            parents=parents,
            unit_metres=_INCH_METRES / _CMU_LENGTH if is_cmu else None,
            left_out=tuple(bone.name for bone in skeleton.bones if bone.name not in kept),
            doubts=(_RATE,),
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read a motion.

        Raises:
            ParseError: the motion or its skeleton does not follow the format.
            SkipRecording: it has no frame.
        """
        skeleton = read_skeleton(_skeleton_file(source))
        values, degrees, notes = read_motion(source.path, skeleton)
        frame_count = max((len(numbers) for numbers in values.values()), default=0)
        if not frame_count:
            raise SkipRecording("there is no frame")
        begins, ends = place(skeleton, values, frame_count, degrees)
        _, _, rows = _joints(skeleton)
        positions = np.stack([(ends if is_end else begins)[:, bone] for bone, is_end in rows], axis=1)
        return Recording(positions.astype(np.float32)[None], notes=notes)


def _joints(skeleton: Skeleton) -> tuple[tuple[str, ...], tuple[int, ...], list[tuple[int, bool]]]:
    """Return names and parents of the joints, and of each the bone that has it at its beginning (or end)."""
    bones = skeleton.bones
    lengths = [float(np.linalg.norm(bone.offset)) for bone in bones]
    taken = {bone.name for bone in bones}
    inner = {bone.parent for bone in bones[1:]}
    names, parents, rows = ["root"], [0], [(0, False)]
    joint_of = {0: 0}  # the joint at the beginning of a bone

    def add(name: str, parent: int, bone: int, is_end: bool) -> int:
        names.append(name)
        parents.append(parent)
        rows.append((bone, is_end))
        return len(names) - 1

    for index, bone in enumerate(bones[1:], start=1):
        above = joint_of[bone.parent]
        joint_of[index] = add(bone.name, above, index, False) if lengths[bone.parent] >= _NO_LENGTH else above
        if index not in inner and lengths[index] >= _NO_LENGTH:
            name = f"{bone.name}_end"
            add(name if name not in taken else f"{bone.name}/end", joint_of[index], index, True)
    return tuple(names), tuple(parents), rows


def _skeletons_in(folder: Path) -> frozenset[Path]:
    try:
        files = list(folder.iterdir())
    except OSError:
        return frozenset()
    return frozenset(file for file in files if file.suffix.lower() == ".asf" and not file.name.startswith("."))


def _skeleton_of(motion: Path, skeletons: Sequence[Path]) -> Path | None:
    if len(skeletons) == 1:
        return skeletons[0]
    fitting = [one for one in skeletons if motion.stem.lower().startswith(one.stem.lower())]
    return max(fitting, key=lambda one: len(one.stem), default=None)


def _skeleton_file(source: Source) -> Path:
    if len(source.files) < 2:
        raise ParseError(
            source.path,
            0,
            "expected its skeleton in the same folder or above: a single .asf, or one with whose name this one begins",
        )
    return source.files[1]
