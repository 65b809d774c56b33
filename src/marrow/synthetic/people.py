"""Who acts in the synthetic recordings, and how they turn the keys of an action into poses over time.

People differ in proportions, tempo, amplitude, handedness and style; each has habits of their own in every action; and
no repetition is quite like the last one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from marrow.synthetic.actions import IDLE_ARMS, REST, SEATED, STRIDE, Action, Key, Number, Pose
from marrow.synthetic.body import POSE, POSE_CHANNELS, BodyShape

FPS = 30.0


def _by_channel(table: Mapping[str, Number]) -> Float[np.ndarray, " channel"]:
    """Spread a table of name endings over the channels; the first that fits counts."""
    return np.array(
        [next(v for name, v in table.items() if channel.endswith(name)) for channel in POSE_CHANNELS], float
    )


# Standard deviations by which people differ: degrees, arm lengths, metres (lift).
_FREEDOM = _by_channel(
    {"turn": 0, "pitch": 1.5, "roll": 1.5, "lift": 0, "bend": 5, "side": 4, "twist": 8, "nod": 8, "look": 9, "tilt": 5}
    | {"out": 0.12, "up": 0.12, "forward": 0.12, "swivel": 24, "wrist": 14}
    | {"hip": 4, "spread": 4, "knee": 4, "ankle": 3}
)
# How far a channel follows the amplitude of its owner: a larger movement still ends at the mouth.
_FOLLOWS_AMPLITUDE = _by_channel(
    {"turn": 0, "pitch": 0, "roll": 0, "lift": 1, "bend": 1, "side": 1, "twist": 1, "nod": 1, "look": 1, "tilt": 1}
    | {"out": 0.4, "up": 0.3, "forward": 0.3, "swivel": 0.5, "wrist": 1}
    | {"hip": 0.6, "spread": 0.8, "knee": 0.6, "ankle": 0.5}
)
_SIGN_IN_MIRROR = _by_channel(dict.fromkeys(("turn", "roll", "side", "twist", "look", "tilt"), -1) | {"": 1})
_PARTNER_CHANNEL = [
    POSE[name.replace("right_", "left_") if name.startswith("right_") else name.replace("left_", "right_")]
    for name in POSE_CHANNELS
]
_WRISTS = [[POSE[f"{side}_{what}"] for what in ("out", "up", "forward")] for side in ("right", "left")]
_LEFT_ARM = [POSE[name] for name in IDLE_ARMS[0]]
_LEGS = [POSE[name] for name in SEATED if name != "bend"]


@dataclass(frozen=True)
class Person:
    """One subject.

    Args:
        shape: proportions.
        left_handed: whether everything of one hand is done with the left.
        tempo: how long this person takes, against the average.
        amplitude: how large the movements are, against the average.
        posture: what is added to every pose.
        key: what the random numbers of this person's habits start from.
    """

    shape: BodyShape
    left_handed: bool
    tempo: float
    amplitude: float
    posture: Float[np.ndarray, " channel"]
    key: tuple[int, int]

    def habit(self, action_index: int) -> Float[np.ndarray, " channel"]:
        """Return how this person's poses deviate in one action, in units of what is usual."""
        return np.random.default_rng([*self.key, action_index]).normal(size=len(POSE))


def person_of(seed: int, subject: int) -> Person:
    """Return a subject of the synthetic recordings; the same for the same numbers."""
    rng = np.random.default_rng([seed, 1, subject])
    shape = BodyShape(
        stature=float(np.clip(rng.normal(1.70, 0.10), 1.45, 2.0)),
        legs=float(np.exp(rng.normal(0, 0.04))),
        arms=float(np.exp(rng.normal(0, 0.05))),
        breadth=float(np.exp(rng.normal(0, 0.08))),
    )
    return Person(
        shape=shape,
        left_handed=bool(rng.random() < 0.25),
        tempo=float(np.exp(rng.normal(0, 0.22))),
        amplitude=float(np.clip(np.exp(rng.normal(0, 0.22)), 0.75, 1.4)),
        posture=rng.normal(size=len(POSE)) * _FREEDOM * 0.5,
        key=(seed, 1_000_000 + subject),
    )


def pose_of(pose: Pose) -> Float[np.ndarray, " channel"]:
    """Return a pose as numbers, with what it leaves out at rest."""
    values = np.zeros(len(POSE))
    for name, value in (REST | pose).items():
        values[POSE[name]] = value
    return values


def mirrored_pose(poses: Float[np.ndarray, "*lead channel"]) -> Float[np.ndarray, "*lead channel"]:
    """Swap left and right in poses."""
    return poses[..., _PARTNER_CHANNEL] * _SIGN_IN_MIRROR


@dataclass(frozen=True)
class Performance:
    """An action as it was done once.

    Args:
        poses: of each person.
        contact_frame: when the two persons meet.
    """

    poses: tuple[Float[np.ndarray, "frame channel"], ...]
    contact_frame: int


