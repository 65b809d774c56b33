"""Leaving out what stands on both sides of a protocol, on a store whose copies are known."""

import numpy as np
import pytest

from marrow.data.subsets import protocol_rows
from marrow.errors import ConfigError, DataError
from marrow.readers.base import Split
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.copies import copied_rows
from marrow.store.memory import write_store
from marrow.tasks.base import TaskData
from marrow.tasks.evaluation_notes import notes_of_copies
from marrow.tasks.folds import without_duplicates


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six training clips, six test clips: rows 6 and 7 are copies of 0 and 1, row 8 nearly one of 2."""
    rng = np.random.default_rng(0)
    time = np.arange(20)[:, None, None]
    train = [
        np.linspace(0, 1.6, 20)[:, None]
        + rng.normal(0, 0.2, (20, 3))
        + 0.2 * np.sin(time * rng.uniform(0.1, 0.4)) * rng.normal(size=(1, 20, 3))
        for _ in range(9)
    ]
    test = [train[0], train[1], train[2] + rng.normal(0, 0.001, train[2].shape), *train[6:]]
    sequences = [
        SkeletonSequence(
            np.asarray(joints, np.float32)[None],
            np.ones((1, 20, 20), bool),
            30.0,
            KINECT_V1_20,
            Record(f"{half}{number}", label=number % 2, attributes={"half": half}),
        )
        for half, clips in enumerate((train[:6], test))
        for number, joints in enumerate(clips)
    ]
    split = Split(lambda record: record.attributes["half"] == 0, lambda record: record.attributes["half"] == 1)
    path = tmp_path_factory.mktemp("copies") / "store"
    store = write_store(path, sequences, source="test", classes=("a", "b"), splits={"halves": split})
    return TaskData(store, *protocol_rows(store, "halves"), protocol="halves")


def test_identical_and_near_copies_are_told_apart(data):
    copies = copied_rows(data.store, data.train_rows, data.test_rows)
    assert copies.identical == {6: 0, 7: 1}
    assert copies.near == {8: 2}
    assert copies.rows.tolist() == [6, 7, 8]
    assert copied_rows(data.store, data.train_rows, data.test_rows, near=False).near is None


def test_test_copies_are_left_out_under_another_name(data):
    kept = without_duplicates(data)
    assert kept.test_rows.tolist() == [9, 10, 11]
    assert kept.train_rows.tolist() == data.train_rows.tolist()
    assert kept.protocol == "halves, without 2 identical and 1 near test copies"
    identical = without_duplicates(data, near=False)
    assert identical.test_rows.tolist() == [8, 9, 10, 11]
    assert identical.protocol == "halves, without 2 test copies"


def test_training_copies_are_left_out_under_another_name(data):
    kept = without_duplicates(data, "train", near=False)
    assert kept.train_rows.tolist() == [2, 3, 4, 5]
    assert kept.test_rows.tolist() == data.test_rows.tolist()
    assert kept.protocol == "halves, without 2 train copies"
    assert not kept.test_clips().copied.any()


def test_without_copies_nothing_changes_and_with_copies_alone_nothing_is_left(data):
    clean = without_duplicates(data)
    assert without_duplicates(clean) is clean
    copies = TaskData(data.store, data.train_rows, np.array([6, 7]), "two")
    with pytest.raises(DataError, match="'two, without 2 test copies' has no test clips"):
        without_duplicates(copies)
    with pytest.raises(ConfigError, match="half must be 'train' or 'test'"):
        without_duplicates(data, "both")


def test_notes_say_both_kinds():
    [identical, near] = notes_of_copies(95, 2, 464)
    assert identical.startswith("95 of the 464 test clips are bit-identical to a training clip.")
    assert identical.endswith("clean scores are over the other 369.")
    assert near.startswith("2 more are nearly the same as a training clip")
    assert notes_of_copies(0, None, 464) == notes_of_copies(0, 0, 464) == []
    assert notes_of_copies(0, 1, 464)[0].startswith("1 of the 464 test clips is nearly")
