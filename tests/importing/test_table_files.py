"""Tables: wide and long, every way to write names and numbers, and files that are no recordings."""

import numpy as np
import pytest
from hypothesis import given, settings
from json_input import damaged, only_our_errors, read_all, read_one

from marrow.errors import ConfigError, ParseError
from marrow.importing.detect import detect, read_head
from marrow.importing.estimators.frame_numbers import FRAMES_WITHOUT_ANYBODY
from marrow.importing.estimators.people import BEYOND
from marrow.importing.recording import ReadOptions, Source
from marrow.importing.tables.rate import UNEVEN
from marrow.importing.tables.table import Table
from marrow.readers import SkipRecording

READER = Table()
JOINTS = ("head", "hip", "foot")


def table(path, *lines, encoding="utf-8"):
    path.write_bytes("\n".join([*lines, ""]).encode(encoding))
    return path


def wide(path, name="{}_{}", separator=",", axes="xyz", extra=()):
    """Frame t: joint j at (100 t + 10 j, + 1, + 2)."""
    names = ["frame", *(name.format(joint, axis) for joint in JOINTS for axis in axes), *extra]
    rows = [
        [frame, *(100 * frame + 10 * joint + axis for joint in range(3) for axis in range(len(axes)))]
        for frame in range(2)
    ]
    lines = [separator.join(map(str, [*row, *[0] * len(extra)])) for row in rows]
    return table(path, separator.join(names), *lines)


def check_wide(contents, recording, dimensions=3):
    expected = [[[100 * t + 10 * j + a for a in range(dimensions)] for j in range(3)] for t in range(2)]
    assert contents.joints == JOINTS
    assert contents.dimensions == dimensions
    assert recording.positions.tolist() == [expected]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " "])
def test_separators(tmp_path, separator):
    contents, recording = read_one(READER, wide(tmp_path / "a.csv", separator=separator))
    check_wide(contents, recording)
    assert (contents.unit_metres, contents.up, contents.fps, contents.left_out) == (None, None, None, ())


@pytest.mark.parametrize("name", ["{}_{}", "{}.{}", "{} {}", "{}:{}", '"{}_{}"', "{}_{} (mm)", "{}_{}_mm", "{}_pos_{}"])
def test_joint_before_coordinate(tmp_path, name):
    contents, recording = read_one(READER, wide(tmp_path / "a.csv", name))
    check_wide(contents, recording)
    assert contents.unit_metres == (0.001 if "mm" in name else None)


def test_coordinate_before_joint_and_capital_coordinates(tmp_path):
    swapped = wide(tmp_path / "a.csv", "{1}_{0}")
    check_wide(*read_one(READER, swapped))
    check_wide(*read_one(READER, wide(tmp_path / "b.csv", "{0}{1}", axes="XYZ")))


def test_numbered_joints_have_no_names_and_are_in_the_order_of_their_numbers(tmp_path):
    file = table(tmp_path / "a.csv", "x2,y2,v2,x1,y1,v1,x10,y10,v10", "2,0,.5,1,0,.25,10,0,1")
    contents, recording = read_one(READER, file)
    assert (contents.joints, contents.joint_count) == (None, 3)
    assert recording.positions[0, 0, :, 0].tolist() == [1, 2, 10]
    assert recording.confidence[0, 0].tolist() == [0.25, 0.5, 1]


def test_two_coordinates_are_pixels_and_said(tmp_path):
    contents, recording = read_one(READER, wide(tmp_path / "a.csv", axes="xy"))
    check_wide(contents, recording, dimensions=2)
    assert (contents.unit_metres, contents.up) == (0.0, "-y")
    assert any("pixels" in doubt.text for doubt in contents.doubts)


@pytest.mark.parametrize("word", ["conf", "likelihood", "score", "visibility", "c"])
def test_confidence_and_columns_that_are_no_joints(tmp_path, word):
    names = ",".join(f"{joint}_x,{joint}_y,{joint}_{word}" for joint in JOINTS)
    file = table(tmp_path / "a.csv", f"{names},mood,head_rot_x,head_rot_y", "1,2,.5,3,4,.25,,6,.75,7,8,9")
    contents, recording = read_one(READER, file)
    assert recording.positions[0, 0, :2].tolist() == [[1, 2], [3, 4]]
    assert np.isnan(recording.positions[0, 0, 2]).all()
    assert recording.confidence[0, 0].tolist() == [0.5, 0.25, 0]
    assert contents.joints == JOINTS
    assert set(contents.left_out) == {"mood", "head_rot_x", "head_rot_y"}


