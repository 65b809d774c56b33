"""What looks wrong in a store: a list of checks, each of which found something, found nothing, or could not run.

"Nothing looks wrong" means that every check ran and none found anything. Where a mistake has an option that mends it,
the sentence names it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from marrow.readers.rates import doubt_rate
from marrow.skeleton.body_size import BodySize
from marrow.store.format import Store
from marrow.store.motion_checks import MotionChecks

if TYPE_CHECKING:
    from marrow.store.summary import Summary

_BONE_VARIATION_MAX = 0.5
_MISSING_MAX = 0.5
# In fewer of the frames than this is nobody's chest above the hips in a store whose axes are right. People who lie do
# it in all directions, or in some of the clips; axes that are wrong are so in all of them, in one direction.
_UPRIGHT_MIN = 0.5
_OTHER_AXIS_MIN = 0.6
_FORWARD_MIN = 0.3
# Two joints that are nearer are one.
_NO_BONE_METRES = 1e-4
_NAMES_SHOWN = 6
_IN_IMAGE = "in two dimensions"
_PAIRS = """'{"LEFT": "RIGHT", ...}'"""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: what, in a few words.
        doubts: what was found, a sentence each.
        not_run: why it could not be looked at; "" where it was.
    """

    name: str
    doubts: tuple[str, ...] = ()
    not_run: str = ""


def check_store(store: Store, summary: "Summary", motion: MotionChecks) -> list[Check]:
    """Return every check of a store, in the order in which a person wants to know of them.

    Args:
        store: the store.
        summary: what it holds; its own `checks` are not looked at.
        motion: what was measured on its frames.
    """
    is_image = store.skeleton.dimensions == 2
    has_length = 2 * motion.points < int(store.body_count.sum()) and not _without_length(summary)
    return [
        _check("splits", _splits(store, summary)),
        _check("copies", _copies(summary)),
        _size(store, summary, motion),
        _up(store, motion) if has_length else Check("upward axis", not_run="bodies have no length"),
        _sides(store, motion) if has_length else Check("left and right", not_run="bodies have no length"),
        Check("bones", not_run=f"{_IN_IMAGE} they change their length with the view")
        if is_image
        else _check("bones", _bones(summary, motion)),
        _check("frame rate", _rates(store, summary)),
        _check("motion", _motion(store, motion)),
        _check("absent joints", _absent(summary)),
        _check("labels", _labels(store, summary)),
    ]


def _check(name: str, doubts: Iterator[str]) -> Check:
    return Check(name, tuple(doubts))


def _splits(store: Store, summary: "Summary") -> Iterator[str]:
    for name, split in summary.splits.items():
        if split.shared:
            yield (
                f"{split.shared} of the {split.test} test clips of {name} are bit-identical to a training clip: "
                f"scores on them are inflated"
            )
        if split.near:
            yield (
                f"{split.near} {'more ' if split.shared else ''}of the {split.test} test clips of {name} are nearly "
                "the same as a training clip (but for noise, resampling, cut frames or a rigid move)"
            )
        if not split.train or not split.test:
            yield f"the split {name} has {split.train} training and {split.test} test clips"
    if store.splits:
        in_one = set[int]()
        for name in store.splits:
            in_one |= {int(row) for rows in store.split_rows(name) for row in rows}
        outside = [store.ids[row] for row in range(len(store)) if row not in in_one]
        if outside:
            yield f"{_count(len(outside))} in no half of any split, for example {outside[0]}"


def _copies(summary: "Summary") -> Iterator[str]:
    if summary.copies:
        yield f"{_count(summary.copies)} bit-identical to another one"


def _size(store: Store, summary: "Summary", motion: MotionChecks) -> Check:
    name = "size of bodies"
    doubts: list[str] = []
    if motion.points:
        bodies = _count(motion.points, "body", "bodies")
        doubts.append(f"in {bodies} all joints lie in one point (zeros in place of a body, or of OFFSET?)")
    if motion.unlike and not motion.flat:  # in an image bodies are larger the nearer they are
        doubts.append(
            f"in {_count(len(motion.unlike))} bodies are of another size than in most (another unit?): "
            f"{_some(motion.unlike)}"
        )
    if store.skeleton.dimensions == 2:
        return Check(name, tuple(doubts), f"{_IN_IMAGE} there are no metres, and bodies are larger the nearer they are")
    without_length = _without_length(summary)
    if without_length and not doubts:
        doubts.append(f"most bones have no length ({_some(without_length)}): do channels replace their OFFSET?")
    if without_length or motion.size.is_plausible:
        return Check(name, tuple(doubts))
    if motion.size.of_adult is None:
        return Check(name, tuple(doubts), "" if doubts else "no trunk, leg or whole body can be measured")
    return Check(name, (*doubts, _wrong_size(store, motion.size)))


