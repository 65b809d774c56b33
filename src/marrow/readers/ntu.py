"""NTU RGB+D 60 and 120: Kinect v2 recordings of 60 and 120 actions by one or two people.

Files are named `SsssCcccPpppRrrrAaaa.skeleton` after setup, camera, performer, replication and action; the label is the
action less one. Setups 1 to 17 are NTU RGB+D 60, and NTU RGB+D 120 adds 18 to 32. What is inside a file:
`readers/ntu_parser.py`.

The tracker of the Kinect takes chairs for people, loses people, and finds them again under another id. The cleaning is
made of small steps over tracks, each of which can be switched off. They are those of the preparation that CTR-GCN and
MAMP share; published numbers depend on them.

Protocols: `xsub` trains on 20 of 40 performers (53 of 106), `xview` of NTU RGB+D 60 on cameras 2 and 3, `xset` of
NTU RGB+D 120 on the even setups.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt64

from marrow.errors import ConfigError, ParseError
from marrow.readers.base import SkipRecording, Split, faulty_record, some_files, split_by
from marrow.skeleton.layout import KINECT_V2_25, Skeleton
from marrow.skeleton.sequence import Placement, Record, SkeletonSequence

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
_HIGHEST = {"setup": 32, "camera": 3, "subject": 106, "replication": 2, "action": 120}
_SETUPS_OF_60 = 17
_ACTIONS_OF_60 = 60

_SHORT_TRACK_FRAMES = 11
_FLAT_WIDTH_TO_HEIGHT = 0.8
_FLAT_FRAME_SHARE = 0.69754
_SPINE_MID = 1

_TRAIN_SUBJECTS_60 = frozenset((1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38))
# fmt: off
_TRAIN_SUBJECTS_120 = _TRAIN_SUBJECTS_60 | {
    45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94, 95,
    97, 98, 100, 103,
}
# fmt: on

_CLASS_NAMES = """
drink water; eat meal; brush teeth; brush hair; drop; pick up; throw; sit down; stand up; clapping; reading;
writing; tear up paper; put on jacket; take off jacket; put on a shoe; take off a shoe; put on glasses;
take off glasses; put on a hat or cap; take off a hat or cap; cheer up; hand waving; kicking something;
reach into pocket; hopping; jump up; phone call; play with phone or tablet; type on a keyboard; point to something;
taking a selfie; check time from watch; rub two hands; nod head or bow; shake head; wipe face; salute;
put palms together; cross hands in front; sneeze or cough; staggering; falling down; headache; chest pain;
back pain; neck pain; nausea or vomiting; fan self; punch or slap; kicking; pushing; pat on back; point finger;
hugging; giving object; touch pocket; shaking hands; walking towards; walking apart; put on headphone;
take off headphone; shoot at basket; bounce ball; tennis bat swing; juggle table tennis ball; hush; flick hair;
thumb up; thumb down; make OK sign; make victory sign; staple book; counting money; cutting nails; cutting paper;
snap fingers; open bottle; sniff or smell; squat down; toss a coin; fold paper; ball up paper; play magic cube;
apply cream on face; apply cream on hand; put on bag; take off bag; put object into bag; take object out of bag;
open a box; move heavy objects; shake fist; throw up cap or hat; capitulate; cross arms; arm circles; arm swings;
run on the spot; butt kicks; cross toe touch; side kick; yawn; stretch oneself; blow nose; hit with object;
wield knife; knock over; grab stuff; shoot with gun; step on foot; high-five; cheers and drink; carry object;
take a photo; follow; whisper; exchange things; support somebody; rock-paper-scissors
"""
_CLASSES = tuple(" ".join(name.split()) for name in _CLASS_NAMES.split(";"))

_SPLITS: dict[int, dict[str, Split]] = {
    60: {"xsub": split_by("subject", _TRAIN_SUBJECTS_60), "xview": split_by("camera", (2, 3))},
    120: {"xsub": split_by("subject", _TRAIN_SUBJECTS_120), "xset": split_by("setup", range(2, 33, 2))},
}


@dataclass(frozen=True)
class NTU:
    """Reader of NTU RGB+D `.skeleton` files, cleaned as CTR-GCN and MAMP do. Without any step: bodies as tracked.

    Args:
        version: 60 (setups 1 to 17; other files are passed over) or 120 (all setups).
        missing_list: a text file that names recordings without usable skeletons, such as the official lists; they are
            left out. Other text in it, such as a heading, is passed over.
        drop_empty_frames: drop frames in which nobody is seen, before and after the other steps.
        close_gaps: make the track of a body that vanishes and returns contiguous from its first frame.
        remove_short: where several bodies are tracked, remove those of 11 frames or fewer.
        remove_flat: where several bodies are tracked, remove those that are mostly wider than 0.8 of their height.
        select_actors: share the bodies out between two actors by their motion. Without it, each tracked body is one, in
            the order of first appearance.
        translate: move the middle of the first body's spine to the origin, in the first frame in which it is seen.
            `placement` keeps the way back.
        duplicate_single_body: where one body is left, add an exact copy of it as the second, as the published
            preparation of NTU RGB+D 120 (not that of 60) does. For comparisons only.
    """

    version: Literal[60, 120] = 60
    missing_list: Path | None = None
    drop_empty_frames: bool = True
    close_gaps: bool = True
    remove_short: bool = True
    remove_flat: bool = True
    select_actors: bool = True
    translate: bool = True
    duplicate_single_body: bool = False

    name: ClassVar[str] = "ntu"
    skeleton: ClassVar[Skeleton] = KINECT_V2_25
    fps: ClassVar[float] = 30.0

    def __post_init__(self) -> None:
        if self.version not in _SPLITS:
            raise ConfigError(f"ntu: version must be 60 or 120, got {self.version!r}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the actions, in the order of the labels."""
        return _CLASSES[: self.version]

    @property
    def splits(self) -> Mapping[str, Split]:
        """Return the protocols: xsub and xview (60), xsub and xset (120)."""
        return _SPLITS[self.version]

    def records(self, root: Path) -> Iterator[Record]:
        """List the `.skeleton` files at any depth below a folder, by name."""
        wanted = "NTU recordings (SsssCcccPpppRrrrAaaa.skeleton)"
        files = some_files(root, root.rglob("*.skeleton"), wanted, "*.skeleton")
        left_out = _names_in(self.missing_list) if self.missing_list else frozenset()
        previous = None
        for file in sorted(files, key=lambda file: (file.name, file)):
            if previous is not None and previous.name == file.name:
                problem = f"expected each recording once, got {previous} as well. Remove one of them"
                yield faulty_record(root, ParseError(file, 0, problem))
                continue
            previous = file
            record = _record(root, file, self.version)
            if record.fault is not None or (
                record.id not in left_out and (self.version == 120 or int(record.attributes["setup"]) <= _SETUPS_OF_60)
            ):
                yield record

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        """Read and clean one recording."""
        # Here and not above, so that listing recordings and showing help need not wait for numba.
        from marrow.readers.ntu_parser import parse_skeleton_file

        if record.fault is not None:
            raise record.fault
        parsed = parse_skeleton_file(root / record.path)
        if not parsed.joints.any():
            raise SkipRecording(f"nobody is seen in any of its {parsed.frame_count} frames")
        frames, frame_count = parsed.frames, parsed.frame_count
        if self.drop_empty_frames:
            frames = without_empty_frames(frames)
            frame_count = int(frames.max()) + 1
        tracks = tracks_by_id(parsed.body_ids, frames, parsed.joints)
        tracked_count = len(tracks)
        if self.close_gaps:
            tracks = [without_gaps(track) for track in tracks]
        if self.remove_short and tracked_count > 1:
            tracks = without_short(tracks)
            if not tracks:
                raise SkipRecording(
                    f"none of its {tracked_count} bodies is tracked for more than {_SHORT_TRACK_FRAMES} frames"
                )
        if self.remove_flat:
            tracks = without_flat(tracks)
        actors = actors_of(tracks) if self.select_actors else [[track] for track in tracks]
        joints, present = to_arrays(actors, frame_count)
        if not present[0].any():
            raise SkipRecording(f"its main body is at the camera itself in all {frame_count} frames")
        if self.drop_empty_frames and tracked_count > 1:
            is_seen = present.any(axis=0)
            joints, present = joints[:, is_seen], present[:, is_seen]
        placement = Placement()
        if self.translate:
            origin = origin_of(joints, present)
            joints = np.where(present[..., None, None], joints - origin, np.float32(0))
            placement = Placement(translation=origin.astype(np.float64))
        if self.duplicate_single_body and len(tracks) == 1:
            joints, present = joints.repeat(2, axis=0), present.repeat(2, axis=0)
        return SkeletonSequence(
            joints=joints,
            present=np.repeat(present[..., None], joints.shape[2], axis=2),
            fps=self.fps,
            skeleton=self.skeleton,
            record=record,
            placement=placement,
            notes=parsed.notes,
        )


