"""Distances to what was learned, and the threshold, by numbers that can be worked out on paper."""

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from marrow.use.unknown import Gallery, threshold_of


def _plain(features: np.ndarray) -> Gallery:
    none, one = np.zeros((features.shape[1], 0), np.float32), np.ones(1, np.float32)
    return Gallery(none, none[0], one, features.astype(np.float32))


def test_distance_is_the_mean_to_the_three_nearest() -> None:
    gallery = _plain(np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 2.0], [100.0, 0.0]]))
    # From the origin: 0, 2, 5 are the nearest three.
    np.testing.assert_allclose(gallery.distance(np.zeros((1, 2))), [7.0 / 3.0], rtol=1e-6)


def test_with_fewer_clips_than_three_all_count() -> None:
    gallery = _plain(np.array([[3.0, 4.0], [0.0, 1.0]]))
    np.testing.assert_allclose(gallery.distance(np.zeros((1, 2))), [3.0], rtol=1e-6)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    gallery, query = _plain(rng.normal(size=(20, 4))), rng.normal(size=(11, 4))
    whole = gallery.distance(query)
    monkeypatch.setattr("marrow.use.unknown._CHUNK", 3)
    np.testing.assert_allclose(gallery.distance(query), whole, rtol=1e-6)


def test_directions_in_which_a_class_varies_count_less() -> None:
    """Within a class the first number varies ten times as much as the second: 10 along it are as far as 1."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4000, 2)) * [10.0, 1.0]
    label = np.arange(4000) % 2
    gallery = Gallery.of(noise + label[:, None] * [0.0, 500.0], label)
    np.testing.assert_allclose(sorted(gallery.stretch), [0.1, 1.0], rtol=0.1)
    np.testing.assert_allclose(abs(gallery.directions[:, gallery.stretch.argmax()]), [0.0, 1.0], atol=0.1)


def test_clips_that_are_all_alike_keep_a_distance() -> None:
    gallery = Gallery.of(np.ones((4, 3)), np.array([0, 0, 1, 1]))
    assert gallery.distance(np.ones((1, 3))) == pytest.approx([0.0])
    assert gallery.distance(np.array([[1.0, 3.0, 1.0]])) == pytest.approx([2.0])


def _with_few_directions(clips: int, dim: int, seed: int) -> np.ndarray:
    """Return features that vary in all directions, in the first ones most."""
    rng = np.random.default_rng(seed)
    mixed = np.linalg.qr(np.random.default_rng(9).normal(size=(dim, dim)))[0]
    return rng.normal(size=(clips, dim)) * np.exp(-np.arange(dim) / 5) @ mixed


@pytest.mark.parametrize("clips", [12, 300])  # fewer than numbers, and more
def test_the_distance_is_that_of_the_whole_shrunk_covariance(clips: int) -> None:
    features, query, label = _with_few_directions(clips, 30, 0), _with_few_directions(20, 30, 1), np.arange(clips) % 3
    within = features - np.stack([features[label == one].mean(axis=0) for one in range(3)])[label]
    inverse = LedoitWolf(assume_centered=True).fit(within).precision_
    difference = query[:, None] - features
    expected = np.sqrt(np.einsum("qci,ij,qcj->qc", difference, inverse, difference))
    expected = np.sort(expected, axis=1)[:, :3].mean(axis=1)
    np.testing.assert_allclose(Gallery.of(features, label).distance(query), expected, rtol=1e-4)


def test_beyond_the_directions_that_are_kept_an_average_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    features, query, label = _with_few_directions(300, 30, 0), _with_few_directions(20, 30, 1), np.arange(300) % 3
    whole = Gallery.of(features, label).distance(query)
    monkeypatch.setattr("marrow.use.unknown._MOST_DIRECTIONS", 12)
    gallery = Gallery.of(features, label)
    assert gallery.directions.shape == (30, 12)
    assert np.corrcoef(gallery.distance(query), whole)[0, 1] > 0.9


def test_models_that_kept_a_whole_matrix_say_what_they_said() -> None:
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.normal(size=(4, 4)))[0].astype(np.float32)
    matrix = turned * np.array([1.0, 2.0, 0.5, 3.0], np.float32)
    features, query = rng.normal(size=(9, 4)).astype(np.float32), rng.normal(size=(5, 4))
    expected = _plain(features @ matrix).distance(query @ matrix)
    kept = Gallery.kept({"whitening": matrix, "features": features @ matrix})
    np.testing.assert_allclose(kept.distance(query), expected, rtol=1e-5)


def test_one_clip_of_each_class_can_be_compared_with() -> None:
    gallery = Gallery.of(np.array([[0.0, 1.0], [4.0, 0.0], [1.0, 5.0]]), np.array([0, 1, 2]))
    assert np.isfinite(gallery.distance(np.zeros((2, 2)))).all()


@pytest.mark.parametrize(
    ("count", "expected"),
    [(20, 19.0), (40, 38.0), (10, 10.0), (1, 1.0)],
)
def test_at_most_five_percent_exceed_the_threshold(count: int, expected: float) -> None:
    """Of 1..20 one may exceed it: 19 is the smallest such. Of ten none may."""
    distance = np.arange(1.0, count + 1.0)
    threshold = threshold_of(np.random.default_rng(0).permutation(distance))
    assert threshold == expected
    assert (distance > threshold).mean() <= 0.05
