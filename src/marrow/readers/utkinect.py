"""UTKinect-Action3D: long Kinect v1 recordings, in each of which a person does 10 actions one after another.

A recording is a text file `joints_sSS_eEE.txt` after subject and episode (10 people, twice). A line is a row of 61
numbers: the number of the camera's frame, then 20 joints as x, y, z in metres (y up, z away from the camera), in the
order of the first Kinect. The camera counts 30 frames per second, of which every second to eighth became a row; some
numbers occur twice, with other positions, and some hundred frames in a row may lack.

What is read has even time, as everything in marrow: one frame per number, from that of the first row on. Between two
rows positions are interpolated, unless they lie more than `max_gap_frames` apart: then nobody is present in between.
`recorded` names the frames that are rows.

The labels of all recordings stand in one file, `actionLabel_modified.txt`: a line `s01_e01`, then for every action a
line `walk: 252 390` with the numbers of its first and its last frame, or `carry: NaN NaN` where it is missing. The
older `actionLabel.txt`, in which seven of the limits are wrong, is taken only where there is no other.

- By default a sequence is made of each recording, with its actions as segments, for detection.
- `trimmed` makes a clip of each action, for recognition. Its id is the recording's with the action: s01_e01_walk.

Protocols: `xsub` trains on the first five people and tests on the others; `loso` leaves out one person at a time.
Leaving out one recording at a time is `leave-one-out:recording`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64

from marrow.errors import ConfigError, DataError, ParseError
from marrow.readers.base import SkipRecording, Split, faulty_record, some_files, split_by
from marrow.readers.number_lines import read_lines, read_rows, shown
from marrow.skeleton.layout import KINECT_V1_20, Skeleton
from marrow.skeleton.sequence import Record, Segment, SkeletonSequence

# The name in the label file, and what it is.
_ACTIONS = {
    "walk": "walk",
    "sitDown": "sit down",
    "standUp": "stand up",
    "pickUp": "pick up",
    "carry": "carry",
    "throw": "throw",
    "push": "push",
    "pull": "pull",
    "waveHands": "wave hands",
    "clapHands": "clap hands",
}
_LABELS = {action: label for label, action in enumerate(_ACTIONS)}

_NAME = re.compile(r"joints_(s(\d\d)_e(\d\d))")
_HEADING = re.compile(r"s\d\d_e\d\d")
_LABEL = re.compile(r"(\w+)\s*:\s*(?:(\d{1,7})\s+(\d{1,7})|NaN\s+NaN)", re.ASCII)
_LABELS_FILE = "actionLabel_modified.txt"
_OLD_LABELS_FILE = "actionLabel.txt"
_COLUMNS = 61
# Twenty minutes without a row: the number is a slip of the pen, and would ask for frames without end.
_LONGEST_GAP_FRAMES = 36_000

# Reasons and notes are the same words for every recording, so that they can be counted.
_OUTSIDE = "the labelled interval lies outside the recording"
_SWALLOWED = "the only frame of the labelled interval belongs to the one before it"
_REPEATED = "a row was left out: it repeats the frame number of the row before it"
_OLD_LABELS = f"the labels are those of {_OLD_LABELS_FILE}, in which seven limits are wrong"
_NO_LABELS = "the recording has no labels"
_CUT = "a labelled interval went beyond the recording, and was cut there"
_SHARED = "two labelled intervals shared a frame, which went to the earlier one"
_OVERLAPS = "a labelled interval overlaps with another one"
_NOBODY = "nobody is seen"


class _Interval(NamedTuple):
    """What a line of the label file says: numbers of the camera's frames, the last one included."""

    action: str
    first: int
    last: int


class _Rows(NamedTuple):
    """The rows of a file, at the number of their frame, without those that repeat one."""

    number: Int64[np.ndarray, " row"]
    joints: Float32[np.ndarray, "row joint 3"]
    repeated: Int64[np.ndarray, " left_out"]


