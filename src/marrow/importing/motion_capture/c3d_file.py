"""Parse a C3D file: markers of optical capture in blocks of 512 bytes.

    block 1                 where the parameters begin, 80, counts of markers and analog values, first and last frame,
                            the scale of integers (negative: numbers are floats), where the frames begin, the rate
    parameters              groups (POINT, TRIAL, ...) of named arrays: POINT:LABELS, POINT:UNITS, POINT:RATE, ...
    frames                  per marker x y z and a word that is negative where it was not seen; then analog values

Written by three kinds of processors, which order bytes and floats in their own way. `ezc3d` reads the same, and ends
the whole process at a damaged file (1 in 100 of files with four wrong bytes, version 1.7.2), which is why the file is
parsed here; the tests compare the two.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from jaxtyping import Bool, Float32

from marrow.errors import ParseError

_BLOCK = 512
_KEY = 80
_LARGEST_BYTES = 1 << 29
# No marker is farther off, in any unit: what lies beyond was not seen.
_FARTHEST = 1e6
_PROCESSORS: dict[int, Literal["intel", "dec", "mips"]] = {84: "intel", 85: "dec", 86: "mips"}
_Values = tuple[str, ...] | tuple[float, ...]


@dataclass(frozen=True)
class C3dFile:
    """What a file says before its frames.

    Args:
        path: of the file.
        processor: whose order of bytes it has.
        parameters: values by group and name, such as ("POINT", "LABELS"): texts without blanks around, or numbers.
        marker_count: markers in each frame.
        frame_count: frames.
        rate: frames per second by the header.
        first_byte: where the frames begin.
        frame_bytes: length of one, analog values included.
        scale: of whole numbers; 0 where numbers are floats.
    """

    path: Path
    processor: Literal["intel", "dec", "mips"]
    parameters: dict[tuple[str, str], _Values]
    marker_count: int
    frame_count: int
    rate: float
    first_byte: int
    frame_bytes: int
    scale: float

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a parameter of texts, "GROUP:NAME", with those of NAME2, NAME3, ... behind it; empty if there is none.

        More than 255 markers do not fit into one parameter.
        """
        group, _, key = name.partition(":")
        found: list[str] = []
        for count in range(1, 256):
            values = self.parameters.get((group, key if count == 1 else f"{key}{count}"), ())
            texts = [value for value in values if isinstance(value, str)]
            if not texts:
                break
            found += texts
        return tuple(found)

    def number(self, name: str) -> float | None:
        """Return the first number of a parameter, "GROUP:NAME"; None if there is none."""
        group, _, key = name.partition(":")
        values = self.parameters.get((group, key), ())
        return values[0] if values and not isinstance(values[0], str) else None

    def positions(self) -> tuple[Float32[np.ndarray, "frame marker 3"], Bool[np.ndarray, "frame marker"]]:
        """Return where the markers are, in the file's unit, and which of them were seen.

        Raises:
            ParseError: the file cannot be read, or was cut since its beginning was.
        """
        with _opened(self.path) as file:
            raw = np.fromfile(file, np.uint8, self.frame_count * self.frame_bytes, offset=self.first_byte)
        if raw.size < self.frame_count * self.frame_bytes:
            raise ParseError(self.path, 0, f"expected {self.frame_count} frames, got the end of the file")
        width = 4 if self.scale == 0 else 2
        rows = raw.reshape(self.frame_count, self.frame_bytes)[:, : self.marker_count * 4 * width]
        rows = np.ascontiguousarray(rows)
        with np.errstate(all="ignore"):  # of whatever bits there are; what is no number was not seen
            if width == 4:
                words = _floats(rows, self.processor)
            else:
                words = rows.view(">i2" if self.processor == "mips" else "<i2").astype(np.float32)
            words = words.reshape(self.frame_count, self.marker_count, 4)
            places = words[..., :3] * np.float32(self.scale or 1.0)
            seen = (words[..., 3] >= 0) & (np.abs(places) < _FARTHEST).all(-1)
        return places, seen


def read_beginning(path: Path) -> C3dFile:
    """Read all but the frames.

    Raises:
        ParseError: the file cannot be read or does not follow the format, or is shorter than it says.
    """
    with _opened(path) as file:
        size = path.stat().st_size
        header = file.read(_BLOCK)
        if len(header) < _BLOCK or header[1] != _KEY or header[0] < 1:
            raise ParseError(path, 0, f"expected a C3D header of {_BLOCK} bytes, got {header[:4]!r}")
        at = (header[0] - 1) * _BLOCK
        file.seek(at)
        beginning = file.read(4)
        if len(beginning) < 4 or beginning[3] not in _PROCESSORS:
            got = beginning[3] if len(beginning) > 3 else "the end of the file"
            raise ParseError(path, 0, f"expected a kind of processor, 84 to 86, at byte {at + 3}, got {got}")
        processor = _PROCESSORS[beginning[3]]
        # The count of blocks is wrong in some files, so the parameters' own links say where they end.
        file.seek(at)
        content = file.read(256 * _BLOCK)
    parameters = _parameters(path, content, processor)
    counts = np.frombuffer(header[:20], ">u2" if processor == "mips" else "<u2").astype(int)
    marker_count, analog_count, first_frame, last_frame = counts[1:5].tolist()
    scale, rate = (float(_floats(_bytes(header[start : start + 4]), processor)[0]) for start in (12, 20))
    if not math.isfinite(scale):
        raise ParseError(path, 0, f"expected a scale in the header, got {scale}")
    width = 4 if scale <= 0 else 2
    frame_bytes = width * (4 * marker_count + analog_count)
    first_byte = (int(counts[8]) - 1) * _BLOCK
    beginning = C3dFile(
        path, processor, parameters, marker_count, 0, rate, first_byte, frame_bytes, scale if scale > 0 else 0.0
    )
    frame_count = _frame_count(beginning, first_frame, last_frame)
    if not marker_count:
        raise ParseError(path, 0, "expected markers, got a file without (analog signals alone?)")
    if first_byte < _BLOCK or frame_count < 0:
        raise ParseError(path, 0, f"expected frames from block 2 on, got {frame_count} frames from block {counts[8]}")
    if first_byte + frame_count * frame_bytes > size:
        held = max(size - first_byte, 0) // frame_bytes
        raise ParseError(
            path, 0, f"expected {frame_count:,} frames of {marker_count} markers, got {held:,}: cut short?"
        )
    return C3dFile(
        path, processor, parameters, marker_count, frame_count, rate, first_byte, frame_bytes, beginning.scale
    )


