"""Files of one data set that differ in unit, upward axis or rate: what each says is kept, what differs is doubted.

Some exports of one study are in metres and others in millimetres. Where the files say it, each is brought to the unit
and axis that most have. Where they do not, the recordings that are looked at are compared with each other.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float32

from marrow.errors import ParseError, setting
from marrow.importing.recording import Contents, Doubt, Recording, Source
from marrow.readers.upright import turned_up
from marrow.skeleton.body_size import BodySize, chest_above_hips, measure_body, upward_axis
from marrow.skeleton.layout import Skeleton

Value = TypeVar("Value")
Axis = Literal["x", "y", "z", "-x", "-y", "-z"]
# From a child of three years to a giant is less than this; of a few joints the extent changes with the pose.
_SIZES_DIFFER = 2.5
_EXTENTS_DIFFER = 8.0
# In as many of the frames of a recording is somebody upright along an axis before it is said of the recording.
UPRIGHT_SHARE = 0.9
# Doubts that are told of the same text are told once; of different ones as many of a format.
_DOUBTS = 6


@dataclass(frozen=True)
class Said:
    """What a source says of its numbers; None: it does not.

    Args:
        unit_metres: length of its unit; 0 for pixels.
        up: the axis that points up in it.
        fps: frames per second.
    """

    unit_metres: float | None = None
    up: Axis | None = None
    fps: float | None = None

    @classmethod
    def by(cls, contents: Contents) -> "Said":
        """Return what a source's contents say."""
        return cls(contents.unit_metres, contents.up, contents.fps)


def most_say(contents: Iterable[Contents]) -> Said:
    """Return what most sources say that say anything, each thing by itself."""
    said = [Said.by(found) for found in contents]
    ups: list[Axis | None] = [value.up for value in said]
    return Said(_most([value.unit_metres for value in said]), _most(ups), _most([value.fps for value in said]))


def as_most(recording: Recording, said: Said, most: Said) -> Recording:
    """Return a recording in the unit and axes of most, where its source says that it is in others."""
    positions = recording.positions
    if said.unit_metres and most.unit_metres and said.unit_metres != most.unit_metres:
        positions = positions * np.float32(said.unit_metres / most.unit_metres)
    if said.up and most.up and said.up != most.up and positions.shape[-1] == 3:
        # Axes change places in a ring, so that left stays left.
        places = "xyz".index(most.up[-1]) - "xyz".index(said.up[-1])
        positions = turned_up(np.roll(turned_up(positions, said.up), places, axis=-1), most.up)
    if recording.fps is None and said.fps is not None:
        recording = replace(recording, fps=said.fps)
    return recording if positions is recording.positions else replace(recording, positions=positions)


def doubts_of_what_is_said(contents: Mapping[Source, Contents], unit_told: bool, up_told: bool) -> list[Doubt]:
    """Doubt sources that say other units or axes than most, and those that say none while others do."""
    doubts = []
    for words, told, option, values in (
        ("units", unit_told, "--unit_metres METRES", {source: c.unit_metres for source, c in contents.items()}),
        ("upward axes", up_told, "--up AXIS", {source: c.up for source, c in contents.items()}),
    ):
        if told or len(set(values.values())) < 2:
            continue
        by_value: dict[object, list[str]] = {}
        for source, value in values.items():
            by_value.setdefault(value, []).append(source.path.name)
        shown = "; ".join(
            f"{'none' if value is None else f'{value:g} m' if isinstance(value, float) else value} in {len(names)} "
            f"({names[0]}{', ...' if len(names) > 1 else ''})"
            for value, names in by_value.items()
        )
        silent = "; those that say none are taken to have that of most" if None in by_value else ""
        doubts.append(Doubt(f"files say different {words}: {shown}. Each is read as it says{silent}", option))
    return doubts


