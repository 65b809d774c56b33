"""Few labels: who keeps one, by hand and by property, and lists of them that can be shared."""

import json
import zlib

import numpy as np
import pytest
from data_clips import make_sequence, make_store
from hypothesis import given
from hypothesis import strategies as st

from marrow.data.label_draws import LabelDraw, LabelLists, draw_labels
from marrow.data.subsets import leave_one_out, protocol_rows
from marrow.errors import ConfigError
from marrow.store.format import Store
from marrow.store.memory import write_store

# Clip i has view 1 + i % 3, subject 1 + i % 5 and label i % 4; view 3 tests in xview. Training: 10 clips, of the labels
# 0, 1, 3, 0, 2, 3, 1, 2, 0, 1, so 3, 3, 2 and 2 of each.


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("label_draws"), clip_count=15)


def _counts(store: Store, rows: np.ndarray) -> list[int]:
    return np.bincount(store.label[rows], minlength=4).tolist()


def test_published_draws_stay_what_they_are(store: Store):
    """Whoever learned from these clips must find them again: the draw of label_fraction before it was taken apart."""
    rng = np.random.default_rng([1, zlib.crc32(b"label_fraction")])
    by_hand = []
    for label in range(4):
        by_hand += rng.permutation(np.flatnonzero(store.label == label))[:2].tolist()
    assert draw_labels(store, np.arange(15), "stratified", 0.5, 1).tolist() == sorted(by_hand)
    assert draw_labels(store, np.arange(15), "per_class", 2.0, 1).tolist() == sorted(by_hand)


@pytest.mark.parametrize(("share", "count"), [(0.1, 1), (0.19, 1), (0.2, 2), (0.29, 2), (0.7, 7), (1.0, 10)])
def test_uniform_rounds_down(store: Store, share: float, count: int):
    train, _ = protocol_rows(store, "xview")
    drawn = draw_labels(store, train, "uniform", share, 0)
    assert len(set(drawn)) == count
    assert set(drawn) <= set(train)


def test_uniform_rounds_down_what_people_mean(tmp_path):
    """0.29 * 100 is 28.999999999999996 in binary; 29 of 100 clips are meant."""
    store = make_store(tmp_path, clip_count=100)
    assert len(draw_labels(store, np.arange(100), "uniform", 0.29, 0)) == 29


def test_uniform_favours_no_clip(store: Store):
    """Of 10 clips 3, 2000 times: each is drawn 600 times, give or take 5 * sqrt(2000 * 0.3 * 0.7) = 102."""
    train, _ = protocol_rows(store, "xview")
    drawn = np.concatenate([draw_labels(store, train, "uniform", 0.3, seed) for seed in range(2000)])
    times = np.bincount(drawn, minlength=15)[train]
    assert times.sum() == 6000
    assert np.abs(times - 600).max() < 102


def test_uniform_may_miss_classes_and_stratified_never_does(store: Store):
    train, _ = protocol_rows(store, "xview")
    assert any(0 in _counts(store, draw_labels(store, train, "uniform", 0.4, seed)) for seed in range(20))
    assert all(0 not in _counts(store, draw_labels(store, train, "stratified", 0.01, seed)) for seed in range(20))


def test_clips_per_class(store: Store):
    """Three clips of the labels 0 and 1, two of 2 and 3: of three per class there is what there is."""
    train, _ = protocol_rows(store, "xview")
    assert _counts(store, train) == [3, 3, 2, 2]
    assert _counts(store, draw_labels(store, train, "per_class", 1.0, 0)) == [1, 1, 1, 1]
    assert _counts(store, draw_labels(store, train, "per_class", 2.0, 0)) == [2, 2, 2, 2]
    assert draw_labels(store, train, "per_class", 3.0, 0).tolist() == train.tolist()


@given(
    scheme=st.sampled_from(["stratified", "uniform"]),
    shares=st.tuples(st.floats(0.07, 1.0), st.floats(0.07, 1.0)),
    seed=st.integers(0, 10_000),
)
def test_a_smaller_share_is_part_of_a_larger_one(store: Store, scheme, shares, seed):
    small, large = (draw_labels(store, np.arange(15), scheme, share, seed) for share in sorted(shares))
    assert set(small) <= set(large)
    assert small.tolist() == draw_labels(store, np.arange(15), scheme, min(shares), seed).tolist()
    assert small.tolist() == sorted(small)


def test_fewer_clips_per_class_are_part_of_more(store: Store):
    for seed in range(10):
        one, two, three = (set(draw_labels(store, np.arange(15), "per_class", n, seed)) for n in (1.0, 2.0, 3.0))
        assert one < two < three
    assert len({tuple(draw_labels(store, np.arange(15), "per_class", 1.0, seed)) for seed in range(10)}) > 1


def test_clips_without_a_label_are_never_drawn(tmp_path):
    sequences = [make_sequence(3, seed=index, label=-1 if index % 2 else 0) for index in range(8)]
    store = write_store(tmp_path / "store", sequences, source="made", classes=("only",))
    assert draw_labels(store, np.arange(8), "uniform", 1.0, 0).tolist() == [0, 2, 4, 6]
    assert len(draw_labels(store, np.arange(8), "uniform", 0.5, 0)) == 2
    assert draw_labels(store, np.arange(8), "per_class", 9.0, 0).tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize(
    ("scheme", "amount", "message"),
    [
        ("stratified", 0.0, "a share of labels must lie in"),
        ("uniform", 5.0, r"got 5 \(1 % is 0.01\)"),
        ("uniform", 0.01, "1 % of 15 labelled clips, rounded down, is not one clip"),
        ("per_class", 0.1, "clips per class must be a whole number from 1 on, got 0.1"),
        ("per_class", 0.0, "clips per class"),
    ],
)
def test_amounts_that_are_none_are_refused(store: Store, scheme, amount, message):
    with pytest.raises(ConfigError, match=message):
        draw_labels(store, np.arange(15), scheme, amount, 0)


