"""UI-PRMD: bodies put together from offsets and angles, pairs of files, and files that break the format."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from json_input import damaged, read_all, write

from marrow.errors import MarrowError, ParseError
from marrow.importing.detect import detect, read_head
from marrow.importing.kinect.ui_prmd import UiPrmd

READER = UiPrmd()
NAME = "m02_s03_e04"


def text(frames):
    """Write frames, each as {joint: (x, y, z)}; other joints are at zero."""
    rows = []
    for frame in frames:
        values = np.zeros((22, 3))
        for joint, place in frame.items():
            values[joint] = place
        rows.append(",".join(f"{value:.6f}" for value in values.reshape(-1)))
    return "\n".join([*rows, ""]).encode()


def put(root, offsets, angles, name=NAME, inc="", between=""):
    return [
        write(root / "Positions" / f"{name}_positions{inc}.txt", text(offsets).replace(b"\n", f"\n{between}".encode())),
        write(root / "Angles" / f"{name}_angles{inc}.txt", text(angles).replace(b"\n", f"\n{between}".encode())),
    ]


def positions_of(root, offsets, angles, **more):
    ((contents, recordings),) = read_all(READER, put(root, offsets, angles, **more))
    return contents, recordings[""]


# Waist at (1, 2, 3), spine and chest each 10 above the joint before.
OFFSETS = {0: (1, 2, 3), 1: (0, 10, 0), 2: (0, 10, 0)}


def test_without_turns_offsets_add_up_and_the_name_says_the_rest(tmp_path):
    files = put(tmp_path, [OFFSETS] * 2, [{}] * 2)
    assert {detect(file).name for file in files} == {"ui_prmd"}
    contents, recording = positions_of(tmp_path, [OFFSETS] * 2, [{}] * 2)
    assert recording.positions.shape == (1, 2, 22, 3)
    assert recording.positions[0, 1, :4].tolist() == [[1, 2, 3], [1, 12, 3], [1, 22, 3], [1, 22, 3]]
    (clip,) = contents.clips
    assert clip.label == "hurdle step"
    assert clip.attributes == {"subject": 3, "episode": 4, "correct": 1}
    assert (contents.fps, contents.unit_metres, contents.up) == (30, 0.01, "y")
    assert (contents.joints[3], contents.parents[3], recording.notes) == ("Neck", 2, ())


@pytest.mark.parametrize(
    ("angles", "spine", "chest"),
    [
        # About z: +y goes to -x. The turn of a joint moves what hangs from it, not the joint.
        ({0: (0, 0, 90)}, (-9, 2, 3), (-19, 2, 3)),
        ({1: (0, 0, 90)}, (1, 12, 3), (-9, 12, 3)),
        # Turns add up along the chain: 90 and 90 degrees about z.
        ({0: (0, 0, 90), 1: (0, 0, 90)}, (-9, 2, 3), (-9, -8, 3)),
        # G = Rz Rx Ry: about y, which +y does not feel; then about x, to +z; then about z, which +z does not feel.
        ({0: (90, 90, 90)}, (1, 2, 13), (1, 2, 23)),
        # A small turn about x of a radian / 100: z moves by 0.1, y by 0.0005.
        ({0: (np.rad2deg(0.01), 0, 0)}, (1, 11.9995, 3.099998), (1, 21.999, 3.199997)),
    ],
)
def test_turns_by_hand(tmp_path, angles, spine, chest):
    _, recording = positions_of(tmp_path, [OFFSETS], [angles])
    np.testing.assert_allclose(recording.positions[0, 0, 1:3], [spine, chest], atol=1e-5)


def test_turn_about_y_comes_before_x(tmp_path):
    # +x by 90 degrees about y is -z, and that by 90 degrees about x is +y.
    _, recording = positions_of(tmp_path, [{1: (10, 0, 0)}], [{0: (90, 90, 0)}])
    np.testing.assert_allclose(recording.positions[0, 0, 1], (0, 10, 0), atol=1e-5)


def test_incorrect_repetitions_are_other_recordings(tmp_path):
    files = put(tmp_path, [OFFSETS], [{}]) + put(tmp_path / "Incorrect", [OFFSETS], [{}], inc="_inc")
    sources = READER.gather(sorted(files))
    assert sorted(source.name for source in sources) == [NAME, f"{NAME}_inc"]
    assert all(len(source.files) == 2 for source in sources)
    found = read_all(READER, files)
    assert sorted(contents.clips[0].attributes["correct"] for contents, _ in found) == [0, 1]


def test_files_of_a_pair_may_lie_in_one_folder_and_have_blank_lines(tmp_path):
    one, two = put(tmp_path, [OFFSETS] * 2, [{}] * 2, between="\r\n")
    two = two.rename(one.parent / two.name)
    ((_, recordings),) = read_all(READER, [one, two])
    assert recordings[""].positions.shape == (1, 2, 22, 3)


@pytest.mark.parametrize("asked", [0, 1])
def test_of_one_file_the_partner_is_looked_up(tmp_path, asked):
    """As where a single recording is to be named: `marrow predict MODEL Positions/m02_s03_e04_positions.txt`."""
    files = put(tmp_path, [OFFSETS] * 2, [{0: (0, 0, 90)}] * 2)
    ((_, recordings),) = read_all(READER, files)
    ((_, alone),) = read_all(READER, [files[asked]])
    np.testing.assert_array_equal(alone[""].positions, recordings[""].positions)


def test_one_frame_more_is_left_out_and_two_are_refused(tmp_path):
    _, recording = positions_of(tmp_path, [OFFSETS] * 3, [{}] * 2)
    assert recording.positions.shape[1] == 2
    assert len(recording.notes) == 1
    with pytest.raises(ParseError, match="4 frames") as caught:
        positions_of(tmp_path, [OFFSETS] * 4, [{}] * 2)
    assert "angles" in caught.value.path.name


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_partner_is_named(tmp_path, missing):
    files = put(tmp_path, [OFFSETS], [{}])
    lost = files.pop(missing)
    lost.unlink()
    with pytest.raises(ParseError, match=lost.name):
        read_all(READER, files)


@pytest.mark.parametrize("name", ["m11_s01_e01", "m00_s01_e01"])
def test_movements_that_are_none(tmp_path, name):
    with pytest.raises(ParseError, match=name[:3]):
        positions_of(tmp_path, [OFFSETS], [{}], name=name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m01_s01_positions.txt", text([OFFSETS])),
        ("clip.txt", text([OFFSETS])),
        ("m01_s01_e01_positions.txt", b"1,2,3\n"),
        ("m01_s01_e01_positions.txt", bytes(range(256))),
    ],
)
def test_other_files_are_not_taken(tmp_path, name, content):
    assert not READER.accepts(read_head(write(tmp_path / name, content)))


@pytest.mark.parametrize(
    ("content", "line", "word"),
    [
        (b"", 0, "empty"),
        (text([OFFSETS]) + text([OFFSETS])[:-60], 2, "66"),
        (text([OFFSETS]).replace(b"2.000000", b"two", 1), 1, "column 2"),
        (text([OFFSETS]).replace(b"2.000000", b"nan", 1), 1, "column 2"),
        (text([OFFSETS]).replace(b".", b","), 1, "66"),
    ],
)
def test_broken_files(tmp_path, content, line, word):
    for broken in range(2):
        files = put(tmp_path, [OFFSETS] * 2, [{}] * 2)
        write(files[broken], content)
        with pytest.raises(ParseError, match=word) as caught:
            read_all(READER, files)
        assert (caught.value.path, caught.value.line) == (files[broken], line)


@settings(deadline=None, max_examples=60)
@given(content=damaged(text([OFFSETS] * 2)))
def test_damaged_files_raise_only_our_errors(tmp_path_factory, content):
    files = put(tmp_path_factory.getbasetemp() / "damaged_ui_prmd", [OFFSETS] * 2, [{}] * 2)
    write(files[0], content)
    READER.accepts(read_head(files[0]))
    with contextlib.suppress(MarrowError):
        read_all(READER, files)