@dataclass(frozen=True)
class UTKinect:
    """Reader of UTKinect-Action3D.

    Args:
        trimmed: make a clip of each labelled action, instead of whole recordings with the actions as segments.
        max_gap_frames: up to how many frames apart two rows may lie for the frames between them to be interpolated.
    """

    trimmed: bool = False
    max_gap_frames: int = 30

    name: ClassVar[str] = "utkinect"
    skeleton: ClassVar[Skeleton] = KINECT_V1_20
    classes: ClassVar[tuple[str, ...]] = tuple(_ACTIONS.values())
    splits: ClassVar[Mapping[str, Split]] = {"xsub": split_by("subject", (1, 2, 3, 4, 5))}
    folds: ClassVar[Mapping[str, str]] = {"loso": "leave-one-out:subject"}
    fps: ClassVar[float] = 30.0

    def __post_init__(self) -> None:
        if self.max_gap_frames < 1:
            raise ConfigError(f"utkinect max_gap_frames must be at least 1, got {self.max_gap_frames}")

    def records(self, root: Path) -> Iterator[Record]:
        """List the recordings of a folder, or the actions in them, in the order of time; rows are not read."""
        wanted = "UTKinect recordings (joints_sSS_eEE.txt)"
        files = some_files(root, root.glob("joints_*.txt"), wanted, "joints_*.txt")
        labels, faults = _parse_labels(_labels_file(root))
        for file in files:
            match = _NAME.fullmatch(file.stem)
            if match is None:
                yield faulty_record(root, ParseError(file, 0, f"expected a name joints_sSS_eEE.txt, got {file.name!r}"))
                continue
            about = {"subject": int(match[2]), "episode": int(match[3]), "recording": match[1]}
            if match[1] in faults:
                yield Record(match[1], file.name, attributes=about, fault=faults[match[1]])
            elif not self.trimmed:
                yield Record(match[1], file.name, attributes=about)
            else:
                for action, _, _ in labels.get(match[1], ()):
                    yield Record(f"{match[1]}_{action}", file.name, _LABELS[action], {**about, "action": action})

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        """Read one recording, or one action of it."""
        if record.fault is not None:
            raise record.fault
        rows, of_file = _read_rows(root / record.path)
        origin, frame_count = int(rows.number[0]), int(rows.number[-1] - rows.number[0]) + 1
        source = _labels_file(root)
        intervals = _parse_labels(source)[0].get(str(record.attributes["recording"]), [])
        notes = [*of_file, _OLD_LABELS] if source.name == _OLD_LABELS_FILE else [*of_file]
        if self.trimmed:
            # An interval owns its frames, be it a segment or a clip.
            at = next(at for at, interval in enumerate(intervals) if interval.action == record.attributes["action"])
            segment, of_interval = _segment(intervals, at, origin, frame_count)
            start, end, segments = segment.start_frame, segment.end_frame, []
            notes += of_interval
        else:
            start, end = 0, frame_count
            segments, of_intervals = _segments(intervals, origin, frame_count)
            notes += of_intervals
        notes += [_REPEATED] * int(((rows.repeated >= origin + start) & (rows.repeated < origin + end)).sum())
        joints, present = _even_in_time(rows, np.arange(origin + start, origin + end), self.max_gap_frames)
        if not present.any():
            raise SkipRecording(_NOBODY)
        recorded = rows.number - (origin + start)
        return SkeletonSequence(
            joints=joints[None],
            present=present[None],
            fps=self.fps,
            skeleton=self.skeleton,
            record=record,
            segments=tuple(segments),
            recorded=recorded[(recorded >= 0) & (recorded < end - start)],
            notes=tuple(notes),
        )


def _even_in_time(
    rows: _Rows, numbers: Int64[np.ndarray, " frame"], max_gap_frames: int
) -> tuple[Float32[np.ndarray, "frame joint 3"], Bool[np.ndarray, "frame joint"]]:
    """Return positions at the numbers of some frames, and which joints are present there.

    A joint is present where it was seen in the rows before and after, and these are near enough to each other.
    """
    seen = (rows.joints != 0).any(axis=-1)
    after = np.searchsorted(rows.number, numbers)
    before = np.where(rows.number[after] == numbers, after, after - 1)
    gap = rows.number[after] - rows.number[before]
    weight = ((numbers - rows.number[before]) / np.maximum(gap, 1))[:, None, None].astype(np.float32)
    present = seen[before] & seen[after] & (gap <= max_gap_frames)[:, None]
    joints = rows.joints[before] * (1 - weight) + rows.joints[after] * weight
    return joints * present[..., None], present


def _segments(intervals: list[_Interval], origin: int, frame_count: int) -> tuple[list[Segment], list[str]]:
    """Return the actions as frames of the recording, and what had to be done to them."""
    segments, notes = [], [] if intervals else [_NO_LABELS]
    for at in range(len(intervals)):
        try:
            segment, of_interval = _segment(intervals, at, origin, frame_count)
        except SkipRecording as skipped:
            notes.append(f"a segment was left out: {skipped}")
            continue
        segments.append(segment)
        notes += of_interval
    return segments, notes


