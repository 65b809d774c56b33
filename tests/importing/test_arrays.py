"""NPY and NPZ: which array holds positions, what stands beside it, and what is absent in it."""

import contextlib
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving_body import in_order, moving

from marrow.errors import ConfigError, MarrowError, ParseError
from marrow.importing.arrays.npy import Array
from marrow.importing.arrays.pyskl import Pyskl
from marrow.importing.detect import read_head
from marrow.importing.recording import Head, ReadOptions
from marrow.readers.base import SkipRecording

PLAIN = ReadOptions()


def sources(folder):
    return Array().gather(sorted(file for file in folder.iterdir() if file.suffix in (".npy", ".npz", ".pkl")))


def one_source(folder):
    (source,) = sources(folder)
    return source


def contents_and_clips(folder, options=PLAIN):
    source = one_source(folder)
    contents = Array().peek(source, options)
    return contents, {clip.key: Array().read(source, clip.key, options) for clip in contents.clips}


@pytest.mark.parametrize("order", ["NCTVM", "NMTVC", "NTVC", "TVC", "NT(VC)", "TVCN"])
def test_every_order_gives_the_same_numbers(tmp_path, order):
    values = moving(12, 2, 60, 25)
    np.save(tmp_path / "a.npy", in_order(values, order))
    contents, clips = contents_and_clips(tmp_path)
    assert contents.axes.replace(" ", "").replace("·", "").startswith(order)
    assert contents.joint_count == 25
    assert contents.dimensions == 3
    people = 2 if "M" in order else 1
    assert list(clips) == ([f"{clip:02d}" for clip in range(12)] if "N" in order else [""])
    for index, recording in enumerate(clips.values()):
        np.testing.assert_array_equal(recording.positions, values[index, :people])
        assert recording.confidence is None
        assert recording.notes == ()


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", "<i2", "<i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_type_is_read(tmp_path, dtype, order):
    values = (moving(1, 1, 40, 20, scale=100)[0, 0]).astype(dtype)
    np.save(tmp_path / "a.npy", np.asarray(values, order=order))
    contents, clips = contents_and_clips(tmp_path)
    np.testing.assert_array_equal(clips[""].positions[0], values.astype(np.float32))
    assert any("whole numbers" in doubt.text for doubt in contents.doubts) == ("i" in dtype)


def test_zeros_are_absent_and_padding_is_cut(tmp_path):
    values = moving(3, 2, 50, 25)
    values[0, :, 40:] = 0  # 40 frames
    values[0, 0, 10] = 0  # a frame in between without the first
    values[0, 0, 5, 3] = 0  # a joint that is not seen
    values[1, 1] = 0  # one person
    values[2] = 0  # nobody
    np.save(tmp_path / "a.npy", in_order(values, "NCTVM"))
    source = one_source(tmp_path)
    assert len(Array().peek(source, PLAIN).clips) == 3
    first = Array().read(source, "0", PLAIN)
    assert first.positions.shape == (2, 40, 25, 3)
    assert np.isnan(first.positions[0, 10]).all()
    assert np.isnan(first.positions[0, 5, 3]).all()
    assert np.isnan(first.positions).any(axis=-1).sum() == 26
    assert first.notes == ("frames of zeros at the end were cut",)
    assert Array().read(source, "1", PLAIN).positions.shape == (1, 50, 25, 3)
    with pytest.raises(SkipRecording):
        Array().read(source, "2", PLAIN)


def test_a_joint_at_the_origin_amid_its_body_is_there(tmp_path):
    values = moving(1, 1, 50, 25)[0, 0]
    values -= values[:, 1:2]  # relative to a joint in every frame
    values[7, 4] = 0  # and one that was not seen: now two are at the origin, and not always the same
    np.save(tmp_path / "a.npy", values)
    _, clips = contents_and_clips(tmp_path)
    assert not np.isnan(clips[""].positions[0, :7, 1]).any()
    assert np.isnan(clips[""].positions[0, 7, 4]).all()
    assert any("origin" in note for note in clips[""].notes)


