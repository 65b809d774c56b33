"""Scores of action detection against the official figures, numbers worked out by hand, and the algorithm in a loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marrow.errors import DataError
from marrow.runtime.frames import runs
from marrow.tasks.detection.frame_metrics import FrameCounts, segment_scores
from marrow.tasks.detection.metrics import (
    MANY_OVERLAPS,
    Intervals,
    Proposals,
    average_precision,
    overlaps,
    proposal_f1,
    proposal_scores,
    voc_average_precision,
)

# Recordings a = 0 and b = 1; (recording, class, start, end). The figures below are those of PKU-MMD's own evaluation.
TRUTH = Intervals.of([(0, 1, 0, 100), (0, 1, 200, 300), (0, 2, 120, 180), (1, 1, 50, 150)])
PROPOSALS = Proposals(
    Intervals.of(
        [
            (0, 1, 0, 90),
            (0, 1, 10, 100),
            (0, 1, 205, 310),
            (0, 1, 400, 500),
            (0, 2, 100, 170),
            (1, 1, 60, 150),
            (1, 2, 10, 20),
        ]
    ),
    np.array([0.9, 0.8, 0.7, 0.95, 0.6, 0.5, 0.3]),
)


def _ap(least: float, score=average_precision, label: int | None = None, recording: int | None = None) -> float:
    """Score the part of the example that has a label, or lies in a recording."""
    of, to_find = np.ones(len(PROPOSALS), bool), np.ones(len(TRUTH), bool)
    if label is not None:
        of, to_find = PROPOSALS.at.label == label, TRUTH.label == label
    if recording is not None:
        of, to_find = PROPOSALS.at.recording == recording, TRUTH.recording == recording
    matched = overlaps(PROPOSALS.at, TRUTH).matched(least)
    return score(PROPOSALS.confidence[of], matched[of], int(to_find.sum()))


@pytest.mark.parametrize(
    ("least", "class_1", "class_2", "video_a", "video_b", "everything", "f1"),
    [
        (0.1, 0.6, 0.5, 0.6, 0.5, 0.6, 0.727273),
        (0.3, 0.6, 0.5, 0.6, 0.5, 0.6, 0.727273),
        (0.5, 0.6, 0.5, 0.6, 0.5, 0.6, 0.727273),
        (0.7, 0.6, 0.0, 0.3, 0.5, 0.339286, 0.545455),
        (0.9, 0.3, 0.0, 0.166667, 0.5, 0.196429, 0.363636),
    ],
)
def test_average_precision_is_that_of_the_official_evaluation(
    least, class_1, class_2, video_a, video_b, everything, f1
):
    assert _ap(least, label=1) == pytest.approx(class_1, abs=5e-7)
    assert _ap(least, label=2) == pytest.approx(class_2, abs=5e-7)
    assert _ap(least, recording=0) == pytest.approx(video_a, abs=5e-7)
    assert _ap(least, recording=1) == pytest.approx(video_b, abs=5e-7)
    assert _ap(least) == pytest.approx(everything, abs=5e-7)
    assert proposal_f1(overlaps(PROPOSALS.at, TRUTH).matched(least), len(TRUTH)) == pytest.approx(f1, abs=5e-7)
    scores = proposal_scores(PROPOSALS, TRUTH, [least])
    tail = f"iou{100 * least:g}_percent"
    assert scores[f"map_actions_{tail}"] == pytest.approx(50 * (class_1 + class_2), abs=5e-5)
    assert scores[f"map_videos_{tail}"] == pytest.approx(50 * (video_a + video_b), abs=5e-5)
    assert scores[f"ap_{tail}"] == pytest.approx(100 * everything, abs=5e-5)
    assert scores[f"f1_{tail}"] == pytest.approx(100 * f1, abs=5e-5)


def test_two_dimensional_average_precision_is_that_of_the_official_evaluation():
    assert proposal_scores(PROPOSALS, TRUTH)["ap_2d_percent"] == pytest.approx(45.4642857, abs=5e-8)


@pytest.mark.parametrize(("least", "class_1", "class_2"), [(0.1, 0.6, 1.0), (0.3, 0.6, 1.0), (0.5, 0.6, 1.0)])
def test_voc_average_precision_is_that_of_the_released_codes(least, class_1, class_2):
    assert _ap(least, voc_average_precision, label=1) == pytest.approx(class_1)
    assert _ap(least, voc_average_precision, label=2) == pytest.approx(class_2)
    assert proposal_scores(PROPOSALS, TRUTH, [least])[f"voc_map_iou{100 * least:g}_percent"] == pytest.approx(80.0)


def test_voc_average_precision_where_a_class_is_not_found():
    assert _ap(0.7, voc_average_precision, label=1) == pytest.approx(0.6)
    assert _ap(0.7, voc_average_precision, label=2) == 0.0


def test_the_official_score_is_biased_low_and_the_other_is_not():
    # One instance, found by the surest proposal; a wrong one below it. After the wrong one is gone nothing is read.
    confidence, matched = np.array([0.9, 0.1]), np.array([0, -1])
    assert average_precision(confidence, matched, 1) == 0.5
    assert voc_average_precision(confidence, matched, 1) == 1.0


def test_duplicates_are_false_positives():
    # Two instances found at 0.9 and 0.5. VOC: precision 1, 1, area 1; with a duplicate between them 1, 1/2, 2/3: the
    # envelope is 1 and 2/3, area 5/6. PKU-MMD: alone, P = 1 from the start, so 1. With the duplicate P = 2/3 at first;
    # without the least sure 1/2; without the next (the duplicate of the first) 1/1: E = 2/3 then 1, of 2: 5/6.
    alone = np.array([0.9, 0.5]), np.array([0, 1])
    doubled = np.array([0.9, 0.7, 0.5]), np.array([0, 0, 1])
    assert average_precision(*alone, 2) == voc_average_precision(*alone, 2) == 1.0
    assert average_precision(*doubled, 2) == pytest.approx(5 / 6)
    assert voc_average_precision(*doubled, 2) == pytest.approx(5 / 6)
    assert proposal_f1(doubled[1], 2) == pytest.approx(2 * 2 / (3 + 2))


def test_of_equal_overlaps_the_later_interval_is_found():
    # [10, 30) shares 10 frames with [0, 20) and with [20, 40), each of a union of 30: 1/3.
    truth = Intervals.of([(0, 0, 0, 20), (0, 0, 20, 40), (0, 1, 10, 30), (1, 0, 10, 30)])
    found = overlaps(Intervals.of([(0, 0, 10, 30)]), truth)
    assert found.best.tolist() == [1]
    assert found.iou[0] == pytest.approx(1 / 3)
    assert found.matched(1 / 3).tolist() == [1]
    assert found.matched(0.34).tolist() == [-1]


def test_neighbours_that_only_touch_do_not_overlap():
    found = overlaps(Intervals.of([(0, 0, 0, 10), (0, 0, 50, 60)]), Intervals.of([(0, 0, 10, 20)]))
    assert found.iou.tolist() == [0.0, 0.0]
    assert found.matched(0.05).tolist() == [-1, -1]


def test_nothing_to_find_and_nothing_found_score_zero():
    nothing, no_proposals = Intervals.of([]), Proposals(Intervals.of([]), np.zeros(0))
    for scores in (proposal_scores(no_proposals, TRUTH), proposal_scores(PROPOSALS, nothing)):
        assert scores
        assert set(scores.values()) == {0.0}
    assert proposal_scores(no_proposals, nothing)["ap_2d_percent"] == 0.0
    assert segment_scores(nothing, TRUTH)["segment_f1_50_percent"] == 0.0


def test_an_empty_interval_is_refused():
    with pytest.raises(DataError, match=r"\[5, 5\) in recording 3"):
        Intervals.of([(3, 0, 5, 5)])
    with pytest.raises(DataError, match="one confidence per proposal"):
        Proposals(TRUTH, np.zeros(2))
    with pytest.raises(DataError, match="finite"):
        Proposals(TRUTH, np.full(4, np.nan))


_interval = st.tuples(
    st.integers(0, 2), st.integers(0, 2), st.integers(0, 30), st.integers(1, 15), st.integers(0, 4)
).map(lambda drawn: ((drawn[0], drawn[1], drawn[2], drawn[2] + drawn[3]), drawn[4] / 4))


def _in_a_loop(rows, truth, least: float) -> float:
    """Take proposals away one by one, as the protocol's description does."""
    found = []
    for recording, label, start, end in (row for row, _ in sorted(rows, key=lambda one: one[1])):
        best, place = 0.0, -1
        for index, (other, kind, begin, stop) in enumerate(truth):
            if (other, kind) == (recording, label):
                iou = (min(end, stop) - max(start, begin)) / (max(end, stop) - min(start, begin))
                if iou >= best:
                    best, place = iou, index
        found.append(place if best >= least else -1)

    def read(left):
        right = len({place for place in left if place >= 0})
        return (right / len(left), right / len(truth)) if left and truth else (0.0, 0.0)

    envelope, recall = read(found)
    score = 0.0
    for number, place in enumerate(found):
        if place >= 0:
            precision, lower = read(found[number + 1 :])
            envelope = max(envelope, precision)
            score += envelope * (recall - lower)
            recall = lower
    return score


