"""BVH: positions worked out on paper, skeletons of any file, labels from paths, and malformed files."""

import numpy as np
import pytest
from bvh_text import ARM, ARM_PLACES

from marrow.errors import ConfigError, DataError, ParseError, StoreError
from marrow.readers import SkipRecording, reader_for
from marrow.readers.bvh import BVH
from marrow.readers.bvh_file import read_motion
from marrow.skeleton.geometry import alignment_of
from marrow.store import Store, convert_recordings
from marrow.store.summary import summarise

# A body as of a production: an origin that is no joint, position channels everywhere, joints and ends without a length.
BODY = [
    ("World", None, (0, 0, 0), 6),
    ("Hips", "World", (0, 90, 0), 6),
    ("Spine", "Hips", (0, 20, 0), 3),
    ("Neck", "Spine", (0, 30, 0), 3),
    ("Shoulder_L", "Spine", (5, 25, 0), 3),
    ("UpperArm_L", "Shoulder_L", (12, 0, 0), 3),
    ("Shoulder_R", "Spine", (-5, 25, 0), 3),
    ("UpperArm_R", "Shoulder_R", (-12, 0, 0), 3),
    ("HipJoint_L", "Hips", (0, 0, 0), 3),
    ("UpperLeg_L", "HipJoint_L", (9, 0, 0), 3),
    ("HipJoint_R", "Hips", (0, 0, 0), 3),
    ("UpperLeg_R", "HipJoint_R", (-9, 0, 0), 3),
]
JOINTS = ("Hips", "Spine", "Neck", "Shoulder_L", "UpperArm_L", "Shoulder_R", "UpperArm_R", "UpperLeg_L", "UpperLeg_R")
POSITIONS, ROTATIONS = "Xposition Yposition Zposition", "Zrotation Xrotation Yrotation"


def body_text(rows=BODY, ends=(), rate="0.0333333", frames=2):
    """The text of a tree; `ends` gives the offsets of End Sites by joint."""
    ends = dict(ends)

    def lines(name, depth):
        _, parent, offset, channel_count = next(row for row in rows if row[0] == name)
        indent = "  " * depth
        yield f"{indent}{'JOINT' if parent else 'ROOT'} {name}"
        yield f"{indent}{{"
        yield f"{indent}  OFFSET {' '.join(map(str, offset))}"
        yield f"{indent}  CHANNELS {channel_count} {f'{POSITIONS} ' if channel_count == 6 else ''}{ROTATIONS}"
        children = [row[0] for row in rows if row[1] == name]
        for child in children:
            yield from lines(child, depth + 1)
        if not children:
            yield f"{indent}  End Site"
            yield f"{indent}  {{\n{indent}    OFFSET {' '.join(map(str, ends.get(name, (0, 0, 0))))}\n{indent}  }}"
        yield f"{indent}}}"

    def values(frame):
        for _, _, offset, channel_count in in_file_order(rows):
            yield from (*offset, 0, 0, 0) if channel_count == 6 else (0, 0, frame)

    head = ["HIERARCHY", *lines(rows[0][0], 0), "MOTION", f"Frames: {frames}", f"Frame Time: {rate}"]
    return "\n".join([*head, *(" ".join(map(str, values(frame))) for frame in range(frames))]) + "\n"


def in_file_order(rows):
    def below(name):
        yield next(row for row in rows if row[0] == name)
        for row in rows:
            if row[1] == name:
                yield from below(row[0])

    return list(below(rows[0][0]))


def put(folder, name, text):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def read(folder, text=None, reader=None, name="clip.bvh"):
    if text is not None:
        put(folder, name, text)
    known = reader_for(reader or BVH(), folder)
    (record,) = known.records(folder)
    return known.read(folder, record)


