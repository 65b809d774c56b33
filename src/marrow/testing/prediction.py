"""What motion prediction must do, on motion whose future is known."""

import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from marrow.data.window import InputConfig
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from marrow.tasks.base import TaskContext, TaskData
from marrow.tasks.prediction.baselines import raw_prediction
from marrow.tasks.prediction.task import MotionPrediction
from marrow.testing.tasks import check_survives, unchanged

_TRAIN, _TEST = 6, 4


def check_prediction_task(task: MotionPrediction, context: TaskContext | None = None) -> None:
    """Check motion prediction on bodies that each glide at a velocity of their own.

    - Constant velocity scores 0 mm. Zero velocity scores the body's mean speed times the horizon, and root-centred 0.
    - The future is not read before it is forecast: with other test futures the forecasts are the same.
    - The same seed gives the same scores; the encoder comes back unchanged; a report survives its file; one fold alone
      pools to itself.

    Args:
        task: to be checked; the smaller the better, since it trains three times.
        context: where it computes; the CPU in fp32 by default.

    Raises:
        AssertionError: says which of these does not hold.
    """
    context = context or TaskContext(device="cpu", precision="fp32")
    config = task.config
    frames = config.observed_frames + config.predicted_frames
    rng = np.random.default_rng(0)
    velocity = rng.normal(size=(_TRAIN + _TEST, 3))
    gliding = [_gliding(of_clip, frames, config.fps) for of_clip in velocity]
    # Other futures of the test clips: each stands still, a metre aside.
    other = [clip.copy() for clip in gliding]
    for clip in other[_TRAIN:]:
        clip[config.observed_frames :] = clip[config.observed_frames - 1] + 1.0
    encoder = PatchTransformer(
        PatchTransformerConfig(width=16, depth=1, heads=2, patch_frames=4),
        InputConfig(window_frames=8, alignment="body"),
        KINECT_V1_20,
    ).fresh(0)
    with tempfile.TemporaryDirectory() as folder:
        data = _task_data(Path(folder) / "gliding", gliding, config.fps)
        standing = _task_data(Path(folder) / "standing", other, config.fps)

        speed = float(np.linalg.norm(velocity[_TRAIN:], axis=1).mean())
        for report in raw_prediction(data, context, config):
            for name, value in report.metrics.items():
                moves = report.task.endswith("zero velocity") and "root" not in name
                expected = speed * _horizon_ms(name) if moves else 0.0
                assert abs(value - expected) < 0.01, f"{report.task}: {name} must be {expected:.2f}, got {value:.2f}"

        with unchanged(encoder):
            first, again, blind = (list(task.run(encoder, clips, context)) for clips in (data, data, standing))
        assert first, f"task {task.name!r} returned no report"
        for ours, same, theirs in zip(first, again, blind, strict=True):
            assert ours.metrics == same.metrics, f"{ours.task}: the same seed gave other scores"
            assert ours.num_labels_used == 0, f"{ours.task}: num_labels_used must be 0"
            forecasts, others = ([clip["forecast"] for clip in part.detail["examples"]] for part in (ours, theirs))
            assert forecasts == others, f"{ours.task}: a forecast changed with what came after it"
            assert ours.metrics != theirs.metrics, f"{ours.task}: scores do not depend on what came"
            check_survives(ours)
            assert task.pool([ours]) == ours, f"{ours.task}: one fold alone must pool to itself"


def _horizon_ms(metric: str) -> int:
    return int(metric.removesuffix("ms_mm").rsplit("_", 1)[1])


def _gliding(velocity: np.ndarray, frames: int, fps: float) -> Float32[np.ndarray, "frame joint 3"]:
    """Move one rigid body in a straight line, in metres per second, without turning."""
    pose = np.random.default_rng(1).normal(size=(len(KINECT_V1_20.joints), 3)) * 0.2
    time = np.arange(frames)[:, None, None] / fps
    return (pose + velocity * time).astype(np.float32)


def _task_data(path: Path, clips: list[np.ndarray], fps: float) -> TaskData:
    """Write a store without labels, of which the last clips are for testing."""
    sequences = [
        SkeletonSequence(clip[None], np.ones((1, *clip.shape[:2]), np.bool_), fps, KINECT_V1_20, Record(f"clip{row}"))
        for row, clip in enumerate(clips)
    ]
    rows = np.arange(len(clips))
    return TaskData(write_store(path, sequences, source="check"), rows[:_TRAIN], rows[_TRAIN:], protocol="check")
