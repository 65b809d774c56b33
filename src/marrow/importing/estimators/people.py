"""Who is who from frame to frame: what an estimator saw in each frame, made into one body per person.

Where the file gives people an identity, that is who they are. Else they are followed by position: from frame to frame
each person is matched with the nearest expected place, as one assignment over all of them; who is not within reach is
somebody new, and who is not found again within half a second has left. What was joined across a gap and what was cut
is counted, because both may be wrong.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int64

from marrow.errors import ParseError
from marrow.importing.recording import Recording
from marrow.readers.base import SkipRecording

# More bodies than this in one recording are an audience.
MAX_BODIES = 8
MAX_PEOPLE_IN_A_FRAME = 64
MAX_GAP_FRAMES = 15
MAX_GAP_SECONDS = 0.5
# Who is followed for fewer frames is a ghost: a poster, a shadow, half of somebody.
MIN_FRAMES = 3

JOINED = "a person was lost for some frames and found again by position"
CUT = "a person was lost by position, and who came later was taken for another"
GHOSTS = f"people who were seen in fewer than {MIN_FRAMES} frames were left out"
CROWD = f"more than {MAX_PEOPLE_IN_A_FRAME} people in a frame: those of whom least was seen were left out"
BEYOND = f"more than {MAX_BODIES} people: those of whom least was seen were left out"
SHARED_IDENTITY = "two people in a frame have the same identity: people were followed by position instead"
SOME_IDENTITIES = "some people have no identity: people were followed by position instead"
IDENTITIES_UNUSED = "identities do not tell people apart: the order of the file was taken for it"

# How far a person may be from the expected place, in sizes of the body, after one frame and at most.
_REACH = 0.5
_LONGEST_REACH = 1.0
# Frames for which a person who is not seen is expected to move on as before.
_FRAMES_OF_MOTION = 3
_OUT_OF_REACH = 1e3
# Of people who may be found again, no more are kept in mind.
_MAX_FOLLOWED = 256
# Numbers of one recording, 1 GB of them: 20 hours of one person.
_MAX_NUMBERS = 1 << 28


@dataclass(frozen=True)
class Detections:
    """People as they were seen, one row for each person in each frame, in the order of the file.

    Args:
        frames: frame of each row, from 0.
        positions: not a number where a joint was not seen.
        confidence: of each joint, or None.
        ids: who each row is; None where nobody is named. A single None: that row has no identity.
        frame_count: of the recording, those without anybody included.
    """

    frames: Int64[np.ndarray, "row"]
    positions: Float32[np.ndarray, "row joint dimension"]
    confidence: Float32[np.ndarray, "row joint"] | None
    ids: tuple[int | str | None, ...] | None
    frame_count: int


def to_recording(path: Path, people: Detections, *, fps: float | None, follow: bool) -> Recording:
    """Return one body per person, those of whom most was seen first.

    Args:
        path: of the file, for messages.
        people: as they were seen.
        fps: frames per second, where it is known; says how long half a second is.
        follow: whether people without an identity are followed by position; else a body is a place in the file's order.

    Raises:
        SkipRecording: nobody is seen.
        ParseError: it is longer than any recording.
    """
    known = np.asarray(np.isfinite(people.positions).all(axis=-1))
    counts: dict[str, int] = {}
    rows = _kept_rows(people.frames, known, counts)
    if not len(rows):
        raise SkipRecording(f"nobody is seen in any of its {people.frame_count} frames")
    frames, positions, known = people.frames[rows], people.positions[rows], known[rows]
    ids = None if people.ids is None else [people.ids[row] for row in rows]

    identified = _by_id(frames, ids, counts, follow)
    by_position = identified is None and follow
    if identified is not None:
        tracks = identified
    elif follow:
        tracks = _by_position(frames, positions, known, _longest_gap(fps), counts)
    else:
        tracks = _by_order(frames)
    seen = np.bincount(tracks, weights=known.sum(axis=-1))
    lengths = np.bincount(tracks)
    if by_position and lengths.max() >= MIN_FRAMES:
        ghosts = lengths < MIN_FRAMES
        seen[ghosts] = -1
        _count(counts, GHOSTS, int(ghosts.sum()))
        _count(counts, CUT, _cuts(frames, tracks, seen > 0))
    keep_order = identified is None and not follow
    return _laid_out(path, people, rows, tracks, seen, fps, keep_order=keep_order, counts=counts)


def _laid_out(
    path: Path,
    people: Detections,
    rows: Int64[np.ndarray, "kept"],
    tracks: Int64[np.ndarray, "kept"],
    seen: np.ndarray,
    fps: float | None,
    *,
    keep_order: bool,
    counts: dict[str, int],
) -> Recording:
    candidates = np.flatnonzero(seen > 0)
    chosen = candidates[np.argsort(-seen[candidates], kind="stable")][:MAX_BODIES]
    _count(counts, BEYOND, len(candidates) - len(chosen))
    if keep_order:
        chosen = np.sort(chosen)
    joint_count, dimensions = people.positions.shape[1:]
    shape = (len(chosen), people.frame_count, joint_count)
    if np.prod([*shape, dimensions], dtype=np.float64) > _MAX_NUMBERS:
        raise ParseError(
            path, 0, f"expected a recording of fewer frames, got {people.frame_count:,} with {len(chosen)} people"
        )
    positions = np.full((*shape, dimensions), np.nan, np.float32)
    confidence = None if people.confidence is None else np.zeros(shape, np.float32)
    for body, track in enumerate(chosen):
        of_body = rows[tracks == track]
        positions[body, people.frames[of_body]] = people.positions[of_body]
        if confidence is not None and people.confidence is not None:
            confidence[body, people.frames[of_body]] = people.confidence[of_body]
    return Recording(positions, confidence, fps, tuple(counts), counts)


def _kept_rows(
    frames: Int64[np.ndarray, "row"], known: Bool[np.ndarray, "row joint"], counts: dict[str, int]
) -> Int64[np.ndarray, "kept"]:
    """Return the rows in which somebody is seen, by frame, without those whom nobody could tell apart in a crowd."""
    joints = known.sum(axis=1)
    rows = np.flatnonzero(joints)
    rows = rows[np.argsort(frames[rows], kind="stable")]
    if not len(rows) or np.bincount(np.unique(frames[rows], return_inverse=True)[1]).max() <= MAX_PEOPLE_IN_A_FRAME:
        return rows
    best_first = rows[np.lexsort((rows, -joints[rows], frames[rows]))]
    kept = best_first[_by_order(frames[best_first]) < MAX_PEOPLE_IN_A_FRAME]
    _count(counts, CROWD, len(rows) - len(kept))
    return kept[np.lexsort((kept, frames[kept]))]


def _by_order(frames: Int64[np.ndarray, "row"]) -> Int64[np.ndarray, "row"]:
    """Return the place of each row among those of its frame; rows are sorted by frame."""
    _, starts, counts = np.unique(frames, return_index=True, return_counts=True)
    return np.arange(len(frames)) - np.repeat(starts, counts)


def _by_id(
    frames: Int64[np.ndarray, "row"], ids: list[int | str | None] | None, counts: dict[str, int], follow: bool
) -> Int64[np.ndarray, "row"] | None:
    """Number people by identity; None if identities do not tell people apart."""
    if ids is None or all(who is None for who in ids):
        return None
    if None in ids:
        _count(counts, SOME_IDENTITIES if follow else IDENTITIES_UNUSED, ids.count(None))
        return None
    numbers: dict[int | str | None, int] = {}
    tracks = np.array([numbers.setdefault(who, len(numbers)) for who in ids], np.int64)
    pairs = np.unique(np.stack([frames, tracks]), axis=1).shape[1]
    if pairs < len(frames):
        _count(counts, SHARED_IDENTITY if follow else IDENTITIES_UNUSED, len(frames) - pairs)
        return None
    return tracks


def _by_position(
    frames: Int64[np.ndarray, "row"],
    positions: Float32[np.ndarray, "row joint dimension"],
    known: Bool[np.ndarray, "row joint"],
    longest_gap: int,
    counts: dict[str, int],
) -> Int64[np.ndarray, "row"]:
    """Number people by following them; rows are sorted by frame."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    filled = np.where(known[..., None], positions, 0)
    sizes = _sizes(positions, known)
    tracks = np.zeros(len(frames), np.int64)
    _, starts = np.unique(frames, return_index=True)
    ends = [*starts[1:].tolist(), len(frames)]
    track_count = joined = 0
    # People who may be found again: where each joint was (moved on where it was not seen), their motion per frame,
    # size, last frame and number.
    last, last_known = filled[:0], known[:0]
    motion, size = filled[:0, 0], sizes[:0]
    last_frame = number = tracks[:0]
    for start, end in zip(starts.tolist(), ends, strict=True):
        frame, here = frames[start], slice(start, end)
        if len(last_frame) > _MAX_FOLLOWED or (len(last_frame) and frame - last_frame.min() > longest_gap + 1):
            near = np.flatnonzero(frame - last_frame <= longest_gap + 1)
            near = near[np.argsort(frame - last_frame[near], kind="stable")][:_MAX_FOLLOWED]
            last, last_known, motion, size = last[near], last_known[near], motion[near], size[near]
            last_frame, number = last_frame[near], number[near]
        waited = frame - last_frame
        steps = np.minimum(waited, _FRAMES_OF_MOTION)[:, None]
        expected = last + (motion * steps)[:, None]
        both = last_known[:, None] & known[None, here]
        distance = np.sqrt(((expected[:, None] - filled[None, here]) ** 2).sum(axis=-1))
        shared = both.sum(axis=-1)
        mean = (distance * both).sum(axis=-1) / np.maximum(shared, 1)
        share = np.minimum(_REACH * np.sqrt(waited), _LONGEST_REACH)
        reach = share[:, None] * np.maximum(size[:, None], sizes[None, here])
        within = (shared > 0) & (mean <= reach)
        old, new = linear_sum_assignment(np.where(within, mean / np.maximum(reach, 1e-6), _OUT_OF_REACH))
        matched = within[old, new]
        old, new = old[matched], new[matched] + start

        tracks[here] = -1
        tracks[new] = number[old]
        joined += int((waited[old] > 1).sum())
        both = last_known[old] & known[new]
        moved = ((filled[new] - last[old]) * both[..., None]).sum(axis=1) / both.sum(axis=1)[:, None]
        motion[old] = (motion[old] + moved / waited[old, None]) / 2
        last[old] = np.where(known[new][..., None], filled[new], last[old] + moved[:, None])
        last_known[old] |= known[new]
        size[old] = np.maximum(size[old] * 0.95, sizes[new])
        last_frame[old] = frame

        fresh = start + np.flatnonzero(tracks[here] < 0)
        if len(fresh):
            tracks[fresh] = track_count + np.arange(len(fresh))
            track_count += len(fresh)
            last, last_known = np.concatenate([last, filled[fresh]]), np.concatenate([last_known, known[fresh]])
            motion = np.concatenate([motion, np.zeros_like(filled[fresh, 0])])
            size = np.concatenate([size, sizes[fresh]])
            last_frame, number = np.concatenate([last_frame, frames[fresh]]), np.concatenate([number, tracks[fresh]])
    _count(counts, JOINED, joined)
    return tracks