def test_two_joints_two_frames_on_paper(tmp_path):
    sequence = read(tmp_path, ARM)
    assert sequence.skeleton.joints == ("Arm", "Hand", "Hand_end")
    assert sequence.skeleton.parents == (0, 0, 1)
    np.testing.assert_allclose(100 * sequence.joints[0], ARM_PLACES, atol=1e-5)
    assert sequence.present.all()
    assert sequence.fps == 30.0
    assert (sequence.record.id, sequence.record.path, sequence.record.label) == ("clip", "clip.bvh", -1)


def test_channels_take_the_place_of_the_offset(tmp_path):
    # Rotations first, and the hand has one position channel: its x and z stay those of OFFSET.
    text = ARM.replace(
        "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation", f"CHANNELS 6 {ROTATIONS} {POSITIONS}"
    )
    text = text.replace("CHANNELS 3 Zrotation Xrotation Yrotation", "CHANNELS 2 Yposition Zrotation")
    text = text.replace("1 2 3 90 0 0 0 0 0", "90 0 0 1 2 3 7 0").replace("0 0 0 90 90 0 90 0 0", "0 0 0 0 0 0 -4 90")
    # Frame 1: (10, 7, 0) and (0, 5, 0) turned a quarter about z. Frame 2: (10, -4, 0), and the end at (-5, 0, 0) of it.
    expected = [[(1, 2, 3), (-6, 12, 3), (-11, 12, 3)], [(0, 0, 0), (10, -4, 0), (5, -4, 0)]]
    sequence = read(tmp_path, text, BVH(joints=["Arm", "Hand", "Hand_end"]))
    np.testing.assert_allclose(100 * sequence.joints[0], expected, atol=1e-5)
    # Left to itself, the reader takes a root whose only child is placed by itself for the origin of the scene.
    assert read(tmp_path).skeleton.joints == ("Hand", "Hand_end")


def test_position_channels_of_the_root_take_the_place_of_its_offset(tmp_path):
    moved = read(tmp_path, ARM.replace("OFFSET 0 0 0", "OFFSET 50 60 70", 1))
    np.testing.assert_allclose(100 * moved.joints[0], ARM_PLACES, atol=1e-5)


def test_any_order_of_rotations(tmp_path):
    text = ARM.replace("Zrotation Xrotation Yrotation", "Xrotation Yrotation Zrotation")
    text = text.replace("1 2 3 90 0 0 0 0 0", "0 0 0 90 0 90 0 0 0")
    # Rx Rz: the hand's offset (10, 0, 0) goes to (0, 10, 0) and then to (0, 0, 10).
    assert 100 * read(tmp_path, text).joints[0, 0, 1] == pytest.approx([0, 0, 10], abs=1e-5)


def test_the_same_as_the_library_by_itself(tmp_path):
    """The parser of pymotion and its kinematics, on a file that both can read."""
    from pymotion.io.bvh import BVH as Library
    from pymotion.ops.skeleton_np import fk

    rows = in_file_order(BODY)
    text = body_text(frames=0)
    random = np.random.default_rng(0)
    frames = 40 * random.normal(size=(5, sum(row[3] for row in rows)))
    file = put(
        tmp_path, "clip.bvh", text.replace("Frames: 0", "Frames: 5") + "\n".join(" ".join(map(str, f)) for f in frames)
    )
    nodes, _, places = read_motion(file)
    library = Library()
    library.load(str(file))
    rotations, positions, parents, *_ = library.get_data()
    expected, _ = fk(rotations, positions[:, 0], positions, parents)
    ours = [place for place, node in enumerate(nodes) if not node.is_end]
    np.testing.assert_allclose(places[:, ours], expected, atol=1e-4)


