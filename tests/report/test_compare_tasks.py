"""Every task in a comparison: few labels, baselines, and tables of numbers that are no top-1 score."""

import json
from dataclasses import asdict

import pytest
from measured_reports import detection_reports, prediction_reports, retrieval_reports
from report_page_reader import Page

from marrow.cli.main import main
from marrow.report.compare import compare_runs
from marrow.report.compare_page import markdown, text_tables, write_comparison
from marrow.report.runs import read_runs
from marrow.tasks.base import Report
from marrow.tasks.version_1 import declared


@pytest.fixture
def make_measured(make_run):
    """Write a run whose evaluation holds other reports: `make_measured("name", seed, reports, width=32)`."""

    def make(name, seed, reports, *, keep=False, settings=None, **changes):
        folder = make_run(name, seed, **changes)
        path = folder / "reports" / "xview.json"
        values = json.loads(path.read_text())
        added = []
        for report in reports:
            plain = asdict(declared(report))
            if report.source != "raw":
                plain["seed"] = seed
            plain["fingerprints"] = {"run": name} if report.source == "trained" else {}
            added.append(plain)
        values["reports"] = (values["reports"] if keep else []) + added
        values["settings"] |= settings or {}
        path.write_text(json.dumps(values))
        return folder

    return make


def compared(*folders):
    return compare_runs(read_runs(folders))


def columns(table):
    return [scoring.name for scoring in table.scorings]


def of_draws(source, *wrong_of_draw, task="semi_supervised/5 %", start="from pre-training"):
    """Return a report whose draws are wrong about the first so many of 40 clips, of which 4 are copies."""
    draws = [
        {"seed": seed, "labels": 4, "predictions": [clip % 2 ^ (clip < wrong) for clip in range(40)]}
        for seed, wrong in enumerate(wrong_of_draw)
    ]
    return Report(
        task,
        {},
        settings={"draws": len(draws), "start": start},
        cost={"steps_done": [wrong_of_draw[0]]},
        noted={"note": f"took {wrong_of_draw[0]} s"},
        num_labels_used=4,
        source=source,
        detail={"draws": draws},
    )


def worse(reports, by, source="trained"):
    """Return reports in which all numbers of a source are changed by so much."""
    for report in reports:
        if report.source == source:
            report.metrics = {name: value + by for name, value in report.metrics.items()}
    return reports


def test_a_share_of_the_labels_is_one_column_whichever_other_shares_were_asked_for(make_measured):
    asked_alone, asked_with_more = (of_draws("trained", 8, 12) for _ in range(2))
    asked_alone.asked["fractions"], asked_with_more.asked["fractions"] = [0.05], [0.05, 0.1]
    more = of_draws("trained", 4, 4, task="semi_supervised/10 %")
    more.asked["fractions"] = [0.05, 0.1]
    comparison = compared(
        make_measured("a", 1, [asked_alone]), make_measured("b", 1, [asked_with_more, more], width=32)
    )
    [table] = comparison.rankings[0].tables
    assert columns(table) == ["semi supervised, 5 %", "semi supervised, 10 %"]


def test_few_labels_are_columns_with_the_spread_over_draws(make_measured):
    fresh = of_draws("random", 20, 24, start="from scratch")
    comparison = compared(
        make_measured("a", 1, [of_draws("trained", 8, 12), fresh]),
        make_measured("b", 1, [of_draws("trained", 4, 4), fresh], width=32),
    )
    [ranking] = comparison.rankings
    [table] = ranking.tables
    assert columns(table) == ["semi supervised, 5 %"]
    assert [row.name for row in table.rows] == ["MAMP · width 32", "MAMP · width 16"]
    best, other = (row.cells["semi supervised, 5 %"] for row in table.rows)
    # 8 and 12 of 40 wrong: 80 and 70, mean 75, deviation 10 / sqrt(2). Of the 36 clean ones, 4 and 8 wrong.
    assert (other["official"].mean, other["official"].std) == (75.0, 0.0)
    assert (other["clean"].mean, other["clean"].std) == (pytest.approx(100 * 30 / 36), 0.0)
    assert (other["official"].draws_std, other["clean"].draws_std) == pytest.approx((50**0.5, 100 * 4 / 36 / 2**0.5))
    assert best["official"].mean == 90.0
    # 90 minus 75, right about the same clips and more.
    assert table.lead is not None
    assert table.lead[0] == pytest.approx(15.0)
    assert table.lead[1] > 0
    assert [row.name for row in table.baselines] == [f"from scratch (MAMP · width {width})" for width in (16, 32)]
    [text] = text_tables(ranking)
    assert text.lines[1][2] == "75.0 (draws ± 7.1)"
    assert "draws of the labels" in text.title


