"""Windows in seconds: recordings of one movement at 15, 30 and 120 frames per second give the same windows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from data_clips import SMALL

from marrow.data.augment import AugmentConfig, random_windows
from marrow.data.batch import FixedShapes, most_frames
from marrow.data.draws import Draws
from marrow.data.frames import flat_from_sequences
from marrow.data.sampling import evaluation_batch, training_batch
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.skeleton.sequence import Record, SkeletonSequence

RATES = (15.0, 30.0, 120.0)


def swing(fps: float, seconds: float = 4.0) -> SkeletonSequence:
    """Return joints that swing at half a hertz; a frame is an interval, and shows its middle."""
    frames = round(seconds * fps)
    time = (np.arange(frames) + 0.5) / fps
    joints = np.zeros((1, frames, 4, 3), np.float32)
    joints[0] = np.sin(np.pi * time)[:, None, None] + np.arange(4)[None, :, None]
    return SkeletonSequence(joints, np.ones((1, frames, 4), np.bool_), fps, SMALL, Record(f"at{fps:g}"))


def flat(seconds: float = 4.0):
    return flat_from_sequences([swing(rate, seconds) for rate in RATES], InputConfig(window_frames=96), "cpu")


def test_at_recorded_pace_a_rate_of_the_input_makes_them_alike() -> None:
    recorded = InputConfig(window_frames=96, pace="recorded", test_crop=1.0)
    own = evaluation_batch(flat(), torch.arange(3), recorded)
    assert own.frames().tolist() == [60, 96, 96], "its own frames, as many as the window takes"
    same = evaluation_batch(flat(), torch.arange(3), replace(recorded, fps=20.0))
    assert same.frames().tolist() == [80, 80, 80]
    # Linear interpolation at 15 Hz: at most (pi/15)^2 / 8 off, and held for half a frame at the ends.
    torch.testing.assert_close(same.joints[0], same.joints[2], atol=0.12, rtol=0)
    torch.testing.assert_close(same.joints[0][:, 4:76], same.joints[2][:, 4:76], atol=0.006, rtol=0)


def test_crops_in_seconds_are_the_same_part_of_the_movement() -> None:
    augment = AugmentConfig(
        0.25, 0.75, min_crop_frames=1, min_crop_seconds=1.5, max_crop_seconds=2.0, rotation_radians=0.0
    )
    count, fps = torch.tensor([60, 120, 480]), torch.tensor(RATES)
    for step in range(50):
        draws = Draws(1, step, torch.zeros(3, dtype=torch.int64))  # the same numbers for all three
        windows = random_windows(count, draws, augment, fps)
        seconds = windows.length / fps
        assert bool((seconds >= 1.5 - 1e-6).all())
        assert bool((seconds <= 2.0 + 1e-6).all())
        assert float(seconds.max() - seconds.min()) <= 1 / 15
        assert float((windows.start / fps).max() - (windows.start / fps).min()) <= 1 / 15


def test_a_window_in_seconds_resized_is_the_same_at_any_rate() -> None:
    augment = AugmentConfig(1.0, 1.0, min_crop_frames=1, max_crop_seconds=4.0, rotation_radians=0.0)
    draws = Draws(0, 0, torch.zeros(3, dtype=torch.int64))
    batch = training_batch(flat(), torch.arange(3), draws, InputConfig(window_frames=96), augment)
    torch.testing.assert_close(batch.joints[0][:, 8:88], batch.joints[2][:, 8:88], atol=0.006, rtol=0)


def test_clips_that_are_shorter_than_the_bound_keep_all() -> None:
    augment = AugmentConfig(0.5, 0.5, min_crop_frames=1, min_crop_seconds=10.0)
    windows = random_windows(torch.tensor([60]), Draws(0, 0, torch.arange(1)), augment, torch.tensor([15.0]))
    assert (windows.start.tolist(), windows.length.tolist()) == ([0], [60])


def test_the_host_knows_how_many_frames_there_are_at_most() -> None:
    recorded = InputConfig(window_frames=100, pace="recorded", fps=20.0)
    ones, count = np.ones(3, np.int64), np.array([60, 120, 480])
    assert most_frames(ones, count, recorded, np.array(RATES)).tolist() == [80, 80, 80]  # type: ignore[union-attr]
    shapes = FixedShapes.of_windows(ones, count, np.array(RATES), recorded, 2, 1, whole=True, joints=3)
    assert shapes.usual.joints == 3


@pytest.mark.parametrize(
    "settings", [{"fps": 20.0}, {"fps": 0.0, "pace": "recorded"}, {"fps": -1.0, "pace": "recorded"}]
)
def test_a_rate_needs_recorded_pace(settings) -> None:
    with pytest.raises(ConfigError, match=r"input.fps"):
        InputConfig(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"min_crop_seconds": 2.0, "max_crop_seconds": 1.0},
        {"max_crop_seconds": -1.0},
        {"max_crop_seconds": 0.0},
        {"min_crop_seconds": float("nan")},
    ],
)
def test_bounds_in_seconds_fit_each_other(settings) -> None:
    with pytest.raises(ConfigError, match="crop_seconds"):
        AugmentConfig(**settings)