def _wrong_size(store: Store, size: BodySize) -> str:
    """Say how large bodies are, and which unit would fit."""
    read_as = store.options.get("unit_metres")
    in_file = BodySize({part: length / (read_as or 1.0) for part, length in size.lengths.items()})
    measured = ", ".join(f"{part} {length:.2g} m" for part, length in size.lengths.items())
    text = f"bodies are {size.of_adult or 0:.2g} times as large as an adult ({measured})"
    if size.is_extent_alone:
        text = f"{text}, unless they are parts of bodies"
    if read_as is None and store.source == "import":  # the unit that was measured then is not kept
        return f"{text}; {_option(store, 'unit_metres', 'METRES')}"
    fitting = next((unit for unit in in_file.fitting_units if abs(unit[1] / (read_as or 1.0) - 1) > 1e-3), None)
    if fitting is None:
        return f"{text}: a person's size in no usual unit (pixels? normalised?)"
    unit, metres = fitting
    read = "" if read_as is None else f", they were read as units of {read_as:g} m"
    return f"{text}: they would fit in {unit}{read}; {_option(store, 'unit_metres', f'{metres:g}')}"


def _without_length(summary: "Summary") -> list[str]:
    """Return the bones without a length if these are most of all; else none."""
    bones = [bone for bone, metres in summary.bone_metres.items() if metres < _NO_BONE_METRES]
    return bones if len(bones) >= len(summary.bone_metres) / 2 else []


def _up(store: Store, motion: MotionChecks) -> Check:
    name = "upward axis"
    if motion.up is None:
        anchors = store.skeleton.anchors
        top = () if {"left_shoulder", "right_shoulder"} <= anchors.keys() else ("chest",)
        unknown = [role for role in (*top, "left_hip", "right_hip") if role not in anchors]
        if not unknown:
            return Check(name, not_run="chest and hips are never seen together")
        mend = _option(store, "anchors", "'{\"" + unknown[0] + '": "JOINT", ...}\'')
        return Check(name, not_run=f"it is not known which joints are {' and '.join(unknown)}; {mend}")
    axis, share = motion.up
    up = store.skeleton.up
    upright = share if axis == up else 0.0
    if axis != up and share >= _OTHER_AXIS_MIN:
        option = _option(store, "up", _in_file(store, axis))
        return Check(
            name, (f"up looks like {axis}, not {up}: along it the chest is above the hips in {share:.0%}; {option}",)
        )
    if motion.lying and upright >= _UPRIGHT_MIN:
        clips = f"{_count(len(motion.lying))} bodies are upright along another axis"
        return Check(name, (f"in {clips} (people who lie, or another axis?): {_some(motion.lying)}",))
    if upright < _UPRIGHT_MIN:
        return Check(
            name,
            (f"bodies are upright along {up} in {upright:.0%} of the frames, along no axis in more: people who lie?",),
        )
    return Check(name)


def _in_file(store: Store, axis: str) -> str:
    """Return which axis of the files an axis of the store is; "AXIS" where that is not known."""
    read_as = store.options.get("up")
    if read_as is None and store.source == "import":  # what was measured then is not kept
        return "AXIS"
    if not str(read_as).startswith("-"):
        return axis
    # Two axes were turned round, so that the upward one points up; see `marrow.readers.upright`.
    kept = "x" if read_as != "-x" else "y"
    return axis if axis.endswith(kept) else axis[1:] if axis.startswith("-") else f"-{axis}"


