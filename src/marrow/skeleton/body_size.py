"""How large a body is, and which way is up: measured on trunk and limbs, whatever else a layout has.

Fingers, faces, toes and twist bones say nothing about size: a layout with fifteen finger bones a hand has a median bone
of three centimetres. So the trunk, the thighs and the shanks are looked at, by the roles of joints (anchors) and what
hangs below them; a layout without anchors is judged by its extent.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64

from marrow.skeleton.layout import Skeleton

# Lengths of an adult in metres: from the middle of the hips to the top of the trunk, from hip to knee, from knee to
# ankle, and the largest distance between two joints of one body (feet to head, or hand to hand).
_ADULT_METRES = {"trunk": 0.48, "thigh": 0.42, "shank": 0.40, "extent": 1.6}
# From a child of three years to a giant.
_LEAST, _MOST = 0.55, 1.35
# The extent alone may be that of a part of a body: legs, or what is above a desk.
_LEAST_EXTENT = 0.3
_METRIC = ("metres", "centimetres", "millimetres")
UNITS_METRES = {
    "metres": 1.0,
    "centimetres": 0.01,
    "millimetres": 0.001,
    "inches": 0.0254,
    "feet": 0.3048,
    "decimetres": 0.1,
    "units of CMU's Acclaim files": 0.056444,
}


@dataclass(frozen=True)
class BodySize:
    """How large bodies are, in the unit of their positions.

    Args:
        lengths: median length by part: trunk, thigh, shank, or extent where the layout does not tell; only what could
            be measured, and is not zero.
    """

    lengths: dict[str, float]

    @property
    def of_adult(self) -> float | None:
        """How large the body is if an adult in metres is 1; None where nothing could be measured."""
        if not self.lengths:
            return None
        return float(np.median([length / _ADULT_METRES[part] for part, length in self.lengths.items()]))

    @property
    def trunk(self) -> float | None:
        """How long the trunk is, or would be in an adult of this size; None where nothing could be measured."""
        return self.lengths.get("trunk", None if self.of_adult is None else self.of_adult * _ADULT_METRES["trunk"])

    @property
    def is_plausible(self) -> bool | None:
        """Whether a person can be as large; None where nothing could be measured."""
        return None if self.of_adult is None else _LEAST <= self.of_adult <= _MOST

    @property
    def is_extent_alone(self) -> bool:
        """Whether neither trunk nor limbs are known, so that a part of a body and a small body look the same."""
        return "extent" in self.lengths

    @property
    def fitting_units(self) -> tuple[tuple[str, float], ...]:
        """The usual units in which this is a person, by name and in metres, the likeliest first.

        By trunk and limbs that is the one in which it is nearest to an adult. By its extent alone it may be a part of a
        body, and units that people use for recordings come before others.
        """
        if self.of_adult is None:
            return ()
        least = _LEAST_EXTENT if self.is_extent_alone else _LEAST
        off = {name: abs(np.log(self.of_adult * metres)) for name, metres in UNITS_METRES.items()}
        fitting = [name for name, metres in UNITS_METRES.items() if least <= self.of_adult * metres <= _MOST]
        fitting.sort(key=lambda name: (self.is_extent_alone and name not in _METRIC, off[name]))
        return tuple((name, UNITS_METRES[name]) for name in fitting)

    @property
    def fitting_unit(self) -> tuple[str, float] | None:
        """The likeliest unit, by name and in metres; None where none of the usual ones fits."""
        return next(iter(self.fitting_units), None)


def measure_body(
    joints: Float32[np.ndarray, "row joint 3"], present: Bool[np.ndarray, "row joint"], skeleton: Skeleton
) -> BodySize:
    """Measure bodies of one layout.

    Args:
        joints: positions of one body per row, in any unit.
        present: which of them were seen.
        skeleton: the layout.
    """
    anchors = skeleton.anchors
    parts: dict[str, list[tuple[int, int]]] = {"trunk": [], "thigh": [], "shank": []}
    if {"chest", "centre"} <= anchors.keys():
        parts["trunk"].append((anchors["centre"], anchors["chest"]))
    for side in ("left", "right"):
        chain = _chain_below(skeleton, anchors.get(f"{side}_hip"))
        for part, (inner, outer) in zip(("thigh", "shank"), itertools.pairwise(chain), strict=False):
            parts[part].append((inner, outer))
    lengths = {part: _median_length(joints, present, pairs) for part, pairs in parts.items() if pairs}
    lengths = {part: length for part, length in lengths.items() if length > 0}
    if not lengths:
        extent = _extent(joints, present)
        lengths = {"extent": extent} if extent > 0 else {}
    return BodySize(lengths)


def chest_above_hips(
    joints: Float32[np.ndarray, "row joint 3"], present: Bool[np.ndarray, "row joint"], skeleton: Skeleton
) -> Float64[np.ndarray, "seen 3"]:
    """Return where the shoulders are, seen from the hips (their middles), in the rows where all four were seen.

    The chest where a layout has no shoulders. Empty for a layout that does not say where they are.
    """
    anchors = skeleton.anchors
    hips = [anchors[role] for role in ("left_hip", "right_hip") if role in anchors]
    top = [anchors[role] for role in ("left_shoulder", "right_shoulder") if role in anchors]
    if len(top) < 2:
        top = [anchors["chest"]] if "chest" in anchors else []
    if len(hips) < 2 or not top:
        return np.empty((0, 3))
    seen = present[:, [*hips, *top]].all(axis=1)
    return (joints[seen][:, top].mean(axis=1) - joints[seen][:, hips].mean(axis=1)).astype(np.float64)


def upward_axis(above: Float64[np.ndarray, "row 3"]) -> tuple[str, float] | None:
    """Return the axis along which chests are above hips, for example "-y", and in which share of the rows they are.

    None without any row.
    """
    if not len(above):
        return None
    sizes = np.abs(above)
    axis = int(np.bincount(sizes.argmax(axis=1), minlength=3).argmax())
    sign = -1 if np.median(above[:, axis]) < 0 else 1
    # Upright: nearer to the axis than 45 degrees.
    along = sign * above[:, axis] > np.linalg.norm(above, axis=1) / np.sqrt(2)
    return ("-" if sign < 0 else "") + "xyz"[axis], float(along.mean())


def _chain_below(skeleton: Skeleton, hip: int | None) -> list[int]:
    """Return hip, knee and ankle as far as the tree tells: joints that hang one below the other with a length."""
    chain = [] if hip is None else [hip]
    while chain and len(chain) < 3:
        below = [joint for joint, parent in skeleton.bones if parent == chain[-1]]
        below = [joint for joint in below if skeleton.sides[joint] == skeleton.sides[chain[0]]]
        if len(below) != 1:  # a thigh with a twist bone, or none
            break
        chain.append(below[0])
    return chain


def _median_length(
    joints: Float32[np.ndarray, "row joint 3"], present: Bool[np.ndarray, "row joint"], pairs: list[tuple[int, int]]
) -> float:
    lengths = [
        np.linalg.norm(joints[seen, inner] - joints[seen, outer], axis=-1)
        for inner, outer in pairs
        for seen in (present[:, inner] & present[:, outer],)
    ]
    everything = np.concatenate(lengths)
    return float(np.median(everything)) if len(everything) else 0.0


def _extent(joints: Float32[np.ndarray, "row joint 3"], present: Bool[np.ndarray, "row joint"]) -> float:
    """Return the median over rows of the largest distance between two joints, over at most 500 whole bodies."""
    whole = np.flatnonzero(present.sum(axis=1) >= max(2, int(0.8 * present.shape[1])))
    whole = whole[:: max(1, len(whole) // 500)]
    if not len(whole):
        return 0.0
    extents = []
    for row in whole:
        points = joints[row, present[row]]
        extents.append(np.linalg.norm(points[:, None] - points[None], axis=-1).max())
    return float(np.median(extents))