def test_lists_survive_their_file_and_find_their_clips(store: Store, tmp_path):
    lists = LabelLists.drawn(store, "xview", "uniform", (0.2, 0.5), (0, 1, 2))
    lists.save(tmp_path / "labels.json")
    assert LabelLists.load(tmp_path / "labels.json") == lists
    train, _ = protocol_rows(store, "xview")
    for seed, draw in enumerate(lists.select("xview", 0.5, 3)):
        assert draw.seed == seed
        drawn = draw_labels(store, train, "uniform", 0.5, seed)
        assert draw.names == tuple(store.ids[row] for row in drawn)
        assert lists.rows(draw, store, train).tolist() == drawn.tolist()
    written = json.loads((tmp_path / "labels.json").read_text())
    assert (written["version"], written["protocol"], written["scheme"]) == (1, "xview", "uniform")
    assert (written["amounts"], written["seeds"], written["store"]) == ([0.2, 0.5], [0, 1, 2], store.fingerprint)
    assert [draw["labels"] for draw in written["draws"]] == [2, 2, 2, 5, 5, 5]


def test_lists_of_all_folds(store: Store):
    lists = LabelLists.drawn(store, "leave-one-out:view", "per_class", (1.0,), (0,))
    assert [draw.protocol for draw in lists.draws] == leave_one_out(store, "view")
    for draw in lists.draws:
        train, _ = protocol_rows(store, draw.protocol)
        assert lists.rows(draw, store, train).tolist() == draw_labels(store, train, "per_class", 1.0, 0).tolist()


def test_lists_hold_for_another_store_of_the_same_recordings(store: Store, tmp_path, caplog):
    """The same names in another order: found by name, and it is said."""
    other = write_store(tmp_path / "other", [make_sequence(3, seed=14 - index) for index in range(15)], source="made")
    lists = LabelLists.drawn(store, "xview", "per_class", (1.0,), (0,))
    lists.warn_of_another_store(store)
    assert caplog.text == ""
    lists.warn_of_another_store(other)
    rows = lists.rows(lists.draws[0], other, np.arange(15))
    assert {other.ids[row] for row in rows} == set(lists.draws[0].names)
    assert "drawn from another store" in caplog.text


def test_lists_that_do_not_fit_say_why(store: Store):
    train, test = protocol_rows(store, "xview")
    lists = LabelLists.drawn(store, "xview", "uniform", (0.2,), (0, 1))
    cases = [
        ((store.ids[train[0]], "nobody"), r"1 of its 2 clips are not in the store \(nobody\)"),
        ((store.ids[test[0]],), "not in the training half .*; their labels must not be learned from"),
        ((store.ids[train[0]],) * 2, "are named twice"),
        ((), "names no clip"),
    ]
    for names, message in cases:
        with pytest.raises(ConfigError, match=message):
            lists.rows(LabelDraw("xview", 0.2, 0, names), store, train)
    for (protocol, amount, count), message in (
        (("xsub", 0.2, 1), "are of xview, not of protocol 'xsub'"),
        (("xview", 0.1, 1), "hold the amounts 0.2, not 0.1"),
        (("xview", 0.2, 3), "hold 2 draws of 0.2, 3 were asked for"),
    ):
        with pytest.raises(ConfigError, match=message):
            lists.select(protocol, amount, count)
    with pytest.raises(ConfigError, match="at least one amount and one seed"):
        LabelLists.drawn(store, "xview", "uniform", (), (0,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such file; `marrow labels` writes lists"),
        ("{", "cannot be read as lists of labels"),
        ('{"version": 1}', "cannot be read as lists of labels"),
        ('{"version": 2}', "of version 2; this marrow reads 1"),
    ],
)
def test_files_that_are_no_lists_say_so(tmp_path, text, message):
    if text is not None:
        (tmp_path / "labels.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        LabelLists.load(tmp_path / "labels.json")


def test_stratified_draws_are_nested_and_repeatable(store: Store):
    rows = np.arange(15)  # 4 clips of each of the labels 0, 1, 2 and 3 of label 3
    half = draw_labels(store, rows, "stratified", 0.5, seed=1)
    assert np.bincount(store.label[half]).tolist() == [2, 2, 2, 2]
    assert half.tolist() == draw_labels(store, rows, "stratified", 0.5, seed=1).tolist()
    assert half.tolist() != draw_labels(store, rows, "stratified", 0.5, seed=2).tolist()
    tiny = draw_labels(store, rows, "stratified", 0.01, seed=1)
    assert np.bincount(store.label[tiny]).tolist() == [1, 1, 1, 1]
    assert set(tiny) <= set(half) <= set(draw_labels(store, rows, "stratified", 1.0, seed=1)) == set(rows)
    with pytest.raises(ConfigError, match="share of labels"):
        draw_labels(store, rows, "stratified", 0.0, seed=1)


def test_a_fraction_of_unlabelled_clips_is_refused(tmp_path):
    store = write_store(tmp_path / "store", [make_sequence(3, label=-1)], source="made")
    with pytest.raises(ConfigError, match="has a label"):
        draw_labels(store, np.array([0]), "stratified", 0.5, seed=0)
