"""What every task of action detection must do: `check_detection_task`."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import nn

from marrow.data.batch import Batch
from marrow.data.window import InputConfig
from marrow.models.blocks import DropPath
from marrow.models.encoder import Encoder, Features, FeatureShape
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, Segment, SkeletonSequence
from marrow.store.memory import write_store
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.detection.task import ActionDetection
from marrow.testing.tasks import check_survives, unchanged

FPS = 10.0
CLASSES = ("up", "down", "left")
# What each class, and the background, does to the head of the body, in metres.
_OFFSET = np.array([[0.0, 2.0, 0.0], [0.0, -2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
_HEAD, _DIM = KINECT_V1_20.index("Head"), 4
_RECORDINGS, _TRAIN, _SEGMENTS, _SEGMENT_FRAMES = 10, 6, 9, (8, 14)


class PoseEncoder(Encoder):
    """Say of each time step where the head is, or nothing of it: an encoder whose quality is known.

    Args:
        window_frames: of its input.
        knows: whether the features are the pose, or a vector that is drawn at random for each window and step.
        frames_per_token: frames that are averaged to a step of its time axis.
    """

    def __init__(self, window_frames: int, knows: bool = True, frames_per_token: int = 1) -> None:
        super().__init__()
        self.skeleton, self.frames_per_token = KINECT_V1_20, frames_per_token
        self.input = InputConfig(window_frames=window_frames, test_crop=1.0)
        self.config, self.knows = None, knows
        self.feature_shape = FeatureShape(window_frames // frames_per_token, 1, _DIM)
        self.scale = nn.Parameter(torch.ones(_DIM))

    def forward(self, batch: Batch, drop: DropPath | None = None) -> Features:
        """Return one token per body and time step, without a joint axis."""
        clips, bodies, frames = batch.joints.shape[:3]
        size = (clips, bodies, frames // self.frames_per_token, self.frames_per_token, 3)
        place = batch.joints[:, :, : size[2] * size[3], _HEAD].reshape(size).mean(3)
        if not self.knows:
            place = torch.rand(place.shape, generator=torch.Generator().manual_seed(int(batch.row.sum())))
        constant = torch.ones_like(place[..., :1])
        present = batch.present[:, :, : size[2] * size[3]].reshape(*size[:4], -1).any(4).any(3)
        tokens = torch.cat([place, constant], dim=3) * self.scale * present[..., None]
        return Features(tokens[:, :, :, None], present[..., None])

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the scale."""
        return [[self.scale]]

    def fresh(self, seed: int) -> "PoseEncoder":
        """Return an encoder that knows nothing."""
        return PoseEncoder(self.input.window_frames, False, self.frames_per_token)


def detection_data(folder: Path, test_label: Callable[[int], int] = lambda label: label) -> TaskData:
    """Write untrimmed recordings whose pose tells the class of every frame.

    Args:
        folder: of the store, made.
        test_label: what becomes of the labels of test segments.
    """
    rng, sequences = np.random.default_rng(0), []
    for number in range(_RECORDINGS):
        segments, frame = [], int(rng.integers(5, 10))
        for _ in range(_SEGMENTS):
            length = int(rng.integers(*_SEGMENT_FRAMES))
            segments.append(Segment(frame, frame + length, int(rng.integers(len(CLASSES)))))
            frame += length + int(rng.integers(5, 12))
        shown = np.full(frame, len(CLASSES))
        for segment in segments:
            shown[segment.start_frame : segment.end_frame] = segment.label
        if number >= _TRAIN:
            segments = [replace(segment, label=test_label(segment.label)) for segment in segments]
        joints = _body() + 0.01 * rng.normal(size=(1, frame, len(KINECT_V1_20.joints), 3)).astype(np.float32)
        joints[0, :, _HEAD] += _OFFSET[shown]
        present = np.ones(joints.shape[:3], np.bool_)
        record = Record(f"recording{number}")
        sequences.append(SkeletonSequence(joints, present, FPS, KINECT_V1_20, record, tuple(segments)))
    store = write_store(folder, sequences, source="check_detection_task", classes=CLASSES)
    rows = np.arange(_RECORDINGS)
    return TaskData(store, rows[:_TRAIN], rows[_TRAIN:], protocol="check")


