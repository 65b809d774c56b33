"""Whether a recording is one of some others: whatever it is called, and whatever was done to its size."""

from dataclasses import replace

import numpy as np

from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.use.same_recording import KnownRecordings


def recording(seed: int, frames: int = 9, name: str = "a") -> SkeletonSequence:
    joints = np.random.default_rng(seed).normal(size=(1, frames, 20, 3)).astype(np.float32)
    return SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), 30.0, KINECT_V1_20, Record(name))


def test_only_the_same_positions_are_the_same_recording() -> None:
    known = KnownRecordings.of([recording(0), recording(1), recording(2, frames=10)])
    assert recording(1, name="copied") in known
    assert recording(3) not in known
    assert recording(2, frames=9) not in known  # a part of it
    first = recording(0)
    assert replace(first, joints=first.joints + np.float32(1e-5)) in known  # read again in another unit
    assert replace(first, joints=first.joints * np.float32(1.7)) in known  # an image, whose bodies have no size
    assert replace(first, joints=first.joints + np.float32(0.01)) not in known  # another take of one pose


def test_what_only_one_of_both_has_is_not_compared() -> None:
    whole = recording(0)
    known = KnownRecordings.of([whole])
    present = whole.present.copy()
    present[:, :, :4] = False
    assert replace(whole, joints=np.where(present[..., None], whole.joints, 0), present=present) in known
    other_end = whole.joints.copy()
    other_end[:, :, 3] += 0.1
    assert replace(whole, joints=other_end) in known
    nobody = np.zeros_like(present)
    assert replace(whole, joints=0 * whole.joints, present=nobody) not in known
