import json

import pytest
from report_page_reader import Page

from marrow.cli.main import main
from marrow.report.compare import compare_runs
from marrow.report.compare_page import write_comparison
from marrow.report.runs import read_runs


def compared(*folders):
    return compare_runs(read_runs(folders))


def test_seeds_are_one_row_and_settings_another(make_run):
    comparison = compared(make_run("a1", 1), make_run("a2", 2, wrong=24), make_run("b1", 1, width=32, wrong=10))
    assert comparison.warnings == []
    [ranking] = comparison.rankings
    assert ranking.columns == ["linear probe, pooled", "knn, pooled"]
    assert [row.name for row in ranking.rows] == ["MAMP · width 32", "MAMP · width 16"]
    best, other = ranking.rows
    # 10 of 40 wrong; of the 36 clean ones, 6. The other: 20 and 24 of 40 wrong, 50 % and 40 %.
    assert best.cells["linear probe, pooled"].official == (75.0, 0.0)
    assert best.cells["linear probe, pooled"].clean == (pytest.approx(100 * 30 / 36), 0.0)
    assert other.cells["linear probe, pooled"].official == (pytest.approx(45.0), pytest.approx(7.0710678))
    assert (other.seeds, other.cpu_seconds, other.steps) == ([1, 2], 160.0, 3.0)
    assert [run.percent for run in other.cells["linear probe, pooled"].runs] == [50.0, 40.0]
    # Right on the same clips and more: 30 points ahead, and the paired interval is above zero.
    assert ranking.lead[0] == pytest.approx(30.0)
    assert 0 < ranking.lead[1] < 30 < ranking.lead[2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"protocol": "xsub"}, "protocols: xview, xsub"),
        ({"store": "e" * 64}, "data (fingerprints of the stores): ffffffffffff, eeeeeeeeeeee"),
        ({"clips": 50}, "test clips of the same protocol"),
        ({"copies": 6}, "test clips of the same protocol"),
        ({"labels_used": 4}, "numbers of labelled training clips: 8, 4"),
    ],
)
def test_other_questions_are_another_ranking(make_run, changes, said):
    comparison = compared(make_run("a", 1), make_run("b", 1, width=32, **changes))
    assert len(comparison.rankings) == 2
    assert all(len(ranking.rows) == 1 and ranking.lead is None for ranking in comparison.rankings)
    assert said in comparison.warnings[0]


def test_heads_of_other_settings_are_another_column(make_run):
    comparison = compared(make_run("a", 1), make_run("b", 1, width=32, epochs=10))
    [ranking] = comparison.rankings
    assert "linear probe, pooled #1" in ranking.columns
    assert "linear probe, pooled #2" in ranking.columns
    assert all(len(row.cells) == 2 for row in ranking.rows), "nobody is ranked by the other's head"
    assert ranking.lead is None
    assert "epochs 100 / 10" in comparison.warnings[0]


def test_other_training_data_are_said_and_ranked(make_run, tmp_path):
    folders = [make_run("a", 1), make_run("b", 1, width=32)]
    for folder, clips in zip(folders, ("all clips", "training half of xview"), strict=True):
        path = folder / "encoder" / "encoder.json"
        path.parent.mkdir()
        provenance = {
            "method": "MAMP",
            "rows": clips,
            "store_fingerprint": "f" * 64,
            "settings": {"width": folder.name},
        }
        path.write_text(json.dumps({"kind": "k", "provenance": provenance}))
    comparison = compared(*folders)
    assert len(comparison.rankings) == 1
    assert "pre-trained on different clips: all clips of data ffffffffffff (a); training half" in comparison.warnings[0]


def test_the_page(make_run, tmp_path):
    folders = [
        make_run("a", 1),
        make_run("b", 1, width=32, protocol="xsub"),
        make_run("c", 1, width=64, evaluated=False),
    ]
    runs = read_runs(folders)
    page = Page(write_comparison(runs, compare_runs(runs), tmp_path / "compare.html"))
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.loads)
    assert "not all scored on the same thing (protocols: xview, xsub): one table for each" in page.said
    assert {"scores-1", "scores-2", "training-1", "repeat-1"} <= page.ids
    assert "Not evaluated yet" in page.said
    assert "accuracy, %" in page.scripts["figures"]


def test_the_command(make_run, tmp_path, capsys):
    folders = [str(make_run("a", 1)), str(make_run("b", 1, width=32, wrong=10))]
    assert main(["compare", *folders, "--out", str(tmp_path / "page.html")]) == 0
    shown = capsys.readouterr().out
    assert shown.index("width 32") < shown.index("width 16")
    assert "75.0" in shown
    assert (tmp_path / "page.html").exists()
    assert main(["compare", *folders, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rankings"][0]["rows"][0]["name"] == "MAMP · width 32"


def test_the_report_command(make_run, tmp_path, capsys):
    assert main(["report", str(make_run("a", 1)), "--no-clips", "--out", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.html")
    assert main(["report", str(tmp_path / "a"), "--store", str(tmp_path / "nowhere")]) == 1
    assert "there is no such folder" in capsys.readouterr().err