@pytest.mark.parametrize("names", [("head,head", "hip,hip", "foot,foot"), ("head,", "hip,", "foot,")])
def test_two_rows_of_names(tmp_path, names):
    file = table(tmp_path / "a.csv", f"frame,{','.join(names)}", ",x,y,x,y,x,y", "5,1,2,3,4,5,6", "6,7,8,9,10,11,12")
    contents, recording = read_one(READER, file)
    assert contents.joints == JOINTS
    assert recording.positions.tolist() == [[[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 10], [11, 12]]]]


def test_deeplabcut_of_one_and_of_several(tmp_path):
    parts = ",".join(f"{joint}," * 2 + joint for joint in JOINTS)
    coords = ",".join(["x,y,likelihood"] * 3)
    file = table(
        tmp_path / "one.csv", "scorer" + ",net" * 9, f"bodyparts,{parts}", f"coords,{coords}", "0,1,2,.5,3,4,.6,5,6,.7"
    )
    contents, recording = read_one(READER, file)
    assert (contents.joints, contents.dimensions, contents.software) == (JOINTS, 2, "DeepLabCut")
    assert recording.positions.tolist() == [[[[1, 2], [3, 4], [5, 6]]]]
    assert np.allclose(recording.confidence, [[[0.5, 0.6, 0.7]]])
    file = table(
        tmp_path / "two.csv",
        "scorer" + ",net" * 18,
        "individuals" + ",anna" * 9 + ",ben" * 9,
        f"bodyparts,{parts},{parts}",
        f"coords,{coords},{coords}",
        "0,1,2,.5,3,4,.6,5,6,.7,,,,3,4,.6,5,6,.7",
    )
    contents, recording = read_one(READER, file)
    assert (contents.joints, recording.positions.shape) == (JOINTS, (2, 1, 3, 2))
    assert recording.positions[0, 0, 0].tolist() == [1, 2]
    assert np.isnan(recording.positions[1, 0, 0]).all()


@pytest.mark.parametrize("index", ["labeled-data/take/img{:03d}.png", "labeled-data,take,img{:03d}.png"])
def test_deeplabcut_labelled_by_hand(tmp_path, index):
    rest = "," * index.count(",")
    names = ",".join(f"{joint},{joint}" for joint in JOINTS)
    file = table(
        tmp_path / "a.csv",
        f"scorer{rest},me,me,me,me,me,me",
        f"bodyparts{rest},{names}",
        f"coords{rest},x,y,x,y,x,y",
        f"{index.format(7)},1,2,3,4,5,6",
        f"{index.format(9)},1,2,,,5,6",
    )
    contents, recording = read_one(READER, file)
    assert contents.joints == JOINTS
    assert recording.positions[0, 0].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert np.isnan(recording.positions[0, 1]).all()
    assert recording.positions[0, 2, 2].tolist() == [5, 6]
    assert recording.confidence is None


def test_wide_tables_with_people(tmp_path):
    header = "time_ms,id,a_x,a_y,b_x,b_y,c_x,c_y"
    rows = [f"{time},{who},{who},{time},1,1,1,1" for time in (0, 20, 40) for who in (5, 4) if (time, who) != (40, 5)]
    contents, recording = read_one(READER, table(tmp_path / "a.csv", header, *rows))
    assert (contents.fps, recording.positions.shape) == (pytest.approx(50), (2, 3, 3, 2))
    assert recording.positions[0, :, 0].tolist() == [[4, 0], [4, 20], [4, 40]]
    assert np.isnan(recording.positions[1, 2]).all()


def test_a_line_without_end_is_refused(tmp_path):
    for lines in (["a_x,a_y," * 200_000], ["a_x,a_y,b_x,b_y,c_x,c_y", "1," * 1_000_000]):
        with pytest.raises(ParseError):
            read_all(READER, [table(tmp_path / "a.csv", *lines)])


