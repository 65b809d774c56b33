"""PKU-MMD: split files and labels as they really are, clips and recordings, and faults that are counted, not hidden."""

import subprocess
import sys

import numpy as np
import pytest

from marrow.errors import ConfigError, DataError, ParseError
from marrow.readers import SkipRecording
from marrow.readers.pku_mmd import PKUMMD, overlapping, parse_labels, parse_split
from marrow.store import Store, convert_recordings
from marrow.store.summary import summarise

# As in the release: misspelt, a comma after the last name, a blank and a carriage return at the end of lines.
SPLIT = b"Training videos: \r\n0002-L, 0002-M, 0002-R, 0043-L, \r\nValidataion videos: \r\n0291-L, 0291-M,\r\n"
VIEW_SPLIT = b"Training videos:\n0002-M,0002-R,0291-M\nValidataion videos:\n0002-L,0043-L,0291-L\n"


def skeletons(frames, *, second_body=(), nobody=()):
    """Joint j of body m in frame t lies at (t, j, m + 1), to six digits as in the release."""
    lines = []
    for frame in range(frames):
        values = [
            0.0 if frame in nobody or (body == 1 and frame not in second_body) else value
            for body in (0, 1)
            for joint in range(25)
            for value in (frame, joint, body + 1)
        ]
        lines.append(" ".join(f"{value:.6f}" for value in values))
    return "\n ".join(lines) + "\n"  # lines after the first begin with a blank


@pytest.fixture
def root(tmp_path):
    """Two recordings in the folders of the release."""
    files = {
        "Split/cross-subject.txt": SPLIT,
        "Split/cross-view.txt": VIEW_SPLIT,
        "Data/PKU_Skeleton_Renew/0002-L.txt": skeletons(40, second_body=range(10, 20)),
        "Data/PKU_Skeleton_Renew/0291-M.txt": skeletons(12),
        "Label/Train_Label_PKU_final/0002-L.txt": "8,0,5,2\r\n14,10,20,1\r\n51,30,40,2\r\n",
        "Label/Train_Label_PKU_final/0291-M.txt": "1,2,12,2\n",
    }
    for name, content in files.items():
        put(tmp_path / "PKUMMD", name, content)
    return tmp_path / "PKUMMD"


def put(folder, name, content):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def relabel(root, text, recording="0002-L"):
    return put(root, f"Label/Train_Label_PKU_final/{recording}.txt", text)


def read_all(reader, root):
    """Read everything; what is skipped is its reason."""
    outcome = {}
    for record in reader.records(root):
        try:
            outcome[record.id] = reader.read(root, record)
        except SkipRecording as skipped:
            outcome[record.id] = str(skipped)
    return outcome


def test_a_clip_for_each_instance(root):
    clips = read_all(PKUMMD(), root)
    assert list(clips) == ["0002-L_001", "0002-L_002", "0002-L_003", "0291-M_001"]
    clip = clips["0002-L_002"]
    assert (clip.record.path, clip.record.label) == ("Data/PKU_Skeleton_Renew/0002-L.txt", 13)
    assert PKUMMD.classes[13] == "shaking hands"
    assert clip.record.attributes == {
        **{"scene": "0002", "view": "L", "xsub": "train", "xview": "test"},
        **{"start_frame": 10, "end_frame": 20, "confidence": 1, "overlaps": 0},
    }
    assert (clip.joints.shape, clip.fps, clip.notes) == ((2, 10, 25, 3), 30.0, ())
    assert clip.joints[0, 0, 3].tolist() == [10, 3, 1]  # frame 10 is the first, the coordinates as they are
    assert clip.joints[1, 9, 24].tolist() == [19, 24, 2]  # frame 20 is not in it
    assert clip.present.all()


def test_a_body_that_is_all_zeros_is_absent(root):
    relabel(root, "1,5,12,2\n")
    clip = read_all(PKUMMD(), root)["0002-L_001"]
    assert clip.present[0].all()
    assert clip.present[1].all(axis=-1).tolist() == [False] * 5 + [True] * 2
    assert not clip.present[1, :5].any()


