import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from toy_source import Toy, make_sequence

from marrow.errors import ConfigError, DataError, StoreError
from marrow.readers.base import Split
from marrow.skeleton.layout import KINECT_V1_20, KINECT_V2_25, Skeleton
from marrow.skeleton.sequence import Placement, Record, Segment, SkeletonSequence
from marrow.store import Store, write_store

TWO_JOINTS = Skeleton("two", ("a", "b"), (0, 0), (0, 1), {})
finite = st.floats(-(2.0**100), 2.0**100, width=32)


@st.composite
def arrays(draw):
    """Draw positions and flags of two joints, with bodies that are seen at least once."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 5)), 2)
    present = draw(hnp.arrays(np.bool_, shape))
    present[:, 0, 0] = True
    joints = draw(hnp.arrays(np.float32, (*shape, 3), elements=finite))
    return np.where(present[..., None], joints, np.float32(0)), present


clips = st.tuples(
    arrays(),
    st.floats(1, 1000),
    st.text(max_size=5),
    st.integers(-1, 9),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=2),
    hnp.arrays(np.float64, 3, elements=st.floats(-9, 9)),
)


@settings(max_examples=20, deadline=None)
@given(st.lists(clips, min_size=1, max_size=4))
def test_what_was_written_is_read_to_the_last_bit(tmp_path_factory, drawn):
    originals = [
        SkeletonSequence(
            *arrays,
            fps=fps,
            skeleton=TWO_JOINTS,
            record=Record(f"clip {number}", path, label, {"subject": number}),
            segments=tuple(Segment(*segment) for segment in segments),
            placement=Placement(np.eye(3), translation, 0.5),
        )
        for number, (arrays, fps, path, label, segments, translation) in enumerate(drawn)
    ]
    store = write_store(tmp_path_factory.mktemp("round") / "store", originals, source="memory")
    assert len(store) == len(originals)
    flat_joints, flat_present, first = store.flat()
    for row, original in enumerate(originals):
        read = store.sequence(row)
        assert read.joints.tobytes() == original.joints.tobytes()
        assert read.present.tobytes() == original.present.tobytes()
        assert read.joints.shape == original.joints.shape
        assert (read.fps, read.record, read.segments) == (original.fps, original.record, original.segments)
        assert read.skeleton == original.skeleton
        assert read.placement.scale == original.placement.scale
        np.testing.assert_array_equal(read.placement.rotation, original.placement.rotation)
        np.testing.assert_array_equal(read.placement.translation, original.placement.translation)
        for body in range(original.body_count):
            start = first[row] + body * original.frame_count
            rows = slice(start, start + original.frame_count)
            np.testing.assert_array_equal(flat_joints[rows], original.joints[body])
            np.testing.assert_array_equal(flat_present[rows], original.present[body])


def _clip(name, present, value=1.0, **attributes):
    present = np.array(present, np.bool_)
    joints = np.full((*present.shape, 3), value, np.float32)
    return SkeletonSequence(joints, present, 30.0, TWO_JOINTS, Record(name, "", 0, attributes))


def test_an_absent_body_is_not_stored_and_absent_joints_are_zero(tmp_path):
    clip = _clip("one", [[[True, False]], [[False, False]]], value=7.0)
    store = write_store(tmp_path / "store", [clip], source="memory")
    joints, present = store.frames(0)
    assert store.body_count.tolist() == [1]
    assert joints.tolist() == [[[[7, 7, 7], [0, 0, 0]]]]
    assert present.tolist() == [[[True, False]]]


def test_a_clip_in_which_nobody_is_seen_is_dropped_with_a_reason(tmp_path, caplog):
    clips = [_clip("nobody", [[[False, False]]]), _clip("somebody", [[[True, True]]])]
    store = write_store(tmp_path / "store", clips, source="memory")
    assert [(one.id, one.reason) for one in store.dropped] == [
        ("nobody", "no joint of any body is present in any frame")
    ]
    assert "nobody" in caplog.text
    assert len(store) == 1
    with pytest.raises(DataError, match=r"nothing to store. Dropped: no joint of any body"):
        write_store(tmp_path / "other", clips[:1], source="memory")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_frames_are_a_view_of_the_file_that_cannot_be_written_to(tmp_path):
    store = write_store(tmp_path / "store", [make_sequence(1, Record("a"))], source="memory")
    joints, _ = store.frames(0)
    assert np.shares_memory(joints, store.frames(0)[0])
    with pytest.raises(ValueError, match="read-only"):
        joints[0, 0, 0, 0] = 1.0


def test_splits_attributes_labels(tmp_path):
    clips = [make_sequence(seed, Record(f"{seed}", "", seed % 2, {"subject": seed, "room": "x"})) for seed in range(5)]
    split = Split(train=lambda r: r.attributes["subject"] < 2, test=lambda r: r.attributes["subject"] > 2)
    store = write_store(tmp_path / "store", clips, source="memory", classes=("a", "b"), splits={"xsub": split})
    train, test = store.split_rows("xsub")
    assert (train.tolist(), test.tolist()) == ([0, 1], [3, 4])
    assert store.splits == ("xsub",)
    assert store.attribute("subject").tolist() == [0, 1, 2, 3, 4]
    assert store.attribute("room").tolist() == ["x"] * 5
    assert store.label.tolist() == [0, 1, 0, 1, 0]
    assert [record.id for record in store.records[1:3]] == ["1", "2"]
    with pytest.raises(ConfigError, match=r"no split 'xsbu': it has xsub. Did you mean 'xsub'"):
        store.split_rows("xsbu")
    with pytest.raises(
        ConfigError, match=r"no attribute 'subjects'. Attributes: room, subject. Did you mean 'subject'"
    ):
        store.attribute("subjects")


def test_an_attribute_that_some_clips_lack_is_none_there(tmp_path):
    clips = [_clip("a", [[[True, True]]], subject=3), _clip("b", [[[True, True]]], value=2.0)]
    store = write_store(tmp_path / "store", clips, source="memory")
    assert store.attribute("subject").tolist() == [3, None]
    assert store.records[1].attributes == {}


def test_duplicates_are_the_rows_of_b_that_are_bit_identical_to_one_of_a(tmp_path):
    values = (1.0, 2.0, 1.0, np.nextafter(np.float32(1), np.float32(2)))
    clips = [_clip(str(row), [[[True, True]]], value=value) for row, value in enumerate(values)]
    # The same bytes in another shape, and the same positions with another joint absent, are other sequences.
    clips += [_clip("4", [[[True, True]], [[True, True]]]), _clip("5", [[[True, True], [True, True]]])]
    store = write_store(tmp_path / "store", clips, source="memory")
    assert store.duplicates(np.array([0]), np.array([1, 2, 3])).tolist() == [2]
    assert store.duplicates(np.array([4]), np.array([5])).tolist() == []
    assert len(set(store.content)) == 5


def test_the_fingerprint_depends_on_content_and_metadata(tmp_path):
    def fingerprint(name, clips, **settings):
        return write_store(tmp_path / name, clips, source="memory", **settings).fingerprint

    clip = _clip("a", [[[True, True]]])
    original = fingerprint("a", [clip])
    assert fingerprint("b", [clip]) == original
    assert fingerprint("c", [_clip("a", [[[True, True]]], value=2.0)]) != original
    assert fingerprint("d", [dataclasses.replace(clip, record=Record("a", "", 1))]) != original
    assert fingerprint("e", [dataclasses.replace(clip, fps=25.0)]) != original
    assert fingerprint("f", [clip], classes=("x",)) != original


def test_a_shard_ends_where_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr("marrow.store.memory._SHARD_CLIPS", 2)
    clips = [make_sequence(seed, Record(str(seed))) for seed in range(5)]
    store = write_store(tmp_path / "store", iter(clips), source="memory")
    assert store.shard_count == 3
    joints, present, first = store.flat()
    for row, clip in enumerate(clips):
        count = clip.body_count * clip.frame_count
        np.testing.assert_array_equal(joints[first[row] : first[row] + count], clip.joints.reshape(-1, 20, 3))
        np.testing.assert_array_equal(present[first[row] : first[row] + count], clip.present.reshape(-1, 20))


@pytest.mark.parametrize(
    ("clips", "settings", "message"),
    [
        ([], {}, "there is no sequence"),
        ([_clip("a", [[[True, True]]])] * 2, {}, "two recordings have the id 'a'"),
        ([_clip("a", [[[True, True]]], x=1), _clip("b", [[[True, True]]], x="1")], {}, "an int everywhere or a str"),
        ([_clip("a", [[[True, True]]]), make_sequence(1, Record("b"))], {}, "expected the skeleton 'two', got"),
        (
            [dataclasses.replace(_clip("a", [[[True, True]]]), record=Record("a", "", 2))],
            {"classes": ("x", "y")},
            r"expected labels from -1 \(unknown\) to 1 \(2 classes\), got \[2\]",
        ),
        (
            [_clip("a", [[[True, True]]])],
            {"splits": {"odd": Split(train=lambda r: True, test=lambda r: True)}},
            "the split 'odd' puts it into train and into test",
        ),
    ],
)
def test_contradictions_are_refused(tmp_path, clips, settings, message):
    with pytest.raises(DataError, match=message):
        write_store(tmp_path / "store", clips, source="memory", **settings)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="already there"):
        write_store(tmp_path, [make_sequence(1, Record("a"))], source="memory")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_layouts_come_back_from_the_store_itself(tmp_path):
    store = write_store(tmp_path / "store", [make_sequence(1, Record("a"))], source="memory")
    assert Store.open(tmp_path / "store").skeleton == KINECT_V1_20 == Toy.skeleton
    assert store.skeleton != KINECT_V2_25


def test_frames_that_were_recorded_survive(tmp_path):
    joints = np.zeros((1, 6, 20, 3), np.float32)
    present = np.ones(joints.shape[:3], bool)
    uneven = SkeletonSequence(joints, present, 30.0, KINECT_V1_20, Record("uneven"), recorded=np.array([0, 4, 5]))
    even = SkeletonSequence(joints, present, 30.0, KINECT_V1_20, Record("even"))
    store = write_store(tmp_path / "store", [uneven, even], source="test")
    assert store.recorded(0).tolist() == [0, 4, 5]
    assert store.recorded(1) is None
    assert store.sequence(0).recorded.tolist() == [0, 4, 5]
    for wrong in ([2, 1], [0, 6], []):
        with pytest.raises(DataError, match="recorded must be ascending frames"):
            dataclasses.replace(uneven, recorded=np.array(wrong, np.int64))


def test_a_store_is_opened_by_open(tmp_path):
    with pytest.raises(ConfigError, match=r"Store.open\("):
        Store(tmp_path)


@pytest.mark.parametrize(
    ("joints", "words"), [("[[[[0.0, 0.0, 0.0]]]]", "NumPy array, got list"), ("np.zeros((1, 1, 1, 3))", "astype")]
)
def test_lists_and_float64_are_refused_in_a_sentence(joints, words):
    # In a process of its own: here the types are checked before the class sees them.
    program = (
        "import numpy as np; from marrow import Record, Skeleton, SkeletonSequence\n"
        f"joints = {joints}\n"
        "one = Skeleton('one', ('a',), (0,), (0,), {})\n"
        "SkeletonSequence(joints, np.ones((1, 1, 1), bool), 30.0, one, Record('a'))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "DataError: a: joints must be" in result.stderr
    assert words in result.stderr