def test_not_a_number_is_absent_and_infinite_is_refused(tmp_path):
    values = moving(4, 1, 50, 25)
    values[1, 0, 3, 2, 0] = np.nan
    values[2, 0, 3, 2, 1] = np.inf
    values[3, 0, 6, 9, 1] = -2e6
    np.save(tmp_path / "a.npy", in_order(values, "NTVC"))
    source = one_source(tmp_path)
    recording = Array().read(source, "1", PLAIN)
    assert np.argwhere(np.isnan(recording.positions).all(axis=-1)).tolist() == [[0, 3, 2]]
    assert recording.notes == ("positions that are not numbers were taken for absent",)
    for clip, where in (("2", "clip 3.*frame 4, joint 3"), ("3", "clip 4.*frame 7, joint 10")):
        with pytest.raises(ParseError, match=where):
            Array().read(source, clip, PLAIN)


def test_what_stands_beside_the_positions_is_understood(tmp_path):
    values = moving(5, 1, 40, 20)
    values[1, :, 30:] = 0
    confidence = np.full((5, 40, 20), 0.5, np.float32)
    confidence[0, 3, 4] = 0.25
    np.savez(
        tmp_path / "a.npz",
        skeletons=in_order(values, "NTVC"),
        labels=np.array([2, 0, 1, -1, 2]),
        class_names=np.array(["sit", "walk", "jump"]),
        lengths=np.array([40, 30, 20, 40, 40]),
        names=np.array(["a", "b", "c", "d", "a"]),
        subject=np.array([1, 1, 2, 2, 3]),
        fps=25,
        joint_names=np.array([f"j{joint}" for joint in range(20)]),
        parents=np.array([-1, *range(19)]),
        confidence=confidence,
        rotations=np.ones((5, 40, 20, 4)),
    )
    contents, clips = contents_and_clips(tmp_path)
    assert [clip.key for clip in contents.clips] == ["a", "b", "c", "d", "a#2"]
    assert [clip.label for clip in contents.clips] == ["jump", "sit", "walk", None, "jump"]
    assert [clip.attributes for clip in contents.clips] == [{"subject": subject} for subject in (1, 1, 2, 2, 3)]
    assert contents.fps == 25
    assert contents.joints == tuple(f"j{joint}" for joint in range(20))
    assert contents.parents == (0, *range(19))
    assert contents.layout is None  # the joints have names
    assert contents.left_out == ("rotations",)
    assert [clip.positions.shape[1] for clip in clips.values()] == [40, 30, 20, 40, 40]
    assert clips["c"].notes == ("frames beyond the length that is said were cut",)
    assert clips["b"].notes == ()
    assert clips["a"].confidence is not None
    assert clips["a"].confidence[0, 3, 4] == 0.25
    assert clips["a"].confidence.shape == (1, 40, 20)


def test_one_hot_labels_and_parts_go_by_name(tmp_path):
    one_hot = np.eye(3)
    np.savez_compressed(
        tmp_path / "a.npz",
        x_train=in_order(moving(4, 1, 40, 20), "NTVC"),
        y_train=one_hot[[0, 1, 2, 0]],
        x_test=in_order(moving(2, 1, 40, 20, seed=3), "NTVC"),
        y_test=one_hot[[2, 1]],
    )
    contents, clips = contents_and_clips(tmp_path)
    assert [(clip.key, clip.label, clip.parts) for clip in contents.clips] == [
        ("train_0", "000", ("train",)),
        ("train_1", "001", ("train",)),
        ("train_2", "002", ("train",)),
        ("train_3", "000", ("train",)),
        ("test_0", "002", ("test",)),
        ("test_1", "001", ("test",)),
    ]
    np.testing.assert_array_equal(clips["test_1"].positions[0], moving(2, 1, 40, 20, seed=3)[1, 0])


def test_an_array_per_clip(tmp_path):
    lengths = {"walk_1": 40, "walk_2": 55, "sit_1": 33}
    values = {name: moving(1, 1, frames, 20)[0, 0] for name, frames in lengths.items()}
    np.savez(tmp_path / "a.npz", **values)
    contents, clips = contents_and_clips(tmp_path)
    assert list(clips) == list(lengths)
    for name, recording in clips.items():
        np.testing.assert_array_equal(recording.positions[0], values[name])
    assert any("walk_1" in doubt.text for doubt in contents.doubts)


