"""UI-PRMD, rehabilitation exercises seen by Kinect v2: offsets and angles of 22 joints in two files per repetition.

`mMM_sSS_eEE_positions.txt` (movement, subject, episode; `_positions_inc` where it was done incorrectly) has a line of
66 numbers per frame, 22 joints x (x, y, z), comma separated: the place of the waist in centimetres, and the offset of
every other joint from its parent in the parent's frame. `mMM_sSS_eEE_angles.txt`, in a folder beside, has the turn of
each joint as angles about x, y and z in degrees. A joint is at `parent + G_parent offset`, where `G = G_parent Rz Rx
Ry`: of all orders this one keeps the feet still where feet stand still. 30 frames per second, y up.

The class is the exercise. The attribute `correct` (1 or 0) can be the label instead: `--labels attribute:correct`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from marrow.errors import ParseError
from marrow.importing.recording import ClipEntry, Contents, Head, ReadOptions, Recording, Source
from marrow.readers.number_lines import parse_numbers
from marrow.readers.text_file import read_text
from marrow.skeleton.sensors import UI_PRMD_22

_NAME = re.compile(
    r"(m(?P<movement>\d\d)_s(?P<subject>\d\d)_e(?P<episode>\d\d))_(?P<kind>positions|angles)(?P<inc>_inc)?"
)
_EXERCISES = (
    *("deep squat", "hurdle step", "inline lunge", "side lunge", "sit to stand"),
    *("standing active straight leg raise", "standing shoulder abduction", "standing shoulder extension"),
    *("standing shoulder internal-external rotation", "standing shoulder scaption"),
)
_COLUMNS = 3 * len(UI_PRMD_22.joints)


@dataclass(frozen=True)
class UiPrmd:
    """UI-PRMD's segmented repetitions."""

    name: ClassVar[str] = "ui_prmd"
    title: ClassVar[str] = "UI-PRMD, offsets and angles of Kinect v2"

    def accepts(self, head: Head) -> bool:
        """Tell by the name, and by 66 numbers in the first line: offsets and angles look alike."""
        if not _NAME.fullmatch(head.path.stem) or head.text is None:
            return False
        return head.text.split("\n", 1)[0].count(",") in (0, _COLUMNS - 1)

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """Put the two files of each repetition together: of one name, in one folder or in two beside each other.

        Where one of them is asked for, the other is looked up.
        """
        by_repetition: dict[tuple[Path, str], dict[str, Path]] = {}
        for file in files:
            match = _NAME.fullmatch(file.stem)
            kind = "positions" if match is None else match["kind"]
            by_repetition.setdefault(_repetition(file), {})[kind] = file
        for by_kind in by_repetition.values():
            for kind, other in (("positions", "angles"), ("angles", "positions")):
                if kind in by_kind and other not in by_kind and (found := _beside(by_kind[kind], kind, other)):
                    by_kind[other] = found
        return [
            Source(name, tuple(by_kind[kind] for kind in ("positions", "angles") if kind in by_kind))
            for (_, name), by_kind in by_repetition.items()
        ]

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """Say what stands in the name; the layout is that of the data set."""
        match = _NAME.fullmatch(source.path.stem)
        if match is None:
            raise ParseError(source.path, 0, "expected a name such as m01_s01_e01_positions.txt")
        if len(source.files) < 2:
            other = "angles" if match["kind"] == "positions" else "positions"
            name = source.path.name.replace(match["kind"], other)
            raise ParseError(source.path, 0, f"expected {name} with the {other} in a folder beside; there is none")
        movement = int(match["movement"])
        if not 1 <= movement <= len(_EXERCISES):
            raise ParseError(source.path, 0, f"expected a movement of m01 to m10, got m{match['movement']}")
        return Contents(
            clips=(
                ClipEntry(
                    label=_EXERCISES[movement - 1],
                    attributes={
                        "subject": int(match["subject"]),
                        "episode": int(match["episode"]),
                        "correct": int(match["inc"] is None),
                    },
                ),
            ),
            joint_count=len(UI_PRMD_22.joints),
            joints=UI_PRMD_22.joints,
            parents=UI_PRMD_22.parents,
            layout=UI_PRMD_22,
            fps=30.0,
            fps_of_format=True,
            unit_metres=0.01,
            up="y",
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """Read offsets and angles, and put the body together."""
        offsets, angles = (self._numbers(file) for file in source.files)
        notes: tuple[str, ...] = ()
        if len(offsets) != len(angles):
            if abs(len(offsets) - len(angles)) > 1:
                raise ParseError(
                    source.files[1], 0, f"expected {len(offsets)} frames as in the positions, got {len(angles)}"
                )
            notes = ("offsets and angles differ by one frame; the last was left out",)
            frames = min(len(offsets), len(angles))
            offsets, angles = offsets[:frames], angles[:frames]
        return Recording(_chain(offsets, np.deg2rad(angles)).astype(np.float32)[None], notes=notes)

    def _numbers(self, file: Path) -> Float64[np.ndarray, "frame joint 3"]:
        lines = [line.encode() for line in read_text(file).rstrip("\n").split("\n")]
        numbers = parse_numbers(file, lines, _COLUMNS, separator=b",", passes_over_blank_lines=True)
        return numbers.reshape(-1, len(UI_PRMD_22.joints), 3)


def _repetition(file: Path) -> tuple[Path, str]:
    """Return what both files of a repetition share: the folder, or the one above, and the name without the kind."""
    folder = file.parent.parent if file.parent.name.casefold() in ("positions", "angles") else file.parent
    match = _NAME.fullmatch(file.stem)
    return folder, file.stem if match is None else f"{match[1]}{match['inc'] or ''}"


def _beside(file: Path, kind: str, other: str) -> Path | None:
    """Return the file of the other kind that belongs to one, in its folder or in one beside that; None: none."""
    name = file.name.replace(f"_{kind}", f"_{other}")
    folders = [file.parent, *(file.parent.parent / folder for folder in (other.capitalize(), other))]
    return next((folder / name for folder in folders if name != file.name and (folder / name).is_file()), None)


def _chain(
    offsets: Float64[np.ndarray, "frame joint 3"], angles: Float64[np.ndarray, "frame joint 3"]
) -> Float64[np.ndarray, "frame joint 3"]:
    """Return the places of joints from their offsets and turns; parents come before their children."""
    turns = _turns(angles)
    places, frames = offsets.copy(), turns.copy()
    for joint, parent in enumerate(UI_PRMD_22.parents):
        if joint != parent:
            places[:, joint] = places[:, parent] + np.einsum("tij,tj->ti", frames[:, parent], offsets[:, joint])
            frames[:, joint] = frames[:, parent] @ turns[:, joint]
    return places


def _turns(angles: Float64[np.ndarray, "frame joint 3"]) -> Float64[np.ndarray, "frame joint 3 3"]:
    """Return Rz Rx Ry of angles about x, y and z in radians."""
    cosine, sine = np.cos(angles), np.sin(angles)
    turns = []
    for axis in (2, 0, 1):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.zeros((*angles.shape[:2], 3, 3))
        turn[..., axis, axis] = 1
        turn[..., first, first] = turn[..., second, second] = cosine[..., axis]
        turn[..., first, second], turn[..., second, first] = -sine[..., axis], sine[..., axis]
        turns.append(turn)
    return turns[0] @ turns[1] @ turns[2]
