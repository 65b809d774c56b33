"""What is no list of recordings is told apart from what is."""

import numpy as np
import pytest

from marrow.errors import DataError
from marrow.skeleton.layout import KINECT_V2_25
from marrow.skeleton.sequence import Record, SkeletonSequence, as_sequences


def test_one_recording_alone_is_no_list() -> None:
    one = SkeletonSequence(
        np.zeros((1, 2, 25, 3), np.float32), np.ones((1, 2, 25), bool), 30.0, KINECT_V2_25, Record("wave_1")
    )
    assert as_sequences([one]) == [one]
    assert as_sequences(recording for recording in (one, one)) == [one, one]
    with pytest.raises(DataError, match=r"'wave_1'.*\[recording\]"):
        as_sequences(one)
    with pytest.raises(DataError, match="got int"):
        as_sequences(5)
    with pytest.raises(DataError, match="got ndarray at place 1"):
        as_sequences([one, one.joints])
