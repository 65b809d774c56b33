"""Find clips that are nearly the same: one motion up to noise, resampling, a few frames cut off, or a rigid move.

Two steps. A signature of each clip (`store/clip_signatures.py`) finds the few training clips that may be meant. Those
few are then laid upon the clip as well as time and a rigid move allow, and what is left between them is measured.

Only the first body of a clip is compared, and left and right are not exchanged: a copy whose bodies have changed places
and a mirrored one are not found.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from marrow.skeleton.layout import ANCHOR_ROLES, Skeleton
from marrow.store.clip_signatures import Clips, basis_of, candidates, poses_at, signatures
from marrow.store.format import Store

# Below so many pairs the search takes seconds, and nobody has to ask for it.
PAIRS_UNASKED = 10_000_000

# How far apart two clips may be, in trunk lengths (root mean square over joints and frames): 3 mm for an adult, and
# what resampling a jerky recording makes of it. See `near_duplicates` for the data that these were chosen on.
_NEAR = 0.006
_NEAR_PER_ROUGHNESS = 0.5
_NEAR_AT_MOST = 0.07
# Clips whose candidates are looked for at a time.
_BLOCK_CLIPS = 1024
# Frames at which two clips are compared in the second step.
_COMPARED_FRAMES = 32
_STEPS = 8
# The first frame of a clip may lie a little before the other's: a new frame rate puts frames where there were none.
_SLACK_FRAMES = 0.6


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


def comparable(skeleton: Skeleton) -> bool:
    """Return whether a skeleton says where its trunk, hips and shoulders are, without which no clip can be aligned."""
    return skeleton.anchors.keys() >= set(ANCHOR_ROLES)


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
    if not comparable(store.skeleton) or not len(rows_a) or not len(rows_b):
        return []
    known = Clips(store)
    basis = basis_of(known, np.concatenate([rows_a, rows_b]))
    signatures_a, signatures_b = (signatures(known, rows, basis) for rows in (rows_a, rows_b))
    found = []
    for start in range(0, len(rows_b), _BLOCK_CLIPS):
        for place, near in enumerate(candidates(signatures_a, signatures_b[:, start : start + _BLOCK_CLIPS])):
            row_b = int(rows_b[start + place])
            pairs = [_compared(known, int(rows_a[index]), row_b, crops, limit) for index, crops in near]
            nearest = min((pair for pair in pairs if pair is not None), key=lambda pair: pair.distance, default=None)
            if nearest is not None:
                found.append(nearest)
    return found


def _compared(clips: Clips, row_a: int, row_b: int, crops: tuple[float, float], limit: float) -> NearDuplicate | None:
    """Lay two clips upon each other; None where too much is left between them, or they are one."""
    a, b = clips[row_a], clips[row_b]
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
    few: Float32[np.ndarray, "frame joint 3"],
    many: Float32[np.ndarray, "other joint 3"],
    start: float,
    end: float,
    wanted: float,
) -> float:
    """Return the root mean square distance at the frames of the first, as near as time and a rigid move allow.

    Gauss-Newton steps over eight numbers: a turn, a move, and the line from the times of the first clip (0 to 1) to
    those of the second. Infinite where more than a quarter of either is left over.

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
        theirs = poses_at(many, places[inside]).astype(np.float64)
        ours = _laid_upon(poses[inside], theirs)
        apart = theirs - ours
        distance = float(np.sqrt((apart**2).sum(axis=-1).mean()))
        best = min(best, distance)
        hopeless = step >= 1 and best > (4.0 if step < 3 else 1.5) * wanted
        if len(many) < 2 or hopeless or distance < 1e-5 or abs(last - distance) < 0.01 * distance:
            return best
        last = distance
        speed = (poses_at(many, places[inside] + 0.5) - poses_at(many, places[inside] - 0.5)) * (len(many) - 1)
        share = times[inside][:, None, None]
        x, y, z = ours[..., 0], ours[..., 1], ours[..., 2]
        slopes = np.zeros((8, *apart.shape))
        slopes[0], slopes[1] = speed * (1 - share), speed * share
        for axis in range(3):  # a move along each axis takes away from what is left
            slopes[2 + axis, ..., axis] = -1
        # Minus the cross products of each axis with a position: what a small turn takes away.
        slopes[5, ..., 1], slopes[5, ..., 2] = z, -y
        slopes[6, ..., 0], slopes[6, ..., 2] = -z, x
        slopes[7, ..., 0], slopes[7, ..., 1] = y, -x
        slopes = slopes.reshape(8, -1)
        square = slopes @ slopes.T
        damped = square + 1e-6 * np.trace(square) * np.eye(8) / 8
        change = np.linalg.solve(damped, -(slopes @ apart.reshape(-1)))
        begins, ends = begins + change[0], ends + change[1]
    return best


def _laid_upon(
    ours: Float64[np.ndarray, "frame joint 3"], theirs: Float64[np.ndarray, "frame joint 3"]
) -> Float64[np.ndarray, "frame joint 3"]:
    """Turn and move positions as near to others as a rigid move brings them."""
    middle, target = ours.mean(axis=(0, 1)), theirs.mean(axis=(0, 1))
    around, goal = ours - middle, theirs - target
    left, _, right = np.linalg.svd(around.reshape(-1, 3).T @ goal.reshape(-1, 3))
    left[:, 2] *= np.sign(np.linalg.det(left @ right))  # a turn, never a reflection
    return around @ (left @ right) + target
