"""NTU RGB+D as the repositories of graph networks save it: one NPZ with `x_train`, `y_train`, `x_test`, `y_test`.

`x_*` is clips × 300 frames × 150 numbers (two people of 25 joints of Kinect v2, in metres, zeros where nobody is),
`y_*` one-hot. Such a file has 20 GB and more: clips are read one at a time from where they lie in it.
"""

import zipfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from marrow.errors import ConfigError, ParseError, setting
from marrow.importing.arrays.clip import recording_of
from marrow.importing.arrays.file import Rows, open_arrays
from marrow.importing.arrays.layout import layout_of
from marrow.importing.arrays.roles import Beside, entries_of, labels_of
from marrow.importing.recording import ClipEntry, Contents, Doubt, Head, ReadOptions, Recording, Source, one_by_one

_PARTS = ("train", "test", "val")
_MEMBERS = tuple(f"{name}_{part}.npy".encode() for name in "xy" for part in _PARTS)
_PERSON_VALUES = 75
_FPS = 30.0


class NtuNpz:
    """NPZ files of NTU RGB+D."""

    name = "ntu_npz"
    title = "NTU RGB+D as NPZ (x_train, y_train, …)"

    def accepts(self, head: Head) -> bool:
        """See `Format`. The shapes of its arrays are looked up where it can be opened."""
        content = head.content
        name = content[30 : 30 + int.from_bytes(content[26:28], "little")]
        if not content.startswith(b"PK\x03\x04") or name not in _MEMBERS:
            return False
        try:
            arrays = open_arrays(head.path)
        except (ParseError, zipfile.BadZipFile, OSError):
            return True
        return bool(_clip_arrays(arrays)) and all(_is_ntu(rows.shape) for _, rows in _clip_arrays(arrays))

    def gather(self, files: Sequence[Path]) -> list[Source]:
        """See `Format`."""
        return one_by_one(files)

    def peek(self, source: Source, options: ReadOptions) -> Contents:
        """See `Format`."""
        _check_options(options)
        entries, _ = _entries(source.path, source.path.stat().st_mtime_ns)
        arrays = open_arrays(source.path)
        clip_arrays = _clip_arrays(arrays)
        layout, _ = layout_of(options.layout or "kinect_v2_25", _PERSON_VALUES // 3, 3)
        used = {f"{name}_{part}" for name in "xy" for part, _ in clip_arrays}
        doubts = []
        if any(f"y_{part}" not in arrays for part, _ in clip_arrays):
            doubts.append(Doubt("clips have no labels: there is no y_* beside every x_*"))
        return Contents(
            clips=entries,
            joint_count=_PERSON_VALUES // 3,
            layout=layout,
            fps=_FPS,
            fps_of_format=True,
            unit_metres=1.0,
            up="y",
            axes="; ".join(f"x_{part}: {_axes(rows.shape)}" for part, rows in clip_arrays),
            left_out=tuple(name for name in arrays if name not in used),
            doubts=tuple(doubts),
        )

    def read(self, source: Source, key: str, options: ReadOptions) -> Recording:
        """See `Format`."""
        _, places = _entries(source.path, source.path.stat().st_mtime_ns)
        if key not in places:
            raise ParseError(source.path, 0, f"expected the name of a clip in this file, got {key!r}")
        part, row = places[key]
        rows = open_arrays(source.path)[f"x_{part}"]
        values = rows[row]
        if len(rows.shape) == 3:
            people = rows.shape[2] // _PERSON_VALUES
            values = values.reshape(rows.shape[1], people, _PERSON_VALUES // 3, 3).transpose(1, 0, 2, 3)
        else:
            values = values.transpose(3, 1, 2, 0)
        return recording_of(source.path, f"clip {row + 1} of x_{part}", values, "xyz")


def _check_options(options: ReadOptions) -> None:
    if options.axes is not None:
        as_well = setting("format", "array")
        raise ConfigError(f"axes: those of NTU RGB+D's NPZ are known; for another order say {as_well} as well")


def _clip_arrays(arrays: Mapping[str, Rows]) -> list[tuple[str, Rows]]:
    return [(part, arrays[f"x_{part}"]) for part in _PARTS if f"x_{part}" in arrays]


def _is_ntu(shape: tuple[int, ...]) -> bool:
    flat = len(shape) == 3 and shape[2] in (_PERSON_VALUES, 2 * _PERSON_VALUES)
    return flat or (len(shape) == 5 and shape[1] == 3 and shape[3] == _PERSON_VALUES // 3 and shape[4] <= 2)


def _axes(shape: tuple[int, ...]) -> str:
    if len(shape) == 5:
        return f"N C T V M = {' × '.join(map(str, shape))}"
    return f"N T (M·V·C) = {shape[0]} × {shape[1]} × ({shape[2] // _PERSON_VALUES} · {_PERSON_VALUES // 3} · 3)"


@lru_cache(maxsize=4)
def _entries(path: Path, changed: int) -> tuple[tuple[ClipEntry, ...], dict[str, tuple[str, int]]]:
    """Return the clips, and the part and row of each by its key."""
    arrays = open_arrays(path)
    clip_arrays = _clip_arrays(arrays)
    if not clip_arrays:
        raise ParseError(path, 0, "expected arrays x_train, x_test or x_val, got none of them")
    entries: list[ClipEntry] = []
    places: dict[str, tuple[str, int]] = {}
    for part, rows in clip_arrays:
        if not _is_ntu(rows.shape) or rows.dtype.kind not in "fiu":
            got = f"{' × '.join(map(str, rows.shape))} of type {rows.dtype}"
            raise ParseError(path, 0, f"expected x_{part} to be numbers, clips × frames × 150; got {got}")
        beside = Beside()
        if f"y_{part}" in arrays:
            labels = labels_of(path, arrays[f"y_{part}"], None, (_PERSON_VALUES,), None)
            if len(labels) != len(rows):
                raise ParseError(path, 0, f"expected {len(rows)} labels in y_{part} as clips, got {len(labels)}")
            beside = Beside(labels=labels)
        of_part = entries_of(beside, len(rows), f"{part}_", (part,))
        places |= {entry.key: (part, row) for row, entry in enumerate(of_part)}
        entries += of_part
    if not entries:
        raise ParseError(path, 0, "expected clips, got arrays without any row")
    return tuple(entries), places