def test_several_seeds_have_their_own_spread(make_measured):
    folders = [make_measured(f"a{seed}", seed, [of_draws("trained", 8 * seed, 8 * seed)]) for seed in (1, 2)]
    [ranking] = compared(*folders).rankings
    # 80 and 60; the same in every draw.
    official = ranking.tables[0].rows[0].cells["semi supervised, 5 %"]["official"]
    assert (official.mean, official.std) == (70.0, pytest.approx(200**0.5))
    assert text_tables(ranking)[0].lines[0][2] == "70.0 ± 14.1"


def test_other_draws_are_another_column(make_measured):
    a = make_measured("a", 1, [of_draws("trained", 8, 12)])
    b = make_measured("b", 1, [of_draws("trained", 8)], width=32)
    comparison = compared(a, b)
    assert columns(comparison.rankings[0].tables[0]) == ["semi supervised, 5 % #1", "semi supervised, 5 % #2"]
    assert any("draws 2 / 1" in warning for warning in comparison.warnings)


def test_top1_stands_beside_its_baselines(make_run):
    [ranking] = compared(make_run("a", 1), make_run("b", 1, width=32, wrong=10)).rankings
    [top1] = ranking.tables
    # The encoders are of different widths: each has a random initialisation of its own, 24 and 14 of 40 wrong. The
    # coordinates are the same for both: 4 wrong, which is what the linear heads stand beside; nothing for neighbours.
    assert [(row.name, row.source) for row in top1.baselines] == [
        ("random initialisation (MAMP · width 16)", "random"),
        ("random initialisation (MAMP · width 32)", "random"),
        ("raw coordinates", "raw"),
    ]
    of_a, of_b, raw = top1.baselines
    assert [row.cells["linear probe, pooled"]["official"].mean for row in (of_a, of_b, raw)] == [40.0, 65.0, 90.0]
    assert "knn, pooled" not in raw.cells
    assert (of_a.seeds, raw.seeds) == ([1], [])
    [table] = text_tables(ranking)
    assert table.lines[-1][:3] == ["raw coordinates", "–", "90.0"]
    assert (4, 2) in table.best


def test_the_same_encoder_has_one_random_initialisation(make_run):
    folders = [make_run("a", 1), make_run("b", 1)]
    for folder, decay in zip(folders, (0.1, 0.2), strict=True):
        path = folder / "reports" / "xview.json"
        values = json.loads(path.read_text())
        values["runs"][0]["description"]["provenance"]["settings"]["decay"] = decay
        path.write_text(json.dumps(values))
    [table] = compared(*folders).rankings[0].tables
    assert [row.name for row in table.rows] == ["MAMP · decay 0.1", "MAMP · decay 0.2"]
    assert [row.name for row in table.baselines] == ["random initialisation", "raw coordinates"]


def test_forecasts_are_ranked_by_the_lowest_error(make_measured):
    def reports(more):
        return worse(prediction_reports(seeds=(1,)), more)

    a, b = make_measured("a", 1, reports(0.0)), make_measured("b", 1, reports(3.0), width=32)
    comparison = compared(b, a)
    [ranking] = comparison.rankings
    [table] = ranking.tables
    assert not table.is_top1
    assert [row.name for row in table.rows] == ["MAMP · width 16", "MAMP · width 32"]
    assert [row.name for row in table.baselines[-3:]] == ["zero velocity", "constant velocity", "linear regression"]
    assert [(each.short, each.unit, each.better) for each in list(table.columns.values())[:2]] == [
        ("80 ms", "mm", "lower"),
        ("160 ms", "mm", "lower"),
    ]
    assert [each.short for each in list(table.columns.values())[6:8]] == ["80 ms, root-centred", "160 ms, root-centred"]
    assert len(table.columns) == 12
    # 0.1 mm a millisecond and the seed: 9 mm after 80 ms, 3 more for the other; zero velocity 0.1 * 80 * 1.5.
    shown = text_tables(ranking)[0]
    assert [line[2] for line in shown.lines[:2]] == ["9.0", "12.0"]
    assert shown.lines[-3][:3] == ["zero velocity", "–", "12.0"]
    assert {line for line, column in shown.best if column == 2} == {0}
    assert "Motion prediction in mm, lower is better, on xview" in shown.title
    assert shown.head[-3:] == ["CPU time", "steps", "parameters"]


def test_detection_shows_its_main_numbers_and_keeps_all(make_measured):
    shuffled = {"frame_f1_actions_shuffled_percent": 40.0}
    reports = detection_reports()
    for report in reports:
        report.metrics |= shuffled
    comparison = compared(make_measured("a", 1, reports))
    [table] = comparison.rankings[0].tables
    assert [each.short for each in table.columns.values()] == [
        "frame F1",
        "frame accuracy",
        "mAP over classes, overlap 0.5",
        "mAP over recordings, overlap 0.5",
        "segment F1, overlap 0.5",
        "edit score",
        "frame F1, actions reordered",
    ]
    assert [row.name for row in table.baselines] == ["from scratch", "raw coordinates, nearest neighbours"]
    [row] = comparison.plain()["rankings"][0]["measured"][0]["rows"]
    assert row["numbers"]["ap_2d_percent"]["mean"] == 33.0
    assert row["numbers"]["map_actions_iou50_percent"]["low"] == 57.5
    assert len(row["numbers"]) == len(reports[0].metrics) > len(table.columns)


