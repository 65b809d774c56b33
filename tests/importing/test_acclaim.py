"""Acclaim: places worked out on paper, which skeleton a motion has, and damaged files."""

from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrow.errors import MarrowError, ParseError
from marrow.importing.detect import read_head
from marrow.importing.motion_capture.acclaim import Acclaim
from marrow.importing.recording import ReadOptions, Source
from marrow.readers import SkipRecording
from marrow.skeleton.motion_capture import ACCLAIM_35
from marrow.skeleton.names import mirror_by_name

OPTIONS = ReadOptions()


def bone(name, direction, length, axis="0 0 0 XYZ", dof="rx ry rz"):
    """The text of a bone; limits as CMU writes them, one to a line."""
    has = f"    dof {dof}\n    limits (-160.0 20.0)\n           (-70.0 70.0)\n" if dof else ""
    lines = ("begin", "id 1", f"name {name}", f"direction {direction}", f"length {length}", f"axis {axis}")
    return "\n    ".join(lines) + f"\n{has}  end\n"


# A hip that begins at the root and has no numbers, a thigh whose own axes are turned by 90 degrees about z, a shin.
SKELETON = (
    "# written by hand\n:version 1.10\n:name test\n:units\n  mass 1.0\n  length 0.45\n  angle deg\n"
    ":documentation\n   begin what is said here is not read\n"
    ":root\n   order TX TY TZ RX RY RZ\n   axis XYZ\n   position 0 1 0\n   orientation 0 0 0\n"
    ":bonedata\n"
    + bone("lhipjoint", "1 0 0", 2, dof="")
    + bone("lfemur", "0 -1 0", 7, axis="0 0 90 XYZ")
    + bone("ltibia", "0 -1 0", 5, dof="rx")
    + ":hierarchy\n  begin\n    root lhipjoint\n    lhipjoint lfemur\n    lfemur ltibia\n  end\n"
)
MOTION = """#!OML:ASF skeleton.ASF
:FULLY-SPECIFIED
:DEGREES
1
root 10 0 0 0 0 0
lfemur 0 0 0
ltibia 0
2
root 0 0 0 0 0 90
lfemur 0 0 0
ltibia 0
3
root 0 0 0 0 0 0
lfemur 90 0 0
ltibia 0
4
root 0 0 0 0 0 0
lfemur 0 0 0
ltibia 90
"""
# The bones of CMU's skeletons, and what begins where each one ends.
_LEG, _ARM = (
    ("hipjoint", "femur", "tibia", "foot", "toes"),
    ("clavicle", "humerus", "radius", "wrist", "hand", "fingers"),
)
CMU_BONES = (
    *(f"{side}{bone_of_leg}" for side in "lr" for bone_of_leg in _LEG),
    *("lowerback", "upperback", "thorax", "lowerneck", "upperneck", "head"),
    *(f"{side}{bone_of_arm}" for side in "lr" for bone_of_arm in (*_ARM, "thumb")),
)
CMU_TREE = (
    "root lhipjoint rhipjoint lowerback",
    *(f"{side}{above} {side}{below}" for side in "lr" for above, below in pairwise(_LEG)),
    *("lowerback upperback", "upperback thorax", "thorax lowerneck lclavicle rclavicle"),
    *("lowerneck upperneck", "upperneck head"),
    *(f"{side}{above} {side}{below}" for side in "lr" for above, below in pairwise(_ARM)),
    *(f"{side}wrist {side}thumb" for side in "lr"),
)

# Joints: the root, the hip (where lfemur begins), the knee (where ltibia begins), the ankle (ltibia's end).
PLACES = [
    [(10, 1, 0), (12, 1, 0), (12, -6, 0), (12, -11, 0)],
    # All turned by 90 degrees about z: x becomes y, and down becomes +x.
    [(0, 1, 0), (0, 3, 0), (7, 3, 0), (12, 3, 0)],
    # About the thigh's own x, which is the scene's y: the leg hangs along y and stays.
    [(0, 1, 0), (2, 1, 0), (2, -6, 0), (2, -11, 0)],
    # About the shin's x, the scene's: down becomes -z.
    [(0, 1, 0), (2, 1, 0), (2, -6, 0), (2, -6, -5)],
]