def _sides(store: Store, motion: MotionChecks) -> Check:
    name = "left and right"
    skeleton = store.skeleton
    if not skeleton.has_sides:
        text = "no pairs of left and right joints are known: bodies cannot be mirrored, nor sides be checked"
        return Check(name, not_run=f"{text}; {_option(store, 'sides', _PAIRS)}")
    if motion.up is not None and motion.up[0] != skeleton.up and motion.up[1] >= _OTHER_AXIS_MIN:
        return Check(name, not_run="which way is the front cannot be told before the upward axis is right")
    doubts = []
    if motion.feet_forward is not None and motion.feet_forward < _FORWARD_MIN:
        doubts.append(
            f"feet point backwards in {1 - motion.feet_forward:.0%} of the frames as left and right tell the front: "
            f"are the sides exchanged, or is an axis mirrored?"
        )
    elif motion.backwards:
        doubts.append(
            f"in {_count(len(motion.backwards))} feet point backwards as left and right tell the front "
            f"(sides exchanged, or an axis mirrored?): {_some(motion.backwards)}"
        )
    if motion.swapped_sides:
        doubts.append(f"in {_count(motion.swapped_sides)} left and right are exchanged from one frame to the next")
    if store.skeleton.dimensions == 2:
        return Check(name, tuple(doubts), f"which way is the front cannot be told {_IN_IMAGE}")
    if motion.feet_forward is None and not doubts:
        return Check(name, not_run="which way is the front cannot be told: no hips or no feet are known")
    return Check(name, tuple(doubts))


def _bones(summary: "Summary", motion: MotionChecks) -> Iterator[str]:
    loose = [name for name, variation in summary.bone_variation.items() if variation > _BONE_VARIATION_MAX]
    if loose:
        yield (
            f"bones change their length by more than {_BONE_VARIATION_MAX:.0%} within a clip "
            f"(noise, or a wrong joint order): {_some(loose)}"
        )
    # No bone of a person is longer than a thigh by half; a wrong joint order joins hands and feet.
    long = [f"{name} {metres:.2f} m" for name, metres in summary.bone_metres.items() if metres > 0.8]
    is_of_size = motion.size.is_plausible is not False  # else that is said already
    if long and is_of_size and len(long) < len(summary.bone_metres) / 2:
        yield f"bones of unlikely length (wrong joint order?): {_some(long)}"


def _rates(store: Store, summary: "Summary") -> Iterator[str]:
    for rate in summary.fps:
        odd = doubt_rate(rate)
        if odd is not None:
            yield f"{odd}{'' if odd.endswith('?') else ';'} {_option(store, 'fps', 'RATE')}"
    if len(summary.fps) > 1:
        yield f"clips differ in frame rate: {_some([f'{rate:g}' for rate in summary.fps])} per second"


def _motion(store: Store, motion: MotionChecks) -> Iterator[str]:
    jumps = motion.jumps
    if jumps.clips:
        yield f"in {_count(jumps.clips)} a joint jumps: {jumps.largest_metres:.2g} m in one frame ({jumps.where})"
    if motion.swapped_people:
        yield f"in {_count(motion.swapped_people)} two people exchange places from one frame to the next"
    if motion.gaps:
        yield f"in {_count(motion.gaps)} nobody is seen for a second or more (longest: {motion.longest_gap})"
    if motion.flat:
        text = f"{' and '.join(motion.flat)} never changes: recordings in two dimensions, or a column of constants?"
        is_flat = motion.flat == ("z",) and store.source == "import"
        yield text + (" Import again with --layout FILE.yaml that says `dimensions: 2`" if is_flat else "")
    if motion.still:
        yield f"joints that never move while what they hang on does: {_some(motion.still)}"
    short = int((store.frame_count < 2).sum())
    if short:
        yield f"{_count(short)} with a single frame"


def _absent(summary: "Summary") -> Iterator[str]:
    missing = [f"{name} {share:.0%}" for name, share in summary.missing.items() if share > _MISSING_MAX]
    if missing:
        yield f"joints absent in more than half of the frames: {_some(missing)}"
    if summary.at_origin:
        yield (
            f"{summary.at_origin} frames have a joint at exactly (0, 0, 0) that is marked present (absent joints "
            f"written as zeros?)"
        )


def _labels(store: Store, summary: "Summary") -> Iterator[str]:
    unused = [name for name, count in summary.labels.items() if not count and name not in summary.segments]
    if unused and len(unused) < len(summary.labels):  # in a store without any label nothing is missing
        yield f"classes without a clip: {_some(unused)}"
    unlabelled = int(np.count_nonzero(store.label < 0))
    if 0 < unlabelled < len(store) and not summary.segments:
        yield f"{_count(unlabelled)} without a label"


def _option(store: Store, name: str, value: str) -> str:
    """Name the option of the command that made the store, where it has it."""
    if store.source == "import":
        return f"import again with --{name}{'=' if value.startswith('-') else ' '}{value}"
    if name in store.options:
        return f"prepare again with --options.{name}{'=' if value.startswith('-') else ' '}{value}"
    return f"the reader {store.source} has no option for it"


def _count(number: int, singular: str = "clip", plural: str = "clips") -> str:
    return f"{number} {singular if number == 1 else plural}"


def _some(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
