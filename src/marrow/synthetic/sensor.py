"""The depth cameras of the synthetic recordings: where they stand, and what they get wrong.

Positions are in metres in the coordinates of the camera: x to its left as it looks (so that a person facing it has the
right side at larger x), y up, z away from it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

from marrow.skeleton.layout import KINECT_V2_25


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


def look(
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


def measure(
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
