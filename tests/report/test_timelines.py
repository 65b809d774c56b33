"""Pictures of detected actions: which recordings, where the segments are, and what they say."""

import re

import pytest
from measured_reports import CLASSES, detection_reports, evaluation_of, recording
from report_page_reader import Page

from marrow.report.timelines import Timeline, ticks, timelines_html


def _recordings(text: str) -> list[str]:
    return re.findall(r"<b>(Best|Median|Worst)</b> · (\w+) · (\d+) %", text)


def test_the_best_the_median_and_the_worst_are_shown_and_all_can_be_opened():
    # 0, 9, 3, 4 and 5 of 9 segments are wrong, all of one length: 100, 0, 67, 56 and 44 % agree.
    text = timelines_html(evaluation_of(detection_reports()))
    assert _recordings(text) == [
        ("Best", "recording0", "100"),
        ("Median", "recording3", "56"),
        ("Worst", "recording1", "0"),
    ]
    opened = text.partition("<details>")[2]
    order = re.findall(r"<figcaption>(\w+) · (\d+) %", opened)
    assert order == [
        ("recording0", "100"),
        ("recording2", "67"),
        ("recording3", "56"),
        ("recording4", "44"),
        ("recording1", "0"),
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_few_recordings_are_all_shown_once(count):
    text = timelines_html(evaluation_of(detection_reports([recording(number, number) for number in range(count)])))
    assert text.count("<figure>") == count
    assert "<details>" not in text


def test_agreement_counts_frames_with_an_action_alone():
    # 100 frames: 20 labelled, 10 of them found, and 10 that are none: 10 of 30 agree.
    line = Timeline.of(
        {"id": "a", "fps": 10.0, "frames": 100, "truth": [[0, 20, 1]], "predicted": [[10, 20, 1], [50, 60, 1]]}
    )
    assert line.agreement == pytest.approx(1 / 3)
    assert Timeline.of({"id": "a", "fps": 10.0, "frames": 100, "truth": [], "predicted": []}).agreement == 1.0


def test_segments_stand_where_they_are_in_time_and_are_named():
    one = {"id": "a", "fps": 10.0, "frames": 200, "truth": [[50, 100, 1]], "predicted": [[60, 100, 99], [190, 900, 0]]}
    text = timelines_html(evaluation_of(detection_reports([one])))
    # Frames 50 to 100 of 200 are a quarter from 25 % on; what reaches beyond the end is cut there.
    assert "<svg x='25.00%' y='0' width='25.00%'" in text
    assert "<title>&lt;wave&gt;, labelled, 5.0 to 10.0 s</title>" in text
    assert "<title>class 99, predicted, 6.0 to 10.0 s</title>" in text
    assert "<svg x='95.00%' y='27' width='5.00%'" in text
    assert ">20 s</text>" in text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(20.0, [0, 5, 10, 15, 20]), (3.0, [0, 0.5, 1, 1.5, 2, 2.5, 3]), (170.0, [0, 30, 60, 90, 120, 150])],
)
def test_ticks_are_round(seconds, expected):
    assert ticks(seconds) == expected


def test_every_class_looks_different(tmp_path):
    """Eight colours, and for further classes lines over them: 51 classes are 51 fills."""
    many = {"id": "a", "fps": 30.0, "frames": 5100, "truth": [[100 * n, 100 * n + 90, n] for n in range(51)]}
    evaluation = evaluation_of(detection_reports([{**many, "predicted": many["truth"]}]))
    text = timelines_html(evaluation)
    patterns = dict(re.findall(r"<pattern id='([\w-]+)'[^>]*>(.*?)</pattern>", text))
    fills = re.findall(r"<rect class='segment'[^>]*fill='([^']+)'", text)
    looks = {patterns.get(fill.removeprefix("url(#").removesuffix(")"), fill) for fill in fills}
    assert len(looks) == 51
    assert "Colours of the 51 classes" in text
    (tmp_path / "page.html").write_text(f"<html><body>{text}</body></html>")
    assert all(name in Page(tmp_path / "page.html").said for name in CLASSES)


def test_without_detected_actions_there_is_no_picture():
    reports = detection_reports()
    assert timelines_html(evaluation_of(reports[1:])) == ""
    assert timelines_html(evaluation_of(detection_reports([]))) == ""
