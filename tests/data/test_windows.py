"""Which frames of a clip are taken, at random and in the middle."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marrow.data.augment import AugmentConfig, random_windows
from marrow.data.draws import Draws
from marrow.data.window import centre_windows


@settings(max_examples=60, deadline=None)
@given(
    frame_count=st.lists(st.integers(1, 5000), min_size=1, max_size=20),
    low=st.floats(0.01, 1.0),
    high=st.floats(0.01, 1.0),
    min_crop=st.integers(1, 200),
    seed=st.integers(0, 1 << 31),
)
def test_random_windows_stay_inside_their_clip(
    frame_count: list[int], low: float, high: float, min_crop: int, seed: int
):
    augment = AugmentConfig(min(low, high), max(low, high), min_crop)
    count = torch.tensor(frame_count)
    chosen = random_windows(count, Draws(seed, 3, torch.arange(len(count))), augment)
    assert (chosen.start >= 0).all()
    assert (chosen.start + chosen.length <= count).all()
    assert (chosen.length >= count.clamp(max=min_crop)).all()


def test_random_windows_have_the_stated_distribution():
    # 20,000 clips of 200 frames: lengths floor(p * 200), p uniform on [0.5, 1), average 149.5 (standard error 0.2);
    # given its length, the start is uniform on [0, 200 - length]: average half of that.
    count = torch.full((20_000,), 200)
    chosen = random_windows(count, Draws(5, 0, torch.arange(20_000)), AugmentConfig())
    assert abs(chosen.length.float().mean() - 149.5) < 1.0
    assert chosen.length.min() == 100
    assert chosen.length.max() == 199
    slack = (200 - chosen.length).float()
    assert abs((chosen.start / slack).mean() - 0.5) < 0.01
    assert (chosen.start == 0).any()
    assert (chosen.start == slack).any()


@pytest.mark.parametrize("frame_count", [1, 2, 63])
def test_clips_shorter_than_the_shortest_crop_are_taken_whole(frame_count: int):
    count = torch.full((50,), frame_count)
    chosen = random_windows(count, Draws(0, 0, torch.arange(50)), AugmentConfig())
    assert (chosen.start == 0).all()
    assert (chosen.length == frame_count).all()


def test_centre_windows_drop_what_the_released_feeder_drops():
    # int(0.05 * L / 2): 39 -> 0.975 -> 0; 40 -> 1; 79 -> 1; 80 -> 2; 300 -> 7.5 -> 7.
    count = torch.tensor([1, 39, 40, 79, 80, 300])
    chosen = centre_windows(count, 0.95)
    assert chosen.start.tolist() == [0, 0, 1, 1, 2, 7]
    assert chosen.length.tolist() == [1, 39, 38, 77, 76, 286]
    every_length = torch.arange(1, 3000)
    assert centre_windows(every_length, 0.95).start.tolist() == [int(0.05 * L / 2) for L in range(1, 3000)]
    assert centre_windows(every_length, 1.0).length.tolist() == list(range(1, 3000))
