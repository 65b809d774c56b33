"""What imported files are taken for: layout, unit, upward axis, frame rate; why, and what else they may be.

Everything is decided in one order: what the user says, else what the files say, else what is measured on a few of
them, else what is usual. A decision that rests on a measurement or on what is usual says so, and where the files and
the measurement contradict each other there is a doubt.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32

from marrow.errors import ConfigError, ParseError, setting
from marrow.importing.agreement import UPRIGHT_SHARE, Said, doubts_of_differences, least_difference, most_say
from marrow.importing.layouts import BY_SHAPE, Told, decide_layout
from marrow.importing.recording import Contents, Doubt, Recording, Source
from marrow.readers.base import SkipRecording
from marrow.readers.rates import doubt_rate
from marrow.readers.upright import turned_up
from marrow.skeleton.body_size import BodySize, chest_above_hips, measure_body, upward_axis
from marrow.skeleton.derived import derive, room_for
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence

_USUAL_FPS = 30.0
# Of the bodies in a store that is right, nearly all are upright in the median; people who lie are a minority.
_UPRIGHT_SHARE = 0.6
_SAMPLE_ROWS = 4000
_MOST_COUNTED = 1000
# Bodies of one recording by which it is compared with others.
_ROWS_OF_ONE = 50
# A bone shorter than this share of the longest has no length.
_NO_LENGTH = 1e-4
# How options are given that mend what is doubtful.
_ANCHORS = """--anchors '{"centre": "JOINT", ...}'"""
# No body is as far away.
_LARGEST_METRES = 1e6


@dataclass(frozen=True)
class Sample:
    """One of the recordings on which is measured.

    Args:
        contents: of its source.
        recording: in the unit and axes of most.
        name: what it is called in doubts.
    """

    contents: Contents
    recording: Recording
    name: str = ""


@dataclass(frozen=True)
class Decisions:
    """What the files are taken for.

    Args:
        skeleton: the layout, its upward axis positive, in as many dimensions as the files; what is derived comes last.
        kept: indices of the files' joints that are the layout's measured ones.
        unit_metres: length of the files' unit.
        up: the axis that points up in the files.
        fps: frames per second where a recording does not say; None: each says.
        fps_told: whether `fps` also holds against the recordings.
        size_of_adult: how large bodies are if an adult is 1; None where that was not measured or means nothing.
        min_confidence: joints below it are absent.
        reasons: where layout, unit, up, fps, sides and bones come from, in words.
        doubts: what may be otherwise.
    """

    skeleton: Skeleton
    kept: tuple[int, ...]
    unit_metres: float
    up: str
    fps: float
    fps_told: bool
    size_of_adult: float | None
    min_confidence: float
    reasons: dict[str, str]
    doubts: tuple[Doubt, ...]

    def sequence(self, recording: Recording, source: Source, record: Record) -> SkeletonSequence:
        """Return a recording in metres, upright, with presence for confidence.

        Raises:
            ParseError: a position is farther away than anybody can be, or the frame rate is none.
            SkipRecording: nobody is seen.
        """
        positions = recording.positions[:, :, list(self.kept)]
        present: Bool[np.ndarray, "body frame joint"] = np.asarray(np.isfinite(positions).all(axis=-1))
        if recording.confidence is not None:
            present &= recording.confidence[:, :, list(self.kept)] >= self.min_confidence
        bodies = np.asarray(present.any(axis=(1, 2)))
        if not bodies.any():
            raise SkipRecording("nobody is seen in it" if recording.positions.size else "there is no frame")
        positions, present = positions[bodies], present[bodies]
        joints = turned_up(_in_three(np.where(present[..., None], positions, 0).astype(np.float64)), self.up)
        joints *= self.unit_metres
        if np.abs(joints).max() > _LARGEST_METRES:
            body, frame, joint = (int(axis[0]) for axis in np.nonzero(np.abs(joints).max(axis=-1) > _LARGEST_METRES))
            raise ParseError(
                source.path,
                0,
                f"expected positions within {_LARGEST_METRES:,.0f} m, got {np.abs(joints).max():.3g} m "
                f"(person {body}, frame {frame}, joint {self.skeleton.joints[joint]}): "
                f"{setting('unit_metres')} says the unit",
            )
        fps = self.fps if self.fps_told or recording.fps is None else recording.fps
        if not 0 < fps < np.inf:
            raise ParseError(
                source.path, 0, f"expected frames per second above 0, got {fps}: {setting('fps')} says them"
            )
        joints, present = derive(*room_for(joints, present, self.skeleton), self.skeleton.derived)
        # Preparing counts notes: one that says how often it was is there as often.
        notes = tuple(
            note for note in recording.notes for _ in range(min(recording.counts.get(note, 1), _MOST_COUNTED))
        )
        if self.reasons.get("sides") == BY_SHAPE:
            notes = (*notes, "left and right were told by the shape of the body, not by names")
        if recording.confidence is not None:
            notes = (*notes, f"joints below a confidence of {self.min_confidence:g} are absent")
        notes = (*notes, *self._unlike_others(joints.astype(np.float32), present))
        return SkeletonSequence(
            joints=joints.astype(np.float32),
            present=present,
            fps=float(fps),
            skeleton=self.skeleton,
            record=record,
            notes=notes,
        )

    def _unlike_others(
        self, joints: Float32[np.ndarray, "body frame joint 3"], present: Bool[np.ndarray, "body frame joint"]
    ) -> list[str]:
        """Return notes on a recording of which the bodies have another size than most, or other axes."""
        step = max(1, joints.shape[0] * joints.shape[1] // _ROWS_OF_ONE)
        rows, seen = joints.reshape(-1, *joints.shape[2:])[::step], present.reshape(-1, present.shape[-1])[::step]
        notes = []
        size = measure_body(rows, seen, self.skeleton)
        ratio = (size.of_adult or 0) / (self.size_of_adult or np.inf)
        if ratio and max(ratio, 1 / ratio) > least_difference(size):
            notes.append("bodies are of another size than in most recordings: another unit?")
        axis = upward_axis(chest_above_hips(rows, seen, self.skeleton))
        if axis is not None and axis[0] != self.up.lstrip("-") and axis[1] >= UPRIGHT_SHARE:
            notes.append("bodies are upright along another axis than up: other axes than most, or people who lie?")
        return notes


def decide(format_name: str, contents: Sequence[Contents], samples: Sequence[Sample], told: Told) -> Decisions:
    """Decide what files are that share a layout.

    Args:
        format_name: of the files; unknown layouts are named after it.
        contents: of all sources, at least one.
        samples: some of their recordings, at least one.
        told: by the user.

    Raises:
        ConfigError: the user says something that does not fit the files.
    """
    first, most = contents[0], most_say(contents)
    reasons: dict[str, str] = {}
    doubts: list[Doubt] = []
    rows, seen = _sample_rows(samples, told.min_confidence)
    positions, present = np.concatenate(rows), np.concatenate(seen)
    skeleton, kept = decide_layout(format_name, first, positions, told, reasons, doubts)
    measured = [part[:, list(kept)] for part in rows], [part[:, list(kept)] for part in seen]
    doubts += _doubts_of_zeros(np.concatenate(measured[0]), np.concatenate(measured[1]))
    whole = [derive(*room_for(*parts, skeleton), skeleton.derived) for parts in zip(*measured, strict=True)]
    kept_rows, kept_seen = [part for part, _ in whole], [part for _, part in whole]
    positions, present = np.concatenate(kept_rows), np.concatenate(kept_seen)
    has_length = _doubt_bones(positions, present, skeleton, doubts)
    up = _up(most, positions, present, skeleton, told, reasons, doubts)
    size = measure_body(positions, present, skeleton)
    if size.is_extent_alone and not has_length:
        size = BodySize({})
    unit = _unit(most, size, told, reasons, doubts)
    # In an image bodies are larger the nearer they are.
    has_metres = skeleton.dimensions == 3 and (told.unit_metres is not None or most.unit_metres != 0)
    doubts += doubts_of_differences(
        [sample.name for sample in samples], kept_rows, kept_seen, skeleton, has_metres=has_metres
    )
    fps = _fps(contents, samples, told, reasons, doubts)
    return Decisions(
        skeleton=replace(skeleton, up=up.lstrip("-")),
        kept=kept,
        unit_metres=unit,
        up=up,
        fps=fps,
        fps_told=told.fps is not None,
        size_of_adult=size.of_adult * unit if has_metres and size.of_adult is not None else None,
        min_confidence=told.min_confidence,
        reasons=reasons,
        doubts=tuple(doubts),
    )


def _in_three(positions: np.ndarray) -> np.ndarray:
    """Return positions with a third coordinate of zero where they have two."""
    if positions.shape[-1] == 3:
        return positions
    return np.concatenate([positions, np.zeros_like(positions[..., :1])], axis=-1)


def _sample_rows(
    samples: Sequence[Sample], min_confidence: float
) -> tuple[list[Float32[np.ndarray, "_ joint 3"]], list[Bool[np.ndarray, "_ joint"]]]:
    """Return bodies of each sample, one per row, in the files' own unit and axes."""
    rows, seen = [], []
    for sample in samples:
        recording = sample.recording
        positions = _in_three(recording.positions)
        present: Bool[np.ndarray, "body frame joint"] = np.asarray(np.isfinite(positions).all(axis=-1))
        if recording.confidence is not None:
            present &= recording.confidence >= min_confidence
        flat, flags = positions.reshape(-1, *positions.shape[2:]), present.reshape(-1, present.shape[-1])
        step = max(1, len(flat) * len(samples) // _SAMPLE_ROWS)
        rows.append(flat[::step].astype(np.float32))
        seen.append(flags[::step])
    return rows, seen


def _doubts_of_zeros(
    positions: Float32[np.ndarray, "row joint 3"], present: Bool[np.ndarray, "row joint"]
) -> list[Doubt]:
    """Doubt joints at exactly (0, 0, 0), unless they are always there: what positions are relative to."""
    at_zero = present & (positions == 0).all(axis=-1)
    at_zero[:, (at_zero == present).all(axis=0)] = False
    count = int(at_zero.any(axis=1).sum())
    if not count:
        return []
    shown = f"in {count} of the {len(positions)} bodies looked at a joint is"
    return [Doubt(f"{shown} at exactly (0, 0, 0) and taken to be there: absent joints written as zeros?")]


def _doubt_bones(
    positions: Float32[np.ndarray, "row joint 3"],
    present: Bool[np.ndarray, "row joint"],
    skeleton: Skeleton,
    doubts: list[Doubt],
) -> bool:
    """Doubt a body in one point, and one of which most bones have no length; return whether it is neither."""
    seen = np.where(present[..., None], positions, np.nan)
    lengths = [np.linalg.norm(seen[:, joint] - seen[:, parent], axis=-1) for joint, parent in skeleton.bones]
    longest = max((float(np.nanmax(length)) for length in lengths if np.isfinite(length).any()), default=None)
    if longest is None:
        return True
    none = [
        skeleton.joints[joint]
        for (joint, _), length in zip(skeleton.bones, lengths, strict=True)
        if np.isfinite(length).any() and np.nanmedian(length) <= max(longest, 1e-12) * _NO_LENGTH
    ]
    if len(none) == len(lengths):
        doubts.append(Doubt("all joints lie in one point: zeros in place of a body, or channels in place of OFFSET?"))
    elif none and len(none) >= len(lengths) / 2:
        shown = ", ".join(none[:4]) + (", ..." if len(none) > 4 else "")
        doubts.append(Doubt(f"most bones have no length ({shown}): do position channels replace their OFFSET?"))
    return 2 * len(none) < max(len(lengths), 1)


def _up(
    most: Said,
    positions: Float32[np.ndarray, "row joint 3"],
    present: Bool[np.ndarray, "row joint"],
    skeleton: Skeleton,
    told: Told,
    reasons: dict[str, str],
    doubts: list[Doubt],
) -> str:
    measured = upward_axis(chest_above_hips(positions, present, skeleton))
    if told.up is not None:
        up, reasons["up"] = told.up, "as said"
        if skeleton.dimensions == 2 and up.endswith("z"):
            raise ConfigError(f"the files have two coordinates, so that {up} cannot point {setting('up')}: y or -y can")
    elif skeleton.up != "y":
        up, reasons["up"] = skeleton.up, "by the layout"
    elif most.up is not None:
        up, reasons["up"] = most.up, "by the format"
    elif measured is not None and measured[1] >= _UPRIGHT_SHARE:
        up = measured[0]
        reasons["up"] = f"measured: there the chest is above the hips in {measured[1]:.0%} of the bodies looked at"
    else:
        up, reasons["up"] = "y", "usual; it could not be measured"
        text = "which axis points up could not be measured: "
        if measured is None:
            doubts.append(Doubt(f"{text}chest and hips are not known", f"--up AXIS, or {_ANCHORS}"))
        else:
            doubts.append(Doubt(f"{text}people lie, or chests are seldom above hips", "--up AXIS"))
    if measured is None and "could not" not in reasons["up"]:
        doubts.append(Doubt(f"that {up} points up could not be checked: chest and hips are not known", _ANCHORS))
    if measured is not None and measured[0] != up and measured[1] >= _UPRIGHT_SHARE:
        doubts.append(
            Doubt(
                f"{up} is taken to point up, but the chest is above the hips along {measured[0]} "
                f"in {measured[1]:.0%} of the bodies looked at",
                f"--up={measured[0]}",
            )
        )
    return up


def _unit(most: Said, size: BodySize, told: Told, reasons: dict[str, str], doubts: list[Doubt]) -> float:
    fitting = size.fitting_unit
    if told.unit_metres is not None:
        unit, reasons["unit"] = told.unit_metres, "as said"
    elif most.unit_metres == 0:
        if size.of_adult is None:
            doubts.append(Doubt("positions are in pixels, and no body could be measured", "--unit_metres METRES"))
            reasons["unit"] = "pixels, taken as millimetres"
            return 0.001
        reasons["unit"] = "pixels or a share of the image: bodies are made as large as an adult"
        return 1 / size.of_adult
    elif most.unit_metres is not None:
        unit, reasons["unit"] = most.unit_metres, "by the format"
    elif fitting is not None:
        name, metres = fitting
        reasons["unit"] = f"measured: {name}, in which bodies are {(size.of_adult or 0) * metres:.2g} times an adult"
        if size.is_extent_alone:
            others = [other for other, _ in size.fitting_units[1:]]
            also = f" ({', '.join(others)} would fit as well)" if others else ""
            told_by = (
                f"the unit was told by how far joints are apart, {size.lengths['extent']:.3g}, without trunk and legs"
            )
            doubts.append(Doubt(f"{told_by}: {name}{also}", "--unit_metres METRES"))
        return metres
    else:
        reasons["unit"] = "metres: it could not be measured" if size.of_adult is None else "metres: no unit fits"
        measured = "no body could be measured" if size.of_adult is None else "bodies fit no usual unit"
        doubts.append(Doubt(f"the unit is not known ({measured}); metres are assumed", "--unit_metres METRES"))
        return 1.0
    scaled = BodySize({part: unit * length for part, length in size.lengths.items()})
    fitting = next((other for other in size.fitting_units if abs(other[1] - unit) > 1e-3 * unit), None)
    if scaled.is_plausible is False:
        better = f"; {fitting[0]} would fit" if fitting is not None else ""
        doubts.append(
            Doubt(
                f"bodies are {scaled.of_adult or 0:.2g} times as large as an adult{better}",
                f"--unit_metres {fitting[1]:g}" if fitting is not None else "--unit_metres METRES",
            )
        )
    elif scaled.is_plausible is None:
        doubts.append(
            Doubt("the size of bodies could not be checked: there is no length to measure", "--unit_metres METRES")
        )
    return unit


def _fps(
    contents: Sequence[Contents],
    samples: Sequence[Sample],
    told: Told,
    reasons: dict[str, str],
    doubts: list[Doubt],
) -> float:
    rates = sorted({found.fps for found in contents if found.fps is not None})
    rates = rates or sorted({sample.recording.fps for sample in samples if sample.recording.fps is not None})
    if told.fps is not None:
        fps, reasons["fps"] = told.fps, "as said"
    elif rates:
        said = Counter(found.fps for found in contents if found.fps is not None)
        fps, reasons["fps"] = said.most_common(1)[0][0] if said else rates[0], "by the files"
        if any(found.fps_of_format for found in contents):
            reasons["fps"] = "by the format"
    else:
        fps, reasons["fps"] = _USUAL_FPS, "usual; the files do not say"
        doubts.append(Doubt(f"the files do not say their frame rate; {fps:g} per second are assumed", "--fps RATE"))
    odd = [text for text in map(doubt_rate, [told.fps] if told.fps is not None else rates) if text is not None]
    doubts += [Doubt(text, "--fps RATE") for text in odd[:3]]
    if told.fps is None and len(rates) > 1:
        doubts.append(
            Doubt(f"frame rates differ: {', '.join(f'{rate:g}' for rate in rates[:6])} per second", "--fps RATE")
        )
    return fps
