"""Pickles of pyskl and mmaction2: annotations with key points, scores, labels and splits."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving_body import moving

from marrow.errors import ConfigError, MarrowError, ParseError
from marrow.importing.arrays.pyskl import Pyskl
from marrow.importing.detect import read_head
from marrow.importing.recording import Head, ReadOptions
from marrow.readers.base import SkipRecording
from marrow.skeleton.estimators import COCO_17

PLAIN = ReadOptions()


def annotation(name, label, values, score=None, **more):
    item = {"frame_dir": name, "label": label, "total_frames": values.shape[1], "keypoint": values.astype(np.float16)}
    item |= {"img_shape": (1080, 1920), "original_shape": (1080, 1920)}
    if score is not None:
        item["keypoint_score"] = score.astype(np.float16)
    return item | more


def ntu_3d():
    names = [f"S001C001P00{person}R001A0{action}" for person in (1, 2) for action in (11, 12)]
    values = moving(4, 2, 30, 25)
    values[1, 1] = 0
    items = [annotation(name, 10 + row % 2, values[row]) for row, name in enumerate(names)]
    split = {"xsub_train": names[:2], "xsub_val": names[2:], "xview_train": [names[0], names[2]]}
    return {"split": split, "annotations": items}, values.astype(np.float16).astype(np.float32)


def coco_2d():
    values = moving(3, 1, 20, 17, 2, scale=200) + 300
    score = np.full((3, 1, 20, 17), 0.75)
    score[0, 0, 2, 3] = 0.125
    values[2, 0, 4:7] = 0
    return [annotation(f"v{row}", row, values[row], score[row]) for row in range(3)], values


def write(folder, content, protocol=4):
    file = folder / "clips.pkl"
    file.write_bytes(pickle.dumps(content, protocol))
    (source,) = Pyskl().gather([file])
    return source


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_ntu_in_three_dimensions(tmp_path, protocol):
    content, values = ntu_3d()
    source = write(tmp_path, content, protocol)
    assert Pyskl().accepts(read_head(source.path))
    contents = Pyskl().peek(source, PLAIN)
    assert [(clip.key[16:], clip.label, clip.parts) for clip in contents.clips] == [
        ("A011", "A011", ("xsub_train", "xview_train")),
        ("A012", "A012", ("xsub_train",)),
        ("A011", "A011", ("xsub_val", "xview_train")),
        ("A012", "A012", ("xsub_val",)),
    ]
    assert contents.layout is not None
    assert contents.layout.name == "kinect_v2_25"
    assert (contents.unit_metres, contents.up, contents.fps, contents.dimensions) == (1.0, "y", 30.0, 3)
    assert contents.doubts == ()
    for row, people in ((0, 2), (1, 1), (3, 2)):
        recording = Pyskl().read(source, contents.clips[row].key, PLAIN)
        np.testing.assert_array_equal(recording.positions, values[row, :people])
        assert recording.notes == ()


def test_coco_in_two_dimensions_as_a_plain_list(tmp_path):
    content, values = coco_2d()
    source = write(tmp_path, content)
    contents = Pyskl().peek(source, PLAIN)
    assert [(clip.key, clip.label) for clip in contents.clips] == [("v0", "000"), ("v1", "001"), ("v2", "002")]
    assert (contents.unit_metres, contents.up, contents.fps, contents.dimensions) == (0.0, "-y", None, 2)
    recording = Pyskl().read(source, "v0", PLAIN)
    np.testing.assert_array_equal(recording.positions[0], values[0, 0].astype(np.float16).astype(np.float32))
    assert recording.confidence is not None
    assert recording.confidence[0, 2, 3] == 0.125
    assert (recording.confidence == 0.75).sum() == 20 * 17 - 1
    gap = Pyskl().read(source, "v2", PLAIN)
    assert np.isnan(gap.positions[0, 4:7]).all()
    assert np.isfinite(gap.positions[0, [3, 7]]).all()


def test_kinect_without_ntus_names_is_a_doubt(tmp_path):
    source = write(tmp_path, [annotation("a", 0, moving(1, 1, 20, 25)[0])])
    contents = Pyskl().peek(source, PLAIN)
    assert {doubt.option for doubt in contents.doubts} == {"--layout NAME", "--unit_metres METRES"}
    assert contents.fps is None
    given = Pyskl().peek(source, ReadOptions(layout="kinect_v2_25"))
    assert "--layout NAME" not in {doubt.option for doubt in given.doubts}
    with pytest.raises(ConfigError):
        Pyskl().peek(source, ReadOptions(layout="kinect_v1_20"))


def test_names_that_come_twice_or_are_in_no_annotation(tmp_path):
    values = moving(2, 1, 20, 25)
    items = [annotation("a", 0, values[0]), annotation("a", 1, values[1])]
    source = write(tmp_path, {"annotations": items, "split": {"train": ["a", "b"]}})
    contents = Pyskl().peek(source, PLAIN)
    assert [(clip.key, clip.parts) for clip in contents.clips] == [("a", ("train",)), ("a#2", ("train",))]
    assert any("no annotation" in doubt.text for doubt in contents.doubts)
    second = Pyskl().read(source, "a#2", PLAIN).positions
    np.testing.assert_array_equal(second, values[1].astype(np.float16).astype(np.float32))


def test_a_wrong_count_of_frames_is_a_note_and_nobody_is_skipped(tmp_path):
    values = moving(1, 1, 20, 25)[0]
    empty = annotation("empty", 0, np.zeros((0, 20, 25, 3)))
    source = write(tmp_path, [annotation("a", 0, values) | {"total_frames": 25}, empty])
    assert len(Pyskl().read(source, "a", PLAIN).notes) == 1
    with pytest.raises(SkipRecording):
        Pyskl().read(source, "empty", PLAIN)


GOOD_VALUES = moving(1, 1, 20, 25)[0]


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"annotations": []},
        {"annotations": {}},
        "hello",
        3,
        [1, 2],
        [{"frame_dir": "a"}],
        [annotation("a", 0, GOOD_VALUES) | {"keypoint": "abc"}],
        [annotation("a", 0, GOOD_VALUES) | {"keypoint": [[1.0]]}],
        [annotation("a", 0, GOOD_VALUES) | {"keypoint": np.array([["a"]])}],
        [annotation("a", 0, GOOD_VALUES[0])],
        [annotation("a", 0, moving(1, 1, 20, 0)[0])],
        [annotation("a", 0, GOOD_VALUES), annotation("b", 0, moving(1, 1, 20, 17)[0])],
        [annotation("a", 0, GOOD_VALUES), annotation("b", 0, moving(1, 1, 20, 25, 2)[0])],
        [annotation("a", 0.5, GOOD_VALUES)],
        [annotation("a", [1], GOOD_VALUES)],
        [annotation("a", -7, GOOD_VALUES)],
        [annotation("a", 0, GOOD_VALUES, np.ones((1, 20, 24)))],
        [annotation("a", 0, GOOD_VALUES) | {"keypoint_score": 3}],
        {"annotations": [annotation("a", 0, GOOD_VALUES)], "split": 7},
        {"annotations": [annotation("a", 0, GOOD_VALUES)], "split": {"train": 7}},
        {"annotations": [annotation("a", 5, GOOD_VALUES)], "classes": ["x", "y"]},
    ],
)
def test_what_is_no_list_of_annotations_is_refused(tmp_path, content):
    with pytest.raises(ParseError) as error:
        Pyskl().peek(write(tmp_path, content), PLAIN)
    assert error.value.path.name == "clips.pkl"


def test_the_annotation_that_is_wrong_is_named(tmp_path):
    values = GOOD_VALUES.copy()
    values[0, 3, 4, 1] = np.inf
    source = write(tmp_path, [annotation("a", 0, GOOD_VALUES), annotation("far", 0, values)])
    Pyskl().read(source, "a", PLAIN)
    with pytest.raises(ParseError, match=r"'far'.*frame 4, joint 5"):
        Pyskl().read(source, "far", PLAIN)
    with pytest.raises(ParseError):
        Pyskl().read(source, "b", PLAIN)
    with pytest.raises(ParseError, match="annotation 2"):
        Pyskl().peek(write(tmp_path, [annotation("a", 0, GOOD_VALUES), {"frame_dir": "b"}]), PLAIN)


class Attack:
    def __init__(self, trap):
        self.trap = trap

    def __reduce__(self):
        return os.system, (f"touch {self.trap}",)


def test_a_pickle_that_calls_something_is_refused_by_name(tmp_path):
    trap = tmp_path / "trap"
    source = write(tmp_path, {"annotations": [annotation("a", 0, GOOD_VALUES), Attack(trap)]})
    with pytest.raises(ParseError, match="system"):
        Pyskl().peek(source, PLAIN)
    assert not trap.exists()


def test_pickles_are_told_by_their_content():
    content, _ = ntu_3d()
    assert Pyskl().accepts(Head(Path("ntu60_3danno.pkl"), pickle.dumps(content)[: 1 << 16]))
    assert Pyskl().accepts(Head(Path("label.pkl"), pickle.dumps(content)[: 1 << 16]))
    assert Pyskl().accepts(Head(Path("a.pickle"), pickle.dumps([1])))
    assert not Pyskl().accepts(Head(Path("train_label.pkl"), pickle.dumps((["a"], [1]))))
    for other in (b"", b"hello", b'{"annotations": []}', b"PK\x03\x04", b"\x93NUMPY"):
        assert not Pyskl().accepts(Head(Path("a.pkl"), other))


GOOD = [pickle.dumps(ntu_3d()[0], 2), pickle.dumps(coco_2d()[0], 4)]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_damage_brings_another_error(tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(GOOD)))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, 2000) | st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    file = tmp_path_factory.mktemp("damaged") / "a.pkl"
    file.write_bytes(content)
    Pyskl().accepts(read_head(file))
    try:
        (source,) = Pyskl().gather([file])
        for clip in Pyskl().peek(source, PLAIN).clips:
            Pyskl().read(source, clip.key, PLAIN)
    except MarrowError:
        pass


def test_seventeen_points_in_two_dimensions_are_cocos(tmp_path):
    source = write(tmp_path, coco_2d()[0])
    contents = Pyskl().peek(source, PLAIN)
    assert contents.layout is COCO_17
    assert [doubt.option for doubt in contents.doubts] == ["--layout NAME"]
    assert Pyskl().peek(source, ReadOptions(layout="coco_17")).doubts == ()
