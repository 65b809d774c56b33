"""C3D: files that the test writes byte by byte, the same files by another library, and damaged ones."""

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrow.errors import ConfigError, MarrowError, ParseError
from marrow.importing.detect import read_head
from marrow.importing.motion_capture.c3d import C3d
from marrow.importing.recording import ReadOptions, Source
from marrow.readers import SkipRecording

OPTIONS = ReadOptions()
INTEL, DEC, MIPS = 84, 85, 86
LABELS = ("LASI", "RASI", "*12", "C7")
# Marker m in frame f is at (100 m + f, 2, -3); the third is not labelled, the first not seen in frame 1.
POINTS = np.array([[(100 * m + f, 2, -3, -1 if (m, f) == (0, 1) else 0) for m in range(4)] for f in range(3)], float)
STANDARD = {
    "POINT:RATE": 120.0,
    "POINT:UNITS": "mm",
    "POINT:X_SCREEN": "+X",
    "POINT:Y_SCREEN": "+Z",
    "MANUFACTURER:SOFTWARE": "By hand",
}


def floats(values, processor):
    if processor == MIPS:
        return np.asarray(values, ">f4").tobytes()
    if processor == INTEL:
        return np.asarray(values, "<f4").tobytes()
    halves = (np.asarray(values, "<f4") * 4).view("<u2").reshape(-1, 2)
    return np.ascontiguousarray(halves[:, ::-1]).tobytes()


def c3d(
    points=POINTS, labels=LABELS, parameters=STANDARD, processor=INTEL, scale=-1.0, analog=0, frames=None, rate=120.0
):
    """The bytes of a file: header in block 1, parameters from block 2 on, then the frames."""
    order = ">" if processor == MIPS else "<"

    def entry(group, name, body):
        return struct.pack("bb", len(name), group) + name.encode() + struct.pack(f"{order}H", 2 + len(body)) + body

    def value_of(value):
        if isinstance(value, float):
            return struct.pack("bB", 4, 0) + floats([value], processor)
        if isinstance(value, int):
            return struct.pack("bB", 2, 0) + struct.pack(f"{order}h", value)
        if isinstance(value, list):
            return struct.pack("bBB", 2, 1, len(value)) + struct.pack(f"{order}{len(value)}h", *value)
        texts = (value,) if isinstance(value, str) else value
        size = max(map(len, texts))
        shape = (size,) if isinstance(value, str) else (size, len(texts))
        return struct.pack(f"bB{len(shape)}B", -1, len(shape), *shape) + "".join(t.ljust(size) for t in texts).encode()

    everything = dict(parameters)
    for count, start in enumerate(range(0, len(labels), 255), start=1):
        everything[f"POINT:LABELS{count if count > 1 else ''}"] = labels[start : start + 255]
    groups = sorted({name.partition(":")[0] for name in everything})
    section = b"".join(entry(-1 - at, group, b"\0") for at, group in enumerate(groups))
    for name, value in everything.items():
        group, _, key = name.partition(":")
        section += entry(1 + groups.index(group), key, value_of(value) + b"\0")
    section += b"\0\0"
    blocks = -(-(4 + len(section)) // 512)
    section = (bytes([1, 80, blocks, processor]) + section).ljust(512 * blocks, b"\0")
    frame_count = len(points) if frames is None else frames
    header = bytes([2, 80]) + struct.pack(f"{order}5H", points.shape[1], analog, 1, frame_count, 10)
    header += floats([scale], processor) + struct.pack(f"{order}2H", 2 + blocks, 1) + floats([rate], processor)
    data = b""
    for frame in points:
        if scale < 0:
            data += floats(frame.reshape(-1), processor) + floats([7.0] * analog, processor)
        else:
            words = np.concatenate([frame[:, :3] / scale, frame[:, 3:]], axis=1).round()
            data += words.astype(f"{order}i2").tobytes() + struct.pack(f"{order}{analog}h", *[7] * analog)
    return header.ljust(512, b"\0") + section + data


def source(folder, content, name="walk.c3d"):
    file = folder / name
    file.write_bytes(content)
    (found,) = C3d().gather([file])
    assert found == Source("walk", (file,))
    return found


@pytest.mark.parametrize("processor", [INTEL, DEC, MIPS])
@pytest.mark.parametrize(("scale", "analog"), [(-1.0, 0), (-0.5, 3), (1.0, 0), (0.5, 5)])
def test_markers_of_any_processor(tmp_path, processor, scale, analog):
    found = source(tmp_path, c3d(processor=processor, scale=scale, analog=analog))
    assert C3d().accepts(read_head(found.path))
    contents = C3d().peek(found, OPTIONS)
    assert (contents.joints, contents.joint_count, contents.left_out) == (("LASI", "RASI", "C7"), 3, ("*12",))
    assert (contents.fps, contents.unit_metres, contents.up) == (120.0, 0.001, "z")
    assert (contents.software, contents.parents, contents.dimensions) == ("By hand", None, 3)
    positions = C3d().read(found, "", OPTIONS).positions
    expected = POINTS[None][:, :, [0, 1, 3], :3].copy()
    expected[0, 1, 0] = np.nan
    assert positions.dtype == np.float32
    np.testing.assert_allclose(positions, expected, atol=1e-4)


def test_joints_are_means_of_markers(tmp_path):
    found = source(tmp_path, c3d())
    options = ReadOptions(markers={"pelvis": ["LASI", "RASI"], "neck": ["C7"]})
    contents = C3d().peek(found, options)
    assert (contents.joints, contents.joint_count, contents.left_out) == (("pelvis", "neck"), 2, ("*12",))
    positions = C3d().read(found, "", options).positions
    # Between 0 and 100 in frame 0; absent in frame 1, where one of the two is.
    np.testing.assert_allclose(positions[0, :, 0], [(50, 2, -3), [np.nan] * 3, (52, 2, -3)])
    np.testing.assert_allclose(positions[0, :, 1, 0], [300, 301, 302])
    assert C3d().peek(found, ReadOptions(markers={"a": ["C7"]})).left_out == ("*12", "LASI", "RASI")
    for markers in ({"pelvis": ["LASI", "RPSI"]}, {"pelvis": []}, {"neck": ["*12"]}):
        with pytest.raises(ConfigError, match=r"Markers: LASI, RASI, C7"):
            C3d().read(found, "", ReadOptions(markers=markers))


@pytest.mark.parametrize(
    ("parameters", "unit", "up"),
    [
        ({"POINT:UNITS": "m"}, 1.0, None),
        ({"POINT:UNITS": "cm", "POINT:Y_SCREEN": "+Y"}, 0.01, "y"),
        ({"POINT:UNITS": "furlong", "POINT:Y_SCREEN": "-Z"}, None, "-z"),
        ({}, None, None),
    ],
)
def test_what_the_file_does_not_say_is_none(tmp_path, parameters, unit, up):
    contents = C3d().peek(source(tmp_path, c3d(parameters=parameters)), OPTIONS)
    assert (contents.unit_metres, contents.up, contents.fps) == (unit, up, 120.0)  # the header has a rate as well


def test_rates(tmp_path):
    contents = C3d().peek(source(tmp_path, c3d(parameters={"POINT:RATE": 59.94}, rate=100.0)), OPTIONS)
    assert contents.fps == pytest.approx(59.94)
    contents = C3d().peek(source(tmp_path, c3d(parameters={}, rate=0.0)), OPTIONS)
    assert contents.fps is None
    assert "--fps RATE" in [doubt.option for doubt in contents.doubts]
    for rate in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ParseError, match="rate above 0"):
            C3d().peek(source(tmp_path, c3d(parameters={"POINT:RATE": rate})), OPTIONS)


