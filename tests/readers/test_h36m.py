"""Human3.6M: forward kinematics with known numbers, names, protocol, the path of the hips, and malformed files."""

import numpy as np
import pytest

from marrow.errors import ConfigError, DataError, ParseError
from marrow.readers.h36m import H36M, OFFSETS_M, PREDICTED_JOINTS, follow_root
from marrow.readers.kinematics import expm, positions
from marrow.skeleton.layout import H36M_32

# Millimetres: sums of bone lengths from the hips outwards.
REST = {
    0: (0, 0, 0),
    1: (-132.948591, 0, 0),
    2: (-132.948591, -442.894612, 0),
    3: (-132.948591, -897.101059, 0),
    4: (-132.948591, -897.101059, 162.767078),
    5: (-132.948591, -897.101059, 237.766515),
    6: (132.948826, 0, 0),
    7: (132.948826, -442.894413, 0),
    8: (132.948826, -897.101003, 0),
    9: (132.948826, -897.101003, 162.767426),
    10: (132.948826, -897.101003, 237.767374),
    11: (0, 0.1, 0),
    12: (0, 233.483263, 0),
    13: (0, 490.560944, 0),
    14: (0, 611.695882, 0),
    15: (0, 726.698109, 0),
    16: (0, 490.560944, 0),
    17: (0, 641.595170, 0),
    18: (0, 920.477943, 0),
    19: (0, 1172.211394, 0),
    20: (0, 1172.211394, 0),
    21: (0, 1172.211394, 99.999627),
    22: (0, 1272.211582, 0),
    23: (0, 1272.211582, 0),
    24: (0, 490.560944, 0),
    25: (0, 641.592381, 0),
    26: (0, 920.485305, 0),
    27: (0, 1172.213985, 0),
    28: (0, 1172.213985, 0),
    29: (0, 1172.213985, 99.999888),
    30: (0, 1309.713907, 0),
    31: (0, 1309.713907, 0),
}
# Spine turned by (0.3, -0.2, 0.5) and left shoulder by (0.1, 0.7, -0.4); derived twice, independently.
POSED = {
    13: (113.080, 448.224, -84.783),
    15: (216.949, 645.473, -162.659),
    18: (198.481, 819.237, -266.744),
    19: (215.601, 1040.251, -386.030),
    27: (412.917, 1017.620, -309.588),
}


def line(root=(0, 0, 0, 0, 0, 0), **turned):
    """One frame of text; `turned` gives the exponential map of some joints by name."""
    values = np.zeros(99)
    values[:6] = root
    for joint, angles in turned.items():
        at = 3 + 3 * H36M_32.index(joint)
        values[at : at + 3] = angles
    return ",".join(f"{value:.7f}" for value in values)


def write(folder, name, *lines, ending="\n"):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(ending.join(lines) + ending)
    return file


def read(folder, reader, *lines, ending="\n"):
    write(folder, "S1/walking_1.txt", *lines, ending=ending)
    (record,) = reader.records(folder)
    return reader.read(folder, record)


def test_rest_pose():
    rest = 1000 * positions(np.zeros((1, 32, 3)), OFFSETS_M, H36M_32.parents)[0]
    np.testing.assert_allclose(rest, [REST[joint] for joint in range(32)], atol=1e-5)


def test_posed(tmp_path):
    posed = line(SpineMid=(0.3, -0.2, 0.5), ShoulderLeft=(0.1, 0.7, -0.4))
    sequence = read(tmp_path, H36M(stride=1), line(), posed)
    for joint, expected in POSED.items():
        np.testing.assert_allclose(1000 * sequence.joints[0, 1, joint], expected, atol=1e-3)
    np.testing.assert_allclose(1000 * sequence.joints[0, 0], [REST[joint] for joint in range(32)], atol=1e-3)


