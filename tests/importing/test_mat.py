"""MAT: numbers and words as SciPy writes them, Penn Action, UTD-MHAD, and arrays in any order of axes."""

import contextlib
import io
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from moving_body import in_order, moving

from marrow.errors import MarrowError, ParseError
from marrow.importing.arrays.mat import Mat
from marrow.importing.detect import read_head
from marrow.importing.recording import Head, ReadOptions
from marrow.readers.base import SkipRecording
from marrow.readers.mat_file import read_mat
from marrow.skeleton.layout import KINECT_V1_20

PLAIN = ReadOptions()


def read_all(file, options=PLAIN):
    (source,) = Mat().gather([file])
    contents = Mat().peek(source, options)
    return contents, {clip.key: Mat().read(source, clip.key, options) for clip in contents.clips}


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_numbers_are_read_as_they_were_written(tmp_path, dtype, compressed):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    scipy.io.savemat(tmp_path / "a.mat", {"some_name": values, "one": 3.0, "word": "walk"}, do_compression=compressed)
    variables, left_out = read_mat(tmp_path / "a.mat")
    np.testing.assert_array_equal(variables["some_name"], values)
    assert variables["some_name"].dtype == values.dtype
    assert variables["one"].tolist() == [[3.0]]
    assert variables["word"] == ["walk"]
    assert left_out == ()


def test_cells_structures_and_complex_numbers_are_left_out_by_name(tmp_path):
    cell = np.empty(2, object)
    cell[0], cell[1] = np.ones(3), "a"
    names = {"words": np.array(["left", "up"]), "cell": cell, "s": {"a": 1}, "z": np.array([1j]), "x": np.ones((4, 5))}
    scipy.io.savemat(tmp_path / "a.mat", names)
    variables, left_out = read_mat(tmp_path / "a.mat")
    assert variables["words"] == ["left", "up"]
    assert set(variables) == {"words", "x"}
    assert [name.split()[0] for name in left_out] == ["cell", "s", "z"]


@pytest.mark.parametrize("order", ["VCT", "TVC", "NTVC"])
def test_arrays_are_read_in_any_order(tmp_path, order):
    values = moving(12, 1, 60, 20)
    label = {"label": np.arange(12) % 3} if "N" in order else {}
    scipy.io.savemat(tmp_path / "a.mat", {"skel": in_order(values, order), "fps": 20, **label})
    contents, clips = read_all(tmp_path / "a.mat")
    assert contents.axes.replace(" ", "").startswith(order)
    assert contents.fps == 20
    if "N" in order:
        assert [clip.label for clip in contents.clips] == ["000", "001", "002"] * 4
        np.testing.assert_array_equal(clips["11"].positions, values[11])
    else:
        np.testing.assert_array_equal(clips[""].positions, values[0])


def penn(frames=4, **changes):
    x = np.arange(frames * 13, dtype=float).reshape(frames, 13) + 1
    visibility = np.ones((frames, 13), np.uint8)
    visibility[2, 5] = 0
    variables = {"x": x, "y": x + 100, "visibility": visibility, "action": "bowl", "train": -1, "pose": "left"}
    return variables | {"bbox": np.ones((frames, 4)), "nframes": frames} | changes


def test_penn_action(tmp_path):
    scipy.io.savemat(tmp_path / "0001.mat", penn(), do_compression=True)
    contents, clips = read_all(tmp_path / "0001.mat")
    (clip,) = contents.clips
    assert (clip.key, clip.label, clip.parts) == ("", "bowl", ("test",))
    assert clip.attributes == {"viewpoint": "left"}
    assert contents.joints is not None
    assert contents.joints[:3] == ("head", "left_shoulder", "right_shoulder")
    assert contents.joints[11:] == ("left_ankle", "right_ankle")
    assert contents.parents is not None
    assert contents.joints[contents.parents[12]] == "right_knee"
    assert (contents.dimensions, contents.unit_metres, contents.up, contents.fps) == (2, 0.0, "-y", None)
    positions = clips[""].positions
    assert positions.shape == (1, 4, 13, 2)
    assert positions[0, 1, 2].tolist() == [16.0, 116.0]
    assert np.argwhere(np.isnan(positions).any(axis=-1)).tolist() == [[0, 2, 5]]
    assert clips[""].notes == ()