def test_there_are_51_classes():
    assert len(set(PKUMMD.classes)) == 51
    # From the list of the data set: class 1, 8, 11, 29, 42 and 51.
    named = [PKUMMD.classes[action - 1] for action in (1, 8, 11, 29, 42, 51)]
    assert named == ["bow", "drink water", "falling down", "put something into pocket", "back pain", "writing"]


def test_protocols_are_those_of_the_split_files(root):
    records = list(PKUMMD().records(root))
    for name, expected in (("xsub", [True, True, True, False]), ("xview", [False, False, False, True])):
        split = PKUMMD.splits[name]
        assert [split.train(record) for record in records] == expected
        assert [split.test(record) for record in records] == [not side for side in expected]


def test_a_recording_that_no_split_names_is_on_neither_side(root):
    put(root, "Data/PKU_Skeleton_Renew/0099-R.txt", skeletons(3))
    relabel(root, "1,0,3,2\n", "0099-R")
    record = next(record for record in PKUMMD().records(root) if record.id == "0099-R_001")
    assert not any(half(record) for split in PKUMMD.splits.values() for half in (split.train, split.test))


def test_whole_recordings_with_segments(root):
    relabel(root, "51,30,40,2\n8,0,5,2\n14,10,20,1\n")
    recordings = read_all(PKUMMD(kind="untrimmed"), root)
    assert list(recordings) == ["0002-L", "0291-M"]
    recording = recordings["0002-L"]
    assert [(one.start_frame, one.end_frame, one.label) for one in recording.segments] == [
        (0, 5, 7),
        (10, 20, 13),
        (30, 40, 50),
    ]
    assert (recording.frame_count, recording.record.label, recording.notes) == (40, -1, ())


def test_reversed_intervals(root):
    relabel(root, "1,25,21,2\n2,0,5,2\n")
    assert read_all(PKUMMD(), root)["0002-L_001"] == "the labelled interval ends before it starts"
    swapped = read_all(PKUMMD(reversed_intervals="swap"), root)["0002-L_001"]
    assert swapped.joints[0, :, 0, 0].tolist() == [21, 22, 23, 24]
    assert swapped.notes == ("a labelled interval ended before it started, and was swapped",)

    dropped = read_all(PKUMMD(kind="untrimmed"), root)["0002-L"]
    assert [segment.start_frame for segment in dropped.segments] == [0]
    assert dropped.notes == ("a segment was left out: the labelled interval ends before it starts",)
    kept = read_all(PKUMMD(kind="untrimmed", reversed_intervals="swap"), root)["0002-L"]
    assert [(one.start_frame, one.end_frame, one.label) for one in kept.segments] == [(0, 5, 1), (21, 25, 0)]


def test_confidence_0_is_kept_and_counted_unless_asked_otherwise(root):
    relabel(root, "1,0,5,0\n2,5,9,1\n3,9,12,2\n")
    clips = read_all(PKUMMD(), root)
    assert [clips[f"0002-L_00{line}"].notes for line in (1, 2, 3)] == [("a label has confidence 0",), (), ()]
    clips = read_all(PKUMMD(min_confidence=2), root)
    assert clips["0002-L_001"] == clips["0002-L_002"] == "the label has less confidence than min_confidence"
    assert clips["0002-L_003"].notes == ()
    recording = read_all(PKUMMD(kind="untrimmed", min_confidence=1), root)["0002-L"]
    assert len(recording.segments) == 2
    assert recording.notes == ("a segment was left out: the label has less confidence than min_confidence",)


def test_intervals_beyond_the_end(root):
    relabel(root, "1,36,50,2\n2,40,45,2\n3,7,7,2\n")
    clips = read_all(PKUMMD(), root)
    assert clips["0002-L_001"].frame_count == 4
    assert clips["0002-L_001"].notes[0] == "a labelled interval ended after the recording, and was cut there"
    assert clips["0002-L_002"] == "the labelled interval begins after the recording ends"
    assert clips["0002-L_003"] == "the labelled interval has no frame"


