import pytest
from data_clips import make_store

from marrow.data.subsets import leave_one_out, protocol_rows, where
from marrow.errors import ConfigError
from marrow.store.format import Store

# Clip i has view 1 + i % 3, subject 1 + i % 5 and label i % 4.


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("subsets"), clip_count=15)


def test_a_split_by_name(store: Store):
    train, test = protocol_rows(store, "xview")
    assert train.tolist() == [0, 1, 3, 4, 6, 7, 9, 10, 12, 13]
    assert test.tolist() == [2, 5, 8, 11, 14]


def test_leave_one_out(store: Store):
    protocols = leave_one_out(store, "view")
    assert protocols == ["leave-one-out:view=1", "leave-one-out:view=2", "leave-one-out:view=3"]
    tested = []
    for protocol in protocols:
        train, test = protocol_rows(store, protocol)
        assert sorted([*train, *test]) == list(range(15))
        tested.extend(test)
    assert sorted(tested) == list(range(15))
    assert protocol_rows(store, protocols[0])[1].tolist() == [0, 3, 6, 9, 12]


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("view=1", [0, 3, 6, 9, 12]),
        ("view=1 & subject=1,2", [0, 6]),
        (" view = 1&subject!=1 , 2 ", [3, 9, 12]),
        ("view!=1,2", [2, 5, 8, 11, 14]),
        ("label=0 & view=2", [4]),
        ("view=1 & view=2", []),
    ],
)
def test_filters_by_hand(store: Store, expression: str, rows: list[int]):
    assert where(store, expression).tolist() == rows


def test_a_protocol_of_two_filters(store: Store):
    train, test = protocol_rows(store, "view=1 & subject!=5 -> view=2 & subject=5")
    assert train.tolist() == [0, 3, 6, 12]
    assert test.tolist() == [4]


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("xviw", "Did you mean 'xview'"),
        ("leave-one-out:viev=1", "Did you mean 'view'"),
        ("leave-one-out:view=4", "no clip of this store has view=4. Values of 'view': 1, 2, 3"),
        ("leave-one-out:view", "stands for all its folds"),
        ("leave-one-out:", "cannot read"),
        ("k-fold:1", "at least 2 folds"),
        ("k-fold:three", "k-fold:K"),
        ("k-fold:2:view", "k-fold:2:view#0"),
        ("k-fold:2:view#2", "#0 to #1"),
        ("k-fold:4:view#0", "at least 4 values of 'view', the store has 3: 1, 2, 3"),
        ("k-fold:16#0", "at least 16 clips, the store has 15"),
        ("k-fold:2:viev#0", "Did you mean 'view'"),
        ("by_subjects", "it has xview, by_subject, thirds"),
        ("by_subject", "leave-one-out:subject=VALUE"),
        ("view=1 -> view=1", "5 clips on both sides"),
        ("view=1 & view=2 -> view=3", "no train clip"),
        ("view= -> view=3", "NAME=VALUE"),
        ("view=1 & -> view=3", "cannot read ''"),
        ("=1 -> view=3", "cannot read '=1'"),
    ],
)
def test_protocols_that_cannot_be_say_why(store: Store, protocol: str, message: str):
    with pytest.raises(ConfigError) as error:
        protocol_rows(store, protocol)
    assert message in str(error.value)