def _record(root: Path, file: Path, version: int) -> Record:
    match = _NAME.fullmatch(file.stem)
    attributes = dict(zip(_HIGHEST, map(int, match.groups()), strict=True)) if match else {}
    if not attributes or any(not 1 <= attributes[part] <= highest for part, highest in _HIGHEST.items()):
        ranges = ", ".join(f"{part} 1 to {highest}" for part, highest in _HIGHEST.items())
        problem = f"expected a name SsssCcccPpppRrrrAaaa.skeleton with {ranges}; got {file.name!r}"
        return faulty_record(root, ParseError(file, 0, problem))
    if version == 60 and attributes["setup"] <= _SETUPS_OF_60 and attributes["action"] > _ACTIONS_OF_60:
        problem = f"expected an action 1 to {_ACTIONS_OF_60} in setups 1 to 17; got {file.name!r}"
        return faulty_record(root, ParseError(file, 0, problem))
    return Record(
        id=file.stem,
        path=file.relative_to(root).as_posix(),
        label=attributes["action"] - 1,
        attributes=attributes,
    )


def _names_in(missing_list: Path) -> frozenset[str]:
    try:
        names = frozenset(match.group() for match in _NAME.finditer(missing_list.read_text("utf-8", "replace")))
    except OSError as error:
        raise ConfigError(f"ntu: missing_list {missing_list} cannot be read: {error.strerror}") from error
    if not names:
        raise ConfigError(f"ntu: missing_list {missing_list} names no recording (SsssCcccPpppRrrrAaaa)")
    return names


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


