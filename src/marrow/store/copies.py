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

import numpy as np
from jaxtyping import Float32, Int64

from marrow.skeleton.layout import ANCHOR_ROLES
from marrow.store.format import Store
from marrow.store.laid_upon import Clips, NearDuplicate, compared, poses_at

# Below so many pairs the search takes seconds, and nobody has to ask for it.
PAIRS_UNASKED = 10_000_000

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
    if not near or not is_comparable(store):
        return Copies(identical, None)
    others = np.array([row for row in test_rows if int(row) not in identical], np.int64)
    return Copies(identical, {pair.row_b: pair.row_a for pair in near_duplicates(store, train_rows, others)})


def is_comparable(store: Store) -> bool:
    """Return whether the skeleton says where trunk, hips and shoulders are, without which no clip can be aligned."""
    return store.skeleton.anchors.keys() >= set(ANCHOR_ROLES)


def near_duplicates(
    store: Store,
    rows_a: Int64[np.ndarray, " a"],
    rows_b: Int64[np.ndarray, " b"],
    *,
    limit: float = 1.0,
    store_b: Store | None = None,
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
        store_b: where the clips of b are, if not in the same store: brought to the same joints, of which those that
            both have are compared.
    """
    if not is_comparable(store) or not len(rows_a) or not len(rows_b):
        return []
    clips_a = Clips(store)
    clips_b = clips_a if store_b is None else Clips(store_b)
    if store_b is not None:
        clips_a.taken = clips_b.taken = clips_a.ever_seen(rows_a) & clips_b.ever_seen(rows_b)
    basis = _basis_of([(clips_a, rows_a), (clips_b, rows_b)])
    signatures_a = _signatures(clips_a, rows_a, basis)
    signatures_b = _signatures(clips_b, rows_b, basis)
    duplicates = []
    for start in range(0, len(rows_b), _BLOCK_CLIPS):
        for place, candidates in enumerate(_candidates(signatures_a, signatures_b[:, start : start + _BLOCK_CLIPS])):
            row_b = int(rows_b[start + place])
            pairs = [compared(clips_a, int(rows_a[index]), clips_b, row_b, crops, limit) for index, crops in candidates]
            nearest = min((pair for pair in pairs if pair is not None), key=lambda pair: pair.distance, default=None)
            if nearest is not None:
                duplicates.append(nearest)
    return duplicates


def _signature(clips: Clips, row: int, crops: Sequence[tuple[float, float]]) -> Float32[np.ndarray, "crop number"]:
    """Return a clip's poses around its centre at even times, without some shares of its start and end."""
    clip = clips.read(row)
    joints = clip.joints - clip.joints[:, clips.store.skeleton.anchors["centre"], None]
    joints = (joints * clip.seen[:, None] @ clip.view.T).astype(np.float32)[:, clips.taken]
    even = np.linspace(0, 1, _SIGNATURE_FRAMES)
    places = np.stack([start + (1 - start - end) * even for start, end in crops])
    poses = poses_at(joints, places * (len(joints) - 1))
    # The distance between two signatures is then a root mean square over joints and frames.
    return poses.reshape(len(crops), -1) / np.float32(np.sqrt(poses.shape[1] * poses.shape[2]))


def _basis_of(parts: Sequence[tuple[Clips, Int64[np.ndarray, " _row"]]]) -> Float32[np.ndarray, "number axis"]:
    """Return the directions in which the signatures of some of the clips differ most: all of them for a few clips."""
    whole, all_rows = [(0.0, 0.0)], [(clips, int(row)) for clips, rows in parts for row in rows]
    chosen = all_rows[:: -(-len(all_rows) // _BASIS_CLIPS)]
    signatures = np.concatenate([_signature(clips, row, whole) for clips, row in chosen])
    if len(all_rows) <= _BASIS_CLIPS:
        return np.eye(signatures.shape[1], dtype=np.float32)
    _, _, axes = np.linalg.svd(signatures - signatures.mean(axis=0), full_matrices=False)
    return axes[:_SIGNATURE_NUMBERS].T


def _signatures(
    clips: Clips,
    rows: Int64[np.ndarray, " row"],
    basis: Float32[np.ndarray, "number axis"],
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
