"""NW-UCLA: names, protocol, absent joints, and files that break the format."""

import json

import numpy as np
import pytest

from marrow.errors import DataError, ParseError
from marrow.readers import SkipRecording
from marrow.readers.nw_ucla import NWUCLA

NAME = "a08_s03_e02_v03"


def recording(frames=2):
    """Joint j of frame t is at (j, t, 2)."""
    return {"file_name": NAME, "skeletons": [[[joint, frame, 2.0] for joint in range(20)] for frame in range(frames)]}


@pytest.fixture
def read(tmp_path):
    def read_content(content, name=NAME):
        content = json.dumps(content).encode() if isinstance(content, dict) else content
        (tmp_path / f"{name}.json").write_bytes(content)
        (record,) = NWUCLA().records(tmp_path)
        return NWUCLA().read(tmp_path, record)

    return read_content


def test_record_and_positions(read):
    sequence = read(recording())
    assert sequence.record.label == 6
    assert NWUCLA.classes[6] == "donning"
    assert sequence.record.attributes == {"action": 8, "subject": 3, "episode": 2, "view": 3}
    assert sequence.joints.shape == (1, 2, 20, 3)
    assert sequence.joints[0, 1, 7].tolist() == [7, 1, 2]  # the camera's coordinates, as they are
    assert sequence.present.all()
    assert (sequence.fps, sequence.placement.translation.tolist()) == (30.0, [0, 0, 0])


def test_labels_follow_the_actions_of_the_release(tmp_path):
    for action in (12, 1, 2, 3, 4, 5, 6, 8, 9, 11):
        (tmp_path / f"a{action:02d}_s01_e00_v01.json").touch()
    records = list(NWUCLA().records(tmp_path))
    assert [record.label for record in records] == list(range(10))
    assert [record.attributes["action"] for record in records] == [1, 2, 3, 4, 5, 6, 8, 9, 11, 12]


def test_views_1_and_2_train(tmp_path):
    for view in (1, 2, 3):
        (tmp_path / f"a01_s01_e00_v{view:02d}.json").touch()
    split = NWUCLA.splits["xview"]
    assert [(split.train(one), split.test(one)) for one in NWUCLA().records(tmp_path)] == [
        (True, False),
        (True, False),
        (False, True),
    ]


def test_joint_at_zero_is_absent(read):
    content = recording()
    content["skeletons"][1][4] = [0, 0, 0]
    content["skeletons"][1][5] = [0, 0, 0.001]
    present = read(content).present[0]
    assert np.argwhere(~present).tolist() == [[1, 4]]


@pytest.mark.parametrize("skeletons", [[], [[[0, 0, 0]] * 20]])
def test_nobody(read, skeletons):
    with pytest.raises(SkipRecording, match="nobody is seen"):
        read({"skeletons": skeletons})


@pytest.mark.parametrize(
    "name", ["clip", "a07_s01_e00_v01", "a01_s01_e00_v04", "a01_s01_e00_v00", "a1_s01_e00_v01", "a01_s01_e00_v01 (1)"]
)
def test_wrong_names(tmp_path, name):
    (tmp_path / f"{name}.json").touch()
    (tmp_path / "a02_s01_e00_v01.json").touch()
    (wrong,) = [record for record in NWUCLA().records(tmp_path) if record.id != "a02_s01_e00_v01"]
    assert (wrong.id, wrong.label) == (f"{name}.json", -1)
    with pytest.raises(ParseError, match="expected a name"):
        NWUCLA().read(tmp_path, wrong)


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="holds no file"):
        list(NWUCLA().records(tmp_path))
    with pytest.raises(DataError, match="is not a folder"):
        list(NWUCLA().records(tmp_path / "nowhere"))


def changed(frame, joint, value):
    """Return a recording in which one joint is replaced; joint j of frame f is on line 2 + 20 f + j."""
    content = recording()
    content["skeletons"][frame][joint] = value
    frames = ["[" + ",\n".join(json.dumps(one) for one in joints) + "]" for joints in content["skeletons"]]
    return ('{"skeletons": [\n' + ",\n".join(frames) + "\n]}").encode()


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b"", 1, "an empty file"),
        (b" \n\n", 1, "an empty file"),
        (json.dumps(recording()).encode()[:-30], 1, "expected JSON"),
        (b'{"skeletons": [\n[\nnothing', 3, "expected JSON"),
        (b'{\n"skeletons": "\xff"}', 2, "UTF-8"),
        (b'{"skeletons": [[' + b"9" * 5000 + b"]]}", 1, "expected JSON"),
        (b"[" * 100_000, 1, "expected JSON"),
        (b"[1, 2]", 1, "JSON object"),
        (b'{"skeleton": []}', 1, "JSON object"),
        (b'{"skeletons": {}}', 1, "JSON object"),
        (b'{"skeletons":\n[\n1]}', 3, "20 joints in frame 1, got int"),
        (
            b'{"skeletons":\n[' + json.dumps(recording()["skeletons"][0]).encode() + b",\n[[1, 2, 3]]]}",
            3,
            "got 1 joints",
        ),
        (changed(0, 0, [1, 2]), 2, "joint 1 of frame 1"),
        (changed(1, 5, [1, 2]), 27, "joint 6 of frame 2"),
        (changed(1, 19, [1, 2, 3, 4]), 41, "joint 20 of frame 2"),
        (changed(1, 5, [1, None, 3]), 27, "three finite numbers"),
        (changed(1, 5, [1, "2", 3]), 27, "three finite numbers"),
        (changed(1, 5, [1, float("nan"), 3]), 27, "three finite numbers"),
        (changed(1, 5, [1, float("-inf"), 3]), 27, "three finite numbers"),
        (changed(1, 5, [1, 1e39, 3]), 27, "three finite numbers"),
        (changed(1, 5, [1, 10**400, 3]), 27, "three finite numbers"),
        (changed(1, 5, [1, [2], 3]), 27, "nested"),
        (changed(1, 5, 7), 27, "three finite numbers"),
    ],
)
def test_malformed_files_name_the_line(read, tmp_path, content, line, says):
    with pytest.raises(ParseError, match=says) as caught:
        read(content)
    assert (caught.value.line, caught.value.path) == (line, tmp_path / f"{NAME}.json")


def test_missing_file_is_a_parse_error(tmp_path):
    (tmp_path / f"{NAME}.json").touch()
    (record,) = NWUCLA().records(tmp_path)
    (tmp_path / f"{NAME}.json").unlink()
    with pytest.raises(ParseError, match="readable file"):
        NWUCLA().read(tmp_path, record)
