"""AlphaPose: its three forms, frames by the names of images, identities, and files that break the format."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_input import WRONG_FILES, damaged, format_of, only_our_errors, read_all, read_one, write

from marrow.errors import ParseError
from marrow.importing.estimators.alphapose import AlphaPose
from marrow.importing.estimators.frame_numbers import FRAMES_WITHOUT_ANYBODY
from marrow.importing.recording import ReadOptions
from marrow.skeleton.estimators import COCO_17, COCO_18, HALPE_26

READER = AlphaPose()


def keypoints(x=0.0, joints=17):
    """Joint j is at (x + j + 1, 2 j), seen with a confidence of a half."""
    return [number for joint in range(joints) for number in (x + joint + 1, 2 * joint, 0.5)]


def entry(image, x=0.0, joints=17, **more):
    return {"image_id": image, "category_id": 1, "keypoints": keypoints(x, joints), "score": 2.9, **more}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "alphapose-results.json"


def test_values_and_layout(path):
    write(path, [entry("0.jpg", 0, box=[1, 2, 3, 4]), entry("1.jpg", 1), entry("3.jpg", 3)])
    contents, recording = read_one(READER, path)
    assert (contents.layout, contents.dimensions, contents.unit_metres, contents.up) == (COCO_17, 2, 0, "-y")
    assert (contents.software, contents.fps, contents.doubts) == ("AlphaPose", None, ())
    assert recording.positions[0, 1, 6].tolist() == [8, 12]
    assert np.isnan(recording.positions[0, 2]).all()
    assert recording.positions[0, 3, 0].tolist() == [4, 0]
    assert recording.confidence[0, :, 0].tolist() == [0.5, 0.5, 0, 0.5]
    assert FRAMES_WITHOUT_ANYBODY in recording.notes
    assert format_of(path) == "alphapose"


@pytest.mark.parametrize(
    ("joints", "layout", "left_out"), [(26, HALPE_26, 0), (136, HALPE_26, 2), (133, COCO_17, 3), (18, COCO_18, 0)]
)
def test_layouts_by_count(path, joints, layout, left_out):
    contents, recording = read_one(READER, write(path, [entry("0.jpg", joints=joints)]))
    assert contents.layout is layout
    assert contents.joint_count == recording.positions.shape[2] == len(layout.joints)
    assert len(contents.left_out) == left_out


def test_people_by_their_index_else_by_position(path):
    entries = [entry("0.jpg", 0), entry("0.jpg", 500), entry("1.jpg", 500), entry("1.jpg", 0)]
    _, recording = read_one(READER, write(path, entries))
    assert recording.positions[:, :, 0, 0].tolist() == [[1, 1], [501, 501]]
    for image, who in zip(entries, (1, 2, [1.0], [2.0]), strict=True):
        image["idx"] = who
    _, recording = read_one(READER, write(path, entries))
    assert recording.positions[:, :, 0, 0].tolist() == [[1, 501], [501, 1]]


def test_images_of_several_recordings(path):
    write(path, [entry("walk/0001.jpg", 0), entry("run/0001.jpg", 5), entry("walk/0002.jpg", 1), entry("run/0002.jpg")])
    ((contents, recordings),) = read_all(READER, [path])
    assert [clip.key for clip in contents.clips] == ["walk", "run"]
    assert recordings["walk"].positions[0, :, 0, 0].tolist() == [1, 2]
    assert recordings["run"].positions[0, 0, 0, 0] == 6


def test_names_without_numbers_are_doubted(path):
    contents, recording = read_one(READER, write(path, [entry("b.jpg", 0), entry("a.jpg", 2)]))
    assert recording.positions[0, :, 0, 0].tolist() == [1, 3]
    assert len(contents.doubts) == 1


def test_results_of_coco_have_numbers_for_images(path):
    _, recording = read_one(READER, write(path, [entry(40, 0), entry(41.0, 1)]))
    assert recording.positions[0, :, 0, 0].tolist() == [1, 2]


def test_form_cmu(path):
    write(
        path,
        {
            "0.jpg": {"version": "AlphaPose v0.3", "bodies": [{"joints": keypoints(0, 18)}]},
            "1.jpg": {"version": "AlphaPose v0.3", "bodies": []},
            "2.jpg": {"version": "AlphaPose v0.3", "bodies": [{"joints": keypoints(2, 18)}]},
        },
    )
    contents, recording = read_one(READER, path)
    assert contents.layout is COCO_18
    np.testing.assert_array_equal(recording.positions[0, :, 0, 0], [1, np.nan, 3])
    assert FRAMES_WITHOUT_ANYBODY not in recording.notes  # the frame is there
    assert format_of(path) == "alphapose"


def test_form_open(path):
    write(path, {"0.jpg": {"version": "AlphaPose v0.3", "people": [{"pose_keypoints_2d": keypoints(0, 18)}]}})
    assert read_one(READER, path)[0].layout is COCO_18
    assert format_of(path) == "alphapose"


def test_form_cmu_with_one_file_per_image(tmp_path):
    files = [
        write(tmp_path / "sep-json" / f"{number}.json", {"version": "AlphaPose v0.3", "bodies": bodies})
        for number, bodies in {9: [{"joints": keypoints(9, 18)}], 10: [], 11: [{"joints": keypoints(11, 18)}]}.items()
    ]
    assert format_of(files[0]) == "alphapose"
    (source,) = READER.gather(sorted(files))
    assert source.name == "sep-json"
    ((_, recordings),) = read_all(READER, files)
    np.testing.assert_array_equal(recordings[""].positions[0, :, 0, 0], [10, np.nan, 12])


@pytest.mark.parametrize(
    "document",
    [
        [entry("0.jpg"), entry("1.jpg", joints=26)],
        [entry("0.jpg", joints=19)],
        [entry("0.jpg") | {"keypoints": [1, 2]}],
        [entry("0.jpg") | {"keypoints": None}],
        [entry("0.jpg") | {"keypoints": "0,5"}],
        [entry("0.jpg"), 3],
        [entry(-4)],
        [entry(None)],
        [entry(True)],
        [entry(1.5)],
        [entry([0])],
        [entry(0), entry(10**12)],
        {"0.jpg": 3},
        {"0.jpg": {"bodies": 3}},
        {"0.jpg": {"bodies": [3]}},
        *(content for name, content in WRONG_FILES.items() if name not in ("list", "object")),
    ],
)
def test_what_breaks_the_format(path, document):
    write(path, document)
    with pytest.raises(ParseError) as caught:
        read_all(READER, [path])
    assert caught.value.path == path


GOOD = json.dumps([entry("0.jpg"), entry("0.jpg", 300), entry("1.jpg", 1), entry("a/1.jpg", 1, idx=2)]).encode()
GOOD_CMU = json.dumps({"0.jpg": {"version": "AlphaPose v0.3", "bodies": [{"joints": keypoints(0, 18)}] * 2}}).encode()


@pytest.mark.parametrize("good", [GOOD, GOOD_CMU], ids=["list", "cmu"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_raise_our_errors_only(tmp_path_factory, good, data):
    only_our_errors(READER, tmp_path_factory.getbasetemp() / "alphapose.json", data.draw(damaged(good)))


def test_recordings_of_a_file_have_the_joints_of_its_first_person(path):
    """Two videos in one file, of whose people the second has fewer joints."""
    entries = [entry(f"a/{frame}.jpg", joints=26) for frame in range(3)]
    entries += [entry(f"b/{frame}.jpg", joints=17) for frame in range(3)]
    write(path, entries)
    (source,) = READER.gather([path])
    contents = READER.peek(source, ReadOptions())
    keys = [clip.key for clip in contents.clips]
    assert len(keys) == 2
    assert READER.read(source, keys[0], ReadOptions()).positions.shape[2] == contents.joint_count
    with pytest.raises(ParseError, match="17"):
        READER.read(source, keys[1], ReadOptions())
