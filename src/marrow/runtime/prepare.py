"""From recordings to the arrays that an exported model reads: brought to its joints, cut, aligned and resampled.

The same as `marrow.batch_from_sequences`, up to rounding, in NumPy alone; tests hold the two together. Arrays of a
recording are `[body frame joint 3]`, float32, in metres, with flags `[body frame joint]` of what was seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from marrow.errors import DataError
from marrow.runtime.description import Description, JointMap, Layout
from marrow.runtime.geometry import alignment, as_stream, carried, resampled


@dataclass(frozen=True)
class Motion:
    """One recording, as plain arrays.

    Args:
        joints: [body frame joint 3], in metres; in two dimensions, the third coordinate is zero.
        present: [body frame joint], which joints were seen; None: those whose position is finite.
        fps: frames per second.
        layout: names of the joints in their order, or the name of a layout (`marrow layouts`); None: the model's own.
        dimensions: coordinates that exist, 2 where joints were seen in an image; None: as many as the model reads.
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
        motions: `Motion`, or whatever has `joints`, `present`, `fps` and `skeleton`.
        description: of the model.

    Raises:
        DataError: there is none, or it cannot be brought to the joints of the model, or is no recording.
    """
    if not len(motions):
        raise DataError("expected at least one recording, got none")
    windows = [_window(motion, number, description) for number, motion in enumerate(motions)]
    bodies = max(len(present) for _, present, _ in windows)
    times = max(present.shape[1] for _, present, _ in windows)
    shape = len(windows), bodies, times, len(description.layout.joints)
    joints, present = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.bool_)
    for number, (of_joints, of_present, _) in enumerate(windows):
        inside = number, slice(len(of_present)), slice(of_present.shape[1])
        joints[inside], present[inside] = of_joints, of_present
    inputs = Inputs(joints, present)
    if description.by_place:
        place = np.flatnonzero(present.any((0, 1, 2)))
        for joint in (0, 1):  # files take two at least
            place = np.union1d(place, [joint]) if len(place) < 2 else place
        inputs = replace(inputs, joints=joints[..., place, :], present=present[..., place], place=place)
    if description.takes_flat:
        inputs = replace(inputs, flat=np.array([is_flat for _, _, is_flat in windows]))
    if description.input["pace"] == "recorded":
        inputs = replace(inputs, frame_count=np.array([seen.shape[1] for _, seen, _ in windows], np.int64))
    return inputs


def _window(motion: Any, number: int, description: Description) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return the window of a recording, its flags, and whether it has two dimensions where the model has three."""
    joints, present, fps, layout = _brought(motion, number, description)
    config = description.input
    matrix, origin = alignment(joints, present, layout, config["alignment"])
    # What nobody measured has served its purpose.
    present = present.copy()
    present[..., list(layout.derived)] = False
    dropped = int((1 - config["test_crop"]) * joints.shape[1] / 2)
    cut = slice(dropped, joints.shape[1] - dropped)
    positions = np.where(present[..., None], (joints - origin) @ matrix.T, np.float32(0))
    positions, present = resampled(positions[:, cut], present[:, cut], _frames(cut.stop - cut.start, fps, config))
    positions, present = as_stream(positions, present, description.layout.parents, config["stream"])
    return positions, present, layout.dimensions < description.layout.dimensions


def _frames(length: int, fps: float, config: Any) -> int:
    """Return how many frames a crop of some length gets in its window."""
    if config["pace"] == "resized":
        return config["window_frames"]
    if config["fps"] is not None:
        length = int(np.round(np.float32(length) * (np.float32(config["fps"]) / np.float32(fps))))
    return min(max(length, config["min_frames"]), config["window_frames"])


