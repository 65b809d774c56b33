"""Signatures of clips: which few training clips may be the same motion as a clip, before any are laid upon it.

A signature is 16 poses of the first body, turned upright and ahead, in trunk lengths. Clips are compared blockwise, by
a matrix product per pair of crops, since a copy may lack a few frames at its start or end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from marrow.skeleton.geometry import filled
from marrow.store.format import Store

# Signatures that are further apart, at the best of the crops, are not looked at again.
_CANDIDATE = 0.2
_CANDIDATES_PER_CLIP = 8
_SIGNATURE_FRAMES = 16
# Distances between projections are never larger than those between signatures: no candidate is lost by them.
_SIGNATURE_NUMBERS = 64
# Shares of a clip that may be missing at its start or end, as far as the first step is concerned.
_CROPS = (0.0, 0.04, 0.08)
_CLIP_CROPS = tuple((start, end) for start in _CROPS for end in _CROPS)
_BASIS_CLIPS = 512
_BLOCK_CLIPS = 1024
_KEPT_CLIPS = 4096

# What is missing at one place is missing in one of two clips: positive of the first, negative of the second.
_DIFFERENCES = tuple(
    (start, end)
    for start in (*(-crop for crop in _CROPS[:0:-1]), *_CROPS)
    for end in (*(-crop for crop in _CROPS[:0:-1]), *_CROPS)
)
_CROP_PAIRS = tuple(
    (
        _CLIP_CROPS.index((max(start, 0.0), max(end, 0.0))),
        _CLIP_CROPS.index((max(-start, 0.0), max(-end, 0.0))),
    )
    for start, end in _DIFFERENCES
)


@dataclass(frozen=True)
class Clip:
    """The first body of a clip.

    Args:
        joints: in trunk lengths, around the mean of its centre.
        seen: joints that were ever seen.
        view: turn that makes the body upright and face ahead, by the mean over all frames, so that a few frames more or
            less do not matter.
        roughness: root mean square of how far frames lie from the middle between their neighbours.
    """

    joints: Float32[np.ndarray, "frame joint 3"]
    seen: Bool[np.ndarray, " joint"]
    view: Float64[np.ndarray, "3 3"]
    roughness: float


class Clips:
    """Clips by row, the last few thousand of them kept."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._kept: dict[int, Clip] = {}

    def __getitem__(self, row: int) -> Clip:
        if row not in self._kept:
            if len(self._kept) >= _KEPT_CLIPS:
                self._kept.clear()
            self._kept[row] = self._read(row)
        return self._kept[row]

    def _read(self, row: int) -> Clip:
        joints, present = self.store.frames(row)
        seen, at = present[0].any(axis=0), self.store.skeleton.anchors
        body = filled(joints[:1], present[:1])[0].astype(np.float64)
        trunk = body[:, at["chest"]] - body[:, at["centre"]]
        hips = body[:, at["right_hip"]] - body[:, at["left_hip"]]
        shoulders = body[:, at["right_shoulder"]] - body[:, at["left_shoulder"]]
        upward, across = _unit(trunk.mean(axis=0)), (hips + shoulders).mean(axis=0)
        across = _unit(across - (across @ upward) * upward)
        length = max(float(np.linalg.norm(trunk, axis=-1).mean()), 1e-6)
        body = (body - body[:, at["centre"]].mean(axis=0)) / length * seen[:, None]
        off_middle = (body[1:-1] - (body[2:] + body[:-2]) / 2)[:, seen]
        roughness = float(np.sqrt((off_middle**2).sum(axis=-1).mean())) if off_middle.size else 0.0
        return Clip(body.astype(np.float32), seen, np.stack([across, upward, np.cross(across, upward)]), roughness)