def test_labels_without_a_name_are_taken_with_a_doubt(tmp_path):
    np.savez(tmp_path / "a.npz", in_order(moving(6, 1, 40, 20), "NTVC"), np.arange(6) % 2)
    contents, _ = contents_and_clips(tmp_path)
    assert [clip.label for clip in contents.clips] == ["000", "001"] * 3
    assert any("arr_1" in doubt.text for doubt in contents.doubts)


def test_the_pair_of_st_gcn_is_put_together(tmp_path):
    names = [f"S001C001P00{person}R001A0{action}.skeleton" for person in (1, 2) for action in (11, 12)]
    for part, seed in (("train", 0), ("val", 5)):
        np.save(tmp_path / f"{part}_data_joint.npy", in_order(moving(4, 2, 60, 25, seed=seed), "NCTVM"))
        np.save(tmp_path / f"{part}_data_bone.npy", in_order(moving(4, 2, 60, 25), "NCTVM"))
        np.save(tmp_path / f"{part}_num_frame.npy", np.array([60, 50, 60, 60]))
        (tmp_path / f"{part}_label.pkl").write_bytes(pickle.dumps((names, [10, 11, 10, 11])))
    for file in sorted(tmp_path.iterdir()):
        assert Array().accepts(read_head(file))
        assert not Pyskl().accepts(read_head(file))
    train, val = sources(tmp_path)
    assert (train.name, val.name) == ("train", "val")
    assert train.path.name == "train_data_joint.npy"
    contents = Array().peek(val, PLAIN)
    assert [clip.key for clip in contents.clips] == [name.removesuffix(".skeleton") for name in names]
    assert [clip.label for clip in contents.clips] == ["A011", "A012", "A011", "A012"]
    assert {clip.parts for clip in contents.clips} == {("val",)}
    assert contents.left_out == ("val_data_bone.npy",)
    recording = Array().read(val, "S001C001P001R001A012", PLAIN)
    np.testing.assert_array_equal(recording.positions, moving(4, 2, 60, 25, seed=5)[1, :, :50])
    # One file alone finds its labels, too.
    (alone,) = Array().gather([tmp_path / "train_data_joint.npy"])
    assert Array().peek(alone, PLAIN).clips[0].label == "A011"


def test_the_pair_x_and_y_is_put_together(tmp_path):
    np.save(tmp_path / "X_train.npy", in_order(moving(5, 1, 40, 20), "NTVC"))
    np.save(tmp_path / "y_train.npy", np.array(["a", "b", "a", "b", "a"]))
    np.save(tmp_path / "other.npy", moving(1, 1, 40, 20)[0, 0])
    other, pair = sorted(sources(tmp_path), key=lambda source: len(source.files))
    assert [file.name for file in pair.files] == ["X_train.npy", "y_train.npy"]
    assert [clip.label for clip in Array().peek(pair, PLAIN).clips] == ["a", "b", "a", "b", "a"]
    assert Array().peek(other, PLAIN).clips[0].key == ""