def test_skeleton_of_a_production(tmp_path):
    skeleton = read(tmp_path, body_text()).skeleton
    assert skeleton.joints == JOINTS
    assert [skeleton.joints[parent] for parent in skeleton.parents] == [
        *("Hips", "Hips", "Spine", "Spine", "Shoulder_L", "Spine", "Shoulder_R", "Hips", "Hips"),
    ]
    assert [skeleton.joints[joint] for joint in skeleton.mirror][3:] == [
        *("Shoulder_R", "UpperArm_R", "Shoulder_L", "UpperArm_L", "UpperLeg_R", "UpperLeg_L"),
    ]
    assert {role: skeleton.joints[joint] for role, joint in skeleton.anchors.items()} == {
        "centre": "Hips",
        "chest": "Neck",
        "left_hip": "UpperLeg_L",
        "right_hip": "UpperLeg_R",
        "left_shoulder": "UpperArm_L",
        "right_shoulder": "UpperArm_R",
    }
    assert (skeleton.up, skeleton.name[:6]) == ("y", "bvh_9_")


@pytest.mark.parametrize(
    ("hip", "shoulder", "others"),
    [
        ("LeftUpLeg", "LeftArm", ("LeftShoulder", "LeftForeArm", "LeftHipHelper")),
        ("lThigh", "lShldr", ("lCollar", "lForeArm")),
        ("L_Hip", "L_Shoulder", ("L_Elbow", "L_Knee")),
        ("upperleg.l", "upperarm.l", ("lowerarm.l", "shoulder.l")),
    ],
)
def test_hips_and_shoulders_by_name(tmp_path, hip, shoulder, others):
    def right(name):
        for left, opposite in (
            ("Left", "Right"),
            ("lThigh", "rThigh"),
            ("lShldr", "rShldr"),
            ("lC", "rC"),
            ("lF", "rF"),
        ):
            name = name.replace(left, opposite)
        return name.replace("L_", "R_").replace(".l", ".r")

    rows = [("Root", None, (0, 0, 0), 6), ("Trunk", "Root", (0, 30, 0), 3)]
    for name, parent in ((hip, "Root"), *((other, "Trunk") for other in others), (shoulder, "Trunk")):
        rows += [(name, parent, (3, 1, 0), 3), (right(name), parent, (-3, 1, 0), 3)]
    skeleton = read(tmp_path, body_text(rows)).skeleton
    named = {role: skeleton.joints[joint] for role, joint in skeleton.anchors.items()}
    assert named == {
        **{"centre": "Root", "chest": "Trunk", "left_hip": hip, "right_hip": right(hip)},
        **{"left_shoulder": shoulder, "right_shoulder": right(shoulder)},
    }


def test_ends_count_where_all_files_give_them_a_length(tmp_path):
    put(tmp_path, "a.bvh", body_text(ends={"Neck": (0, 10, 0), "UpperLeg_L": (0, -40, 0)}))
    assert BVH().for_root(tmp_path).skeleton.joints == (
        *JOINTS[:3],
        "Neck_end",
        *JOINTS[3:8],
        "UpperLeg_L_end",
        JOINTS[8],
    )
    put(tmp_path, "b.bvh", body_text(ends={"UpperLeg_L": (0, -41, 0)}))
    known = BVH().for_root(tmp_path)
    assert known.skeleton.joints == (*JOINTS[:8], "UpperLeg_L_end", JOINTS[8])
    for record in known.records(tmp_path):
        assert known.read(tmp_path, record).joints.shape == (1, 2, 10, 3)