LONG = ("frame,person,joint,x,y,z,score", "3,7,head,1,2,3,.5", "3,7,hip,4,5,6,.5", "6,7,hip,7,8,9,1")


def test_long_tables_with_missing_rows_and_frames(tmp_path):
    contents, recording = read_one(READER, table(tmp_path / "a.csv", *LONG))
    assert (contents.joints, contents.dimensions) == (("head", "hip"), 3)
    assert recording.positions.shape == (1, 4, 2, 3)
    assert recording.positions[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert np.isnan(recording.positions[0, 1:3]).all()
    assert np.isnan(recording.positions[0, 3, 0]).all()
    assert recording.positions[0, 3, 1].tolist() == [7, 8, 9]
    assert recording.confidence[0, 3].tolist() == [0, 1]
    assert FRAMES_WITHOUT_ANYBODY in recording.notes


def test_long_tables_by_other_words_or_told(tmp_path):
    expected = read_one(READER, table(tmp_path / "a.csv", *LONG))[1].positions
    for header in ("Frame_ID,track_id,keypoint,X,Y,Z,conf", "frame number,body,BodyPart,pos_x,pos_y,pos_z,likelihood"):
        found = read_one(READER, table(tmp_path / "b.csv", header, *LONG[1:]))[1].positions
        assert np.array_equal(found, expected, equal_nan=True)
    file = table(tmp_path / "c.csv", "when,who,which,a,b,c,sure", *LONG[1:])
    assert not READER.accepts(read_head(file))
    told = {"frame": "when", "person": "who", "joint": "which", "x": "a", "y": "b", "z": "c", "confidence": "sure"}
    ((_, recordings),) = read_all(READER, [file], columns=told)
    assert np.array_equal(recordings[""].positions, expected, equal_nan=True)
    with pytest.raises(ConfigError, match="joint"):
        read_all(READER, [file], columns={"jiont": "which"})
    with pytest.raises(ConfigError, match="which"):
        read_all(READER, [file], columns={"joint": "whihc"})


def test_people_are_bodies_and_at_most_eight(tmp_path):
    rows = [f"{frame},{who},{joint},{who},{frame},1" for who in range(9) for frame in range(9 - who) for joint in "ab"]
    _, recording = read_one(READER, table(tmp_path / "a.csv", "frame,id,joint,x,y,z", *rows))
    assert recording.positions.shape == (8, 9, 2, 3)
    assert recording.positions[:, 0, 0, 0].tolist() == list(range(8))
    assert recording.counts[BEYOND] == 1
    assert np.isfinite(recording.positions[:, :, 0, 0]).sum(axis=1).tolist() == list(range(9, 1, -1))


def test_several_recordings_with_labels(tmp_path):
    rows = [f"{clip},{label},{t},a,{t},1" for clip, label in (("k2", "run"), ("k1", "walk")) for t in range(2)]
    ((contents, recordings),) = read_all(READER, [table(tmp_path / "a.csv", "video,action,frame,joint,x,y", *rows)])
    assert [(clip.key, clip.label) for clip in contents.clips] == [("k2", "run"), ("k1", "walk")]
    assert recordings["k1"].positions.tolist() == [[[[0, 1]], [[1, 1]]]]
    with pytest.raises(ParseError):
        READER.read(READER.gather([tmp_path / "a.csv"])[0], "k3", ReadOptions())


@pytest.mark.parametrize(
    ("name", "times", "fps"),
    [
        ("time", (0, 0.04, 0.08), 25),
        ("timestamp", (1000, 1040, 1080), 25),
        ("Zeit", (0, 0.04, 0.08), 25),
        ("time", (0, 40000, 80000), 25),
        ("time_ms", (0, 0.5, 1), 2000),
    ],
)
def test_rate_by_times(tmp_path, name, times, fps):
    lines = [f"{time},1,2,3,4,5,6" for time in times]
    contents, recording = read_one(READER, table(tmp_path / "a.csv", f"{name},a_x,a_y,b_x,b_y,c_x,c_y", *lines))
    assert (contents.fps, recording.fps) == (pytest.approx(fps), pytest.approx(fps))
    assert recording.notes == ()
    uneven = [f"{time},1,2,3,4,5,6" for time in (0, 0.04, 0.2, 0.24, 0.28)]
    _, recording = read_one(READER, table(tmp_path / "b.csv", "t,a_x,a_y,b_x,b_y,c_x,c_y", *uneven))
    assert recording.fps == pytest.approx(25)
    assert recording.notes == (UNEVEN,)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings_line_ends_comments_and_decimal_commas(tmp_path, encoding):
    expected = [[[[0.5, 1], [2, 3], [4, 5]]]]
    lines = ("# made by hand", "frame;a_x;a_y;b_x;b_y;c_x;c_y", "", "0;0,5;1;2;3;4;5", "")
    contents, recording = read_one(READER, table(tmp_path / "a.csv", *lines, encoding=encoding))
    assert recording.positions.tolist() == expected
    assert any("commas" in doubt.text for doubt in contents.doubts)
    (tmp_path / "cr.csv").write_bytes("\r".join(lines).encode())
    assert read_one(READER, tmp_path / "cr.csv")[1].positions.tolist() == expected
    quoted = table(tmp_path / "q.csv", "frame,a_x,a_y,b_x,b_y,c_x,c_y,", '0,"0,5",1,2,3,4,5,')
    assert read_one(READER, quoted)[1].positions.tolist() == expected
    commented = table(tmp_path / "n.csv", "# a_x a_y b_x b_y c_x c_y", "0.5 1 2 3 4 5")
    assert read_one(READER, commented)[1].positions.tolist() == expected


def test_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"frame": [0, 1], **{f"{joint}_{axis}": [1.5, None] for joint in JOINTS for axis in "xyz"}}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    contents, recording = read_one(READER, tmp_path / "a.parquet")
    assert contents.joints == JOINTS
    assert recording.positions[0, 0].tolist() == [[1.5] * 3] * 3
    assert np.isnan(recording.positions[0, 1]).all()
    good = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(good[:-9])
    assert READER.accepts(read_head(tmp_path / "cut.parquet"))
    with pytest.raises(ParseError):
        read_all(READER, [tmp_path / "cut.parquet"])
    pq.write_table(pa.table({"id": ["a"], "label": [1]}), tmp_path / "index.parquet")
    assert not READER.accepts(read_head(tmp_path / "index.parquet"))
    # A few bytes that unfold to 135 million numbers.
    zeros = pa.array(np.zeros(15_000_000, np.float32))
    pq.write_table(pa.table({f"{j}_{a}": zeros for j in JOINTS for a in "xyz"}), tmp_path / "bomb.parquet")
    with pytest.raises(ParseError, match="cells"):
        read_all(READER, [tmp_path / "bomb.parquet"])


