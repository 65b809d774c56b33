"""From recordings to the arrays that an exported model reads: brought to its joints, aligned, cut and resampled.

The same as `marrow.batch_from_sequences`, up to rounding, in NumPy alone; tests hold the two together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from marrow.errors import DataError
from marrow.runtime.description import Description
from marrow.skeleton.geometry import alignment_of
from marrow.skeleton.known import LAYOUTS
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.retarget import retarget
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.skeleton.streams import stream


@dataclass(frozen=True)
class Motion:
    """One recording, as plain arrays.

    Args:
        joints: [body frame joint 3], in metres; in two dimensions, the third coordinate is zero.
        present: [body frame joint], which joints were seen; None: those whose position is finite.
        fps: frames per second.
        layout: names of the joints in their order, or the name of a layout (`marrow layouts`); None: the model's own.
        dimensions: coordinates that exist, 2 where joints were seen in an image; None: as many as the layout has.
    """

    joints: np.ndarray
    present: np.ndarray | None = None
    fps: float = 30.0
    layout: Sequence[str] | str | None = None
    dimensions: int | None = None


@dataclass(frozen=True)
class Inputs:
    """The arrays that a model reads, by their names in the file.

    Args:
        joints: float32 [batch body time joint 3], a stream derived from aligned positions; zero where absent.
        present: bool [batch body time joint].
        place: int64 [joint]: which joint of the model each of these is; None: all, in their order.
        flat: bool [batch]: which recordings have two dimensions; None: it is not asked.
        frame_count: int64 [batch]: frames of each in its window; None: windows are full.
    """

    joints: np.ndarray
    present: np.ndarray
    place: np.ndarray | None = None
    flat: np.ndarray | None = None
    frame_count: np.ndarray | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return them by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


def prepare(motions: Sequence[Any], description: Description) -> Inputs:
    """Return recordings as one batch for a model.

    Args:
        motions: each a `Motion` or a `marrow.SkeletonSequence`.
        description: of the model.

    Raises:
        DataError: there is none, or it cannot be brought to the joints of the model, or is no recording.
        ConfigError: none of its joints is known as a place of the body, where the model reads these.
    """
    if not len(motions):
        raise DataError("expected at least one recording, got none")
    sequences = [readable(motion, f"recording {number}", description) for number, motion in enumerate(motions)]
    windows = [_window(sequence, description) for sequence in sequences]
    bodies = max(len(present) for _, present in windows)
    times = max(present.shape[1] for _, present in windows)
    shape = len(windows), bodies, times, len(description.skeleton.joints)
    joints, present = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.bool_)
    for number, (of_joints, of_present) in enumerate(windows):
        inside = number, slice(len(of_present)), slice(of_present.shape[1])
        joints[inside], present[inside] = of_joints, of_present
    inputs = Inputs(joints, present)
    if description.by_place:
        place = np.flatnonzero(present.any((0, 1, 2)))
        for joint in (0, 1):  # files take two at least
            place = np.union1d(place, [joint]) if len(place) < 2 else place
        inputs = replace(inputs, joints=joints[..., place, :], present=present[..., place], place=place)
    if description.takes_flat:
        most = description.skeleton.dimensions
        inputs = replace(inputs, flat=np.array([sequence.skeleton.dimensions < most for sequence in sequences]))
    if description.input["pace"] == "recorded":
        inputs = replace(inputs, frame_count=np.array([seen.shape[1] for _, seen in windows], np.int64))
    return inputs


def _window(sequence: SkeletonSequence, description: Description) -> tuple[np.ndarray, np.ndarray]:
    """Return the window of a recording in the joints of the model: [body time joint 3], and flags."""
    config, layout = description.input, sequence.skeleton
    joints, present = np.where(sequence.present[..., None], sequence.joints, np.float32(0)), sequence.present.copy()
    matrix, origin = alignment_of(joints, present, layout, config["alignment"])
    # What nobody measured has served its purpose.
    present[..., list(layout.derived)] = False
    dropped = int((1 - config["test_crop"]) * joints.shape[1] / 2)
    cut = slice(dropped, joints.shape[1] - dropped)
    aligned = ((joints - origin) @ matrix.T)[:, cut]
    aligned, present = resampled(aligned, present[:, cut], _frames(cut.stop - cut.start, sequence.fps, config))
    return stream(aligned, present, description.skeleton, config["stream"])


def _frames(length: int, fps: float, config: Mapping[str, Any]) -> int:
    """Return how many frames a crop of some length gets in its window."""
    if config["pace"] == "resized":
        return config["window_frames"]
    if config["fps"] is not None:
        length = int(np.round(np.float32(length) * (np.float32(config["fps"]) / np.float32(fps))))
    return min(max(length, config["min_frames"]), config["window_frames"])


def resampled(joints: np.ndarray, present: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return so many frames, by linear interpolation where all that have a weight were seen.

    Frame i of N lies at (i + 1/2) L / N - 1/2 of L, held inside: ((2i + 1) L - N) / 2N in integers, so that a weight is
    zero exactly where it should be (`marrow.data.gather`).
    """
    length = joints.shape[1]
    numerator = np.clip((2 * np.arange(frames) + 1) * length - frames, 0, 2 * frames * (length - 1))
    before, rest = np.divmod(numerator, 2 * frames)
    after = before + (rest > 0)
    weight = (rest.astype(np.float32) / np.float32(2 * frames))[:, None, None]
    seen = present[:, before] & present[:, after]
    low = joints[:, before]
    return np.where(seen[..., None], low + weight * (joints[:, after] - low), np.float32(0)), seen


