"""PKU-MMD, parts I and II: long Kinect v2 recordings of 51 actions by one or two people, labelled in time.

A recording is a text file with one line per frame: 25 joints of body A, then 25 of body B, each as x, y, z in metres in
the camera's coordinates (y up, z away from the camera), in the order of NTU RGB+D. A body that is all zeros was not
seen. The label file of a recording has the same name, in another folder, and holds a line `class,start,end,confidence`
per instance of an action, about 20 to a recording. Split files (`cross-subject.txt` or `cross_subject.txt`; part II
adds `_v2`) hold names with commas between under "Training videos:" and "Validataion videos:" (the release spells it
so); the last name ends with a comma or not, and a line may end with a blank or a carriage return.

- `kind="trimmed"` makes a clip of each instance, frames [start, end), for recognition. Its id is the recording's with
  the line of the label file: 0002-L_003.
- `kind="untrimmed"` makes a sequence of each recording, with its instances as segments, for detection.

Positions are stored as they are. Nothing in the labels is mended silently: what is left out is listed with its reason,
what is changed or odd leaves a note, and `marrow prepare` and `marrow inspect` count both. Part I has one reversed
interval (in 0043-L) and 135 instances of confidence 0; intervals overlap in part II, and some may end after the
recording does.

Protocols: `xsub` and `xview`, as the split files say. The classes are those of the `Actions.xlsx` that comes with the
data set, most of them in the words that NTU RGB+D has for the same action.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float32

from marrow.errors import ConfigError, DataError, ParseError, setting
from marrow.readers.base import SkipRecording, Split, faulty_record, is_hidden, split_by
from marrow.readers.number_lines import read_rows
from marrow.readers.pku_mmd_labels import (
    CLASSES,
    EXAMPLE,
    RECORDING,
    Instance,
    overlapping,
    parse_labels,
    parse_split,
)
from marrow.readers.text_file import to_plain
from marrow.skeleton.layout import KINECT_V2_25, Skeleton
from marrow.skeleton.sequence import Record, Segment, SkeletonSequence

_BODIES = 2
# By which a folder of labels is told from one of skeletons.
_FILES_LOOKED_AT = 25
_BEGINNING_BYTES = 4096
_JOINTS = len(KINECT_V2_25.joints)

_SPLIT_FILE = re.compile(r"cross[-_ ]?(subject|view)([-_ ]?v2)?\.txt", re.IGNORECASE)
_SPLIT_NAMES = {"subject": "xsub", "view": "xview"}
# Reasons and notes are the same words for every recording, so that they can be counted.
_REVERSED = "the labelled interval ends before it starts"
_EMPTY = "the labelled interval has no frame"
_UNSURE = "the label has less confidence than min_confidence"
_BEYOND = "the labelled interval begins after the recording ends"
_NO_LABELS = "the recording has no labels"
_NO_SKELETONS = "there are labels, but no recording"
_NOBODY = "nobody is seen"
_SWAPPED = "a labelled interval ended before it started, and was swapped"
_DOUBTFUL = "a label has confidence 0"
_OVERLAPS = "a labelled interval overlaps with another one"
_CUT = "a labelled interval ended after the recording, and was cut there"


@dataclass(frozen=True)
class PKUMMD:
    """Reader of PKU-MMD.

    Args:
        part: 1 or 2.
        kind: a clip of each labelled instance, or whole recordings with their instances as segments.
        max_frames: where longer clips are cut, as published conversions do; None for nowhere.
        reversed_intervals: leave out instances that end before they start, or swap the two.
        min_confidence: leave out instances below it. Published results use all, those of confidence 0 as well.
    """

    part: Literal[1, 2] = 1
    kind: Literal["trimmed", "untrimmed"] = "trimmed"
    max_frames: int | None = 300
    reversed_intervals: Literal["drop", "swap"] = "drop"
    min_confidence: int = 0

    name: ClassVar[str] = "pku_mmd"
    skeleton: ClassVar[Skeleton] = KINECT_V2_25
    classes: ClassVar[tuple[str, ...]] = CLASSES
    splits: ClassVar[Mapping[str, Split]] = {
        protocol: split_by(protocol, ("train",), ("test",)) for protocol in ("xsub", "xview")
    }
    fps: ClassVar[float] = 30.0

    def __post_init__(self) -> None:
        for option, choices in (
            ("part", (1, 2)),
            ("kind", ("trimmed", "untrimmed")),
            ("reversed_intervals", ("drop", "swap")),
        ):
            if getattr(self, option) not in choices:
                either = " or ".join(map(repr, choices))
                raise ConfigError(f"pku_mmd {option} must be {either}, got {getattr(self, option)!r}")
        if self.max_frames is not None and self.max_frames < 1:
            raise ConfigError(f"pku_mmd max_frames must be at least 1, got {self.max_frames}")

    def records(self, root: Path) -> Iterator[Record]:
        """List clips or recordings from the label files and the split files; skeletons are not opened."""
        skeletons, label_files, sides_of = _find_files(root, self.part)
        for recording in sorted({*skeletons, *label_files}):
            scene, view = recording.split("-")
            attributes: dict[str, int | str] = {"scene": scene, "view": view}
            attributes |= {name: sides[recording] for name, sides in sides_of.items() if recording in sides}
            labels = label_files.get(recording)
            path = (skeletons.get(recording) or label_files[recording]).relative_to(root).as_posix()
            if recording not in skeletons:
                yield Record(recording, path, attributes={**attributes, "missing": _NO_SKELETONS})
            elif self.kind == "untrimmed":
                where = {} if labels is None else {"labels": labels.relative_to(root).as_posix()}
                yield Record(recording, path, attributes={**attributes, **where})
            else:
                try:
                    instances = [] if labels is None else parse_labels(labels)
                except ParseError as error:
                    yield faulty_record(root, error)
                    continue
                if not instances:
                    yield Record(recording, path, attributes={**attributes, "missing": _NO_LABELS})
                crowded = overlapping(filter(self._is_used, instances))
                for instance in instances:
                    clip = {**attributes, "start_frame": instance.start, "end_frame": instance.end}
                    clip |= {"confidence": instance.confidence, "overlaps": int(instance.line in crowded)}
                    yield Record(f"{recording}_{instance.line:03d}", path, instance.label, clip)

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        """Read one clip, or one recording."""
        if record.fault is not None:
            raise record.fault
        if "missing" in record.attributes:
            raise SkipRecording(str(record.attributes["missing"]))
        return self._read_clip(root, record) if self.kind == "trimmed" else self._read_recording(root, record)

    def _read_clip(self, root: Path, record: Record) -> SkeletonSequence:
        start, end, confidence, overlaps = (
            int(record.attributes[name]) for name in ("start_frame", "end_frame", "confidence", "overlaps")
        )
        instance = Instance(0, record.label, start, end, confidence)
        # What the labels alone rule out needs no skeletons.
        self._interval(instance)
        frames, of_file = _load_frames(root / record.path)
        start, end, notes = self._interval(instance, len(frames))
        notes += of_file
        if overlaps:
            notes.append(_OVERLAPS)
        if self.max_frames is not None and end - start > self.max_frames:
            end = start + self.max_frames
            notes.append(f"a clip was cut to max_frames {self.max_frames}")
        joints, present = _bodies(frames[start:end])
        return SkeletonSequence(joints, present, self.fps, self.skeleton, record, notes=tuple(notes))

    def _read_recording(self, root: Path, record: Record) -> SkeletonSequence:
        frames, of_file = _load_frames(root / record.path)
        labels = str(record.attributes.get("labels", ""))
        instances = parse_labels(root / labels) if labels else []
        notes = [*of_file] if instances else [*of_file, _NO_LABELS]
        notes += [_OVERLAPS] * len(overlapping(filter(self._is_used, instances)))
        segments = []
        for instance in instances:
            try:
                start, end, of_interval = self._interval(instance, len(frames))
            except SkipRecording as skipped:
                notes.append(f"a segment was left out: {skipped}")
                continue
            segments.append(Segment(start, end, instance.label))
            notes += of_interval
        segments.sort(key=lambda segment: (segment.start_frame, segment.end_frame))
        joints, present = _bodies(frames)
        return SkeletonSequence(
            joints, present, self.fps, self.skeleton, record, segments=tuple(segments), notes=tuple(notes)
        )

    def _is_used(self, instance: Instance) -> bool:
        try:
            self._interval(instance)
        except SkipRecording:
            return False
        return True

    def _interval(self, instance: Instance, frame_count: int | None = None) -> tuple[int, int, list[str]]:
        """Return the frames of an instance, and what had to be done to them.

        Raises:
            SkipRecording: it is not to be used; the message is the reason.
        """
        start, end, notes = instance.start, instance.end, []
        if instance.confidence < self.min_confidence:
            raise SkipRecording(_UNSURE)
        if instance.confidence == 0:
            notes.append(_DOUBTFUL)
        if end < start and self.reversed_intervals == "drop":
            raise SkipRecording(_REVERSED)
        if end < start:
            start, end = end, start
            notes.append(_SWAPPED)
        if end == start:
            raise SkipRecording(_EMPTY)
        if frame_count is not None and start >= frame_count:
            raise SkipRecording(_BEYOND)
        if frame_count is not None and end > frame_count:
            end = frame_count
            notes.append(_CUT)
        return start, end, notes


def _bodies(
    frames: Float32[np.ndarray, "frame value"],
) -> tuple[Float32[np.ndarray, "body frame joint 3"], Bool[np.ndarray, "body frame joint"]]:
    """Return positions, and which bodies are seen: those that are not all zeros."""
    joints = np.ascontiguousarray(frames.reshape(len(frames), _BODIES, _JOINTS, 3).swapaxes(0, 1))
    seen = (joints != 0).any(axis=(2, 3))
    if not seen.any():
        raise SkipRecording(_NOBODY)
    return joints, np.repeat(seen[..., None], _JOINTS, axis=-1)


def _load_frames(path: Path) -> tuple[Float32[np.ndarray, "frame value"], tuple[str, ...]]:
    """Return the numbers of a recording, and notes on how they are written."""
    try:
        status = path.stat()
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error
    return _parse_frames(path, status.st_mtime_ns, status.st_size)


# The clips of a recording follow one another: its file, several megabytes, is parsed once for all of them.
@lru_cache(maxsize=1)
def _parse_frames(
    path: Path, modified_ns: int, byte_count: int
) -> tuple[Float32[np.ndarray, "frame value"], tuple[str, ...]]:
    values, notes = read_rows(path, _BODIES * _JOINTS * 3)
    frames = values.astype(np.float32)
    frames.flags.writeable = False
    return frames, notes


def _find_files(root: Path, part: int) -> tuple[dict[str, Path], dict[str, Path], dict[str, dict[str, str]]]:
    """Find the files of a part at any depth below a folder.

    Returns:
        the skeletons' file by recording, the labels' likewise, and by protocol the side of each recording.

    Raises:
        DataError: there are none of a kind, or two folders or files compete to be it.
        ParseError: a split file does not follow the format.
    """
    if not root.is_dir():
        raise DataError(f"expected a folder with PKU-MMD; {root} is not a folder")
    texts = sorted(file for file in root.rglob("*.txt") if not is_hidden(file.relative_to(root)) and file.is_file())
    folders: dict[Path, list[Path]] = {}
    for file in texts:
        if RECORDING[part].fullmatch(file.stem):
            folders.setdefault(file.parent, []).append(file)
    kinds: dict[str, list[Path]] = {"skeletons": [], "labels": []}
    for folder, files in folders.items():
        kinds[_kind(files)].append(folder)
    folder_of = {kind: _only_folder(root, part, kind, kinds[kind]) for kind in kinds}
    skeletons, labels = ({file.stem: file for file in folders[folder_of[kind]]} for kind in kinds)
    return skeletons, labels, _find_splits(root, part, texts)


def _kind(files: list[Path]) -> str:
    """Tell labels from skeletons by first lines: numbers with commas between, or with blanks; most files decide."""
    first_lines = [line for file in files[:_FILES_LOOKED_AT] if (line := _first_line(file))]
    with_commas = sum(b"," in line for line in first_lines)
    return "skeletons" if with_commas < len(first_lines) / 2 else "labels"  # all empty: nothing was labelled


def _first_line(file: Path) -> bytes:
    """Return the first line that is not blank, of those at a file's beginning; nothing where it cannot be read."""
    try:
        with file.open("rb") as opened:
            lines = to_plain(opened.read(_BEGINNING_BYTES)).split(b"\n")
    except OSError:  # which reading it will say
        return b""
    return next((line for line in lines if line.strip()), b"")


