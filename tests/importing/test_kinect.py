"""Kinect: NTU's text, text of numbers without names, and the JSON that programs write."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from json_input import WRONG_FILES, damaged, only_our_errors, read_all, read_one, write

from marrow.errors import ParseError
from marrow.importing.detect import detect, read_head
from marrow.importing.estimators.people import BEYOND
from marrow.importing.kinect.json_export import KinectJson
from marrow.importing.kinect.ntu_skeleton import NtuSkeleton
from marrow.importing.kinect.text import UNEVEN, KinectText
from marrow.readers import SkipRecording
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25

sys.path.append(str(Path(__file__).parent.parent))
from ntu_text import skeleton_text, standing

NTU, TEXT, JSON = NtuSkeleton(), KinectText(), KinectJson()
AT = np.arange(75, dtype=np.float32).reshape(25, 3)  # joint j at (3 j, 3 j + 1, 3 j + 2)
SCENE = skeleton_text([[(7, AT)], [], [(8, AT + 100), (7, AT + 1)]])


# NTU


def test_ntu_bodies_by_id_and_the_name(tmp_path):
    file = write(tmp_path / "S001C002P003R001A050.skeleton", SCENE.encode())
    contents, recording = read_one(NTU, file)
    (clip,) = contents.clips
    assert clip.label == "A050"
    assert clip.attributes == {"setup": 1, "camera": 2, "subject": 3, "replication": 1}
    assert (contents.layout, contents.fps, contents.unit_metres, contents.up) == (KINECT_V2_25, 30, 1.0, "y")
    assert recording.positions.shape == (2, 3, 25, 3)
    assert np.array_equal(recording.positions[0, [0, 2]], [AT, AT + 1])
    assert np.array_equal(recording.positions[1, 2], AT + 100)
    assert np.isnan(recording.positions[:, 1]).all()
    assert np.isnan(recording.positions[1, 0]).all()


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + SCENE.encode(),
        SCENE.replace("\n", "\r").encode(),
        SCENE.replace("\n", "\r\n").encode(),
        SCENE.replace("\n", "\n\n").encode(),
        SCENE.encode("utf-16"),
        SCENE.encode() + b"\x1a",
    ],
)
def test_ntu_under_any_name_with_any_line_ends(tmp_path, content):
    file = write(tmp_path / "take one.txt", content)
    assert detect(file).name == "ntu_skeleton"
    contents, recording = read_one(NTU, file)
    assert contents.clips[0].label is None
    assert np.array_equal(recording.positions[0, [0, 2]], [AT, AT + 1])


def test_ntu_at_most_eight_bodies(tmp_path):
    frames = [[(who, standing(who)) for who in range(9) if who != 3 or not frame] for frame in range(3)]
    _, recording = read_one(NTU, write(tmp_path / "a.skeleton", skeleton_text(frames).encode()))
    assert recording.positions.shape[:2] == (8, 3)
    assert recording.counts[BEYOND] == 1
    assert np.isfinite(recording.positions).all()  # it was 3 that was left out


def test_ntu_nobody_and_cut(tmp_path):
    file = write(tmp_path / "a.skeleton", b"2\n0\n0\n")
    assert NTU.accepts(read_head(file))
    with pytest.raises(SkipRecording):
        read_all(NTU, [file])
    lines = SCENE.split("\n")
    lines.insert(3, "")
    with pytest.raises(ParseError) as caught:
        read_all(NTU, [write(tmp_path / "b.skeleton", "\n".join(lines).replace("9.0", "nine", 1).encode())])
    assert caught.value.line == 1 + next(at for at, line in enumerate(lines) if line.startswith("9.0"))


# Text without names


def joint_lines(frames=2, joints=20, tail=" 0.5"):
    """Joint j of frame t at (t, j, 1)."""
    return "".join(f"{frame} {joint} 1{tail}\n" for frame in range(frames) for joint in range(joints))


def test_msr_action(tmp_path):
    file = write(tmp_path / "a08_s02_e03_skeleton3D.txt", joint_lines().encode())
    assert detect(file).name == "kinect_text"
    contents, recording = read_one(TEXT, file)
    (clip,) = contents.clips
    assert (clip.label, clip.attributes) == ("a08", {"subject": 2, "episode": 3})
    assert (contents.layout, contents.fps, contents.unit_metres, contents.up) == (KINECT_V1_20, None, None, None)
    assert [doubt.option for doubt in contents.doubts] == ["--layout NAME"]
    assert recording.positions.shape == (1, 2, 20, 3)
    assert recording.positions[0, 1, 5].tolist() == [1, 5, 1]
    assert (recording.confidence == 0.5).all()


def test_joints_at_zero_are_absent(tmp_path):
    lines = joint_lines(tail="").split("\n")
    lines[3] = "0 0 0"
    _, recording = read_one(TEXT, write(tmp_path / "a.txt", "\n".join(lines).encode()))
    assert np.argwhere(np.isnan(recording.positions).any(axis=-1)).tolist() == [[0, 0, 3]]
    assert recording.confidence is None


def test_msr_daily_activity_keeps_the_world(tmp_path):
    rows = [f"{joint} {2 * joint} 3 1\n0.25 0.5 1000 1\n" for joint in range(20)]
    content = "3 20\n40\n" + "".join(rows) + "0\n80\n" + "".join(rows).replace(" 3 1", " 4 1") + "".join(rows)
    contents, recording = read_one(TEXT, write(tmp_path / "a01_s05_e02_skeleton.txt", content.encode()))
    assert contents.layout == KINECT_V1_20
    assert recording.positions.shape == (1, 3, 20, 3)
    assert recording.positions[0, 0, 7].tolist() == [7, 14, 3]
    assert np.isnan(recording.positions[0, 1]).all()
    assert recording.positions[0, 2, 7].tolist() == [7, 14, 4]


def test_uneven_numbers_before_the_joints_are_noted(tmp_path):
    for numbers, notes in (((1, 2, 3), ()), ((1, 2, 7), (UNEVEN,))):
        rows = "\n".join(f"{number} " + " ".join(["1"] * 60) for number in numbers)
        assert read_one(TEXT, write(tmp_path / f"{numbers}.txt", rows.encode()))[1].notes == notes


@pytest.mark.parametrize("separator", [" ", ",", "\t", "; "])
@pytest.mark.parametrize(
    ("columns", "bodies", "joints", "before"),
    [(60, 1, 20, 0), (61, 1, 20, 1), (75, 1, 25, 0), (150, 2, 25, 0), (96, 1, 32, 0), (45, 1, 15, 0), (151, 2, 25, 1)],
)
def test_a_frame_per_line(tmp_path, separator, columns, bodies, joints, before):
    rows = [[1000 * frame + column for column in range(columns)] for frame in (1, 2)]
    file = write(tmp_path / "a.txt", "\n".join(separator.join(map(str, row)) for row in rows).encode())
    contents, recording = read_one(TEXT, file)
    assert contents.joint_count == joints
    assert contents.doubts
    expected = np.array(rows, np.float32)[:, before:].reshape(2, bodies, joints, 3).swapaxes(0, 1)
    assert np.array_equal(recording.positions, expected)


def test_the_layout_may_be_said(tmp_path):
    file = write(tmp_path / "a.txt", joint_lines(frames=4, joints=25).encode())
    ((contents, recordings),) = read_all(TEXT, [file], layout="kinect_v2_25")
    assert contents.layout == KINECT_V2_25
    assert recordings[""].positions[0, 3, 24].tolist() == [3, 24, 1]


def test_a_second_body_that_is_never_seen_is_none(tmp_path):
    rows = "\n".join(" ".join(["1"] * 75 + ["0"] * 75) for _ in range(3))
    assert read_one(TEXT, write(tmp_path / "a.txt", rows.encode()))[1].positions.shape == (1, 3, 25, 3)
    with pytest.raises(SkipRecording):
        read_all(TEXT, [write(tmp_path / "b.txt", "\n".join([" ".join(["0"] * 150)] * 3).encode())])


BROKEN_TEXT = {
    "a line missing": (joint_lines()[:-11], 39, "20 lines"),
    "word": ("1 2 3\n" * 19 + "1 x 3\n", 20, "column 2"),
    "nan": ("1 2 3\n\n" * 19 + "1 nan 3\n", 39, "column 2"),
    "columns": ("1 2 3\n" * 19 + "1 3\n", 20, "3 numbers"),
    "million frames": ("1000000 20\n40\n1 2 3 1\n", 1, "frames"),
    "negative": ("1 20\n-40\n" + "1 2 3 1\n" * 40, 2, "rows"),
    "cut": ("2 20\n40\n" + "1 2 3 1\n" * 39, 41, "rows"),
    "more": ("1 20\n40\n" + "1 2 3 1\n" * 41, 43, "end"),
    "other joints": ("2 20\n40\n" + "1 2 3 1\n" * 40 + "30\n" + "1 2 3 1\n" * 30, 43, "20"),
    "odd columns": ("1 2 3 4 5 6 7\n" * 3, 1, "joint"),
}


@pytest.mark.parametrize("kind", BROKEN_TEXT)
def test_broken_text(tmp_path, kind):
    content, line, word = BROKEN_TEXT[kind]
    with pytest.raises(ParseError, match=word) as caught:
        read_all(TEXT, [write(tmp_path / "a.txt", content.encode())])
    assert caught.value.line == line


@pytest.mark.parametrize(
    "content", ["", "a,b,c\n1,2,3\n", "1 2 3\n4 5 6\n", "1 2\n3 4\n", "0.5\n" * 40, "1,2,3,4,5,6\n"]
)
def test_other_text_is_not_taken(tmp_path, content):
    assert not TEXT.accepts(read_head(write(tmp_path / "a.txt", content.encode())))


# JSON


def test_nw_ucla(tmp_path):
    frames = [[[frame + 1, joint, 2.5] for joint in range(20)] for frame in range(3)]
    frames[1][4] = [0, 0, 0]
    file = write(tmp_path / "a01_s02_e03_v01.json", {"file_name": "a01", "skeletons": frames, "label": 1})
    assert detect(file).name == "kinect_json"
    contents, recording = read_one(JSON, file)
    assert (contents.layout, contents.fps, contents.unit_metres, contents.up) == (KINECT_V1_20, 30, 1.0, "y")
    assert contents.clips[0].label == "a01"
    assert contents.clips[0].attributes == {"subject": 2, "episode": 3, "view": 1}
    assert recording.positions[0, 2, 19].tolist() == [3, 19, 2.5]
    assert np.argwhere(np.isnan(recording.positions).any(axis=-1)).tolist() == [[0, 1, 4]]


AZURE_NAMES = ["PELVIS", "SPINE_NAVAL", "HEAD"]


def azure(*frames, names=AZURE_NAMES):
    return {
        "bone_list": [["PELVIS", "SPINE_NAVAL"], ["SPINE_NAVAL", "HEAD"]],
        "frames": [
            {
                "bodies": [{"body_id": who, "joint_positions": joints} for who, joints in bodies],
                "frame_id": at,
                "num_bodies": len(bodies),
                "timestamp_usec": 500 + 66_667 * at,
            }
            for at, bodies in enumerate(frames)
        ],
        "joint_names": names,
    }


def test_azure_kinect(tmp_path):
    joints = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    far = [[100, 2, 3], [400, 5, 6], [700, 8, 9]]
    file = write(tmp_path / "a.json", azure([(1, joints)], [], [(2, far), (1, joints)]))
    assert detect(file).name == "kinect_json"
    contents, recording = read_one(JSON, file)
    assert (contents.joints, contents.parents) == (tuple(AZURE_NAMES), (1, 1, 1))
    assert (contents.unit_metres, contents.up, contents.fps) == (0.001, "-y", pytest.approx(15, abs=0.01))
    assert recording.positions.shape == (2, 3, 3, 3)
    assert recording.positions[0, 2].tolist() == joints
    assert recording.positions[1, 2].tolist() == far
    assert np.isnan(recording.positions[:, 1]).all()


def v2_joint(at, state, style):
    place = {"X": float(at), "Y": 1.0, "Z": 2.0}
    if style == "flat":
        return {"x": float(at), "y": 1.0, "z": 2.0, "TrackingState": state}
    return {"JointType": at, "Position": place, "TrackingState": state}


@pytest.mark.parametrize("style", ["flat", "nested", "list"])
@pytest.mark.parametrize(("absent", "present"), [(0, 2), ("NotTracked", "Inferred")])
def test_kinect_v2_exports(tmp_path, style, absent, present):
    joints = [v2_joint(at, absent if at == 5 else present, style) for at in range(25)]
    named = joints if style == "list" else dict(zip(reversed(KINECT_V2_25.joints), reversed(joints), strict=True))
    if style == "nested":
        for joint in joints:
            del joint["JointType"]
    bodies = [{"trackingId": "72057594037931101", "tracked": True, "joints": named}, {"tracked": False}]
    file = write(tmp_path / "a.json", {"frames": [{"bodies": bodies}, {"bodies": []}, {"bodies": bodies}]})
    assert detect(file).name == "kinect_json"
    contents, recording = read_one(JSON, file)
    assert (contents.layout, contents.joints) == (KINECT_V2_25, KINECT_V2_25.joints)
    assert recording.positions.shape == (1, 3, 25, 3)
    assert recording.positions[0, 2, 24].tolist() == [24, 1, 2]
    assert np.isnan(recording.positions[0, 2, 5]).all()
    assert np.isnan(recording.positions[0, 1]).all()


BROKEN_JSON = {
    "frames that are none": {"frames": [1, 2], "x": "joint_positions"},
    "other joints": azure([(1, [[1, 2, 3]] * 3)], [(1, [[1, 2, 3]] * 2)]),
    "names": azure([(1, [[1, 2, 3]] * 3)], names=["a", "b"]),
    "names twice": azure([(1, [[1, 2, 3]] * 3)], names=["a", "b", "b"]),
    "text": azure([(1, [[1, 2, "3"]] * 3)]),
    "huge": azure([(1, [[1, 2, 1e30]] * 3)]),
    "infinite": azure([(1, [[1, 2, float("inf")]] * 3)]),
    "two numbers": azure([(1, [[1, 2]] * 3)]),
    "bodies": {"frames": [{"bodies": "many"}]},
    "no joints": {"frames": [{"bodies": [{"TrackingState": 1}]}]},
    "a joint of words": {"frames": [{"bodies": [{"joints": {"Head": {"x": "a", "y": 1, "z": 1}}}]}]},
    "ucla with 20 numbers": {"skeletons": [[1] * 20]},
    "ucla uneven": {"skeletons": [[[1, 2, 3]] * 20, [[1, 2, 3]] * 19]},
    "ucla of words": {"skeletons": [[["a", 2, 3]] * 20]},
}


@pytest.mark.parametrize("kind", BROKEN_JSON)
def test_broken_json(tmp_path, kind):
    with pytest.raises(ParseError):
        read_all(JSON, [write(tmp_path / "a.json", BROKEN_JSON[kind])])


@pytest.mark.parametrize("kind", WRONG_FILES)
def test_other_files(tmp_path, kind):
    file = write(tmp_path / "a.json", WRONG_FILES[kind])
    for reader in (NTU, TEXT, JSON):
        assert not reader.accepts(read_head(file))
        with pytest.raises((ParseError, SkipRecording)):
            read_all(reader, [file])


EXPORT = {"frames": [{"bodies": [{"id": 1, "joints": {"Head": {"x": 1, "y": 2, "z": 3, "TrackingState": 2}}}]}]}


@settings(deadline=None, max_examples=100)
@given(
    content=damaged(SCENE.encode())
    | damaged(joint_lines().encode())
    | damaged(json.dumps(azure([(1, [[1, 2, 3]] * 3)])).encode())
    | damaged(json.dumps(EXPORT).encode())
)
def test_damaged_files_raise_only_our_errors(tmp_path_factory, content):
    for reader in (NTU, TEXT, JSON):
        only_our_errors(reader, tmp_path_factory.getbasetemp() / "damaged_kinect", content)
