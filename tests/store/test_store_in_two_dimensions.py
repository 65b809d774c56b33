"""Stores of two dimensions: which clips are copies, and which checks say something."""

from dataclasses import replace

import numpy as np
import pytest
from test_doubts import LAYOUT, changed, summary_of, walk
from test_near_duplicates import NOWHERE, found

from marrow.readers.synthetic import Synthetic


def flat(sequence):
    """Return what a camera far away sees."""
    joints = sequence.joints * np.float32([1, 1, 0])
    return replace(sequence, joints=joints, skeleton=replace(sequence.skeleton, dimensions=2), segments=())


@pytest.fixture(scope="module")
def images():
    reader = Synthetic(noise=0.0, dropouts=0.0)
    records = list(reader.records(NOWHERE))
    chosen = [records[place] for place in np.linspace(0, len(records) - 1, 6).round().astype(int)]
    return [flat(reader.read(NOWHERE, record)) for record in chosen]


def shown_elsewhere(sequence):
    """Return a clip without its first two frames, three times as large, at another place of the image."""
    present = sequence.present[:, 2:]
    joints = (3 * sequence.joints[:, 2:] + np.float32([5, -2, 0])) * present[..., None]
    return replace(sequence, joints=joints.astype(np.float32), present=present)


def test_a_copy_in_another_place_and_size_of_the_image_is_found(tmp_path, images):
    near = found(tmp_path, images, [shown_elsewhere(one) for one in images])
    assert {asked: known for asked, (known, _) in near.items()} == {f"b{n}": f"a{n}" for n in range(6)}


def test_a_copy_turned_a_little_in_the_image_is_found_and_a_mirror_image_is_none(tmp_path, images):
    turn = np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]], np.float32)
    turned = [replace(one, joints=one.joints @ turn.T) for one in images]
    assert len(found(tmp_path / "turned", images, turned)) == 6
    mirrors = [replace(one, joints=one.joints * np.float32([-1, 1, 1])) for one in images]
    assert found(tmp_path / "mirrored", images, mirrors) == {}


def test_feet_bones_and_sizes_are_not_judged_in_an_image(tmp_path):
    """In the image the feet point to the side, bones shrink to a tenth, one body is four times as large."""
    clips = [flat(walk("a")), flat(walk("bb")), flat(walk("ccc"))]
    clips[1] = changed(clips[1], lambda joints, _: 4 * joints)
    shrinking = np.linspace(1, 0.1, 40)[None, :, None, None]
    clips[2] = changed(clips[2], lambda joints, _: joints * shrinking)
    summary = summary_of(tmp_path, *clips)
    assert summary.warnings == ()
    assert [text.partition(":")[0] for text in summary.not_checked] == ["size of bodies", "left and right", "bones"]


def exchanged(joints, _):
    joints[:, 20:] = joints[:, 20:][:, :, list(LAYOUT.mirror)]
    return joints


def test_exchanged_sides_are_found_where_the_body_is_seen_from_the_front(tmp_path):
    front = flat(walk("a", frames=60))
    summary = summary_of(tmp_path / "front", changed(front, exchanged))
    assert summary.warnings == ("in 1 clip left and right are exchanged from one frame to the next",)
    # From the side left and right lie on each other, and which is at the left of the image is chance.
    side = changed(front, lambda joints, present: exchanged(joints * np.float32([0.1, 1, 1]), present))
    assert summary_of(tmp_path / "side", side).warnings == ()


def test_a_jump_is_measured_by_the_size_of_the_clips_own_body(tmp_path):
    def jumping(joints, _):
        joints[0, 20, LAYOUT.index("HandLeft")] += np.float32([1.5, 0, 0])
        return joints

    large = changed(flat(walk("a")), lambda joints, _: 4 * joints)
    other = [flat(walk(name)) for name in ("bb", "ccc", "dddd")]
    assert summary_of(tmp_path / "large", *other, changed(large, jumping)).warnings == ()
    small = changed(other[0], jumping)
    warnings = summary_of(tmp_path / "small", small, *other[1:], large).warnings
    assert len(warnings) == 1
    assert warnings[0].startswith("in 1 clip a joint jumps: 1.")


def test_nobody_moves_along_an_axis_that_exists(tmp_path):
    still = changed(flat(walk("a")), lambda joints, _: joints * np.float32([0, 1, 1]))
    assert any("x never changes" in text for text in summary_of(tmp_path, still).warnings)
