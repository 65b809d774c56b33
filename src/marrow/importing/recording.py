"""What a file of any format says, before anything is decided about it: the value between formats and the store.

A format (one class each, in the rooms of this one) knows how a file is written. It decides nothing: positions stay in
the file's unit and axes, what the file does not say is None. `importer.py` decides, says why, and makes of it what a
store holds. `detect.py` names the formats and finds the one of a file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from marrow.readers.text_file import decode
from marrow.skeleton.layout import Skeleton

# How much of a file is looked at to find its format.
HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class Doubt:
    """Something about the files that may be otherwise than it was taken.

    Args:
        text: a sentence: what was seen, and what it was taken for.
        option: what the user gives to say it, for example "--fps RATE"; "" where nothing can be given.
    """

    text: str
    option: str = ""


@dataclass(frozen=True)
class Head:
    """The beginning of a file, by which its format is told.

    Args:
        path: of the file.
        content: its first bytes, at most `HEAD_BYTES`.
    """

    path: Path
    content: bytes

    @property
    def suffix(self) -> str:
        """The file's extension in lower case, with its dot."""
        return self.path.suffix.lower()

    @cached_property
    def text(self) -> str | None:
        """The beginning as text in lines that end in LF, whatever its encoding; None if it is none."""
        return decode(self.content)


@dataclass(frozen=True)
class Source:
    """The files that are read together: mostly one; a folder of one JSON per frame; motion and its skeleton.

    Args:
        name: of what they hold, as ids of clips begin; relative to nothing (the importer puts the folder before it).
        files: at least one, in order. The first stands for all in messages.
    """

    name: str
    files: tuple[Path, ...]

    @property
    def path(self) -> Path:
        """The file that is named in messages."""
        return self.files[0]


@dataclass(frozen=True)
class ClipEntry:
    """One recording that a source holds.

    Args:
        key: tells it from others in the same source; "" where the source holds one.
        label: name of its class, or None where the source knows none.
        attributes: what else is known, as numbers or words: subject, camera, video.
        parts: names of the parts of the data set that it belongs to, as the source calls them, for example
            "xsub_train" and "xview_val".
    """

    key: str = ""
    label: str | None = None
    attributes: Mapping[str, int | str] = field(default_factory=dict)
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What a source says of itself, without its numbers.

    Args:
        clips: its recordings, at least one.
        joints: names of the joints in order, as the file writes them; None where it has no names.
        joint_count: their number.
        parents: parent of each joint (the root is its own); None where the file has none.
        layout: the known layout that this is for certain, or by what it was taken for it (then with a doubt).
        dimensions: numbers per position.
        fps: frames per second; None where the file does not say (each recording may have its own).
        fps_of_format: whether that is what the format says of all its files, and not the file.
        unit_metres: length of the file's unit; None where it does not say; 0 for pixels and other relative units.
        up: the axis that points up, "-y" for images (there y points down); None where the file does not say.
        software: what wrote the file, where it says so.
        axes: shape and order of the axes, in words, for arrays: "N C T V M = 37646 × 3 × 300 × 25 × 2".
        left_out: parts of the file that are not joints and were left out, by name.
        ends: names of joints, or of what was left out, that only end a chain, so that other exports may lack them.
        not_shared: joints that were left out because other files of the skeleton lack them (the importer knows).
        doubts: what was taken for something that it may not be.
    """

    clips: tuple[ClipEntry, ...]
    joint_count: int
    joints: tuple[str, ...] | None = None
    parents: tuple[int, ...] | None = None
    layout: Skeleton | None = None
    dimensions: Literal[2, 3] = 3
    fps: float | None = None
    fps_of_format: bool = False
    unit_metres: float | None = None
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None
    software: str = ""
    axes: str = ""
    left_out: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    not_shared: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True)
class Recording:
    """The numbers of one recording, in the unit and the axes of its file.

    Args:
        positions: of joints in the order of `Contents`; not a number where a joint was not seen.
        confidence: of each joint, as the source gives it (mostly 0 to 1); None where it gives none. The importer
            makes it into presence by a threshold.
        fps: frames per second, where this recording says it.
        notes: what had to be mended or left out, in words that are the same for every recording.
        counts: how often that was within this recording, by note; what is not named here was not counted.
    """

    positions: Float32[np.ndarray, "body frame joint dimension"]
    confidence: Float32[np.ndarray, "body frame joint"] | None = None
    fps: float | None = None
    notes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class ReadOptions:
    """What a user says of the files because they do not say it, or say it wrongly. None: as the files say.

    Args:
        axes: letters of an array's axes in order, for example "NTVC" (N clips, T frames, V joints, C coordinates, M
            people; lower case for one that is to be taken apart, such as "NT(VC)").
        layout: name of the layout of the joints.
        markers: joint by the markers whose mean it is, for captures of markers.
        columns: what a table's columns are called, by what they are: frame, person, joint, x, y, z, confidence.
        follow: whether people without an identity are followed by their position from frame to frame.
        fps: frames per second; where they are given, what a file says of them does not matter.
    """

    axes: str | None = None
    layout: str | None = None
    markers: Mapping[str, Sequence[str]] | None = field(default=None, hash=False)
    columns: Mapping[str, str] | None = field(default=None, hash=False)
    follow: bool = True
    fps: float | None = None


@runtime_checkable
class Format(Protocol):
    """How one kind of file is written. Plain functions of paths, without state."""

    @property
    def name(self) -> str:
        """How `--format` calls it."""
        ...

    @property
    def title(self) -> str:
        """What it is, in a few words, for tables."""
        ...

    def accepts(self, head: Head) -> bool:
        """Tell by a file's beginning (and, where that does not tell, its name) whether it is of this format.

        Never raises. True for files of this format that are damaged later on: reading says what is wrong.
        """
        ...

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Put together the files that are read together, in the order of their names.

        Args:
            files: of this format, below one folder, sorted.
        """
        ...

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say what a source holds, reading as little of it as that takes.

        Raises:
            ParseError: it does not follow the format.
            ConfigError: an option does not fit it.
        """
        ...

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read one of the recordings that `peek` named.

        Raises:
            ParseError: it does not follow the format.
            SkipRecording: it is well-formed and holds nobody.
        """
        ...


def one_by_one(files: Sequence[Path]) -> list[Source]:
    """Return each file as a source of its own: what `gather` is for most formats."""
    return [Source(file.stem, (file,)) for file in files]
