"""What is done to the positions of one recording: carried to other joints, aligned, resampled, made a stream.

Arrays are `[body frame joint 3]`, flags `[body frame joint]`. Each function does what one of marrow's does that stands
behind training (named in its docstring), in NumPy alone; tests hold each pair together.
"""

import numpy as np

from marrow.runtime.description import JointMap, Layout


def carried(
    joints: np.ndarray, present: np.ndarray, mapped: JointMap, joint_count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and flags in the joints of a model; absent where a recording lacks them (`LayoutMap.apply`)."""
    wanted, taken = list(mapped.sources), list(mapped.sources.values())
    shape = (*present.shape[:-1], joint_count)
    positions, flags = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.bool_)
    positions[..., wanted, :] = np.roll(joints[..., taken, :], mapped.axis_steps, axis=-1)
    flags[..., wanted] = present[..., taken]
    for joint, made_of in mapped.made_of.items():
        known = np.asarray(flags[..., [source for source, _ in made_of]].all(-1))
        place = np.sum([positions[..., source, :] * np.float32(weight) for source, weight in made_of], axis=0)
        positions[..., joint, :], flags[..., joint] = np.where(known[..., None], place, 0), known
    return positions, flags


def alignment(joints: np.ndarray, present: np.ndarray, layout: Layout, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and origin: aligned = (positions - origin) @ matrix.T (`marrow.skeleton.geometry.alignment_of`)."""
    matrix, origin = np.eye(3), np.zeros(3)
    if kind == "none":
        return matrix.astype(np.float32), origin.astype(np.float32)
    at, is_flat = layout.anchors, layout.dimensions == 2
    centre, chest = at["centre"], at["chest"]
    together = present[:2, :, [centre, chest]].all((0, 2)) if kind == "pair" and len(joints) > 1 else np.zeros(1, bool)
    if together.any():
        # Two persons in the frame of both: the one who moves more comes first.
        steps = np.linalg.norm(np.diff(joints[:2].astype(np.float64), axis=1), axis=-1)
        counted = present[:2, 1:] & present[:2, :-1]
        first, second = (steps[body][counted[body]].mean() if counted[body].any() else 0.0 for body in (0, 1))
        centres = joints[:2, together, centre].astype(np.float64)
        trunk = np.linalg.norm(joints[:2, together, chest] - centres, axis=-1).mean()
        way = (centres[1] - centres[0]).mean(0) * (-1 if second > first else 1)
        matrix = matrix if is_flat else _turn(way, layout.up)
        return (matrix / max(trunk, 1e-6)).astype(np.float32), centres.mean((0, 1)).astype(np.float32)
    body, seen = joints[0].astype(np.float64), present[0]
    sides = [at[role] for role in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")]
    whole = seen[:, sides].all(1)
    if whole.any() and not is_flat:
        left_hip, right_hip, left_shoulder, right_shoulder = (body[whole, joint] for joint in sides)
        matrix = _turn((right_hip - left_hip + right_shoulder - left_shoulder).mean(0), layout.up)
    if seen[:, centre].any():
        origin = body[seen[:, centre], centre].mean(0)
    trunk_seen = seen[:, centre] & seen[:, chest]
    if kind in ("body", "pair") and trunk_seen.any():
        length = np.linalg.norm(body[trunk_seen, chest] - body[trunk_seen, centre], axis=-1).mean()
        matrix = matrix / length if length > 1e-6 else matrix
    return matrix.astype(np.float32), origin.astype(np.float32)


def _turn(direction: np.ndarray, up: str) -> np.ndarray:
    """Return the turn about the vertical that brings a direction onto +x, or +y where x is up (`turn_to_face`)."""
    vertical, target = np.eye(3)["xyz".index(up)], np.eye(3)[1 if up == "x" else 0]
    level = direction - (direction @ vertical) * vertical
    length = np.linalg.norm(level)
    if length < 1e-6:
        return np.eye(3)
    across = np.outer(np.cross(target, vertical), np.cross(level / length, vertical))
    return np.outer(target, level / length) + np.outer(vertical, vertical) + across


def resampled(joints: np.ndarray, present: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return so many frames, by linear interpolation where all that have a weight were seen (`marrow.data.gather`).

    Frame i of N lies at (i + 1/2) L / N - 1/2 of L, held inside: ((2i + 1) L - N) / 2N in integers, so that a weight is
    zero exactly where it should be.
    """
    length = joints.shape[1]
    numerator = np.clip((2 * np.arange(frames) + 1) * length - frames, 0, 2 * frames * (length - 1))
    before, rest = np.divmod(numerator, 2 * frames)
    after = before + (rest > 0)
    weight = (rest.astype(np.float32) / np.float32(2 * frames))[:, None, None]
    seen = present[:, before] & present[:, after]
    low = joints[:, before]
    return np.where(seen[..., None], low + weight * (joints[:, after] - low), np.float32(0)), seen


def as_stream(
    joints: np.ndarray, present: np.ndarray, parents: tuple[int, ...], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return a stream of a whole window and its flags (`marrow.skeleton.streams.stream`)."""
    if "bone" in name:
        present = present & present[..., list(parents)]
        joints = np.where(present[..., None], joints - joints[..., list(parents), :], np.float32(0))
    if "motion" in name:
        both = present.copy()
        both[:, :-1] &= present[:, 1:]
        step = np.zeros_like(joints)
        step[:, :-1] = joints[:, 1:] - joints[:, :-1]
        joints, present = np.where(both[..., None], step, np.float32(0)), both
    return joints, present
