"""Which clips are copies of others: to the last bit, or one motion up to noise, resampling, cut frames, a rigid move.

Near copies are found in two steps. A signature of each clip (16 poses of the first body, turned upright and ahead, in
trunk lengths) finds the few training clips that may be meant: blockwise, by a matrix product per pair of crops, since a
copy may lack a few frames at its start or end. Those few are then laid upon the clip as well as time and a rigid move
allow, and what is left between them is measured.

Only the first body of a clip is compared, and left and right are not exchanged: a copy whose bodies have changed places
and a mirrored one are not found. In two dimensions bodies are not turned, and a move stays in the plane.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from marrow.skeleton.geometry import alignment_of, filled, unit
from marrow.skeleton.layout import ANCHOR_ROLES
from marrow.store.format import Store

# Below so many pairs the search takes seconds, and nobody has to ask for it.
PAIRS_UNASKED = 10_000_000

# How far apart two clips may be, in trunk lengths (root mean square over joints and frames): 3 mm for an adult, and
# what resampling a jerky recording makes of it. See `near_duplicates` for the data that these were chosen on.
_NEAR = 0.006
_NEAR_PER_ROUGHNESS = 0.5
_NEAR_AT_MOST = 0.07
# Frames at which two clips are compared in the second step.
_COMPARED_FRAMES = 32
_STEPS = 8
# The first frame of a clip may lie a little before the other's: a new frame rate puts frames where there were none.
_SLACK_FRAMES = 0.6

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
# Clips of either side that are compared at a time.
_BLOCK_CLIPS = 1024
_KEPT_CLIPS = 4096

# Pairs of axes in which a turn goes, by the number of coordinates.
_PLANES = {2: ((0, 1),), 3: ((1, 2), (2, 0), (0, 1))}

# What is missing at one place is missing in one of two clips: positive of the first, negative of the second.
_SIGNED_CROPS = (*(-crop for crop in _CROPS[:0:-1]), *_CROPS)
_DIFFERENCES = tuple((start, end) for start in _SIGNED_CROPS for end in _SIGNED_CROPS)
_CROP_PAIRS = tuple(
    tuple(_CLIP_CROPS.index((max(sign * start, 0.0), max(sign * end, 0.0))) for sign in (1, -1))
    for start, end in _DIFFERENCES
)


@dataclass(frozen=True)
class Copies:
    """Clips that are copies, by row, each with the row of the clip that it is a copy of.

    Args:
        identical: equal in positions and flags to the last bit.
        near: not identical, but the same motion up to noise, resampling, cut frames and a rigid move; None where that
            was not looked for.
    """

    identical: dict[int, int]
    near: dict[int, int] | None

    @property
    def rows(self) -> Int64[np.ndarray, " copy"]:
        """All of them, in ascending order."""
        return np.array(sorted({*self.identical, *(self.near or ())}), np.int64)


def copied_rows(
    store: Store,
    train_rows: Int64[np.ndarray, " train"],
    test_rows: Int64[np.ndarray, " test"],
    *,
    near: bool | None = None,
) -> Copies:
    """Return which test clips are copies of a training clip.

    Args:
        store: the data.
        train_rows: clips to train on.
        test_rows: clips to look at.
        near: whether to look for near copies; None: where there are so few pairs that it takes seconds. Skeletons that
            do not say where trunk, hips and shoulders are have none looked for.
    """
    first = {store.content[row]: int(row) for row in train_rows[::-1]}
    identical = {int(row): first[store.content[row]] for row in test_rows if store.content[row] in first}
    if near is None:
        near = len(train_rows) * len(test_rows) <= PAIRS_UNASKED
    if not near or not _is_comparable(store):
        return Copies(identical, None)
    others = np.array([row for row in test_rows if int(row) not in identical], np.int64)
    return Copies(identical, {pair.row_b: pair.row_a for pair in near_duplicates(store, train_rows, others)})


@dataclass(frozen=True)
class NearDuplicate:
    """Two clips that are nearly the same.

    Args:
        row_a: of the clip that is known.
        row_b: of the clip that is nearly the same.
        distance: what is left between them, in trunk lengths: root mean square over joints and frames.
    """

    row_a: int
    row_b: int
    distance: float


def _is_comparable(store: Store) -> bool:
    """Return whether the skeleton says where trunk, hips and shoulders are, without which no clip can be aligned."""
    return store.skeleton.anchors.keys() >= set(ANCHOR_ROLES)


def near_duplicates(
    store: Store, rows_a: Int64[np.ndarray, " a"], rows_b: Int64[np.ndarray, " b"], *, limit: float = 1.0
) -> list[NearDuplicate]:
    """Return the clips of b that are nearly the same as one of a, each with the nearest one; in the order of b.

    Bit-identical clips are among them. Two clips are nearly the same where, laid upon each other, less than 0.006
    trunk lengths are left between them, plus half the roughness of the one with fewer frames: the root mean square of
    how far its frames lie from the middle between their neighbours. Linear resampling moves a frame by at most half
    of that (a kink of second difference D = 2 r, cut by a chord of length d <= 1 frame, loses at most D d / 4).

    What was seen on data when these were chosen, in trunk lengths:

    - NW-UCLA, views 1 and 2 against view 3: 95 bit-identical clips and no others. Their Kinect is so noisy that the
      threshold is 0.056 in the median, and 0.07 at most; the nearest two clips that are no copies (another view of one
      performance, or another turn of the same person) are 0.14 apart, 4.4 times what would be allowed between them.
    - Synthetic people, by person and by camera: none; the nearest two are 0.27 apart, 8 times what is allowed.
    - Motion capture (Bandai-Namco, 1,165 clips, every second one against the others): none. There is no gap here: an
      actor who raises a hand again does it so alike that the nearest two takes are 0.010 apart, the next 0.012 and
      0.013; 12 takes lie within 2.5 times the threshold. A larger one would call repeated takes copies.
    - Copies made of 120 clips of each: turned and moved, with half of the frames, or with 1 mm of noise, 98 to 100 %
      are found; without 5 % of the frames at both ends 97 to 100 %; all of it at once on 97 frames, 90 to 100 %.
      Noise of 5 mm is past the limit of what can be told from another take: 1 % is found in motion capture, 92 % in
      the synthetic clips and all in NW-UCLA, whose own noise is larger.

    It takes 25 blockwise products of 64 numbers per pair: for 40,000 x 16,000 clips 2 x 10^12 floating point
    operations, some minutes, besides a millisecond or two per clip to read it.

    Args:
        store: the data.
        rows_a: clips that are known, as a rule those to train on.
        rows_b: clips to look at.
        limit: factor on both parts of the threshold: 2 finds what is twice as far apart.
    """
    if not _is_comparable(store) or not len(rows_a) or not len(rows_b):
        return []
    clips = Clips(store)
    basis = _basis_of(clips, np.concatenate([rows_a, rows_b]))
    signatures_a, signatures_b = (_signatures(clips, rows, basis) for rows in (rows_a, rows_b))
    duplicates = []
    for start in range(0, len(rows_b), _BLOCK_CLIPS):
        for place, candidates in enumerate(_candidates(signatures_a, signatures_b[:, start : start + _BLOCK_CLIPS])):
            row_b = int(rows_b[start + place])
            pairs = [_compared(clips, int(rows_a[index]), row_b, crops, limit) for index, crops in candidates]
            nearest = min((pair for pair in pairs if pair is not None), key=lambda pair: pair.distance, default=None)
            if nearest is not None:
                duplicates.append(nearest)
    return duplicates


@dataclass(frozen=True)
class Clip:
    """The first body of a clip.

    Args:
        joints: in trunk lengths, around the mean of its centre; as many coordinates as there are.
        seen: joints that were ever seen.
        view: turn that makes the body upright and face ahead, by the mean over all frames, so that a few frames more or
            less do not matter.
        roughness: root mean square of how far frames lie from the middle between their neighbours.
    """

    joints: Float32[np.ndarray, "frame joint axis"]
    seen: Bool[np.ndarray, " joint"]
    view: Float64[np.ndarray, "axis axis"]
    roughness: float


class Clips:
    """The clips of a store, read when asked for; the last few thousand of them are kept."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.read = lru_cache(maxsize=_KEPT_CLIPS)(partial(_read_clip, store))