def _segment(intervals: list[_Interval], at: int, origin: int, frame_count: int) -> tuple[Segment, list[str]]:
    """Return one of a recording's intervals as frames [start, end), and what had to be done to it.

    Raises:
        SkipRecording: nothing is left of it; the message is the reason.
    """
    action, first, last = intervals[at]
    notes = []
    latest = max((interval.last for interval in intervals[:at]), default=-1)
    if first == latest:  # a frame has one label
        first += 1
        notes.append(_SHARED)
    elif first < latest:
        notes.append(_OVERLAPS)
    if last < first:
        raise SkipRecording(_SWALLOWED)
    start, end = max(first - origin, 0), min(last + 1 - origin, frame_count)
    if end <= start:
        raise SkipRecording(_OUTSIDE)
    if (start, end) != (first - origin, last + 1 - origin):
        notes.append(_CUT)
    return Segment(start, end, _LABELS[action]), notes


def _read_rows(path: Path) -> tuple[_Rows, tuple[str, ...]]:
    """Return the rows of a file, and notes on how they are written."""
    values, notes = read_rows(path, _COLUMNS)
    numbers = values[:, 0].astype(np.int64)
    steps = np.diff(numbers, prepend=numbers[:1])
    wrong = (numbers != values[:, 0]) | (numbers < 0) | (steps < 0) | (steps > _LONGEST_GAP_FRAMES)
    if wrong.any():
        row = int(wrong.argmax())
        before = f" from {numbers[row - 1]} on" if row else ""
        problem = f"expected the whole number of a frame{before}, at most {_LONGEST_GAP_FRAMES} after the one before"
        raise ParseError(path, row + 1, f"{problem}; got {values[row, 0]:g}")
    is_first = np.append(True, steps[1:] > 0)
    joints = values[:, 1:].reshape(-1, len(KINECT_V1_20.joints), 3).astype(np.float32)
    return _Rows(numbers[is_first], joints[is_first], numbers[~is_first]), notes


def _labels_file(root: Path) -> Path:
    found = [root / name for name in (_LABELS_FILE, _OLD_LABELS_FILE) if (root / name).is_file()]
    if not found:
        raise DataError(f"expected {_LABELS_FILE} or {_OLD_LABELS_FILE} with the labels in {root}, found neither")
    return found[0]


def _parse_labels(path: Path) -> tuple[dict[str, list[_Interval]], dict[str, ParseError]]:
    """Return the intervals of each recording in the order of time, and what is wrong with those of single recordings.

    Raises:
        ParseError: the file does not follow the format, and not just in the lines of one recording.
    """
    labels: dict[str, list[_Interval]] = {}
    faults: dict[str, ParseError] = {}
    recording = ""
    for number, line in enumerate(read_lines(path), start=1):
        text = line.decode("utf-8", "replace").strip()
        if _HEADING.fullmatch(text):
            recording = text
            if text in labels:
                faults[text] = ParseError(path, number, f"expected the labels of {text} once, they begin again here")
            labels.setdefault(text, [])
        elif text:
            try:
                interval = _parse_label(path, number, line)
                if not recording:
                    problem = f"expected a line 's01_e01' before the first action, got {shown(line)}"
                    raise ParseError(path, number, problem)
                if any(interval.action == other.action for other in labels[recording]):
                    problem = f"expected each action of {recording} once, got {interval.action!r} again"
                    raise ParseError(path, number, problem)
            except ParseError as error:
                if not recording:
                    raise
                faults.setdefault(recording, error)
                continue
            labels[recording].append(interval)
    return {
        recording: sorted((each for each in intervals if each.last >= 0), key=lambda interval: interval[1:])
        for recording, intervals in labels.items()
    }, faults


def _parse_label(path: Path, number: int, line: bytes) -> _Interval:
    """Return what a line of an action says; frames of -1 where the action is missing."""
    match = _LABEL.fullmatch(line.decode("utf-8", "replace").strip())
    if match is None:
        raise ParseError(path, number, f"expected a line 's01_e01' or 'walk: 252 390', got {shown(line)}")
    if match[1] not in _LABELS:
        raise ParseError(path, number, f"expected one of the actions {', '.join(_LABELS)}; got {match[1]!r}")
    if match[2] is None:
        return _Interval(match[1], -1, -1)
    if int(match[3]) < int(match[2]):
        raise ParseError(path, number, f"expected the first frame before the last one, got {shown(line)}")
    return _Interval(match[1], int(match[2]), int(match[3]))
