"""The files of PKU-MMD: where they lie, what their labels say, and which recordings train.

Three kinds of text, told apart by what is in them, since a recording's skeleton and its labels have the same name:

    skeletons   0002-L.txt         150 numbers per line, one line per frame
    labels      0002-L.txt         class,start,end,confidence per line, one line per instance
    splits      cross-subject.txt  "Training videos:", names with commas between, "Validataion videos:", names

The releases spell "Validation" as above, end the last name with a comma or not, put a blank or a carriage return at the
end of a line, and write `cross_subject.txt` as well as `cross-subject.txt`; part II adds `_v2`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from marrow.errors import DataError, ParseError
from marrow.readers.number_lines import read_lines, shown

CLASS_COUNT = 51
# Recordings of part I are numbered; those of part II are named after a scene and a number. L, M, R are the views.
_RECORDING = {1: re.compile(r"(\d{4})-([LMR])"), 2: re.compile(r"(A\d\dN\d\d)-([LMR])")}
_EXAMPLE = {1: "0002-L", 2: "A01N01-L"}
_SPLIT_FILE = re.compile(r"cross[-_ ]?(subject|view)([-_ ]?v2)?\.txt", re.IGNORECASE)
_SPLIT_NAMES = {"subject": "xsub", "view": "xview"}
_LABEL_LINE = re.compile(rb"\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*")


@dataclass(frozen=True)
class Instance:
    """One line of a label file.

    Args:
        line: its 1-based number.
        label: 0-based class.
        start: first frame, 0-based.
        end: the frame after the last one; before `start` where the interval is reversed.
        confidence: 2 strong, 1 slight, 0 in a few places without an explanation.
    """

    line: int
    label: int
    start: int
    end: int
    confidence: int


@dataclass(frozen=True)
class Files:
    """What lies below a folder of one part.

    Args:
        skeletons: path of the skeletons, by recording.
        labels: path of the labels, by recording.
        sides: "train" or "test", by protocol and recording.
    """

    skeletons: Mapping[str, Path]
    labels: Mapping[str, Path]
    sides: Mapping[str, Mapping[str, str]]


def find_files(root: Path, part: int) -> Files:
    """Find the files of a part at any depth below a folder.

    Raises:
        DataError: there are none of a kind, or two folders or files compete to be it.
        ParseError: a split file does not follow the format.
    """
    if not root.is_dir():
        raise DataError(f"expected a folder with PKU-MMD; {root} is not a folder")
    texts = sorted(root.rglob("*.txt"))
    folders: dict[Path, list[Path]] = {}
    for file in texts:
        if _RECORDING[part].fullmatch(file.stem):
            folders.setdefault(file.parent, []).append(file)
    kinds: dict[str, list[Path]] = {"skeletons": [], "labels": []}
    for folder, files in folders.items():
        kinds[_kind(files)].append(folder)
    folder_of = {kind: _only_folder(root, part, kind, kinds[kind]) for kind in kinds}
    return Files(
        skeletons={file.stem: file for file in folders[folder_of["skeletons"]]},
        labels={file.stem: file for file in folders[folder_of["labels"]]},
        sides=_find_splits(root, part, texts),
    )


def view_of(recording: str, part: int) -> tuple[str, str]:
    """Return the number (or scene) and the view of a recording."""
    match = _RECORDING[part].fullmatch(recording)
    assert match is not None
    return match[1], match[2]


def parse_labels(file: Path) -> list[Instance]:
    """Read a label file; it may be empty.

    Raises:
        ParseError: it does not follow the format.
    """
    instances = []
    for number, line in enumerate(read_lines(file), start=1):
        match = _LABEL_LINE.fullmatch(line)
        if match is None or any(len(word) > 9 for word in match.groups()):
            raise ParseError(file, number, f"expected four whole numbers class,start,end,confidence; got {shown(line)}")
        action, start, end, confidence = map(int, match.groups())
        if not 1 <= action <= CLASS_COUNT:
            raise ParseError(file, number, f"expected a class from 1 to {CLASS_COUNT}, got {action}")
        instances.append(Instance(number, action - 1, start, end, confidence))
    return instances


def overlapping(instances: Iterable[Instance]) -> set[int]:
    """Return the lines of those instances that share a frame with another one; reversed ones count as swapped."""
    spans = sorted((*sorted((instance.start, instance.end)), instance.line) for instance in instances)
    lines: set[int] = set()
    latest_end, latest_line = -1, -1
    for start, end, line in spans:
        if start < latest_end and start < end:
            lines |= {latest_line, line}
        if end > latest_end:
            latest_end, latest_line = end, line
    return lines


def parse_split(file: Path) -> dict[str, str]:
    """Return "train" or "test" by recording.

    Raises:
        ParseError: it does not follow the format, or puts a recording on both sides.
    """
    sides: dict[str, str] = {}
    counts = {"train": 0, "test": 0}
    side = None
    number = 0
    for number, line in enumerate(read_lines(file), start=1):
        text = line.decode("utf-8", "replace").strip()
        if text.endswith(":"):
            side = "train" if "train" in text.lower() else "test" if re.search("vali|test", text.lower()) else None
            if side is None:
                raise ParseError(file, number, f"expected 'Training videos:' or 'Validation videos:', got {text!r}")
            continue
        for name in filter(None, (name.strip().removesuffix(".txt") for name in text.split(","))):
            if side is None:
                raise ParseError(file, number, f"expected 'Training videos:' first, got {shown(line)}")
            if not any(pattern.fullmatch(name) for pattern in _RECORDING.values()):
                examples = " or ".join(_EXAMPLE.values())
                raise ParseError(file, number, f"expected names like {examples} with commas between, got {name[:60]!r}")
            if sides.setdefault(name, side) != side:
                raise ParseError(file, number, f"{name} stands under both headings")
            counts[side] += 1
    for side, heading in (("train", "Training"), ("test", "Validation")):
        if not counts[side]:
            raise ParseError(file, max(number, 1), f"expected names under '{heading} videos:', found none")
    return sides


def _kind(files: list[Path]) -> str:
    """Tell labels from skeletons by the first line that is written: numbers with commas between, or with blanks."""
    for file in files:
        for line in read_lines(file)[:1]:
            return "labels" if b"," in line else "skeletons"
    return "labels"  # all empty: a folder in which nothing was labelled


def _only_folder(root: Path, part: int, kind: str, folders: list[Path]) -> Path:
    if len(folders) == 1:
        return folders[0]
    if folders:
        raise DataError(
            f"{root} holds {len(folders)} folders with {kind} of PKU-MMD part {part}: {folders[0]} and {folders[1]}. "
            f"Name a folder that holds only one of them"
        )
    other = {1: 2, 2: 1}[part]
    there = any(_RECORDING[other].fullmatch(file.stem) for file in root.rglob("*.txt"))
    hint = f". There are files of part {other}: use --options.part {other}" if there else ""
    raise DataError(
        f"expected {kind} of PKU-MMD part {part} ({_EXAMPLE[part]}.txt, ...) below {root}, found none{hint}"
    )


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