def test_exponential_map_by_hand():
    # A quarter turn about z takes x to y: as columns [[0, -1, 0], [1, 0, 0], [0, 0, 1]].
    np.testing.assert_allclose(expm(np.array([0, 0, np.pi / 2])), [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-15)
    np.testing.assert_array_equal(expm(np.zeros((2, 3))), [np.eye(3)] * 2)


def test_left_is_left():
    """Toes point along +z and y is up, so the left side is at +x; the same for knees that are bent."""
    rest = positions(np.zeros((1, 32, 3)), OFFSETS_M, H36M_32.parents)[0]
    for joint, side in zip(H36M_32.joints, H36M_32.sides, strict=True):
        if side != "middle" and joint.startswith(("Hip", "Knee", "Foot")):
            assert (rest[H36M_32.index(joint), 0] > 0) == (side == "left")


def test_predicted_joints_are_those_that_move_on_their_own():
    random = np.random.default_rng(0)
    moved = positions(random.normal(size=(1, 32, 3)), OFFSETS_M, H36M_32.parents)[0]
    others = set(range(32)) - set(PREDICTED_JOINTS)
    assert len(PREDICTED_JOINTS) == 22
    twins = {16: 13, 20: 19, 23: 22, 24: 13, 28: 27, 31: 30}
    assert others == {0, 1, 6, 11, *twins}
    for joint, twin in twins.items():
        np.testing.assert_array_equal(moved[joint], moved[twin])


def test_record_unit_rate(tmp_path):
    sequence = read(tmp_path, H36M(), *[line()] * 5)
    record = sequence.record
    assert (record.id, record.path) == ("S1_walking_1", "S1/walking_1.txt")
    assert (record.label, H36M.classes[0]) == (0, "walking")
    assert record.attributes == {"subject": 1, "action": "walking", "take": 1}
    assert (sequence.frame_count, sequence.fps) == (3, 25.0)
    assert sequence.present.all()
    assert sequence.joints[0, 0, H36M_32.index("KneeLeft"), 1] == pytest.approx(-0.442894413)
    assert H36M(stride=1).read(tmp_path, record).fps == 50.0


def test_lines_may_end_as_on_windows(tmp_path):
    assert read(tmp_path, H36M(stride=1), line(), line(), ending="\r\n").frame_count == 2


def test_the_root_is_zeroed_unless_asked_for(tmp_path):
    """Hips go 100 mm along x and turn a quarter about y; the next 100 mm are along what x has become."""
    step = line((100, 0, 0, 0, np.pi / 2, 0))
    still = read(tmp_path, H36M(stride=1), step, step)
    np.testing.assert_allclose(1000 * still.joints[0, 1], [REST[joint] for joint in range(32)], atol=1e-3)

    moving = read(tmp_path, H36M(stride=1, zero_root=False), step, step).joints[0]
    hips, knee = H36M_32.index("Hips"), H36M_32.index("HipLeft")
    np.testing.assert_allclose(moving[0, hips], (0.1, 0, 0), atol=1e-6)
    # Row vectors: x times the matrix [[0, 0, 1], [0, 1, 0], [-1, 0, 0]] is z.
    np.testing.assert_allclose(moving[1, hips], (0.1, 0, 0.1), atol=1e-6)
    np.testing.assert_allclose(moving[0, knee] - moving[0, hips], (0, 0, 0.132948826), atol=1e-6)
    np.testing.assert_allclose(moving[1, knee] - moving[1, hips], (-0.132948826, 0, 0), atol=1e-6)


def test_following_the_root_keeps_matrices_orthogonal():
    _, matrices = follow_root(np.random.default_rng(0).normal(size=(50, 6)))
    np.testing.assert_allclose(
        matrices @ matrices.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (50, 3, 3)), atol=1e-12
    )


def test_actions_and_protocol(tmp_path):
    actions = "walking eating smoking discussion directions greeting phoning posing purchases sitting sittingdown"
    actions = f"{actions} takingphoto waiting walkingdog walkingtogether".split()
    for subject in (1, 5, 6, 7, 8, 9, 11):
        for action in actions:
            write(tmp_path, f"dataset/S{subject}/{action}_2.txt", line())
    records = list(H36M().records(tmp_path))
    assert len(records) == 105
    assert {record.attributes["action"]: record.label for record in records} == {
        action: label for label, action in enumerate(actions)
    }
    split = H36M.splits["prediction"]
    sides = {record.attributes["subject"]: (split.train(record), split.test(record)) for record in records}
    train, test, neither = (True, False), (False, True), (False, False)
    assert sides == {1: train, 5: test, 6: train, 7: train, 8: train, 9: train, 11: neither}


@pytest.mark.parametrize("name", ["S2/walking_1.txt", "S1/walking_3.txt", "S1/running_1.txt", "S1/walking.txt"])
def test_wrong_names(tmp_path, name):
    file = write(tmp_path, name, line())
    write(tmp_path, "S5/eating_1.txt", line())
    wrong, good = H36M().records(tmp_path)
    assert (good.id, wrong.id, wrong.label) == ("S5_eating_1", name, -1)
    with pytest.raises(ParseError, match=r"expected a name S\*/ACTION_TAKE.txt") as caught:
        H36M().read(tmp_path, wrong)
    assert (caught.value.path, caught.value.line) == (file, 0)


def test_nothing_there(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"holds no file S\*/"):
        list(H36M().records(tmp_path))
    with pytest.raises(DataError, match="is not a folder"):
        list(H36M().records(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("content", "at", "says"),
    [
        ("", 1, "got an empty file"),
        (line() + "\n" + line()[:-60], 2, "expected 99 numbers, got"),
        (line() + ",0", 1, "expected 99 numbers, got 100"),
        (line().replace(",", " "), 1, "expected 99 numbers, got 1 columns"),
        (line() + "\n\n" + line()[:-60], 3, "expected 99 numbers"),
        (line() + "\n" + line().replace("0.0000000", "abc", 1), 2, "finite number in column 1, got 'abc'"),
        (line() + "\n" + line()[:-9] + "nan", 2, "finite number in column 99, got 'nan'"),
        (line()[:-9] + "1e400", 1, "finite number in column 99"),
        (line()[:-9], 1, "finite number in column 99, got ''"),
    ],
)
def test_malformed_files_name_the_line_and_the_column(tmp_path, content, at, says):
    file = write(tmp_path, "S1/walking_1.txt", content, ending="")
    (record,) = H36M().records(tmp_path)
    with pytest.raises(ParseError, match=says) as caught:
        H36M().read(tmp_path, record)
    assert (caught.value.path, caught.value.line) == (file, at)


def test_stride_is_checked():
    with pytest.raises(ConfigError, match="stride must be at least 1, got 0"):
        H36M(stride=0)
