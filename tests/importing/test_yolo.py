"""YOLO-pose: files of one frame, lists of frames, numbered frames, tracks, and files that break the format."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from json_input import WRONG_FILES, damaged, format_of, only_our_errors, read_all, read_one, write

from marrow.errors import ParseError
from marrow.importing.estimators.yolo import YoloPose
from marrow.readers import SkipRecording
from marrow.skeleton.estimators import COCO_17

READER = YoloPose()


def person(x=0.0, joints=17, **more):
    keypoints = {
        "x": [x + joint for joint in range(joints)],
        "y": [2.0 * joint + 1 for joint in range(joints)],
        "visible": [0.9] * joints,
    }
    box = {"x1": 1, "y1": 2, "x2": 3, "y2": 4}
    return {"name": "person", "class": 0, "confidence": 0.8, "box": box, "keypoints": keypoints, **more}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.json"


def test_a_list_of_frames(path):
    shown = person(1)
    shown["keypoints"]["x"][3] = shown["keypoints"]["y"][3] = 0
    contents, recording = read_one(READER, write(path, [[person(0)], [], [shown]]))
    assert (contents.layout, contents.dimensions, contents.unit_metres, contents.up) == (COCO_17, 2, 0, "-y")
    assert contents.doubts == ()
    np.testing.assert_array_equal(recording.positions[0, :, 0, 0], [0, np.nan, 1])
    assert recording.positions[0, 0, 16].tolist() == [16, 33]
    assert np.argwhere(np.isnan(recording.positions[0, 2]).any(axis=-1)).tolist() == [[3]]
    np.testing.assert_allclose(recording.confidence[0, :, 3], [0.9, 0, 0])
    assert format_of(path) == "yolo_pose"


def test_files_of_one_frame(tmp_path):
    files = [write(tmp_path / f"walk_{number}.json", [person(number)]) for number in (8, 9, 11)]
    files.append(write(tmp_path / "run_1.json", [person(5), person(500)]))
    found = read_all(READER, files)
    assert [recordings[""].positions.shape[:2] for _, recordings in found] == [(2, 1), (1, 4)]
    np.testing.assert_array_equal(found[1][1][""].positions[0, :, 0, 0], [8, 9, np.nan, 11])


@pytest.mark.parametrize("key", ["frame", "frame_id"])
def test_frames_with_numbers(path, key):
    write(path, [{key: 4, "detections": [person(4)]}, {key: 6, "detections": []}, {key: 7, "detections": [person(7)]}])
    _, recording = read_one(READER, path)
    np.testing.assert_array_equal(recording.positions[0, :, 0, 0], [4, np.nan, np.nan, 7])
    write(path, {"frames": [person(4, **{key: 4}), person(5, **{key: 5})]})
    assert read_one(READER, path)[1].positions[0, :, 0, 0].tolist() == [4, 5]


def test_people_by_their_track_else_by_position(path):
    frames = [[person(0), person(300)], [person(300), person(0)]]
    assert read_one(READER, write(path, frames))[1].positions[:, :, 0, 0].tolist() == [[0, 0], [300, 300]]
    for frame in frames:
        frame[0]["track_id"], frame[1]["track_id"] = 1, 2
    assert read_one(READER, write(path, frames))[1].positions[:, :, 0, 0].tolist() == [[0, 300], [300, 0]]


def test_what_is_no_person_is_passed_over(path):
    _, recording = read_one(READER, write(path, [[{"name": "dog", "box": {}}, person(0)]]))
    assert recording.positions.shape == (1, 1, 17, 2)


def test_a_model_of_ones_own_is_doubted(path):
    contents, recording = read_one(READER, write(path, [[person(joints=5)]]))
    assert (contents.layout, contents.joints, contents.joint_count) == (None, None, 5)
    assert contents.doubts[0].option.startswith("--layout")
    assert recording.positions.shape == (1, 1, 5, 2)


def test_without_visibility(path):
    shown = person()
    del shown["keypoints"]["visible"]
    assert read_one(READER, write(path, [[shown]]))[1].confidence is None


def test_nobody(path):
    with pytest.raises(SkipRecording):
        read_all(READER, [write(path, [[], [{"name": "dog"}]])])


def keypoints(**change):
    return person(keypoints=person()["keypoints"] | change)


@pytest.mark.parametrize(
    "document",
    [
        [[person()], [person(joints=16)]],
        [[keypoints(x=[1, 2])]],
        [[keypoints(x="0,5")]],
        [[keypoints(x=["0,5"] * 17)]],
        [[keypoints(y=[[1]] * 17)]],
        [[keypoints(visible=[1])]],
        [[keypoints(visible=3)]],
        [[keypoints(x=[], y=[])]],
        [[person(keypoints=[[1, 2]])]],
        [[3]],
        [3],
        [{"frame": -1, "detections": [person()]}],
        [{"frame": "a", "detections": [person()]}],
        [{"frame": 0, "detections": [person()]}, {"frame": 10**12, "detections": []}],
        {"frames": 3},
        *(content for name, content in WRONG_FILES.items() if name != "list"),
    ],
)
def test_what_breaks_the_format(path, document):
    write(path, document)
    with pytest.raises(ParseError) as caught:
        read_all(READER, [path])
    assert caught.value.path == path


GOOD = json.dumps([[person(), person(9, track_id=2)], [], [person(5)]]).encode()


@settings(max_examples=100, deadline=None)
@given(content=damaged(GOOD))
def test_damaged_files_raise_our_errors_only(tmp_path_factory, content):
    only_our_errors(READER, tmp_path_factory.getbasetemp() / "yolo.json", content)
