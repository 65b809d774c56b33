"""NTU RGB+D 60 and 120: Kinect v2 recordings of 60 and 120 actions by one or two people.

Files are named `SsssCcccPpppRrrrAaaa.skeleton` after setup, camera, performer, replication and action; the label is the
action less one. Setups 1 to 17 are NTU RGB+D 60, and NTU RGB+D 120 adds 18 to 32. What is inside a file:
`readers/ntu_parser.py`. How it is cleaned: `readers/ntu_cleaning.py`.

Protocols: `xsub` trains on 20 of 40 performers (53 of 106), `xview` of NTU RGB+D 60 on cameras 2 and 3, `xset` of
NTU RGB+D 120 on the even setups.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from marrow.errors import ConfigError, DataError, ParseError
from marrow.readers.base import SkipRecording, Split, some_files, split_by
from marrow.skeleton.layout import KINECT_V2_25, Skeleton
from marrow.skeleton.sequence import Placement, Record, SkeletonSequence

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
_HIGHEST = {"setup": 32, "camera": 3, "subject": 106, "replication": 2, "action": 120}
_SETUPS_OF_60 = 17
_ACTIONS_OF_60 = 60

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
        """List the `.skeleton` files at any depth below a folder, by name.

        Raises:
            DataError: the folder is missing, holds no such file, or holds a recording twice.
            ParseError: a file is not named as NTU names them.
        """
        wanted = "NTU recordings (SsssCcccPpppRrrrAaaa.skeleton)"
        files = some_files(root, root.rglob("*.skeleton"), wanted, "*.skeleton")
        left_out = _names_in(self.missing_list) if self.missing_list else frozenset()
        previous = None
        for file in sorted(files, key=lambda file: (file.name, file)):
            if previous is not None and previous.name == file.name:
                raise DataError(f"expected each recording once, got {previous} and {file}. Remove one of them.")
            previous = file
            record = _record(root, file)
            if record.id not in left_out and (self.version == 120 or _is_of_60(record, file)):
                yield record

    def read(self, root: Path, record: Record) -> SkeletonSequence:
        """Read and clean one recording.

        Raises:
            ParseError: the file does not follow the format.
            SkipRecording: nobody is seen in it, or all of several bodies are too short.
        """
        # Here and not above, so that listing recordings and showing help need not wait for numba.
        from marrow.readers import ntu_cleaning as cleaning
        from marrow.readers.ntu_parser import parse_skeleton_file

        parsed = parse_skeleton_file(root / record.path)
        if not parsed.joints.any():
            raise SkipRecording(f"nobody is seen in any of its {parsed.frame_count} frames")
        frames, frame_count = parsed.frames, parsed.frame_count
        if self.drop_empty_frames:
            frames = cleaning.without_empty_frames(frames)
            frame_count = int(frames.max()) + 1
        tracks = cleaning.tracks_by_id(parsed, frames)
        tracked_count = len(tracks)
        if self.close_gaps:
            tracks = [cleaning.close_gaps(track) for track in tracks]
        if self.remove_short and tracked_count > 1:
            tracks = cleaning.remove_short(tracks)
            if not tracks:
                limit = cleaning.SHORT_TRACK_FRAMES
                raise SkipRecording(f"none of its {tracked_count} bodies is tracked for more than {limit} frames")
        if self.remove_flat:
            tracks = cleaning.remove_flat(tracks)
        actors = cleaning.select_actors(tracks) if self.select_actors else [[track] for track in tracks]
        joints, present = cleaning.to_arrays(actors, frame_count)
        if not present[0].any():
            raise SkipRecording(f"its main body is at the camera itself in all {frame_count} frames")
        if self.drop_empty_frames and tracked_count > 1:
            is_seen = present.any(axis=0)
            joints, present = joints[:, is_seen], present[:, is_seen]
        placement = Placement()
        if self.translate:
            origin = cleaning.origin_of(joints, present)
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
        )


def _record(root: Path, file: Path) -> Record:
    match = _NAME.fullmatch(file.stem)
    attributes = dict(zip(_HIGHEST, map(int, match.groups()), strict=True)) if match else {}
    if not attributes or any(not 1 <= attributes[part] <= highest for part, highest in _HIGHEST.items()):
        ranges = ", ".join(f"{part} 1 to {highest}" for part, highest in _HIGHEST.items())
        raise ParseError(file, 0, f"expected a name SsssCcccPpppRrrrAaaa.skeleton with {ranges}; got {file.name!r}")
    return Record(
        id=file.stem,
        path=file.relative_to(root).as_posix(),
        label=attributes["action"] - 1,
        attributes=attributes,
    )


def _is_of_60(record: Record, file: Path) -> bool:
    if int(record.attributes["setup"]) > _SETUPS_OF_60:
        return False
    if record.label >= _ACTIONS_OF_60:
        raise ParseError(file, 0, f"expected an action 1 to {_ACTIONS_OF_60} in setups 1 to 17; got {file.name!r}")
    return True


def _names_in(missing_list: Path) -> frozenset[str]:
    try:
        names = frozenset(match.group() for match in _NAME.finditer(missing_list.read_text("utf-8", "replace")))
    except OSError as error:
        raise ConfigError(f"ntu: missing_list {missing_list} cannot be read: {error.strerror}") from error
    if not names:
        raise ConfigError(f"ntu: missing_list {missing_list} names no recording (SsssCcccPpppRrrrAaaa)")
    return names
