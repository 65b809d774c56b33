"""No input makes a reader fail with anything but a ParseError with path and line, or a SkipRecording."""

import json
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ntu_text import skeleton_text, standing

from marrow.errors import DataError, ParseError
from marrow.readers import SkipRecording, get_reader, reader_for
from marrow.readers.number_lines import parse_numbers
from marrow.readers.pku_mmd import PKUMMD
from marrow.readers.text_file import to_plain

NTU_NAME = "S001C001P001R001A001.skeleton"
UCLA_NAME = "a01_s01_e00_v01.json"
VALID_NTU = skeleton_text([[(7, standing(0.01 * frame))] + [(8, standing(1))] * (frame % 2) for frame in range(14)])
VALID_UCLA = json.dumps(
    {"file_name": UCLA_NAME[:-5], "skeletons": [[[0.5, 1.5, 2.5 + frame] for _ in range(20)] for frame in range(3)]}
)
VALID_H36M = "\n".join(",".join(["0.25"] * 99) for _ in range(3)) + "\n"
VALID_BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Spine
  {
    OFFSET 0 10 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 5 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.04
0 90 0 1 2 3 4 5 6
0 91 0 1 2 3 4 5 6
"""
# What PKU-MMD needs besides the file that is damaged; each of the three kinds is damaged in turn.
PKU_FILES = {
    "skeleton/0002-L.txt": "\n ".join(" ".join(["0.5"] * 150) for _ in range(4)) + "\n",
    "label/0002-L.txt": "1,0,2,2\n5,3,1,0\n51,2,9,1\n",
    "cross-subject.txt": "Training videos:\n0002-L, 0002-M,\nValidataion videos:\n0291-L\n",
}
BVH_TOKENS = ("{", "}", "ROOT", "JOINT", "End", "Site", "OFFSET", "CHANNELS", "MOTION", "Frames:", "Zrotation", "1e7")
TOKENS = (
    "",
    "0",
    "1",
    "-1",
    "25",
    "nan",
    "inf",
    "1e400",
    "1e38",
    "1e-320",
    "x",
    "-",
    ".",
    "1_0",
    "\x00",
    "٣",
    "9" * 30,
)
UCLA_TOKENS = ("{", "}", "ROOT", "JOINT", "End", "Site", "OFFSET", "CHANNELS", "MOTION", "Frames:", "Zrotation", "1e7")
TOKENS = (
    "[",
    "]",
    "{",
    "}",
    ",",
    '"',
    ":",
    "null",
    "true",
    "NaN",
    "-Infinity",
    "1e999",
    "9" * 5000,
    '"skeletons"',
)


def error_of(reader_name, folder):
    """Return the error of reading all that is in a folder, or None."""
    try:
        reader = reader_for(get_reader(reader_name), folder)
        for record in reader.records(folder):
            reader.read(folder, record)
    except Exception as error:
        return error


def read_all(reader_name, folder, file_name, content):
    """Read one file and look at the error, if there is one."""
    file = folder / file_name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    error = error_of(reader_name, folder)
    file.unlink()
    if isinstance(error, ParseError):
        assert error.path == file
        assert 1 <= error.line <= to_plain(content).count(b"\n") + 2
    elif error is not None and not isinstance(error, SkipRecording):
        raise error


@st.composite
def damaged(draw, valid, tokens, separator):
    """Cut, swap, insert, or repeat pieces of a valid file."""
    pieces = valid.split(separator)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(pieces) - 1, 0)))
        damage = draw(st.sampled_from(["cut", "drop", "swap", "insert", "repeat"]))
        if damage == "cut":
            pieces = pieces[:at]
        elif damage == "drop":
            del pieces[at : at + draw(st.integers(1, 3))]
        elif damage == "swap":
            pieces[at : at + 1] = [draw(st.sampled_from(tokens))]
        elif damage == "insert":
            pieces.insert(at, draw(st.sampled_from(tokens)))
        else:
            pieces[at:at] = pieces[at : at + draw(st.integers(1, 30))]
    text = separator.join(pieces).encode()
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=300))
def test_any_bytes(folder, content):
    read_all("ntu", folder, NTU_NAME, content)
    read_all("nw_ucla", folder, UCLA_NAME, content)
    read_all("h36m", folder, "S1/walking_1.txt", content)
    read_all("bvh", folder, "clip.bvh", content)
    for name in PKU_FILES:
        read_pku_mmd(folder, name, content)


@settings(max_examples=200, deadline=None)
@given(content=damaged(VALID_NTU, TOKENS, " ") | damaged(VALID_NTU, (*TOKENS, VALID_NTU[3:90]), "\n"))
def test_damaged_ntu(folder, content):
    read_all("ntu", folder, NTU_NAME, content)


@settings(max_examples=200, deadline=None)
@given(content=damaged(VALID_UCLA, (*TOKENS, *UCLA_TOKENS), " ") | damaged(VALID_UCLA, (*TOKENS, *UCLA_TOKENS), ","))
@example(content=b"[" * 100_000)
@example(content=b'{"skeletons": ' + b"[" * 500 + b"]" * 500 + b"}")
@example(content=b'{"skeletons": [[' + b",".join([b"[1, 2, -9223372036854775808]"] * 20) + b"]]}")
@example(content=b'{"skeletons": [[' + b",".join([b"[1, 2, 18446744073709551615]"] * 20) + b"]]}")
@example(content=b'{"skeletons": [[' + b",".join([b"[1, 2, true]"] * 20) + b"]]}")
@example(content=b'{"skeletons": 1, "skeletons": [[1]], "x": "skeletons"}')
@example(content=b'{"skeletons": {"a": 1}}')
def test_damaged_nw_ucla(folder, content):
    read_all("nw_ucla", folder, UCLA_NAME, content)


@settings(max_examples=200, deadline=None)
@given(content=damaged(VALID_H36M, TOKENS, ",") | damaged(VALID_H36M, TOKENS, "\n"))
def test_damaged_h36m(folder, content):
    read_all("h36m", folder, "S1/walking_1.txt", content)


@settings(max_examples=300, deadline=None)
@given(content=damaged(VALID_BVH, (*TOKENS, *BVH_TOKENS), " ") | damaged(VALID_BVH, (*TOKENS, *BVH_TOKENS), "\n"))
def test_damaged_bvh(folder, content):
    read_all("bvh", folder, "clip.bvh", content)


def read_pku_mmd(folder, damaged_name, content):
    """Read a data set in which one file is damaged."""
    root = folder / "pku"
    for name, text in PKU_FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if name == damaged_name else text.encode())
    error = None
    try:
        for record in PKUMMD().records(root):
            with suppress(SkipRecording):
                PKUMMD().read(root, record)
    except DataError as caught:
        error = caught
    if isinstance(error, ParseError):
        assert error.path == root / damaged_name
        assert 1 <= error.line <= to_plain(content).count(b"\n") + 2
    elif error is not None:  # labels that look like skeletons, or the other way round: two folders of a kind
        assert "PKU-MMD part 1" in str(error)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(PKU_FILES)), separator=st.sampled_from([" ", ",", "\n"]))
def test_damaged_pku_mmd(folder, data, name, separator):
    read_pku_mmd(folder, name, data.draw(damaged(PKU_FILES[name], TOKENS, separator)))


def test_the_valid_files_are_valid(folder):
    for reader_name, file_name, text, frame_count in (
        ("ntu", NTU_NAME, VALID_NTU, 14),
        ("nw_ucla", UCLA_NAME, VALID_UCLA, 3),
        ("h36m", "S1/walking_1.txt", VALID_H36M, 2),
        ("bvh", "clip.bvh", VALID_BVH, 2),
    ):
        (folder / file_name).parent.mkdir(exist_ok=True)
        (folder / file_name).write_text(text)
        reader = reader_for(get_reader(reader_name), folder)
        assert [reader.read(folder, record).frame_count for record in reader.records(folder)] == [frame_count]
        (folder / file_name).unlink()


@pytest.mark.parametrize("separator", [None, b","])
def test_form_feeds_among_numbers_are_blanks(separator, tmp_path):
    line = (separator or b" ").join([b"1", b"\f2", b"3\v"])
    assert parse_numbers(tmp_path / "a.txt", [line], 3, separator=separator).tolist() == [[1, 2, 3]]
    with pytest.raises(ParseError, match="column 2"):
        parse_numbers(tmp_path / "a.txt", [line.replace(b"2", b"nan")], 3, separator=separator)