def doubts_of_differences(
    names: Sequence[str],
    rows: Sequence[Float32[np.ndarray, "_ joint 3"]],
    seen: Sequence[Bool[np.ndarray, "_ joint"]],
    skeleton: Skeleton,
    *,
    has_metres: bool,
) -> list[Doubt]:
    """Doubt recordings of which the bodies are of very different size, or upright along different axes.

    Args:
        names: of the recordings that were looked at.
        rows: bodies of each, all in what is taken for one unit and one set of axes.
        seen: which joints are there.
        skeleton: the layout.
        has_metres: whether sizes mean anything: not in an image.
    """
    doubts = []
    sizes = [measure_body(joints, present, skeleton) for joints, present in zip(rows, seen, strict=True)]
    measured = sorted((size.of_adult, name) for size, name in zip(sizes, names, strict=True) if size.of_adult)
    if has_metres and measured:
        (least, least_name), (most, most_name) = measured[0], measured[-1]
        if most / least > max(map(least_difference, sizes)):
            text = f"bodies in {most_name} are {most / least:.3g} times as large as in {least_name}: different units?"
            doubts.append(Doubt(text, "--only PATTERN --unit_metres METRES"))
    along: dict[str, list[str]] = {}
    for name, joints, present in zip(names, rows, seen, strict=True):
        axis = upward_axis(chest_above_hips(joints, present, skeleton))
        if axis is not None and axis[1] >= UPRIGHT_SHARE:
            along.setdefault(axis[0], []).append(name)
    if len(along) > 1:
        shown = ", ".join(f"{axis} in {len(found)} ({found[0]})" for axis, found in along.items())
        text = f"bodies are upright along {shown} of the recordings looked at: different axes, or people who lie?"
        doubts.append(Doubt(text, "--only PATTERN --up AXIS"))
    return doubts


def least_difference(size: BodySize) -> float:
    """Return from which ratio on two bodies are not both people in the same unit."""
    return _EXTENTS_DIFFER if size.is_extent_alone else _SIZES_DIFFER


def _most(values: Iterable[Value | None]) -> Value | None:
    counts = Counter(value for value in values if value is not None)
    return max(counts, key=lambda value: counts[value]) if counts else None


def of_one_layout(
    contents: Mapping[Source, Contents],
) -> tuple[dict[Source, Contents], dict[Source, ParseError]]:
    """Keep the sources of the layout that most clips have; return a fault for each of the others."""
    clips_by_layout: Counter[tuple[Any, ...]] = Counter()
    for found in contents.values():
        clips_by_layout[_layout_key(found)] += len(found.clips)
    usual = clips_by_layout.most_common(1)[0][0]
    kept = {source: found for source, found in contents.items() if _layout_key(found) == usual}
    model, model_contents = next(iter(kept.items()))
    total = sum(clips_by_layout.values())
    faults = {}
    for source, found in contents.items():
        if source in kept:
            continue
        faults[source] = ParseError(
            source.path,
            0,
            f"expected the layout of {model.path.name} ({clips_by_layout[usual]} of {total} clips have it: "
            f"{_described(model_contents)}), got {_described(found, model_contents)}. "
            f"Read the files of each layout by themselves, with {setting('only', 'PATTERN')}, or leave these out with "
            f"{setting('on_error', 'drop')}",
        )
    return kept, faults


def _layout_key(contents: Contents) -> tuple[Any, ...]:
    layout = contents.layout.name if contents.layout is not None else None
    is_image = contents.unit_metres == 0  # a body of pixels has no place among bodies in metres
    return (layout, contents.joints, contents.parents, contents.joint_count, contents.dimensions, is_image)


def _described(contents: Contents, other: Contents | None = None) -> str:
    """Say what layout a source has; where it is near another one, where they differ."""
    counted = f"{contents.joint_count} joints in {contents.dimensions}D"
    if other is not None and (contents.unit_metres == 0) != (other.unit_metres == 0):
        counted += " of an image" if contents.unit_metres == 0 else " not of an image"
    if contents.layout is not None:
        return f"{contents.layout.name}, {counted}"
    if contents.joints is None:
        return counted
    if other is not None and other.joints is not None:
        missing = [joint for joint in other.joints if joint not in contents.joints]
        surplus = [joint for joint in contents.joints if joint not in other.joints]
        differences = [*(f"no {joint}" for joint in missing[:2]), *(f"{joint} besides" for joint in surplus[:2])]
        if differences:
            return f"{counted}, {', '.join(differences)}"
        return f"{counted} in another order or tree"
    return f"{counted}, {', '.join(contents.joints[:3])}, ..."


def doubts_of(contents: Iterable[Contents]) -> list[Doubt]:
    """Return what the sources doubt, each once, with how many share it."""
    counts = Counter(doubt for found in contents for doubt in found.doubts)
    return [
        doubt if count == 1 else Doubt(f"{doubt.text} ({count} files)", doubt.option)
        for doubt, count in counts.most_common(_DOUBTS)
    ]
