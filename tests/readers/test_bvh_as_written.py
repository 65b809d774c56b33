"""BVH as people's software writes it: read where one meaning is possible, with a note; refused with the cause else."""

import numpy as np
import pytest
from bvh_text import ARM, ARM_PLACES, upper_body

from marrow.errors import ConfigError, ParseError
from marrow.readers.bvh import BVH
from marrow.readers.bvh_file import read_beginning, read_file
from marrow.readers.bvh_tree import MAX_NODES
from marrow.store import Store, convert_recordings


def put(folder, text, name="clip.bvh"):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def sequence_of(folder, reader=None, name="clip.bvh"):
    known = (reader or BVH()).for_root(folder)
    (record,) = (record for record in known.records(folder) if record.path == name)
    return known.read(folder, record)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (ARM.replace("Frames:\t2", "Frames: 1"), "one frame more"),
        (ARM.replace("Frames:\t2", "Frames: 3"), "one frame fewer"),
        (ARM.replace("Frames:\t2", "Frames: 0"), "more frames"),
        (ARM.replace("End Site", "End Site tip"), "End Site"),
        (ARM.replace("End Site", "End Site4"), "End Site"),
        (ARM.replace("End Site", "EndSite // the tip"), "End Site"),
        (ARM.replace("0.0333333\n", "0.0333333\n\n"), "blank"),
        (ARM.replace("\n", "\n\n"), "blank"),
        (ARM.replace("\n", "\r\n\r\n"), "blank"),
        (ARM.replace("\n", "\r"), "CR"),
        (ARM.encode("utf-16"), "UTF-16"),
        (b"\xef\xbb\xbf" + ARM.encode(), ""),
        (ARM.encode() + b"\r\n\x1a\0", ""),
        (ARM.replace("EndSite", "End Site").replace("End Site", "EndSite"), ""),
    ],
)
def test_the_same_frames_with_a_note(tmp_path, text, note):
    motion = read_file(put(tmp_path, text))
    np.testing.assert_allclose(motion.places(), ARM_PLACES, atol=1e-6)
    assert [node.name for node in motion.nodes] == ["Arm", "Hand", "Hand_end"]
    assert len(motion.notes) == bool(note)
    assert all(note in text for text in motion.notes)
    assert sequence_of(tmp_path).notes == motion.notes


def test_a_line_behind_blank_ones_is_named(tmp_path):
    file = put(tmp_path, ARM.replace("0.0333333\n", "0.0333333\n\n").replace("90 90 0 90 0 0", "\t\n90 x 0 90 0 0"))
    with pytest.raises(ParseError) as caught:
        read_file(file)
    assert (caught.value.path, caught.value.line) == (file, 21)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("OFFSET 10 0 0", "OFFSET 10,0 0,0 0,0", 8),
        ("Frame Time:\t0.0333333", "Frame Time: 0,0333333", 18),
        ("1 2 3 90 0 0 0 0 0", "1,5 2 3 90 0 0 0 0 0", 19),
        ("1 2 3 90 0 0 0 0 0", "1,5;2,5", 19),
    ],
)
def test_a_decimal_comma_is_named(tmp_path, old, new, line):
    with pytest.raises(ParseError, match="decimal comma") as caught:
        read_file(put(tmp_path, ARM.replace(old, new, 1)))
    assert caught.value.line == line


def test_more_frames_missing_than_one_are_refused(tmp_path):
    with pytest.raises(ParseError, match="expected 4 frames as declared, got 2"):
        read_file(put(tmp_path, ARM.replace("Frames:\t2", "Frames: 4")))
    with pytest.raises(ParseError, match="expected 1 frames as declared, got 0"):
        read_file(put(tmp_path, ARM[: ARM.index("1 2 3")].replace("Frames:\t2", "Frames: 1")))


def test_a_second_joint_of_one_name_is_called_by_its_parent(tmp_path):
    shin = "JOINT {0}\n{{\nOFFSET {1} 0 0\nCHANNELS 1 Zrotation\nJOINT Shin\n{{\nOFFSET 0 -40 0\nCHANNELS 0\n}}\n}}\n"
    text = "HIERARCHY\nROOT Hips\n{\nOFFSET 0 0 0\nCHANNELS 0\n"
    text += shin.format("LeftUpLeg", 9) + shin.format("RightUpLeg", -9) + shin.format("RightUpLeg", -9)
    motion = read_file(put(tmp_path, text + "}\nMOTION\nFrames: 1\nFrame Time: 0.04\n0 90 0\n"))
    assert [node.name for node in motion.nodes] == [
        *("Hips", "LeftUpLeg", "Shin", "RightUpLeg", "RightUpLeg/Shin"),
        *("Hips/RightUpLeg", "Hips/RightUpLeg/Shin"),
    ]
    assert motion.places()[0, [2, 4]].tolist() == [[9, -40, 0], pytest.approx([31, 0, 0])]
    assert len(motion.notes) == 1


