"""The action table of the synthetic recordings: who moves what, when.

An action is a list of keys, poses with the seconds it takes to get there, of which a part may be repeated. Poses name
only what differs from standing at rest. Everybody is written down as right-handed; left-handers are mirrored.
"""

from dataclasses import dataclass, field
from functools import partial

# Degrees and arm lengths; whole numbers are welcome in a table.
Number = int | float
Pose = dict[str, Number]


@dataclass(frozen=True)
class Key:
    """A pose and how long it takes to get there from the key before.

    Args:
        seconds: time since the key before.
        pose: of the one who acts (what is left out is at rest).
        partner: of the other person, in actions of two.
    """

    seconds: float
    pose: Pose = field(default_factory=dict, hash=False)
    partner: Pose = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Action:
    """One class of motion.

    Args:
        name: of the class.
        before: keys that lead into the action.
        loop: keys that are repeated.
        after: keys that lead out of it.
        repeats: fewest and most repetitions of `loop`.
        start: the pose before the first key, in which the recording begins.
        hands: 1 where the other arm is free to do something else, 2 where it is not.
        may_sit: whether it is as well done on a chair, or while walking.
        wanders: whether the direction drifts while acting.
        contact: for two persons, joints of the one and the other that meet when the last key of `before` is reached.
        gap: distance in metres that is left between these joints.
    """

    name: str
    before: tuple[Key, ...]
    loop: tuple[Key, ...] = ()
    after: tuple[Key, ...] = ()
    repeats: tuple[int, int] = (1, 1)
    start: Pose = field(default_factory=dict, hash=False)
    hands: int = 2
    may_sit: bool = False
    wanders: bool = False
    contact: tuple[str, str] | None = None
    gap: float = 0.0


def _arm(side: str, out: Number, up: Number, forward: Number, swivel: Number = 0.0, wrist: Number = 0.0) -> Pose:
    """Put one wrist somewhere: arm lengths from the shoulder, elbow turned outward by `swivel` degrees."""
    target = {"out": out, "up": up, "forward": forward, "swivel": swivel, "wrist": wrist}
    return {f"{side}_{name}": value for name, value in target.items()}


_right, _left = partial(_arm, "right"), partial(_arm, "left")


def _arms(*target: Number) -> Pose:
    return _right(*target) | _left(*target)


def _legs(hip: Number, knee: Number, spread: Number = 4.0) -> Pose:
    angles = {"hip": hip, "knee": knee, "spread": spread}
    return {f"{side}_{joint}": degrees for side in ("right", "left") for joint, degrees in angles.items()}


def _other_step(key: Key) -> Key:
    """Return a step with the other leg: left and right exchanged, the trunk twisted the other way."""
    other = {"right": "left", "left": "right"}
    pose: Pose = {}
    for name, value in key.pose.items():
        side, _, part = name.partition("_")
        pose[f"{other[side]}_{part}" if side in other else name] = -value if name == "twist" else value
    return Key(key.seconds, pose)


REST: Pose = _arms(0.14, -0.95, 0.08) | _legs(0, 2)
SEATED: Pose = _legs(86, 88, 6) | {"bend": 4}
# What an arm that has nothing to do may do instead of hanging.
IDLE_ARMS: tuple[Pose, ...] = (
    _left(0.14, -0.95, 0.08),
    _left(0.28, -0.62, -0.02, 55),
    _left(0.12, -0.80, 0.16, 20),
    _left(-0.08, -0.35, 0.45),
    _left(-0.12, -0.75, -0.25, 30),
    _left(-0.45, -0.35, 0.33, 20),
)

_CUP = _right(-0.18, 0.24, 0.38, 15)
_EAR = _right(-0.03, 0.28, 0.14, 25)
_WAVE_OUT, _WAVE_IN = _right(0.55, 0.55, 0.25, 30), _right(0.12, 0.62, 0.28, 30)
_AIM = _right(0.06, 0.03, 0.97)
_WATCH = _right(0.14, -0.95, 0.08) | _left(-0.28, -0.22, 0.50, 50) | {"nod": 32, "look": 10}
_FOLDED = _right(-0.50, -0.38, 0.36, 25) | _left(-0.44, -0.28, 0.42, 25)
_LAP = _arms(-0.02, -0.74, 0.42)
_RISING = _legs(62, 82) | {"bend": 42, "nod": -10} | _arms(0.05, -0.62, 0.50)
_CROUCH = _legs(52, 92) | {"bend": 38} | _arms(0.15, -0.75, -0.45)
_WIDE = _arms(0.95, -0.05, 0.05)
_STAR = _arms(0.42, 0.85, 0.02) | _legs(0, 3, 26)
_PALM = _right(-0.08, -0.32, 0.74, 5)
_PALM_LOW = _right(-0.08, -0.46, 0.70, 5)
_GIVE = _right(-0.12, -0.28, 0.66, 10)
_EMBRACE = _right(-0.28, 0.02, 0.62, 55) | _left(-0.30, -0.22, 0.58, 45) | {"bend": 10, "look": 25, "tilt": 12}

