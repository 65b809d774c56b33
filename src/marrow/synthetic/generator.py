"""Make labelled recordings of people who were never there: for demonstrations, documentation and tests.

An articulated body of 25 joints (`body`) acts what a table says (`actions`) in the manner of one of many subjects
(`people`) and is seen by one of three depth cameras, which get a part of it wrong. Every recording is a function of the
configuration and its own numbers: any of them can be made alone, in any order, on any machine.

Cameras have coordinates of their own, in metres: x to their left as they look (so that a person facing one has the
right side at larger x), y up, z away from them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

from marrow.errors import ConfigError
from marrow.skeleton.layout import KINECT_V2_25
from marrow.skeleton.sequence import Record, Segment, SkeletonSequence
from marrow.synthetic.actions import ACTIONS
from marrow.synthetic.body import POSE, forward_kinematics, joint_angles, stand
from marrow.synthetic.people import FPS, Person, loiter, perform, person_of, sway

# Frames of a trimmed clip, with some idle time before and after the action; and the longest action, in seconds.
_SHORTEST_FRAMES, _LONGEST_FRAMES = 40, 120
_SHORTEST_IDLE = 3
_LONGEST_ACTION = 3.6
# How long the second person of an untrimmed recording stays in view before and after the common action.
_GUEST_FRAMES = 12
# Guests are no subjects, so that nobody of the one half of a split is seen in the other.
_FIRST_STRANGER = 100_000


@dataclass(frozen=True)
class Camera:
    """One depth camera, looking at a point one metre above the middle of the scene.

    Args:
        angle: degrees about the vertical, away from straight ahead of the actor.
        height: metres above the ground.
        distance: metres from the middle of the scene, along the ground.
    """

    angle: float
    height: float
    distance: float


CAMERAS = (Camera(-45.0, 1.3, 3.2), Camera(0.0, 0.7, 3.0), Camera(45.0, 2.2, 3.5))

# Standard deviation of the error in metres by what a joint's name contains; hands and feet are seen worst.
_ERROR = {
    **{"Tip": 0.020, "Thumb": 0.020, "Hand": 0.018, "Foot": 0.018, "Wrist": 0.016, "Ankle": 0.016},
    **{"Elbow": 0.014, "Knee": 0.014},
}
_ERROR_OF_JOINT = np.array(
    [next((v for part, v in _ERROR.items() if part in joint), 0.009) for joint in KINECT_V2_25.joints]
)
_KNOT_FRAMES = 6


@dataclass(frozen=True)
class SyntheticConfig:
    """What all recordings of one data set have in common.

    Args:
        seed: another seed, other people and other recordings.
        noise: factor on the errors of the sensor; 0 reports true positions.
        dropouts: factor on how often joints and bodies are lost; 0 loses none.
    """

    seed: int = 0
    noise: float = 1.0
    dropouts: float = 1.0

    def __post_init__(self) -> None:
        for name in ("seed", "noise", "dropouts"):
            if getattr(self, name) < 0:
                raise ConfigError(f"synthetic {name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class _Scene:
    """True positions on the ground (metres, y up), who is there, and what happens when."""

    joints: Float[np.ndarray, "body frame joint 3"]
    in_scene: Bool[np.ndarray, "body frame"]
    segments: tuple[Segment, ...]


def make_clip(config: SyntheticConfig, record: Record) -> SkeletonSequence:
    """Make a trimmed clip of one action.

    Args:
        config: of the data set.
        record: with a label and the integer attributes subject, repetition and camera.
    """
    key = (_number(record, "subject"), record.label, _number(record, "camera"), _number(record, "repetition"))
    rng = np.random.default_rng([config.seed, 2, *key])
    guest = person_of(config.seed, _FIRST_STRANGER + int(rng.integers(100_000)))
    scene = _act((record.label,), person_of(config.seed, key[0]), guest, rng, idle_seconds=(0.1, 2.0))
    return _film(config, scene, record, rng)


def make_recording(config: SyntheticConfig, record: Record, actions: tuple[int, int] = (5, 8)) -> SkeletonSequence:
    """Make an untrimmed recording of several actions with idle time between them, as labelled segments.

    Args:
        config: of the data set.
        record: with the integer attributes subject, repetition and camera.
        actions: fewest and most actions.
    """
    subject, camera, repetition = (_number(record, name) for name in ("subject", "camera", "repetition"))
    rng = np.random.default_rng([config.seed, 3, subject, camera, repetition])
    labels = rng.permutation(len(ACTIONS))[: rng.integers(actions[0], actions[1] + 1)]
    guest = person_of(config.seed, _FIRST_STRANGER + int(rng.integers(100_000)))
    person = person_of(config.seed, subject)
    scene = _act(tuple(int(label) for label in labels), person, guest, rng, idle_seconds=(0.7, 2.5))
    return _film(config, scene, record, rng, scene.segments)


def _number(record: Record, attribute: str) -> int:
    value = record.attributes.get(attribute)
    if not isinstance(value, int):
        raise ConfigError(f"{record.id}: a synthetic record needs the integer attribute {attribute!r}, got {value!r}")
    return value


def _act(
    labels: tuple[int, ...],
    person: Person,
    guest: Person,
    rng: np.random.Generator,
    idle_seconds: tuple[float, float],
) -> _Scene:
    """Let a person do some actions one after the other, with a guest where an action needs two."""
    performances = []
    facing = []
    for label in labels:
        people = (person, guest) if ACTIONS[label].contact else (person,)
        performances.append(perform(ACTIONS[label], label, people, rng, _LONGEST_ACTION))
        # Two people are seen from the side, so that neither hides the other.
        facing.append(rng.normal(0, 18) + (rng.choice((-90, 90)) if len(people) == 2 else 0))
        for poses in performances[-1].poses:
            poses[:, POSE["turn"]] += facing[-1]
    idles = [max(_SHORTEST_IDLE, round(seconds * FPS)) for seconds in rng.uniform(*idle_seconds, len(labels) + 1)]
    if len(labels) == 1:
        idles = _fitted(idles, len(performances[0].poses[0]))

    first, last = performances[0].poses[0][0], performances[-1].poses[0][-1]
    poses, starts = [_transition(loiter(first, rng, idles[0]), first, idles[0])], []
    for index, performance in enumerate(performances):
        starts.append(sum(len(part) for part in poses))
        own = performance.poses[0]
        following = (
            performances[index + 1].poses[0][0] if index + 1 < len(performances) else loiter(last, rng, idles[-1])
        )
        poses += [own, _transition(own[-1], following, idles[index + 1])]
    actor = _embody(np.concatenate(poses), person, rng)
    frame_count = len(actor)

    segments = tuple(
        Segment(start, start + len(performance.poses[0]), label)
        for start, performance, label in zip(starts, performances, labels, strict=True)
    )
    with_guest = any(len(performance.poses) == 2 for performance in performances)
    joints = np.zeros((1 + with_guest, *actor.shape))
    in_scene = np.ones(joints.shape[:2], bool)
    joints[0] = actor
    in_scene[1:] = False
    margin = frame_count if len(labels) == 1 else _GUEST_FRAMES
    for segment, performance, turned in zip(segments, performances, facing, strict=True):
        if len(performance.poses) == 2:
            first, last = max(0, segment.start_frame - margin), min(frame_count, segment.end_frame + margin)
            lead, tail = segment.start_frame - first, last - segment.end_frame
            acting = performance.poses[1]
            arriving = _transition(loiter(acting[0], rng, lead), acting[0], lead)
            leaving = _transition(acting[-1], loiter(acting[-1], rng, tail), tail)
            guest_poses = np.concatenate([arriving, acting, leaving])
            guest_poses[:, POSE["turn"]] += 180
            guest_joints = _embody(guest_poses, guest, rng)
            meet = segment.start_frame + performance.contact_frame
            action = ACTIONS[segment.label]
            joints[1, first:last] = guest_joints + _meeting(
                actor[meet], guest_joints[meet - first], action.contact, action.gap, turned
            )
            in_scene[1, first:last] = True

    if with_guest and len(labels) == 1 and rng.random() < 0.5:
        # A tracker numbers bodies as it finds them.
        joints, in_scene = joints[::-1], in_scene[::-1]
    middle = joints[in_scene][:, 0].mean(0) * [1, 0, 1] + np.array([rng.normal(0, 0.25), 0, rng.normal(0, 0.25)])
    return _Scene(joints - middle, in_scene, segments)


def _fitted(idles: list[int], action_frames: int) -> list[int]:
    """Shorten or lengthen the idle times before and after an action so that a clip has a usual length."""
    room, total = _LONGEST_FRAMES - action_frames, sum(idles)
    if total > room:
        before = max(_SHORTEST_IDLE, idles[0] * room // total)
        return [before, room - before]
    return [idles[0], max(idles[1], _SHORTEST_FRAMES - action_frames - idles[0])]


def _transition(
    start: Float[np.ndarray, " channel"], end: Float[np.ndarray, " channel"], frame_count: int
) -> Float[np.ndarray, "frame channel"]:
    """Go from one pose to another at ease."""
    u = ((np.arange(frame_count) + 1) / (frame_count + 1))[:, None]
    return start + (end - start) * u * u * (3 - 2 * u)


def _embody(
    poses: Float[np.ndarray, "frame channel"], person: Person, rng: np.random.Generator
) -> Float[np.ndarray, "frame joint 3"]:
    poses = poses + sway(rng, len(poses))
    joints = forward_kinematics(joint_angles(poses, person.shape), person.shape)
    return stand(joints, poses[:, POSE["lift"]], person.shape.stature)


def _meeting(
    actor: Float[np.ndarray, "joint 3"],
    guest: Float[np.ndarray, "joint 3"],
    contact: tuple[str, str] | None,
    gap: float,
    facing: float,
) -> Float[np.ndarray, "3"]:
    """Return where to put the guest so that the joints that are to meet do, up to the gap, along the ground."""
    assert contact is not None
    actor_joint, guest_joint = (KINECT_V2_25.index(joint) for joint in contact)
    ahead = np.array([-np.sin(np.radians(facing)), 0, -np.cos(np.radians(facing))])
    return (actor[actor_joint] - guest[guest_joint]) * [1, 0, 1] + gap * ahead


def _film(
    config: SyntheticConfig,
    scene: _Scene,
    record: Record,
    rng: np.random.Generator,
    segments: tuple[Segment, ...] = (),
) -> SkeletonSequence:
    camera = _number(record, "camera")
    if not 0 <= camera < len(CAMERAS):
        raise ConfigError(f"{record.id}: camera must lie in 0..{len(CAMERAS) - 1}, got {camera}")
    joints, present = _measure(
        _look(scene.joints, CAMERAS[camera], rng), scene.in_scene, rng, config.noise, config.dropouts
    )
    return SkeletonSequence(joints, present, FPS, KINECT_V2_25, record, segments)


def _look(
    world: Float[np.ndarray, "body frame joint 3"], camera: Camera, rng: np.random.Generator
) -> Float[np.ndarray, "body frame joint 3"]:
    """Return positions in the coordinates of a camera that was set up by hand, a few degrees and centimetres off."""
    angle = np.radians(camera.angle + rng.normal(0, 4))
    height, distance = camera.height + rng.normal(0, 0.05), camera.distance + rng.normal(0, 0.12)
    tilt = np.arctan2(height - 1.0, distance) + np.radians(rng.normal(0, 1.5))
    cosine, sine = np.cos(angle), np.sin(angle)
    around = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    cosine, sine = np.cos(tilt), np.sin(tilt)
    down = np.array([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]])
    return (world @ around.T - np.array([0, height, -distance])) @ down.T


def _measure(
    joints: Float[np.ndarray, "body frame joint 3"],
    in_scene: Bool[np.ndarray, "body frame"],
    rng: np.random.Generator,
    noise: float,
    dropouts: float,
) -> tuple[Float32[np.ndarray, "body frame joint 3"], Bool[np.ndarray, "body frame joint"]]:
    """Return what the sensor reports of true positions (both in its own coordinates).

    Errors are larger for hands and feet, grow with the square of the distance, double behind the body, and are mostly
    slow: the tracker drifts rather than jitters. Joints, and now and then whole bodies, are lost for some frames.

    Args:
        joints: true positions.
        in_scene: who is there at all.
        rng: of this recording and camera.
        noise: factor on the errors; 0 reports the truth.
        dropouts: factor on how often joints and bodies are lost; 0 loses none.
    """
    body_count, frame_count, joint_count, _ = joints.shape
    behind = joints[..., 2] - joints[:, :, :1, 2]
    size = _ERROR_OF_JOINT * (joints[..., 2] / 3.0) ** 2 * (1 + 1 / (1 + np.exp(-(behind - 0.12) / 0.04)))
    knots = rng.normal(size=(frame_count // _KNOT_FRAMES + 3, body_count, joint_count, 3))
    position = np.arange(frame_count) / _KNOT_FRAMES
    before = position.astype(np.int64)
    u = (position - before)[:, None, None, None]
    drift = (knots[before] * (1 - u) + knots[before + 1] * u).swapaxes(0, 1)
    jitter = rng.normal(size=joints.shape)
    seen_at = joints + noise * size[..., None] * (drift + 0.35 * jitter)

    present = np.repeat(in_scene[..., None], joint_count, -1)
    weight = _ERROR_OF_JOINT / _ERROR_OF_JOINT.sum()
    for body in range(body_count):
        runs = rng.poisson(dropouts * 0.08 * frame_count)
        for joint, start, length in zip(
            rng.choice(joint_count, runs, p=weight),
            rng.integers(0, frame_count, runs),
            rng.integers(2, 13, runs),
            strict=True,
        ):
            present[body, start : start + length, joint] = False
        for _ in range(rng.poisson(dropouts * 0.002 * frame_count)):
            # Never the first frames: a tracker that starts late delivers a later first frame, not a gap.
            start = rng.integers(5, max(6, frame_count - 5))
            present[body, start : start + rng.integers(1, 7)] = False
    return (seen_at * present[..., None]).astype(np.float32), present