def test_names_of_one_person_two_and_what_a_model_computed(tmp_path):
    labels = ("Anna:LASI", "Anna:C7", "Anna:C7", "")
    assert C3d().peek(source(tmp_path, c3d(labels=labels)), OPTIONS).joints == ("LASI", "C7", "C72")
    labels = ("Anna:C7", "Ben:C7", "Ben:LASI", "Ben:LKneeAngles")
    found = source(tmp_path, c3d(labels=labels, parameters={"POINT:ANGLES": ("Ben:LKneeAngles",)}))
    contents = C3d().peek(found, OPTIONS)
    assert (contents.joints, contents.left_out) == (("Anna:C7", "Ben:C7", "Ben:LASI"), ("Ben:LKneeAngles",))


def test_more_markers_than_one_parameter_holds(tmp_path):
    labels = tuple(f"M{number}" for number in range(300))
    contents = C3d().peek(source(tmp_path, c3d(np.zeros((1, 300, 4)), labels)), OPTIONS)
    assert contents.joints == labels


def test_more_frames_than_the_header_can_count(tmp_path):
    points = np.ones((70_000, 1, 4))
    for parameters in (
        {"TRIAL:ACTUAL_START_FIELD": [1, 0], "TRIAL:ACTUAL_END_FIELD": [4464, 1]},
        {"POINT:LONG_FRAMES": 7e4},
    ):
        found = source(tmp_path, c3d(points, ("C7",), parameters, frames=65535))
        assert C3d().read(found, "", OPTIONS).positions.shape == (1, 70_000, 1, 3)


def test_nobody(tmp_path):
    unseen = POINTS.copy()
    unseen[..., 3] = -1
    for content in (c3d(unseen), c3d(POINTS[:0])):
        with pytest.raises(SkipRecording):
            C3d().read(source(tmp_path, content), "", OPTIONS)


