"""Reports of version 1 are read as those of today, and of other versions it is said how to make them anew."""

import json
from dataclasses import asdict

import pytest

from marrow.errors import DataError
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.version_1 import declared


def _file(tmp_path, version, **changes):
    """Write an evaluation whose one report is of version 1: one dictionary of settings, and names."""
    report = asdict(Report("action_detection", {}, **changes))
    newer = ("declared", "quantities", "asked", "cost", "noted")
    values = asdict(EvaluationReport("xsub", "f" * 64, ["nod"], 1, [1], [0], [False], [], []))
    values |= {"version": version, "reports": [{name: of for name, of in report.items() if name not in newer}]}
    path = tmp_path / "xsub.json"
    path.write_text(json.dumps(values))
    return path


def test_settings_are_sorted_and_numbers_are_described(tmp_path):
    settings = {"steps": 10, "steps_done": 7, "training_cpu_seconds": 2.5, "note": "said", "asked": {"steps": 10}}
    metrics = {"map_actions_iou50_percent": 40.0, "map_actions_iou50_shuffled_percent": 20.0}
    path = _file(tmp_path, 1, settings=settings)
    values = json.loads(path.read_text())
    values["reports"][0]["metrics"] = metrics
    path.write_text(json.dumps(values))
    evaluation = EvaluationReport.load(path)
    [report] = evaluation.reports
    assert report.metrics == metrics
    assert report.settings == report.asked == {"steps": 10}
    assert report.cost == {"steps_done": 7, "training_cpu_seconds": 2.5}
    assert report.noted == {"note": "said"}
    assert report.about.title == "Action detection"
    usual, shuffled = (report.quantity(name) for name in metrics)
    assert (usual.unit, usual.better) == ("%", "higher")
    assert (shuffled.of, shuffled.reading) == ("map_actions_iou50_percent", "actions reordered")

    # It is kept as of today, and the same.
    evaluation.save(path)
    assert json.loads(path.read_text())["version"] == 2
    assert EvaluationReport.load(path) == evaluation


def test_another_version_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"xsub.json: report version 3, .* Evaluate the run again"):
        EvaluationReport.load(_file(tmp_path, 3))


def test_reports_from_before_labels_were_declared_are_called_as_they_were():
    values = asdict(declared(Report("knn/pooled", {"top1_percent": 50.0})))
    for name in ("label", "by_class"):
        values["declared"].pop(name)
    about = Report.from_dict(values).about
    assert (about.name, about.by_class) == ("knn, pooled", False)
