"""BVH as a format: what a file says, in its own unit, and bytes that are damaged."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrow.errors import MarrowError, ParseError
from marrow.importing.detect import read_head
from marrow.importing.motion_capture.bvh import Bvh
from marrow.importing.recording import ReadOptions
from marrow.readers import SkipRecording

# A forearm of 10 and a hand of 5: a quarter turn of the root about z puts the hand at (0, 10, 0) of it, and its end,
# (0, 5, 0) of the hand, at (-5, 0, 0) of that.
GOOD = """HIERARCHY
ROOT Arm
{
 OFFSET 0 0 0
 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
 JOINT Helper
 {
  OFFSET 0 0 0
  CHANNELS 1 Zrotation
  JOINT Hand
  {
   OFFSET 10 0 0
   CHANNELS 3 Zrotation Xrotation Yrotation
   End Site
   {
    OFFSET 0 5 0
   }
  }
 }
}
MOTION
Frames: 2
Frame Time: 0.0333333
1 2 3 0 0 0 90 0 0 0
1 2 3 90 0 0 0 0 0 0
"""
OPTIONS = ReadOptions()


def source(folder, text, name="clip.bvh"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert Bvh().accepts(read_head(file))
    (found,) = Bvh().gather([file])
    return found


def test_what_a_file_says(tmp_path):
    found = source(tmp_path, GOOD)
    assert (found.name, found.path) == ("clip", tmp_path / "clip.bvh")
    contents = Bvh().peek(found, OPTIONS)
    assert (contents.joints, contents.parents) == (("Arm", "Hand", "Hand_end"), (0, 0, 1))
    assert (contents.joint_count, contents.fps, contents.left_out, contents.doubts) == (3, 30.0, ("Helper",), ())
    # A file says neither.
    assert (contents.unit_metres, contents.up) == (None, None)
    recording = Bvh().read(found, "", OPTIONS)
    assert recording.positions.dtype == np.float32
    np.testing.assert_allclose(recording.positions, [[[(1, 2, 3), (1, 12, 3), (-4, 12, 3)]] * 2], atol=1e-5)
    assert (recording.confidence, recording.fps, recording.notes) == (
        None,
        None,
        ("left out, being no joints: Helper",),
    )


@pytest.mark.parametrize("text", [GOOD.replace("\n", "\r"), GOOD.encode("utf-16"), b"\xef\xbb\xbf" + GOOD.encode()])
def test_other_encodings(tmp_path, text):
    found = source(tmp_path, text, "no_extension")
    assert Bvh().read(found, "", OPTIONS).positions[0, 1, 1].tolist() == pytest.approx([1, 12, 3])
    assert Bvh().peek(found, OPTIONS).joint_count == 3


@pytest.mark.parametrize("time", ["30", "33.3333", "0.0005"])
def test_an_unusual_rate_is_kept_for_the_importer_to_doubt(tmp_path, time):
    contents = Bvh().peek(source(tmp_path, GOOD.replace("0.0333333", time)), OPTIONS)
    assert contents.fps == pytest.approx(1 / float(time), rel=1e-3)


@pytest.mark.parametrize("time", ["0", "-0.04", "nan", "soon"])
def test_a_frame_time_that_is_none_does_not_matter_where_the_rate_is_given(tmp_path, time):
    found = source(tmp_path, GOOD.replace("0.0333333", time))
    with pytest.raises(ParseError, match="above 0"):
        Bvh().peek(found, OPTIONS)
    told = ReadOptions(fps=30.0)
    assert Bvh().peek(found, told).fps is None
    assert Bvh().read(found, "", told).positions.shape == (1, 2, 3, 3)


def test_the_origin_of_the_scene_is_left_out_and_named(tmp_path):
    text = GOOD.replace("CHANNELS 1 Zrotation", "CHANNELS 1 Yposition")
    contents = Bvh().peek(source(tmp_path, text), OPTIONS)
    assert (contents.joints, contents.left_out) == (("Helper", "Hand", "Hand_end"), ("Arm",))
    found = source(tmp_path, text)
    assert Bvh().read(found, "", OPTIONS).positions.shape == (1, 2, 3, 3)


def test_files_of_another_kind_are_not_accepted(tmp_path):
    for name, content in (("a.txt", b"MOTION\n"), ("a.asf", b":version 1.10\n"), ("a.npz", b"PK\x03\x04\0\0\0\0\0")):
        (tmp_path / name).write_bytes(content)
        assert not Bvh().accepts(read_head(tmp_path / name))


def test_no_frames(tmp_path):
    text = GOOD[: GOOD.index("1 2 3")].replace("Frames: 2", "Frames: 0")
    with pytest.raises(SkipRecording):
        Bvh().read(source(tmp_path, text), "", OPTIONS)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 0, "empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\0", 1, "expected HIERARCHY"),
        ("<html></html>", 1, "expected HIERARCHY"),
        (GOOD.replace("Frame Time: 0.0333333", "Frame Time: nan"), 23, "above 0"),
        (GOOD.replace("Frames: 2", "Frames: -2"), 22, "COUNT"),
        (GOOD.replace("3 90 0 0", "3 nan 0 0"), 25, "finite"),
        (GOOD.replace("3 90 0 0", "3 90,5 0 0"), 25, "decimal comma"),
        (GOOD.replace("OFFSET 10 0 0", "OFFSET 10,0 0,0 0,0"), 12, "decimal comma"),
    ],
)
def test_bad_files_name_the_line(tmp_path, text, line, says):
    found = source(tmp_path, text)
    with pytest.raises(ParseError, match=says) as caught:
        Bvh().read(found, "", OPTIONS)
    assert caught.value.path == found.path
    assert caught.value.line == max(line, 1)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damaged_bytes_give_nothing_but_our_errors(tmp_path_factory, data):
    content = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    file = tmp_path_factory.getbasetemp() / "damaged.bvh"
    file.write_bytes(content)
    (found,) = Bvh().gather([file])
    for act in (Bvh().peek, lambda source, options: Bvh().read(source, "", options)):
        with suppress(MarrowError):
            act(found, OPTIONS)


@pytest.mark.parametrize("wrong", ["OFFSET x 0 0", "Frame Time: none"])
def test_files_of_one_tree_are_named_each_by_itself(tmp_path, wrong):
    """The tree of files that are alike is parsed once; what is wrong is still said of the file that has it."""
    right = "Frame Time: 0.0333333" if wrong.startswith("Frame") else "OFFSET 0 0 0"
    assert right in GOOD
    for name in ("a.bvh", "b.bvh", "c.bvh"):
        text = GOOD if name == "a.bvh" else GOOD.replace(right, wrong, 1)
        found = source(tmp_path, text, name)
        if text == GOOD:
            assert Bvh().peek(found, OPTIONS).joint_count == 3
            continue
        with pytest.raises(ParseError) as caught:
            Bvh().peek(found, OPTIONS)
        assert caught.value.path == tmp_path / name
        assert caught.value.line == 1 + text[: text.index(wrong)].count("\n")