def test_overlapping_intervals_are_kept_and_counted(root):
    relabel(root, "1,0,10,2\n2,9,12,2\n3,12,20,2\n")
    clips = read_all(PKUMMD(), root)
    assert [clip.record.attributes["overlaps"] for clip in clips.values()] == [1, 1, 0, 0]
    assert clips["0002-L_001"].notes == clips["0002-L_002"].notes == ("a labelled interval overlaps with another one",)
    assert clips["0002-L_003"].notes == ()
    assert read_all(PKUMMD(kind="untrimmed"), root)["0002-L"].notes == clips["0002-L_001"].notes * 2


def test_what_is_left_out_overlaps_with_nothing(root):
    relabel(root, "1,8,0,2\n2,0,5,2\n")
    assert read_all(PKUMMD(), root)["0002-L_002"].notes == ()
    assert read_all(PKUMMD(kind="untrimmed"), root)["0002-L"].notes == (
        "a segment was left out: the labelled interval ends before it starts",
    )
    swapped = read_all(PKUMMD(reversed_intervals="swap"), root)
    assert [swapped[f"0002-L_00{line}"].record.attributes["overlaps"] for line in (1, 2)] == [1, 1]


def test_overlaps_by_hand(tmp_path):
    # Line 1 spans 2 and 3, which do not touch each other; 4 begins where 1 ends; 5 is empty.
    file = put(tmp_path, "labels.txt", "1,0,30,2\n1,5,10,2\n1,10,20,2\n1,30,40,2\n1,35,35,2\n")
    assert overlapping(parse_labels(file)) == {1, 2, 3}


def test_long_clips_are_cut_as_published_conversions_do(root):
    put(root, "Data/PKU_Skeleton_Renew/0291-M.txt", skeletons(330))
    relabel(root, "1,10,330,2\n2,20,320,2\n", "0291-M")
    clips = read_all(PKUMMD(), root)
    assert (clips["0291-M_001"].frame_count, clips["0291-M_001"].joints[0, -1, 0, 0]) == (300, 309)
    assert "a clip was cut to max_frames 300" in clips["0291-M_001"].notes
    assert (clips["0291-M_002"].frame_count, "cut" in str(clips["0291-M_002"].notes)) == (300, False)
    assert read_all(PKUMMD(max_frames=None), root)["0291-M_001"].frame_count == 320


def test_what_is_missing_is_listed(root):
    put(root, "Data/PKU_Skeleton_Renew/0002-M.txt", skeletons(3))
    put(root, "Data/PKU_Skeleton_Renew/0002-R.txt", skeletons(3))
    relabel(root, "", "0002-R")
    relabel(root, "1,0,3,2\n", "0043-L")
    put(root, "Data/PKU_Skeleton_Renew/0291-L.txt", skeletons(3, nobody=range(3)))
    relabel(root, "1,0,3,2\n", "0291-L")
    clips = read_all(PKUMMD(), root)
    assert {name: clip for name, clip in clips.items() if isinstance(clip, str)} == {
        "0002-M": "the recording has no labels",
        "0002-R": "the recording has no labels",
        "0043-L": "there are labels, but no recording",
        "0291-L_001": "nobody is seen",
    }
    recordings = read_all(PKUMMD(kind="untrimmed"), root)
    assert recordings["0002-M"].notes == recordings["0002-R"].notes == ("the recording has no labels",)
    assert (recordings["0043-L"], recordings["0291-L"]) == ("there are labels, but no recording", "nobody is seen")