def test_what_is_no_number_was_not_seen(tmp_path):
    points = POINTS.copy()
    points[0, 1, 0], points[1, 1, 1], points[2, 3, 2] = np.nan, np.inf, 1e30
    positions = C3d().read(source(tmp_path, c3d(points)), "", OPTIONS).positions
    assert np.isnan(positions[0, [0, 1, 2], [1, 1, 2]]).all()
    assert np.isfinite(positions).all(-1).sum() == 3 * 3 - 3 - 1


def test_what_is_accepted(tmp_path):
    for name, content, is_one in (
        ("x.bin", c3d(), True),
        ("x.c3d", b"", True),
        ("x.bin", b"", False),
        ("x.bin", b"\x02P", False),
        ("x.txt", b"PP" * 30_000, False),
    ):
        (tmp_path / name).write_bytes(content)
        assert C3d().accepts(read_head(tmp_path / name)) is is_one


def changed(at, new):
    content = bytearray(c3d())
    content[at : at + len(new)] = new
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "header"),
        (b"HIERARCHY\n" * 60, "header"),
        (c3d()[:-1], "expected 3 frames of 4 markers, got 2"),
        (c3d()[:600], "parameter"),
        (c3d()[:515], "processor"),
        (changed(515, b"\x01"), "processor"),
        (changed(0, b"\xff"), "processor"),
        (changed(2, b"\xff\xff"), "expected 3 frames of 65535 markers"),
        (changed(8, b"\xfe\xff"), "expected 65,534 frames"),
        (changed(2, b"\0\0"), "expected markers"),
        (changed(8, b"\0\0\0\0"), "SKIP"),
        (changed(6, b"\x09\0"), "frames from block"),
        (changed(16, b"\0\0"), "frames from block 2"),
        (changed(12, b"\0\0\xc0\x7f"), "scale"),
        (c3d(labels=("*1", "*2", "", "*")), "labelled markers"),
        (c3d(labels=()), "labelled markers"),
    ],
)
def test_bad_files(tmp_path, content, says):
    found = source(tmp_path, content)
    with pytest.raises(SkipRecording if says == "SKIP" else ParseError, match="no frame" if says == "SKIP" else says):
        C3d().read(found, "", OPTIONS)


def test_parameters_that_reach_into_each_other_are_refused(tmp_path):
    # A thousand parameters of 3 bytes, each of which claims 60 kB of texts of one letter.
    section = b"".join(b"\x01\x01A" + struct.pack("<H", 5) + b"\xff\x02\xff" for _ in range(1000))
    content = bytearray(c3d())[:512] + bytes([1, 80, 200, 84]) + section + b"\x01" * 70_000
    with pytest.raises(ParseError, match=r"within its section|end of the file"):
        C3d().peek(source(tmp_path, bytes(content)), OPTIONS)


@pytest.mark.filterwarnings("ignore:.*SwigPy.*:DeprecationWarning", "ignore:.*swigvarlink.*:DeprecationWarning")
def test_the_same_as_another_library(tmp_path):
    ezc3d = pytest.importorskip("ezc3d", reason="ezc3d is not installed: pip install ezc3d")
    written = ezc3d.c3d()
    written["parameters"]["POINT"]["RATE"]["value"] = [50]
    written["parameters"]["POINT"]["UNITS"]["value"] = ("cm",)
    written["parameters"]["POINT"]["LABELS"]["value"] = LABELS
    points = np.random.default_rng(0).normal(scale=50, size=(4, 4, 7))
    points[3] = 1
    written["data"]["points"] = points
    written.write(str(tmp_path / "walk.c3d"))
    found = Source("walk", (tmp_path / "walk.c3d",))
    contents = C3d().peek(found, OPTIONS)
    assert (contents.joints, contents.fps, contents.unit_metres) == (("LASI", "RASI", "C7"), 50.0, 0.01)
    positions = C3d().read(found, "", OPTIONS).positions
    np.testing.assert_allclose(positions[0], points[:3, [0, 1, 3]].transpose(2, 1, 0), rtol=1e-6)
    # And the other way round: it reads what this test writes.
    needed = {"POINT:USED": 4, "POINT:FRAMES": 3, "POINT:SCALE": -1.0, "POINT:DATA_START": 3, "ANALOG:USED": 0}
    (tmp_path / "ours.c3d").write_bytes(c3d(parameters={**STANDARD, **needed}))
    theirs = ezc3d.c3d(str(tmp_path / "ours.c3d"))["data"]["points"]
    np.testing.assert_allclose(theirs[:3, 1].T, POINTS[:, 1, :3])
    assert np.isnan(theirs[:3, 0, 1]).all()


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damaged_bytes_give_nothing_but_our_errors(tmp_path_factory, data):
    content = bytearray(c3d(scale=data.draw(st.sampled_from([-1.0, 0.5]))))
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    found = source(tmp_path_factory.getbasetemp(), bytes(content))
    for act in (C3d().peek, lambda source, options: C3d().read(source, "", options)):
        with suppress(MarrowError):
            act(found, OPTIONS)