def put(folder, name, text):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def source(folder, motion=MOTION, skeleton=SKELETON):
    put(folder, "01.asf", skeleton)
    (found,) = Acclaim().gather([put(folder, "01_01.amc", motion)])
    return found


def test_places_on_paper(tmp_path):
    found = source(tmp_path)
    assert found == Source("01_01", (tmp_path / "01_01.amc", tmp_path / "01.asf"))
    contents = Acclaim().peek(found, OPTIONS)
    assert contents.joints == ("root", "lfemur", "ltibia", "ltibia_end")
    assert (contents.parents, contents.joint_count, contents.left_out) == ((0, 0, 1, 2), 4, ("lhipjoint",))
    assert contents.unit_metres == pytest.approx(0.0564444, abs=1e-7)
    assert (contents.fps, contents.up) == (None, None)
    assert ["120" in doubt.text and doubt.option for doubt in contents.doubts] == ["--fps RATE"]
    recording = Acclaim().read(found, "", OPTIONS)
    assert recording.positions.dtype == np.float32
    np.testing.assert_allclose(recording.positions, [PLACES], atol=1e-5)
    assert (recording.confidence, recording.fps, recording.notes) == (None, None, ())


def test_rotations_are_done_in_the_order_of_dof(tmp_path):
    # About x first, and the shin points to -z, where z leaves it; about z first, it points to +x, where x leaves it.
    for dof, end in (("rx rz", (2, -6, -5)), ("rz rx", (7, -6, 0))):
        text = MOTION.replace("ltibia 90", "ltibia 90 90").replace("ltibia 0", "ltibia 0 0")
        found = source(tmp_path, text, SKELETON.replace("dof rx\n", f"dof {dof}\n"))
        assert Acclaim().read(found, "", OPTIONS).positions[0, 3, 3].tolist() == pytest.approx(end, abs=1e-5)


def test_a_bones_own_axes_are_turned_in_their_order(tmp_path):
    # Own x of "90 0 90 XYZ" is (0, 1, 0); of "90 0 90 ZYX", first about z and then about x, it is (0, 0, 1).
    text = MOTION.replace("ltibia 90", "ltibia 0")
    for axis, knee in (("90 0 90 XYZ", (2, -6, 0)), ("90 0 90 ZYX", (9, 1, 0))):
        found = source(tmp_path, text, SKELETON.replace("0 0 90 XYZ", axis))
        assert Acclaim().read(found, "", OPTIONS).positions[0, 2, 2].tolist() == pytest.approx(knee, abs=1e-5)


def test_radians_and_another_order_of_the_root(tmp_path):
    quarter = str(np.pi / 2)
    skeleton = SKELETON.replace("TX TY TZ RX RY RZ", "RZ RY RX TZ TY TX").replace("angle deg", "angle rad")
    skeleton = skeleton.replace("0 0 90 XYZ", f"0 0 {quarter} XYZ")
    motion = f"1\nroot {quarter} 0 0 3 2 1\nlfemur 0 0 0\nltibia 0\n"
    expected = [(1, 3, 3), (1, 5, 3), (8, 5, 3), (13, 5, 3)]
    found = source(tmp_path, motion, skeleton)
    np.testing.assert_allclose(Acclaim().read(found, "", OPTIONS).positions[0, 0], expected, atol=1e-5)
    found = source(tmp_path, f":DEGREES\n{motion.replace(quarter, '90')}", skeleton)
    np.testing.assert_allclose(Acclaim().read(found, "", OPTIONS).positions[0, 0], expected, atol=1e-5)


def test_other_units_are_not_known(tmp_path):
    for line in ("  length 1.0\n", ""):
        found = source(tmp_path, skeleton=SKELETON.replace("  length 0.45\n", line))
        assert Acclaim().peek(found, OPTIONS).unit_metres is None


