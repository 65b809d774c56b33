"""CMU motion capture: forward kinematics by hand, names, protocol, flips that are counted, and malformed files."""

import numpy as np
import pytest

from marrow.errors import ConfigError, DataError, ParseError
from marrow.readers import SkipRecording
from marrow.readers.cmu_mocap import CMUMocap
from marrow.skeleton.layout import CMU_38, mirror_by_name

UNIT = 0.056444
# Rest pose, in the unit of the files: sums of offsets from the hips outwards.
REST = {
    "Hips": (0, 0, 0),
    "LHipJoint": (0, 0, 0),
    "LeftUpLeg": (1.65674, -1.80282, 0.62477),
    "LeftFoot": (6.7463, -15.78628, 0.62477),
    "LeftToeBase_end": (6.94334, -16.32764, 3.88307),
    "RightFoot": (-6.67352, -15.71283, 0.62476),
    "LowerBack": (0, 0, 0),
    "Spine1": (0.02982, 4.11886, -0.20033),
    "Neck": (0.02982, 4.11886, -0.20033),
    "Head_end": (0.08429, 8.87198, -0.20336),
    "LeftArm": (3.57187, 5.02322, -0.37397),
    "LeftForeArm": (8.437, 5.02322, -0.37397),
    "LeftHand": (11.79254, 5.02322, -0.37397),
    "LThumb_end": (12.33374, 5.02322, 0.16723),
    "RightHand": (-11.859, 4.8788, -0.52649),
}


def line(root=(0, 0, 0), **turned):
    """One frame of text; `turned` gives the exponential map of some joints by name."""
    values = np.zeros(117)
    values[:3] = root
    for joint, angles in turned.items():
        at = 3 + 3 * CMU_38.index(joint)
        values[at : at + 3] = angles
    return ",".join(f"{value:.9g}" for value in values)


def write(folder, name, *lines):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return file


def read(folder, *lines, reader=CMUMocap()):  # noqa: B008
    write(folder, "train/walking/walking_1.txt", line(), *lines)
    (record,) = reader.records(folder)
    return reader.read(folder, record)


def test_rest_pose(tmp_path):
    pose = read(tmp_path, line()).joints[0, 0]
    for joint, place in REST.items():
        np.testing.assert_allclose(pose[CMU_38.index(joint)], UNIT * np.array(place), atol=1e-6, err_msg=joint)


def test_an_arm_that_is_turned(tmp_path):
    """With rows as vectors, a quarter about z takes x to -y: (4.86513, 0, 0) [[0, -1, 0], [1, 0, 0], [0, 0, 1]]."""
    pose = read(tmp_path, line(LeftArm=(0, 0, np.pi / 2))).joints[0, 0] / UNIT
    np.testing.assert_allclose(pose[CMU_38.index("LeftArm")], REST["LeftArm"], atol=1e-5)
    # 5.02322 - 4.86513, and 3.35554 less for the hand.
    np.testing.assert_allclose(pose[CMU_38.index("LeftForeArm")], (3.57187, 0.15809, -0.37397), atol=1e-5)
    np.testing.assert_allclose(pose[CMU_38.index("LeftHand")], (3.57187, -3.19745, -0.37397), atol=1e-5)
    np.testing.assert_allclose(pose[CMU_38.index("RightHand")], REST["RightHand"], atol=1e-5)


def test_the_hips_are_where_the_file_says_unless_they_are_left_out(tmp_path):
    """A quarter about y takes (x, y, z) to (-z, y, x); the place is that of the line, not a step."""
    turned = line((1, 20, 3), Hips=(0, np.pi / 2, 0))
    pose = read(tmp_path, turned, turned).joints[0, 1] / UNIT
    np.testing.assert_allclose(pose[0], (1, 20, 3), atol=1e-4)
    np.testing.assert_allclose(pose[CMU_38.index("LeftUpLeg")] - pose[0], (-0.62477, -1.80282, 1.65674), atol=1e-4)
    still = read(tmp_path, turned, turned, reader=CMUMocap(zero_root=True)).joints[0, 1] / UNIT
    np.testing.assert_allclose(still[CMU_38.index("LeftFoot")], REST["LeftFoot"], atol=1e-4)


def test_the_first_line_is_left_out_and_frames_are_counted(tmp_path):
    sequence = read(tmp_path, *[line((frame, 0, 0)) for frame in range(1, 10)])
    assert (sequence.frame_count, sequence.fps) == (9, 120.0)
    np.testing.assert_allclose(sequence.joints[0, :, 0, 0] / UNIT, range(1, 10), atol=1e-5)
    assert sequence.notes == ("the first line was left out: it is the rest pose of the conversion to BVH",)
    sparse = CMUMocap(stride=4).read(tmp_path, sequence.record)
    assert sparse.fps == 30.0
    np.testing.assert_allclose(sparse.joints[0, :, 0, 0] / UNIT, (1, 5, 9), atol=1e-5)


