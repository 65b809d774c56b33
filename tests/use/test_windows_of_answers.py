"""Which parts of a recording are asked about."""

from itertools import pairwise

import numpy as np
import pytest

from marrow.errors import ConfigError
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.use.inputs import Input
from marrow.use.predict import parts_of, windows


@pytest.mark.parametrize(
    ("frames", "fps", "every", "expected"),
    [
        (100, 10.0, None, [(0, 100)]),
        (80, 10.0, 4.0, [(0, 40), (40, 80)]),
        (100, 10.0, 4.0, [(0, 40), (40, 80), (80, 100)]),  # what is left fills half of a window
        (99, 10.0, 4.0, [(0, 40), (40, 99)]),  # and here less
        (7, 10.0, 4.0, [(0, 7)]),  # shorter than a window
        (10, 25.0, 0.1, [(0, 2), (2, 5), (5, 8), (8, 10)]),  # 2.5 frames: 0, 2.5, 5, 7.5
    ],
)
def test_windows(frames: int, fps: float, every: float | None, expected: list[tuple[int, int]]) -> None:
    assert windows(frames, fps, every) == expected


def test_windows_of_an_hour_follow_each_other_without_a_gap() -> None:
    cut = windows(3600 * 30, 30.0, 2.0)
    assert len(cut) == 1800
    assert cut[0] == (0, 60)
    assert cut[-1][1] == 108000
    assert all(before[1] == after[0] for before, after in pairwise(cut))


def test_a_window_needs_two_frames() -> None:
    with pytest.raises(ConfigError, match=r"0\.0667"):
        windows(100, 30.0, 0.05)


def _two_people() -> Input:
    """20 frames at 10 per second: one person all the time, the other from frame 4 to 13."""
    present = np.zeros((2, 20, 20), np.bool_)
    present[0] = True
    present[1, 4:14] = True
    joints = np.ones((2, 20, 20, 3), np.float32) * np.arange(1, 3, dtype=np.float32)[:, None, None, None]
    sequence = SkeletonSequence(joints * present[..., None], present, 10.0, KINECT_V1_20, Record("duo"))
    return Input("duo.csv", sequence)


def test_people_together_and_each_while_seen() -> None:
    parts = list(parts_of(_two_people(), None))
    asked = [(part.answer.person, part.answer.start_seconds, part.answer.end_seconds) for part in parts]
    assert asked == [(None, 0.0, 2.0), (1, 0.0, 2.0), (2, 0.4, 1.4)]
    second = parts[2].sequence
    assert second is not None
    assert second.joints.shape == (1, 10, 20, 3)
    assert (second.joints == 2.0).all()


def test_windows_in_which_a_person_is_not_seen() -> None:
    parts = list(parts_of(_two_people(), 0.5))
    asked = [(part.answer.person, part.answer.start_seconds, part.answer.end_seconds) for part in parts]
    assert [who for who, *_ in asked] == [None, 1, 2, None, 1, 2, None, 1, 2, None, 1]
    assert asked[2] == (2, 0.4, 0.5)


def test_where_nobody_is_seen_there_is_no_answer() -> None:
    given = _two_people()
    empty = np.zeros_like(given.sequence.present)
    sequence = SkeletonSequence(np.zeros_like(given.sequence.joints), empty, 10.0, KINECT_V1_20, Record("room"))
    parts = list(parts_of(Input("room.csv", sequence), 1.0))
    assert [part.sequence for part in parts] == [None, None]
    assert [part.answer.label for part in parts] == [None, None]
