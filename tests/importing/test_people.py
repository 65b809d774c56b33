"""People followed from frame to frame: by identity, by position, across gaps; what is cut, joined and left out."""

import time
from pathlib import Path

import numpy as np
import pytest

from marrow.errors import ParseError
from marrow.importing.estimators.people import (
    BEYOND,
    CROWD,
    CUT,
    GHOSTS,
    JOINED,
    SHARED_IDENTITY,
    SOME_IDENTITIES,
    Detections,
    to_recording,
)
from marrow.readers import SkipRecording

PATH = Path("people.json")
# A body 100 pixels tall: head, hips, two feet.
BODY = np.array([[0, 0], [0, 50], [-10, 100], [10, 100]], np.float32)


def detections(rows, frame_count, ids=None, confidence=None):
    """Return people from rows (frame, x) or (frame, x, y); the body stands with its head there."""
    places = np.array([(*row[1:], 0)[:2] for row in rows], np.float32).reshape(-1, 2)
    frames = np.array([row[0] for row in rows], np.int64)
    return Detections(frames, BODY + places[:, None], confidence, None if ids is None else tuple(ids), frame_count)


def read(people, follow=True, fps=30.0):
    return to_recording(PATH, people, fps=fps, follow=follow)


def head_x(recording):
    return recording.positions[:, :, 0, 0]


def test_one_person_in_every_frame():
    recording = read(detections([(frame, 5 * frame) for frame in range(6)], 6))
    assert head_x(recording).tolist() == [[0, 5, 10, 15, 20, 25]]
    assert recording.positions[0, 2].tolist() == (BODY + np.array([10, 0])).tolist()
    assert (recording.notes, recording.fps, recording.confidence) == ((), 30.0, None)


def test_two_people_who_change_places_in_the_file_stay_who_they_are():
    rows = [(0, 0), (0, 300), (1, 301), (1, 1), (2, 2), (2, 302), (3, 303), (3, 3)]
    assert head_x(read(detections(rows, 4))).tolist() == [[0, 1, 2, 3], [300, 301, 302, 303]]
    assert head_x(read(detections(rows, 4), follow=False)).tolist() == [[0, 301, 2, 303], [300, 1, 302, 3]]


def test_people_who_cross_keep_their_way():
    frame = np.arange(41)
    left, right = 10.0 * frame, 400 - 10.0 * frame  # they are in one place at frame 20
    rows = [
        (t, x)
        for t in frame
        for x in (sorted if t % 2 else lambda pair: sorted(pair, reverse=True))((left[t], right[t]))
    ]
    recording = read(detections(rows, 41))
    assert recording.positions.shape[0] == 2
    found = sorted(head_x(recording).tolist())
    assert found == [left.tolist(), right.tolist()]


@pytest.mark.parametrize(("gap", "bodies", "note"), [(14, 1, JOINED), (15, 1, JOINED), (16, 2, CUT)])
def test_a_gap_of_up_to_half_a_second_is_joined(gap, bodies, note):
    rows = [(frame, 0) for frame in (0, 1, 2, *range(3 + gap, 7 + gap))]
    recording = read(detections(rows, 7 + gap))
    assert recording.positions.shape[0] == bodies
    assert recording.notes == (note,)
    assert recording.counts == {note: 1}
    assert np.isnan(recording.positions[0, 3 : 3 + gap]).all()


def test_half_a_second_is_shorter_at_a_low_rate():
    rows = [(frame, 0) for frame in (0, 1, 2, 9, 10, 11, 12)]
    assert read(detections(rows, 13), fps=30.0).positions.shape[0] == 1
    assert read(detections(rows, 13), fps=None).positions.shape[0] == 1
    assert read(detections(rows, 13), fps=10.0).positions.shape[0] == 2


def test_who_leaves_and_who_comes_elsewhere_are_two():
    rows = [(frame, 0) for frame in range(10)] + [(frame, 500) for frame in range(10, 30)]
    recording = read(detections(rows, 30))
    # Who is seen longer comes first.
    assert np.isnan(head_x(recording)[0, :10]).all()
    assert (head_x(recording)[0, 10:] == 500).all()
    assert (head_x(recording)[1, :10] == 0).all()
    assert recording.counts == {CUT: 1}


