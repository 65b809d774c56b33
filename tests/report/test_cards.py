"""Numbers that are no top-1 score, on the page and in its charts."""

from pathlib import Path

import numpy as np
import pytest
from measured_reports import (
    LABELS,
    detection_reports,
    evaluation_of,
    few_labels_reports,
    prediction_reports,
    retrieval_reports,
    walk,
)
from report_page_reader import Page

from marrow import SkeletonSequence, write_store
from marrow.report.cards import card_sentences, cards_html
from marrow.report.clips import ClipsOnReel, Neighbour, Query, ShownClips
from marrow.report.figures import Figures
from marrow.report.motion import motion_html
from marrow.report.page import write_report
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record
from marrow.store.format import Store
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.version_1 import declared
from marrow.viewer.motion import Reel


def _curves(figures: Figures, number: int = 0) -> dict[str, dict]:
    """Return the traces of a chart by name; of several parts of one, the first."""
    spec = list(figures.specs.values())[number]
    return {trace["name"]: trace for trace in reversed(spec["data"])}


@pytest.mark.parametrize(
    ("name", "words", "unit"),
    [
        ("top1_clean_percent", "top-1 accuracy, without copies", "%"),
        ("mpjpe_root_400ms_mm", "position error 400 ms ahead, root-centred", "mm"),
        ("map_actions_iou50_percent", "mean average precision over classes, overlap 0.5", "%"),
        ("segment_f1_25_percent", "F1 of segments, overlap 0.25", "%"),
        ("recall_at_5_percent", "recall at 5", "%"),
        ("frames_per_hug", "frames per hug", ""),
    ],
)
def test_numbers_of_version_1_are_said_in_plain_words(name, words, unit):
    quantity = declared(Report("any", {name: 1.0})).quantity(name)
    assert (quantity.words, quantity.unit) == (words, unit)


def test_accuracy_is_drawn_over_the_number_of_labels():
    figures = Figures()
    text = cards_html(evaluation_of(few_labels_reports(), labelled=True), figures)
    curves = _curves(figures)
    # Of seeds 1 and 2 the mean is 1.5 more than 30, 50 and 70.
    assert curves["trained"]["x"] == list(LABELS.values())
    assert curves["trained"]["y"] == [31.5, 51.5, 71.5]
    assert curves["from scratch"]["y"] == [21.5, 41.5, 61.5]
    # Two draws of three amounts in two seeds, 4 points below and above.
    single = curves["trained, single values"]
    assert sorted(zip(single["x"], single["y"], strict=True))[:4] == [(10, 27.0), (10, 28.0), (10, 35.0), (10, 36.0)]
    assert len(single["x"]) == 12
    layout = next(iter(figures.specs.values()))["layout"]
    assert layout["xaxis"]["type"] == "log"
    assert layout["xaxis"]["ticktext"] == ["10<br>1 %", "40<br>5 %", "160<br>20 %"]
    # The deviation of 1 and 2 is 0.7.
    assert "31.5 ± 0.7<small>[28.5, 34.5]</small><small>± 5.7 over draws</small><small>best epoch 32.5</small>" in text


def test_a_frozen_encoder_is_not_called_trained_from_scratch():
    text = cards_html(evaluation_of(retrieval_reports(), labelled=True), Figures())
    assert "random initialisation" in text
    assert "from scratch" not in text
    assert "from scratch" in cards_html(evaluation_of(prediction_reports()), Figures())


def test_errors_are_drawn_over_the_time_ahead_with_the_baselines():
    figures = Figures()
    text = cards_html(evaluation_of(prediction_reports()), figures)
    room, posture = _curves(figures, 0), _curves(figures, 1)
    assert set(room) == {"trained", "from scratch", "zero velocity", "constant velocity", "linear regression"}
    assert room["trained"]["x"] == [80, 160, 320, 400, 560, 1000]
    # 0.1 mm a millisecond and the mean of the seeds 1 and 2; half of it without the root.
    assert room["trained"]["y"] == pytest.approx([9.5, 17.5, 33.5, 41.5, 57.5, 101.5])
    assert posture["trained"]["y"] == pytest.approx([5.5, 9.5, 17.5, 21.5, 29.5, 51.5])
    assert room["zero velocity"]["y"] == pytest.approx([12.0, 24.0, 48.0, 60.0, 84.0, 150.0])
    dashes = [
        room[name]["line"]["dash"] for name in ("trained", "zero velocity", "constant velocity", "linear regression")
    ]
    assert dashes == ["solid", "dash", "dot", "dashdot"]
    assert "400 ms ahead" in text


def test_sets_of_test_windows_are_never_mixed():
    figures = Figures()
    reports = prediction_reports() + prediction_reports(suffix="8 samples")
    text = cards_html(evaluation_of(reports), figures)
    assert len(figures.specs) == 4
    assert "Test windows: main set" in text
    assert "Test windows: 8 samples" in text
    assert all(len(spec["data"]) == 5 for spec in figures.specs.values())