@pytest.mark.parametrize(
    "labels",
    [
        (["a", "b"], [0, 1]),  # two for four clips
        (["a"] * 4, [0, 1]),
        (["a"] * 4, [0, 1, 0.5, 1]),
        (["a"] * 4, [[0]] * 4),
        {"a": 1},
        "hello",
        (),
        ([], []),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, labels):
    np.save(tmp_path / "train_data.npy", in_order(moving(4, 1, 40, 25), "NCTVM"))
    (tmp_path / "train_label.pkl").write_bytes(pickle.dumps(labels))
    with pytest.raises(ParseError):
        Array().peek(one_source(tmp_path), PLAIN)


def test_labels_alone_are_refused_with_what_is_missing(tmp_path):
    (tmp_path / "train_label.pkl").write_bytes(pickle.dumps((["a"], [0])))
    with pytest.raises(ParseError, match="beside"):
        Array().peek(one_source(tmp_path), PLAIN)


def test_the_axes_may_be_given(tmp_path):
    np.save(tmp_path / "a.npy", in_order(moving(2, 1, 50, 25), "NTVC"))
    contents, clips = contents_and_clips(tmp_path)
    assert len(clips) == 1
    assert any("--axes" in doubt.option for doubt in contents.doubts)
    contents, clips = contents_and_clips(tmp_path, ReadOptions(axes="NTVC"))
    assert len(clips) == 2
    assert not any("--axes" in doubt.option for doubt in contents.doubts)
    contents, clips = contents_and_clips(tmp_path, ReadOptions(axes="NTVC,xyc"))
    assert contents.dimensions == 2
    np.testing.assert_array_equal(clips["1"].positions[0], moving(2, 1, 50, 25)[1, 0, ..., :2])
    with pytest.raises(ConfigError, match="2 × 50 × 25 × 3"):
        Array().peek(one_source(tmp_path), ReadOptions(axes="TVC"))


def test_the_layout_may_be_given(tmp_path):
    np.save(tmp_path / "a.npy", moving(1, 1, 50, 25)[0, 0])
    layout = Array().peek(one_source(tmp_path), PLAIN).layout
    assert layout is not None
    assert layout.name == "kinect_v2_25"
    for name in ("kinect_v1_20", "nobody"):
        with pytest.raises(ConfigError, match=name):
            Array().peek(one_source(tmp_path), ReadOptions(layout=name))


def test_pixels_have_no_unit_and_y_points_down(tmp_path):
    np.save(tmp_path / "a.npy", moving(1, 1, 50, 14, 2, scale=200)[0, 0] + 400)
    contents, _ = contents_and_clips(tmp_path)
    assert (contents.dimensions, contents.unit_metres, contents.up) == (2, 0.0, "-y")


def test_rotations_are_not_taken_for_positions(tmp_path):
    np.savez(tmp_path / "a.npz", poses=np.ones((40, 156)), trans=np.ones((40, 3)), betas=np.ones(16))
    with pytest.raises(ParseError, match="rotations"):
        Array().peek(one_source(tmp_path), PLAIN)


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.ones(5)},
        {"x": np.array("hello")},
        {"x": np.zeros((0, 30, 25, 3))},
        {"x": np.ones((4, 30, 25, 3)), "fps": np.array(-1.0)},
        {"x": np.ones((4, 30, 25, 3)), "fps": np.array(np.nan)},
        {"x": np.ones((4, 30, 25, 3)), "lengths": np.array([1, 2, -3, 4])},
        {"x": np.ones((4, 30, 25, 3)), "labels": np.array([0, 1, 7, 1]), "classes": np.array(["a", "b"])},
        {"x": np.ones((4, 30, 25, 3)), "labels": np.array([0, 1, 0.5, 1])},
        {"x": np.ones((4, 30, 25, 3)), "labels": np.array([[0, 1], [1, 1], [1, 0], [1, 0]])},
        {"x": np.ones((4, 30, 25, 3)), "parents": np.full(25, 99)},
        {"x_train": np.ones((4, 30, 25, 3)), "x_test": np.ones((4, 30, 20, 3))},
        {"x": np.zeros((2, 700, 30, 25, 3), np.float16)},  # 700 people
        {},
    ],
)
def test_what_holds_no_positions_or_odd_things_is_refused(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ParseError) as error:
        contents_and_clips(tmp_path)
    assert error.value.path.name == "a.npz"


def test_an_unknown_clip_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", in_order(moving(12, 1, 50, 25), "NTVC"))
    for key in ("12", "", "a"):
        with pytest.raises(ParseError):
            Array().read(one_source(tmp_path), key, PLAIN)