@given(st.lists(_interval, max_size=12), st.lists(_interval, max_size=6), st.sampled_from(MANY_OVERLAPS))
def test_average_precision_is_that_of_the_loop(rows, truth, least):
    proposals = Proposals(Intervals.of([row for row, _ in rows]), np.array([value for _, value in rows], np.float64))
    intervals = Intervals.of([row for row, _ in truth])
    matched = overlaps(proposals.at, intervals).matched(least)
    score = average_precision(proposals.confidence, matched, len(intervals))
    assert score == pytest.approx(_in_a_loop(rows, [row for row, _ in truth], least))
    assert 0.0 <= score <= 1.0
    assert 0.0 <= voc_average_precision(proposals.confidence, matched, len(intervals)) <= 1.0


@given(st.lists(_interval, min_size=1, max_size=12), st.lists(_interval, min_size=1, max_size=6), st.randoms())
def test_the_order_of_proposals_matters_to_no_score_where_confidences_differ(rows, truth, random):
    # Distinct confidences: an order is then no more than a way to write a set down.
    numbered = [(row, number / 20) for number, (row, _) in enumerate(rows)]
    other = random.sample(numbered, len(numbered))
    intervals = Intervals.of([row for row, _ in truth])
    first, second = (
        proposal_scores(Proposals(Intervals.of([row for row, _ in each]), np.array([c for _, c in each])), intervals)
        for each in (numbered, other)
    )
    assert first == pytest.approx(second)