def perform(
    action: Action, action_index: int, people: tuple[Person, ...], rng: np.random.Generator, longest_seconds: float
) -> Performance:
    """Let one or two people do an action once.

    Args:
        action: what to do.
        action_index: its place in the table, for the habits.
        people: the one who acts, and the partner where the action has one.
        rng: what makes this time unlike the others.
        longest_seconds: slower performances are sped up to this.
    """
    repeats = int(rng.integers(action.repeats[0], action.repeats[1] + 1))
    keys = (Key(0.0, action.start), *action.before, *action.loop * repeats, *action.after)
    seconds = np.array([key.seconds for key in keys]) * people[0].tempo * np.exp(rng.normal(0, 0.32, len(keys)))
    times = np.cumsum(seconds)
    times *= min(1.0, longest_seconds / times[-1])
    frames = np.arange(max(2, round(times[-1] * FPS) + 1)) / FPS

    chance = rng.random() if action.may_sit else 1.0
    seated, strolling = chance < 0.3, 0.3 <= chance < 0.6
    # Even a right-hander waves with the left now and then.
    other_hand = action.hands == 1 and rng.random() < 0.3
    idle_arm = pose_of(IDLE_ARMS[rng.integers(len(IDLE_ARMS)) if rng.random() < 0.7 else 0])
    tracks = []
    for body, person in enumerate(people):
        targets = np.stack([pose_of(key.partner if body else key.pose) for key in keys])
        rest = pose_of({})
        gain = person.amplitude * np.exp(rng.normal(0, 0.15))
        targets = rest + (targets - rest) * (1 + (gain - 1) * _FOLLOWS_AMPLITUDE)
        if action.hands == 1:
            targets[:, _LEFT_ARM] = idle_arm[_LEFT_ARM]
        if seated:
            targets[:, _LEGS] = pose_of(SEATED)[_LEGS]
            targets[:, POSE["bend"]] += SEATED["bend"]
        deviation = person.habit(action_index) * 1.3 + rng.normal(size=len(POSE)) * 0.8
        targets += deviation * _FREEDOM + rng.normal(size=targets.shape) * _FREEDOM * 0.4
        # Reactions do not start on the beat.
        shifted = times + (rng.normal(0, 0.05) if body else 0.0)
        poses = _between(targets, shifted, frames)
        if strolling:
            poses[:, _LEGS] = _stroll(frames, person.tempo * 0.27)[:, _LEGS] + deviation[_LEGS] * _FREEDOM[_LEGS]
        drift = 80 if action.wanders or strolling else 35
        poses[:, POSE["turn"]] += np.linspace(0, rng.normal(0, drift), len(frames))
        poses += person.posture
        mirror = action.contact is None and person.left_handed != other_hand
        tracks.append(mirrored_pose(poses) if mirror else poses)
    contact = times[len(action.before)]
    return Performance(tuple(tracks), min(len(frames) - 1, round(contact * FPS)))


def loiter(
    pose: Float[np.ndarray, " channel"], rng: np.random.Generator, frame_count: int
) -> Float[np.ndarray, " channel"]:
    """Return a pose of somebody who is about to act, or has acted: as before or after, but at ease and looking away.

    Args:
        pose: what is to come, or has been.
        rng: what makes it this person at this time.
        frame_count: time between the two poses; there is less to see of it where it is short.
    """
    idle = pose + rng.normal(size=len(POSE)) * _FREEDOM
    idle[POSE["turn"]] += rng.normal(0, 45)
    for mirror in (False, True):
        arm = pose_of(IDLE_ARMS[rng.integers(len(IDLE_ARMS))])
        columns = [_PARTNER_CHANNEL[column] for column in _LEFT_ARM] if mirror else _LEFT_ARM
        idle[columns] += arm[_LEFT_ARM] - pose[columns] if rng.random() < 0.6 else 0.0
    return pose + (idle - pose) * min(1.0, frame_count / 24)


def _between(
    targets: Float[np.ndarray, "key channel"], times: Float[np.ndarray, " key"], frames: Float[np.ndarray, " frame"]
) -> Float[np.ndarray, "frame channel"]:
    """Interpolate smoothly between keys without overshooting (Fritsch and Carlson's monotone cubic).

    Wrists would come too near to the shoulder on the straight line between two targets; their distance from it is
    therefore interpolated beside them, so that a straight arm stays straight while it is swung.
    """
    lengths = np.stack([np.linalg.norm(targets[:, wrist], axis=1) for wrist in _WRISTS], 1)
    values = np.concatenate([targets, lengths], 1)
    width = np.maximum(np.diff(times), 1e-3)[:, None]
    slope = np.diff(values, axis=0) / width
    tangent = np.zeros_like(values)
    product = slope[1:] * slope[:-1]
    tangent[1:-1] = np.where(product > 0, 2 * product / np.where(product > 0, slope[1:] + slope[:-1], 1), 0)

    left = np.clip(np.searchsorted(times, frames, side="right") - 1, 0, len(times) - 2)
    step = width[left]
    u = np.clip((frames - times[left])[:, None] / step, 0, 1)
    curve = (
        values[left] * (1 + 2 * u) * (1 - u) ** 2
        + values[left + 1] * u * u * (3 - 2 * u)
        + tangent[left] * step * u * (1 - u) ** 2
        - tangent[left + 1] * step * u * u * (1 - u)
    )
    poses, lengths = curve[:, : len(POSE)], curve[:, len(POSE) :]
    for side, wrist in enumerate(_WRISTS):
        distance = np.linalg.norm(poses[:, wrist], axis=1)
        poses[:, wrist] *= (lengths[:, side] / np.maximum(distance, 0.15))[:, None]
    return poses


def _stroll(frames: Float[np.ndarray, " frame"], key_seconds: float) -> Float[np.ndarray, "frame channel"]:
    """Walk for as long as there are frames."""
    count = int(frames[-1] / key_seconds) + 2
    targets = np.stack([pose_of(STRIDE[index % len(STRIDE)].pose) for index in range(count)])
    return _between(targets, np.arange(count) * key_seconds, frames)


def sway(rng: np.random.Generator, frame_count: int) -> Float[np.ndarray, "frame channel"]:
    """Return what nobody can hold still: slow noise on every channel."""
    knots = rng.normal(size=(frame_count // 15 + 3, len(POSE))) * _FREEDOM * 0.22
    position = np.arange(frame_count) / 15
    before = position.astype(np.int64)
    u = (position - before)[:, None]
    u = u * u * (3 - 2 * u)
    return knots[before] * (1 - u) + knots[before + 1] * u