def test_ghosts_are_left_out_and_counted():
    rows = [(frame, 0) for frame in range(20)] + [(4, 700), (9, 900), (10, 901)]
    recording = read(detections(rows, 20))
    assert recording.positions.shape[0] == 1
    assert recording.counts == {GHOSTS: 2}


def test_a_recording_of_two_frames_is_no_ghost():
    assert head_x(read(detections([(0, 1), (1, 2)], 2))).tolist() == [[1, 2]]


def test_joints_that_are_not_seen_do_not_count_for_the_distance():
    people = detections([(frame, x) for frame in range(6) for x in (0, 300)], 6)
    people.positions[4, :3] = np.nan  # in frame 2 only a foot of the first person is seen
    people.positions[6, 3] = np.nan  # in frame 3 not that foot
    recording = read(people)
    assert recording.positions.shape[0] == 2
    assert recording.notes == ()
    assert np.isnan(recording.positions[:, 2, :3]).all(axis=(1, 2)).tolist() == [False, True]


def test_identities_are_kept_however_far_people_jump():
    rows = [(0, 0), (0, 300), (1, 300), (1, 0), (2, 0)]
    recording = read(detections(rows, 3, ids=["b", "a", "b", "a", "b"]))
    assert head_x(recording)[0].tolist() == [0, 300, 0]
    assert head_x(recording)[1, :2].tolist() == [300, 0]
    assert recording.notes == ()


def test_an_identity_twice_in_a_frame_tells_nobody_apart():
    rows = [(frame, x) for frame in range(3) for x in (0, 300)]
    recording = read(detections(rows, 3, ids=[1] * 6))
    assert head_x(recording).tolist() == [[0] * 3, [300] * 3]
    assert recording.counts == {SHARED_IDENTITY: 3}
    recording = read(detections(rows, 3, ids=[1, 2, 1, None, 1, 2]))
    assert head_x(recording).tolist() == [[0] * 3, [300] * 3]
    assert recording.counts == {SOME_IDENTITIES: 1}


def test_confidence_goes_with_its_person():
    confidence = np.array([[0.1] * 4, [0.2] * 4, [0.3] * 4, [0.4] * 4], np.float32)
    recording = read(detections([(0, 0), (0, 300), (1, 300), (1, 0)], 3, confidence=confidence))
    np.testing.assert_allclose(recording.confidence[:, :, 0], [[0.1, 0.4, 0], [0.2, 0.3, 0]])


def test_an_audience_is_cut_to_eight_and_counted():
    # Twelve people; the later in the file the longer are they seen.
    rows = [(frame, 200 * person) for frame in range(24) for person in range(12) if frame < 2 * person + 3]
    recording = read(detections(rows, 24))
    assert head_x(recording)[:, 0].tolist() == [200 * person for person in range(11, 3, -1)]
    assert recording.counts[BEYOND] == 4


def test_a_million_people_in_a_frame():
    people = Detections(
        np.zeros(1_000_000, np.int64), np.ones((1_000_000, 4, 2), np.float32), None, tuple(range(1_000_000)), 1
    )
    recording = read(people)
    assert recording.positions.shape == (8, 1, 4, 2)
    assert recording.counts == {CROWD: 1_000_000 - 64, BEYOND: 56}


def test_more_frames_than_memory_are_refused():
    with pytest.raises(ParseError, match="frames"):
        read(detections([(0, 0)], 10**12))


@pytest.mark.parametrize("rows", [[], [(0, np.nan)]])
def test_nobody(rows):
    with pytest.raises(SkipRecording, match="3 frames"):
        read(detections(rows, 3))


def test_it_is_fast():
    rows = [(frame, x + frame) for frame in range(3000) for x in (0, 300, 600)]
    people = detections(rows, 3000)
    start = time.perf_counter()
    assert read(people).positions.shape[0] == 3
    assert time.perf_counter() - start < 6  # a tenth of that on an idle machine