def test_the_store_counts_what_was_left_out_and_what_was_odd(root, tmp_path):
    relabel(root, "1,25,21,2\n2,0,5,0\n3,36,50,2\n")
    made = convert_recordings(PKUMMD(), root, tmp_path / "clips")
    assert [(one.id, one.reason) for one in made.dropped] == [
        ("0002-L_001", "the labelled interval ends before it starts")
    ]
    notes = {
        "a label has confidence 0": 1,
        "a labelled interval ended after the recording, and was cut there": 1,
    }
    assert made.notes == notes
    assert summarise(Store.open(made.store)).notes == notes

    made = convert_recordings(PKUMMD(kind="untrimmed"), root, tmp_path / "recordings")
    store = Store.open(made.store)
    notes["a segment was left out: the labelled interval ends before it starts"] = 1
    assert made.notes == store.notes == notes
    # Segments come back from the disk as they went.
    expected = read_all(PKUMMD(kind="untrimmed"), root)["0002-L"]
    assert store.sequence(0).segments == expected.segments
    assert store.sequence(0).notes == expected.notes
    np.testing.assert_array_equal(store.sequence(0).joints, expected.joints)
    assert store.split_rows("xsub")[0].tolist() == [0]


def test_part_2(tmp_path):
    put(tmp_path, "v2/skeleton/A01N02-M.txt", skeletons(20))
    put(tmp_path, "v2/label/A01N02-M.txt", "5,0,8,2\n6,4,12,2\n")
    put(tmp_path, "v2/cross_subject_v2.txt", b"Training videos:\nA01N02-M,\nValidataion videos:\nA02N01-L\n")
    put(tmp_path, "v1/skeleton/0002-L.txt", skeletons(20))
    put(tmp_path, "v1/label/0002-L.txt", "5,0,8,2\n")
    put(tmp_path, "v1/cross_subject.txt", SPLIT)
    clips = read_all(PKUMMD(part=2), tmp_path)
    assert list(clips) == ["A01N02-M_001", "A01N02-M_002"]
    assert clips["A01N02-M_002"].record.attributes["scene"] == "A01N02"
    assert PKUMMD.splits["xsub"].train(clips["A01N02-M_001"].record)
    assert list(read_all(PKUMMD(), tmp_path)) == ["0002-L_001"]


def test_the_other_part_is_named(root):
    with pytest.raises(DataError, match=r"skeletons of PKU-MMD part 2 .* found none. There are files of part 1"):
        list(PKUMMD(part=2).records(root))


def test_what_competes_is_named(root):
    put(root, "copy/0002-L.txt", skeletons(1))
    with pytest.raises(DataError, match=r"2 folders with skeletons .*PKU_Skeleton_Renew and .*copy"):
        list(PKUMMD().records(root))
    (root / "copy" / "0002-L.txt").unlink()
    put(root, "copy/cross_subject.txt", SPLIT)
    with pytest.raises(DataError, match=r"two files with the split xsub .*cross-subject.txt and .*cross_subject.txt"):
        list(PKUMMD().records(root))


def test_nothing_there(tmp_path, root):
    with pytest.raises(DataError, match="is not a folder"):
        list(PKUMMD().records(tmp_path / "nowhere"))
    for file in (root / "Label" / "Train_Label_PKU_final").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="expected labels of PKU-MMD part 1"):
        list(PKUMMD().records(root))
    relabel(root, "1,0,3,2\n")
    for file in (root / "Split").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"expected cross-subject.txt or cross-view.txt .* found neither"):
        list(PKUMMD().records(root))


def test_one_split_file_is_enough(root):
    (root / "Split" / "cross-view.txt").unlink()
    assert "xview" not in next(iter(PKUMMD().records(root))).attributes