NO_RECORDINGS = {
    "labels": "file,label\na.bvh,walk\n",
    "numbers": "1,2,3,4,5,6,7,8,9\n" * 3,
    "numbers with blanks": "1 2 3\n4 5 6\n",
    "other": "name,age,city\nanna,3,ulm\n",
    "two joints": "mouse_x,mouse_y,gaze_x,gaze_y\n1,2,3,4\n",
    "json": '{"a_x": 1, "a_y": 2}',
    "bvh": "HIERARCHY\nROOT Hips\n{\nOFFSET 0 0 0\n",
    "empty": "",
    "towns": "name,x,y\nulm,48.4,10.0\n",
    "prose": "The x, the y, and the z of it\nwere never said.\n",
}


@pytest.mark.parametrize("kind", NO_RECORDINGS)
def test_other_files_are_no_recordings(tmp_path, kind):
    (tmp_path / "a.csv").write_text(NO_RECORDINGS[kind])
    assert not READER.accepts(read_head(tmp_path / "a.csv"))
    if kind != "two joints":
        with pytest.raises(ParseError):
            read_all(READER, [tmp_path / "a.csv"])


HEADER = "frame,a_x,a_y,b_x,b_y,c_x,c_y"
BROKEN = {
    "text": ((HEADER, "0,1,2,3,4,5,6", "1,1,2,three,4,5,6"), 3, "column 4"),
    "text after a blank line": ((HEADER, "", "0,1,2,3,4,5,6", "", "1,1,2,three,4,5,6"), 5, "column 4"),
    "infinite": ((HEADER, "0,1,2,inf,4,5,6"), 2, "column 4"),
    "huge": ((HEADER, "0,1,2,3e30,4,5,6"), 2, "column 4"),
    "cut": ((HEADER, "0,1,2,3,4,5,6", "1,1,2,3"), 3, "7 columns"),
    "decimal commas": ((HEADER, "0,1,5,2,5,3,5,4,5,6,5,7,5"), 2, "7 columns"),
    "half a frame": ((HEADER, "0.5,1,2,3,4,5,6"), 2, "frame"),
    "frame twice": ((HEADER, "0,1,2,3,4,5,6", "0,1,2,3,4,5,6"), 3, "once"),
    "far frames": ((HEADER, "0,1,2,3,4,5,6", "1000000000000,1,2,3,4,5,6"), 0, "frames"),
    "no name": (("frame,a_x,a_y,b_x,b_y,,c_x,c_y", "0,1,2,3,4,9,5,6"), 1, "column 6"),
    "name twice": (("a_x,a_y,b_x,b_y,c_x,c_y,a_x", "0,1,2,3,4,5,6"), 1, "once"),
    "no joints": (("x,y,z,x,y,z", "1,2,3,4,5,6"), 1, "joint"),
    "no rows": ((HEADER,), 0, "rows"),
    "joint twice": (("frame,joint,x,y", "0,a,1,2", "0,a,1,2"), 3, "once"),
    "no joint": (("frame,joint,x,y", "0,,1,2"), 2, "joint"),
    "no frame": (("joint,x,y", "a,1,2", "a,1,2"), 1, "frame"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_tables_are_refused_with_their_line(tmp_path, kind):
    lines, line, word = BROKEN[kind]
    with pytest.raises(ParseError, match=word) as caught:
        read_all(READER, [table(tmp_path / "a.csv", *lines)])
    assert caught.value.line == line


def test_nobody_and_a_million_people(tmp_path):
    with pytest.raises(SkipRecording):
        read_all(READER, [table(tmp_path / "a.csv", HEADER, "0,,,,,,", "1,nan,NA,,,,")])
    rows = [f"0,{who},{joint},1,2" for who in range(50_000) for joint in "ab"]
    _, recording = read_one(READER, table(tmp_path / "b.csv", "frame,id,joint,x,y", *rows))
    assert recording.positions.shape == (8, 1, 2, 2)
    with pytest.raises(ParseError, match="joints"):
        read_all(READER, [table(tmp_path / "c.csv", "frame,joint,x,y", *[f"{r},j{r},1,2" for r in range(3000)])])


def test_the_registry_finds_it(tmp_path):
    assert detect(wide(tmp_path / "a.txt")).name == "table"


GOOD = ("frame;time;a_x;a_y;b_x;b_y;c_x;c_y;a_c", "0;0,1;1,5;2;3;4;5;6;1", "1;0,2;1,5;;3;4;5;6;1")


@settings(deadline=None, max_examples=60)
@given(content=damaged("\n".join(GOOD).encode()) | damaged("\n".join(LONG).encode()))
def test_damaged_tables_raise_only_our_errors(tmp_path_factory, content):
    only_our_errors(READER, tmp_path_factory.getbasetemp() / "damaged_table.csv", content)


def test_every_second_frame_is_doubted_and_has_half_the_rate(tmp_path):
    joints = ("hips", "neck", "head", "lhip", "rhip")
    rows = [
        f"{2 * at},{2 * at / 30:.5f}," + ",".join(f"{at + place / 10:.2f}" for place in range(15)) for at in range(12)
    ]
    header = "frame,time," + ",".join(f"{joint}_{axis}" for joint in joints for axis in "xyz")
    file = tmp_path / "a.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    found = Source("a", (file,))
    contents, recording = Table().peek(found, ReadOptions()), Table().read(found, "", ReadOptions())
    assert recording.positions.shape[1] == 12
    assert contents.fps == pytest.approx(15, rel=1e-3)
    assert recording.fps == pytest.approx(15, rel=1e-3)
    assert "steps of 2" in contents.doubts[0].text