def _only_folder(root: Path, part: int, kind: str, folders: list[Path]) -> Path:
    if len(folders) == 1:
        return folders[0]
    if folders:
        raise DataError(
            f"{root} holds {len(folders)} folders with {kind} of PKU-MMD part {part}: {folders[0]} and {folders[1]}. "
            f"Name a folder that holds only one of them"
        )
    other = {1: 2, 2: 1}[part]
    there = any(RECORDING[other].fullmatch(file.stem) for file in root.rglob("*.txt"))
    hint = f". There are files of part {other}: use {setting('part', str(other), 'options.part')}" if there else ""
    raise DataError(f"expected {kind} of PKU-MMD part {part} ({EXAMPLE[part]}.txt, ...) below {root}, found none{hint}")


def _find_splits(root: Path, part: int, texts: list[Path]) -> dict[str, dict[str, str]]:
    file_of: dict[str, Path] = {}
    for file in texts:
        match = _SPLIT_FILE.fullmatch(file.name)
        if match is None or (match[2] is not None) != (part == 2):
            continue
        name = _SPLIT_NAMES[match[1].lower()]
        if name in file_of:
            raise DataError(
                f"{root} holds two files with the split {name} of PKU-MMD part {part}: {file_of[name]} and {file}. "
                f"Remove one of them"
            )
        file_of[name] = file
    if not file_of:
        suffix = "_v2" if part == 2 else ""
        raise DataError(
            f"expected cross-subject{suffix}.txt or cross-view{suffix}.txt of PKU-MMD part {part} below {root}, "
            f"found neither"
        )
    return {name: parse_split(file) for name, file in file_of.items()}