def _sizes(
    positions: Float32[np.ndarray, "row joint dimension"], known: Bool[np.ndarray, "row joint"]
) -> Float32[np.ndarray, "row"]:
    """Return the diagonal of the box around the joints that are seen."""
    lowest = np.where(known[..., None], positions, np.inf).min(axis=1)
    highest = np.where(known[..., None], positions, -np.inf).max(axis=1)
    return np.linalg.norm(highest - lowest, axis=-1).astype(np.float32)


def _cuts(frames: Int64[np.ndarray, "row"], tracks: Int64[np.ndarray, "row"], counted: np.ndarray) -> int:
    """Return how many people come after another has left, so that they may be the same."""
    first = np.full(len(counted), np.iinfo(np.int64).max)
    final = np.zeros(len(counted), np.int64)
    np.minimum.at(first, tracks, frames)
    np.maximum.at(final, tracks, frames)
    ends, cuts = np.sort(final[counted]), 0
    for start in np.sort(first[counted]):
        if ends[cuts] < start:
            cuts += 1
    return cuts


def _longest_gap(fps: float | None) -> int:
    return MAX_GAP_FRAMES if fps is None else max(1, round(MAX_GAP_SECONDS * min(fps, 1000.0)))


def _count(counts: dict[str, int], note: str, times: int) -> None:
    if times:
        counts[note] = counts.get(note, 0) + times