def readable(motion: Any, name: str, description: Description) -> SkeletonSequence:
    """Return a recording in the joints of the model."""
    own = description.skeleton
    sequence = motion if isinstance(motion, SkeletonSequence) else _sequence(motion, name, own)
    joints, named = sequence.skeleton.joints, sequence.record.id
    if 0 in sequence.present.shape:
        raise DataError(f"{named}: expected a body and a frame, got positions of {list(sequence.joints.shape)}")
    if joints != own.joints and description.by_place:
        sequence = retarget(sequence, own)
    elif joints != own.joints:
        raise DataError(
            f"{named}: expected the joints of {own.name!r} ({', '.join(own.joints)}); got {', '.join(joints)}"
        )
    if sequence.skeleton.dimensions != own.dimensions and not description.takes_flat:
        raise DataError(
            f"{named}: the model reads {own.dimensions} dimensions, this has {sequence.skeleton.dimensions}"
        )
    return sequence


def _sequence(motion: Any, name: str, own: Skeleton) -> SkeletonSequence:
    """Return plain arrays as a sequence of a layout that has a name, its joints in the order of that layout."""
    if not isinstance(motion, Motion):
        raise DataError(f"{name}: expected Motion, or what marrow.read returns, got {type(motion).__name__}")
    joints = np.asarray(motion.joints)
    if joints.ndim != 4 or joints.shape[3] != 3 or joints.dtype.kind not in "fiu":
        raise DataError(
            f"{name}: joints must be numbers [body, frame, joint, 3], got {joints.dtype} {list(joints.shape)}"
        )
    layout, order = _layout(motion.layout, name, own)
    if joints.shape[2] != len(order):
        raise DataError(
            f"{name}: expected positions of {len(order)} joints ({', '.join(layout.joints)}), got {joints.shape[2]}; "
            "`layout` says which joints they are"
        )
    finite = np.asarray(np.isfinite(joints).all(-1))
    present = finite if motion.present is None else np.asarray(motion.present)
    if present.shape != joints.shape[:3] or present.dtype != np.bool_:
        raise DataError(
            f"{name}: present must be bool {list(joints.shape[:3])}, got {present.dtype} {list(present.shape)}"
        )
    positions = np.where(present[..., None], joints, 0).astype(np.float32)
    if motion.dimensions is not None:
        layout = replace(layout, dimensions=motion.dimensions)
    return SkeletonSequence(positions[:, :, order], present[:, :, order], float(motion.fps), layout, Record(name))


def _layout(given: Sequence[str] | str | None, name: str, own: Skeleton) -> tuple[Skeleton, list[int]]:
    """Return the layout of a motion, and where each of its joints is in the order of the motion."""
    known = {own.name: own, **{name: layout for name, layout in LAYOUTS.items() if name != own.name}}
    if given is None or isinstance(given, str):
        if given is not None and given not in known:
            raise DataError(
                f"{name}: expected a layout of {', '.join(known)}, or the names of the joints; got {given!r}"
            )
        layout = own if given is None else known[given]
        return layout, list(range(len(layout.joints)))
    for layout in known.values():
        if sorted(layout.joints) == sorted(given):
            return layout, [list(given).index(joint) for joint in layout.joints]
    raise DataError(
        f"{name}: expected the joints of {own.name!r} ({', '.join(own.joints)}) or of another layout that has a name "
        f"(`marrow layouts`), got {', '.join(given)}; any other is given as a marrow.SkeletonSequence with its Skeleton"
    )
