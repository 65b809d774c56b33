"""Which training clips are held out to learn how sure a recogniser may be."""

import numpy as np

from marrow.use.held_out import held_out_quarter


def test_a_quarter_of_the_people_where_there_are_four() -> None:
    people, label = np.repeat(np.arange(8), 4), np.tile([0, 1], 16)
    held, said = held_out_quarter(label, people, np.arange(32))
    assert held.sum() == 8
    assert len(set(people[held].tolist())) == 2
    assert not set(people[held].tolist()) & set(people[~held].tolist())
    assert "2 of 8 people" in said


def test_people_are_those_of_the_training_rows() -> None:
    """The store knows eight people, the training clips are of four of them."""
    people = np.repeat(np.array(list("abcdefgh")), 4)
    rows = np.arange(16)
    held, said = held_out_quarter(np.tile([0, 1], 8), people, rows)
    assert len(set(people[rows][held].tolist())) == 1
    assert "1 of 4 people" in said


def test_a_quarter_of_every_class_where_people_are_few_or_not_known() -> None:
    label = np.repeat([0, 1], 8)
    for subjects in (None, np.tile([0, 1, 2], 6)[:16]):
        held, said = held_out_quarter(label, subjects, np.arange(16))
        assert np.bincount(label[held]).tolist() == [2, 2]
        assert "every class" in said


def test_no_class_gets_lost() -> None:
    """Only one person shows class 1, and one clip is all there is of class 2."""
    people, label = np.repeat(np.arange(4), 3), np.zeros(12, np.int64)
    for person in range(4):
        one = np.where(people == person, 1, label)
        held, _ = held_out_quarter(one, people, np.arange(12))
        assert set(one[~held].tolist()) == {0, 1}
    single = np.array([0] * 8 + [2])
    held, _ = held_out_quarter(single, None, np.arange(9))
    assert not held[8]
