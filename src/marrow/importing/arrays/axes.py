"""Which axis of an array is what: clips N, people M, frames T, joints V, coordinates C.

Told by size (two to four coordinates, a body's count of joints, few people), by what moves smoothly (frames), by what
stays close together (the joints of a body), and by the orders that people use. Every order of the letters that fits is
a reading with a cost; the cheapest is taken, and one that costs little more is a doubt. Joints and coordinates may be
flattened into one axis, "NT(VC)", also with people, "NT(MVC)".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from math import log, prod
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from marrow.errors import ConfigError, ParseError
from marrow.importing.recording import Doubt

SAMPLE_VALUES = 60_000

_NAMES = {"N": "clips", "M": "people", "T": "frames", "V": "joints", "C": "coordinates"}
_OPTION = "--axes ORDER"
# How orders are written in the field, and what they cost: the more usual, the less. Others cost `_UNUSUAL`.
_ORDERS = {
    **dict.fromkeys(("T V C", "N T V C", "N C T V M", "N M T V C", "T VC", "N T VC"), 0.0),
    **dict.fromkeys(("C T V M", "M T V C", "N C T V", "N T M V C", "V C T", "C T V", "N M T VC"), 0.4),
    **dict.fromkeys(("T M V C", "T V C M", "N T V C M", "C T V N", "T V C N", "N V C T"), 0.8),
    **dict.fromkeys(("T MVC", "N T MVC", "T C V", "C V T", "V T C", "N T C V", "N C V T", "N V T C"), 0.8),
}
_UNUSUAL = 1.6
# The joint counts of the layouts that are in use.
_USUAL_JOINTS = {*range(13, 28), 29, 31, 32, 33, 38, 133}
_MOST_JOINTS = 600
_MOST_PEOPLE = 10
# A reading that costs less than this more than the cheapest is a doubt.
_CLOSE = 2.0
_COORDINATES = {"x": (1,), "y": (1,), "z": (0, 1), "c": (0, 1)}
_SPELLING = re.compile(r"(?:[NMTVC]|\((?:MVC|VC|CV|MCV)\))+(?:,[xyzc-]{2,4})?")


@dataclass(frozen=True)
class Reading:
    """What each axis of an array is.

    Args:
        axes: of the array, in order: a letter each, or several for one that is flattened.
        sizes: by letter, in the order of the letters.
        coordinates: what the coordinates are, in order: x, y, z, c for a confidence, "-" for what is left out.
        cost: how little it fits.
    """

    axes: tuple[str, ...]
    sizes: tuple[int, ...]
    coordinates: str
    cost: float = 0.0

    @property
    def order(self) -> str:
        """How `--axes` writes it."""
        return "".join(axis if len(axis) == 1 else f"({axis})" for axis in self.axes)

    @property
    def letters(self) -> str:
        """All letters in order."""
        return "".join(self.axes)

    def size(self, letter: str) -> int:
        """Return how many of something there are; 1 where no axis is such."""
        return self.sizes[self.letters.index(letter)] if letter in self.letters else 1

    def clip(self, values: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "body frame joint coordinate"]:
        """Return one clip (what is at one index of N, or all of an array without N), its axes in order."""
        letters = self.letters.replace("N", "")
        sizes = tuple(size for letter, size in zip(self.letters, self.sizes, strict=True) if letter != "N")
        return _in_order(values.reshape(sizes), letters, "MTVC")

    def __str__(self) -> str:
        sizes = iter(self.sizes)
        shown = []
        for axis in self.axes:
            factors = " · ".join(str(next(sizes)) for _ in axis)
            shown.append(factors if len(axis) == 1 else f"({factors})")
        letters = (axis if len(axis) == 1 else f"({'·'.join(axis)})" for axis in self.axes)
        return f"{' '.join(letters)} = {' × '.join(shown)}"


def find_axes(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    sample: Shaped[np.ndarray, "..."],
    *,
    clips: int | None = None,
    joints: int | None = None,
) -> tuple[Reading, tuple[Doubt, ...]]:
    """Return what the axes of an array are, and what else they might be.

    Args:
        path: of the file, for messages.
        name: of the array, for messages.
        shape: of the whole array.
        sample: its first rows, and not more along the other axes either than fits in some hundred thousand values.
        clips: how many there are, where labels or lengths say it.
        joints: how many there are, where their names say it.

    Raises:
        ParseError: no order of axes fits.
    """
    values = _cleaned(sample)
    readings = []
    for reading in _readings(shape, clips, joints):
        if len(reading.axes[-1]) > 1 and values.shape[-1] != shape[-1]:
            continue  # too long for joints
        coordinates, cost = _coordinates(reading, values)
        cost += reading.cost + _movement_cost(reading, values)
        readings.append(Reading(reading.axes, reading.sizes, coordinates, cost))
    if not readings:
        shown = " × ".join(str(size) for size in shape)
        wanted = "axes of clips N, people M, frames T, joints V and coordinates C"
        raise ParseError(path, 0, f"expected {name} to have {wanted}; got {shown}, which fits no order of them")
    readings.sort(key=lambda reading: reading.cost)
    best = readings[0]
    doubts = []
    if len(readings) > 1 and readings[1].cost < best.cost + _CLOSE:
        text = (
            f"axes were taken for {best.order}, by their size and by what moves smoothly; {readings[1].order} fits too"
        )
        if {axis for axis in best.axes if len(axis) > 1} and readings[1].order == best.order:
            text = f"{best.size('V')} joints of {best.size('C')} coordinates; {readings[1].size('V')} of "
            text += f"{readings[1].size('C')} fit too"
        doubts.append(Doubt(text, _OPTION))
    if "c" in best.coordinates:
        text = f"the last of {len(best.coordinates)} coordinates lies between 0 and 1 and was taken for a confidence"
        doubts.append(Doubt(text, f"--axes {best.order},{'xyzw'[: len(best.coordinates)].replace('w', '-')}"))
    return best, tuple(doubts)


def given_axes(axes: str, name: str, shape: tuple[int, ...], sample: Shaped[np.ndarray, "..."]) -> Reading:
    """Return what the axes of an array are as a user says it: "NTVC", "NT(VC)", "NTVC,xyc".

    Raises:
        ConfigError: it is no order of axes, or does not fit the array.
    """
    spelt = axes.replace(" ", "")
    if _SPELLING.fullmatch(spelt) is None:
        wanted = "letters of N clips, M people, T frames, V joints, C coordinates, flattened ones in brackets"
        raise ConfigError(f'axes: expected {wanted}, such as "NCTVM" or "NT(VC)", got {axes!r}')
    order, _, coordinates = spelt.partition(",")
    parts = tuple(part.strip("()") for part in re.findall(r"[A-Z]|\([A-Z]+\)", order))
    letters = "".join(parts)
    if len(set(letters)) != len(letters) or not set("TVC") <= set(letters):
        raise ConfigError(f"axes: expected T, V and C once, and N and M at most once, got {axes!r}")
    if coordinates and any(coordinates.count(axis) not in counts for axis, counts in _COORDINATES.items()):
        raise ConfigError(f"axes: expected x and y once, z and c (confidence) at most once, got {coordinates!r}")
    shown = " × ".join(str(size) for size in shape)
    if len(parts) != len(shape):
        raise ConfigError(f"axes: {name} has {len(shape)} axes ({shown}), got {len(parts)} in {axes!r}")
    values = _cleaned(sample)
    fitting = []
    for sizes, cost in _sizes(parts, shape):
        if coordinates and len(coordinates) != sizes[letters.index("C")]:
            continue
        reading = Reading(parts, sizes, coordinates)
        found, extra = _coordinates(reading, values)
        cost += extra + (_movement_cost(reading, values) if any(len(part) > 1 for part in parts) else 0.0)
        fitting.append(Reading(parts, sizes, coordinates or found, cost))
    if not fitting:
        wanted = f"{len(coordinates)} coordinates" if coordinates else "two to four coordinates and at least one joint"
        raise ConfigError(f"axes: {axes!r} does not fit {name} of {shown}: expected {wanted} and at most 600 joints")
    return min(fitting, key=lambda reading: reading.cost)


def _readings(shape: tuple[int, ...], clips: int | None, joints: int | None) -> Iterator[Reading]:
    """Yield what the axes may be by their sizes, with what their order and sizes cost."""
    for parts in _all_orders(len(shape)):
        letters = "".join(parts)
        order_cost = _ORDERS.get(" ".join(parts), _UNUSUAL) + (parts[-1] == "N")
        for sizes, cost in _sizes(parts, shape):
            size = dict(zip(letters, sizes, strict=True))
            if clips is not None and size.get("N", 1) != clips:
                continue
            if joints is not None and size["V"] != joints:
                continue
            if size["V"] < 3:
                continue
            if clips is None and size.get("N", 9) <= 2:
                cost += 0.5  # more likely the people of one clip
            yield Reading(parts, sizes, "", cost + order_cost)


def _all_orders(axis_count: int) -> Iterator[tuple[str, ...]]:
    for flat in ("", "VC", "CV", "MVC"):
        needed = ["T", flat] if flat else ["T", "V", "C"]
        spare = [letter for letter in "NM" if letter not in flat]
        for extra in ([], *([letter] for letter in spare), spare if len(spare) == 2 else []):
            axes = [*needed, *extra]
            if len(axes) == axis_count and (extra or axis_count == len(needed)):
                for order in permutations(axes):
                    clips_outside = "N" not in order or order[0] == "N" or (order[-1] == "N" and not flat)
                    if clips_outside and (not flat or order[-1] == flat):
                        yield order


def _sizes(parts: tuple[str, ...], shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], float]]:
    """Yield the size of each letter, and what sizes such as these cost."""
    letters = "".join(parts)
    flat = next((part for part in parts if len(part) > 1), "")
    choices: list[dict[str, int]] = [{}]
    if flat:
        total = shape[parts.index(flat)]
        choices = [
            {"C": coordinates, "M": people, "V": total // coordinates // people}
            for coordinates in (3, 2, 4)
            for people in ((2,) if "M" in flat else (1,))
            if total and total % (coordinates * people) == 0
        ]
    single = {part: size for part, size in zip(parts, shape, strict=True) if len(part) == 1}
    for choice in choices:
        size = {**choice, **single}
        people, joints, coordinates = size.get("M", 1), size["V"], size["C"]
        if not 2 <= coordinates <= 4 or not 1 <= joints <= _MOST_JOINTS or people > _MOST_PEOPLE:
            continue
        if min(size.values()) < 1:
            continue
        cost = {3: 0.0, 2: 2.5 if 3 in shape else 1.0, 4: 1.5}[coordinates]
        cost += 0.0 if joints in _USUAL_JOINTS else 2.0 if 3 <= joints <= 200 else 6.0
        cost += 0.0 if people <= 2 else 1.0 if people <= 5 else 2.5
        cost += 1.5 if size["T"] < 8 else 0.0
        yield tuple(size[letter] for letter in letters), cost


def _cleaned(sample: np.ndarray) -> Float[np.ndarray, "..."]:
    with np.errstate(all="ignore"):
        values = sample.astype(np.float64)
        values[~(np.abs(values) < 1e9)] = 0
    return values


def _in_order(values: np.ndarray, letters: str, wanted: str) -> np.ndarray:
    """Return an array with its axes as wanted; one that it lacks has size 1."""
    for letter in wanted:
        if letter not in letters:
            values, letters = values[None], letter + letters
    return values.transpose([letters.index(letter) for letter in wanted])


def _arranged(reading: Reading, values: np.ndarray) -> np.ndarray:
    """Return a sample as [clip, body, frame, joint, coordinate]."""
    sizes: list[int] = []
    at = 0
    for axis, there in zip(reading.axes, values.shape, strict=True):
        sizes += reading.sizes[at : at + len(axis)] if len(axis) > 1 else (there,)
        at += len(axis)
    return _in_order(values.reshape(sizes), reading.letters, "NMTVC")


def _coordinates(reading: Reading, values: np.ndarray) -> tuple[str, float]:
    """Return what the coordinates are (see `Reading`), and what it costs that they are such."""
    count = reading.size("C")
    arranged = _arranged(reading, values)
    if count > 2 and arranged.shape[-1] == count:
        last, others = arranged[..., -1], np.abs(arranged[..., :-1])
        is_share = bool(last.size) and last.min() >= 0 and 0 < last.max() <= 1
        # A depth in metres may lie between 0 and 1 too: pixels, and OpenPose's 18 joints, leave no choice.
        if is_share and (count == 4 or others.max() > 20 or (reading.size("V") == 18 and others.max() <= 1)):
            return "xyzc"[: count - 1] + "c", 0.0
    return {2: "xy", 3: "xyz", 4: "xyz-"}[count], 1.0 if count == 4 else 0.0


def _movement_cost(reading: Reading, values: np.ndarray) -> float:
    """Return what it costs that frames jump, and that the joints of a body are scattered; low is smooth and close."""
    arranged = _arranged(reading, values)
    seen = (arranged != 0).any(axis=-1)
    typical = float(np.abs(arranged - arranged.mean()).mean())
    if not typical or not seen.any():
        return 0.0
    cost = 0.0
    # A person who is not there is zero; a coordinate that is zero all the time is none (or the third of two).
    moves = (arranged != 0).any(axis=(1, 2, 3))
    if (~moves[:, : 2 if reading.size("C") == 3 else None] & moves.any(axis=1, keepdims=True)).any():
        cost += 3.0
    if arranged.shape[2] > 2:
        steps = np.diff(arranged, axis=2)
        both = (seen[:, :, 1:] & seen[:, :, :-1])[..., None]
        step = float(np.abs(steps).mean(where=both)) / typical if both.any() else 0.0
        cost += 1.5 * log(min(max(step, 1e-3), 10.0))
        all_three = both[:, :, 1:] & both[:, :, :-1]
        if step and all_three.any():
            turn = float(np.abs(np.diff(steps, axis=2)).mean(where=all_three))
            cost += 0.7 * log(min(max(turn / (step * typical), 0.05), 3.0))
    else:
        cost += 1.5 * log(0.3)
    cost += _bone_cost(arranged, seen)
    # How far joints of one body are from their middle, coordinate by coordinate.
    count = seen.sum(axis=-1, keepdims=True)[..., None]
    middle = arranged.sum(axis=3, keepdims=True) / np.maximum(count, 1)
    spread = float(np.abs(arranged - middle).mean(where=seen[..., None])) / typical
    return cost + 1.5 * log(min(max(spread, 1e-2), 10.0))


def _bone_cost(arranged: np.ndarray, seen: np.ndarray) -> float:
    """Return what it costs that neighbours do not keep their distance: bones turn, and do not grow."""
    if arranged.shape[2] < 3 or arranged.shape[3] < 2:
        return 0.0
    bones = np.diff(arranged, axis=3)
    both = seen[:, :, :, 1:] & seen[:, :, :, :-1]
    lengths = np.sqrt((bones**2).sum(axis=-1))
    pairs = both[:, :, 1:] & both[:, :, :-1]
    if not pairs.any():
        return 0.0
    grown = np.abs(np.diff(lengths, axis=2)).mean(where=pairs)
    turned = np.sqrt((np.diff(bones, axis=2) ** 2).sum(axis=-1)).mean(where=pairs)
    return 1.5 * log(min(max(float(grown / turned), 0.1), 1.0)) if turned > 0 else 0.0


def sample_of(rows: np.ndarray) -> np.ndarray:
    """Return the beginning of an array along every axis, of at most some hundred thousand values."""
    most = list(rows.shape)
    while prod(most) > SAMPLE_VALUES:
        # The last axis may be joints and coordinates in one, and then it is of use only as a whole.
        free = most[:-1] if max(most[:-1], default=0) > 8 and most[-1] <= 3 * _MOST_JOINTS else most
        longest = most.index(max(free))
        most[longest] = max(1, most[longest] // 2)
    return np.array(rows[tuple(slice(size) for size in most)])