def _read_clip(store: Store, row: int) -> Clip:
    joints, present = store.frames(row)
    seen, at = present[0].any(axis=0), store.skeleton.anchors
    body = filled(joints[:1], present[:1])[0].astype(np.float64)
    if store.skeleton.dimensions == 2:
        matrix, origin = alignment_of(joints[:1], present[:1], store.skeleton, "body")
        flat = ((body - origin) @ matrix.T * seen[:, None])[..., :2]
        return Clip(flat.astype(np.float32), seen, np.eye(2), _roughness(flat, seen))
    trunk = body[:, at["chest"]] - body[:, at["centre"]]
    hips = body[:, at["right_hip"]] - body[:, at["left_hip"]]
    shoulders = body[:, at["right_shoulder"]] - body[:, at["left_shoulder"]]
    upward, across = unit(trunk.mean(axis=0)), (hips + shoulders).mean(axis=0)
    across = unit(across - (across @ upward) * upward)
    length = max(float(np.linalg.norm(trunk, axis=-1).mean()), 1e-6)
    body = (body - body[:, at["centre"]].mean(axis=0)) / length * seen[:, None]
    view = np.stack([across, upward, np.cross(across, upward)])
    return Clip(body.astype(np.float32), seen, view, _roughness(body, seen))


def _roughness(body: Float64[np.ndarray, "frame joint axis"], seen: Bool[np.ndarray, " joint"]) -> float:
    off_middle = (body[1:-1] - (body[2:] + body[:-2]) / 2)[:, seen]
    return float(np.sqrt((off_middle**2).sum(axis=-1).mean())) if off_middle.size else 0.0


