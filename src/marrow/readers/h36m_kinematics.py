"""From the joint angles of Human3.6M to positions: its bones, and the path of its hips. Formula: `kinematics.py`."""

import numpy as np
from jaxtyping import Float64

from marrow.readers import kinematics
from marrow.readers.kinematics import expm
from marrow.skeleton.layout import H36M_32

# Where each joint lies from its parent in the rest pose, in millimetres.
_OFFSETS_MM = {
    "HipRight": (-132.948591, 0, 0),
    "KneeRight": (0, -442.894612, 0),
    "AnkleRight": (0, -454.206447, 0),
    "FootRight": (0, 0, 162.767078),
    "ToeRight": (0, 0, 74.999437),
    "HipLeft": (132.948826, 0, 0),
    "KneeLeft": (0, -442.894413, 0),
    "AnkleLeft": (0, -454.206590, 0),
    "FootLeft": (0, 0, 162.767426),
    "ToeLeft": (0, 0, 74.999948),
    "SpineBase": (0, 0.1, 0),
    "SpineMid": (0, 233.383263, 0),
    "Neck": (0, 257.077681, 0),
    "Head": (0, 121.134938, 0),
    "HeadTop": (0, 115.002227, 0),
    "CollarLeft": (0, 257.077681, 0),
    "ShoulderLeft": (0, 151.034226, 0),
    "ElbowLeft": (0, 278.882773, 0),
    "WristLeft": (0, 251.733451, 0),
    "ThumbLeft": (0, 0, 99.999627),
    "HandLeft": (0, 100.000188, 0),
    "CollarRight": (0, 257.077681, 0),
    "ShoulderRight": (0, 151.031437, 0),
    "ElbowRight": (0, 278.892924, 0),
    "WristRight": (0, 251.728680, 0),
    "ThumbRight": (0, 0, 99.999888),
    "HandRight": (0, 137.499922, 0),
}
OFFSETS_M = 0.001 * np.array([_OFFSETS_MM.get(joint, (0, 0, 0)) for joint in H36M_32.joints], np.float64)


def positions(
    angles: Float64[np.ndarray, "frame 32 3"],
    root: Float64[np.ndarray, "frame 3"] | None = None,
    root_turn: Float64[np.ndarray, "frame 3 3"] | None = None,
) -> Float64[np.ndarray, "frame 32 3"]:
    """Return where the joints are.

    Args:
        angles: the exponential map of each joint; that of the root is not looked at.
        root: position of the hips in metres; the origin if None.
        root_turn: matrix of the hips; the rest pose if None.
    """
    return kinematics.positions(angles, OFFSETS_M, H36M_32.parents, root, root_turn)


def follow_root(
    steps: Float64[np.ndarray, "frame 6"],
) -> tuple[Float64[np.ndarray, "frame 3"], Float64[np.ndarray, "frame 3 3"]]:
    """Return the path of the hips (metres) and their matrices.

    The files hold, for every frame, how far the hips went and how they turned since the frame before, as seen from
    there: translation in millimetres and exponential map. The path begins at the origin, unturned.
    """
    turns = expm(steps[:, 3:])
    path = np.zeros((len(steps), 3))
    matrices = np.zeros((len(steps), 3, 3))
    place, matrix = np.zeros(3), np.eye(3)
    for frame, (step, turn) in enumerate(zip(0.001 * steps[:, :3], turns, strict=True)):
        place = place + step @ matrix
        matrix = turn @ matrix
        path[frame], matrices[frame] = place, matrix
    return path, matrices
