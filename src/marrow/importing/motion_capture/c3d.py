"""C3D: labelled markers of optical capture. How it is written: `importing/motion_capture/c3d_file.py`.

Markers lie on the skin, not in joints. `ReadOptions.markers` says of which the mean is a joint; without it the markers
themselves are the joints. Left out are unlabelled markers (`*12`), what a model computed and stores like a marker
(angles, forces, moments, powers), and, where joints are given, markers of none of them. Events and analog signals are
not read.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from marrow.errors import ConfigError, ParseError
from marrow.importing.motion_capture.c3d_file import C3dFile, read_beginning
from marrow.importing.recording import ClipEntry, Contents, Doubt, Head, ReadOptions, Recording, Source, one_by_one
from marrow.readers.base import SkipRecording

_UNIT_METRES = {"mm": 0.001, "cm": 0.01, "dm": 0.1, "m": 1.0, "in": 0.0254, "inch": 0.0254, "ft": 0.3048}
_COMPUTED = ("ANGLES", "FORCES", "MOMENTS", "POWERS", "SCALARS", "REACTIONS", "MODELED_MARKERS")
_UP: dict[str, Literal["x", "y", "z", "-x", "-y", "-z"]] = {
    **{"X": "x", "Y": "y", "Z": "z", "+X": "x", "+Y": "y", "+Z": "z", "-X": "-x", "-Y": "-y", "-Z": "-z"},
}


class C3d:
    """Labelled markers, one recording per file."""

    name: ClassVar[str] = "c3d"
    title: ClassVar[str] = "C3D optical motion capture (markers)"

    def accepts(self, head: Head) -> bool:
        """Tell by the two bytes that all begin with and the kind of processor."""
        content = head.content
        if head.suffix == ".c3d":
            return True
        at = (content[0] - 1) * 512 + 3 if content else -1
        return len(content) > 1 and content[1] == 80 and 0 < at < len(content) and 84 <= content[at] <= 86

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Return each file by itself."""
        return one_by_one(files)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say which markers a file has, and its rate, unit and upward axis; the frames are not read.

        Raises:
            ParseError: it does not follow the format, or has no labelled marker.
            ConfigError: a joint is made of a marker that it does not have.
        """
        file = read_beginning(source.path)
        markers, left_out = _markers(file)
        joints = _joints(markers, options.markers)
        fps = _rate(file)
        unit = (file.texts("POINT:UNITS") or ("",))[0].strip().lower()
        screen = (file.texts("POINT:Y_SCREEN") or ("",))[0].upper()
        used = {marker for rows in joints.values() for marker in rows}
        unused = tuple(name for name, row in markers.items() if row not in used)
        doubts = [] if fps else [Doubt("the file does not say its rate (it says 0)", "--fps RATE")]
        if not options.markers:
            text = "markers on the skin are taken for joints"
            doubts.append(Doubt(text, "--markers FILE (which markers' mean each joint is)"))
        software = " ".join(file.texts("MANUFACTURER:SOFTWARE") or file.texts("MANUFACTURER:COMPANY"))
        return Contents(
            clips=(ClipEntry(),),
            joint_count=len(joints),
            joints=tuple(joints),
            fps=fps,
            unit_metres=_UNIT_METRES.get(unit),
            up=_UP.get(screen),
            software=software,
            left_out=left_out + unused,
            doubts=tuple(doubts),
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read a file. A joint of several markers is absent where one of them is: their mean would jump.

        Raises:
            ParseError: it does not follow the format, or has no labelled marker.
            ConfigError: a joint is made of a marker that it does not have.
            SkipRecording: no marker was seen in any frame.
        """
        file = read_beginning(source.path)
        joints = _joints(_markers(file)[0], options.markers)
        places, seen = file.positions()
        places = np.where(seen[..., None], places, np.float32(np.nan))
        positions = np.stack([places[:, rows].mean(axis=1) for rows in joints.values()], axis=1)
        if not np.isfinite(positions).any():
            raise SkipRecording("no marker was seen in any frame" if file.frame_count else "there is no frame")
        return Recording(positions.astype(np.float32)[None])


def _markers(file: C3dFile) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the row of each labelled marker by name, and the names of what was left out.

    The name of the one person is taken off ("Anna:LASI"); a second marker of one name gets a number.
    """
    labels = list(file.texts("POINT:LABELS")[: file.marker_count])
    labels += [f"*{row}" for row in range(len(labels), file.marker_count)]
    computed = {text for name in _COMPUTED for text in file.texts(f"POINT:{name}") if text}
    kept = {row: label for row, label in enumerate(labels) if label.strip("*") and label[0] != "*"}
    kept = {row: label for row, label in kept.items() if label not in computed}
    if not kept:
        raise ParseError(file.path, 0, f"expected labelled markers, got {len(labels)} without a name")
    people = {label.rpartition(":")[0] for label in kept.values()}
    rows: dict[str, int] = {}
    for row, label in kept.items():
        name = label.rpartition(":")[2] if len(people) == 1 else label
        name = name or label
        if name in rows:
            name = next(f"{name}{count}" for count in range(2, len(kept) + 3) if f"{name}{count}" not in rows)
        rows[name] = row
    return rows, tuple(label or f"*{row}" for row, label in enumerate(labels) if row not in kept)


def _joints(markers: Mapping[str, int], wanted: Mapping[str, Sequence[str]] | None) -> dict[str, list[int]]:
    """Return the rows of each joint's markers."""
    if not wanted:
        return {name: [row] for name, row in markers.items()}
    for joint, names in wanted.items():
        unknown = next((name for name in names if name not in markers), None)
        if unknown is not None or not names or isinstance(names, str):
            got = f"{unknown!r}" if unknown is not None and not isinstance(names, str) else f"{names!r}"
            raise ConfigError(
                f"the joint {joint!r} is to be the mean of markers, got {got}. Markers: {', '.join(markers)}"
            )
    return {joint: [markers[name] for name in names] for joint, names in wanted.items()}


def _rate(file: C3dFile) -> float | None:
    """Return the frames per second; None where the file says 0."""
    rate = file.number("POINT:RATE") or file.rate
    if not math.isfinite(rate) or rate < 0:
        raise ParseError(file.path, 0, f"expected a rate above 0 frames per second, got {rate:g}")
    return rate or None
