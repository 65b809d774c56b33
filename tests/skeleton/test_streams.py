import numpy as np
import pytest
import torch

from marrow.errors import ConfigError
from marrow.skeleton.layout import KINECT_V2_25
from marrow.skeleton.streams import STREAMS, bone, motion, stream


def clip(seed=0, absent=0.2):
    rng = np.random.default_rng(seed)
    present = rng.random((2, 2, 6, 25)) >= absent
    return (rng.normal(size=(*present.shape, 3)) * present[..., None]).astype(np.float32), present


def test_motion_of_0_1_4_is_1_3_0():
    joints = np.zeros((1, 3, 1, 3), np.float32)
    joints[0, :, 0, 0] = [0, 1, 4]
    values, present = motion(joints, np.ones((1, 3, 1), bool))
    assert values[0, :, 0, 0].tolist() == [1, 3, 0]
    assert present.all()


def test_motion_across_an_absent_frame_is_absent():
    joints = np.zeros((1, 4, 1, 3), np.float32)
    joints[0, :, 0, 0] = [1, 0, 4, 5]
    present = np.array([True, False, True, True]).reshape(1, 4, 1)
    values, seen = motion(joints, present)
    assert seen[0, :, 0].tolist() == [False, False, True, True]
    assert values[0, :, 0, 0].tolist() == [0, 0, 1, 0]


def test_bones_summed_along_the_chain_rebuild_the_joints():
    joints, _ = clip(absent=0.0)
    bones, _ = bone(joints, np.ones(joints.shape[:-1], bool), KINECT_V2_25)
    root = KINECT_V2_25.index("SpineShoulder")
    for joint in range(25):
        total, at = joints[..., root, :].copy(), joint
        while KINECT_V2_25.parents[at] != at:
            total += bones[..., at, :]
            at = KINECT_V2_25.parents[at]
        np.testing.assert_allclose(total, joints[..., joint, :], atol=1e-5)
    assert not bones[..., root, :].any()


@pytest.mark.parametrize("name", STREAMS)
def test_numpy_and_torch_agree(name):
    joints, present = clip()
    values, seen = stream(joints, present, KINECT_V2_25, name)
    torch_values, torch_seen = stream(torch.tensor(joints), torch.tensor(present), KINECT_V2_25, name)
    np.testing.assert_array_equal(values, torch_values.numpy())
    np.testing.assert_array_equal(seen, torch_seen.numpy())
    assert values.dtype == np.float32
    assert not values[~seen].any()


@pytest.mark.parametrize("name", STREAMS)
def test_coordinates_of_absent_joints_do_not_matter(name):
    joints, present = clip()
    noisy = np.where(present[..., None], joints, np.float32(1e3))
    np.testing.assert_array_equal(
        stream(joints, present, KINECT_V2_25, name)[0], stream(noisy, present, KINECT_V2_25, name)[0]
    )


@pytest.mark.parametrize("name", STREAMS)
def test_the_input_is_left_alone(name):
    joints, present = clip()
    kept = joints.copy(), present.copy()
    stream(joints, present, KINECT_V2_25, name)
    np.testing.assert_array_equal(joints, kept[0])
    np.testing.assert_array_equal(present, kept[1])


def test_unknown_stream_names_the_known_ones():
    with pytest.raises(ConfigError, match="bone_motion"):
        stream(*clip(), KINECT_V2_25, "velocity")
