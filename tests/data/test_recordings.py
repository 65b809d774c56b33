"""Windows out of recordings: places and lengths by hand, alignment by a window's own frames, batches that resume."""

import numpy as np
import pytest
import torch

from marrow.data.augment import AugmentConfig
from marrow.data.recordings import CutLoader, Recordings, cut_batches, cut_frames, sliding
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.skeleton.geometry import alignment_of
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store


def store_of(tmp_path, *frame_counts):
    rng = np.random.default_rng(0)
    sequences = []
    for number, frames in enumerate(frame_counts):
        joints = rng.normal(size=(1, frames, 20, 3)).astype(np.float32)
        present = np.ones(joints.shape[:3], bool)
        sequences.append(SkeletonSequence(joints, present, 30.0, KINECT_V1_20, Record(f"r{number}")))
    return write_store(tmp_path / "store", sequences, source="test")


def test_sliding_windows_by_hand(tmp_path):
    recordings = Recordings.of(store_of(tmp_path, 10, 3), np.arange(2))
    # 10 frames, windows of 4 every 3: 0, 3, 6 reaches the end exactly; 3 frames are one short window.
    assert sliding(recordings, 4, 3).tolist() == [[0, 0, 4], [0, 3, 4], [0, 6, 4], [1, 0, 3]]
    # Every 4: 0, 4 leaves frames 8 and 9, so one more is moved to the end.
    assert sliding(recordings, 4, 4).tolist() == [[0, 0, 4], [0, 4, 4], [0, 6, 4], [1, 0, 3]]
    assert sliding(recordings, 4, 4, whole=False).tolist() == [[0, 0, 4], [0, 4, 4]]
    with pytest.raises(ConfigError, match="stride of at least one frame"):
        sliding(recordings, 4, 0)


def test_windows_are_aligned_by_their_own_first_frames(tmp_path):
    store = store_of(tmp_path, 12)
    recordings, input = Recordings.of(store, np.arange(1)), InputConfig(window_frames=6, alignment="body")
    frames = cut_frames(recordings, np.array([[0, 2, 8], [0, 4, 8]]), input, "cpu", aligned_by=5)
    joints, present = store.frames(0)
    for cut, start in enumerate((2, 4)):
        matrix, origin = alignment_of(joints[:, start : start + 5], present[:, start : start + 5], KINECT_V1_20, "body")
        np.testing.assert_array_equal(frames.matrix[cut].numpy(), matrix)
        np.testing.assert_array_equal(frames.origin[cut].numpy(), origin)
    np.testing.assert_array_equal(frames.joints[8:].numpy(), joints[0, 4:12])


def test_batches_hold_whole_windows_in_order(tmp_path):
    recordings = Recordings.of(store_of(tmp_path, 10), np.arange(1))
    cuts = sliding(recordings, 4, 3)
    first, second = cut_batches(recordings, cuts, InputConfig(window_frames=4, test_crop=0.5), 2, "cpu")
    assert first.row.tolist() == [0, 1]
    assert second.row.tolist() == [2]
    # Four frames in a window of four, uncropped whatever the encoder's test crop: the frames themselves.
    torch.testing.assert_close(second.joints[0, 0], torch.from_numpy(recordings.arrays[0][0][0, 6:10].copy()))


def test_resampling_changes_rate_and_length(tmp_path):
    recordings = Recordings.of(store_of(tmp_path, 60), np.arange(1), fps=25.0)
    assert recordings.fps == (25.0,)
    assert recordings.frame_count.tolist() == [50]


def test_loader_resumes_with_the_same_batches(tmp_path):
    recordings = Recordings.of(store_of(tmp_path, 40), np.arange(1))
    input, augment = InputConfig(window_frames=8), AugmentConfig(one_of_each=1.0)

    def loader():
        return CutLoader(recordings, sliding(recordings, 8, 2), input, augment, batch_clips=3, seed=1, device="cpu")

    ours = loader()
    steps = [ours.next_step()[0][0] for _ in range(9)]
    assert ours.steps_per_epoch == 5
    theirs = loader()
    for _ in range(4):
        theirs.next_step()
    again = loader()
    again.load_state_dict(theirs.state_dict())
    for step in steps[4:]:
        torch.testing.assert_close(again.next_step()[0][0].joints, step.joints)
