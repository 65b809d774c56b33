import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from marrow.skeleton.layout import KINECT_V2_25
from marrow.viewer.motion import ABSENT, Reel, pack_motion, player_script


def clip(bodies=2, frames=50, reach=0.5, seed=0):
    rng = np.random.default_rng(seed)
    joints = rng.normal(0, reach, (bodies, frames, 25, 3)).astype(np.float32)
    present = rng.random((bodies, frames, 25)) > 0.1
    return joints, present


def distances(points):
    return np.linalg.norm(points[..., None, :, :] - points[..., :, None, :], axis=-1)


def test_packing_keeps_shapes_to_millimetres():
    joints, present = clip()
    [packed] = pack_motion([(joints, present)], KINECT_V2_25, 15.0, 60)
    back, there = packed.positions()
    assert packed.unit_metres == 0.002
    assert packed.seconds == pytest.approx(50 / 15)
    assert np.array_equal(there, present)
    both = present[..., :, None] & present[..., None, :]
    # Turned and shifted as a whole: distances stay, up to rounding of each end by a millimetre per axis.
    assert np.abs(distances(back) - distances(joints))[both].max() < 2 * np.sqrt(3) * 0.001 + 1e-5
    # Upwards stays upwards.
    rise = (back[..., 1] - joints[..., 1])[present]
    assert np.ptp(rise) <= 0.0021


def test_the_front_is_the_front():
    # A person whose left-to-right axis points away from the camera (+z): turned onto +x, to the right.
    joints = np.zeros((1, 3, 25, 3), np.float32)
    for name, z in (("HipLeft", -0.2), ("HipRight", 0.2), ("ShoulderLeft", -0.2), ("ShoulderRight", 0.2)):
        joints[:, :, KINECT_V2_25.index(name), 2] = z
    [packed] = pack_motion([(joints, np.ones((1, 3, 25), bool))], KINECT_V2_25, 15.0, 60)
    back, _ = packed.positions()
    assert back[0, 0, KINECT_V2_25.index("HipRight")] == pytest.approx([0.2, 0, 0], abs=0.0011)
    assert back[0, 0, KINECT_V2_25.index("HipLeft")] == pytest.approx([-0.2, 0, 0], abs=0.0011)


def test_many_frames_are_thinned_and_far_clips_fit():
    joints, present = clip(frames=301)
    joints[..., 0] += np.linspace(0, 200, 301)[None, :, None]
    [packed] = pack_motion([(joints, present)], KINECT_V2_25, 15.0, 60)
    assert packed.values.shape == (60, 2, 25, 3)
    assert packed.seconds == pytest.approx(301 / 15)
    # 200 metres and some noise: about 100 to either side, in 32,767 steps of 3 mm.
    assert 0.0029 < packed.unit_metres < 0.0033


def test_fifteen_frames_per_second_are_enough():
    [packed] = pack_motion([clip(frames=50)], KINECT_V2_25, 30.0, 60)
    assert len(packed.values) == 25
    assert packed.seconds == pytest.approx(50 / 30)


def test_versions_of_a_clip_lie_over_each_other():
    joints, present = clip(bodies=1)
    moved = joints + np.float32(0.1)
    truth, other = pack_motion([(joints, present), (moved, present)], KINECT_V2_25, 15.0, 60)
    difference = (other.positions()[0] - truth.positions()[0])[present]
    # The shift of 0.1 in x, y and z is turned, but the same everywhere.
    assert np.abs(difference - difference.mean(0)).max() < 0.0041
    assert np.linalg.norm(difference.mean(0)) == pytest.approx(0.1 * np.sqrt(3), abs=0.002)


def test_nobody_is_seen():
    joints, present = clip()
    [packed] = pack_motion([(joints, np.zeros_like(present))], KINECT_V2_25, 15.0, 60)
    assert (packed.values == ABSENT).all()


def test_the_page_unpacks_what_was_packed():
    """The player, run by Node, reads the same numbers."""
    reel = Reel(KINECT_V2_25)
    for seed, bodies in ((0, 1), (1, 2)):
        reel.add(pack_motion([clip(bodies, 7, seed=seed)], KINECT_V2_25, 15.0, 60)[0])
    code = (
        player_script() + f"; Marrow.unpackReel({json.dumps(reel.payload())}).then((reel) => "
        "console.log(JSON.stringify(reel.clips.map((clip) => [clip.frames, clip.bodies, Array.from(clip.values)]))));"
    )
    node = shutil.which("node")
    assert node, "Node must be on the path, see CONTRIBUTING.md"
    done = subprocess.run([node, "-e", code], capture_output=True, text=True, check=True)
    for (frames, bodies, values), motion in zip(json.loads(done.stdout), reel.motions, strict=True):
        assert np.array_equal(np.array(values, np.int16).reshape(frames, bodies, 25, 3), motion.values)


def test_two_dimensions_are_packed_as_they_were_seen():
    """Left at the left of the image stays there: nothing is turned to the front."""
    joints, present = clip(bodies=1)
    joints[..., 2] = 0
    flat = replace(KINECT_V2_25, dimensions=2)
    [packed] = pack_motion([(joints, present)], flat, 15.0, 60)
    moved = (packed.positions()[0] - joints)[present]
    # Shifted as a whole, to a millimetre.
    assert np.ptp(moved, axis=0).max() <= 0.0021
    assert (packed.positions()[0][..., 2] == 0).all()
    assert [Reel(layout).payload()["flat"] for layout in (flat, KINECT_V2_25)] == [True, False]


def test_where_x_points_up_it_does_so_in_the_picture():
    joints, present = clip(bodies=1)
    joints[..., 2] = 0
    [packed] = pack_motion([(joints, present)], replace(KINECT_V2_25, dimensions=2, up="x"), 15.0, 60)
    moved = (packed.positions()[0][..., :2] - joints[..., [1, 0]])[present]
    assert np.ptp(moved, axis=0).max() <= 0.0021
