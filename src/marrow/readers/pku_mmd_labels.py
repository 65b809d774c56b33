"""The labels and the split files of PKU-MMD."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from marrow.errors import ParseError
from marrow.readers.number_lines import read_lines, shown

# Recordings of part I are numbered; those of part II are named after a scene and a number. L, M, R are the views.
RECORDING = {1: re.compile(r"(\d{4})-([LMR])"), 2: re.compile(r"(A\d\dN\d\d)-([LMR])")}
EXAMPLE = {1: "0002-L", 2: "A01N01-L"}
_LABEL_LINE = re.compile(rb"\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*")

_CLASS_NAMES = """
bow; brush hair; brush teeth; check time from watch; cheer up; clapping; cross hands in front; drink water; drop;
eat meal; falling down; giving object; hand waving; shaking hands; hopping; hugging; jump up; kicking;
kicking something; phone call; pat on back; pick up; play with phone or tablet; point finger; point to something;
punch or slap; pushing; put on a hat or cap; put something into pocket; reading; rub two hands; salute; sit down;
stand up; take off a hat or cap; take off glasses; take off jacket; take something out of pocket; taking a selfie;
tear up paper; throw; back pain; chest pain; headache; neck pain; type on a keyboard; fan self; put on jacket;
put on glasses; wipe face; writing
"""
CLASSES = tuple(" ".join(name.split()) for name in _CLASS_NAMES.split(";"))


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


def parse_labels(file: Path) -> list[Instance]:
    """Read a label file; it may be empty.

    Raises:
        ParseError: it does not follow the format.
    """
    instances = []
    for number, line in enumerate(read_lines(file), start=1):
        if not line.strip():
            continue
        match = _LABEL_LINE.fullmatch(line)
        if match is None or any(len(word) > 9 for word in match.groups()):
            raise ParseError(file, number, f"expected four whole numbers class,start,end,confidence; got {shown(line)}")
        action, start, end, confidence = map(int, match.groups())
        if not 1 <= action <= len(CLASSES):
            raise ParseError(file, number, f"expected a class from 1 to {len(CLASSES)}, got {action}")
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
            if not any(pattern.fullmatch(name) for pattern in RECORDING.values()):
                examples = " or ".join(EXAMPLE.values())
                raise ParseError(file, number, f"expected names like {examples} with commas between, got {name[:60]!r}")
            if sides.setdefault(name, side) != side:
                raise ParseError(file, number, f"{name} stands under both headings")
            counts[side] += 1
    for side, heading in (("train", "Training"), ("test", "Validation")):
        if not counts[side]:
            raise ParseError(file, max(number, 1), f"expected names under '{heading} videos:', found none")
    return sides