def test_retrieval_stands_below_top1(make_measured):
    comparison = compared(make_measured("a", 1, retrieval_reports(), keep=True))
    [ranking] = comparison.rankings
    _, table = ranking.tables
    assert [each.short for each in table.columns.values()] == ["recall@1", "recall@5", "mAP"]
    assert table.headline == "map_percent"
    assert [row.name for row in table.baselines] == ["random initialisation"]
    text = markdown(comparison)
    assert text.index("Top-1 in percent on xview") < text.index("Retrieval in percent, higher is better, on xview")
    assert "| MAMP | 1 | **60.0** | **80.0** | **40.0** |" in text
    assert "| random initialisation | 1 | 40.0 | 60.0 | 20.0 |" in text


def test_what_was_learned_in_different_ways_is_in_different_tables(make_measured):
    def reports(steps):
        found = detection_reports()
        found[0].settings |= {"steps": steps}
        found[0].cost |= {"training_cpu_seconds": steps / 7}
        return found

    a, b = make_measured("a", 1, reports(100)), make_measured("b", 1, reports(50), width=32)
    comparison = compared(a, b)
    [ranking] = comparison.rankings
    assert [table.title for table in ranking.tables] == ["Action detection #1", "Action detection #2"]
    assert [[row.name for row in table.rows] for table in ranking.tables] == [
        ["MAMP · width 16"],
        ["MAMP · width 32"],
    ]
    assert any("Action detection came about in different ways (steps 100 / 50)" in each for each in comparison.warnings)


@pytest.mark.parametrize("transfer", [True, {"Head": "head"}, {}])
def test_adapted_encoders_are_not_ranked_with_others(make_measured, transfer):
    a = make_measured("a", 1, retrieval_reports())
    b = make_measured("b", 1, retrieval_reports(), width=32, settings={"transfer": transfer})
    comparison = compared(a, b)
    assert [len(ranking.tables[0].rows) for ranking in comparison.rankings] == [1, 1]
    assert "--transfer: no, yes" in comparison.warnings[0]
    alike = make_measured(
        "c", 1, retrieval_reports(), width=64, settings={"transfer": False, "drop_duplicates": "test"}
    )
    assert compared(a, alike).warnings == []
    assert len(compared(a, alike).rankings[0].tables[0].rows) == 2


def test_the_page_and_the_command(make_measured, tmp_path, capsys):
    folders = [
        make_measured("a", 1, [*prediction_reports(seeds=(1,)), *retrieval_reports()]),
        make_measured("b", 1, worse(prediction_reports(seeds=(1,)), 3.0), width=32),
    ]
    runs = read_runs(folders)
    page = Page(write_comparison(runs, compare_runs(runs), tmp_path / "compare.html"))
    assert "Motion prediction in mm, lower is better, on xview" in page.said
    assert "xview, Motion prediction, 80 ms: MAMP · width 16 is first (9.0 mm)" in page.said
    assert "Retrieval, recall@1: only MAMP · width 16 is scored (60.0 %)" in page.said
    assert "<b>9.0</b>" in (tmp_path / "compare.html").read_text()

    words = ["compare", *map(str, folders)]
    assert main([*words, "--markdown", str(tmp_path / "tables.md")]) == 0
    shown = capsys.readouterr().out
    # Twelve columns are more than fit: nothing is cut off.
    assert "constant velocity" in shown
    assert "1000 ms" in shown
    assert shown.count("…") == 0
    text = (tmp_path / "tables.md").read_text()
    assert main([*words, "--markdown", "-"]) == 0
    assert capsys.readouterr().out == text
    # Wide, so on its side: both experiments, from scratch (0.12 mm a millisecond and the seed) each, and the raw ones.
    assert "| 80 ms | **9.0** | 12.0 | 10.6 | 10.6 | 12.0 | 16.0 | 11.2 |" in text
    assert main([*words, "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)["rankings"][0]["measured"][0]["rows"][0]["numbers"]
    assert numbers["mpjpe_1000ms_mm"]["mean"] == 101.0
    assert main([*words, "--markdown", "-", "--json"]) == 2
    assert "choose one" in capsys.readouterr().err
    assert main([*words, "--markdown", "tables.html"]) == 2
    assert "must end in .md, or be -" in capsys.readouterr().err
