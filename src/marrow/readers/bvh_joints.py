"""Which nodes of a BVH file are joints, and how its frames follow each other.

Of its nodes these are none:

- an end of a chain ("End Site") without a length,
- a joint that can never be apart from its parent: OFFSET 0 and no position channel,
- a root that is the origin of the scene: it has a single child, and that is placed by position channels of its own
  which change. Where they never change, the child hangs on the root as on a joint, and the root is one; unless it
  stays at zero, unturned, in every frame, as a scene does and nothing tells it from one (hips are not taken for it).
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64

from marrow.readers.base import LEFT_OUT
from marrow.readers.bvh_file import Motion, read_file
from marrow.readers.bvh_tree import Node

# A length below this (in the file's unit) is none.
_NO_LENGTH = 1e-6
# What a joint may move against its parent by rounding and by bones that stretch, as a share of the bone's length.
_STRETCH = 5e-3
_FRAMES_LOOKED_AT = 32
# Frame times are rounded: 0.0333333 is 30 frames per second, 0.00833 is 120. 29.97 stays 29.97.
_RATE_ROUNDING = 5e-4
_HIPS = re.compile(r"hip|pelvi|cadera|腰|尻|骨盆", re.IGNORECASE)


def root_may_be_scene(nodes: Sequence[Node]) -> bool:
    """Tell by the tree alone whether its root may be the origin of the scene."""
    of_root = [node for node in nodes[1:] if node.parent == 0]
    return len(of_root) == 1 and of_root[0].moves


def what_root_is(motion: Motion) -> Literal["scene", "origin", "joint"]:
    """Tell what a root that may be the scene's origin is, by the frames.

    Returns:
        "scene": its child moves against it. "joint": its child does not, and it moves or turns itself. "origin":
        neither moves: a scene more likely than a joint.
    """
    place, child = next((place, node) for place, node in enumerate(motion.nodes) if place and node.parent == 0)
    first = sum(len(node.channels or ()) for node in motion.nodes[:place])
    columns = [first + at for at, (_, kind) in enumerate(child.channels or ()) if kind == "position"]
    if not len(motion.values):
        return "origin"
    places = motion.values[:, columns]
    length = max(float(np.linalg.norm(places.mean(axis=0))), float(np.linalg.norm(child.offset or 0.0)))
    if np.ptp(places, axis=0).max() > max(_STRETCH * length, _NO_LENGTH):
        return "scene"
    root = motion.nodes[0]
    stays = np.abs(motion.values[:, : len(root.channels or ())]).max(initial=0.0) < _NO_LENGTH
    is_at_zero = root.moves or np.linalg.norm(root.offset or 0.0) < _NO_LENGTH
    return "origin" if stays and is_at_zero and not _HIPS.search(root.name) else "joint"


def what_root_of_file_is(path: Path) -> Literal["scene", "origin", "joint"]:
    """Tell what a root that may be the scene's origin is: mostly the first frames show it.

    Raises:
        ParseError: the file does not follow the format.
    """
    beginning = what_root_is(read_file(path, needs_rate=False, most_frames=_FRAMES_LOOKED_AT))
    return beginning if beginning == "scene" else what_root_is(read_file(path, needs_rate=False))


def no_joints(nodes: Sequence[Node], root_is_scene: bool) -> set[str]:
    """Return the names of the nodes that are no joints, in one file."""
    return ({nodes[0].name} if root_is_scene else set[str]()) | {
        node.name for node in nodes[1:] if not node.moves and np.linalg.norm(node.offset or 0.0) < _NO_LENGTH
    }


def joint_tree(nodes: Sequence[Node], kept: Collection[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the names of the nodes that are kept, and the nearest above each that is kept as well."""
    row = {place: joint for joint, place in enumerate(p for p, node in enumerate(nodes) if node.name in kept)}
    parents = []
    for place in row:
        above = nodes[place].parent
        while above not in row and above != 0:
            above = nodes[above].parent
        parents.append(row.get(above, row[place]))
    return tuple(nodes[place].name for place in row), tuple(parents)


def rest_pose(nodes: Sequence[Node]) -> Float64[np.ndarray, "node 3"]:
    """Return where the nodes are when nothing is turned, in the file's unit."""
    places = np.zeros((len(nodes), 3))
    for place, node in enumerate(nodes[1:], start=1):
        places[place] = places[node.parent] + (node.offset or (0.0, 0.0, 0.0))
    return places


def left_out_note(names: Sequence[str]) -> tuple[str, ...]:
    """Return the note on nodes that are no joints; none where there are none."""
    return (f"{LEFT_OUT}{', '.join(names)}",) if names else ()


def frames_per_second(frame_seconds: float) -> float:
    """Return the rate that a frame time stands for, rounded where the frame time is."""
    nearest = round(1 / frame_seconds)
    return float(nearest) if abs(nearest * frame_seconds - 1) < _RATE_ROUNDING else 1 / frame_seconds