@given(st.permutations(range(6)))
def test_ties_of_equal_worth_change_nothing(order):
    # All right, each of another interval, or all wrong: which of them goes first cannot matter.
    confidence = np.full(6, 0.5)
    assert average_precision(confidence, np.array(order), 6) == 1.0
    assert average_precision(confidence, np.full(6, -1), 6) == 0.0


def test_frames_by_hand():
    # Classes 0, 1 and the background 2. Frames:   true 0 0 0 1 1 2 2 2, called 0 0 2 1 0 2 2 1.
    # Right: 5 of 8. Of the 5 action frames 3. F1: class 0: 2 * 2 / (3 + 3) = 2/3; class 1: 2 * 1 / (2 + 2) = 1/2;
    # background: 2 * 2 / (3 + 3) = 2/3. Means: 7/12 without the background, 11/18 with it.
    counts = FrameCounts.of(np.array([0, 0, 2, 1, 0, 2, 2, 1]), np.array([0, 0, 0, 1, 1, 2, 2, 2]), 3)
    assert counts.scores() == pytest.approx(
        {
            "frame_accuracy_percent": 62.5,
            "frame_accuracy_actions_percent": 60.0,
            "frame_f1_percent": 100 * 11 / 18,
            "frame_f1_actions_percent": 100 * 7 / 12,
        }
    )
    twice = (counts + counts).scores()
    assert twice == counts.scores()


def test_a_class_without_frames_is_no_part_of_a_mean():
    counts = FrameCounts.of(np.array([0, 0, 3]), np.array([0, 0, 3]), 4)
    assert set(counts.scores().values()) == {100.0}


def test_runs_are_the_longest_stretches_of_one_value():
    assert runs(np.array([3, 3, 0, 3, 3, 3])) == [(0, 2, 3), (2, 3, 0), (3, 6, 3)]
    assert runs(np.zeros(0, np.int64)) == []


def test_segments_by_hand():
    # Truth A [0, 10), B [10, 20), A [30, 40). Predicted A [0, 4), A [4, 10), B [12, 20), C [30, 40).
    # Overlaps: 4/10, 6/10, 8/10, none. From 0.1: both A find the first A, of which the earlier is right, the other
    # wrong; B right: 2 right of 4 predicted and 3 true: 4/7. From 0.5: the later A is right: also 4/7.
    truth = Intervals.of([(0, 0, 0, 10), (0, 1, 10, 20), (0, 0, 30, 40)])
    predicted = Intervals.of([(0, 0, 0, 4), (0, 0, 4, 10), (0, 1, 12, 20), (0, 2, 30, 40)])
    scores = segment_scores(predicted, truth)
    assert scores["segment_f1_10_percent"] == pytest.approx(100 * 4 / 7)
    assert scores["segment_f1_50_percent"] == pytest.approx(100 * 4 / 7)
    assert segment_scores(predicted, truth, [0.7])["segment_f1_70_percent"] == pytest.approx(100 * 2 / 7)
    # A A B C to A B A: leave one A out, exchange C for A: distance 2 of 4.
    assert scores["edit_percent"] == pytest.approx(50.0)
    assert set(segment_scores(truth, truth).values()) == {100.0}


def test_edits_are_averaged_over_recordings():
    # Recording 0: nothing was found of one: 0. Recording 1: the same: 1. Recording 2: B A for A B: distance 2 of 2.
    truth = Intervals.of([(0, 0, 0, 5), (1, 0, 0, 5), (2, 0, 0, 5), (2, 1, 5, 9)])
    predicted = Intervals.of([(1, 0, 0, 5), (2, 1, 0, 5), (2, 0, 5, 9)])
    assert segment_scores(predicted, truth)["edit_percent"] == pytest.approx(100 / 3)