def test_frames_that_are_missing_are_noted(tmp_path):
    found = source(tmp_path, MOTION.replace("\n3\n", "\n7\n").replace("\n4\n", "\n9\n"))
    recording = Acclaim().read(found, "", OPTIONS)
    assert (recording.positions.shape[1], len(recording.notes)) == (4, 1)
    with pytest.raises(ParseError, match="expected a frame after 2, got 2") as caught:
        Acclaim().read(source(tmp_path, MOTION.replace("\n3\n", "\n2\n")), "", OPTIONS)
    assert caught.value.line == 12


def test_bones_that_are_missing_stay_unless_all_are_promised(tmp_path):
    text = MOTION.replace("3\nroot 0 0 0 0 0 0\n", "3\n")
    with pytest.raises(ParseError, match="expected numbers of root in every frame") as caught:
        Acclaim().read(source(tmp_path, text), "", OPTIONS)
    assert caught.value.path == tmp_path / "01_01.amc"
    recording = Acclaim().read(source(tmp_path, text.replace(":FULLY-SPECIFIED\n", "")), "", OPTIONS)
    assert recording.positions[0, 2, 1].tolist() == pytest.approx([0, 3, 0], abs=1e-5)  # the root as in frame 2
    assert len(recording.notes) == 1


def test_which_skeleton_a_motion_has(tmp_path):
    files = [
        put(tmp_path, name, SKELETON if name.endswith("asf") else MOTION)
        for name in ("a/01.asf", "a/01_01.amc", "a/deep/er/05_02.amc", "b/05.asf", "b/051.asf", "b/051_3.amc")
    ]
    files += [
        put(tmp_path, "b/05_1.AMC", MOTION),
        put(tmp_path, "b/06_1.amc", MOTION),
        put(tmp_path, "c/x.asf", SKELETON),
    ]
    found = {source.name: [file.name for file in source.files[1:]] for source in Acclaim().gather(sorted(files))}
    assert found == {
        **{"01_01": ["01.asf"], "05_02": ["01.asf"], "051_3": ["051.asf"], "05_1": ["05.asf"], "06_1": []},
    }
    alone = Acclaim().gather([tmp_path / "b" / "06_1.amc"])[0]
    for act in (Acclaim().peek, lambda source, options: Acclaim().read(source, "", options)):
        with pytest.raises(ParseError, match=r"\.asf"):
            act(alone, OPTIONS)
    # A motion that is named by itself has the skeleton beside it.
    assert [len(one.files) for one in Acclaim().gather([tmp_path / "a" / "01_01.amc"])] == [2]
    assert Acclaim().gather([tmp_path / "a" / "01.asf"]) == []


def test_what_is_accepted(tmp_path):
    for name, text, is_one in (
        ("x", SKELETON, True),
        ("x", MOTION, True),
        ("x.amc", "1\nroot 0\n", True),
        ("x.asf", "", True),
        ("x.asf", b"\x30\x26\xb2\x75\0\0\x01", False),  # a video
        ("x.txt", "1 2 3\n", False),
        ("x.bvh", "HIERARCHY\n", False),
    ):
        assert Acclaim().accepts(read_head(put(tmp_path, name, text))) is is_one


@pytest.mark.parametrize("change", [lambda text: text.replace("\n", "\r").encode(), lambda text: text.encode("utf-16")])
def test_other_encodings(tmp_path, change):
    found = source(tmp_path, change(MOTION), change(SKELETON))
    np.testing.assert_allclose(Acclaim().read(found, "", OPTIONS).positions, [PLACES], atol=1e-5)


def test_no_frames(tmp_path):
    with pytest.raises(SkipRecording):
        Acclaim().read(source(tmp_path, ":FULLY-SPECIFIED\n:DEGREES\n"), "", OPTIONS)