def _compared(clips: Clips, row_a: int, row_b: int, crops: tuple[float, float], limit: float) -> NearDuplicate | None:
    """Lay two clips upon each other; None where too much is left between them, or they are one."""
    a, b = clips.read(row_a), clips.read(row_b)
    joints = a.seen & b.seen
    if row_a == row_b or joints.sum() < 3:
        return None
    # The one with fewer frames is compared at its own frames: between them, nothing is known of it.
    if len(b.joints) < len(a.joints):
        few, many, (start, end) = b, a, crops
    else:
        few, many, (start, end) = a, b, (-crops[0], -crops[1])
    allowed = limit * _allowed(few.roughness)
    distance = _left_between(few.joints[:, joints], many.joints[:, joints], start, end, allowed)
    return NearDuplicate(row_a, row_b, distance) if distance <= allowed else None


def _allowed(roughness: float) -> float:
    return min(_NEAR + _NEAR_PER_ROUGHNESS * roughness, _NEAR_AT_MOST)


def _left_between(
    few: Float32[np.ndarray, "frame joint axis"],
    many: Float32[np.ndarray, "other joint axis"],
    start: float,
    end: float,
    wanted: float,
) -> float:
    """Return the root mean square distance at the frames of the first, as near as time and a rigid move allow.

    Gauss-Newton steps over eight numbers (five in two dimensions): a turn, a move, and the line from the times of the
    first clip (0 to 1) to those of the second. Infinite where more than a quarter of either is left over.

    Args:
        few: a clip.
        many: another, with as many frames or more.
        start: share of the second clip before the first one begins; negative: of the first before the second begins.
        end: the same after they end.
        wanted: distance that matters; the search ends where it comes nowhere near.
    """
    own = np.unique(np.linspace(0, len(few) - 1, min(len(few), _COMPARED_FRAMES)).round().astype(np.int64))
    times, poses = own / max(len(few) - 1, 1), few[own].astype(np.float64)
    # Where in the second clip the first one begins and ends: what is cut of the first lies outside of the second.
    begins = start if start >= 0 else start / (1 + start)
    ends = 1 - end if end >= 0 else 1 - end / (1 + end)
    best, last = np.inf, np.inf
    for step in range(_STEPS):
        places = (begins + (ends - begins) * times) * (len(many) - 1)
        inside = (places >= -_SLACK_FRAMES) & (places <= len(many) - 1 + _SLACK_FRAMES)
        if inside.mean() < 0.75 or min(ends, 1) - max(begins, 0) < 0.75:
            return best
        target = _poses_at(many, places[inside]).astype(np.float64)
        moved = _laid_upon(poses[inside], target)
        apart = target - moved
        distance = float(np.sqrt((apart**2).sum(axis=-1).mean()))
        best = min(best, distance)
        hopeless = step >= 1 and best > (4.0 if step < 3 else 1.5) * wanted
        if len(many) < 2 or hopeless or distance < 1e-5 or abs(last - distance) < 0.01 * distance:
            return best
        last = distance
        speed = (_poses_at(many, places[inside] + 0.5) - _poses_at(many, places[inside] - 0.5)) * (len(many) - 1)
        share = times[inside][:, None, None]
        dimensions = apart.shape[-1]
        planes = _PLANES[dimensions]
        count = 2 + dimensions + len(planes)
        slopes = np.zeros((count, *apart.shape))
        slopes[0], slopes[1] = speed * (1 - share), speed * share
        for axis in range(dimensions):  # a move along each axis takes away from what is left
            slopes[2 + axis, ..., axis] = -1
        # Minus the cross products of each axis with a position: what a small turn takes away.
        for number, (axis, other) in enumerate(planes, start=2 + dimensions):
            slopes[number, ..., axis], slopes[number, ..., other] = moved[..., other], -moved[..., axis]
        slopes = slopes.reshape(count, -1)
        square = slopes @ slopes.T
        damped = square + 1e-6 * np.trace(square) * np.eye(count) / count
        change = np.linalg.solve(damped, -(slopes @ apart.reshape(-1)))
        begins, ends = begins + change[0], ends + change[1]
    return best


