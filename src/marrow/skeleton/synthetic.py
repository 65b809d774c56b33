"""Make labelled recordings of people who were never there: for demonstrations, documentation and tests.

An articulated body of 25 joints (`synthetic_body`) acts what a table says (`synthetic_actions`) in the manner of one of
many subjects (`synthetic_people`) and is seen by one of three depth cameras (`synthetic_sensor`). Every recording is a
function of the configuration and its own numbers: any of them can be made alone, in any order, on any machine.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from marrow.errors import ConfigError
from marrow.skeleton.layout import KINECT_V2_25
from marrow.skeleton.sequence import Record, Segment, SkeletonSequence
from marrow.skeleton.synthetic_actions import ACTIONS
from marrow.skeleton.synthetic_body import POSE, forward_kinematics, joint_angles, stand
from marrow.skeleton.synthetic_people import FPS, Person, perform, person_of, sway
from marrow.skeleton.synthetic_sensor import CAMERAS, look, measure

_SHORTEST_FRAMES, _LONGEST_FRAMES = 40, 120
# How long the second person of an untrimmed recording stays in view before and after the common action.
_GUEST_FRAMES = 12
# Guests are no subjects, so that nobody of the one half of a split is seen in the other.
_FIRST_STRANGER = 100_000


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
    subject, repetition = _number(record, "subject"), _number(record, "repetition")
    rng = np.random.default_rng([config.seed, 2, subject, record.label, repetition])
    guest = person_of(config.seed, _FIRST_STRANGER + int(rng.integers(100_000)))
    scene = _act(
        (record.label,), person_of(config.seed, subject), guest, rng, idle_seconds=(0.05, 0.5), longest=_LONGEST_FRAMES
    )
    return _film(config, scene, record, (3, subject, record.label, repetition))


def make_recording(config: SyntheticConfig, record: Record, actions: tuple[int, int] = (5, 8)) -> SkeletonSequence:
    """Make an untrimmed recording of several actions with idle time between them, as labelled segments.

    Args:
        config: of the data set.
        record: with the integer attributes subject, repetition and camera.
        actions: fewest and most actions.
    """
    subject, repetition = _number(record, "subject"), _number(record, "repetition")
    rng = np.random.default_rng([config.seed, 4, subject, repetition])
    labels = rng.permutation(len(ACTIONS))[: rng.integers(actions[0], actions[1] + 1)]
    guest = person_of(config.seed, _FIRST_STRANGER + int(rng.integers(100_000)))
    person = person_of(config.seed, subject)
    scene = _act(tuple(int(label) for label in labels), person, guest, rng, idle_seconds=(0.7, 2.5), longest=None)
    return _film(config, scene, record, (5, subject, repetition), scene.segments)


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
    longest: int | None,
) -> _Scene:
    """Let a person do some actions one after the other, with a guest where an action needs two."""
    idles = [max(2, round(s * FPS)) for s in rng.uniform(*idle_seconds, len(labels) + 1)]
    longest_seconds = 6.0 if longest is None else (longest - sum(idles) - 1) / FPS
    performances = []
    facing = []
    for label in labels:
        people = (person, guest) if ACTIONS[label].contact else (person,)
        performances.append(perform(ACTIONS[label], label, people, rng, longest_seconds))
        # Two people are seen from the side, so that neither hides the other.
        facing.append(rng.normal(0, 18) + (rng.choice((-90, 90)) if len(people) == 2 else 0))
        for poses in performances[-1].poses:
            poses[:, POSE["turn"]] += facing[-1]
    short = _SHORTEST_FRAMES - sum(idles) - sum(len(p.poses[0]) for p in performances)
    idles[-1] += max(0, short)

    poses, starts = [_transition(None, performances[0].poses[0][0], idles[0])], []
    for index, performance in enumerate(performances):
        starts.append(sum(len(part) for part in poses))
        own = performance.poses[0]
        following = performances[index + 1].poses[0][0] if index + 1 < len(performances) else None
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
            other = np.pad(performance.poses[1], ((lead, tail), (0, 0)), mode="edge")
            other[:, POSE["turn"]] += 180
            other = _embody(other, guest, rng)
            meet = segment.start_frame + performance.contact_frame
            joints[1, first:last] = other + _meeting(
                actor[meet], other[meet - first], ACTIONS[segment.label].contact, ACTIONS[segment.label].gap, turned
            )
            in_scene[1, first:last] = True

    middle = joints[in_scene][:, 0].mean(0) * [1, 0, 1] + np.array([rng.normal(0, 0.25), 0, rng.normal(0, 0.25)])
    return _Scene(joints - middle, in_scene, segments)


def _transition(
    before: Float[np.ndarray, " channel"] | None, after: Float[np.ndarray, " channel"] | None, frame_count: int
) -> Float[np.ndarray, "frame channel"]:
    """Go from one pose to another at ease; where one is None, hold the other."""
    start = after if before is None else before
    end = before if after is None else after
    assert start is not None
    assert end is not None
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
    other: Float[np.ndarray, "joint 3"],
    contact: tuple[str, str] | None,
    gap: float,
    facing: float,
) -> Float[np.ndarray, "3"]:
    """Return where to put the other person so that the joints that are to meet do, up to the gap, along the ground."""
    assert contact is not None
    own, theirs = (KINECT_V2_25.index(joint) for joint in contact)
    ahead = np.array([-np.sin(np.radians(facing)), 0, -np.cos(np.radians(facing))])
    return (actor[own] - other[theirs]) * [1, 0, 1] + gap * ahead


def _film(
    config: SyntheticConfig, scene: _Scene, record: Record, key: tuple[int, ...], segments: tuple[Segment, ...] = ()
) -> SkeletonSequence:
    camera = _number(record, "camera")
    if not 0 <= camera < len(CAMERAS):
        raise ConfigError(f"{record.id}: camera must lie in 0..{len(CAMERAS) - 1}, got {camera}")
    rng = np.random.default_rng([config.seed, *key, camera])
    joints, present = measure(
        look(scene.joints, CAMERAS[camera], rng), scene.in_scene, rng, config.noise, config.dropouts
    )
    return SkeletonSequence(joints, present, FPS, KINECT_V2_25, record, segments)