def test_a_root_without_a_name(tmp_path):
    motion = read_file(put(tmp_path, ARM.replace("ROOT Arm", "ROOT")))
    assert (motion.nodes[0].name, len(motion.notes)) == ("root", 1)


@pytest.mark.parametrize("seconds", ["0", "-0.04", "nan", "inf", "1e-320", "1e-9", "x"])
def test_a_frame_time_that_is_none(tmp_path, seconds):
    file = put(tmp_path, ARM.replace("0.0333333", seconds))
    with pytest.raises(ParseError, match="frame time above 0") as caught:
        read_beginning(file)
    assert caught.value.line == 18
    assert sequence_of(tmp_path, BVH(fps=25.0)).fps == 25.0


@pytest.mark.parametrize(("time", "fps"), [("30", 1 / 30), ("33.333", 1 / 33.333), ("0.0001", 10000.0)])
def test_a_rate_in_place_of_the_frame_time_is_noted_and_can_be_given(tmp_path, time, fps):
    put(tmp_path, ARM.replace("0.0333333", time))
    sequence = sequence_of(tmp_path)
    assert sequence.fps == pytest.approx(fps)
    assert any("--options.fps" in note for note in sequence.notes)
    given = sequence_of(tmp_path, BVH(fps=24.0))
    assert (given.fps, given.notes) == (24.0, ())


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none(fps):
    with pytest.raises(ConfigError, match="fps must be above 0"):
        BVH(fps=fps)


STILL, TURNS = "0 95 0 0 0 0 0 12 0 0 0 5", "0 95 0 0 0 30 0 12 0 0 0 5"


@pytest.mark.parametrize(
    ("root", "rows", "joints"),
    [
        ("Hips", [STILL, TURNS], ("Hips", "Spine", "Spine_end")),  # on it as on a joint
        ("Anything", [STILL, TURNS], ("Anything", "Spine", "Spine_end")),
        ("Hips", [STILL, "0 95 0 0 0 0 0 13 0 0 0 5"], ("Spine", "Spine_end")),  # placed apart
        ("World", ["0 0 0 0 0 0 0 12 0 0 0 5"] * 2, ("Spine", "Spine_end")),  # as a scene does
        ("Hips", ["0 0 0 0 0 0 0 12 0 0 0 5"] * 2, ("Hips", "Spine", "Spine_end")),
    ],
)
def test_a_root_with_one_child_is_a_joint_unless_the_child_moves_against_it(tmp_path, root, rows, joints):
    put(tmp_path, upper_body(rows, root))
    sequence = sequence_of(tmp_path)
    assert sequence.skeleton.joints == joints
    assert any(root in note for note in sequence.notes) == (root not in joints)


def test_one_file_tells_that_the_root_is_the_scene(tmp_path):
    put(tmp_path, upper_body([STILL, TURNS]))
    put(tmp_path, upper_body([STILL, "0 95 0 0 0 0 9 12 0 0 0 5"]), "moves.bvh")
    assert BVH().for_root(tmp_path).skeleton.joints == ("Spine", "Spine_end")


def test_pairs_can_be_given(tmp_path):
    text = "HIERARCHY\nROOT b0\n{\nOFFSET 0 0 0\nCHANNELS 0\n"
    for name, x in (("b1", -9), ("b2", 9), ("LeftEar", 3), ("RightEar", -3)):
        text += f"JOINT {name}\n{{\nOFFSET {x} 0 0\nCHANNELS 1 Zrotation\n}}\n"
    put(tmp_path, text + "}\nMOTION\nFrames: 1\nFrame Time: 0.04\n0 0 0 0\n")
    assert BVH().for_root(tmp_path).skeleton.mirror == (0, 1, 2, 4, 3)
    assert BVH(sides={"b2": "b1"}).for_root(tmp_path).skeleton.mirror == (0, 2, 1, 4, 3)
    # A partner that the names gave is let go.
    assert BVH(sides={"b2": "LeftEar"}).for_root(tmp_path).skeleton.mirror == (0, 1, 3, 2, 4)
    for sides, says in (({"b2": "b9"}, "no joint 'b9'"), ({"b2": "b1", "b0": "b1"}, "'b1' more than one")):
        with pytest.raises(ConfigError, match=says):
            BVH(sides=sides).for_root(tmp_path)


def test_hidden_files_are_none(tmp_path):
    put(tmp_path, ARM)
    for name in ("._clip.bvh", ".ipynb_checkpoints/clip.bvh", "__MACOSX/clip.bvh"):
        put(tmp_path, b"\0\x05\x16\x07", name)
    assert [record.id for record in BVH().for_root(tmp_path).records(tmp_path)] == ["clip"]