def test_detection_is_drawn_as_bars_beside_its_baselines():
    reports = detection_reports()
    reports[0].metrics["map_actions_iou50_shuffled_percent"] = 40.0
    figures = Figures()
    text = cards_html(evaluation_of(reports), figures)
    bars = _curves(figures)
    assert set(bars) == {"trained", "from scratch", "no encoder, nearest neighbours"}
    # The first number is drawn uppermost, and is the only one with an interval.
    assert bars["trained"]["x"] == [62.5]
    assert bars["trained"]["y"] == [6]
    assert bars["trained"]["error_x"]["array"] == [5.0]
    assert bars["trained"]["error_x"]["arrayminus"] == [5.0]
    every = [trace for trace in next(iter(figures.specs.values()))["data"] if trace["name"] == "trained"]
    assert sum(len(trace["x"]) for trace in every) == 7
    assert "trained, actions reordered" in text
    assert "All numbers" in text


def test_the_first_number_of_each_task_is_said_in_words():
    reports = few_labels_reports() + detection_reports() + prediction_reports()
    sentences = card_sentences(evaluation_of(reports, labelled=True))
    assert sentences == [
        "Learning from a share of the labels, 1 % (10 clips), top-1 accuracy: 31.5 ± 0.7 % trained, "
        "21.5 ± 0.7 % from scratch.",
        "Action detection, mean average precision over classes, overlap 0.5: 62.5 % trained, 50.5 % from scratch, "
        "32.5 % no encoder.",
        "Motion prediction, position error 400 ms ahead: 41.5 ± 0.7 mm trained, 49.5 ± 0.7 mm from scratch, "
        "60.0 mm zero velocity, 80.0 mm constant velocity, 56.0 mm linear regression.",
    ]


def _saved(make_run, evaluation: EvaluationReport):
    runs = []
    for facts in evaluation.runs:
        folder = make_run(facts.name, facts.seed, evaluated=False)
        evaluation.of_run(facts.name).save(folder / "reports" / "xsub.json")
        runs.append(folder)
    return runs


def test_a_page_without_a_class_per_clip_leaves_out_what_needs_one(make_run, tmp_path):
    runs = _saved(make_run, evaluation_of(detection_reports() + prediction_reports()))
    page = Page(write_report(runs, tmp_path / "report.html"))
    for title in ("Action detection", "Detected actions over time", "Motion prediction", "Forecasts, moving", "Notes"):
        assert f"<h3>{title}</h3>" in page.text
    for title in ("Top-1 accuracy", "Trained minus baseline", "Confusion matrix", "Gain by class"):
        assert f"<h3>{title}</h3>" not in page.text
    assert "24 training and 12 test recordings, which have no label as a whole" in page.said
    assert "Motion prediction, position error 400 ms ahead" in page.said
    assert "shown to pass" not in page.said
    assert not any(trace["type"] == "heatmap" for each in page.given("figures").values() for trace in each["data"])


def test_recognition_and_other_tasks_share_a_page(make_run, tmp_path):
    run = make_run("run1", 1, protocol="xsub")
    path = run / "reports" / "xsub.json"
    evaluation = EvaluationReport.load(path)
    # What predicts no class per clip comes first: charts by class are still about what does.
    hugs = Report("hugging/warm", {"hugs": 3.0}, seed=1)
    evaluation.reports = [*map(declared, few_labels_reports((1,))), *evaluation.reports, hugs]
    evaluation.save(path)
    page = Page(write_report([run], tmp_path / "report.html"))
    for title in ("Top-1 accuracy", "Confusion matrix", "Learning from a share of the labels", "Hugging"):
        assert f"<h3>{title}</h3>" in page.text
    assert "--tasks semi_supervised,linear_probe,knn,hugging" in page.said


def _store_without_labels(folder: Path, seconds: float) -> Store:
    joints = np.tile(walk(round(25 * seconds))[None].astype(np.float32), (1, 1, 1, 1))
    sequences = [
        SkeletonSequence(joints, np.ones(joints.shape[:3], bool), 25.0, KINECT_V1_20, Record(f"clip{number}"))
        for number in range(2)
    ]
    return write_store(folder, sequences, source="test", classes=("nod",))


@pytest.mark.parametrize(("seconds", "played"), [(30.0, 6.0), (4.0, 4.0)])
def test_of_long_recordings_a_part_is_played(tmp_path, seconds, played):
    store, reel = _store_without_labels(tmp_path / "store", seconds), Reel(KINECT_V1_20)
    clips = ClipsOnReel(store, reel, 60)
    assert clips.number(0) == 0
    assert reel.motions[0].seconds == played
    assert clips.label(0) == "no label"


def test_neighbours_without_labels_are_neither_right_nor_wrong():
    shown = ShownClips(
        Reel(KINECT_V1_20), "test", queries=[Query(0, "no label", [Neighbour(1, "no label", None, 0.5)])]
    )
    text = motion_html(shown, Figures())
    assert "cosine 0.50" in text
    assert "same class" not in text
    assert "another class" not in text
