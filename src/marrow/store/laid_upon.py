"""Two clips laid upon each other, as well as time and a rigid move allow, and what is left between them."""

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from marrow.skeleton.geometry import alignment_of, filled, unit
from marrow.store.format import Store

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

# Clips of a store that are kept in memory, and of which it is seen what joints a store has.
_KEPT_CLIPS, _SOME_CLIPS = 4096, 512

# Pairs of axes in which a turn goes, by the number of coordinates.
_PLANES = {2: ((0, 1),), 3: ((1, 2), (2, 0), (0, 1))}


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
    """The clips of a store, read when asked for; the last few thousand of them are kept.

    Attributes:
        taken: joints of which signatures are made.
    """

    def __init__(self, store: Store) -> None:
        self.store, self.taken = store, np.ones(len(store.skeleton.joints), np.bool_)
        self.read = lru_cache(maxsize=_KEPT_CLIPS)(partial(_read_clip, store))

    def ever_seen(self, rows: Int64[np.ndarray, " row"]) -> Bool[np.ndarray, " joint"]:
        """Return which joints are seen in some of the clips."""
        return np.any([self.read(int(row)).seen for row in rows[:: -(-len(rows) // _SOME_CLIPS)]], axis=0)


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


def compared(
    clips_a: Clips, row_a: int, clips_b: Clips, row_b: int, crops: tuple[float, float], limit: float
) -> NearDuplicate | None:
    """Lay two clips upon each other; None where too much is left between them, or they are one."""
    a, b = clips_a.read(row_a), clips_b.read(row_b)
    joints = a.seen & b.seen
    if (clips_a is clips_b and row_a == row_b) or joints.sum() < 3:
        return None
    # The one with fewer frames is compared at its own frames: between them, nothing is known of it.
    if len(b.joints) < len(a.joints):
        few, many, (start, end) = b, a, crops
    else:
        few, many, (start, end) = a, b, (-crops[0], -crops[1])
    most = limit * allowed(few.roughness)
    distance = _left_between(few.joints[:, joints], many.joints[:, joints], start, end, most)
    return NearDuplicate(row_a, row_b, distance) if distance <= most else None


def allowed(roughness: float) -> float:
    """Return how far apart two clips may be, in trunk lengths."""
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
        target = poses_at(many, places[inside]).astype(np.float64)
        moved = _laid_upon(poses[inside], target)
        apart = target - moved
        distance = float(np.sqrt((apart**2).sum(axis=-1).mean()))
        best = min(best, distance)
        hopeless = step >= 1 and best > (4.0 if step < 3 else 1.5) * wanted
        if len(many) < 2 or hopeless or distance < 1e-5 or abs(last - distance) < 0.01 * distance:
            return best
        last = distance
        speed = (poses_at(many, places[inside] + 0.5) - poses_at(many, places[inside] - 0.5)) * (len(many) - 1)
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


def poses_at(
    joints: Float32[np.ndarray, "frame joint axis"], times: Float64[np.ndarray, "*times"]
) -> Float32[np.ndarray, "*times joint axis"]:
    """Return positions between frames, and the first or last frame's beyond them."""
    times = np.clip(times, 0, len(joints) - 1)
    before = times.astype(np.int64)
    after = np.minimum(before + 1, len(joints) - 1)
    weight = (times - before)[..., None, None].astype(np.float32)
    return joints[before] * (1 - weight) + joints[after] * weight
