"""The places of the body: consistent tables, and every layout brought to every other on a body of known pose."""

from dataclasses import replace

import numpy as np
import pytest

from marrow.skeleton.body import BODY, MIDDLES, NEAR, STANDING, standing
from marrow.skeleton.derived import with_derived, with_middles
from marrow.skeleton.estimators import COCO_17
from marrow.skeleton.known import LAYOUTS
from marrow.skeleton.layout import H36M_32, KINECT_V1_20, KINECT_V2_25, Skeleton
from marrow.skeleton.places import place_of_joints, places_of
from marrow.skeleton.retarget import match, retarget
from marrow.skeleton.sequence import Record, SkeletonSequence

NAMES = sorted(LAYOUTS)


def stood(layout):
    """The layout on the standing body; joints that are no place are absent."""
    places = places_of(layout)
    positions = standing(places, len(layout.joints)).astype(np.float32)[None, None]
    present = np.isfinite(positions).all(-1)
    return SkeletonSequence(np.nan_to_num(positions), present, 30.0, layout, Record("one"))


def test_the_body_is_its_own_image():
    assert len(BODY.joints) == len(STANDING) == 40
    for joint, place in enumerate(BODY.joints):
        x, y, z = STANDING[place]
        assert STANDING[BODY.joints[BODY.mirror[joint]]] == (-x, y, z)
        side = BODY.sides[joint]
        assert side == (place.split()[0] if place.split()[0] in ("left", "right") else "middle")
        assert np.sign(x) == {"left": 1, "right": -1, "middle": 0}[side]
        parent = BODY.parents[joint]
        assert BODY.mirror[parent] == BODY.parents[BODY.mirror[joint]]
    for place, sources in MIDDLES.items():
        middle = sum(weight * np.array(STANDING[source]) for source, weight in sources)
        np.testing.assert_allclose(middle, STANDING[place], atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_layout_is_a_tree_and_its_places_are_on_their_sides(name):
    layout = LAYOUTS[name]
    roots = [joint for joint, parent in enumerate(layout.parents) if joint == parent]
    assert len(roots) == 1
    for joint in range(len(layout.joints)):
        for _ in layout.joints:
            joint = layout.parents[joint]
        assert joint == roots[0]
    bones = set(layout.bones)
    assert {(layout.mirror[joint], layout.mirror[parent]) for joint, parent in bones} == bones
    places = places_of(layout)
    assert len(set(places.values())) == len(places)
    for place, joint in places.items():
        assert layout.sides[joint] == BODY.sides[BODY.index(place)]
        image = BODY.joints[BODY.mirror[BODY.index(place)]]
        assert places[image] == layout.mirror[joint]
    for role, joint in layout.anchors.items():
        place = place_of_joints(layout)[joint]
        assert place.replace(" ", "_") == role or place in (
            *("pelvis", "hip centre", "mid shoulders", "shoulder centre", "neck"),
        )


@pytest.mark.parametrize("name", NAMES)
def test_parents_lie_further_in(name):
    """A joint at the end of a limb hangs from one nearer to the trunk: nobody hangs a knee from an ankle."""
    order = ["shoulder", "elbow", "wrist", "hand", "hand tip"], ["hip", "knee", "ankle", "foot", "toe"]
    layout, places = LAYOUTS[name], place_of_joints(LAYOUTS[name])
    for joint, parent in layout.bones:
        here, above = places.get(joint, ""), places.get(parent, "")
        for limb in order:
            if here.partition(" ")[2] in limb and above.partition(" ")[2] in limb:
                assert limb.index(here.partition(" ")[2]) > limb.index(above.partition(" ")[2])
                assert here.split()[0] == above.split()[0]


@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("source", NAMES)
def test_every_pair_on_the_standing_body(source, target):
    """What arrives lies exactly where the place is; and every place that both have, or that can be derived, arrives."""
    sequence, layout = stood(LAYOUTS[source]), LAYOUTS[target]
    result = retarget(sequence, layout)
    here, there = places_of(LAYOUTS[source]), places_of(layout)
    stands_for = dict(NEAR) | {other: one for one, other in NEAR}
    for place, joint in there.items():
        arrived = bool(result.present[0, 0, joint])
        if place in here:
            assert arrived
            np.testing.assert_array_equal(result.joints[0, 0, joint], np.float32(STANDING[place]))
        elif arrived:  # that of a place that is near, which the target does not have; or derived
            near = stands_for.get(place, "")
            takes_near = near in here and near not in there
            middle = near if place in ("pelvis", "neck") else place
            where = STANDING[near if takes_near else middle]
            np.testing.assert_allclose(result.joints[0, 0, joint], where, atol=1e-6)
            assert (joint in result.skeleton.derived) == (not takes_near)
    # With hips and shoulders known, whoever can be aligned can be aligned in the other layout.
    assert all(result.present[0, 0, joint] for joint in with_middles(layout).anchors.values() if joint < len(there))


@pytest.mark.parametrize("name", NAMES)
def test_identity(name):
    layout = LAYOUTS[name]
    assert match(layout, layout).sources == tuple(range(len(layout.joints)))
    sequence = stood(layout)
    result = retarget(sequence, layout)
    assert result.skeleton is layout
    np.testing.assert_array_equal(result.joints, sequence.joints)
    np.testing.assert_array_equal(result.present, sequence.present)


@pytest.mark.parametrize("name", NAMES)
def test_to_the_body_and_back(name):
    """No place is lost on the way, and only places come back."""
    layout = LAYOUTS[name]
    sequence = stood(layout)
    on_body = retarget(sequence, BODY)
    for place in places_of(layout):
        assert on_body.present[0, 0, BODY.index(place)]
    back = retarget(on_body, layout)
    np.testing.assert_array_equal(back.present, sequence.present)
    np.testing.assert_array_equal(back.joints, sequence.joints)
    # Every layout has a centre and a chest there.
    assert on_body.present[0, 0, [BODY.anchors[role] for role in BODY.anchors]].all()


def test_what_is_derived_on_the_way_is_marked():
    """COCO has neither centre nor chest: Kinect gets both between hips and between shoulders."""
    result = retarget(stood(COCO_17), KINECT_V2_25)
    base, chest = KINECT_V2_25.index("SpineBase"), KINECT_V2_25.index("SpineShoulder")
    assert result.skeleton.derived == {
        base: ((KINECT_V2_25.index("HipLeft"), 0.5), (KINECT_V2_25.index("HipRight"), 0.5)),
        chest: ((KINECT_V2_25.index("ShoulderLeft"), 0.5), (KINECT_V2_25.index("ShoulderRight"), 0.5)),
    }
    np.testing.assert_allclose(result.joints[0, 0, base], STANDING["hip centre"], atol=1e-7)
    np.testing.assert_allclose(result.joints[0, 0, chest], STANDING["shoulder centre"], atol=1e-7)
    assert result.skeleton == replace(KINECT_V2_25, derived=result.skeleton.derived)
    # The same if the middles were derived before.
    again = retarget(with_derived(stood(COCO_17)), KINECT_V2_25)
    assert again.skeleton.derived == result.skeleton.derived
    np.testing.assert_array_equal(again.joints, result.joints)
    # A user who wants none gets none.
    assert not retarget(stood(COCO_17), KINECT_V2_25, {"SpineBase": None}).present[0, 0, base]


def test_what_sensors_put_elsewhere_is_told_apart():
    on_body = retarget(stood(KINECT_V1_20), BODY)
    pelvis, middle = BODY.index("pelvis"), BODY.index("hip centre")
    assert on_body.joints[0, 0, pelvis].tolist() == np.float32(STANDING["pelvis"]).tolist()
    np.testing.assert_allclose(on_body.joints[0, 0, middle], STANDING["hip centre"], atol=1e-7)
    # Human3.6M's root is the middle; where a layout has one of the two it takes the other.
    on_body = retarget(stood(H36M_32), BODY)
    assert not on_body.present[0, 0, pelvis]
    assert on_body.present[0, 0, middle]
    assert match(H36M_32, KINECT_V1_20).pairs["HipCenter"] == "Hips"


def test_files_that_name_places_of_their_own_order():
    """A layout read from an old store has no places in it; its joints are those of a layout that is known."""
    order = list(reversed(range(20)))
    joints = tuple(KINECT_V1_20.joints[joint] for joint in order)
    shuffled = Skeleton("mine", joints, (0,) * 20, tuple(range(20)), {})
    assert places_of(shuffled) == dict(
        sorted(((place, order.index(joint)) for place, joint in places_of(KINECT_V1_20).items()), key=lambda of: of[1])
    )