def test_joints_and_anchors_by_option(tmp_path):
    reader = BVH(joints=["Hips", "Neck", "UpperLeg_L"], anchors={"chest": "Neck", "centre": "Hips"})
    sequence = read(tmp_path, body_text(), reader)
    assert (sequence.skeleton.joints, sequence.skeleton.parents) == (("Hips", "Neck", "UpperLeg_L"), (0, 0, 0))
    np.testing.assert_allclose(100 * sequence.joints[0, 0], [(0, 90, 0), (0, 140, 0), (9, 90, 0)], atol=1e-5)
    assert sequence.skeleton.anchors == {"centre": 0, "chest": 1}
    with pytest.raises(ConfigError, match=r"which joint of the skeleton .* is its left_hip, right_hip, left_shoulder"):
        alignment_of(sequence.joints, sequence.present, sequence.skeleton, "yaw")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"joints": ["Hips", "Tail"]}, "the skeleton has no joint 'Tail'. Its joints: World, Hips, "),
        ({"anchors": {"chest": "Tail"}}, "the skeleton has no joint 'Tail'. Its joints: Hips, Spine"),
        ({"anchors": {"tail": "Hips"}}, "anchors are centre, chest, .* got 'tail'"),
        ({"unit_metres": 0.0}, "unit_metres must be above 0"),
        ({"pattern": "(?P<label"}, "is no regular expression"),
    ],
)
def test_options_are_checked(tmp_path, options, says):
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, body_text(), BVH(**options))


def test_unit_and_up(tmp_path):
    sequence = read(tmp_path, ARM, BVH(unit_metres=1.0, up="z"))
    assert sequence.joints[0, 0, 0] == pytest.approx([1, 2, 3])
    assert sequence.skeleton.up == "z"


@pytest.mark.parametrize(
    ("seconds", "fps"),
    [("0.0333333", 30.0), ("0.033333", 30.0), ("0.00833", 120.0), ("0.0333667", 1 / 0.0333667), ("0.04", 25.0)],
)
def test_frame_rate(tmp_path, seconds, fps):
    assert read(tmp_path, ARM.replace("0.0333333", seconds)).fps == pytest.approx(fps, rel=1e-12)


def test_labels_and_attributes_from_the_path(tmp_path):
    for name in ("one/walk_old_001", "one/run_old_002", "two/walk_x7_010"):
        put(tmp_path, f"{name}.bvh", ARM)
    reader = BVH(pattern=r"(?P<actor>[a-z]+)/(?P<label>[^_]+)_(?P<style>[^_]+)_(?P<take>\d+)")
    store = Store.open(convert_recordings(reader, tmp_path, tmp_path / "store").store)
    assert store.classes == ("run", "walk")
    assert list(zip(store.ids, store.label.tolist(), strict=True)) == [
        ("one/run_old_002", 0),
        ("one/walk_old_001", 1),
        ("two/walk_x7_010", 1),
    ]
    assert store.attribute("take").tolist() == [2, 1, 10]
    assert store.attribute("style").tolist() == ["old", "old", "x7"]
    assert store.attribute("actor").tolist() == ["one", "one", "two"]
    assert store.skeleton.joints == ("Arm", "Hand", "Hand_end")
    assert store.options["pattern"] == reader.pattern


def test_a_store_is_not_gone_on_with_when_the_skeleton_has_changed(tmp_path):
    put(tmp_path, "clip.bvh", ARM)
    first = convert_recordings(BVH(), tmp_path, tmp_path / "store")
    assert convert_recordings(BVH(), tmp_path, tmp_path / "store").kept_shards == first.shards
    put(tmp_path, "clip.bvh", ARM.replace("Hand", "Fist"))
    with pytest.raises(StoreError, match="begun with other settings or files"):
        convert_recordings(BVH(), tmp_path, tmp_path / "store")


def test_no_verdict_on_uprightness_without_the_joints_for_it(tmp_path):
    put(tmp_path, "clip.bvh", body_text())
    reader = BVH(joints=["Hips", "Spine", "UpperLeg_L", "UpperLeg_R"])
    store = Store.open(convert_recordings(reader, tmp_path, tmp_path / "store").store)
    assert set(store.skeleton.anchors) == {"centre", "left_hip", "right_hip"}
    assert not [warning for warning in summarise(store).warnings if "chest" in warning]


def test_a_group_may_be_missing(tmp_path):
    put(tmp_path, "walk.bvh", ARM)
    put(tmp_path, "walk-2.bvh", ARM)
    known = BVH(pattern=r"(?P<label>[a-z]+)(-(?P<take>\d))?").for_root(tmp_path)
    assert [(record.label, dict(record.attributes)) for record in known.records(tmp_path)] == [
        (0, {"take": 2}),
        (0, {}),
    ]


