"""Charts by class: which task they are about, and what it gained."""

import pytest

from marrow.report.classes import classes_html, main_reports
from marrow.report.figures import Figures
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport, RunFacts
from marrow.tasks.numbers import About

LABEL = [0, 0, 0, 0, 1, 1]
NEAREST = About("nearest", "Nearest", by_class=False, beside="nearest/raw")
PROBE = About("probe", "Probe", label="my probe", beside="probe/raw")


def report(about, predicted, source="trained", seed=0):
    task = about.beside if source == "raw" else about.kind
    return Report(task, {}, declared=about, predictions={"top1": predicted}, source=source, seed=seed)


def evaluation_of(*reports):
    facts = RunFacts("run", 0, {}, "abc")
    copied = [False] * len(LABEL)
    return EvaluationReport("xsub", "f" * 64, ["a", "b"], 8, list(range(6)), LABEL, copied, [facts], list(reports))


def test_a_task_says_whether_charts_by_class_are_about_it():
    nearest, probe = report(NEAREST, LABEL), report(PROBE, LABEL)
    raw = report(PROBE, LABEL, "raw")
    assert main_reports(evaluation_of(nearest, probe, raw), "trained") == [probe]
    assert main_reports(evaluation_of(nearest, probe, raw), "raw") == [raw]
    # Where there is no other.
    assert main_reports(evaluation_of(nearest, raw), "trained") == [nearest]
    assert main_reports(evaluation_of(raw), "trained") == []


def test_confusion_and_gain_are_counted():
    seeds = [report(PROBE, [0, 0, 0, 1, 1, 1], seed=0), report(PROBE, [0, 0, 1, 1, 1, 1], seed=1)]
    figures = Figures()
    text = classes_html(evaluation_of(*seeds, report(PROBE, [1, 1, 0, 0, 0, 0], "random")), figures)
    heat, gains = (spec["data"][0] for spec in figures.specs.values())
    # Of the eight clips of class a, three were taken for b: 37.5 %.
    assert heat["z"] == [[62.5, 37.5], [0.0, 100.0]]
    assert "My probe, trained encoders" in text
    assert "a → b (37 %)" in text
    # Recalls of 62.5 and 100 % against 50 and 0 %.
    assert sorted(gains["x"]) == pytest.approx([12.5, 100.0])