def test_penn_action_keeps_all_frames_and_skips_what_nobody_sees(tmp_path):
    seen = np.ones((4, 13), np.uint8)
    seen[3] = 0
    scipy.io.savemat(tmp_path / "a.mat", penn(visibility=seen, train=1))
    contents, clips = read_all(tmp_path / "a.mat")
    assert contents.clips[0].parts == ("train",)
    assert clips[""].positions.shape[1] == 4
    scipy.io.savemat(tmp_path / "b.mat", penn(visibility=seen * 0))
    with pytest.raises(SkipRecording):
        read_all(tmp_path / "b.mat")


@pytest.mark.parametrize(
    "changes",
    [
        {"x": np.ones((4, 12))},
        {"y": np.ones((3, 13))},
        {"visibility": "abc"},
        {"train": 0},
        {"train": np.ones((2, 2))},
        {"action": 3},
        {"x": np.full((4, 13), np.inf)},
    ],
)
def test_penn_action_with_other_shapes_is_refused(tmp_path, changes):
    scipy.io.savemat(tmp_path / "a.mat", penn(**changes))
    with pytest.raises(ParseError):
        read_all(tmp_path / "a.mat")


def test_utd_mhad(tmp_path):
    values = moving(1, 1, 50, 20)
    scipy.io.savemat(tmp_path / "a7_s3_t2_skeleton.mat", {"d_skel": in_order(values, "VCT")})
    contents, clips = read_all(tmp_path / "a7_s3_t2_skeleton.mat")
    (clip,) = contents.clips
    assert clip.label == "a07"
    assert clip.attributes == {"action": 7, "subject": 3, "trial": 2}
    assert contents.joints is not None
    assert contents.parents is not None
    assert contents.joints[:5] == ("Head", "ShoulderCenter", "Spine", "HipCenter", "ShoulderLeft")
    bones = {(joint, contents.joints[parent]) for joint, parent in zip(contents.joints, contents.parents, strict=True)}
    layout = KINECT_V1_20
    assert bones == {
        (joint, layout.joints[parent]) for joint, parent in zip(layout.joints, layout.parents, strict=True)
    }
    assert (contents.unit_metres, contents.up, contents.fps) == (1.0, "y", 30.0)
    np.testing.assert_array_equal(clips[""].positions, values[0])
    scipy.io.savemat(tmp_path / "b.mat", {"d_skel": np.ones((19, 3, 50))})
    with pytest.raises(ParseError, match="19 × 3 × 50"):
        read_all(tmp_path / "b.mat")


def matrix(flags, sizes, name=b"x", kind=9, raw=b""):
    def element(kind, content):
        return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)

    parts = element(6, struct.pack("<II", flags, 0)) + element(5, struct.pack(f"<{len(sizes)}i", *sizes))
    return element(14, parts + element(1, name) + element(kind, raw))


def mat(*elements):
    header = b"MATLAB 5.0 MAT-file, by a test".ljust(116) + bytes(8) + struct.pack("<H", 0x100) + b"IM"
    return header + b"".join(elements)


