"""One recording in memory: where every joint of every body is in every frame, and what is known about it.

Absence is a flag, not a number: `present` says which joints were seen. Where it is False the coordinates are zero by
convention, and nothing may depend on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from marrow.errors import DataError
from marrow.skeleton.layout import Skeleton


@dataclass(frozen=True)
class Record:
    """Metadata of one sequence.

    Args:
        id: unique within its source, for example "S001C001P001R001A011".
        path: the raw file, relative to the source's root folder ("" for data made in memory).
        label: 0-based class, or -1 where no label is known.
        attributes: what splits and subsets are made of: subject, camera, view, setup, replication, ... (int or str).
        fault: what is wrong with its file, or why it is skipped, where listing saw that already: reading raises it.
    """

    id: str
    path: str = ""
    label: int = -1
    attributes: Mapping[str, int | str] = field(default_factory=dict, hash=False)
    fault: DataError | None = field(default=None, hash=False, compare=False, repr=False)


@dataclass(frozen=True)
class Segment:
    """A labelled interval of an untrimmed sequence: frames `[start_frame, end_frame)`, 0-based."""

    start_frame: int
    end_frame: int
    label: int


@dataclass(frozen=True)
class Placement:
    """The way back from stored to source coordinates: `source = scale * (rotation @ stored) + translation` (metres)."""

    rotation: Float64[np.ndarray, "3 3"] = field(default_factory=lambda: np.eye(3), hash=False)
    translation: Float64[np.ndarray, "3"] = field(default_factory=lambda: np.zeros(3), hash=False)
    scale: float = 1.0

    def to_source(self, points: Float32[np.ndarray, "... 3"]) -> Float32[np.ndarray, "... 3"]:
        """Return stored positions in the coordinates of their source."""
        return (self.scale * points @ self.rotation.T + self.translation).astype(np.float32)

    def source_origin(self) -> Float64[np.ndarray, "3"]:
        """Return where the origin of the source lies in stored coordinates."""
        return -self.translation @ self.rotation / self.scale


@dataclass(frozen=True)
class SkeletonSequence:
    """One recording of one or more bodies.

    Args:
        joints: positions in metres; zero where absent. In two dimensions the third coordinate is zero.
        present: which joints were seen. A body that is absent in a frame has no joint present.
        fps: nominal frames per second.
        skeleton: the layout of the joint axis.
        record: metadata.
        segments: labelled intervals, for untrimmed recordings.
        placement: how to undo what the reader did to the coordinates.
        notes: what the reader had to mend or to leave out, in words that are the same for every recording.
            Preparing counts them, and `marrow inspect` shows them.
        recorded: where a reader has filled in frames so that time is even, those that the source recorded, ascending;
            scores by frame count them alone. None: all.

    Raises:
        DataError: the arrays do not fit the layout, each other, or hold a non-finite position that is marked present,
            or one with a third coordinate where the layout has two.
    """

    joints: Float32[np.ndarray, "body frame joint 3"]
    present: Bool[np.ndarray, "body frame joint"]
    fps: float
    skeleton: Skeleton
    record: Record
    segments: tuple[Segment, ...] = ()
    placement: Placement = field(default_factory=Placement)
    notes: tuple[str, ...] = ()
    recorded: Int64[np.ndarray, " recorded"] | None = None

    def __post_init__(self) -> None:
        expected = f"[body, frame, {len(self.skeleton.joints)}, 3]"
        joints: Any = self.joints
        for name, value in (("joints", joints), ("present", self.present)):
            if not isinstance(value, np.ndarray):
                raise DataError(f"{self.record.id}: {name} must be a NumPy array, got {type(value).__name__}")
        if joints.ndim != 4 or joints.shape[2:] != (len(self.skeleton.joints), 3) or joints.dtype != np.float32:
            raise DataError(
                f"{self.record.id}: joints must be float32 {expected}, got {joints.dtype} {list(joints.shape)}"
                + (": joints.astype(numpy.float32) makes them so" if joints.dtype.kind == "f" else "")
            )
        if self.present.shape != joints.shape[:3] or self.present.dtype != np.bool_:
            raise DataError(
                f"{self.record.id}: present must be bool {list(joints.shape[:3])}, "
                f"got {self.present.dtype} {list(self.present.shape)}"
            )
        if not 0 < self.fps < np.inf:
            raise DataError(f"{self.record.id}: fps must be frames per second above 0, got {self.fps}")
        if not np.isfinite(joints[self.present]).all():
            raise DataError(f"{self.record.id}: a joint that is marked present has a position that is not finite")
        if self.skeleton.dimensions == 2 and (joints[..., 2] * self.present).any():
            body, frame, joint = (int(place[0]) for place in np.nonzero(joints[..., 2] * self.present))
            raise DataError(
                f"{self.record.id}: the layout {self.skeleton.name!r} has two dimensions, so that the third coordinate "
                f"must be 0, got {joints[body, frame, joint, 2]:g} (body {body}, frame {frame}, "
                f"{self.skeleton.joints[joint]}): set it to zero, or say dimensions=3 in the layout"
            )
        kept = self.recorded
        if kept is not None and (
            len(kept) == 0 or (np.diff(kept, prepend=-1) < 1).any() or kept[-1] >= joints.shape[1]
        ):
            raise DataError(
                f"{self.record.id}: recorded must be ascending frames of 0..{joints.shape[1] - 1}, got {kept[:10]}"
            )

    @property
    def body_count(self) -> int:
        """Number of bodies."""
        return self.joints.shape[0]

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return self.joints.shape[1]


def as_sequences(given: Any) -> list[SkeletonSequence]:
    """Return a list of recordings as it was given.

    Raises:
        DataError: it is one recording alone, or holds something else.
    """
    if isinstance(given, SkeletonSequence):
        raise DataError(f"expected a list of recordings, got one alone ({given.record.id!r}): write [recording]")
    try:
        listed = list(given)
    except TypeError as error:
        raise DataError(f"expected a list of recordings (SkeletonSequence), got {type(given).__name__}") from error
    for place, sequence in enumerate(listed):
        if not isinstance(sequence, SkeletonSequence):
            raise DataError(f"expected recordings (SkeletonSequence), got {type(sequence).__name__} at place {place}")
    return listed