def test_flips_of_the_hips_are_counted(tmp_path):
    """Turns about y of 0, 9, 20, 20, 0 degrees, then a whole turn further: steps of 9, 11, 0, 20 and 0 degrees."""
    degrees = (0, 9, 20, 20, 0, 360)
    lines = [line(Hips=(0, np.radians(angle), 0)) for angle in degrees]
    flipped = "the hips turn by more than 10 degrees from one frame to the next"
    assert read(tmp_path, *lines).notes.count(flipped) == 2
    assert read(tmp_path, *lines, reader=CMUMocap(zero_root=True)).notes.count(flipped) == 0


def test_layout():
    assert CMU_38.mirror == mirror_by_name(CMU_38.joints)
    assert CMU_38.sides.count("left") == CMU_38.sides.count("right") == 15
    assert [joint for joint, side in zip(CMU_38.joints, CMU_38.sides, strict=True) if side == "middle"] == [
        *("Hips", "LowerBack", "Spine", "Spine1", "Neck", "Neck1", "Head", "Head_end")
    ]
    # Left is at +x in the rest pose.
    for joint, place in REST.items():
        side = CMU_38.sides[CMU_38.index(joint)]
        assert side == "middle" or joint == "LHipJoint" or (place[0] > 0) == (side == "left")


def test_records_and_protocol(tmp_path):
    for name in ("train/walking/walking_2", "train/walking/walking_10", "train/walking_extra/walking_13"):
        write(tmp_path, f"{name}.txt", line())
    write(tmp_path, "test/basketball_signal/basketball_signal_1.txt", line())
    records = list(CMUMocap().records(tmp_path))
    assert [record.id for record in records] == [
        *("test_basketball_signal_1", "train_walking_2", "train_walking_10", "train_walking_extra_13")
    ]
    assert [CMUMocap.classes[record.label] for record in records] == ["basketball signal", *["walking"] * 3]
    assert records[3].attributes == {"half": "train", "action": "walking_extra", "take": 13}
    split = CMUMocap.splits["prediction"]
    assert [split.train(record) for record in records] == [False, True, True, True]
    assert [split.test(record) for record in records] == [True, False, False, False]
    assert len(CMUMocap.classes) == 8


@pytest.mark.parametrize("name", ["walking/running_1", "walking/walking", "dancing/dancing_1", "walking_extra/x_1"])
def test_wrong_names(tmp_path, name):
    file = write(tmp_path, f"train/{name}.txt", line())
    write(tmp_path, "test/walking/walking_1.txt", line())
    wrong, good = CMUMocap().records(tmp_path)
    assert (good.id, wrong.id, wrong.label) == ("test_walking_1", f"train/{name}.txt", -1)
    with pytest.raises(ParseError, match=r"expected a name ACTION/ACTION_N.txt .* or walking_extra") as caught:
        CMUMocap().read(tmp_path, wrong)
    assert (caught.value.path, caught.value.line) == (file, 0)


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        list(CMUMocap().records(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"holds no file train/"):
        list(CMUMocap().records(tmp_path))
    with pytest.raises(SkipRecording, match="no frame but the rest pose"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "at", "says"),
    [
        ("", 1, "got an empty file"),
        (line() + "\n" + line() + ",0", 2, "expected 117 numbers, got 118"),
        (line() + "\n" + line()[:-1] + "nan", 2, "finite number in column 117, got 'nan'"),
    ],
)
def test_malformed_files(tmp_path, content, at, says):
    file = write(tmp_path, "train/walking/walking_1.txt", content)
    (record,) = CMUMocap().records(tmp_path)
    with pytest.raises(ParseError, match=says) as caught:
        CMUMocap().read(tmp_path, record)
    assert (caught.value.path, caught.value.line) == (file, at)


def test_stride_is_checked():
    with pytest.raises(ConfigError, match="stride must be at least 1, got 0"):
        CMUMocap(stride=0)


@pytest.mark.data
@pytest.mark.slow
def test_standing_still_measures_as_described(data_folder, tmp_path):
    """Millimetres by which joints, seen from the hips, have moved after 2, 5, 10 and 12 frames at 30 per second."""
    import tarfile

    with tarfile.open(data_folder / "cmu_motion_prediction" / "cmu_eval.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    reader = CMUMocap(stride=4)
    records = list(reader.records(tmp_path))
    test = [record for record in records if reader.splits["prediction"].test(record)]
    assert (len(records), len(test)) == (96, 24)
    moved = []
    for record in test:
        joints = reader.read(tmp_path, record).joints[0].astype(np.float64)
        joints -= joints[:, :1]
        moved.append([np.linalg.norm(joints[gap:] - joints[:-gap], axis=-1).mean() for gap in (2, 5, 10, 12)])
    np.testing.assert_allclose(1000 * np.mean(moved, axis=0), (27, 63, 106, 116), atol=0.5)
