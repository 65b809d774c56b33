"""UTKinect: frames made even in time, segments and clips, labels that touch or lie outside, and malformed files."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrow.errors import ConfigError, DataError, ParseError
from marrow.readers import SkipRecording
from marrow.readers.utkinect import UTKinect
from marrow.store import Store, convert_recordings
from marrow.testing import check_reader

# Frame numbers of the first recording: 14 is repeated, the gap from 20 to 60 is a long one.
NUMBERS = (10, 12, 14, 14, 20, 60, 62)
LABELS = "s01_e01\nwalk: 10 12 \nsitDown: 12 20\nstandUp:  NaN NaN\ncarry: 60 62\ns06_e02\npush: 3 4\n\n"


def text(numbers, place=lambda row: row):
    """Joint j of row r lies at (place(r), j, 2)."""
    return "".join(
        f"{number}   " + "  ".join(f"{place(row):.6f}  {joint:.6f}  2.000000" for joint in range(20)) + "\n"
        for row, number in enumerate(numbers)
    )


def put(folder, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


@pytest.fixture
def root(tmp_path):
    put(tmp_path, "joints_s01_e01.txt", text(NUMBERS))
    put(tmp_path, "joints_s06_e02.txt", text((2, 3, 4, 5)))
    put(tmp_path, "actionLabel_modified.txt", LABELS)
    return tmp_path


def relabel(root, content):
    return put(root, "actionLabel_modified.txt", content)


def read_all(reader, root):
    """What is read by id; the reason for what is skipped."""
    found = {}
    for record in reader.records(root):
        try:
            found[record.id] = reader.read(root, record)
        except SkipRecording as skipped:
            found[record.id] = str(skipped)
    return found


def spans(sequence):
    return [(one.start_frame, one.end_frame, one.label) for one in sequence.segments]


def test_time_is_made_even_by_the_frame_numbers(root):
    recording = read_all(UTKinect(), root)["s01_e01"]
    # Number 10 is frame 0 and 62 is frame 52. Rows 0, 1, 2 and 4 lie at frames 0, 2, 4 and 10; row 3 repeats frame 4.
    assert (recording.frame_count, recording.fps) == (53, 30.0)
    np.testing.assert_allclose(
        recording.joints[0, :11, 7, 0],
        [0, 0.5, 1, 1.5, 2, *(2 + 2 * step / 6 for step in range(1, 6)), 4],
        atol=1e-6,
    )
    assert recording.joints[0, 0, 7].tolist() == [0, 7, 2]  # the camera's coordinates, as they are
    assert recording.recorded.tolist() == [0, 2, 4, 10, 50, 52]
    assert "a row was left out: it repeats the frame number of the row before it" in recording.notes


def test_nobody_is_present_in_long_gaps(root):
    present = read_all(UTKinect(), root)["s01_e01"].present[0]
    assert np.flatnonzero(~present.all(-1)).tolist() == list(range(11, 50))
    assert not present[11:50].any()
    # 40 frames apart is not more than 40.
    assert read_all(UTKinect(max_gap_frames=40), root)["s01_e01"].present.all()
    assert not read_all(UTKinect(max_gap_frames=39), root)["s01_e01"].present[0, 11].any()


@settings(max_examples=50)
@given(steps=st.lists(st.integers(0, 40), min_size=1, max_size=12), origin=st.integers(0, 500))
def test_a_uniform_motion_stays_uniform(tmp_path_factory, steps, origin):
    """Joints at x = number / 100 lie at frame / 100 in all frames, whatever rows there are."""
    root = tmp_path_factory.mktemp("uniform")
    numbers = origin + np.cumsum([0, *steps])
    put(root, "joints_s01_e01.txt", text(numbers, place=lambda row: (numbers[row] - origin) / 100))
    relabel(root, LABELS)
    recording = read_all(UTKinect(), root)["s01_e01"]
    assert recording.frame_count == 1 + sum(steps)
    np.testing.assert_array_equal(recording.recorded, sorted(set(numbers - origin)))
    expected = np.where(recording.present[0, :, 0], np.arange(recording.frame_count) / 100, 0)
    np.testing.assert_allclose(recording.joints[0, :, 0, 0], expected, atol=1e-6)
    gaps = sum(step - 1 for step in steps if step > 30)
    assert (~recording.present[0, :, 0]).sum() == gaps


def test_a_joint_at_zero_is_absent_and_not_interpolated(root):
    rows = text((0, 2, 4)).splitlines()
    words = rows[1].split()
    rows[1] = " ".join([*words[:1], "0", "0", "0", *words[4:]])
    put(root, "joints_s01_e01.txt", "\n".join(rows))
    present = read_all(UTKinect(), root)["s01_e01"].present[0]
    assert present[:, 0].tolist() == [True, False, False, False, True]
    assert present[:, 1:].all()


def test_segments(root):
    recordings = read_all(UTKinect(), root)
    # Numbers 10..12, 12..20, 60..62, with the last one included; 12 goes to the earlier of two.
    assert spans(recordings["s01_e01"]) == [(0, 3, 0), (3, 11, 1), (50, 53, 4)]
    assert "two labelled intervals shared a frame, which went to the earlier one" in recordings["s01_e01"].notes
    assert len(recordings["s01_e01"].notes) == 2
    assert spans(recordings["s06_e02"]) == [(1, 3, 6)]
    assert recordings["s06_e02"].notes == ()
    assert recordings["s06_e02"].record.label == -1


def test_classes_follow_the_release():
    named = "walk; sit down; stand up; pick up; carry; throw; push; pull; wave hands; clap hands"
    assert UTKinect.classes == tuple(named.split("; "))


def test_clips(root):
    clips = read_all(UTKinect(trimmed=True), root)
    assert list(clips) == ["s01_e01_walk", "s01_e01_sitDown", "s01_e01_carry", "s06_e02_push"]
    assert [clip.record.label for clip in clips.values()] == [0, 1, 4, 6]
    sitting = clips["s01_e01_sitDown"]
    assert sitting.record.attributes == {"subject": 1, "episode": 1, "recording": "s01_e01", "action": "sitDown"}
    # Frames 3 to 10 of the recording, of which 4 and 10 are rows.
    assert (sitting.frame_count, sitting.recorded.tolist(), sitting.segments) == (8, [1, 7], ())
    whole = read_all(UTKinect(), root)["s01_e01"]
    np.testing.assert_array_equal(sitting.joints, whole.joints[:, 3:11])
    assert len(sitting.notes) == 2
    assert clips["s01_e01_walk"].notes == ()  # what is repeated lies elsewhere


def test_the_first_five_train(root):
    for subject in (5, 7):
        put(root, f"joints_s{subject:02d}_e01.txt", text((1, 2)))
    split = UTKinect.splits["xsub"]
    sides = {one.attributes["subject"]: (split.train(one), split.test(one)) for one in UTKinect().records(root)}
    assert sides == {1: (True, False), 5: (True, False), 6: (False, True), 7: (False, True)}


def test_what_lies_outside_is_cut_or_left_out(root):
    relabel(root, "s01_e01\nwalk: 2 12\nsitDown: 1 9\npush: 60 70\npull: 63 70\n")
    recording = read_all(UTKinect(), root)["s01_e01"]
    assert spans(recording) == [(0, 3, 0), (50, 53, 6)]
    assert sorted(recording.notes[:-1]) == [
        "a labelled interval overlaps with another one",
        "a labelled interval went beyond the recording, and was cut there",
        "a labelled interval went beyond the recording, and was cut there",
        "a segment was left out: the labelled interval lies outside the recording",
        "a segment was left out: the labelled interval lies outside the recording",
    ]
    clips = read_all(UTKinect(trimmed=True), root)
    assert clips["s01_e01_pull"] == "the labelled interval lies outside the recording"
    assert clips["s01_e01_push"].frame_count == 3


def test_intervals_that_overlap_are_kept(root):
    relabel(root, "s01_e01\nwalk: 10 20\nsitDown: 14 62\nthrow: 62 62\n")
    recording = read_all(UTKinect(), root)["s01_e01"]
    assert spans(recording) == [(0, 11, 0), (4, 53, 1)]
    assert recording.notes[:2] == (
        "a labelled interval overlaps with another one",
        "a segment was left out: the only frame of the labelled interval belongs to the one before it",
    )


def test_a_clip_in_a_gap_is_skipped(root):
    relabel(root, "s01_e01\nwalk: 30 40\n")
    assert read_all(UTKinect(trimmed=True), root) == {"s01_e01_walk": "nobody is seen"}


def test_a_recording_without_labels(root):
    relabel(root, "s06_e02\npush: 3 4\n")
    assert read_all(UTKinect(), root)["s01_e01"].notes[0] == "the recording has no labels"
    assert list(read_all(UTKinect(trimmed=True), root)) == ["s06_e02_push"]


def test_old_labels_are_used_and_said_where_there_are_no_others(root):
    (root / "actionLabel_modified.txt").rename(root / "actionLabel.txt")
    recording = read_all(UTKinect(), root)["s06_e02"]
    assert spans(recording) == [(1, 3, 6)]
    assert recording.notes == ("the labels are those of actionLabel.txt, in which seven limits are wrong",)
    relabel(root, "s06_e02\npull: 3 4\n")
    assert spans(read_all(UTKinect(), root)["s06_e02"]) == [(1, 3, 7)]


def test_the_store_keeps_segments_and_what_was_recorded(root, tmp_path):
    store = Store.open(convert_recordings(UTKinect(), root, tmp_path / "store").store)
    assert store.folds == {"loso": "leave-one-out:subject"}
    expected = read_all(UTKinect(), root)["s01_e01"]
    assert store.sequence(0).segments == expected.segments
    np.testing.assert_array_equal(store.recorded(0), expected.recorded)
    assert store.notes == {
        "two labelled intervals shared a frame, which went to the earlier one": 1,
        "a row was left out: it repeats the frame number of the row before it": 1,
    }


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        list(UTKinect().records(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"holds no file joints_\*"):
        list(UTKinect().records(tmp_path))
    put(tmp_path, "joints_s01_e01.txt", text(NUMBERS))
    with pytest.raises(DataError, match=r"expected actionLabel_modified.txt or actionLabel.txt .*, found neither"):
        list(UTKinect().records(tmp_path))


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("", 1, "expected 61 numbers per line, got an empty file"),
        (text((1, 2)) + "3 0 0\n", 3, "expected 61 numbers, got 3 columns"),
        (text((1, 2, 1)), 3, "whole number of a frame from 2 on, at most 36000 after the one before; got 1"),
        (text((1.5, 2)), 1, "whole number of a frame, .*got 1.5"),
        (text((-1, 2)), 1, "whole number of a frame"),
        (text((1, 36002)), 2, "got 36002"),
        (text((1, 2)).replace("2.000000", "nan", 1), 1, "finite number in column 4, got 'nan'"),
    ],
)
def test_malformed_rows(root, content, line, says):
    file = put(root, "joints_s01_e01.txt", content)
    with pytest.raises(ParseError, match=says) as caught:
        read_all(UTKinect(), root)
    assert (caught.value.path, caught.value.line) == (file, line)


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("walk: 1 2\n", 1, "expected a line 's01_e01' before the first action"),
        ("s01_e01\nrun: 1 2\n", 2, "one of the actions walk, sitDown, .*; got 'run'"),
        ("s01_e01\nwalk: 1 2\nwalk: 4 5\n", 3, "each action of s01_e01 once, got 'walk' again"),
        ("s01_e01\nwalk: 1 2\ns01_e01\n", 3, "the labels of s01_e01 once"),
        ("s01_e01\nwalk: 5 2\n", 2, "the first frame before the last one"),
        ("s01_e01\nwalk: 5\n", 2, "expected a line 's01_e01' or 'walk: 252 390', got 'walk: 5'"),
        ("s01_e01\nwalk: 5 99999999999\n", 2, "got 'walk: 5 99999999999'"),
        (b"s01_e01\n\xff\xfe\n", 2, "expected a line"),
    ],
)
@pytest.mark.parametrize("trimmed", [False, True])
def test_malformed_labels(root, content, line, says, trimmed):
    file = relabel(root, content)
    with pytest.raises(ParseError, match=says) as caught:
        read_all(UTKinect(trimmed=trimmed), root)
    assert (caught.value.path, caught.value.line) == (file, line)


@pytest.mark.parametrize("name", ["joints_s1_e01", "joints_s01", "joints_s01_e01 (1)"])
def test_wrong_names(root, name):
    put(root, f"{name}.txt", text((1, 2)))
    (wrong,) = [record for record in UTKinect().records(root) if record.fault is not None]
    assert (wrong.id, wrong.label) == (f"{name}.txt", -1)
    with pytest.raises(ParseError, match=r"expected a name joints_sSS_eEE\.txt"):
        UTKinect().read(root, wrong)


def test_max_gap_frames_is_checked():
    with pytest.raises(ConfigError, match="max_gap_frames must be at least 1, got 0"):
        UTKinect(max_gap_frames=0)


@settings(max_examples=100)
@given(data=st.data(), name=st.sampled_from(["joints_s01_e01.txt", "actionLabel_modified.txt"]))
def test_no_content_makes_it_fail_otherwise(tmp_path_factory, data, name):
    root = tmp_path_factory.mktemp("damaged")
    put(root, "joints_s01_e01.txt", text(NUMBERS))
    relabel(root, LABELS)
    words = (root / name).read_text().split(" ")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(words) - 1))
        words[at : at + data.draw(st.integers(0, 2))] = [
            data.draw(
                st.sampled_from(["", "0", "-1", "9" * 30, "1e6", "nan", "x", "\n", "s01_e01", "walk:", "٣", "\0"])
            )
        ]
    content = " ".join(words).encode()
    put(root, name, content)
    error = None
    try:
        read_all(UTKinect(), root)
        read_all(UTKinect(trimmed=True), root)
    except ParseError as caught:
        error = caught
    if error is not None:
        assert error.path == root / name
        assert 1 <= error.line <= content.count(b"\n") + 2


@pytest.mark.data
@pytest.mark.slow
def test_the_real_recordings(data_folder, tmp_path):
    """The figures are those of the description of the data set."""
    import tarfile

    with tarfile.open(data_folder / "utkinect" / "joints.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    check_reader(UTKinect(), tmp_path / "joints")
    store = Store.open(convert_recordings(UTKinect(), tmp_path / "joints", tmp_path / "store").store)
    recorded = [store.recorded(row) for row in range(len(store))]
    segments = [store.sequence(row).segments for row in range(len(store))]
    assert (len(store), sum(map(len, recorded)), sum(map(len, segments))) == (20, 15318, 199)
    assert store.notes == {
        "a row was left out: it repeats the frame number of the row before it": 542,
        "two labelled intervals shared a frame, which went to the earlier one": 7,
    }
    labelled = [
        ((frames >= one.start_frame) & (frames < one.end_frame)).sum()
        for frames, ones in zip(recorded, segments, strict=True)
        for one in ones
    ]
    assert sum(labelled) / 15318 == pytest.approx(0.38, abs=0.005)