def test_split_file_as_it_is(tmp_path):
    assert parse_split(put(tmp_path, "split.txt", SPLIT)) == {
        **dict.fromkeys(("0002-L", "0002-M", "0002-R", "0043-L"), "train"),
        **dict.fromkeys(("0291-L", "0291-M"), "test"),
    }


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b"", 1, "names under 'Training videos:', found none"),
        (b"0002-L\n", 1, "expected 'Training videos:' first, got '0002-L'"),
        (b"Training videos:\n0002-L\n", 2, "names under 'Validation videos:', found none"),
        (b"Training videos:\n0002-L\nValidataion videos:\n", 3, "names under 'Validation videos:', found none"),
        (b"Training videos:\n0002-L\nOther videos:\n0002-M\n", 3, "got 'Other videos:'"),
        (b"Training videos:\n0002-L 0002-M\n", 2, "names like 0002-L or A01N01-L with commas between"),
        (b"Training videos:\n0002-L\nValidataion videos:\n0291-L,0002-L\n", 4, "0002-L stands under both headings"),
    ],
)
def test_malformed_split_files(root, content, line, says):
    file = put(root, "Split/cross-subject.txt", content)
    with pytest.raises(ParseError, match=says) as caught:
        list(PKUMMD().records(root))
    assert (caught.value.path, caught.value.line) == (file, line)


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("1,0,5,2\n2,5,9\n", 2, r"class,start,end,confidence; got '2,5,9'"),
        ("1,0,5,2,7\n", 1, "expected four whole numbers"),
        ("1,0,5,2\n\n2,5,9\n", 3, "expected four whole numbers"),
        ("1,zero,5,2\n", 1, "expected four whole numbers"),
        ("1,-1,5,2\n", 1, "expected four whole numbers"),
        ("1,0,5.5,2\n", 1, "expected four whole numbers"),
        ("1,0,99999999999999999999,2\n", 1, "expected four whole numbers"),
        ("52,0,5,2\n", 1, "expected a class from 1 to 51, got 52"),
        ("1,0,5,2\n0,5,9,2\n", 2, "expected a class from 1 to 51, got 0"),
    ],
)
@pytest.mark.parametrize("kind", ["trimmed", "untrimmed"])
def test_malformed_labels(root, content, line, says, kind):
    file = relabel(root, content)
    with pytest.raises(ParseError, match=says) as caught:
        read_all(PKUMMD(kind=kind), root)
    assert (caught.value.path, caught.value.line) == (file, line)


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("", 1, "150 numbers per line, got an empty file"),
        (skeletons(5)[:-300], 5, "expected 150 numbers, got"),
        (skeletons(1) + "1 " + skeletons(1), 2, "expected 150 numbers, got 151"),
        (skeletons(3).replace("2.000000", "abc", 1), 1, "finite number in column 8, got 'abc'"),
        (skeletons(3).replace("2.000000", "nan", 1), 1, "finite number in column 8, got 'nan'"),
        (skeletons(3).replace("\n 2.000000", "\n 1e9", 1), 3, "finite number in column 1, got '1e9'"),
    ],
)
def test_malformed_skeletons(root, content, line, says):
    relabel(root, "1,0,5,2\n")
    put(root, "Label/Train_Label_PKU_final/0291-M.txt", "1,0,2,2\n")
    file = put(root, "Data/PKU_Skeleton_Renew/0002-L.txt", content)
    with pytest.raises(ParseError, match=says) as caught:
        read_all(PKUMMD(), root)
    assert (caught.value.path, caught.value.line) == (file, line)


def test_a_changed_file_is_read_again(root):
    first = read_all(PKUMMD(), root)["0002-L_001"]
    put(root, "Data/PKU_Skeleton_Renew/0002-L.txt", skeletons(40).replace("0.000000 0.000000 1.000000", "9 9 9"))
    assert read_all(PKUMMD(), root)["0002-L_001"].joints[0, 0, 0].tolist() == [9, 9, 9]
    assert first.joints[0, 0, 0].tolist() == [0, 0, 1]


def test_max_frames_is_checked():
    with pytest.raises(ConfigError, match="max_frames must be at least 1, got 0"):
        PKUMMD(max_frames=0)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("part=3", "pku_mmd part must be 1 or 2, got 3"),
        ("kind='clips'", "pku_mmd kind must be 'trimmed' or 'untrimmed', got 'clips'"),
        ("reversed_intervals='keep'", "pku_mmd reversed_intervals must be 'drop' or 'swap', got 'keep'"),
    ],
)
def test_choices_are_checked(option, says):
    # In a process of its own, since the shape checks of the tests would refuse these values first.
    code = f"from marrow.readers.pku_mmd import PKUMMD; PKUMMD({option})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stderr.strip().endswith(f"ConfigError: {says}")
