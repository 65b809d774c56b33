"""Distances to what was learned, and the threshold, by numbers that can be worked out on paper."""

import numpy as np
import pytest

from marrow.use.unknown import Gallery, threshold_of


def _plain(features: np.ndarray) -> Gallery:
    return Gallery(np.eye(features.shape[1], dtype=np.float32), features.astype(np.float32))


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
    steps = np.linalg.norm(np.array([[10.0, 0.0], [0.0, 1.0]]) @ gallery.whitening, axis=1)
    np.testing.assert_allclose(steps, [1.0, 1.0], rtol=0.1)


def test_clips_that_are_all_alike_keep_a_distance() -> None:
    gallery = Gallery.of(np.ones((4, 3)), np.array([0, 0, 1, 1]))
    assert gallery.distance(np.ones((1, 3))) == pytest.approx([0.0])
    assert gallery.distance(np.array([[1.0, 3.0, 1.0]])) == pytest.approx([2.0])


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
