"""COCO annotations: visibility, videos, tracks, other keypoints by name, and files that break the format."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from json_input import WRONG_FILES, damaged, format_of, only_our_errors, read_all, read_one, write

from marrow.errors import ParseError
from marrow.importing.estimators.coco import Coco
from marrow.importing.estimators.frame_numbers import FRAMES_WITHOUT_ANYBODY
from marrow.skeleton.estimators import COCO_17

READER = Coco()
NAMES = [
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee"),
    *("left_ankle", "right_ankle"),
]


def annotation(image, x=0.0, joints=17, visible=2, **more):
    numbers = [number for joint in range(joints) for number in (x + joint, 2 * joint + 1, visible)]
    return {"image_id": image, "category_id": 1, "keypoints": numbers, "num_keypoints": joints, **more}


def document(images, annotations, **more):
    images = [image if isinstance(image, dict) else {"id": image, "file_name": f"{image:06d}.jpg"} for image in images]
    category = {"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[16, 14], [14, 12]]}
    return {"images": images, "annotations": annotations, "categories": [category], **more}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "person_keypoints.json"


def test_values_visibility_and_layout(path):
    shown = annotation(3, 3)
    shown["keypoints"][2] = 0
    shown["keypoints"][5] = 1
    write(path, document([3, 4, 6], [shown, annotation(6, 6)]))
    contents, recording = read_one(READER, path)
    assert (contents.layout, contents.dimensions, contents.unit_metres, contents.up) == (COCO_17, 2, 0, "-y")
    assert contents.doubts == ()
    assert np.isnan(recording.positions[0, 0, 0]).all()
    assert recording.positions[0, 0, 1:3].tolist() == [[4, 3], [5, 5]]
    assert recording.confidence[0, 0, :3].tolist() == [0, 0.5, 1]
    assert np.isnan(recording.positions[0, :, 5, 0]).tolist() == [False, True, True, False]
    assert FRAMES_WITHOUT_ANYBODY in recording.notes
    assert format_of(path) == "coco"


def test_confidence_in_place_of_flags_is_kept(path):
    _, recording = read_one(READER, write(path, document([1], [annotation(1, visible=0.25)])))
    assert (recording.confidence == 0.25).all()


def test_images_by_video_and_people_by_track(path):
    images = [
        {"id": 11, "file_name": "a.jpg", "vid_id": "7", "frame_id": 0},
        {"id": 12, "file_name": "b.jpg", "vid_id": "7", "frame_id": 1},
        {"id": 21, "file_name": "c.jpg", "vid_id": "8", "frame_id": 5},
    ]
    annotations = [
        annotation(11, 0, track_id=1),
        annotation(11, 300, track_id=2),
        annotation(12, 300, track_id=1),
        annotation(21, 9),
    ]
    write(path, document(images, annotations, videos=[{"id": 7, "name": "walk"}]))
    ((contents, recordings),) = read_all(READER, [path])
    assert [clip.key for clip in contents.clips] == ["walk", "8"]
    assert contents.clips[0].attributes == {"video": "7"}
    assert recordings["walk"].positions[0, :, 0, 0].tolist() == [0, 300]
    assert recordings["8"].positions[0, 0, 0, 0] == 9


def test_images_by_folder(path):
    images = [{"id": number, "file_name": f"clip{number % 2}/img_{number // 2}.jpg"} for number in range(6)]
    write(path, document(images, [annotation(number, number) for number in range(6)]))
    ((contents, recordings),) = read_all(READER, [path])
    assert len(contents.clips) == 2
    assert [recording.positions[0, :, 0, 0].tolist() for recording in recordings.values()] == [[0, 2, 4], [1, 3, 5]]


def test_other_keypoints_have_their_names_and_their_tree(path):
    category = {"id": 1, "keypoints": ["a", "b", "c"], "skeleton": [[1, 2], [2, 3]]}
    contents, _ = read_one(READER, write(path, document([1], [annotation(1, joints=3)]) | {"categories": [category]}))
    assert (contents.layout, contents.joints, contents.parents) == (None, ("a", "b", "c"), (1, 1, 1))
    category["skeleton"] = [[1, 2]]
    contents, _ = read_one(READER, write(path, document([1], [annotation(1, joints=3)]) | {"categories": [category]}))
    assert contents.parents is None


def test_without_names_the_layout_is_doubted(path):
    contents, _ = read_one(READER, write(path, document([1], [annotation(1)]) | {"categories": []}))
    assert contents.layout is COCO_17
    assert contents.doubts[0].option.startswith("--layout")


def test_other_categories_are_left_out_and_listed(path):
    contents, recording = read_one(
        READER, write(path, document([1], [annotation(1), annotation(1, joints=3, category_id=2), {"image_id": 1}]))
    )
    assert recording.positions.shape == (1, 1, 17, 2)
    assert len(contents.left_out) == 1


@pytest.mark.parametrize(
    "content",
    [
        document([1], [annotation(1), annotation(1, joints=16)]),
        document([1], [annotation(1, joints=16)]),
        document([1], [annotation(1, keypoints=[1, 2])]),
        document([1], [annotation(1, keypoints="0,5")]),
        document([1], [annotation(1, keypoints=["a"] * 51)]),
        document([1], [annotation(2)]),
        document([1], [annotation([1])]),
        document([1], [{"image_id": 1, "bbox": [1, 2, 3, 4]}]),
        document([1, 1], [annotation(1)]),
        document([{"id": None}], [annotation(1)]),
        document([1, 10**9], [annotation(1)]),
        document([{"id": 1, "frame_id": -1}], [annotation(1)]),
        {"images": 3, "annotations": []},
        {"images": [3], "annotations": []},
        *(content for name, content in WRONG_FILES.items()),
    ],
)
def test_what_breaks_the_format(path, content):
    write(path, content)
    with pytest.raises(ParseError) as caught:
        read_all(READER, [path])
    assert caught.value.path == path


def test_many_recordings_in_one_file_are_read_once(path, monkeypatch):
    import marrow.importing.estimators.coco as module

    images = [{"id": number, "file_name": f"clip_{number // 3}_x/img_{number % 3}.jpg"} for number in range(30)]
    write(path, document(images, [annotation(number) for number in range(30)]))
    count = 0

    def counted(file, read=module.read_json):
        nonlocal count
        count += 1
        return read(file)

    monkeypatch.setattr(module, "read_json", counted)
    ((contents, _),) = read_all(READER, [path])
    assert (len(contents.clips), count) == (10, 1)


GOOD = json.dumps(document([1, 2], [annotation(1), annotation(2, 5, track_id=1)], videos=[{"id": 1}])).encode()


@settings(max_examples=100, deadline=None)
@given(content=damaged(GOOD))
def test_damaged_files_raise_our_errors_only(tmp_path_factory, content):
    only_our_errors(READER, tmp_path_factory.getbasetemp() / "coco.json", content)
