"""The field's cleaning of NTU RGB+D recordings, as small steps over tracks.

The tracker of the Kinect takes chairs for people, loses people, and finds them again under another id. These steps are
those of the preparation that CTR-GCN and MAMP share; published numbers depend on them. `readers/ntu.py` puts them in
order and lets each be switched off.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Int64

from marrow.readers.ntu_parser import ParsedSkeletons

SHORT_TRACK_FRAMES = 11
FLAT_WIDTH_TO_HEIGHT = 0.8
FLAT_FRAME_SHARE = 0.69754
_SPINE_MID = 1


@dataclass(frozen=True)
class Track:
    """One tracker id: where it was, in which frames, and how much it moved.

    Args:
        frames: 0-based frames, ascending.
        joints: positions in metres, one row per frame.
        motion: variance of the positions over all frames and joints, summed over x, y and z (square metres).
    """

    frames: Int64[np.ndarray, "frame"]
    joints: Float32[np.ndarray, "frame joint 3"]
    motion: float


def tracks_by_id(parsed: ParsedSkeletons, frames: Int64[np.ndarray, "row"]) -> list[Track]:
    """Group rows by id, in the order in which the ids first appear."""
    _, first_rows, groups = np.unique(parsed.body_ids, return_index=True, return_inverse=True)
    tracks = []
    for group in np.argsort(first_rows):
        rows = np.flatnonzero(groups == group)
        joints = parsed.joints[rows]
        tracks.append(Track(frames[rows], joints, _motion(joints)))
    return tracks


def _motion(joints: Float32[np.ndarray, "frame joint 3"]) -> float:
    return float(joints.reshape(-1, 3).var(axis=0).sum())


def without_empty_frames(frames: Int64[np.ndarray, "row"]) -> Int64[np.ndarray, "row"]:
    """Renumber the frames so that those in which nobody is seen do not count."""
    return np.unique(frames, return_inverse=True)[1].astype(np.int64).reshape(-1)


def close_gaps(track: Track) -> Track:
    """Move a body that vanished and returned forward, so that its track is contiguous from its first frame.

    This shifts motion in time against other bodies. The published preparation does it, so it is the default.
    """
    return replace(track, frames=track.frames[0] + np.arange(len(track.frames)))


def remove_short(tracks: Sequence[Track]) -> list[Track]:
    """Remove bodies that were tracked for 11 frames or fewer."""
    return [track for track in tracks if len(track.frames) > SHORT_TRACK_FRAMES]


def remove_flat(tracks: Sequence[Track]) -> list[Track]:
    """Remove bodies that are too wide for their height in at least 69.754 % of their frames, but never the last body.

    The motion of those that stay is lowered to that over their plausible frames, if that is less.
    """
    kept = []
    for index, track in enumerate(tracks):
        is_only_one_left = not kept and index == len(tracks) - 1
        if is_only_one_left:
            return [track]
        extent = np.ptp(track.joints[..., :2], axis=1).astype(np.float64)
        is_plausible = extent[:, 0] <= FLAT_WIDTH_TO_HEIGHT * extent[:, 1]
        if np.mean(~is_plausible) < FLAT_FRAME_SHARE:
            kept.append(replace(track, motion=min(track.motion, _motion(track.joints[is_plausible]))))
    return kept


def select_actors(tracks: Sequence[Track]) -> list[list[Track]]:
    """Share the tracks out between two actors; within an actor, a later track overwrites an earlier one.

    The most mobile body is actor 1. Each further one, in order of motion, joins actor 1 if their intervals do not
    overlap, else actor 2 likewise, else it is discarded. Intervals that share one frame do not overlap, an actor's
    interval grows to the union, and that of actor 2 starts as [0, 0] and so always begins at 0: as published.
    """
    most_mobile, *others = sorted(tracks, key=lambda track: track.motion, reverse=True)
    actors: list[list[Track]] = [[most_mobile], []]
    spans = [(most_mobile.frames[0], most_mobile.frames[-1]), (0, 0)]
    for track in others:
        first, last = track.frames[0], track.frames[-1]
        for actor, (start, end) in enumerate(spans):
            if min(end, last) - max(start, first) <= 0:
                actors[actor].append(track)
                spans[actor] = (min(start, first), max(end, last))
                break
    return [actor for actor in actors if actor]


def to_arrays(
    actors: Sequence[Sequence[Track]], frame_count: int
) -> tuple[Float32[np.ndarray, "body frame joint 3"], Bool[np.ndarray, "body frame"]]:
    """Lay the tracks of each actor on one time line; return positions (zero where absent) and presence."""
    joints = np.zeros((len(actors), frame_count, *actors[0][0].joints.shape[1:]), np.float32)
    for body, tracks in enumerate(actors):
        for track in tracks:
            joints[body, track.frames] = track.joints
    # A body whose joints are all at the camera itself was not seen: the format has no other way to say so.
    return joints, np.asarray(joints.any(axis=(2, 3)))


def origin_of(
    joints: Float32[np.ndarray, "body frame joint 3"], present: Bool[np.ndarray, "body frame"]
) -> Float32[np.ndarray, "3"]:
    """Return the middle of the spine of the first body in the first frame in which that body is seen."""
    return joints[0, np.argmax(present[0]), _SPINE_MID].copy()