_BROW = _right(-0.02, 0.40, 0.30, 60)
_RUB = _right(-0.26, -0.30, 0.46, 20) | _left(-0.30, -0.24, 0.52, 20)
_RUB_BACK = _right(-0.30, -0.24, 0.52, 20) | _left(-0.26, -0.30, 0.46, 20)
_SHOE = _arms(-0.16, -0.60, 0.66, 10) | _legs(80, 118) | {"bend": 62, "nod": 12}
_PAT = _right(-0.04, 0.10, 0.78, 20) | {"bend": 6}
_PAT_LOW = _right(-0.04, 0.00, 0.80, 20) | {"bend": 8}

_STEP = Key(
    0.26,
    {"right_hip": 26, "right_knee": 5, "left_hip": -20, "left_knee": 12, "twist": 5}
    | _right(0.16, -0.90, -0.22)
    | _left(0.14, -0.86, 0.36),
)
_PASS = Key(0.26, {"right_hip": 4, "right_knee": 10, "left_hip": 16, "left_knee": 58} | _arms(0.14, -0.95, 0.08))
STRIDE = (_STEP, _PASS, _other_step(_STEP), _other_step(_PASS))

_LIFT = Key(0.28, {"right_hip": 62, "right_knee": 80} | _right(0.14, -0.86, -0.30) | _left(0.10, -0.70, 0.50))
_MARCH = (_LIFT, Key(0.28), _other_step(_LIFT), Key(0.28))