def test_files_are_told_by_their_content(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, x=np.ones(3))
    other_zip = b"PK\x03\x04" + bytes(22) + struct.pack("<HH", 8, 0) + b"word.xml"
    cases = {
        "a.dat": (b"\x93NUMPY\x01\x00", True),
        "b.dat": (buffer.getvalue(), True),
        "c.npy": (b"", True),
        "d.npz": (b"\x00\x01\x02" * 9, True),
        "e.npy": (b"x,y,z\n1,2,3\n", False),
        "f.zip": (other_zip, False),
        "train_label.pkl": (pickle.dumps((["a"], [0])), True),
        "train_data.pkl": (pickle.dumps((["a"], [0])), False),
        "g.json": (b"{}", False),
    }
    for name, (content, accepted) in cases.items():
        assert Array().accepts(Head(Path(name), content)) == accepted, name
    (tmp_path / "a.npz").write_bytes(buffer.getvalue())
    assert Array().accepts(read_head(tmp_path / "a.npz"))


def good_files():
    values = moving(6, 1, 12, 20)
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, x=in_order(values, "NTVC"), y=np.arange(6) % 2, fps=30, names=np.array(list("abcdef")))
        yield buffer.getvalue()
    buffer = io.BytesIO()
    np.save(buffer, in_order(values, "NCTVM"))
    yield buffer.getvalue()


GOOD = list(good_files())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_damage_brings_another_error(tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(GOOD)))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "a.npz").write_bytes(content)
    Array().accepts(read_head(folder / "a.npz"))
    with contextlib.suppress(MarrowError):
        contents_and_clips(folder)


def test_a_label_for_one_clip_and_thousands_of_arrays(tmp_path):
    values = moving(1, 1, 30, 20)[0, 0]
    np.savez(tmp_path / "a.npz", skeleton=values, label="walk", fps=50.0)
    contents, clips = contents_and_clips(tmp_path)
    assert [clip.label for clip in contents.clips] == ["walk"]
    assert clips[""].fps == 50
    (tmp_path / "a.npz").unlink()
    np.savez(tmp_path / "b.npz", **{f"clip{row}": values[: 30 - row % 9] for row in range(1000)})
    contents = Array().peek(one_source(tmp_path), PLAIN)
    assert len(contents.clips) == 1000
    assert Array().read(one_source(tmp_path), "clip107", PLAIN).positions.shape == (1, 22, 20, 3)


def test_small_arrays_have_the_axes_of_the_largest(tmp_path):
    values = moving(1, 1, 60, 20)[0, 0]
    np.savez(tmp_path / "a.npz", a=values[:2], b=values, c=values[:1])
    _, clips = contents_and_clips(tmp_path)
    assert [clips[name].positions.shape[1] for name in "abc"] == [2, 60, 1]


def test_labels_of_frames_and_names_of_other_joints_are_left_out_with_a_doubt(tmp_path):
    values = moving(1, 1, 30, 20)[0, 0]
    names = np.array([f"joint{joint}" for joint in range(21)])
    np.savez(tmp_path / "a.npz", skeleton=values, label=np.arange(30), joint_names=names, fps=50.0)
    contents, clips = contents_and_clips(tmp_path)
    np.testing.assert_array_equal(clips[""].positions[0], values)
    assert contents.joints is None
    assert contents.fps == 50
    assert contents.clips[0].label is None
    assert len([doubt for doubt in contents.doubts if "left out" in doubt.text]) == 2


def test_lists_of_several_lengths_are_left_out_where_they_do_not_fit(tmp_path):
    values = in_order(moving(5, 1, 30, 20), "NTVC")
    np.savez(
        tmp_path / "a.npz",
        x=values,
        y=np.arange(3),
        names=np.array(list("abcde")),
        camera=np.arange(3),
        age=np.arange(5),
    )
    contents, _ = contents_and_clips(tmp_path)
    assert [(clip.key, clip.label, clip.attributes) for clip in contents.clips][:2] == [
        ("a", None, {"age": 0}),
        ("b", None, {"age": 1}),
    ]


def test_empty_labels_are_refused(tmp_path):
    np.save(tmp_path / "train_data.npy", in_order(moving(4, 1, 40, 25), "NCTVM"))
    np.save(tmp_path / "train_label.npy", np.ones((4, 0)))
    with pytest.raises(ParseError):
        Array().peek(one_source(tmp_path), PLAIN)
