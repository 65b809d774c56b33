from pathlib import Path

import numpy as np
import pytest

from marrow.errors import CheckpointError
from marrow.use import motion_index
from marrow.use.motion_index import Hit, Index, IndexFacts

FACTS = IndexFacts("encoder", "store", 2.0, 1.0)


def an_index(features: np.ndarray, row: list[int], start: list[float], length: float = 2.0) -> Index:
    begin = np.array(start)
    return Index.of(features.astype(np.float32), np.array(row), begin, begin + length, FACTS)


def corners() -> Index:
    """Four motions whose features have the mean 0 and the deviation 1 as they are: directions of 45 degrees."""
    return an_index(np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]), [0, 1, 2, 3], [0.0] * 4)


def test_distances_are_one_minus_the_cosine() -> None:
    root = np.sqrt(0.5)
    assert corners().distances(np.float32([2, 2])) == pytest.approx([0, 1, 1, 2], abs=1e-6)
    assert corners().distances(np.float32([3, 0])) == pytest.approx([1 - root, 1 - root, 1 + root, 1 + root])


def test_features_are_standardised_over_the_motions() -> None:
    # The same corners ten times as far apart in one number, moved by 5, and with a number that is always 7.
    features = np.array([[15, 1, 7], [15, -1, 7], [-5, 1, 7], [-5, -1, 7]])
    index = an_index(features, [0, 1, 2, 3], [0.0] * 4)
    assert index.mean.tolist() == [5, 0, 7]
    assert index.scale.tolist() == [10, 1, 1]
    assert index.distances(np.float32([25, 2, 7])) == pytest.approx([0, 1, 1, 2], abs=1e-6)


def test_a_single_motion_is_compared_as_it_is() -> None:
    index = an_index(np.array([[3.0, 4.0]]), [0], [0.0])
    assert index.distances(np.float32([1, 0])) == pytest.approx([1 - 3 / 5])


def test_nothing_has_the_distance_of_nothing_in_common() -> None:
    index = an_index(np.array([[1, 1], [-1, -1], [0, 0]]), [0, 1, 2], [0.0] * 3)
    assert index.distances(np.float32([1, 1]))[2] == 1.0


def test_of_motions_that_overlap_the_nearest_stands_for_all() -> None:
    # One recording in windows of two seconds, every second; another one at the same time.
    index = an_index(np.eye(5), [0, 0, 0, 0, 1], [0.0, 1.0, 2.0, 3.0, 1.0])
    distances = np.float32([0.3, 0.1, 0.2, 0.4, 0.5])
    hits = index.apart(np.argsort(distances), distances, 9)
    # Window 1 (1 to 3 s) leaves out 0 (0 to 2) and 2 (2 to 4); window 3 begins where it ends.
    assert [(hit.row, hit.start_seconds) for hit in hits] == [(0, 1.0), (0, 3.0), (1, 1.0)]
    assert [round(hit.distance, 3) for hit in hits] == [0.1, 0.4, 0.5]


def test_equally_near_motions_come_in_their_order_and_what_is_left_out_does_not() -> None:
    hits = corners().nearest(np.float32([1, 0]), 3)
    assert [hit.row for hit in hits] == [0, 1, 2]
    left_out = corners().overlapping(0, 1.0, 5.0)
    assert left_out.tolist() == [True, False, False, False]
    assert [hit.row for hit in corners().nearest(np.float32([1, 0]), 9, left_out)] == [1, 2, 3]
    # A motion that ends where another begins does not overlap it.
    assert not corners().overlapping(0, 2.0, 5.0).any()


@pytest.mark.parametrize("count", [1, 7, 40])
def test_the_search_is_exact(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many windows that overlap a lot, as few at a time as may be: the same as by going through all of them."""
    monkeypatch.setattr(motion_index, "_BLOCK", 37)
    rng = np.random.default_rng(count)
    steps = np.cumsum(rng.normal(size=(600, 4)), axis=0)
    index = an_index(steps, [0] * 600, (np.arange(600) * 0.05).tolist())
    query = steps[300].astype(np.float32)
    distances = index.distances(query)
    hits = index.nearest(query, count)
    assert hits == index.apart(np.argsort(distances, kind="stable"), distances, count)
    assert (hits[0].start_seconds, hits[0].distance) == pytest.approx((15.0, 0.0), abs=1e-6)


def test_an_index_on_disk_is_the_same(tmp_path: Path) -> None:
    corners().save(tmp_path / "a" / "index.safetensors")
    again = Index.open(tmp_path / "a" / "index.safetensors")
    assert again.facts == FACTS
    query = np.float32([0.3, -2])
    assert again.distances(query).tolist() == corners().distances(query).tolist()
    assert again.nearest(query, 1) == [Hit(1, 0.0, 2.0, float(corners().distances(query)[1]))]
    again.save(tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "a" / "index.safetensors").read_bytes()


@pytest.mark.parametrize("damage", ["cut", "no index", "version", "missing"])
def test_a_damaged_index_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "index.safetensors"
    corners().save(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "no index":
        path.write_bytes(b"not an index")
    elif damage == "version":
        path.write_bytes(path.read_bytes().replace(b'marrow_index\\": 1', b'marrow_index\\": 9'))
    else:
        path.unlink()
    with pytest.raises(CheckpointError, match=str(path)):
        Index.open(path)
