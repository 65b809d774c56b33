"""Files of Penn Action: a person who stands in an image, 120 pixels tall, and lifts an arm."""

from pathlib import Path

import numpy as np
import scipy.io

# Pixels, y down, in the order of PENN_13.
STANDING = np.array(
    [
        *([100.0, 40.0], [88.0, 58.0], [112.0, 58.0], [82.0, 80.0], [118.0, 80.0], [80.0, 100.0], [120.0, 100.0]),
        *([93.0, 108.0], [107.0, 108.0], [92.0, 134.0], [108.0, 134.0], [92.0, 160.0], [108.0, 160.0]),
    ]
)


def variables(frames=6, **changes):
    """Return what is in a file: the wrist called left rises by a pixel a frame; in frame 2 the left elbow is unseen."""
    positions = np.repeat(STANDING[None], frames, axis=0)
    positions[:, 5, 1] -= np.arange(frames)
    visibility = np.ones((frames, 13), np.uint8)
    visibility[2, 3] = 0
    positions[2, 3] = 1
    said = {"action": "bowl", "train": 1, "pose": "left", "bbox": np.ones((frames, 4)), "nframes": frames}
    return {"x": positions[..., 0], "y": positions[..., 1], "visibility": visibility} | said | changes


def write(path: Path, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, variables(**changes), do_compression=True)
    return path


def folder_of_three(folder: Path):
    """Write two videos to train on and one to test on."""
    for number, (action, train) in enumerate([("bowl", 1), ("squat", 1), ("bowl", -1)], start=1):
        write(folder / f"{number:04d}.mat", action=action, train=train)
    return folder