def _unit(vector: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3"]:
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


def _signature(clips: Clips, row: int, crops: Sequence[tuple[float, float]]) -> Float32[np.ndarray, "crop number"]:
    """Return a clip's poses around its centre at even times, without some shares of its start and end."""
    clip = clips[row]
    joints = clip.joints - clip.joints[:, clips.store.skeleton.anchors["centre"], None]
    joints = (joints * clip.seen[:, None] @ clip.view.T).astype(np.float32)
    even = np.linspace(0, 1, _SIGNATURE_FRAMES)
    places = np.stack([start + (1 - start - end) * even for start, end in crops])
    poses = poses_at(joints, places * (len(joints) - 1))
    # The distance between two signatures is then a root mean square over joints and frames.
    return poses.reshape(len(crops), -1) / np.float32(np.sqrt(poses.shape[1] * poses.shape[2]))


def basis_of(clips: Clips, rows: Int64[np.ndarray, " row"]) -> Float32[np.ndarray, "number axis"]:
    """Return the directions in which the signatures of some of the clips differ most: all of them for a few clips."""
    chosen = rows[:: -(-len(rows) // _BASIS_CLIPS)]
    signatures = np.concatenate([_signature(clips, int(row), [(0.0, 0.0)]) for row in chosen])
    if len(rows) <= _BASIS_CLIPS:
        return np.eye(signatures.shape[1], dtype=np.float32)
    _, _, axes = np.linalg.svd(signatures - signatures.mean(axis=0), full_matrices=False)
    return axes[:_SIGNATURE_NUMBERS].T


def signatures(
    clips: Clips, rows: Int64[np.ndarray, " row"], basis: Float32[np.ndarray, "number axis"]
) -> Float32[np.ndarray, "crop row axis"]:
    """Return the signatures of clips, once for each way to crop them."""
    return np.stack([_signature(clips, int(row), _CLIP_CROPS) @ basis for row in rows], axis=1)


def candidates(
    signatures_a: Float32[np.ndarray, "crop a axis"], signatures_b: Float32[np.ndarray, "crop b axis"]
) -> list[list[tuple[int, tuple[float, float]]]]:
    """Return, for each clip of b, the places in a of the clips that may be nearly the same, the nearest first.

    Each comes with what has to be cut off for it: shares of the start and of the end, positive of a, negative of b.
    """
    half_a, half_b = (0.5 * (each.astype(np.float64) ** 2).sum(axis=-1) for each in (signatures_a, signatures_b))
    found: list[list[tuple[float, int, int]]] = [[] for _ in range(signatures_b.shape[1])]
    for start in range(0, signatures_a.shape[1], _BLOCK_CLIPS):
        part = slice(start, start + _BLOCK_CLIPS)
        nearest, which = None, None
        for number, (place_a, place_b) in enumerate(_CROP_PAIRS):
            product = signatures_b[place_b] @ signatures_a[place_a, part].T
            half_square = (
                half_b[place_b][:, None].astype(np.float32) + half_a[place_a, part].astype(np.float32) - product
            )
            if nearest is None or which is None:
                nearest, which = half_square, np.zeros(half_square.shape, np.int8)
            else:
                which[half_square < nearest] = number
                np.minimum(nearest, half_square, out=nearest)
        assert nearest is not None
        assert which is not None
        kept = min(_CANDIDATES_PER_CLIP, nearest.shape[1])
        closest = np.argpartition(nearest, kept - 1, axis=1)[:, :kept]
        for place, indices in enumerate(closest):
            found[place] += [
                (float(nearest[place, index]), start + int(index), int(which[place, index]))
                for index in indices
                if nearest[place, index] < _CANDIDATE**2 / 2
            ]
        found = [sorted(each)[:_CANDIDATES_PER_CLIP] for each in found]
    return [[(index, _DIFFERENCES[number]) for _, index, number in each] for each in found]


def poses_at(
    joints: Float32[np.ndarray, "frame joint 3"], times: Float64[np.ndarray, "*times"]
) -> Float32[np.ndarray, "*times joint 3"]:
    """Return positions between frames, and the first or last frame's beyond them."""
    times = np.clip(times, 0, len(joints) - 1)
    before = times.astype(np.int64)
    after = np.minimum(before + 1, len(joints) - 1)
    weight = (times - before)[..., None, None].astype(np.float32)
    return joints[before] * (1 - weight) + joints[after] * weight
