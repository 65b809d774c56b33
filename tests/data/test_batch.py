"""Sizes of a step: one for nearly all batches, a larger one for the rest, and nothing is ever left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_clips import SMALL, make_sequence

from marrow.data.augment import AugmentConfig, random_windows
from marrow.data.batch import FixedShapes, Shapes, most_frames
from marrow.data.draws import Draws
from marrow.data.frames import flat_frames
from marrow.data.loader import ResidentLoader, StreamingLoader
from marrow.data.sampling import training_batch
from marrow.data.window import InputConfig, frames_at_pace
from marrow.models.hierarchical_transformer import HierarchicalTransformer, HierarchicalTransformerConfig
from marrow.objectives.hi_trs import HiTRS, HiTRSConfig
from marrow.store.memory import write_store

RECORDED = InputConfig(60, pace="recorded", min_frames=15)
CROPS = (AugmentConfig(), AugmentConfig(0.1, 0.9, 1), AugmentConfig(one_of_each=1.0))


def test_most_steps_have_one_size_and_no_body_is_ever_left_out():
    """100 clips of one body and 100 of two, 50 at a time: 75 bodies, deviation sqrt(50) / 2; four more are 89.1."""
    count = np.repeat([1, 2], 100)
    shapes = FixedShapes(count, 50, 3, whole=True)
    assert (shapes.usual, shapes.largest) == (Shapes(96, whole=True), Shapes(150, whole=True))
    assert shapes.of(np.arange(75, 125)) == shapes.usual
    assert shapes.of(np.arange(100, 150)) == shapes.largest  # all of two
    assert FixedShapes(np.ones(9, np.int64), 8, 1, whole=False).usual.bodies == 8


def test_frames_have_one_size_too():
    """100 clips of 20 frames and 100 of 60, 50 at a time: 2,000 frames, deviation sqrt(50) * 20; four more: 2,565.7.

    With one of zeros behind all, that is filled up to 41 * 64 = 2,624.
    """
    bodies, frames = np.ones(200, np.int64), np.repeat([20, 60], 100)
    shapes = FixedShapes(bodies, 50, 2, whole=False, frames=frames, window_frames=70)
    assert (shapes.usual, shapes.largest) == (Shapes(56, False, 2623), Shapes(100, False, 7000))
    assert shapes.of(np.arange(75, 125)) == shapes.usual
    assert shapes.of(np.arange(100, 150)) == shapes.largest  # as many bodies as ever, and 3,000 frames
    # Rows that are all full have no more.
    assert FixedShapes(bodies, 2, 1, whole=False, frames=frames, window_frames=60).usual.frames == 120


def test_a_clip_has_no_more_frames_than_the_host_expects():
    """However it is cropped: its own, 15 at least, and as many as the window at most, of each of its bodies."""
    bodies, lengths = np.array([1, 2, 1, 1, 1, 2]), np.array([3, 15, 16, 40, 90, 200])
    most = most_frames(bodies, lengths, RECORDED)
    assert most is not None
    assert most.tolist() == [15, 30, 16, 40, 60, 120]
    assert most_frames(bodies, lengths, InputConfig(60)) is None
    for augment in CROPS:
        for step in range(20):
            windows = random_windows(torch.from_numpy(lengths), Draws(0, step, torch.arange(6)), augment)
            _, frame_count = frames_at_pace(windows, RECORDED, fixed=True)
            assert frame_count is not None
            assert (bodies * frame_count.numpy() <= most).all()


@pytest.mark.parametrize("loader", [ResidentLoader, StreamingLoader])
def test_loaders_tell_how_many_frames_a_batch_has_at_most(loader: type, tmp_path: Path):
    sequences = [make_sequence(10 + 3 * number, bodies=1 + number % 2, seed=number) for number in range(24)]
    store = write_store(tmp_path / "store", sequences, source="test")
    where = {"batch_clips": 8, "seed": 0, "device": "cpu", "micro_batches": 2, "fixed": True}
    for augment in CROPS:
        batches = loader(store, np.arange(24), RECORDED, augment, **where)
        for _ in range(6):
            for batch, _ in batches.next_step():
                bodies = batch.present.flatten(2).any(2).sum(1)
                assert batch.shapes.frames is not None
                assert int((bodies * batch.frames()).sum()) <= batch.shapes.frames


def test_a_batch_of_long_clips_gets_the_larger_size_and_loses_nothing(tmp_path: Path):
    """6 clips of 60 frames and 60 of 16, 6 at a time: 120, deviation sqrt(6) * 12.65; four more are 243.9.

    Filled up these are 255. The long ones together have 360.
    """
    sequences = [make_sequence(60 if number < 6 else 16, seed=number) for number in range(66)]
    store = write_store(tmp_path / "store", sequences, source="test")
    still = AugmentConfig(1.0, 1.0)
    frames = flat_frames(store, np.arange(66), RECORDED, "cpu")
    lengths = most_frames(np.ones(66, np.int64), np.asarray(store.frame_count, np.int64), RECORDED)
    shapes = FixedShapes(np.ones(66, np.int64), 6, 1, whole=False, frames=lengths, window_frames=60)
    assert (shapes.usual.frames, shapes.largest.frames) == (255, 360)

    torch.manual_seed(0)
    size = HierarchicalTransformerConfig((8, 16, 24), (1, 1, 1), heads=2, head_width=8, max_clips=9, dropout=0.0)
    objective = HiTRS(HiTRSConfig(), HierarchicalTransformer(size, RECORDED, SMALL)).double()
    draws = Draws(0, 0, torch.arange(6))

    def loss_of(known: Shapes | None) -> float:
        batch = training_batch(frames, torch.arange(6), draws, RECORDED, still, known)
        batch = replace(batch, joints=batch.joints.double())
        return float(objective(batch, objective.sample(batch, draws)).loss_sum.detach())

    chosen = shapes.of(np.arange(6))
    assert chosen == shapes.largest
    assert loss_of(chosen) == pytest.approx(loss_of(None), rel=1e-12)
    # The usual size does not hold all of their frames.
    with pytest.raises(IndexError):
        loss_of(shapes.usual)