def _brought(motion: Any, number: int, description: Description) -> tuple[np.ndarray, np.ndarray, float, Layout]:
    """Return a recording in the joints of the model: positions, flags, frames per second, and what its layout is."""
    if not hasattr(motion, "joints"):
        raise DataError(
            f"recording {number}: expected Motion, or what marrow.read returns, got {type(motion).__name__}"
        )
    name = getattr(getattr(motion, "record", None), "id", None) or f"recording {number}"
    own, skeleton = description.layout, getattr(motion, "skeleton", None)
    joints, present = _checked(motion, name)
    if skeleton is not None:
        names, layout = tuple(skeleton.joints), Layout.of(skeleton)
        layout = replace(layout, anchors={**own.anchors, **layout.anchors})
    else:
        names, layout = _names(motion, name, description), replace(own, dimensions=motion.dimensions or own.dimensions)
    if joints.shape[2] != len(names):
        raise DataError(
            f"{name}: expected positions of {len(names)} joints ({', '.join(names)}), got {joints.shape[2]}; "
            "`layout` says which joints they are"
        )
    if names != own.joints:
        mapped = _map_to(own, names, skeleton, name, description)
        joints, present = carried(joints, present, mapped, len(own.joints))
        layout = replace(own, derived=mapped.derived, dimensions=layout.dimensions)
        if layout.dimensions == 2 and mapped.axis_steps:
            raise DataError(f"{name}: its images have another axis that points up than the model, {own.up}")
    if layout.dimensions != own.dimensions and not description.takes_flat:
        raise DataError(f"{name}: the model reads {own.dimensions} dimensions, this has {layout.dimensions}")
    return joints, present, float(motion.fps), layout


def _names(motion: Motion, name: str, description: Description) -> tuple[str, ...]:
    """Return the joints that a motion says it has."""
    own, maps = description.layout, description.maps
    if motion.layout is None or motion.layout == own.name:
        return own.joints
    if not isinstance(motion.layout, str):
        return tuple(motion.layout)
    if motion.layout not in maps:
        known = ", ".join([own.name, *maps])
        raise DataError(f"{name}: expected a layout of {known}, or the names of the joints; got {motion.layout!r}")
    return maps[motion.layout].joints


def _checked(motion: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    joints = np.asarray(motion.joints)
    if joints.ndim != 4 or joints.shape[3] != 3 or 0 in joints.shape or joints.dtype.kind not in "fiu":
        raise DataError(
            f"{name}: joints must be numbers [body, frame, joint, 3] with a body and a frame, got {joints.dtype} "
            f"{list(joints.shape)}"
        )
    finite = np.asarray(np.isfinite(joints).all(-1))
    present = finite if motion.present is None else np.asarray(motion.present)
    if present.shape != joints.shape[:3] or present.dtype != np.bool_:
        raise DataError(
            f"{name}: present must be bool {list(joints.shape[:3])}, got {present.dtype} {list(present.shape)}"
        )
    if (present & ~finite).any():
        raise DataError(f"{name}: a joint that is marked present has a position that is not finite")
    if not 0 < motion.fps < np.inf:
        raise DataError(f"{name}: fps must be frames per second above 0, got {motion.fps}")
    return np.where(present[..., None], joints, 0).astype(np.float32), present


def _map_to(own: Layout, names: tuple[str, ...], skeleton: Any, name: str, description: Description) -> JointMap:
    """Return how recordings with other joints are brought to those of the model."""
    if skeleton is not None and description.by_place:
        # What has a skeleton comes from marrow's readers, which need more than NumPy anyway.
        from marrow.skeleton.body import BODY
        from marrow.skeleton.retarget import layout_map

        return JointMap.of(names, layout_map(skeleton, BODY))
    if sorted(names) == sorted(own.joints):
        order = {joint: names.index(wanted) for joint, wanted in enumerate(own.joints)}
        derived = tuple(own.joints.index(names[joint]) for joint in skeleton.derived) if skeleton else own.derived
        return JointMap(names, order, {}, derived)
    for mapped in description.maps.values():
        if sorted(mapped.joints) == sorted(names):
            sources = {joint: names.index(mapped.joints[source]) for joint, source in mapped.sources.items()}
            return replace(mapped, joints=names, sources=sources)
    known = f", or those of {', '.join(description.maps)}" if description.maps else ""
    raise DataError(
        f"{name}: expected the joints of {own.name!r} ({', '.join(own.joints)}){known}; got {', '.join(names)}"
    )
