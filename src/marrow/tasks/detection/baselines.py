"""Action detection without an encoder: the nearest training frames vote."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from marrow.data.recordings import Recordings
from marrow.errors import ConfigError
from marrow.skeleton.derived import measured
from marrow.skeleton.geometry import turn_to_face
from marrow.skeleton.layout import ANCHOR_ROLES, Skeleton
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.detection.config import DetectionConfig
from marrow.tasks.detection.metrics import ABOUT
from marrow.tasks.detection.recordings import labels_of, recorded_frames, training_recordings
from marrow.tasks.detection.scoring import report_of
from marrow.train.run_directory import plain

# Rows of a window, neighbours that vote, and training rows that are kept at most.
_WINDOW_ROWS, _NEIGHBOURS, _MOST_ROWS = 15, 5, 20_000


def raw_detection(data: TaskData, context: TaskContext, config: DetectionConfig | None = None) -> Report:
    """Let the nearest training frames vote on every frame: report `action_detection/knn`.

    A frame is described by the recorded frames around it, 15 in all: hip-centred each, turned together about the
    vertical by their mean view (in two dimensions not), in units of the trunk. The 5 nearest by Euclidean distance have
    one vote each. Frames that were not recorded are called as the recorded one before them.
    """
    config = config or DetectionConfig()
    train = training_recordings(data)
    recorded, classes = recorded_frames(data.store, train), np.arange(len(data.classes) + 1)
    known = np.concatenate(
        [label[at] for label, at in zip(labels_of(data.store, train, len(data.classes)), recorded, strict=True)]
    )
    gallery = np.concatenate(
        [_windows(*clip, at, train.skeleton) for clip, at in zip(train.arrays, recorded, strict=True)]
    )
    kept = np.linspace(0, len(known) - 1, min(len(known), _MOST_ROWS)).round().astype(np.int64)
    gallery, known = gallery[kept], known[kept]

    def predict(
        test: Recordings, recorded: Sequence[Int64[np.ndarray, " _recorded"]]
    ) -> list[Float64[np.ndarray, "_frame class"]]:
        probability = []
        for (joints, present), at in zip(test.arrays, recorded, strict=True):
            near = _nearest(_windows(joints, present, at, test.skeleton), gallery, min(_NEIGHBOURS, len(known)))
            votes = (known[near][:, :, None] == classes).mean(axis=1)
            frames = np.arange(present.shape[1])
            of_frames = votes[np.maximum(np.searchsorted(at, frames, side="right") - 1, 0)]
            of_frames[~np.asarray(present).any((0, 2))] = classes == classes[-1]
            probability.append(of_frames)
        return probability

    settings = {
        "k": _NEIGHBOURS,
        "distance": "euclidean",
        "features": f"aligned coordinates, {_WINDOW_ROWS} recorded frames",
        "training_frames": len(known),
    }
    about = replace(ABOUT, variant="nearest neighbours")
    report = Report("action_detection/knn", {}, declared=about, settings=settings, seed=context.seed, source="raw")
    return report_of(replace(report, asked=plain(config)), data, predict, config)


def _windows(
    joints: Float32[np.ndarray, "body frame joint 3"],
    present: Bool[np.ndarray, "body frame joint"],
    at: Int64[np.ndarray, " recorded"],
    skeleton: Skeleton,
) -> Float32[np.ndarray, "recorded value"]:
    """Return the aligned coordinates of the first body around each recorded frame; zero where nothing was seen."""
    anchors = skeleton.anchors
    if any(role not in anchors for role in ANCHOR_ROLES):
        raise ConfigError(
            f"aligned coordinates need to know the joints {', '.join(ANCHOR_ROLES)} of the skeleton {skeleton.name!r}; "
            "leave out the baseline raw"
        )
    body, seen = np.asarray(joints[0, at], np.float64), np.asarray(present[0, at])
    place = np.arange(len(at))[:, None] + np.arange(_WINDOW_ROWS) - _WINDOW_ROWS // 2
    place = place.clip(0, len(at) - 1)
    body = (body - body[:, anchors["centre"], None]) * (seen & seen[:, anchors["centre"], None])[..., None]
    across = body[:, anchors["right_hip"]] - body[:, anchors["left_hip"]]
    across += body[:, anchors["right_shoulder"]] - body[:, anchors["left_shoulder"]]
    trunk = np.linalg.norm(body[:, anchors["chest"]], axis=-1)[place].mean(axis=1)
    view = np.tile(np.eye(3), (len(at), 1, 1))
    if skeleton.dimensions == 3:
        view = np.stack([turn_to_face(direction, skeleton.up) for direction in across[place].mean(axis=1)])
    view /= np.where(trunk > 1e-6, trunk, 1.0)[:, None, None]
    turned = body[place][:, :, measured(skeleton)].reshape(len(at), -1, 3) @ view.transpose(0, 2, 1)
    return turned.reshape(len(at), -1).astype(np.float32)


def _nearest(
    query: Float32[np.ndarray, "query value"], gallery: Float32[np.ndarray, "gallery value"], count: int
) -> Int64[np.ndarray, "query near"]:
    """Return the places of each query's nearest gallery vectors, in no order."""
    # |q - g|^2 = |q|^2 - 2 q.g + |g|^2, and |q|^2 is the same for the whole row.
    half_norm = 0.5 * (gallery.astype(np.float64) ** 2).sum(axis=1).astype(np.float32)
    blocks = [query[begin : begin + 512] for begin in range(0, len(query), 512)]
    return np.concatenate(
        [np.argpartition(half_norm - block @ gallery.T, count - 1, axis=1)[:, :count] for block in blocks]
    )