def _laid_upon(
    poses: Float64[np.ndarray, "frame joint axis"], target: Float64[np.ndarray, "frame joint axis"]
) -> Float64[np.ndarray, "frame joint axis"]:
    """Turn and move positions as near to others as a rigid move brings them."""
    middle, goal = poses.mean(axis=(0, 1)), target.mean(axis=(0, 1))
    dimensions = poses.shape[-1]
    left, _, right = np.linalg.svd((poses - middle).reshape(-1, dimensions).T @ (target - goal).reshape(-1, dimensions))
    left[:, -1] *= np.sign(np.linalg.det(left @ right))  # a turn, never a reflection
    return (poses - middle) @ (left @ right) + goal


def _signature(clips: Clips, row: int, crops: Sequence[tuple[float, float]]) -> Float32[np.ndarray, "crop number"]:
    """Return a clip's poses around its centre at even times, without some shares of its start and end."""
    clip = clips.read(row)
    joints = clip.joints - clip.joints[:, clips.store.skeleton.anchors["centre"], None]
    joints = (joints * clip.seen[:, None] @ clip.view.T).astype(np.float32)
    even = np.linspace(0, 1, _SIGNATURE_FRAMES)
    places = np.stack([start + (1 - start - end) * even for start, end in crops])
    poses = _poses_at(joints, places * (len(joints) - 1))
    # The distance between two signatures is then a root mean square over joints and frames.
    return poses.reshape(len(crops), -1) / np.float32(np.sqrt(poses.shape[1] * poses.shape[2]))


