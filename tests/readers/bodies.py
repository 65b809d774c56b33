"""A person of 1.7 m as text of a BVH file, in any names, unit, axes and rate: for tests of what is doubted."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

# Joint: parent, and where it lies from it in metres; y up, facing z, so that left is at +x. Ends have the mark "*".
_TRUNK = {
    "Hips": ("", (0, 0, 0)),
    "Spine": ("Hips", (0, 0.22, 0)),
    "Neck": ("Spine", (0, 0.30, 0)),
    "Head": ("Neck", (0, 0.12, 0.02)),
    "Head*": ("Head", (0, 0.15, 0)),
}
_LIMBS = {
    "Arm": ("Neck", (0.18, -0.04, 0)),
    "ForeArm": ("Arm", (0.28, 0, 0)),
    "Hand": ("ForeArm", (0.25, 0, 0)),
    "Hand*": ("Hand", (0.08, 0, 0)),
    "UpLeg": ("Hips", (0.09, -0.05, 0)),
    "Leg": ("UpLeg", (0, -0.42, 0.01)),
    "Foot": ("Leg", (0, -0.40, -0.01)),
    "Foot*": ("Foot", (0, -0.06, 0.14)),
}
_FINGERS = {
    name: place
    for finger in range(5)
    for name, place in {
        f"Finger{finger}0": ("Hand", (0.07, 0, 0.03 - 0.015 * finger)),
        f"Finger{finger}1": (f"Finger{finger}0", (0.03, 0, 0)),
        f"Finger{finger}2": (f"Finger{finger}1", (0.02, 0, 0)),
        f"Finger{finger}2*": (f"Finger{finger}2", (0.015, 0, 0)),
    }.items()
}
# How x, y, z of the body become those of a file in which another axis points up; turns, no mirrors.
_AXES: dict[str, Callable[[float, float, float], tuple[float, float, float]]] = {
    "y": lambda x, y, z: (x, y, z),
    "z": lambda x, y, z: (x, -z, y),
    "x": lambda x, y, z: (y, -x, z),
    "-y": lambda x, y, z: (x, -y, -z),
    "-z": lambda x, y, z: (x, z, -y),
    "-x": lambda x, y, z: (-y, x, z),
}
Places = dict[str, tuple[str, tuple[float, float, float]]]


def places(*, fingers: bool = False, face: bool = False, skirt: bool = False) -> Places:
    """Return the joints of a person: parent, and place from it in metres."""
    found: Places = dict(_TRUNK)
    limbs = _LIMBS | (_FINGERS if fingers else {})
    if fingers:
        del limbs["Hand*"]
    for side, sign in (("Left", 1), ("Right", -1)):
        for name, (parent, (x, y, z)) in limbs.items():
            found[side + name] = (side + parent if parent in limbs else parent, (sign * x, y, z))
    if face:
        for part in range(20):
            found[f"Face{part}"] = ("Head", (0.01 * np.cos(part), 0.05, 0.08 + 0.01 * np.sin(part)))
            found[f"Face{part}*"] = (f"Face{part}", (0, 0, 0.01))
    if skirt:
        for part in range(12):
            found[f"Skirt{part}"] = ("Hips", (0.12 * np.cos(part), -0.05, 0.12 * np.sin(part)))
            found[f"Skirt{part}*"] = (f"Skirt{part}", (0, -0.08, 0))
    return found


def bvh(
    joints: Places | None = None,
    *,
    names: Mapping[str, str] | Callable[[str], str] | None = None,
    unit_metres: float = 0.01,
    up: str = "y",
    time: str = "0.0333333",
    frames: int = 12,
    declared: int | None = None,
    root_moves: bool = True,
    seed: int = 0,
) -> str:
    """Return the text of a file in which a person moves a little.

    Args:
        joints: of the person, as `places` returns them.
        names: what joints are called instead.
        unit_metres: of the file.
        up: the axis that points up, with its sign.
        time: what stands after Frame Time.
        frames: number of rows.
        declared: what stands after Frames, if not their number.
        root_moves: whether the person goes anywhere.
        seed: of the motion.
    """
    joints = joints or places()
    called = names.get if isinstance(names, Mapping) else None
    children: dict[str, list[str]] = {}
    for name, (parent, _) in joints.items():
        children.setdefault(parent, []).append(name)
    lines, moving = ["HIERARCHY"], list[str]()

    def offset(name: str) -> str:
        return " ".join(f"{value / unit_metres:.6f}" for value in _AXES[up](*joints[name][1]))

    def write(name: str) -> None:
        new = (called(name, name) if called else names(name) if callable(names) else name) or name
        if name.endswith("*"):
            lines.extend(["End Site", "{", f"OFFSET {offset(name)}", "}"])
            return
        place = "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"
        turn = "CHANNELS 3 Zrotation Xrotation Yrotation"
        keyword = "ROOT" if not joints[name][0] else "JOINT"
        lines.extend([f"{keyword} {new}", "{", f"OFFSET {offset(name)}", place if keyword == "ROOT" else turn])
        moving.append(name)
        for child in children.get(name, []):
            write(child)
        if not children.get(name):
            lines.extend(["End Site", "{", f"OFFSET {offset(name)}", "}"])
        lines.append("}")

    write(next(iter(joints)))
    rows = _rows(len(moving), frames, unit_metres, up, root_moves, seed)
    lines += ["MOTION", f"Frames: {frames if declared is None else declared}", f"Frame Time: {time}"]
    return "\n".join([*lines, *(" ".join(f"{value:.5f}" for value in row) for row in rows)]) + "\n"


def _rows(joints: int, frames: int, unit_metres: float, up: str, root_moves: bool, seed: int) -> Sequence[np.ndarray]:
    random = np.random.default_rng(seed)
    swing = random.uniform(2, 6, (1, joints, 3)) * np.sin(0.4 * np.arange(frames)[:, None, None] + random.uniform(0, 6))
    swing[:, 0] = 0
    path = (
        np.array([_AXES[up](0, 0.95, 0.02 * frame * root_moves) for frame in range(frames)]).reshape(frames, 3)
        / unit_metres
    )
    return list(np.concatenate([path, swing.reshape(frames, joints * 3)], axis=1))
