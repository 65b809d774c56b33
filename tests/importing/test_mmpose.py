"""MMPose: videos with and without names, images, three dimensions, whole bodies, and files that break the format."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from json_input import WRONG_FILES, damaged, format_of, only_our_errors, read_all, read_one, write

from marrow.errors import ParseError
from marrow.importing.estimators.frame_numbers import FRAMES_WITHOUT_ANYBODY
from marrow.importing.estimators.mmpose import MmPose
from marrow.readers import SkipRecording
from marrow.skeleton.estimators import COCO_17, H36M_17, HALPE_26

READER = MmPose()
COCO_NAMES = [
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee"),
    *("left_ankle", "right_ankle"),
]


def instance(x=0.0, joints=17, in_space=False, **more):
    points = [[x + joint, 2.0 * joint + 1, *([0.5] if in_space else [])] for joint in range(joints)]
    return {"keypoints": points, "keypoint_scores": [0.75] * joints, "bbox": [[1, 2, 3, 4]], "bbox_score": 0.9, **more}


def video(*frames, meta=None):
    info = [{"frame_id": number, "instances": list(people)} for number, people in frames]
    return info if meta is None else {"meta_info": meta, "instance_info": info}


def meta(names, links=(), dataset="coco"):
    return {
        "dataset_name": dataset,
        "num_keypoints": len(names),
        "keypoint_id2name": {str(joint): name for joint, name in enumerate(names)},
        "skeleton_links": [list(pair) for pair in links],
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clip.json"


def test_a_video_with_names(path):
    write(path, video((1, [instance(1)]), (2, []), (3, [instance(3)]), (5, [instance(5)]), meta=meta(COCO_NAMES)))
    contents, recording = read_one(READER, path)
    assert (contents.layout, contents.dimensions, contents.unit_metres, contents.up) == (COCO_17, 2, 0, "-y")
    assert (contents.software, contents.doubts) == ("MMPose", ())
    np.testing.assert_array_equal(recording.positions[0, :, 2, 0], [3, np.nan, 5, np.nan, 7])
    assert recording.positions[0, 0, 16].tolist() == [17, 33]
    assert recording.confidence[0, :, 4].tolist() == [0.75, 0, 0.75, 0, 0.75]
    assert FRAMES_WITHOUT_ANYBODY in recording.notes
    assert format_of(path) == "mmpose"


@pytest.mark.parametrize(
    ("joints", "in_space", "layout"), [(17, False, COCO_17), (26, False, HALPE_26), (17, True, H36M_17)]
)
def test_without_names_the_layout_is_doubted(path, joints, in_space, layout):
    write(path, video((0, [instance(0, joints, in_space)])))
    contents, recording = read_one(READER, path)
    assert contents.layout is layout
    assert contents.doubts[0].option.startswith("--layout")
    assert contents.dimensions == recording.positions.shape[-1] == (3 if in_space else 2)
    assert (contents.up, contents.unit_metres) == ((None, None) if in_space else ("-y", 0))


def test_lifted_keypoints_are_preferred(path):
    points = [[0.1 * joint, 0.0, 1.0] for joint in range(17)]
    points[0] = [0.0, 0.0, 0.0]  # the root, seen
    _, recording = read_one(READER, write(path, video((0, [instance(5, keypoints_3d=[points])]))))
    np.testing.assert_allclose(recording.positions[0, 0, :3], [[0, 0, 0], [0.1, 0, 1], [0.2, 0, 1]], atol=1e-6)


def test_of_a_whole_body_the_body_is_read(path):
    contents, recording = read_one(READER, write(path, video((0, [instance(0, 133)]))))
    assert contents.layout is COCO_17
    assert recording.positions.shape == (1, 1, 17, 2)
    assert [part.split()[0] for part in contents.left_out] == ["6", "68", "42"]
    names = [f"point{joint}" for joint in range(133)]
    contents, _ = read_one(READER, write(path, video((0, [instance(0, 133)]), meta=meta(names))))
    assert contents.layout is COCO_17
    assert contents.doubts == ()


def test_other_names_are_taken_with_their_tree(path):
    names = ["hip", "spine", "head", "tail"]
    write(path, video((0, [instance(0, 4)]), meta=meta(names, [(1, 0), (2, 1), (3, 1)], "horse")))
    contents, _ = read_one(READER, path)
    assert (contents.layout, contents.joints, contents.parents) == (None, tuple(names), (1, 1, 1, 1))


def test_images_of_one_recording(tmp_path):
    files = [write(tmp_path / f"img_{number:03d}.json", [instance(number)]) for number in (1, 2, 4)]
    assert format_of(files[0]) == "mmpose"
    ((_, recordings),) = read_all(READER, files)
    np.testing.assert_array_equal(recordings[""].positions[0, :, 0, 0], [1, 2, np.nan, 4])


def test_videos_stand_alone_even_if_they_are_numbered(tmp_path):
    files = [write(tmp_path / f"clip{number}.json", video((0, [instance()]))) for number in (1, 2)]
    assert len(read_all(READER, files)) == 2


def test_predictions_as_python_has_them(path):
    write(path, [{"predictions": [[instance(0)]]}, {"predictions": [[]]}, {"predictions": [[instance(2)]]}])
    _, recording = read_one(READER, path)
    np.testing.assert_array_equal(recording.positions[0, :, 0, 0], [0, np.nan, 2])


def test_people_by_their_track(path):
    write(path, video((0, [instance(0, track_id=3), instance(300, track_id=5)]), (1, [instance(300, track_id=3)])))
    _, recording = read_one(READER, path)
    assert recording.positions[0, :, 0, 0].tolist() == [0, 300]


def test_frames_without_anybody_at_the_beginning(path):
    write(path, video(*((number, []) for number in range(3)), (3, [instance()])))
    assert read_one(READER, path)[1].positions.shape[1] == 4


def test_nobody(path):
    with pytest.raises(SkipRecording):
        read_all(READER, [write(path, video((0, []), (1, [])))])


@pytest.mark.parametrize(
    "document",
    [
        video((0, [instance()]), (1, [instance(joints=26)])),
        video((0, [instance(joints=16)])),
        video((0, [instance(keypoint_scores=[0.5])])),
        video((0, [instance(keypoint_scores="0,5")])),
        video((0, [instance(keypoints=[[1, 2], [3]])])),
        video((0, [instance(keypoints={"0": 1})])),
        video((0, [instance(keypoints=[["a", 2]] * 17)])),
        video((0, [instance(keypoints=[])])),
        video((0, [3])),
        video((-1, [instance()])),
        video((1.5, [instance()])),
        video((0, [instance()]), (10**12, [instance()])),
        video((0, [instance()]), meta=meta(["nose"] * 17)),
        {"meta_info": 3, "instance_info": []},
        {"meta_info": {}, "instance_info": {"0": 1}},
        *(content for name, content in WRONG_FILES.items() if name not in ("list", "lists")),
    ],
)
def test_what_breaks_the_format(path, document):
    write(path, document)
    with pytest.raises(ParseError) as caught:
        read_all(READER, [path])
    assert caught.value.path == path


GOOD = json.dumps(video((1, [instance(), instance(9)]), (3, [instance()]), meta=meta(COCO_NAMES, [(0, 1)]))).encode()


@settings(max_examples=100, deadline=None)
@given(content=damaged(GOOD))
def test_damaged_files_raise_our_errors_only(tmp_path_factory, content):
    only_our_errors(READER, tmp_path_factory.getbasetemp() / "mmpose.json", content)
