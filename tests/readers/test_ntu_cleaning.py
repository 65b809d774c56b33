"""Each step of the cleaning on tracks whose outcome is known."""

import numpy as np
import pytest
from ntu_text import standing

from marrow.readers import ntu as cleaning


def track(first, last, motion=1.0, *, value=1.0):
    """A body at one place from the first to the last frame, both inclusive, with a motion of our choosing."""
    frames = np.arange(first, last + 1)
    return cleaning.Track(frames, np.full((len(frames), 25, 3), value, np.float32), float(motion))


def tracks_of(rows):
    """Rows (frame, id, joints)."""
    frames, ids, joints = zip(*rows, strict=True)
    return cleaning.tracks_by_id(np.array(ids, np.uint64), np.array(frames, np.int64), np.array(joints, np.float32))


def test_tracks_keep_the_order_of_first_appearance():
    tracks = tracks_of([(0, 9, standing()), (1, 3, standing(1)), (1, 9, standing(2)), (3, 3, standing(3))])
    assert [one.frames.tolist() for one in tracks] == [[0, 1], [1, 3]]
    np.testing.assert_array_equal(tracks[1].joints[1], standing(3).astype(np.float32))
    # Body 9 moves from x to x + 2: a variance of 1 along x comes on top of the spread of its joints.
    at_rest = tracks_of([(0, 9, standing())])[0].motion
    assert tracks[0].motion == pytest.approx(at_rest + 1.0, rel=1e-5)


def test_empty_frames_do_not_count():
    assert cleaning.without_empty_frames(np.array([2, 2, 5, 9])).tolist() == [0, 0, 1, 2]


def test_a_body_that_returns_is_moved_forward():
    broken = cleaning.Track(np.array([4, 5, 20]), np.zeros((3, 25, 3), np.float32), 0.0)
    assert cleaning.without_gaps(broken).frames.tolist() == [4, 5, 6]


def test_eleven_frames_are_too_few():
    assert [len(one.frames) for one in cleaning.without_short([track(0, 10), track(0, 11)])] == [12]


def flat_track(flat_frames, frames):
    """A body that lies (1.6 m wide, 0.5 m high) in its first frames and stands in the others."""
    lying, upright = standing(width=1.6, height=0.5), standing(width=0.5, height=1.6)
    joints = np.stack([lying if frame < flat_frames else upright for frame in range(frames)]).astype(np.float32)
    return cleaning.Track(np.arange(frames), joints, 5.0)


def test_flat_bodies_are_removed_from_69754_in_100000_on():
    # 9 of 13 = 0.692 stays, 7 of 10 = 0.7 goes.
    stays, goes = flat_track(9, 13), flat_track(7, 10)
    kept = cleaning.without_flat([goes, stays])
    assert [len(one.frames) for one in kept] == [13]
    kept = cleaning.without_flat([stays, goes])
    assert [len(one.frames) for one in kept] == [13]


def test_the_last_body_is_never_removed():
    assert len(cleaning.without_flat([flat_track(10, 10)])) == 1
    assert [len(one.frames) for one in cleaning.without_flat([flat_track(12, 12), flat_track(13, 13)])] == [13]


def test_width_of_exactly_four_fifths_is_plausible():
    joints = np.zeros((1, 25, 3), np.float32)
    joints[0, 0, :2] = (4.0, 5.0)  # 4 wide, 5 high: 4 <= 0.8 * 5
    other = track(0, 3)
    assert len(cleaning.without_flat([cleaning.Track(np.arange(1), joints, 1.0), other])) == 2
    joints[0, 0, 0] = 4.01
    assert len(cleaning.without_flat([cleaning.Track(np.arange(1), joints, 1.0), other])) == 1


def test_motion_falls_to_that_of_the_plausible_frames():
    upright = cleaning.without_flat([flat_track(1, 10), track(0, 3)])[0]
    one_frame = standing(width=0.5, height=1.6)
    assert upright.motion == pytest.approx(one_frame.var(axis=0).sum(), rel=1e-5)
    # The motion is never raised: 0.01 is less than what those frames have.
    lazy = cleaning.Track(upright.frames, upright.joints, 0.01)
    assert cleaning.without_flat([lazy, track(0, 3)])[0].motion == 0.01


def spans(actors):
    return [[(int(one.frames[0]), int(one.frames[-1])) for one in actor] for actor in actors]


@pytest.mark.parametrize(
    ("tracks", "expected"),
    [
        # The most mobile is actor 1, wherever it stands in the file; the overlapping one is actor 2.
        ([track(0, 20, 1), track(5, 30, 2)], [[(5, 30)], [(0, 20)]]),
        # A body found again under another id joins the same actor.
        ([track(0, 20, 3), track(0, 50, 2), track(21, 50, 1)], [[(0, 20), (21, 50)], [(0, 50)]]),
        # Bodies that share exactly one frame do not overlap; those that share two do.
        ([track(0, 20, 2), track(20, 40, 1)], [[(0, 20), (20, 40)]]),
        ([track(0, 20, 2), track(19, 40, 1)], [[(0, 20)], [(19, 40)]]),
        # Actor 2's interval keeps its initial 0, so that a third body at 5..30 overlaps it and is discarded.
        ([track(0, 99, 3), track(40, 60, 2), track(5, 30, 1)], [[(0, 99)], [(40, 60)]]),
        ([track(0, 99, 3), track(40, 60, 2), track(61, 70, 1)], [[(0, 99)], [(40, 60), (61, 70)]]),
        # The interval of actor 1 grows to the union, the gap included.
        ([track(50, 60, 3), track(0, 10, 2), track(20, 30, 1)], [[(50, 60), (0, 10)], [(20, 30)]]),
        # Equal motion: the order of first appearance decides.
        ([track(0, 20, 1), track(0, 30, 1)], [[(0, 20)], [(0, 30)]]),
    ],
)
def test_actors(tracks, expected):
    assert spans(cleaning.actors_of(tracks)) == expected


def test_a_later_track_overwrites_the_shared_frame():
    joints, present = cleaning.to_arrays([[track(0, 2, value=1), track(2, 4, value=2)], [track(1, 1, value=3)]], 6)
    assert joints[0, :, 0, 0].tolist() == [1, 1, 2, 2, 2, 0]
    assert joints[1, :, 0, 0].tolist() == [0, 3, 0, 0, 0, 0]
    assert present.tolist() == [[True] * 5 + [False], [False, True, False, False, False, False]]


def test_origin_is_the_middle_of_the_first_bodys_spine_where_it_is_first_seen():
    joints = np.zeros((2, 3, 25, 3), np.float32)
    joints[0, 1, 1] = (1, 2, 3)
    joints[1] = 9
    present = np.array([[False, True, True], [True, True, True]])
    assert cleaning.origin_of(joints, present).tolist() == [1, 2, 3]
