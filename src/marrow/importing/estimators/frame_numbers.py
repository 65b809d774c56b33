"""Frames by the numbers in the names of files and images: which belong together, in which order, with which gaps."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from marrow.errors import ParseError
from marrow.importing.recording import Doubt, Head, Source, one_by_one

# Frame numbers that leave more out than this are no frame numbers.
_FRAMES_PER_NUMBER = 100
_FRAMES_AT_LEAST = 1000
# So many numbers without a neighbour are a recording of every n-th frame; fewer may be chance.
_NUMBERS_OF_A_STRIDE = 8
_LAST_NUMBER = re.compile(r"(\d+)(\D*)$")
_EXTENSION = re.compile(r"\.[A-Za-z]\w{0,4}$")
_LONGEST_NUMBER = 18
_BEGINNING_BYTES = 4096

FRAMES_WITHOUT_ANYBODY = "frame numbers that are missing were taken for frames without anybody"


def stamp(path: Path) -> tuple[int, int]:
    """Return what changes when a file does, so that what was read of it last can be kept.

    Raises:
        ParseError: it cannot be read.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error
    return status.st_mtime_ns, status.st_size


def number_in(name: str) -> tuple[str, int | None]:
    """Return the words before the last number of a file's name, and that number: "clip_", 12 for "clip_0012.jpg"."""
    stem = _EXTENSION.sub("", name)
    match = _LAST_NUMBER.search(stem)
    if match is None or len(match[1]) > _LONGEST_NUMBER:
        return stem, None
    return stem[: match.start()] + match[2], int(match[1])


def frame_number(path: Path, place: str, value: Any) -> int:
    """Return a frame's number.

    Raises:
        ParseError: it is none, or negative.
    """
    if isinstance(value, str) and value.isdecimal() and len(value) <= _LONGEST_NUMBER:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ParseError(path, 0, f"expected the number of a frame, from 0, in {place}; got {str(value)[:40]!r}")
    return value


@dataclass(frozen=True)
class FrameOrder:
    """Frames by their numbers.

    Args:
        index: frame, from 0, by its number in the file.
        count: of frames, those that are missing in the middle included.
        notes: what was mended.
        doubts: what was taken for something that it may not be.
        stride: by how much numbers go up from one frame to the next.
    """

    index: Mapping[int, int]
    count: int
    notes: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    stride: int = 1


def in_order(path: Path, numbers: Iterable[int]) -> FrameOrder:
    """Put frames in order by their numbers; those missing in the middle are frames without anybody.

    Raises:
        ParseError: so many are missing that these are no numbers of frames.
    """
    ordered = sorted(set(numbers))
    if not ordered:
        return FrameOrder({}, 0)
    steps = [after - before for before, after in pairwise(ordered)]
    stride = math.gcd(*steps) if len(ordered) >= _NUMBERS_OF_A_STRIDE else 1
    count = (ordered[-1] - ordered[0]) // stride + 1
    if count > _FRAMES_PER_NUMBER * len(ordered) + _FRAMES_AT_LEAST:
        raise ParseError(
            path, 0, f"expected frames by number, got {len(ordered):,} of them from {ordered[0]} to {ordered[-1]}"
        )
    doubts = ()
    if stride > 1:
        text = f"frame numbers go up in steps of {stride}: taken for every frame that there is"
        doubts = (Doubt(text, "--fps RATE"),)
    notes = (FRAMES_WITHOUT_ANYBODY,) if count > len(ordered) else ()
    return FrameOrder({number: (number - ordered[0]) // stride for number in ordered}, count, notes, doubts, stride)


def of_names(names: Sequence[str | int]) -> tuple[dict[str | int, tuple[str, int]], tuple[Doubt, ...]]:
    """Return to which recording each image belongs and the number of its frame, by what they are called.

    Args:
        names: of images, each once, in the order of the file: "clip/0012.jpg", or numbers.
    """
    split = {name: number_in(name) if isinstance(name, str) else ("", name) for name in names}
    if len(names) > 1 and len({words for words, _ in split.values()}) == len(names):
        text = "names of images have no frame numbers: taken for one recording in the order of the file"
        return {name: ("", place) for place, name in enumerate(names)}, (Doubt(text),)
    return {name: (words.strip("_-./\\ "), number or 0) for name, (words, number) in split.items()}, ()


def stem_of(file: Path) -> str:
    """Return a frame's name without what OpenPose puts after its number."""
    return file.stem.removesuffix("_keypoints")


def by_last_number(files: Sequence[Path]) -> list[Source]:
    """Put files of one frame each together whose names differ by their last number."""
    groups: dict[tuple[Path, str], list[tuple[int, Path]]] = {}
    for file in files:
        words, number = number_in(stem_of(file))
        groups.setdefault((file.parent, words), []).append((number or 0, file))
    return [
        Source(words.strip("_-. ") or folder.name, tuple(file for _, file in sorted(frames)))
        for (folder, words), frames in groups.items()
    ]


def frames_and_others(files: Sequence[Path], one_frame: re.Pattern[str]) -> list[Source]:
    """Put files of one frame each together whose names differ by their last number; others stand alone.

    Args:
        files: of one format.
        one_frame: how the text of a file of one frame begins.
    """
    frames = {file: None for file in files if begins_as(file, one_frame)}
    return by_last_number(list(frames)) + one_by_one([file for file in files if file not in frames])


def begins_as(file: Path, pattern: re.Pattern[str]) -> bool:
    """Tell whether the text of a file begins as a pattern says; False where it cannot be read or is none."""
    try:
        with file.open("rb") as opened:
            text = Head(file, opened.read(_BEGINNING_BYTES)).text
    except OSError:
        return False
    return text is not None and pattern.match(text) is not None


def number_of(file: Path) -> int:
    """Return the frame that a file is, by its name; 0 if it has no number."""
    return number_in(stem_of(file))[1] or 0


def order_of_files(source: Source) -> FrameOrder:
    """Put the files of a recording, one per frame, in order by the numbers in their names.

    Raises:
        ParseError: two have the same number, or they are no numbers of frames.
    """
    numbers: dict[int, Path] = {}
    for file in source.files:
        number = number_of(file)
        if number in numbers:
            raise ParseError(file, 0, f"expected another number than {numbers[number].name} has, got frame {number}")
        numbers[number] = file
    return in_order(source.path, numbers)