def _opened(path: Path) -> BinaryIO:
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ParseError(path, 0, f"expected at most {_LARGEST_BYTES:,} bytes in such a file")
        return path.open("rb")
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error


def _frame_count(file: C3dFile, first: int, last: int) -> int:
    """Return the number of frames: by the header, or where 65,535 do not suffice by what was added for that."""
    if last < 65535:
        return last - first + 1
    fields = [file.parameters.get(("TRIAL", f"ACTUAL_{end}_FIELD"), ()) for end in ("START", "END")]
    ends = []
    for words in fields:  # two halves of a whole number, the lower one first
        numbers = [int(word) & 0xFFFF for word in words if not isinstance(word, str) and math.isfinite(word)]
        ends.append(numbers[0] + 65536 * numbers[1] if len(numbers) == 2 else None)
    if ends[0] is not None and ends[1] is not None and ends[1] >= ends[0]:
        return ends[1] - ends[0] + 1
    for name in ("POINT:LONG_FRAMES", "POINT:FRAMES"):
        number = file.number(name)
        if number is not None and math.isfinite(number) and number > 0:
            return int(number)
    return last - first + 1


def _parameters(
    path: Path, content: bytes, processor: Literal["intel", "dec", "mips"]
) -> dict[tuple[str, str], _Values]:
    """Return the values of all parameters, by the names of group and parameter in capitals."""
    groups: dict[int, str] = {}
    found: list[tuple[int, str, _Values]] = []
    order: Literal["big", "little"] = "big" if processor == "mips" else "little"
    at = 4
    while True:
        if at + 2 > len(content):
            raise ParseError(path, 0, "expected parameters, got the end of the file")
        length = abs(int.from_bytes(content[at : at + 1], signed=True))
        group = int.from_bytes(content[at + 1 : at + 2], signed=True)
        link = at + 2 + length
        if length == 0 or group == 0:
            break
        if link + 2 > len(content):
            raise ParseError(path, 0, "expected a parameter, got the end of the file")
        name = content[at + 2 : link].decode("latin-1").strip().upper()
        step = int.from_bytes(content[link : link + 2], order)
        if step and step < 2:
            raise ParseError(path, 0, f"expected the parameter {name} to end behind its beginning, got {step} bytes")
        if group < 0:
            groups[-group] = name
        else:
            end = link + step if step else len(content)  # what reached into the next would be read over and over
            found.append((group, name, _values(path, name, content[:end], link + 2, processor)))
        if step == 0:
            break
        at = link + step  # always ahead: no loop
    return {(groups.get(group, ""), name): values for group, name, values in found}


def _values(path: Path, name: str, content: bytes, at: int, processor: Literal["intel", "dec", "mips"]) -> _Values:
    if at + 2 > len(content):
        raise ParseError(path, 0, f"expected the parameter {name}, got the end of the file")
    kind = int.from_bytes(content[at : at + 1], signed=True)
    sizes = content[at + 2 : at + 2 + content[at + 1]]
    start = at + 2 + content[at + 1]
    width = {-1: 1, 1: 1, 2: 2, 4: 4}.get(kind)
    count = math.prod(sizes)
    if width is None or start + width * count > len(content):
        raise ParseError(
            path, 0, f"expected the parameter {name} within its section, got {count} values of kind {kind}"
        )
    data = content[start : start + width * count]
    if kind == -1:
        size = sizes[0] if sizes else 1
        pieces = [data[place : place + size] for place in range(0, count, size)] if size else []
        return tuple(piece.decode("utf-8", "replace").strip(" \0\t") for piece in pieces)
    if kind == 4:
        return tuple(_floats(_bytes(data), processor).tolist())
    if kind == 2:
        return tuple(np.frombuffer(data, ">i2" if processor == "mips" else "<i2").astype(float).tolist())
    return tuple(np.frombuffer(data, np.int8).astype(float).tolist())


def _bytes(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def _floats(data: np.ndarray, processor: Literal["intel", "dec", "mips"]) -> np.ndarray:
    """Return bytes (their last axis a multiple of 4) as floats."""
    if processor == "mips":
        return data.view(">f4").astype(np.float32)
    if processor == "intel":
        return data.view("<f4").astype(np.float32)
    # DEC: the halves of a float stand the other way round, and its exponent is 2 more.
    halves = data.view("<u2").reshape(*data.shape[:-1], -1, 2)
    return (np.ascontiguousarray(halves[..., ::-1]).view("<f4")[..., 0] / 4).astype(np.float32)
