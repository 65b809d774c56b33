"""OpenPose: frames by number, absent joints, gaps, two people, three dimensions, and files that break the format."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from json_input import WRONG_FILES, damaged, format_of, only_our_errors, read_all, read_one, write

from marrow.errors import ConfigError, ParseError
from marrow.importing.detect import read_head
from marrow.importing.estimators.frame_numbers import FRAMES_WITHOUT_ANYBODY
from marrow.importing.estimators.openpose import OpenPose
from marrow.importing.recording import ReadOptions
from marrow.readers import SkipRecording
from marrow.skeleton.estimators import BODY_25, COCO_18, MPI_15

READER = OpenPose()


def person(x=0.0, joints=25, confidence=0.5, **more):
    """Joint j is at (x + j, 2 j + 1)."""
    numbers = [number for joint in range(joints) for number in (x + joint, 2 * joint + 1, confidence)]
    return {"person_id": [-1], "pose_keypoints_2d": numbers, "face_keypoints_2d": [], **more}


def frame(*people):
    return {"version": 1.3, "people": list(people)}


def frames(folder, people_by_number, name="clip"):
    return [
        write(folder / f"{name}_{number:012d}_keypoints.json", frame(*people))
        for number, people in people_by_number.items()
    ]


def test_values_layout_axes_and_unit(tmp_path):
    contents, recording = read_one(READER, frames(tmp_path, {7: [person()]})[0])
    assert (contents.layout, contents.joints, contents.joint_count) == (BODY_25, BODY_25.joints, 25)
    assert (contents.dimensions, contents.unit_metres, contents.up, contents.fps) == (2, 0, "-y", None)
    assert (contents.software, contents.left_out, contents.doubts) == ("OpenPose", (), ())
    assert recording.positions.shape == (1, 1, 25, 2)
    assert recording.positions[0, 0, 4].tolist() == [4, 9]
    assert (recording.confidence == 0.5).all()
    assert (recording.fps, recording.notes) == (None, ())


def test_a_keypoint_at_zero_is_absent(tmp_path):
    shown = person()
    shown["pose_keypoints_2d"][3 * 4 : 3 * 5] = [0, 0, 0]
    _, recording = read_one(READER, frames(tmp_path, {0: [shown]})[0])
    assert np.argwhere(np.isnan(recording.positions).any(axis=-1)).tolist() == [[0, 0, 4]]
    assert recording.confidence[0, 0, 4] == 0


@pytest.mark.parametrize(("joints", "layout"), [(25, BODY_25), (18, COCO_18), (15, MPI_15)])
def test_the_layout_is_told_by_the_number_of_joints(tmp_path, joints, layout):
    contents, _ = read_one(READER, frames(tmp_path, {0: [person(joints=joints)]})[0])
    assert contents.layout is layout


def test_frames_are_gathered_by_their_last_number_and_gaps_are_frames_without_anybody(tmp_path):
    files = frames(tmp_path, {3: [person(3)], 4: [], 6: [person(6)], 10: [person(10)]})
    files += frames(tmp_path, {0: [person(100)]}, name="other_2")
    files += frames(tmp_path / "folder", {9: [person(9)], 10: [person(10)]}, name="clip")
    sources = READER.gather(sorted(files))
    assert [(source.name, len(source.files)) for source in sources] == [("clip", 4), ("clip", 2), ("other_2", 1)]
    recording = READER.read(sources[0], "", ReadOptions())
    head = recording.positions[0, :, 0, 0]
    assert np.isnan(head).tolist() == [False, True, True, False, True, True, True, False]
    assert head[[0, 3, 7]].tolist() == [3, 6, 10]
    assert recording.notes[0] == FRAMES_WITHOUT_ANYBODY


def test_two_people_are_followed_whatever_their_order(tmp_path):
    files = frames(tmp_path, {0: [person(0), person(500)], 1: [person(501), person(1)], 2: [person(2), person(502)]})
    ((_, recordings),) = read_all(READER, files)
    assert recordings[""].positions[:, :, 0, 0].tolist() == [[0, 1, 2], [500, 501, 502]]
    ((_, recordings),) = read_all(READER, files, follow=False)
    assert recordings[""].positions[:, :, 0, 0].tolist() == [[0, 501, 2], [500, 1, 502]]


def test_identities_are_used_where_there_are_some(tmp_path):
    files = frames(
        tmp_path, {0: [person(0, person_id=[4]), person(500, person_id=[9])], 1: [person(0, person_id=[9])] * 1}
    )
    ((_, recordings),) = read_all(READER, files)
    assert recordings[""].positions[0, :, 0, 0].tolist() == [500, 0]


def test_three_dimensions_are_preferred_and_the_rest_is_listed(tmp_path):
    in_space = [number for joint in range(25) for number in (joint / 10, joint, 2.5, 1)]
    in_space[4 * 3 : 4 * 4] = [0, 0, 0, 0]
    shown = person(pose_keypoints_3d=in_space, hand_left_keypoints_2d=[1, 2, 0.3])
    contents, recording = read_one(READER, frames(tmp_path, {0: [shown]})[0])
    assert (contents.dimensions, contents.unit_metres, contents.up) == (3, None, None)
    assert contents.left_out == ("pose_keypoints_2d", "hand_left_keypoints_2d")
    np.testing.assert_allclose(recording.positions[0, 0, 2], [0.2, 2, 2.5])
    assert np.isnan(recording.positions[0, 0, 3]).all()


def test_frames_of_every_fifth_number_are_doubted(tmp_path):
    files = frames(tmp_path, {5 * number: [person(number)] for number in range(10)})
    ((contents, recordings),) = read_all(READER, files)
    assert recordings[""].positions.shape[1] == 10
    assert contents.doubts[0].option.startswith("--fps")


def test_it_is_found_by_content(tmp_path):
    assert format_of(frames(tmp_path, {0: [person()]})[0]) == "openpose"
    assert format_of(frames(tmp_path, {1: []})[0]) == "openpose"
    for name, content in WRONG_FILES.items():
        if name != "cut":
            assert not READER.accepts(read_head(write(tmp_path / "a.json", content)))


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16"])
def test_other_encodings(tmp_path, mark):
    path = write(tmp_path / "a_0_keypoints.json", json.dumps(frame(person())).encode(mark))
    _, recording = read_one(READER, path)
    assert recording.positions[0, 0, 4].tolist() == [4, 9]


def test_carriage_returns(tmp_path):
    path = write(tmp_path / "a_0_keypoints.json", json.dumps(frame(person()), indent=1).replace("\n", "\r").encode())
    assert read_one(READER, path)[1].positions.shape == (1, 1, 25, 2)


@pytest.mark.parametrize(
    "content",
    [frame(), frame({"pose_keypoints_2d": []}), frame(person(confidence=0, x=0) | {"pose_keypoints_2d": [0] * 75})],
)
def test_nobody(tmp_path, content):
    path = write(tmp_path / "a_0_keypoints.json", content)
    with pytest.raises(SkipRecording):
        read_all(READER, [path])


def changed(change):
    shown = person()
    change(shown["pose_keypoints_2d"])
    return frame(shown)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (changed(lambda numbers: numbers.pop()), "3 numbers"),
        (changed(lambda numbers: numbers.extend([1, 2, 3])), "26"),
        (changed(lambda numbers: numbers.__setitem__(4, "0,5")), "0,5"),
        (changed(lambda numbers: numbers.__setitem__(4, [1])), "keypoint"),
        (changed(lambda numbers: numbers.__setitem__(4, 1e9)), "million"),
        (changed(lambda numbers: numbers.__setitem__(4, float("inf"))), "finite"),
        (changed(lambda numbers: numbers.__setitem__(4, 10**400)), "keypoint"),
        (frame({"pose_keypoints_2d": "1, 2, 3"}), "keypoint"),
        (frame({"pose_keypoints_2d": {"0": 1}}), "keypoint"),
        (frame(7), "people"),
        ({"people": 3}, "people"),
        *((content, "expected") for content in WRONG_FILES.values()),
    ],
)
def test_what_breaks_the_format(tmp_path, content, word):
    path = write(tmp_path / "a_0_keypoints.json", content)
    with pytest.raises(ParseError, match=word) as caught:
        read_all(READER, [path])
    assert caught.value.path == path


def test_decimal_commas_are_not_taken_for_more_joints(tmp_path):
    text = json.dumps(frame(person(x=0.25))).replace(".", ",")
    path = write(tmp_path / "a_0_keypoints.json", text.encode())
    with pytest.raises(ParseError):
        read_all(READER, [path])


def test_other_joints_in_the_middle(tmp_path):
    files = frames(tmp_path, {0: [person()], 1: [person(joints=18)]})
    with pytest.raises(ParseError, match="75 numbers") as caught:
        read_all(READER, files)
    assert caught.value.path == files[1]


def test_numbers_that_are_no_frames(tmp_path):
    with pytest.raises(ParseError, match="number"):
        read_all(READER, frames(tmp_path, {0: [person()], 10**11: [person()]}))
    twice = [write(tmp_path / name, frame(person())) for name in ("b_1_keypoints.json", "b_01_keypoints.json")]
    with pytest.raises(ParseError, match="frame 1"):
        read_all(READER, twice)


def test_a_layout_that_does_not_fit(tmp_path):
    path = frames(tmp_path, {0: [person()]})[0]
    assert read_one(READER, path, layout="kinect_v2_25")[0].layout.name == "kinect_v2_25"
    with pytest.raises(ConfigError, match="18"):
        read_one(READER, path, layout="coco_18")
    with pytest.raises(ConfigError, match="unknown"):
        read_one(READER, path, layout="nobody")


def test_many_people_in_a_frame(tmp_path):
    path = write(tmp_path / "a_0_keypoints.json", frame(*[person(x) for x in range(2000)]))
    assert read_one(READER, path)[1].positions.shape == (8, 1, 25, 2)


def test_a_frame_of_more_bytes_than_any_is_refused_unread(tmp_path):
    path = tmp_path / "a_0_keypoints.json"
    with path.open("wb") as file:
        file.truncate(1 << 26)
    with pytest.raises(ParseError, match="bytes"):
        read_all(READER, [path])


GOOD = json.dumps(frame(person(joints=15), person(300, joints=15, person_id=[2]))).encode()


@settings(max_examples=100, deadline=None)
@given(content=damaged(GOOD))
def test_damaged_files_raise_our_errors_only(tmp_path_factory, content):
    only_our_errors(READER, tmp_path_factory.getbasetemp() / "a_0_keypoints.json", content)