def compressed(content):
    packed = zlib.compress(content)
    return struct.pack("<II", 15, len(packed)) + packed


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"MATLAB 5.0 MAT-file", "version"),
        (b"\x89HDF\r\n\x1a\n" + bytes(300), "-v7"),
        (b"MATLAB 7.3 MAT-file, by a test".ljust(124) + b"\x00\x02IM" + bytes(300), "h5py"),
        (mat()[:124] + b"\x00\x09IM", "version"),
        (mat(matrix(6, (1_000_000, 1_000_000))), "1,000,000"),
        (mat(compressed(matrix(6, (1_000_000, 1_000_000)))), "1,000,000"),
        (mat(matrix(6, (-1, 3))), "at least 0"),
        (mat(matrix(6, (2,) * 30)), "sizes"),
        (mat(matrix(6, (1, 1), kind=14)), "type 14"),
        (mat(matrix(4, (1, 5), kind=16, raw=b"ab")), "characters"),
        (mat(matrix(6, (1, 1), raw=bytes(8)))[:-4], "bytes"),
        (mat(struct.pack("<II", 14, 0xFFFFFFF0)), "bytes"),
        (mat(struct.pack("<II", 15, 4) + b"abcd"), "whole"),
        (mat(compressed(b"")), "variable"),
        (mat(compressed(mat()[:128] * 2)), "variable|bytes"),
        (mat(compressed(compressed(matrix(6, (1, 1), raw=bytes(8))))), "variable"),
        (mat(), "no array"),
        (mat(matrix(6, (40, 7), raw=bytes(40 * 7 * 8))), "40 × 7"),
    ],
)
def test_what_is_damaged_or_of_another_version_is_refused(tmp_path, content, word):
    file = tmp_path / "a.mat"
    file.write_bytes(content)
    with pytest.raises(ParseError, match=word) as error:
        read_all(file)
    assert error.value.path == file


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "a.mat"
    file.write_bytes(mat(compressed(bytes(20_000_000))))
    monkeypatch.setattr("marrow.readers.mat_file.MAX_BYTES", 1_000_000)
    with pytest.raises(ParseError, match="1,000,000"):
        read_mat(file)


def test_big_endian_files_are_read(tmp_path):
    content = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x100) + b"MI"
    parts = struct.pack(">IIII", 6, 8, 6, 0) + struct.pack(">IIii", 5, 8, 1, 2)
    parts += struct.pack(">HH4s", 1, 1, b"x") + struct.pack(">IIdd", 9, 16, 1.5, -2.5)
    (tmp_path / "a.mat").write_bytes(content + struct.pack(">II", 14, len(parts)) + parts)
    assert read_mat(tmp_path / "a.mat")[0]["x"].tolist() == [[1.5, -2.5]]


def test_files_are_told_by_their_content():
    assert Mat().accepts(Head(Path("a.dat"), mat()))
    assert Mat().accepts(Head(Path("a.mat"), b""))
    assert Mat().accepts(Head(Path("a.mat"), b"\x89HDF\r\n\x1a\n\x00"))
    assert not Mat().accepts(Head(Path("a.mat"), b"x,y\n1,2\n"))
    assert not Mat().accepts(Head(Path("a.h5"), b"\x89HDF\r\n\x1a\n\x00"))


def good_files():
    for do_compression in (True, False):
        for variables in (penn(), {"skel": in_order(moving(1, 1, 12, 20), "VCT"), "fps": 30}):
            buffer = io.BytesIO()
            scipy.io.savemat(buffer, variables, do_compression=do_compression)
            yield buffer.getvalue()


GOOD = list(good_files())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_damage_brings_another_error(tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(GOOD)))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(120, 400) | st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    file = tmp_path_factory.mktemp("damaged") / "a.mat"
    file.write_bytes(content)
    Mat().accepts(read_head(file))
    with contextlib.suppress(MarrowError):
        read_all(file)


@pytest.mark.data
def test_penn_actions_own_files(data_folder, tmp_path):
    archive = data_folder / "penn_action" / "labels.tar.xz"
    if not archive.is_file():
        pytest.skip(f"there is no {archive}")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    files = sorted((tmp_path / "labels").glob("*.mat"))
    assert len(files) == 2326
    labels = set()
    trained = 0
    for file in files:
        (source,) = Mat().gather([file])
        (clip,) = Mat().peek(source, PLAIN).clips
        labels.add(clip.label)
        trained += clip.parts == ("train",)
    assert len(labels) == 15
    assert trained == 1258
    known = scipy.io.loadmat(files[0])
    positions = Mat().read(Mat().gather(files[:1])[0], "", PLAIN).positions[0]
    visible = known["visibility"] != 0
    np.testing.assert_allclose(positions[visible][:, 0], known["x"][visible], rtol=1e-6)
    assert np.isnan(positions[~visible]).all()
