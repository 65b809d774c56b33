"""Derived joints by hand: where they are, when they are there, and that a layout that needs none stays as it is."""

import numpy as np
import pytest

from marrow.errors import ConfigError
from marrow.skeleton.derived import derive, measured, with_derived, with_middles
from marrow.skeleton.estimators import BODY_25, COCO_17, COCO_18, MEDIAPIPE_33, PENN_13
from marrow.skeleton.geometry import align, raw_baseline_features
from marrow.skeleton.known import LAYOUTS
from marrow.skeleton.layout import ANCHOR_ROLES, KINECT_V1_20, KINECT_V2_25, Skeleton
from marrow.skeleton.places import full_description, places_of
from marrow.skeleton.sequence import Record, SkeletonSequence


def coco(frames=2):
    """One body whose joint j of frame t lies at (j, 10 t, -j)."""
    joints = np.zeros((1, frames, 17, 3), np.float32)
    joints[..., 0], joints[..., 1] = np.arange(17), 10 * np.arange(frames)[:, None]
    joints[..., 2] = -joints[..., 0]
    return SkeletonSequence(joints, np.ones((1, frames, 17), bool), 30.0, COCO_17, Record("one"))


def test_the_middles_of_coco():
    """Shoulders are joints 5 and 6, hips 11 and 12: the middles lie at 5.5 and 11.5."""
    result = with_derived(coco())
    assert result.skeleton.joints[17:] == ("MidShoulder", "MidHip")
    assert result.joints[0, :, 17].tolist() == [[5.5, 0, -5.5], [5.5, 10, -5.5]]
    assert result.joints[0, 1, 18].tolist() == [11.5, 10, -11.5]
    assert result.present.all()
    np.testing.assert_array_equal(result.joints[:, :, :17], coco().joints)
    assert result.skeleton.derived == {17: ((5, 0.5), (6, 0.5)), 18: ((11, 0.5), (12, 0.5))}
    assert (result.skeleton.anchors["chest"], result.skeleton.anchors["centre"]) == (17, 18)
    assert measured(result.skeleton).tolist() == [True] * 17 + [False] * 2


def test_a_middle_is_there_where_both_sides_are():
    sequence = coco(frames=3)
    sequence.present[0, 1, 11] = sequence.present[0, 2, 5] = sequence.present[0, 2, 6] = False
    result = with_derived(sequence)
    assert result.present[0, :, 18].tolist() == [True, False, True]
    assert result.present[0, :, 17].tolist() == [True, True, False]
    assert (result.joints[0, 1, 18] == 0).all()
    assert (result.joints[0, 2, 17] == 0).all()


@pytest.mark.parametrize(
    ("layout", "added"),
    [
        (COCO_17, ("MidShoulder", "MidHip")),
        (PENN_13, ("MidShoulder", "MidHip")),
        (MEDIAPIPE_33, ("MidShoulder", "MidHip")),
        (COCO_18, ("MidHip",)),
        (BODY_25, ()),
        (KINECT_V2_25, ()),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_layouts_lack(layout, added):
    whole = with_middles(layout)
    assert whole.joints == (*layout.joints, *added)
    assert (whole is layout) == (not added)
    assert with_middles(whole) is whole


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_layout_can_be_aligned_then(name):
    whole = with_middles(LAYOUTS[name])
    assert whole.anchors.keys() >= set(ANCHOR_ROLES)
    # Measured joints hang as they hung, and the tree is the same seen in a mirror.
    assert whole.parents[: len(LAYOUTS[name].joints)] == LAYOUTS[name].parents
    for joint in range(len(LAYOUTS[name].joints), len(whole.joints)):
        assert whole.mirror[joint] == joint
        assert whole.mirror[whole.parents[joint]] == whole.parents[joint]
    assert set(places_of(LAYOUTS[name]).items()) <= set(places_of(whole).items())
    assert Skeleton.from_description(full_description(whole)) == whole
    assert places_of(Skeleton.from_description(full_description(whole))) == places_of(whole)


def test_hips_that_nobody_knows_have_no_middle():
    unknown = Skeleton("dog", ("a", "b"), (0, 0), (0, 1), {})
    assert with_middles(unknown) is unknown


def test_weights_and_what_is_made_of_nothing_here():
    joints = np.array([[[0.0, 0, 0], [8, 4, 0], [5, 5, 5], [1, 1, 1]]])
    derived = {2: ((0, 0.25), (1, 0.75)), 3: ()}
    result, present = derive(joints, np.array([[True, True, False, True]]), derived)
    assert result[0, 2].tolist() == [6, 3, 0]
    assert result[0, 3].tolist() == [1, 1, 1]
    assert present.all()
    assert joints[0, 2].tolist() == [5, 5, 5], "the input stays as it is"


@pytest.mark.parametrize(
    ("derived", "problem"),
    [
        ({2: ((0, 0.5), (1, 0.6))}, "add up to 1"),
        ({2: ((0, 0.5), (7, 0.5))}, "must be indices"),
        ({1: ((0, 1.0),), 2: ((1, 1.0),)}, "from a derived joint"),
    ],
)
def test_layouts_that_make_no_sense(derived, problem):
    with pytest.raises(ConfigError, match=problem):
        Skeleton("dog", ("a", "b", "c"), (0, 0, 0), (0, 1, 2), {}, derived=derived)


def test_alignment_of_coco_is_that_of_the_middles():
    """Hips at x = -1 and 1, shoulders 2 above: the body is centred between the hips, and the trunk becomes 1."""
    sequence = coco(frames=1)
    joints, left, right = sequence.joints, COCO_17.index, COCO_17.index
    joints[0, 0, left("HipLeft")], joints[0, 0, right("HipRight")] = (2, 5, 1), (4, 5, 1)
    joints[0, 0, left("ShoulderLeft")], joints[0, 0, right("ShoulderRight")] = (2, 7, 1), (4, 7, 1)
    whole = with_derived(sequence)
    aligned, _ = align(whole.joints, whole.present, whole.skeleton, "body")
    np.testing.assert_allclose(aligned[0, 0, left("HipRight")], (0.5, 0, 0), atol=1e-6)
    np.testing.assert_allclose(aligned[0, 0, left("ShoulderLeft")], (-0.5, 1, 0), atol=1e-6)
    assert np.isfinite(raw_baseline_features(whole)).all()
    with pytest.raises(ConfigError, match="centre, chest"):
        align(sequence.joints, sequence.present, COCO_17, "body")


def test_the_description_of_a_layout_without_is_what_it_was():
    """Fingerprints of stores that exist depend on it."""
    assert list(KINECT_V1_20.description()) == ["name", "joints", "parents", "mirror", "anchors", "up"]
    assert full_description(KINECT_V1_20) == KINECT_V1_20.description()
    old = Skeleton.from_description(KINECT_V1_20.description())
    assert old == KINECT_V1_20
    assert places_of(old) == places_of(KINECT_V1_20)
