"""The `.skeleton` parser: a file typed by hand, the rounding of numbers, and files that break the format."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ntu_text import OTHER_COLUMNS, skeleton_text, standing

from marrow.errors import ParseError
from marrow.readers.ntu_parser import parse_skeleton_file

# Three frames: nobody; body 72057594037931101; that body and another one, listed first.
# Joint 2 of the last block is the only one whose numbers are unlike the rest of its block.
BY_HAND = (
    "3\n"
    "0\n"
    "1\n"
    "72057594037931101 0 1 1 1 1 0 0.359745 0.859735 2\n"
    "25\n" + "0.25 -0.5 3 250.5 200.25 900 500 0 0 0 1 2\n" * 25 + "2\n"
    "72057594037931102 0 1 1 1 1 0 -0.02 0.1 2\n"
    "25\n" + "-1.5e-1 .5 2. 250.5 nan nan 500 0 0 0 1 0\n" * 25 + "72057594037931101 0 1 1 1 1 0 0.3 0.8 2\n"
    "25\n"
    "0.25 -0.5 3 250.5 200.25 900 500 0 0 0 1 2\n"
    "0.1 0.7165377 2.5e+0 250.5 200.25 900 500 0 0 0 1 1\n" + "0.25 -0.5 3 250.5 200.25 900 500 0 0 0 1 2\n" * 23
)


@pytest.fixture
def parse(tmp_path):
    def parse_text(text):
        file = tmp_path / "S001C001P001R001A001.skeleton"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return parse_skeleton_file(file)

    return parse_text


def test_file_typed_by_hand(parse):
    parsed = parse(BY_HAND)
    assert parsed.frame_count == 3
    assert parsed.body_ids.tolist() == [72057594037931101, 72057594037931102, 72057594037931101]
    assert parsed.frames.tolist() == [1, 2, 2]
    expected = np.empty((3, 25, 3), np.float32)
    expected[0] = (0.25, -0.5, 3.0)
    expected[1] = (np.float32(-0.15), 0.5, 2.0)
    expected[2] = (0.25, -0.5, 3.0)
    expected[2, 1] = (np.float32(0.1), np.float32(0.7165377), 2.5)
    np.testing.assert_array_equal(parsed.joints, expected)
    assert parsed.joints.dtype == np.float32


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + BY_HAND.encode(),
        BY_HAND.encode("utf-16"),
        BY_HAND.replace("\n", "\r"),
        "\n" + BY_HAND.replace("\n", "\n \n"),
        BY_HAND.replace("\n", "\r\r\n"),
        BY_HAND + "\x1a",
    ],
)
def test_marks_line_ends_and_blank_lines(parse, text):
    plain, other = parse(BY_HAND), parse(text)
    np.testing.assert_array_equal(plain.joints, other.joints)
    np.testing.assert_array_equal(plain.frames, other.frames)


def test_windows_line_ends_and_blank_ends(parse):
    plain, windows = parse(BY_HAND), parse(BY_HAND.replace("\n", "\r\n") + " \r\n\n")
    np.testing.assert_array_equal(plain.joints, windows.joints)
    np.testing.assert_array_equal(parse(BY_HAND.rstrip("\n")).joints, plain.joints)


@settings(max_examples=150)
@given(
    value=st.floats(-9e5, 9e5)
    | st.floats(-4, 4, width=32)
    | st.decimals("-900", "900", places=25)
    | st.sampled_from(["-0", "1e-400", "0.1e3", "9007199254740993", "00000000000000000000000001.5", "123456789e-9"])
)
def test_numbers_round_as_float_does(tmp_path_factory, value):
    if str(value).startswith("9007"):
        value = "9007199254740993e-12"  # one beyond 2**53: not exact as a float64
    file = tmp_path_factory.getbasetemp() / "S001C001P001R001A001.skeleton"
    line = f"{value} 0 1 {OTHER_COLUMNS}\n"
    file.write_text(f"1\n1\n7 0 0 0 0 0 0 0 0 2\n25\n{line * 25}")
    got = parse_skeleton_file(file).joints[0, :, 0]
    np.testing.assert_array_equal(got, np.float32(float(value)))


def edited(line, new):
    """Return BY_HAND with a 1-based line replaced, or removed where new is None."""
    lines = BY_HAND.splitlines()
    lines[line - 1 : line] = [] if new is None else [new]
    return "\n".join(lines) + "\n"


JOINT = "0.25 -0.5 3 250.5 200.25 900 500 0 0 0 1 2"
BODY = "72057594037931101 0 1 1 1 1 0 0.3 0.8 2"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "empty"),
        ("  \n\n", 1, "empty"),
        ("three\n", 1, "count"),
        ("-1\n", 1, "count"),
        ("2.0\n", 1, "count"),
        ("1\n", 2, "more lines"),
        ("99999999999999999999\n0\n", 1, "count"),
        (edited(1, "5"), 86, "more lines"),
        (edited(1, "1"), 3, "end after the last frame"),
        (BY_HAND + "0\n0\n", 86, "end after the last frame"),
        (edited(3, "2"), 31, "10 numbers"),  # the body that is missing: the next frame's count stands in its place
        (edited(31, "1"), 59, "end after the last frame"),
        (edited(4, BODY[:-2]), 4, "10 numbers"),
        (edited(4, "7.5" + BODY[17:]), 4, "id"),
        (edited(59, BODY.replace("1101", "1102", 1)), 59, "each body id once"),
        (edited(5, "24"), 5, "joint count 25"),
        (edited(5, "26"), 5, "joint count 25"),
        (edited(30, None), 30, "12 numbers"),  # 24 joints: the next frame's count stands in the place of the last
        (edited(7, JOINT + "\n" + JOINT), 31, "count"),
        (edited(7, JOINT[:-2]), 7, "12 numbers"),
        (edited(7, JOINT + " 0"), 7, "12 numbers"),
        (edited(7, "0.25 -0.5"), 7, "12 numbers"),
        (edited(7, "0.25 -0.5 abc" + JOINT[11:]), 7, "column 3"),
        (edited(7, JOINT.replace("900", "9o0")), 7, "numbers only"),
        (edited(7, "0.25 nan 3" + JOINT[10:]), 7, "finite position in metres in column 2"),
        (edited(7, "inf -0.5 3" + JOINT[10:]), 7, "finite"),
        (edited(7, "1e39 -0.5 3" + JOINT[10:]), 7, "finite"),
        (edited(7, "1e9999999999 -0.5 3" + JOINT[10:]), 7, "finite"),
        (edited(7, "1_0 -0.5 3" + JOINT[10:]), 7, "numbers only"),
        (edited(7, "1e -0.5 3" + JOINT[10:]), 7, "numbers only"),
        (edited(7, "1.2.3 -0.5 3" + JOINT[10:]), 7, "numbers only"),
        (BY_HAND[: BY_HAND.rindex(" 1 2")], 85, "12 numbers"),
        ("\n".join(BY_HAND.splitlines()[:40]) + "\n", 41, "more lines"),
        ("\n" + edited(4, BODY[:-2]).replace("\n", "\n\n"), 8, "10 numbers"),
        (b"\xef\xbb\xbf" + edited(7, JOINT[:-2]).replace("\n", "\r").encode(), 7, "12 numbers"),
        (b"\x00" * 1000, 1, "count"),
    ],
)
def test_malformed_files_name_the_line(parse, text, line, says):
    with pytest.raises(ParseError, match=says) as caught:
        parse(text)
    assert caught.value.line == line
    assert caught.value.path.name == "S001C001P001R001A001.skeleton"


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        (edited(1, "4"), ("one frame fewer than declared",)),
        (edited(1, "2"), ("one frame more than declared",)),
        (BY_HAND.replace("\n", "\n\n"), ("blank lines among the frames",)),
        (BY_HAND, ()),
    ],
)
def test_one_frame_more_or_fewer(parse, text, notes):
    parsed = parse(text)
    assert (parsed.frame_count, parsed.notes) == (3, notes)
    np.testing.assert_array_equal(parsed.joints, parse(BY_HAND).joints)


def test_by_hand_has_85_lines():
    assert len(BY_HAND.splitlines()) == 85


def test_missing_file_is_a_parse_error(tmp_path):
    with pytest.raises(ParseError, match="readable file"):
        parse_skeleton_file(tmp_path / "S001C001P001R001A001.skeleton")


def test_same_numbers_as_float_on_a_long_file(parse):
    generator = np.random.default_rng(0)
    frames = [[(7, standing() + generator.normal(size=(25, 3)))] for _ in range(40)]
    expected = np.array([frame[0][1] for frame in frames]).astype(np.float32)
    np.testing.assert_array_equal(parse(skeleton_text(frames)).joints, expected)