def test_a_path_that_does_not_fit_is_refused(tmp_path):
    file = put(tmp_path, "odd.bvh", ARM)
    with pytest.raises(ParseError, match=r"fits the pattern '\(\?P<label>walk\)', got 'odd'") as caught:
        BVH(pattern="(?P<label>walk)").for_root(tmp_path)
    assert (caught.value.path, caught.value.line) == (file, 0)


def test_names_and_files_in_other_scripts(tmp_path):
    text = ARM.replace("Hand", "手").replace("\n", "\r\n")
    sequence = read(tmp_path, text, name="動作/歩く 1.BVH")
    assert sequence.skeleton.joints == ("Arm", "手", "手_end")
    assert sequence.record.id == "動作/歩く 1"
    assert sequence.joints.shape == (1, 2, 3, 3)


def test_names_in_an_old_encoding_are_read(tmp_path):
    sequence = read(tmp_path, ARM.replace("Hand", "Mano_\xf1").encode("latin-1"))
    assert sequence.skeleton.joints[1] == "Mano_\xf1"


def test_braces_anywhere_and_names_with_blanks(tmp_path):
    text = (
        ARM.replace("ROOT Arm\n{", "ROOT Left Arm {").replace("\t\t}\n\t}\n}", "} } }").replace("End Site", "END SITE")
    )
    sequence = read(tmp_path, "\ufeff" + text)
    assert sequence.skeleton.joints == ("Left Arm", "Hand", "Hand_end")
    np.testing.assert_allclose(100 * sequence.joints[0], ARM_PLACES, atol=1e-5)


def test_no_frames(tmp_path):
    with pytest.raises(SkipRecording, match="there is no frame"):
        read(tmp_path, body_text(frames=0))


