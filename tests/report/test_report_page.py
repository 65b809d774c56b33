import re
from html.parser import HTMLParser

import numpy as np
import pytest

from marrow.errors import DataError
from marrow.report.charts import Line, Mark, confusion_chart, interval_chart, line_chart, ticks
from marrow.report.page import write_report
from marrow.tasks.base import Report
from marrow.tasks.evaluate import EvaluationReport, RunFacts


class Balanced(HTMLParser):
    """Complains where a tag is not closed."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _write_run(folder, seed, *, width=16):
    label = [0, 0, 1, 1] * 10
    description = {
        "kind": "patch_transformer",
        "config": {"width": width},
        "provenance": {"method": "MAMP", "seed": seed, "settings": {"seed": seed, "out": str(folder)}},
    }

    def report(source, task, name, wrong):
        predicted = [1 - value if place < wrong else value for place, value in enumerate(label)]
        prints = {"run": folder.name} if source == "trained" else {}
        return Report(
            task,
            {},
            predictions={name: predicted},
            seed=0 if source == "raw" else seed,
            source=source,
            fingerprints=prints,
        )

    reports = [
        report("trained", "linear_probe/pooled", "top1_last", 20),
        report("trained", "knn/pooled", "top1", 18 + seed),
        report("random", "linear_probe/pooled", "top1_last", 24),
        report("raw", "ridge/raw", "top1", 4),
    ]
    facts = RunFacts(folder.name, seed, description, "abc")
    copied = [True] * 4 + [False] * 36
    evaluation = EvaluationReport(
        "xview",
        "f" * 64,
        ["sit <down>", "stand & walk"],
        8,
        list(range(40)),
        label,
        copied,
        [facts],
        reports,
        ["A note."],
    )
    evaluation.save(folder / "reports" / "xview.json")
    log = [f'{{"step": {step}, "loss": {1 / step}, "loss_of_mean": 1.0, "cpu_seconds": 5}}\n' for step in (1, 2, 3)]
    (folder / "log.jsonl").write_text("".join(log))
    return folder


def test_page_is_whole_and_needs_nothing(tmp_path):
    runs = [_write_run(tmp_path / f"run{seed}", seed) for seed in (1, 2)]
    page = write_report(runs, tmp_path / "out" / "report.html", title="Walks & talks").read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    # Nothing is loaded from anywhere; the one address is the name of the SVG namespace.
    assert "<script" not in page
    assert set(re.findall(r"https?://[^\"' ]+", page)) == {"http://www.w3.org/2000/svg"}
    assert "Walks &amp; talks" in page
    assert "sit &lt;down&gt;" in page
    assert "sit <down>" not in page
    assert "does not pass the raw-coordinate baseline" in page
    assert "2 runs (seeds 1, 2)" in page
    assert "run1: 0.333 after 3 steps, 5 CPU s" in page
    assert "loss of predicting the mean" in page
    assert page.count("<h2>") == 1


def test_other_settings_are_another_experiment(tmp_path):
    runs = [_write_run(tmp_path / "a", 1), _write_run(tmp_path / "b", 1, width=32)]
    page = write_report(runs, tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<h2>") == 2


def test_runs_without_reports_are_said(tmp_path):
    with pytest.raises(DataError, match="run `marrow evaluate` first"):
        write_report([tmp_path], tmp_path / "report.html")


def test_ticks_are_round():
    assert ticks(0, 1) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(42, 83) == [50.0, 60.0, 70.0, 80.0]
    assert ticks(3, 3) == [3]


def test_marks_stand_where_the_scale_says():
    chart = interval_chart([("knn pooled", [Mark("a", 50.0, 40.0, 60.0, "#111111")])], "t")
    # The scale runs from 40 to 60 between 132 and 520 - 24: its middle is 314.
    assert '<circle cx="314.0"' in chart


def test_curves_leave_out_what_is_not_finite():
    chart = line_chart([Line("a", [1, 2, 3], [1.0, float("nan"), 3.0], "#111111")], "t", "x", "y")
    points = re.search(r'points="([^"]+)"', chart)
    assert len(points[1].split()) == 2
    assert line_chart([Line("a", [1], [float("nan")], "#111111")], "t", "x", "y") == ""


@pytest.mark.parametrize("count", [2, 120])
def test_confusion_matrix_fits_few_and_many_classes(count):
    chart = confusion_chart(np.eye(count, dtype=np.int64) * 3, [f"class {number}" for number in range(count)], "t")
    assert chart.count("<rect") == count * count
    assert (">100</text>" in chart) == (count == 2)
