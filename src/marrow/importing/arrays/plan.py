"""Which of some arrays holds positions, how its axes lie, and which clips are in it: shared by NPY, NPZ and MAT."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np

from marrow.errors import ConfigError, ParseError
from marrow.importing.arrays.axes import Reading, find_axes, given_axes, sample_of
from marrow.importing.arrays.clip import recording_of
from marrow.importing.arrays.file import Rows
from marrow.importing.arrays.layout import layout_of
from marrow.importing.arrays.roles import Beside, entries_of, role_of, understand
from marrow.importing.recording import ClipEntry, Contents, Doubt, ReadOptions, Recording

# What arrays of positions are called, the surest first.
_DATA = (
    "x",
    "positions",
    "joint_positions",
    "skeletons",
    "skeleton",
    "skel",
    "d_skel",
    "keypoints",
    "keypoint",
    "joints",
)
_DATA += (
    "data",
    "poses",
    "pose",
    "kpts",
    "kps",
    "kp",
    "xyz",
    "coords",
    "coordinates",
    "position",
    "pos",
    "motion",
    "arr_0",
)
_NO_POSITIONS = re.compile(
    r"quat|rot(?!at?or)|euler|angle|veloc|(^|_)vel|accel|(^|_)bones?(_|$)|offset|beta|trans|matri|bbox"
)
_OF_SMPL = {"betas", "trans", "root_orient", "pose_body"}
_READ_AT_FIRST_BYTES = 1 << 22


@dataclass(frozen=True)
class Piece:
    """An array of positions.

    Args:
        rows: the array.
        reading: what its axes are.
        entries: its clips.
        beside: what other arrays say of them.
    """

    rows: Rows
    reading: Reading
    entries: tuple[ClipEntry, ...]
    beside: Beside


@dataclass(frozen=True)
class Plan:
    """What some arrays hold together."""

    pieces: tuple[Piece, ...]
    contents: Contents
    places: Mapping[str, tuple[int, int]]

    def read(self, path: Path, arrays: Mapping[str, Rows], key: str) -> Recording:
        """Read the clip of a key.

        Raises:
            ParseError: there is no such clip, or its numbers are none.
            SkipRecording: nobody is in it.
        """
        if key not in self.places:
            raise ParseError(path, 0, f"expected the name of a clip in this file, got {key!r}")
        at, clip = self.places[key]
        piece = self.pieces[at]
        reading = piece.reading
        confidence = None
        if piece.beside.confidence:
            confidence = _one_clip(arrays[piece.beside.confidence], _without_coordinates(reading), clip)[..., 0]
        lengths = piece.beside.lengths
        name = piece.rows.name
        return recording_of(
            path,
            f"clip {clip + 1} of {name}" if "N" in reading.axes else name,
            _one_clip(piece.rows, reading, clip),
            reading.coordinates,
            confidence=confidence,
            length=lengths[clip] if lengths is not None else None,
            fps=piece.beside.fps,
        )


def plan_of(
    path: Path,
    arrays: Mapping[str, Rows],
    options: ReadOptions,
    *,
    left_out: tuple[str, ...] = (),
    extra: Beside | None = None,
    part: str = "",
) -> Plan:
    """Return which arrays hold positions and which clips these are.

    Args:
        path: of the file.
        arrays: by name.
        options: of the user.
        left_out: what the file holds besides.
        extra: what another file says of the clips; it goes before what stands beside them.
        part: of the data set that all clips belong to, by the file's name.

    Raises:
        ParseError: no array holds positions, or several hold other joints.
        ConfigError: an option does not fit.
    """
    names, doubts = _choose(path, arrays)
    pieces: list[Piece] = []
    prefixes: set[str] = set()
    others = {name: rows for name, rows in arrays.items() if name not in names}
    # One array says the axes of all: the largest, as the others may be too small to tell.
    largest = max(names, key=lambda name: arrays[name].byte_count)
    first, new_doubts = _piece(path, {**others, largest: arrays[largest]}, largest, options, extra)
    doubts += new_doubts
    for name in names:
        piece = first
        if name != largest:
            axes = f"{first.reading.order},{first.reading.coordinates}"
            try:
                piece, _ = _piece(path, {**others, name: arrays[name]}, name, replace(options, axes=axes), extra)
            except ConfigError as error:
                wanted = f"{first.reading} as in {first.rows.name}"
                got = " × ".join(str(size) for size in arrays[name].shape)
                raise ParseError(path, 0, f"expected axes such as {wanted}, got {got} in {name!r}") from error
        part_of_name = role_of(name)[1]
        parts = (part_of_name or part,) if part_of_name or part else ()
        if "N" in piece.reading.axes:
            prefix = f"{part_of_name or name}_" if len(names) > 1 else ""
            prefix = f"{name}_" if prefix in prefixes else prefix
            prefixes.add(prefix)
            entries = entries_of(piece.beside, piece.reading.size("N"), prefix, parts)
        else:
            labels = piece.beside.labels
            label = labels[0] if labels is not None and len(labels) == 1 else None
            entries = [ClipEntry(name if len(names) > 1 else "", label, {}, parts)]
        pieces.append(replace(piece, entries=tuple(entries)))
    for piece in pieces:
        if piece.reading.size("V") != first.reading.size("V"):
            wanted = f"{first.reading.size('V')} joints as in {first.rows.name}"
            raise ParseError(path, 0, f"expected {wanted}, got {piece.reading} in {piece.rows.name}")
    used = {name for piece in pieces for name in (piece.rows.member, *piece.beside.used)}
    left_out += tuple(name for name in arrays if name not in used)
    contents = _contents(pieces, doubts, left_out, options)
    places = {entry.key: (at, clip) for at, piece in enumerate(pieces) for clip, entry in enumerate(piece.entries)}
    return Plan(tuple(pieces), contents, places)


def _choose(path: Path, arrays: Mapping[str, Rows]) -> tuple[list[str], list[Doubt]]:
    """Return the names of the arrays with positions."""
    roles = {name: role_of(name)[0] for name in arrays}
    if "poses" in roles.values() and _OF_SMPL & set(roles.values()):
        wanted = "positions of joints, got rotations (SMPL's parameters, as in AMASS)"
        raise ParseError(path, 0, f"expected {wanted}: save the joints that the body model makes of them")
    numeric = [
        name
        for name, rows in arrays.items()
        if rows.dtype.kind in "fiu" and 2 <= len(rows.shape) <= 6 and 0 not in rows.shape
    ]
    candidates = [name for name in numeric if not _NO_POSITIONS.search(roles[name])] or numeric
    if not candidates:
        shown = ", ".join(f"{name or 'array'} {'×'.join(map(str, rows.shape))}" for name, rows in arrays.items())
        raise ParseError(path, 0, f"expected an array of positions (2 to 6 axes), got {shown[:200] or 'no array'}")
    for role in _DATA:
        named = [name for name in candidates if roles[name] == role]
        if named:
            return named, []
    largest = max(candidates, key=lambda name: arrays[name].byte_count)
    shape = arrays[largest].shape
    alike = [
        name
        for name in candidates
        if len(arrays[name].shape) == len(shape)
        and sum(size != other for size, other in zip(arrays[name].shape, shape, strict=True)) <= 1
    ]
    if len(alike) == 1:
        doubts = [Doubt(f"array {largest!r}, the largest, was taken for the positions")] if len(candidates) > 1 else []
        return alike, doubts
    return alike, [Doubt(f"{len(alike)} arrays alike were each taken for positions of their own ({alike[0]!r}, …)")]


def _piece(
    path: Path, arrays: Mapping[str, Rows], name: str, options: ReadOptions, extra: Beside | None
) -> tuple[Piece, list[Doubt]]:
    rows = arrays[name]
    counts = frozenset((rows.shape[0], rows.shape[-1]))
    beside = understand(path, arrays, name, role_of(name)[1], counts) if len(arrays) > 1 else Beside()
    if extra is not None:
        beside = replace(
            beside,
            labels=extra.labels if extra.labels is not None else beside.labels,
            keys=extra.keys if extra.keys is not None else beside.keys,
            lengths=extra.lengths if extra.lengths is not None else beside.lengths,
        )
    joints = len(beside.joints) if beside.joints is not None else None
    said = {len(of) for of in (beside.labels, beside.lengths, beside.keys) if of is not None}
    if len(said) > 1 and extra is not None:
        shown = " and ".join(str(count) for count in sorted(said))
        raise ParseError(path, 0, f"expected as many names, labels and lengths as clips, got {shown}")
    clips = said.pop() if len(said) == 1 else None
    sample = _sample(rows)
    doubts: list[Doubt] = []
    if options.axes is not None:
        reading = given_axes(options.axes, rows.name, rows.shape, sample)
        if joints is not None and reading.size("V") != joints:
            raise ConfigError(f"axes: {options.axes!r} gives {reading.size('V')} joints, their names are {joints}")
    else:
        try:
            reading, found = find_axes(path, rows.name, rows.shape, sample, clips=clips, joints=joints)
        except ParseError:
            if extra is not None or (clips is None and joints is None):
                raise
            reading, found = find_axes(path, rows.name, rows.shape, sample)
        doubts += found
    count = reading.size("N")
    lists = {"labels": beside.labels, "lengths": beside.lengths, "names": beside.keys}
    others = {what: len(values) for what, values in lists.items() if values is not None and len(values) != count}
    if others:
        got = " and ".join(f"{size} {what}" for what, size in others.items())
        if extra is not None:
            raise ParseError(path, 0, f"expected as many as clips ({reading}), got {got}")
        doubts.append(Doubt(f"{got} are not as many as clips and were left out", "--axes ORDER"))
        beside = replace(
            beside,
            labels=None if "labels" in others else beside.labels,
            lengths=None if "lengths" in others else beside.lengths,
            keys=None if "names" in others else beside.keys,
            guessed="" if "labels" in others else beside.guessed,
        )
    attributes = {what: values for what, values in beside.attributes.items() if len(values) == count}
    beside = replace(beside, attributes=attributes)
    if joints is not None and joints != reading.size("V"):
        doubts.append(Doubt(f"names of joints ({joints}) are not as many as joints and were left out", "--axes ORDER"))
        beside = replace(beside, joints=None)
    if beside.guessed:
        doubts.append(Doubt(f"array {beside.guessed!r} was taken for the labels, as it has a number for each clip"))
    if beside.confidence and arrays[beside.confidence].shape != _shape_without_coordinates(reading, rows.shape):
        beside = replace(beside, confidence="")
    if rows.dtype.kind in "iu":
        doubts.append(Doubt("positions are whole numbers: pixels or millimetres?", "--unit_metres METRES"))
    return Piece(rows, reading, (), beside), doubts


def _contents(pieces: list[Piece], doubts: list[Doubt], left_out: tuple[str, ...], options: ReadOptions) -> Contents:
    reading, beside = pieces[0].reading, pieces[0].beside
    dimensions = 3 if "z" in reading.coordinates else 2
    layout, layout_doubts = layout_of(options.layout, reading.size("V"), dimensions, guess=beside.joints is None)
    axes = [f"{piece.rows.member}: {piece.reading}" for piece in pieces[:3]] if len(pieces) > 1 else [str(reading)]
    if len(pieces) > 3:
        axes.append(f"and {len(pieces) - 3} more")
    is_pixels = dimensions == 2 and _reaches_pixels(pieces[0].rows, reading)
    return Contents(
        clips=tuple(entry for piece in pieces for entry in piece.entries),
        joint_count=reading.size("V"),
        joints=beside.joints,
        parents=beside.parents if beside.parents and len(beside.parents) == reading.size("V") else None,
        layout=layout,
        dimensions=cast(Literal[2, 3], dimensions),
        fps=beside.fps,
        unit_metres=0.0 if dimensions == 2 else None,
        up="-y" if is_pixels else None,
        axes="; ".join(axes),
        left_out=left_out,
        doubts=(*doubts, *layout_doubts),
    )


def _sample(rows: Rows) -> np.ndarray:
    """Return the beginning of an array, without reading more of it than its first few rows where that suffices."""
    if rows.is_fortran or rows.compressed is None or not rows.byte_count:
        return sample_of(rows.whole())
    row_bytes = max(1, rows.byte_count // len(rows))
    return sample_of(rows.block(0, min(len(rows), max(1, _READ_AT_FIRST_BYTES // row_bytes))))


def _one_clip(rows: Rows, reading: Reading, clip: int) -> np.ndarray:
    if "N" not in reading.axes:
        return reading.clip(np.asarray(rows.whole()))
    if reading.axes[0] == "N":
        return reading.clip(rows[clip])
    return reading.clip(np.take(rows.whole(), clip, axis=reading.axes.index("N")))


def _shape_without_coordinates(reading: Reading, shape: tuple[int, ...]) -> tuple[int, ...]:
    if any(len(axis) > 1 for axis in reading.axes):
        return ()
    at = reading.axes.index("C")
    return shape[:at] + shape[at + 1 :]


def _without_coordinates(reading: Reading) -> Reading:
    at = reading.axes.index("C")
    sizes = reading.sizes[:at] + reading.sizes[at + 1 :]
    return Reading(reading.axes[:at] + reading.axes[at + 1 :], sizes, "")


def _reaches_pixels(rows: Rows, reading: Reading) -> bool:
    with np.errstate(invalid="ignore"):
        values = np.nan_to_num(_one_clip(rows, reading, 0)[..., :2].astype(np.float64), nan=0.0)
    return bool(values.min() >= 0 and values.max() > 20)