def test_names_of_cmu_have_sides():
    names = ("root", "lfemur", "ltoes_end", "lclavicle", "lthumb", "rfemur", "rtoes_end", "rclavicle", "rthumb")
    assert mirror_by_name((*names, "lowerback", "rowerback")) == (0, 5, 6, 7, 8, 1, 2, 3, 4, 9, 10)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (SKELETON, "", "empty"),
        (SKELETON, b"\0\1\2\3", "binary"),
        (":hierarchy", ":skin", ":hierarchy"),
        ("  end\n:hierarchy", ":hierarchy", "expected end"),
        ("length 7", "length -7", "at least 0"),
        ("length 7", "length nan", "finite"),
        ("length 7", "length 7,5", "decimal comma"),
        ("    length 7\n", "", "expected length"),
        ("name ltibia", "name lfemur", "no other bone"),
        ("name ltibia", "name root", "no other bone"),
        ("dof rx\n", "dof l\n", "expected dof"),
        ("dof rx\n", "dof rx rx\n", "once"),
        ("0 0 90 XYZ", "0 0 90 XXZ", "expected axis"),
        ("axis XYZ", "axis", "expected axis"),
        ("angle deg", "angle gon", "deg or rad"),
        ("lfemur ltibia\n", "lfemur ltibia2\n", "expected a bone of :bonedata, got 'ltibia2'"),
        ("lfemur ltibia\n", "lfemur ltibia\nltibia lfemur\n", "once in the hierarchy"),
        ("    lfemur ltibia\n", "", "in the hierarchy below root"),
    ],
)
def test_bad_skeletons(tmp_path, old, new, says):
    assert old in SKELETON
    skeleton = new if isinstance(new, bytes) else SKELETON.replace(old, new, 1)
    with pytest.raises(ParseError, match=says) as caught:
        Acclaim().peek(source(tmp_path, MOTION, skeleton), OPTIONS)
    assert (caught.value.path.name, caught.value.line > 0) == ("01.asf", True)


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("lfemur 90 0 0", "lfemur 90 0", 14, "expected 3 numbers"),
        ("lfemur 90 0 0", "lfemur 90 nan 0", 14, "finite number in column 2"),
        ("lfemur 90 0 0", "lfemur 90,5 0 0", 14, "decimal comma"),
        ("lfemur 90 0 0", "lfemur", 14, "expected 3 numbers"),
        ("lfemur 90 0 0", "tail 90 0 0", 14, "frame's number or a bone"),
        ("lfemur 90 0 0", "ltibia 0\nltibia 0", 15, "once in frame 3"),
        ("1\nroot", "root", 4, "frame's number before root"),
        ("\n4\n", "\n-4\n", 16, "frame's number or a bone"),
        (MOTION, "", 1, "empty"),
        (MOTION, b"\x89PNG\0\0\x01", 1, "binary"),
    ],
)
def test_bad_motions_name_the_line(tmp_path, old, new, line, says):
    motion = new if isinstance(new, bytes) else MOTION.replace(old, new, 1)
    with pytest.raises(ParseError, match=says) as caught:
        Acclaim().read(source(tmp_path, motion), "", OPTIONS)
    assert (caught.value.path.name, caught.value.line) == ("01_01.amc", line)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), damaged=st.sampled_from(["skeleton", "motion"]))
def test_damaged_bytes_give_nothing_but_our_errors(tmp_path_factory, data, damaged):
    content = bytearray((SKELETON if damaged == "skeleton" else MOTION).encode())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(0, len(content)))])
    folder = tmp_path_factory.getbasetemp() / "damaged"
    found = source(folder, **{damaged: content})
    for act in (Acclaim().peek, lambda source, options: Acclaim().read(source, "", options)):
        with suppress(MarrowError):
            act(found, OPTIONS)


def test_the_skeleton_of_cmu_is_the_layout_that_is_built_in(tmp_path):
    head, _, _ = SKELETON.partition(":bonedata")
    bones = "".join(bone(name, "0 1 0", 1) for name in CMU_BONES)
    tree = "".join(f"    {line}\n" for line in CMU_TREE)
    skeleton, motion = tmp_path / "01.asf", tmp_path / "01_01.amc"
    skeleton.write_text(f"{head}:bonedata\n{bones}:hierarchy\n  begin\n{tree}  end\n")
    motion.write_text(MOTION)
    contents = Acclaim().peek(Source("01_01", (motion, skeleton)), OPTIONS)
    assert contents.joints == ACCLAIM_35.joints
    assert contents.parents == ACCLAIM_35.parents