def tracks_by_id(
    body_ids: UInt64[np.ndarray, " row"],
    frames: Int64[np.ndarray, " row"],
    positions: Float32[np.ndarray, "row joint 3"],
) -> list[Track]:
    """Group rows by id, in the order in which the ids first appear."""
    _, first_rows, groups = np.unique(body_ids, return_index=True, return_inverse=True)
    tracks = []
    for group in np.argsort(first_rows):
        rows = np.flatnonzero(groups == group)
        joints = positions[rows]
        tracks.append(Track(frames[rows], joints, _motion(joints)))
    return tracks


def _motion(joints: Float32[np.ndarray, "frame joint 3"]) -> float:
    return float(joints.reshape(-1, 3).var(axis=0).sum())


def without_empty_frames(frames: Int64[np.ndarray, "row"]) -> Int64[np.ndarray, "row"]:
    """Renumber the frames so that those in which nobody is seen do not count."""
    return np.unique(frames, return_inverse=True)[1].astype(np.int64).reshape(-1)


def without_gaps(track: Track) -> Track:
    """Move a body that vanished and returned forward, so that its track is contiguous from its first frame.

    This shifts motion in time against other bodies. The published preparation does it, so it is the default.
    """
    return replace(track, frames=track.frames[0] + np.arange(len(track.frames)))


def without_short(tracks: Sequence[Track]) -> list[Track]:
    """Remove bodies that were tracked for 11 frames or fewer."""
    return [track for track in tracks if len(track.frames) > _SHORT_TRACK_FRAMES]


def without_flat(tracks: Sequence[Track]) -> list[Track]:
    """Remove bodies that are too wide for their height in at least 69.754 % of their frames, but never the last body.

    The motion of those that stay is lowered to that over their plausible frames, if that is less.
    """
    kept = []
    for index, track in enumerate(tracks):
        is_only_one_left = not kept and index == len(tracks) - 1
        if is_only_one_left:
            return [track]
        extent = np.ptp(track.joints[..., :2], axis=1).astype(np.float64)
        is_plausible = extent[:, 0] <= _FLAT_WIDTH_TO_HEIGHT * extent[:, 1]
        if np.mean(~is_plausible) < _FLAT_FRAME_SHARE:
            kept.append(replace(track, motion=min(track.motion, _motion(track.joints[is_plausible]))))
    return kept


def actors_of(tracks: Sequence[Track]) -> list[list[Track]]:
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