@pytest.mark.parametrize(
    "bad",
    [
        ARM[: ARM.index("End Site")],
        "",
        b"\0\x01\x02",
        ARM.replace("Hand", "Foot"),
        ARM.replace("90 0 0", "90 0"),
        ARM.replace("0.0333333", "0"),
    ],
)
@pytest.mark.parametrize("name", ["a.bvh", "z.bvh"])
def test_dropping_drops_whatever_is_wrong_with_one_file(tmp_path, bad, name):
    for good in ("b.bvh", "c.bvh"):
        put(tmp_path / "in", ARM, good)
    file = put(tmp_path / "in", bad, name)
    with pytest.raises(ParseError) as caught:
        convert_recordings(BVH(), tmp_path / "in", tmp_path / "stopped")
    assert caught.value.path == file
    summary = convert_recordings(BVH(), tmp_path / "in", tmp_path / "store", on_error="drop", jobs=2, shard_clips=1)
    assert list(Store.open(tmp_path / "store").ids) == ["b", "c"]
    ((dropped,), skeleton) = (summary.dropped, Store.open(tmp_path / "store").skeleton)
    assert (dropped.path, skeleton.joints) == (name, ("Arm", "Hand", "Hand_end"))
    assert str(file) in dropped.reason


def test_dropping_a_path_that_does_not_fit(tmp_path):
    put(tmp_path / "in", ARM, "walk_1.bvh")
    put(tmp_path / "in", ARM, "odd.bvh")
    reader = BVH(pattern=r"(?P<label>[a-z]+)_(?P<take>\d+)")
    summary = convert_recordings(reader, tmp_path / "in", tmp_path / "store", on_error="drop")
    assert [dropped.path for dropped in summary.dropped] == ["odd.bvh"]
    assert Store.open(tmp_path / "store").classes == ("walk",)
    with pytest.raises(ParseError, match="fits the pattern"):
        convert_recordings(reader, tmp_path / "in", tmp_path / "stopped")


def test_a_file_with_another_skeleton_makes_no_class(tmp_path):
    for name in ("walk_1.bvh", "walk_2.bvh"):
        put(tmp_path, ARM, name)
    put(tmp_path, ARM.replace("Hand", "Foot"), "jump_1.bvh")
    known = BVH(pattern=r"(?P<label>[a-z]+)_").for_root(tmp_path)
    assert known.classes == ("walk",)
    assert [(record.label, record.fault is None) for record in known.records(tmp_path)] == [
        *((-1, False), (0, True), (0, True)),
    ]


def test_nothing_good_is_an_error(tmp_path):
    put(tmp_path, "")
    with pytest.raises(ParseError, match="empty"):
        BVH().for_root(tmp_path)


def test_absurd_trees_and_counts(tmp_path):
    ends = "End Site\n{\nOFFSET 0 1 0\n}\n" * MAX_NODES
    text = "HIERARCHY\nROOT A\n{\nOFFSET 0 0 0\nCHANNELS 1 Xrotation\n" + ends + "}\n"
    motion = "MOTION\nFrames: 999999999\nFrame Time: 0.04\n"
    with pytest.raises(ParseError, match="at most 4096 joints"):
        read_file(put(tmp_path, text + motion + "1\n"))
    text = text.replace("End Site\n{\nOFFSET 0 1 0\n}\n", "", 1)
    with pytest.raises(ParseError, match="expected 999999999 frames"):
        read_file(put(tmp_path, text + motion + "1\n"))
    rows = "1\n" * 20_000  # 40 kB that would be 2 GB of positions
    with pytest.raises(ParseError, match="at most 16,384 frames of 4096 joints"):
        read_file(put(tmp_path, text + motion.replace("999999999", "20000") + rows))


def test_a_beginning_longer_than_what_is_looked_at_first(tmp_path):
    parts = "".join(f"JOINT long_name_of_a_joint_{n}\n{{\nOFFSET 1 0 0\nCHANNELS 0\n}}\n" for n in range(1500))
    text = f"HIERARCHY\nROOT A\n{{\nOFFSET 0 0 0\nCHANNELS 1 Xrotation\n{parts}}}\nMOTION\nFrames: 1\n"
    assert len(text) > 1 << 16
    beginning = read_beginning(put(tmp_path, text + "Frame Time: 0.04\n1\n"))
    assert (len(beginning.nodes), beginning.frame_seconds) == (1501, 0.04)
    # A number that the first look cuts in two: 0.0333333 begins as 0.0 does.
    pad = (1 << 16) - len(ARM[: ARM.index("0.0333333")]) - 5
    assert read_beginning(put(tmp_path, "\n" * pad + ARM)).frame_seconds == 0.0333333