def _body() -> Float32[np.ndarray, "1 1 joint 3"]:
    """Return a pose that alignments can read: the centre below the chest, left and right apart."""
    pose = np.zeros((1, 1, len(KINECT_V1_20.joints), 3), np.float32)
    at = KINECT_V1_20.anchors
    pose[0, 0, at["chest"], 1] = 0.5
    for role, side in (("left_hip", -0.1), ("right_hip", 0.1), ("left_shoulder", -0.2), ("right_shoulder", 0.2)):
        pose[0, 0, at[role], 0] = side
    return pose


def check_detection_task(task: ActionDetection, context: TaskContext | None = None) -> None:
    """Check a task of action detection on encoders whose quality is known.

    - Features that are the pose find everything, also where the order of actions is changed; features without meaning
      find no more than chance.
    - Test segments are not read before predictions are made: with other labels the predictions are the same.
    - The same seed gives the same scores; the encoder comes back unchanged; what was found survives its file, and gives
      the same scores when it is pooled.

    Args:
        task: to be checked; its windows should be some seconds long, and its shuffle control on.
        context: where it computes; the CPU in fp32 by default.

    Raises:
        AssertionError: says which of these does not hold.
    """
    context = context or TaskContext(device="cpu", precision="fp32")
    frames = round(task.config.window_seconds * FPS)
    with tempfile.TemporaryDirectory() as folder:
        true = detection_data(Path(folder) / "true")
        other = detection_data(Path(folder) / "other", test_label=lambda label: (label + 1) % len(CLASSES))

        encoder = PoseEncoder(frames)
        with unchanged(encoder):
            report = _run(task, encoder, true, context)
        for name in ("frame_accuracy", "frame_f1_actions", "segment_f1_50", "edit", "voc_map_iou50"):
            for kind in ("", "_shuffled"):
                value = report.metrics[f"{name}{kind}_percent"]
                assert value >= 98.0, (
                    f"features that are the pose must score 100 percent, got {value:.1f} for {name}{kind}"
                )

        # Chance: a class that is called at random, or always, is right no more often than it is there.
        blind = _run(task, PoseEncoder(frames, knows=False), true, context)
        counts = np.sum([entry["frame_counts"]["true"] for entry in blind.detail["recordings"]], axis=0)
        most = 100.0 * counts.max() / counts.sum()
        for name in ("frame_accuracy", "frame_f1_actions"):
            value = blind.metrics[f"{name}_percent"]
            assert value < most + 10.0, f"features without meaning must score at most {most:.0f} + 10, got {value:.1f}"

        again, elsewhere = (_run(task, PoseEncoder(frames), data, context) for data in (true, other))
        assert _found(report) == _found(again), "the same seed found something else"
        assert report.metrics == again.metrics, "the same seed gave other scores"
        assert _found(report) == _found(elsewhere), "what was found changed with the test segments"
        assert elsewhere.metrics["frame_f1_actions_percent"] < 5.0, "scores do not depend on the test segments"

        check_survives(report)
        assert task.pool([report]).metrics == report.metrics, "a single fold, pooled, has other scores"


def _run(task: ActionDetection, encoder: Encoder, data: TaskData, context: TaskContext) -> Report:
    reports = list(task.run(encoder, data, context))
    assert len(reports) == 1, f"task {task.name!r} returned {len(reports)} reports, expected one"
    return reports[0]


def _found(report: Report) -> list[tuple[Any, Any]]:
    return [(entry["predicted"], entry["proposals"]) for entry in report.detail["recordings"]]