def _basis_of(clips: Clips, rows: Int64[np.ndarray, " row"]) -> Float32[np.ndarray, "number axis"]:
    """Return the directions in which the signatures of some of the clips differ most: all of them for a few clips."""
    chosen = rows[:: -(-len(rows) // _BASIS_CLIPS)]
    signatures = np.concatenate([_signature(clips, int(row), [(0.0, 0.0)]) for row in chosen])
    if len(rows) <= _BASIS_CLIPS:
        return np.eye(signatures.shape[1], dtype=np.float32)
    _, _, axes = np.linalg.svd(signatures - signatures.mean(axis=0), full_matrices=False)
    return axes[:_SIGNATURE_NUMBERS].T


def _signatures(
    clips: Clips, rows: Int64[np.ndarray, " row"], basis: Float32[np.ndarray, "number axis"]
) -> Float32[np.ndarray, "crop row axis"]:
    """Return the signatures of clips, once for each way to crop them."""
    return np.stack([_signature(clips, int(row), _CLIP_CROPS) @ basis for row in rows], axis=1)


def _candidates(
    signatures_a: Float32[np.ndarray, "crop a axis"], signatures_b: Float32[np.ndarray, "crop b axis"]
) -> list[list[tuple[int, tuple[float, float]]]]:
    """Return, for each clip of b, the places in a of the clips that may be nearly the same, the nearest first.

    Each comes with what has to be cut off for it: shares of the start and of the end, positive of a, negative of b.
    """
    half_a, half_b = (
        (0.5 * (signature.astype(np.float64) ** 2).sum(axis=-1)).astype(np.float32)
        for signature in (signatures_a, signatures_b)
    )
    # Half the square of the distance, the place in a, the number of the pair of crops; by clip of b.
    candidates: list[list[tuple[float, int, int]]] = [[] for _ in range(signatures_b.shape[1])]
    for start in range(0, signatures_a.shape[1], _BLOCK_CLIPS):
        part = slice(start, start + _BLOCK_CLIPS)
        nearest = np.full((half_b.shape[1], half_a[:, part].shape[1]), np.inf, np.float32)
        pair_of = np.zeros(nearest.shape, np.int8)
        for number, (crop_a, crop_b) in enumerate(_CROP_PAIRS):
            product = signatures_b[crop_b] @ signatures_a[crop_a, part].T
            half_square = half_b[crop_b][:, None] + half_a[crop_a, part] - product
            pair_of[half_square < nearest] = number
            np.minimum(nearest, half_square, out=nearest)
        kept = min(_CANDIDATES_PER_CLIP, nearest.shape[1])
        closest = np.argpartition(nearest, kept - 1, axis=1)[:, :kept]
        for place, indices in enumerate(closest):
            candidates[place] += [
                (float(nearest[place, index]), start + int(index), int(pair_of[place, index]))
                for index in indices
                if nearest[place, index] < _CANDIDATE**2 / 2
            ]
        candidates = [sorted(of_clip)[:_CANDIDATES_PER_CLIP] for of_clip in candidates]
    return [[(index, _DIFFERENCES[number]) for _, index, number in of_clip] for of_clip in candidates]


def _poses_at(
    joints: Float32[np.ndarray, "frame joint axis"], times: Float64[np.ndarray, "*times"]
) -> Float32[np.ndarray, "*times joint axis"]:
    """Return positions between frames, and the first or last frame's beyond them."""
    times = np.clip(times, 0, len(joints) - 1)
    before = times.astype(np.int64)
    after = np.minimum(before + 1, len(joints) - 1)
    weight = (times - before)[..., None, None].astype(np.float32)
    return joints[before] * (1 - weight) + joints[after] * weight
