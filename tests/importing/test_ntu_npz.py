"""NTU RGB+D's NPZ as graph networks have it: x_*, one-hot y_*, two people of 25 joints."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving_body import in_order, moving

from marrow.errors import ConfigError, MarrowError, ParseError
from marrow.importing.arrays.npy import Array
from marrow.importing.arrays.ntu_npz import NtuNpz
from marrow.importing.detect import read_head
from marrow.importing.recording import ReadOptions
from marrow.readers.base import SkipRecording

PLAIN = ReadOptions()


def clips(count, frames=300, seed=0):
    values = moving(count, 2, frames, 25, seed=seed)
    values[:, :, 80:] = 0
    values[0, 1] = 0
    return values


def write(file, train, test, classes=60, save=np.savez, order="NT(MVC)", **more):
    one_hot = np.eye(classes, dtype=np.float32)
    arrays = {}
    for part, values in (("train", train), ("test", test)):
        arrays[f"x_{part}"] = in_order(values, order)
        arrays[f"y_{part}"] = one_hot[np.arange(len(values)) * 7 % classes]
    save(file, **arrays, **more)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["NT(MVC)", "NCTVM"])
def test_clips_of_both_parts_are_read(tmp_path, save, order):
    file = tmp_path / "NTU60_CS.npz"
    train, test = clips(5), clips(3, seed=1)
    test[2] = 0
    write(file, train, test, save=save, order=order, extra=np.ones(4))
    assert NtuNpz().accepts(read_head(file))
    (source,) = NtuNpz().gather([file])
    contents = NtuNpz().peek(source, PLAIN)
    assert [(clip.key, clip.label, clip.parts) for clip in contents.clips] == [
        *((f"train_{row}", f"A{row * 7 + 1:03d}", ("train",)) for row in range(5)),
        *((f"test_{row}", f"A{row * 7 + 1:03d}", ("test",)) for row in range(3)),
    ]
    assert contents.layout is not None
    assert contents.layout.name == "kinect_v2_25"
    assert (contents.unit_metres, contents.up, contents.fps) == (1.0, "y", 30.0)
    assert contents.left_out == ("extra",)
    assert "x_train" in contents.axes
    for key, values in (("test_1", test[1]), ("train_4", train[4]), ("train_0", train[0, :1])):
        recording = NtuNpz().read(source, key, PLAIN)
        np.testing.assert_array_equal(recording.positions, values[:, :80])
        assert recording.confidence is None
    with pytest.raises(SkipRecording):
        NtuNpz().read(source, "test_2", PLAIN)
    with pytest.raises(ParseError):
        NtuNpz().read(source, "test_3", PLAIN)


def test_one_person_and_other_counts_of_classes(tmp_path):
    file = tmp_path / "a.npz"
    values = clips(4, 100)[:, :1]
    write(file, values, values, classes=11, order="NT(MVC)")
    (source,) = NtuNpz().gather([file])
    assert [clip.label for clip in NtuNpz().peek(source, PLAIN).clips[:3]] == ["000", "007", "003"]
    np.testing.assert_array_equal(NtuNpz().read(source, "train_2", PLAIN).positions, values[2, :, :80])


def test_other_arrays_of_that_name_are_the_general_formats(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, x_train=in_order(moving(6, 1, 40, 20), "NTVC"), y_train=np.arange(6))
    assert not NtuNpz().accepts(read_head(file))
    assert Array().accepts(read_head(file))
    np.savez(file, positions=in_order(moving(6, 2, 40, 25), "NT(MVC)"))
    assert not NtuNpz().accepts(read_head(file))


@pytest.mark.parametrize(
    "arrays",
    [
        {"x_train": np.zeros((3, 300, 151))},
        {"x_train": np.array(["a"])},
        {"x_train": np.zeros((3, 300, 150)), "y_train": np.eye(60)[:2]},
        {"x_train": np.zeros((3, 300, 150)), "y_train": np.zeros((3, 60))},
        {"x_train": np.zeros((3, 300, 150)), "y_train": np.array([1.5, 2, 3])},
        {"y_train": np.eye(60)[:2]},
        {"x_train": np.zeros((0, 300, 150))},
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, arrays):
    file = tmp_path / "a.npz"
    np.savez(file, **arrays)
    with pytest.raises(ParseError) as error:
        NtuNpz().peek(NtuNpz().gather([file])[0], PLAIN)
    assert error.value.path == file


def test_options_that_do_not_fit_are_refused(tmp_path):
    file = tmp_path / "a.npz"
    write(file, clips(2), clips(2))
    (source,) = NtuNpz().gather([file])
    for options in (ReadOptions(axes="NCTVM"), ReadOptions(layout="kinect_v1_20"), ReadOptions(layout="nobody")):
        with pytest.raises(ConfigError):
            NtuNpz().peek(source, options)


def test_infinite_positions_are_refused_with_their_place(tmp_path):
    file = tmp_path / "a.npz"
    train = clips(2)
    train[1, 1, 4, 6, 2] = np.inf
    write(file, train, clips(2))
    with pytest.raises(ParseError, match="clip 2 of x_train, frame 5, joint 7, body 2"):
        NtuNpz().read(NtuNpz().gather([file])[0], "train_1", PLAIN)


def good_files():
    values = clips(2, 12)
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        write(buffer, values, values, classes=4, save=save)
        yield buffer.getvalue()


GOOD = list(good_files())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_damage_brings_another_error(tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(GOOD)))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    file = tmp_path_factory.mktemp("damaged") / "a.npz"
    file.write_bytes(content)
    NtuNpz().accepts(read_head(file))
    try:
        (source,) = NtuNpz().gather([file])
        for clip in NtuNpz().peek(source, PLAIN).clips[:10]:
            NtuNpz().read(source, clip.key, PLAIN)
    except MarrowError:
        pass
