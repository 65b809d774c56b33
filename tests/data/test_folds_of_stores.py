"""Folds: every clip is tested once, whoever asks and in whatever order the clips lie."""

import json
from collections import Counter

import numpy as np
import pytest
from data_clips import make_sequence, make_store

from marrow.data.subsets import fold_protocols, protocol_rows
from marrow.errors import ConfigError, DataError
from marrow.readers.folds import Folds, parse_folds
from marrow.store.format import Store
from marrow.store.memory import write_store

# Clip i of `store` has view 1 + i % 3, subject 1 + i % 5 and label i % 4.


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("folds"), clip_count=15)


def held_out(store: Store, protocol: str) -> list[list[str]]:
    """Return the ids that each fold tests on, and see that all others train."""
    folds = []
    for fold in fold_protocols(store, protocol):
        train, test = protocol_rows(store, fold)
        assert sorted([*train, *test]) == list(range(len(store)))
        folds.append(sorted(store.ids[row] for row in test))
    assert sorted(name for fold in folds for name in fold) == sorted(store.ids)
    return folds


def test_k_folds_by_clip_have_their_share_of_every_class(store: Store):
    assert fold_protocols(store, "k-fold:4") == ["k-fold:4#0", "k-fold:4#1", "k-fold:4#2", "k-fold:4#3"]
    assert [len(fold) for fold in held_out(store, "k-fold:4")] == [4, 4, 4, 3]
    # 15 clips: 4 of each class but the last, which has 3. Dealt out in turn, each fold gets one of each.
    for fold, classes in zip(fold_protocols(store, "k-fold:4"), (4, 4, 4, 3), strict=True):
        assert Counter(store.label[protocol_rows(store, fold)[1]].tolist()) == Counter(range(classes))
    with_two = [
        Counter(store.label[protocol_rows(store, fold)[1]].tolist()) for fold in fold_protocols(store, "k-fold:2")
    ]
    assert [max(counts[label] for counts in with_two) for label in range(4)] == [2, 2, 2, 2]


def test_k_folds_of_groups_keep_each_group_whole(store: Store):
    # Five subjects of three clips: two folds of six and nine.
    folds = held_out(store, "k-fold:2:subject")
    assert sorted(len(fold) for fold in folds) == [6, 9]
    of_subject = {name: 1 + int(name[-3:]) % 5 for name in store.ids}
    assert not {of_subject[name] for name in folds[0]} & {of_subject[name] for name in folds[1]}
    # As many folds as groups: leave one out.
    assert sorted(held_out(store, "k-fold:5:subject")) == sorted(held_out(store, "leave-one-out:subject"))


def test_large_groups_are_spread(tmp_path):
    """Groups of 6, 3, 2 and 1 clips in two folds: 6 against 3 + 2 + 1."""
    groups = ["a"] * 6 + ["b"] * 3 + ["c"] * 2 + ["d"]
    clips = [make_sequence(2, seed=seed, place=group) for seed, group in enumerate(groups)]
    store = write_store(tmp_path / "store", clips, source="made")
    assert held_out(store, "k-fold:2:place") == [
        [f"clip{n:03d}" for n in range(6)],
        [f"clip{n:03d}" for n in range(6, 12)],
    ]


def test_folds_do_not_depend_on_the_order_of_the_clips(store: Store, tmp_path):
    shuffled = [store.sequence(row) for row in np.random.default_rng(0).permutation(len(store)).tolist()]
    other = write_store(tmp_path / "store", shuffled, source="made", classes=store.classes)
    assert other.ids != store.ids
    for protocol in ("k-fold:3", "k-fold:3:subject"):
        assert held_out(other, protocol) == held_out(store, protocol)


def test_folds_stay_what_they_are(store: Store):
    """Scores of folds are compared over years and machines: these were written down once."""
    assert held_out(store, "k-fold:5")[0] == ["clip000", "clip013", "clip014"]
    assert held_out(store, "k-fold:3:subject")[0] == ["clip001", "clip002", "clip006", "clip007", "clip011", "clip012"]


def test_declared_folds_are_protocols(store: Store):
    assert store.folds == {"by_subject": "leave-one-out:subject", "thirds": "k-fold:3"}
    assert Store.open(store.path).folds == store.folds
    assert fold_protocols(store, "by_subject") == fold_protocols(store, "leave-one-out:subject")
    assert fold_protocols(store, "thirds") == ["k-fold:3#0", "k-fold:3#1", "k-fold:3#2"]
    assert protocol_rows(store, "by_subject=2")[1].tolist() == [1, 6, 11]
    assert protocol_rows(store, "thirds#1")[1].tolist() == protocol_rows(store, "k-fold:3#1")[1].tolist()
    assert fold_protocols(store, "xview") == ["xview"]


def test_stores_without_folds_open_and_are_the_same_data(store: Store, tmp_path):
    clips = [store.sequence(row) for row in range(len(store))]
    plain = write_store(tmp_path / "store", clips, source="made", classes=store.classes)
    declared = write_store(
        tmp_path / "other", clips, source="made", classes=store.classes, folds={"loso": "leave-one-out:subject"}
    )
    assert "folds" not in json.loads((tmp_path / "store" / "store.json").read_text())
    assert (plain.folds, declared.folds) == ({}, {"loso": "leave-one-out:subject"})
    assert plain.fingerprint == declared.fingerprint


@pytest.mark.parametrize(
    "folds", [{"loso": "leave-one-out:person"}, {"a=b": "k-fold:2"}, {"five": "5"}, {"five": "k-fold:5#0"}]
)
def test_a_store_with_folds_that_cannot_be_is_not_written(store: Store, tmp_path, folds):
    with pytest.raises(DataError, match=next(iter(folds))):
        write_store(tmp_path / "store", [store.sequence(0)], source="made", folds=folds)


@pytest.mark.parametrize("protocol", ["k-fold:2:place", "leave-one-out:place"])
def test_folds_need_the_attribute_of_every_clip(tmp_path, protocol):
    clips = [make_sequence(2, seed=0, place="a"), make_sequence(2, seed=1), make_sequence(2, seed=2, place="b")]
    store = write_store(tmp_path / "store", clips, source="made")
    with pytest.raises(ConfigError, match="1 of 3 have none, the first is clip001"):
        fold_protocols(store, protocol)


@pytest.mark.parametrize(
    ("protocol", "means"),
    [
        ("leave-one-out:subject", Folds("leave-one-out", "subject")),
        ("leave-one-out:subject=a=b", Folds("leave-one-out", "subject", fold="a=b")),
        ("k-fold:10", Folds("k-fold", "", 10)),
        ("k-fold:5:subject#4", Folds("k-fold", "subject", 5, "4")),
        ("xsub", None),
        ("view=1 -> view=2", None),
    ],
)
def test_what_expressions_say(protocol: str, means: Folds | None):
    assert parse_folds(protocol) == means
    if means is not None and means.fold is not None:
        assert means.one(means.fold) == protocol
