import re

import numpy as np
import pytest
from report_page_reader import Page

from marrow.errors import ConfigError, DataError, StoreError
from marrow.report.page import write_report


def test_a_page_is_whole_and_needs_nothing(make_run, tmp_path):
    runs = [make_run(f"run{seed}", seed) for seed in (1, 2)]
    page = Page(write_report(runs, tmp_path / "out" / "report.html", title="Walks & talks"))
    # Nothing is loaded: links lead to places on the page, and the browser is told to refuse everything else.
    assert page.loads
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.loads)
    assert "default-src 'none'" in page.text
    code = "".join(text for name, text in page.scripts.items() if name.startswith("code-"))
    assert not re.search(r"https?://|import\s*\(|import\s+\w+ from|fetch\(|XMLHttpRequest|WebSocket", code)
    assert not re.search(r"url\(|@import", page.text.partition("</style>")[0])
    # What comes from outside is text, never HTML.
    assert "<h1>Walks &amp; talks</h1>" in page.text
    assert "sit <down>" not in page.text.replace("sit \\u003cdown>", "")
    assert page.text.count("<h2") == len(re.findall(r"<h2[^>]*>", page.text))


def test_the_parts_that_need_no_clips(make_run, tmp_path):
    runs = [make_run(f"run{seed}", seed) for seed in (1, 2)]
    page = Page(write_report(runs, tmp_path / "report.html"))
    assert {"verdict-1", "scores-1", "training-1", "motion", "repeat-1", "plotly", "figures"} <= page.ids
    # 16 of 36 clean clips right (the four copies are wrong and left out), against 36 of 36 for raw coordinates.
    assert "does not pass the raw-coordinate baseline: 44.4 points below it" in page.said
    assert "2 runs (seeds 1, 2)" in page.said
    assert "Too early to tell" in page.said or "too early to tell" in page.said
    assert "The store of run1 is not at stores/x any more" in page.said
    figures = page.given("figures")
    kinds = {trace["type"] for figure in figures.values() for trace in figure["data"]}
    assert {"heatmap", "bar", "scatter"} <= kinds
    titles = re.findall(r"<h4>([^<]+)</h4>", page.text)
    assert {"Loss", "Speed"} <= set(titles), "numbers that nobody foresaw are drawn as well"
    # Every chart says in words what it shows.
    labels = re.findall(r"class='plot' id='[^']+' role='img' aria-label='([^']+)'", page.text)
    assert len(labels) == len(figures)


def test_the_commands_repeat_the_runs(make_run, tmp_path):
    runs = [make_run(f"run{seed}", seed) for seed in (1, 2)]
    said = Page(write_report(runs, tmp_path / "report.html")).said
    assert f"--out {runs[1]}" in said
    assert "--encoder.width 16" in said
    assert "--max_cpu_seconds 60.0 " in said
    assert "--seed 2" in said
    assert "--method mamp" in said
    assert "--protocol xview --tasks linear_probe,knn --baselines random,raw" in said


def test_a_run_that_is_not_evaluated_yet_says_what_to_do(make_run, tmp_path):
    run = make_run("young", 1, evaluated=False)
    page = Page(write_report([run], tmp_path / "report.html"))
    assert f"Not evaluated yet. Run: marrow evaluate {run} --store stores/x --protocol xview" in page.said
    assert "training-1" in page.ids
    assert "scores-1" not in page.ids


def test_other_settings_are_another_experiment(make_run, tmp_path):
    runs = [make_run("a", 1), make_run("b", 1, width=32)]
    page = Page(write_report(runs, tmp_path / "report.html"))
    assert {"verdict-1", "verdict-2"} <= page.ids
    assert "MAMP · width 16" in page.said
    assert "MAMP · width 32" in page.said


@pytest.mark.parametrize("count", [10, 60, 120])
def test_many_classes(make_run, tmp_path, count):
    classes = tuple(f"class number {number}" for number in range(count))
    run = make_run("run", 1, classes=classes, clips=3 * count, wrong=count)
    page = Page(write_report([run], tmp_path / "report.html"))
    [heat] = [f for f in page.given("figures").values() if f["data"][0]["type"] == "heatmap"]
    shares = np.array(heat["data"][0]["z"])
    assert shares.shape == (count, count)
    # Each class has three clips; the first one was taken for the next class.
    assert shares[0, 0] == pytest.approx(66.7)
    assert shares[0, 1] == pytest.approx(33.3)
    [bars] = [f for f in page.given("figures").values() if f["data"][0]["type"] == "bar"]
    gains = bars["data"][0]["x"]
    assert len(gains) == count
    assert gains == sorted(gains)
    assert len(page.text) < 4_000_000


def test_what_is_left_out_is_said_at_once_as_well(make_run, tmp_path, caplog):
    run = make_run("a", 1)
    with pytest.raises(ConfigError, match="device must be"):
        write_report([run], tmp_path / "report.html", device="tpu")
    write_report([run], tmp_path / "report.html")
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "lacks moving skeletons" in warning


def test_what_is_no_run_is_said(make_run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds neither a log nor an encoder"):
        write_report([tmp_path / "empty"], tmp_path / "report.html")
    with pytest.raises(DataError, match="no such folder"):
        write_report([tmp_path / "nowhere"], tmp_path / "report.html")
    run = make_run("run", 1)
    (make_run("tuned", 1) / "head.json").write_text("{}")
    with pytest.raises(DataError, match="is a recogniser of `marrow finetune`"):
        write_report([run, tmp_path / "tuned"], tmp_path / "report.html")
    with pytest.raises(DataError, match="each of them once"):
        write_report([run, run], tmp_path / "report.html")
    with pytest.raises(StoreError, match="no such folder"):
        write_report([run], tmp_path / "report.html", store=tmp_path / "nowhere")
    (run / "reports" / "xview.json").write_text('{"version": 1}')
    with pytest.raises(DataError, match="cannot be read as an evaluation report"):
        write_report([run], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
