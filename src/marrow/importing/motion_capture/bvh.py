"""BVH as a format: one recording per file, its own skeleton. How it is written: `readers/bvh_file.py`."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from marrow.importing.recording import ClipEntry, Contents, Head, ReadOptions, Recording, Source, one_by_one
from marrow.readers.base import SkipRecording
from marrow.readers.bvh_file import read_beginning, read_file
from marrow.readers.bvh_joints import (
    frames_per_second,
    joint_tree,
    left_out_note,
    no_joints,
    root_may_be_scene,
    what_root_is,
    what_root_of_file_is,
)


class Bvh:
    """Motion capture of any skeleton, one body per file; centimetres mostly, which the file does not say."""

    name: ClassVar[str] = "bvh"
    title: ClassVar[str] = "BVH motion capture"

    def accepts(self, head: Head) -> bool:
        """Tell by the word HIERARCHY; by the name of a file that does not begin with it."""
        text = head.text
        if text is None:
            return head.suffix == ".bvh"
        return text.lstrip()[:9].upper() == "HIERARCHY" or head.suffix == ".bvh"

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Return each file by itself."""
        return one_by_one(files)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say which joints a file has, and its rate. The frames are read only to tell a root from the scene's origin.

        Raises:
            ParseError: the file does not follow the format.
        """
        beginning = read_beginning(source.path, needs_rate=options.fps is None)
        is_scene = root_may_be_scene(beginning.nodes) and what_root_of_file_is(source.path) != "joint"
        left_out = no_joints(beginning.nodes, is_scene)
        names, parents = joint_tree(beginning.nodes, {node.name for node in beginning.nodes}.difference(left_out))
        seconds = beginning.frame_seconds
        return Contents(
            clips=(ClipEntry(),),
            joint_count=len(names),
            joints=names,
            parents=parents,
            fps=None if seconds is None else frames_per_second(seconds),
            left_out=tuple(node.name for node in beginning.nodes if node.name in left_out),
            ends=tuple(node.name for node in beginning.nodes if node.is_end),
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read a file.

        Raises:
            ParseError: it does not follow the format.
            SkipRecording: it has no frame.
        """
        motion = read_file(source.path, needs_rate=options.fps is None)
        if not len(motion.values):
            raise SkipRecording("there is no frame")
        is_scene = root_may_be_scene(motion.nodes) and what_root_is(motion) != "joint"
        left_out = no_joints(motion.nodes, is_scene)
        kept = [place for place, node in enumerate(motion.nodes) if node.name not in left_out]
        notes = motion.notes + left_out_note([node.name for node in motion.nodes if node.name in left_out])
        return Recording(motion.places()[:, kept].astype(np.float32)[None], notes=notes)
