"""Forecasts by least squares, on motion whose weights are known."""

import numpy as np
import pytest
import torch

from marrow.data.recordings import Recordings, sliding
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from marrow.tasks.prediction.baselines import continued, fit_weights

JOINTS = len(KINECT_V1_20.joints)
OBSERVED, FUTURE, RECENT = 6, 3, 4


def fit_on(tmp_path, clips):
    """Solve on windows of clips, each [frame joint 3] and its flags."""
    sequences = [
        SkeletonSequence(joints[None].astype(np.float32), present[None], 25.0, KINECT_V1_20, Record(f"clip{row}"))
        for row, (joints, present) in enumerate(clips)
    ]
    recordings = Recordings.of(write_store(tmp_path / "store", sequences, source="test"), np.arange(len(clips)))
    cuts = sliding(recordings, OBSERVED + FUTURE, 1, whole=False)
    return fit_weights(recordings, cuts, OBSERVED, RECENT, centre=0)


def decaying(seed, frames=40):
    """The centre's steps are halved from frame to frame, what the others do relative to it is turned back."""
    rng = np.random.default_rng(seed)
    of_centre = rng.normal(size=(1, 1, 3)) * 0.5 ** np.arange(frames)[:, None, None]
    relative = rng.normal(size=(1, JOINTS, 3)) * (-1.0) ** np.arange(frames)[:, None, None]
    relative[:, 0] = 0.0
    return np.cumsum(of_centre + relative, axis=0)


def test_weights_continue_the_centre_and_the_posture_each_in_its_own_way(tmp_path):
    clips = [decaying(seed, frames=9) for seed in range(8)]
    weights = fit_on(tmp_path, [(joints, np.ones(joints.shape[:2], np.bool_)) for joints in clips])
    poses = torch.from_numpy(clips[0][None, None, :OBSERVED])
    moved = continued(torch.from_numpy(weights), poses, 0)[0, 0].numpy()
    expected = clips[0][OBSERVED:] - clips[0][OBSERVED - 1]
    # The last step of the centre is 0.5^5 of its first; it goes on by 1/2, 3/4 and 7/8 of it.
    np.testing.assert_allclose(expected[:, 0], np.outer([0.5, 0.75, 0.875], np.diff(clips[0][4:6, 0], axis=0)[0]))
    np.testing.assert_allclose(moved, expected, atol=1e-4)


def test_joints_with_gaps_are_not_learned_from(tmp_path):
    clips = [decaying(seed, frames=9) for seed in range(8)]
    flags = [np.ones(joints.shape[:2], np.bool_) for joints in clips]
    whole = fit_on(tmp_path / "whole", list(zip(clips, flags, strict=True)))
    for joints, present in zip(clips, flags, strict=True):
        present[7, 3] = False
        joints[7, 3] = 99.0
    np.testing.assert_allclose(fit_on(tmp_path / "gaps", list(zip(clips, flags, strict=True))), whole, atol=1e-5)
    # Without its centre a body says nothing, and nothing is said to move.
    for present in flags:
        present[8, 0] = False
    assert not fit_on(tmp_path / "none", list(zip(clips, flags, strict=True))).any()


def test_bodies_that_stand_still_are_said_to_stay(tmp_path):
    still = np.ones((9, JOINTS, 3))
    assert not fit_on(tmp_path, [(still, np.ones(still.shape[:2], np.bool_))]).any()


@pytest.mark.parametrize("turn", [0.0, 2.0])
def test_weights_do_not_depend_on_how_a_body_is_turned_or_how_large_it_is(tmp_path, turn):
    clips = [decaying(seed, frames=9) for seed in range(8)]
    matrix = 3.0 * np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    ours, theirs = (
        fit_on(tmp_path / name, [(joints @ by.T, np.ones(joints.shape[:2], np.bool_)) for joints in clips])
        for name, by in (("plain", np.eye(3)), ("turned", matrix))
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