ACTIONS: tuple[Action, ...] = (
    # One person.
    Action(
        "drink",
        before=(Key(0.8, _CUP | {"nod": -4}),),
        loop=(Key(0.45, _right(-0.20, 0.32, 0.34, 32) | {"nod": -20}), Key(0.45, _CUP | {"nod": -6})),
        after=(Key(0.8),),
        repeats=(1, 2),
        hands=1,
        may_sit=True,
    ),
    Action(
        "phone_call",
        before=(Key(0.8, _EAR | {"tilt": 10}),),
        loop=(Key(0.7, _EAR | {"tilt": 12, "look": 14}), Key(0.7, _EAR | {"tilt": 8, "look": -10, "nod": 6})),
        after=(Key(0.8),),
        hands=1,
        may_sit=True,
    ),
    Action(
        "brush_hair",
        before=(Key(0.7, _right(-0.16, 0.52, 0.36, 35)),),
        loop=(Key(0.32, _right(0.02, 0.50, -0.02, 60) | {"tilt": -6}), Key(0.32, _right(-0.16, 0.52, 0.36, 35))),
        after=(Key(0.7),),
        repeats=(2, 4),
        hands=1,
        may_sit=True,
    ),
    Action(
        "wave",
        before=(Key(0.6, _WAVE_OUT),),
        loop=(Key(0.22, _WAVE_IN), Key(0.22, _WAVE_OUT)),
        after=(Key(0.6),),
        repeats=(2, 5),
        hands=1,
        may_sit=True,
    ),
    Action("salute", before=(Key(0.5, _BROW),), loop=(Key(0.6, _BROW),), after=(Key(0.5),), hands=1, may_sit=True),
    Action(
        "clap",
        before=(Key(0.5, _arms(0.12, -0.18, 0.50, 20)),),
        loop=(Key(0.14, _arms(-0.30, -0.18, 0.52, 20)), Key(0.16, _arms(0.10, -0.18, 0.50, 20))),
        after=(Key(0.5),),
        repeats=(3, 7),
        may_sit=True,
    ),
    Action(
        "rub_hands",
        before=(Key(0.5, _RUB),),
        loop=(Key(0.18, _RUB_BACK), Key(0.18, _RUB)),
        after=(Key(0.5),),
        repeats=(3, 6),
        may_sit=True,
    ),
    Action(
        "point",
        before=(Key(0.55, _AIM),),
        loop=(Key(0.5, _AIM | {"twist": -4}),),
        after=(Key(0.6),),
        hands=1,
        may_sit=True,
    ),
    Action("check_watch", before=(Key(0.6, _WATCH),), loop=(Key(0.6, _WATCH),), after=(Key(0.6),), may_sit=True),
    Action("cross_arms", before=(Key(0.8, _FOLDED),), loop=(Key(0.9, _FOLDED),), after=(Key(0.7),), may_sit=True),
    Action(
        "throw",
        before=(
            Key(0.6, _right(0.45, 0.35, -0.45, 40) | {"twist": -38, "left_hip": 12, "right_knee": 14, "bend": -6}),
            Key(0.22, _right(0.20, 0.60, 0.62, 30) | {"twist": 10, "left_hip": 14, "left_knee": 14, "bend": 10}),
            Key(0.22, _right(-0.30, -0.50, 0.66) | {"twist": 34, "left_knee": 16, "bend": 26}),
        ),
        after=(Key(0.7),),
        hands=1,
    ),
    Action(
        "pick_up",
        before=(Key(0.8, _right(-0.12, -0.62, 0.72) | _legs(48, 78) | {"bend": 78, "nod": 10}),),
        loop=(Key(0.25, _right(-0.14, -0.66, 0.70) | _legs(48, 78) | {"bend": 80, "nod": 10}),),
        after=(Key(0.8, _right(-0.08, -0.35, 0.45)), Key(0.3, _right(-0.08, -0.33, 0.45))),
        hands=1,
    ),
    Action(
        "tie_shoe",
        before=(Key(0.9, _SHOE),),
        loop=(Key(0.25, _SHOE | _arms(-0.06, -0.56, 0.62, 20)), Key(0.25, _SHOE)),
        after=(Key(0.8),),
        repeats=(1, 3),
    ),
    Action(
        "bow",
        before=(Key(0.7, _arms(0.08, -0.82, 0.44) | {"bend": 58, "nod": 18}),),
        loop=(Key(0.5, _arms(0.08, -0.82, 0.44) | {"bend": 60, "nod": 18}),),
        after=(Key(0.7),),
    ),
    Action(
        "sit_down",
        before=(Key(0.6, _RISING), Key(0.4, SEATED | _LAP | {"bend": 26}), Key(0.4, SEATED | _LAP)),
        after=(Key(0.3, SEATED | _LAP),),
    ),
    Action(
        "stand_up",
        before=(Key(0.4, SEATED | _LAP | {"bend": 34}), Key(0.35, _RISING), Key(0.6)),
        after=(Key(0.3),),
        start=SEATED | _LAP,
    ),
    Action(
        "squat",
        before=(Key(0.7, _legs(82, 118, 10) | _arms(0.05, -0.05, 0.92) | {"bend": 32}),),
        loop=(Key(0.2, _legs(84, 120, 10) | _arms(0.05, -0.05, 0.92) | {"bend": 34}),),
        after=(Key(0.7),),
    ),
    Action(
        "jump",
        before=(
            Key(0.45, _CROUCH),
            Key(0.22, _arms(0.20, 0.65, 0.60) | _legs(0, 2) | {"lift": 0.05, "right_ankle": -35, "left_ankle": -35}),
            Key(0.20, _arms(0.22, 0.70, 0.55) | _legs(14, 30) | {"lift": 0.40}),
            Key(0.20, _arms(0.30, 0.05, 0.60) | _legs(12, 22) | {"lift": 0.02}),
            Key(0.16, _legs(44, 74) | _arms(0.20, -0.55, 0.50) | {"bend": 28}),
        ),
        after=(Key(0.5),),
        repeats=(1, 2),
    ),
    Action(
        "star_jump",
        before=(Key(0.25, _legs(16, 28)),),
        loop=(
            Key(0.21, _WIDE | _legs(0, 2, 16) | {"lift": 0.12}),
            Key(0.21, _STAR),
            Key(0.21, _WIDE | _legs(0, 2, 16) | {"lift": 0.12}),
            Key(0.21, _legs(10, 18)),
        ),
        after=(Key(0.3),),
        repeats=(2, 3),
    ),
    Action(
        "kick",
        before=(
            Key(0.45, {"right_hip": -26, "right_knee": 62, "left_knee": 12, "bend": 8} | _left(0.3, -0.6, 0.5)),
            Key(
                0.22,
                {"right_hip": 72, "right_knee": 8, "left_knee": 10, "bend": -12, "right_ankle": -20}
                | _left(0.35, -0.7, -0.2)
                | _right(0.5, -0.6, 0.2),
            ),
            Key(0.30, {"right_hip": 30, "right_knee": 50, "left_knee": 8}),
        ),
        after=(Key(0.4),),
    ),
    Action(
        "walk",
        before=(Key(0.3, STRIDE[0].pose),),
        loop=(*STRIDE[1:], STRIDE[0]),
        after=(Key(0.3),),
        repeats=(1, 3),
        wanders=True,
    ),
    Action(
        "march",
        before=(Key(0.3, _MARCH[0].pose),),
        loop=(*_MARCH[1:], _MARCH[0]),
        after=(Key(0.3),),
        repeats=(1, 3),
        wanders=True,
    ),
    Action(
        "fall",
        before=(
            Key(0.45, _legs(30, 40) | _arms(0.45, -0.1, 0.55) | {"pitch": -14, "nod": 20}),
            Key(0.45, _legs(72, 84) | _arms(0.60, -0.45, 0.10) | {"pitch": -52, "nod": 30}),
            Key(0.35, _legs(34, 46, 10) | _arms(0.65, -0.55, 0.10) | {"pitch": -86, "nod": 6}),
        ),
        after=(Key(0.6, _legs(24, 34, 12) | _arms(0.62, -0.60, 0.05) | {"pitch": -87}),),
    ),
    # Two persons.
    Action(
        "handshake",
        before=(Key(0.7, _PALM | {"bend": 6}, _PALM | {"bend": 6}),),
        loop=(
            Key(0.18, _PALM_LOW | {"bend": 6}, _PALM_LOW | {"bend": 6}),
            Key(0.18, _PALM | {"bend": 6}, _PALM | {"bend": 6}),
        ),
        after=(Key(0.7),),
        repeats=(2, 4),
        contact=("HandRight", "HandRight"),
    ),
    Action(
        "hug",
        before=(
            Key(0.5, STRIDE[0].pose | _arms(0.35, -0.25, 0.65, 40), _arms(0.35, -0.25, 0.65, 40)),
            Key(0.5, _EMBRACE, _EMBRACE),
        ),
        loop=(Key(0.7, _EMBRACE, _EMBRACE),),
        after=(Key(0.8),),
        contact=("SpineShoulder", "SpineShoulder"),
        gap=0.28,
    ),
    Action(
        "push",
        before=(
            Key(0.45, _arms(0.06, -0.30, 0.34, 20) | {"bend": 4}),
            Key(0.25, _arms(-0.08, -0.12, 0.92, 15) | {"bend": 16, "right_hip": 22, "right_knee": 26, "left_hip": -14}),
        ),
        loop=(
            Key(
                0.22,
                _arms(-0.06, -0.14, 0.86, 15) | {"bend": 14, "right_hip": 20, "right_knee": 24, "left_hip": -12},
                {"bend": -22, "nod": 20, "left_hip": -24, "left_knee": 14, "right_hip": 8} | _arms(0.5, -0.35, 0.5),
            ),
        ),
        after=(Key(0.6, {}, {"right_hip": -6}),),
        contact=("HandRight", "SpineShoulder"),
        gap=0.06,
    ),
    Action(
        "punch",
        before=(
            Key(0.40, _right(0.10, -0.25, 0.02, 30) | _left(-0.10, -0.05, 0.45) | {"twist": -26, "right_hip": -10}),
            Key(0.18, _right(-0.22, 0.16, 0.94, 25) | _left(-0.05, -0.15, 0.40) | {"twist": 24, "left_knee": 16}),
        ),
        loop=(
            Key(
                0.20,
                _right(-0.10, 0.0, 0.55, 25) | _left(-0.10, -0.05, 0.45) | {"twist": 4},
                {"nod": -32, "look": -22, "bend": -18, "right_hip": -16} | _arms(0.25, -0.45, 0.55),
            ),
        ),
        after=(Key(0.5, {}, {"nod": 10, "bend": 6} | _right(-0.2, 0.22, 0.38)),),
        contact=("HandRight", "Head"),
        gap=0.06,
    ),
    Action(
        "high_five",
        before=(
            Key(0.35, _right(0.16, -0.30, 0.50, 20), _right(0.16, -0.30, 0.50, 20)),
            Key(0.30, _right(0.10, 0.45, 0.25, 20), _right(0.10, 0.45, 0.25, 20)),
            Key(0.22, _right(-0.06, 0.48, 0.72, 10), _right(-0.06, 0.48, 0.72, 10)),
        ),
        after=(Key(0.22, _right(0.10, 0.30, 0.50, 10), _right(0.10, 0.30, 0.50, 10)), Key(0.55)),
        contact=("HandTipRight", "HandTipRight"),
    ),
    Action(
        "pat_shoulder",
        before=(Key(0.6, _PAT),),
        loop=(Key(0.16, _PAT_LOW, {"look": -12}), Key(0.18, _PAT, {"look": -14})),
        after=(Key(0.6),),
        repeats=(2, 4),
        contact=("HandTipRight", "ShoulderLeft"),
        gap=-0.02,
    ),
    Action(
        "hand_over",
        before=(
            Key(0.5, _right(-0.12, -0.35, 0.42, 10), _right(0.05, -0.7, 0.4)),
            Key(0.5, _GIVE | {"bend": 8}, _GIVE | {"bend": 8}),
        ),
        loop=(Key(0.3, _GIVE | {"bend": 8}, _GIVE | {"bend": 8}),),
        after=(Key(0.5, {}, _right(-0.12, -0.35, 0.42, 10) | {"nod": 16}), Key(0.4, {}, _right(-0.10, -0.4, 0.40, 10))),
        contact=("HandTipRight", "HandTipRight"),
        gap=0.08,
    ),
)

CLASSES: tuple[str, ...] = tuple(action.name for action in ACTIONS)
