"""What is measured on a store's frames to find what is wrong with them: jumps, exchanged sides and people, gaps.

Each shard is gone through once. Rows are frames of one body; the rows of a body lie one behind the other. In two
dimensions bodies are larger the nearer they are, so that steps are measured by the size of the clip's own bodies.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Int64

from marrow.importing.agreement import UPRIGHT_SHARE, least_difference
from marrow.skeleton.body_size import BodySize, chest_above_hips, measure_body, upward_axis
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.places import place_of_joints
from marrow.store.format import Store

# Rows on which size, upward axis and front are measured.
_SAMPLE_ROWS = 20_000
# A hand that throws moves at 25 m/s; nothing moves as far in one frame, whatever the rate.
_FASTEST_METRES_PER_SECOND = 30.0
_STEP_METRES = 0.6
# All joints nearer than this are in one point.
_POINT_METRES = 0.01
# A gap is worth a word from this length on.
GAP_SECONDS = 1.0
_STILL_FRAMES = 10
# In an image hips and shoulders of a person who turns change sides where they have no width, not where they have this.
_SIDES_METRES = 0.15
# Bodies of a clip on which it is compared with others.
_ROWS_OF_ONE = 20


@dataclass
class Jumps:
    """Steps of a joint from one frame to the next that no person makes.

    Args:
        clips: clips with at least one.
        largest_metres: the largest of them.
        where: its clip, frame and joint, in words.
    """

    clips: int = 0
    largest_metres: float = 0.0
    where: str = ""


@dataclass
class MotionChecks:
    """What was measured.

    Args:
        size: of bodies, in what the store takes for metres.
        up: axis along which chests are above hips, and the share of frames in which they are; None: not measurable.
        feet_forward: share of frames in which feet point to the front as left and right tell it; None: no feet, or no
            left and right.
        backwards: clips in which feet point to the back, by their ids.
        jumps: of single joints.
        swapped_sides: clips in which left and right are exchanged from one frame to the next.
        swapped_people: clips in which two bodies exchange their places from one frame to the next.
        points: bodies (of a clip) whose joints all lie in one point.
        gaps: clips with a stretch of a second or more in which nobody is seen.
        longest_gap: its seconds and clip, in words.
        unlike: clips in which bodies are of another size than in most, in words; of more than a few the first.
        lying: clips in which bodies are upright along another axis than up, as `unlike`.
        flat: axes along which no position differs in the whole store, of those that exist.
        still: joints that move in no clip, while the joint that they hang on does.
    """

    size: BodySize = field(default_factory=lambda: BodySize({}))
    up: tuple[str, float] | None = None
    feet_forward: float | None = None
    backwards: tuple[str, ...] = ()
    jumps: Jumps = field(default_factory=Jumps)
    swapped_sides: int = 0
    swapped_people: int = 0
    points: int = 0
    gaps: int = 0
    longest_gap: str = ""
    unlike: tuple[str, ...] = ()
    lying: tuple[str, ...] = ()
    flat: tuple[str, ...] = ()
    still: tuple[str, ...] = ()


def check_motion(store: Store) -> MotionChecks:
    """Go through a store's frames and measure what may be wrong with them."""
    skeleton = store.skeleton
    sampled = list(_samples(store))
    joints = np.concatenate([rows for rows, _ in sampled]) if sampled else np.zeros((0, len(skeleton.joints), 3))
    present = np.concatenate([flags for _, flags in sampled]) if sampled else np.zeros(joints.shape[:2], np.bool_)
    checks = MotionChecks(
        size=measure_body(joints, present, skeleton),
        up=upward_axis(chest_above_hips(joints, present, skeleton)),
        feet_forward=_feet_forward(joints, present, skeleton),
    )
    scale = checks.size.of_adult or 1.0
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    moves = np.zeros(len(skeleton.joints), np.bool_)
    others_move = False
    longest = 0.0
    sizes: dict[int, BodySize] = {}
    lying: list[str] = []
    backwards: list[str] = []
    for number in range(store.shard_count):
        clips, rows, flags = store.shard(number)
        if not len(clips):
            continue
        low = np.minimum(low, np.where(flags[..., None], rows, np.inf).min(axis=(0, 1)))
        high = np.maximum(high, np.where(flags[..., None], rows, -np.inf).max(axis=(0, 1)))
        start = 0
        for clip in clips.tolist():
            bodies, frames = int(store.body_count[clip]), int(store.frame_count[clip])
            part = slice(start, start + bodies * frames)
            start += bodies * frames
            body_joints = rows[part].reshape(bodies, frames, len(skeleton.joints), 3)
            body_flags = flags[part].reshape(bodies, frames, len(skeleton.joints))
            fps = float(store.fps[clip])
            few = slice(part.start, part.stop, max(1, bodies * frames // _ROWS_OF_ONE))
            sizes[clip] = measure_body(rows[few], flags[few], skeleton)
            if skeleton.dimensions == 2:
                scale = sizes[clip].of_adult or checks.size.of_adult or 1.0
            up = upward_axis(chest_above_hips(rows[few], flags[few], skeleton))
            if up is not None and up[0] != skeleton.up and up[1] >= UPRIGHT_SHARE:
                lying.append(f"{store.ids[clip]} along {up[0]}")
            forward = _feet_forward(rows[few], flags[few], skeleton)
            if forward is not None and forward <= 1 - UPRIGHT_SHARE and (up is None or up[0] == skeleton.up):
                backwards.append(store.ids[clip])
            _look_for_jumps(checks.jumps, body_joints, body_flags, fps, scale, store, clip)
            least = scale * _SIDES_METRES if skeleton.dimensions == 2 else 0.0
            checks.swapped_sides += _exchanges_sides(body_joints, body_flags, skeleton, least)
            checks.swapped_people += _exchanges_people(body_joints, body_flags, scale)
            checks.points += _points(body_joints, body_flags)
            seconds = _longest_gap(np.asarray(body_flags.any(axis=(0, 2)))) / fps
            if seconds >= GAP_SECONDS:
                checks.gaps += 1
                if seconds > longest:
                    longest, checks.longest_gap = seconds, f"{seconds:.1f} s in {store.ids[clip]}"
            if frames >= _STILL_FRAMES:
                here = _moving(body_joints, body_flags)
                moves |= here
                others_move |= bool(here.any())
    checks.unlike = tuple(_of_other_size(store, sizes)) if skeleton.dimensions == 3 else ()
    checks.lying = tuple(lying)
    checks.backwards = tuple(backwards)
    axes = range(skeleton.dimensions)
    checks.flat = tuple("xyz"[axis] for axis in axes if np.isfinite(low[axis]) and high[axis] - low[axis] < 1e-6)
    # The root of poses without a place stays where it is, and the hips with it: a joint of which the parent moves.
    checks.still = tuple(
        skeleton.joints[joint]
        for joint, parent in enumerate(skeleton.parents)
        if others_move and not moves[joint] and moves[parent]
    )
    return checks


def _of_other_size(store: Store, sizes: Mapping[int, BodySize]) -> Iterator[str]:
    """Yield clips in which bodies are larger or smaller than in most by more than people differ."""
    measured = {clip: size.of_adult for clip, size in sizes.items() if size.of_adult}
    if not measured:
        return
    # Of two sizes that are as frequent the smaller one, not a mean of both.
    usual = sorted(measured.values())[(len(measured) - 1) // 2]
    for clip, size in measured.items():
        ratio = size / usual
        if max(ratio, 1 / ratio) > least_difference(sizes[clip]):
            yield f"{store.ids[clip]} {ratio:.3g} times"


def _samples(store: Store) -> Iterator[tuple[Float32[np.ndarray, "row joint 3"], Bool[np.ndarray, "row joint"]]]:
    stored_rows = int((store.frame_count * store.body_count).sum())
    stride = -(-stored_rows // _SAMPLE_ROWS)
    for number in range(store.shard_count):
        _, rows, flags = store.shard(number)
        yield rows[::stride], flags[::stride]


def _feet_forward(
    joints: Float32[np.ndarray, "row joint 3"], present: Bool[np.ndarray, "row joint"], skeleton: Skeleton
) -> float | None:
    """Return the share of feet that point to the front: where left is at the left hand, that is left x up.

    In two dimensions nobody can tell: the front may point out of the image.
    """
    if skeleton.dimensions == 2:
        return None
    hips = [skeleton.anchors.get(f"{side}_hip") for side in ("left", "right")]
    feet = [_foot(skeleton, hip) for hip in hips if hip is not None]
    if len(feet) < 2 or any(foot is None for foot in feet):
        return None
    left, right = (hip for hip in hips if hip is not None)
    up = np.eye(3)["xyz".index(skeleton.up)]
    front = np.cross(joints[:, left] - joints[:, right], up)
    forward, counted = 0, 0
    for foot in feet:
        assert foot is not None
        ankle, toe = foot
        pointing = joints[:, toe] - joints[:, ankle]
        level = pointing - (pointing @ up)[:, None] * up
        length = np.linalg.norm(level, axis=1)
        # A foot of a tenth of its own length on the level points nowhere.
        seen = present[:, [left, right, ankle, toe]].all(axis=1) & (length > 0.1 * np.linalg.norm(pointing, axis=1))
        forward += int(((level * front).sum(axis=1)[seen] > 0).sum())
        counted += int(seen.sum())
    return forward / counted if counted else None


def _foot(skeleton: Skeleton, hip: int) -> tuple[int, int] | None:
    """Return ankle and foot: the third and the fourth joint of a leg, if it has as many; at a fork, as names tell."""
    leg, places = [hip], place_of_joints(skeleton)
    while len(leg) < 4:
        below = [joint for joint, parent in skeleton.bones if parent == leg[-1]]
        if len(below) > 1:  # a heel, or markers beside
            below = [joint for joint in below if places.get(joint, "").endswith(("knee", "ankle", "foot"))]
        if len(below) != 1:
            return None
        leg.append(below[0])
    return leg[2], leg[3]


def _look_for_jumps(
    jumps: Jumps,
    joints: Float32[np.ndarray, "body frame joint 3"],
    present: Bool[np.ndarray, "body frame joint"],
    fps: float,
    scale: float,
    store: Store,
    clip: int,
) -> None:
    if joints.shape[1] < 2:
        return
    steps = np.linalg.norm(np.diff(joints, axis=1), axis=-1)
    steps = np.where(present[:, 1:] & present[:, :-1], steps, 0)
    largest = float(steps.max())
    if largest <= scale * max(_STEP_METRES, _FASTEST_METRES_PER_SECOND / fps):
        return
    jumps.clips += 1
    if largest > jumps.largest_metres:
        _, frame, joint = np.unravel_index(int(steps.argmax()), steps.shape)
        jumps.largest_metres = largest
        jumps.where = f"{store.ids[clip]}, frame {int(frame) + 1}, {store.skeleton.joints[int(joint)]}"


def _exchanges_sides(
    joints: Float32[np.ndarray, "body frame joint 3"],
    present: Bool[np.ndarray, "body frame joint"],
    skeleton: Skeleton,
    least: float,
) -> bool:
    """Tell whether hips and shoulders turn round between two frames, and are as wide as `least` before and after."""
    turned = None
    for limb in ("hip", "shoulder"):
        left, right = (skeleton.anchors.get(f"{side}_{limb}") for side in ("left", "right"))
        if left is None or right is None or joints.shape[1] < 2:
            return False
        across = joints[:, :, left] - joints[:, :, right]
        seen = present[:, :, left] & present[:, :, right]
        length = np.linalg.norm(across, axis=-1)
        product = (across[:, 1:] * across[:, :-1]).sum(axis=-1)
        opposite = (product < -0.7 * length[:, 1:] * length[:, :-1]) & seen[:, 1:] & seen[:, :-1] & (product < 0)
        opposite &= np.minimum(length[:, 1:], length[:, :-1]) >= least
        turned = opposite if turned is None else turned & opposite
    return bool(turned is not None and turned.any())


def _exchanges_people(
    joints: Float32[np.ndarray, "body frame joint 3"], present: Bool[np.ndarray, "body frame joint"], scale: float
) -> bool:
    """Tell whether the first two bodies are nearer to where the other was than to where they were."""
    if joints.shape[0] < 2 or joints.shape[1] < 2:
        return False
    counts = present[:2].sum(axis=-1)
    middle = (joints[:2] * present[:2, ..., None]).sum(axis=2) / np.maximum(counts, 1)[..., None]
    seen = (counts > 0).all(axis=0)
    first, second = middle
    stay = np.linalg.norm(first[1:] - first[:-1], axis=-1) + np.linalg.norm(second[1:] - second[:-1], axis=-1)
    swap = np.linalg.norm(first[1:] - second[:-1], axis=-1) + np.linalg.norm(second[1:] - first[:-1], axis=-1)
    return bool((seen[1:] & seen[:-1] & (stay > scale * _STEP_METRES) & (swap < 0.25 * stay)).any())


def _points(joints: Float32[np.ndarray, "body frame joint 3"], present: Bool[np.ndarray, "body frame joint"]) -> int:
    """Return the number of bodies whose joints lie in one point in every frame."""
    high = np.where(present[..., None], joints, -np.inf).max(axis=2)
    low = np.where(present[..., None], joints, np.inf).min(axis=2)
    several = present.sum(axis=-1) > 1
    extent = np.where(several, np.where(several[..., None], high - low, 0).max(axis=-1), 0)
    return int((several.any(axis=1) & (extent.max(axis=1) < _POINT_METRES)).sum())


def _longest_gap(seen: Bool[np.ndarray, " frame"]) -> int:
    """Return the length of the longest stretch of frames in which nobody is seen."""
    edges: Int64[np.ndarray, " edge"] = np.flatnonzero(np.diff(np.concatenate([[True], seen, [True]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _moving(
    joints: Float32[np.ndarray, "body frame joint 3"], present: Bool[np.ndarray, "body frame joint"]
) -> Bool[np.ndarray, " joint"]:
    """Return which joints are in different places in some body."""
    high = np.where(present[..., None], joints, -np.inf).max(axis=1)
    low = np.where(present[..., None], joints, np.inf).min(axis=1)
    return (np.where(np.isfinite(high), high - low, 0).max(axis=-1) > 1e-6).any(axis=0)