def test_a_reader_that_has_not_seen_the_files_says_so(tmp_path):
    put(tmp_path, "clip.bvh", ARM)
    (record,) = BVH().records(tmp_path)
    with pytest.raises(ConfigError, match=r"for_root\(root\)"):
        BVH().read(tmp_path, record)


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match=r"holds no file \*\.bvh"):
        BVH().for_root(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        BVH().for_root(tmp_path / "nowhere")


def without(rows, name):
    return [row for row in rows if row[0] != name]


@pytest.mark.parametrize(
    ("rows", "at", "says"),
    [
        (without(BODY, "UpperLeg_R"), "HIERARCHY", "it has no joint 'UpperLeg_R'"),
        ([*BODY, ("Tail", "Hips", (0, 0, -9), 3)], "JOINT Tail", "it has a joint 'Tail' more"),
        (
            [*without(BODY, "Neck"), ("Neck", "Hips", (0, 50, 0), 3)],
            "JOINT Neck",
            "the parent of 'Neck' is 'Hips', not 'Spine'",
        ),
        ([*without(BODY, "Neck"), ("Neck", "Spine", (0, 30, 0), 3)], "HIERARCHY", "its joints are in another order"),
    ],
)
def test_files_of_different_skeletons_are_refused(tmp_path, rows, at, says):
    put(tmp_path, "a.bvh", body_text())
    text = body_text(rows)
    file = put(tmp_path, "b.bvh", text)
    line = 1 + [one.strip() for one in text.splitlines()].index(at)
    known = BVH().for_root(tmp_path)
    assert known.read(tmp_path, next(known.records(tmp_path))).skeleton == known.skeleton
    with pytest.raises(ParseError, match=f"skeleton of .*a.bvh, but {says}. .*--options.joints") as caught:
        known.read(tmp_path, list(known.records(tmp_path))[1])
    assert (caught.value.path, caught.value.line) == (file, line)
    shared = BVH(joints=["Hips", "Spine", "UpperArm_L"]).for_root(tmp_path)
    assert shared.skeleton.joints == ("Hips", "Spine", "UpperArm_L")


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        (ARM, "", 1, "expected HIERARCHY, got an empty file"),
        ("HIERARCHY\n", "", 1, "expected HIERARCHY, got 'ROOT Arm'"),
        (ARM[ARM.index("\tJOINT") :], "", 5, "expected MOTION, got the end of the file"),
        ("MOTION\n", "", 16, "expected ROOT or MOTION, got 'Frames:"),
        ("ROOT Arm", "JOINT Arm", 2, "expected ROOT, got JOINT"),
        ("JOINT Hand", "ROOT Hand", 6, "expected JOINT, got ROOT"),
        ("JOINT Hand", "JOINT", 6, "expected a name that no other joint has, got ''"),
        ("\t\tOFFSET 10 0 0\n", "", 13, "expected OFFSET of Hand before its }"),
        ("OFFSET 10 0 0", "OFFSET 10 0", 8, "expected one OFFSET of three numbers, got 'OFFSET 10 0'"),
        ("OFFSET 10 0 0", "OFFSET 10 0 nan", 8, "expected one OFFSET of three numbers"),
        ("CHANNELS 3 Z", "CHANNELS 4 Z", 9, "expected one CHANNELS with a count"),
        ("CHANNELS 3 Zrotation", "CHANNELS 3 Wrotation", 9, "expected one CHANNELS with a count"),
        ("CHANNELS 3 Zrotation", "CHANNELS 3 Xrotation", 9, "expected one CHANNELS with a count"),
        ("\t\tCHANNELS 3 Zrotation Xrotation Yrotation\n", "", 13, "expected CHANNELS of Hand before its }"),
        ("\t{\n\t\tOFFSET 10", "\t\tOFFSET 10", 7, "expected {, got 'OFFSET 10 0 0'"),
        ("JOINT Hand", "SCALE 1", 6, "expected ROOT, JOINT, End Site, OFFSET, CHANNELS or }, got 'SCALE 1'"),
        ("}\nMOTION", "MOTION", 15, "expected } of Arm before MOTION"),
        ("}\nMOTION", "}\n}\nMOTION", 16, "expected ROOT or MOTION, got '}'"),
        ("}\nMOTION", "}\nROOT Other {", 16, "expected one ROOT"),
        ("\t\t\tOFFSET 0 5 0", "JOINT Tip {", 12, "expected the OFFSET and } of an End Site"),
        ("Frames:\t2", "Frames: two", 17, "expected 'Frames: COUNT', got 'Frames: two'"),
        ("Frame Time:\t0.0333333", "Frame Time: 0", 18, "expected a frame time above 0 seconds, got '0'"),
        ("Frame Time:\t0.0333333\n", "", 18, "expected 'Frame Time: SECONDS', got '1 2 3"),
        ("Frames:\t2", "Frames:\t4", 20, "expected 4 frames as declared, got 2"),
        ("0 0 0 90 90 0 90 0 0", "0 0 0 90 90 0 90 0", 20, "expected 9 numbers, got 8"),
        ("0 0 0 90 90 0 90 0 0", "0 0 0 90 90 0 90 0 0 0", 20, "expected 9 numbers, got 10"),
        ("0 0 0 90 90 0 90 0 0", "0 0 0 90 90 0 90 x 0", 20, "finite number in column 8, got 'x'"),
        ("0 0 0 90 90 0 90 0 0", "0 0 0 90 90 0 90 inf 0", 20, "finite number in column 8, got 'inf'"),
    ],
)
def test_malformed_files_name_the_line(tmp_path, old, new, line, says):
    assert old in ARM
    file = put(tmp_path, "clip.bvh", ARM.replace(old, new, 1))
    with pytest.raises(ParseError) as caught:
        read(tmp_path)
    assert says in caught.value.problem
    assert (caught.value.path, caught.value.line) == (file, line)
