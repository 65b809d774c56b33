"""A body that moves, for tests of formats that find the axes of arrays by what moves smoothly."""

import numpy as np


def moving(clips, people, frames, joints, coordinates=3, scale=1.0, seed=0):
    """Positions [clip, person, frame, joint, coordinate]: a body 1.5 m tall before a camera, swinging its limbs."""
    rng = np.random.default_rng(seed)
    rest = rng.normal(0, (0.2, 0.45, 0.1)[:coordinates], (joints, coordinates))
    time = np.arange(frames)[:, None, None]
    where = np.array((0.3, 0.2, 3.0))[:coordinates]
    out = np.empty((clips, people, frames, joints, coordinates))
    for clip in range(clips):
        for person in range(people):
            phase, speed = rng.uniform(0, 6, (joints, coordinates)), rng.uniform(0.05, 0.2)
            out[clip, person] = rest + where + 0.1 * np.sin(time * speed + phase) + 0.7 * person + 0.1 * clip
    return (out * scale).astype(np.float32)


def in_order(values, order):
    """Return values [N, M, T, V, C] with the axes of an order such as "NCTVM" or "NT(VC)"; left out axes are at 0."""
    letters = "NMTVC"
    wanted = order.replace("(", "").replace(")", "")
    for letter in "NM":
        if letter not in wanted:
            values, letters = values.take(0, letters.index(letter)), letters.replace(letter, "")
    values = values.transpose([letters.index(letter) for letter in wanted])
    shape, inside = [], None
    sizes = iter(values.shape)
    for character in order:
        if character == "(":
            inside = 1
        elif character == ")":
            shape.append(inside)
            inside = None
        elif inside is not None:
            inside *= next(sizes)
        else:
            shape.append(next(sizes))
    return np.ascontiguousarray(values.reshape(shape))
