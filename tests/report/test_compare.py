import json
from dataclasses import replace

import pytest
from report_page_reader import Page

from marrow.cli.main import main
from marrow.report.compare import compare_runs
from marrow.report.compare_page import write_comparison
from marrow.report.runs import experiments, labels, read_runs


def mean_and_std(number):
    return number.mean, number.std


def compared(*folders):
    return compare_runs(read_runs(folders))


def the_table(comparison):
    """Return the only table of a comparison."""
    [ranking] = comparison.rankings
    [table] = ranking.tables
    return table


def columns(table):
    return [scoring.name for scoring in table.scorings]


def test_settings_name_what_the_method_does_not(make_run):
    narrow, wide, other = read_runs([make_run("a", 1), make_run("b", 1, width=32), make_run("c", 1, width=64)])
    other = replace(other, settings=other.settings | {"method": "amr"}, description={"provenance": {}})
    assert labels([[narrow], [other], [wide]]) == ["MAMP · width 16", "AMR", "MAMP · width 32"]


def test_seeds_are_one_row_and_settings_another(make_run):
    comparison = compared(make_run("a1", 1), make_run("a2", 2, wrong=24), make_run("b1", 1, width=32, wrong=10))
    [warning] = comparison.warnings
    assert warning == "xview: the experiments differ in seeds (MAMP · width 16: 1, 2; MAMP · width 32: 1)."
    [ranking] = comparison.rankings
    [table] = ranking.tables
    assert columns(table) == ["linear probe, pooled", "knn, pooled"]
    assert [row.name for row in table.rows] == ["MAMP · width 32", "MAMP · width 16"]
    best, other = table.rows
    # 10 of 40 wrong; of the 36 clean ones, 6. The other: 20 and 24 of 40 wrong, 50 % and 40 %.
    assert mean_and_std(best.cells["linear probe, pooled"]["official"]) == (75.0, 0.0)
    assert mean_and_std(best.cells["linear probe, pooled"]["clean"]) == (pytest.approx(100 * 30 / 36), 0.0)
    assert mean_and_std(other.cells["linear probe, pooled"]["official"]) == (
        pytest.approx(45.0),
        pytest.approx(7.0710678),
    )
    experiment = ranking.experiments[other.name]
    assert (other.seeds, experiment.cpu_seconds, experiment.steps) == ([1, 2], 160.0, 3.0)
    assert [score.mean for score in other.points["linear probe, pooled"].values()] == [50.0, 40.0]
    # Right on the same clips and more: 30 points ahead, and the paired interval is above zero.
    assert table.lead is not None
    assert table.lead[0] == pytest.approx(30.0)
    assert 0 < table.lead[1] < 30 < table.lead[2]


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
    tables = [table for ranking in comparison.rankings for table in ranking.tables]
    assert [(len(table.rows), table.lead) for table in tables] == [(1, None), (1, None)]
    assert said in comparison.warnings[0]


def test_heads_of_other_settings_are_another_column(make_run):
    comparison = compared(make_run("a", 1), make_run("b", 1, width=32, epochs=10))
    table = the_table(comparison)
    assert "linear probe, pooled #1" in columns(table)
    assert "linear probe, pooled #2" in columns(table)
    assert all(len(row.cells) == 2 for row in table.rows), "nobody is ranked by the other's head"
    assert table.lead is None
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


def edited(folder, change):
    """Change a run's report on file."""
    path = folder / "reports" / "xview.json"
    report = json.loads(path.read_text())
    change(report)
    path.write_text(json.dumps(report))
    return folder


def trained(report, task="linear_probe/pooled"):
    return [each for each in report["reports"] if (each["source"], each["task"]) == ("trained", task)]


def test_runs_that_were_scored_in_the_same_way_have_no_warning(make_run):
    comparison = compared(make_run("a", 1), make_run("b", 1, width=32))
    assert comparison.warnings == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda report: report.update(reports=[each for each in report["reports"] if each["source"] != "random"]),
            "differ in the baselines that stand beside them (MAMP · width 16: random, raw; MAMP · width 32: raw)",
        ),
        (
            lambda report: report["settings"].update(precision="bf16"),
            "differ in precision (MAMP · width 16: -; MAMP · width 32: bf16)",
        ),
        (
            lambda report: report["settings"].update(near_copies=3),
            "differ in how many near copies were found among the test clips (MAMP · width 16: -; MAMP · width 32: 3)",
        ),
        (
            lambda report: report["settings"].update(quick=True),
            "MAMP · width 32 was evaluated with --quick: its scores show that everything runs",
        ),
    ],
)
def test_scores_of_one_table_that_came_about_differently_are_said(make_run, change, said):
    comparison = compared(make_run("a", 1), edited(make_run("b", 1, width=32), change))
    assert len(comparison.rankings) == 1
    assert any(said in warning for warning in comparison.warnings)


def test_seeds_of_one_experiment_in_different_precision_are_said(make_run):
    folders = [make_run("a1", 1), make_run("a2", 2)]
    for folder, precision in zip(folders, ("fp32", "bf16"), strict=True):
        edited(folder, lambda report, precision=precision: report["settings"].update(precision=precision))
    [warning] = compared(*folders).warnings
    assert "differ in precision (MAMP: fp32, bf16)" in warning


def test_other_draws_of_the_labels_are_said(make_run):
    def drawn(seed):
        def change(report):
            for each in trained(report):
                each["noted"]["label_seed_used"] = seed

        return change

    folders = [make_run("a", 1), make_run("b", 1, width=32)]
    for folder in folders:
        edited(folder, drawn(5))
    assert compared(*folders).warnings == []
    edited(folders[1], drawn(6))
    [warning] = compared(*folders).warnings
    assert "are different draws (MAMP · width 16: [5]; MAMP · width 32: [6])" in warning


def test_another_share_of_the_labels_is_another_column(make_run):
    def fewer(report):
        trained(report)[0]["num_labels_used"] = 4

    comparison = compared(make_run("a", 1), edited(make_run("b", 1, width=32), fewer))
    table = the_table(comparison)
    assert {"linear probe, pooled #1", "linear probe, pooled #2"} <= {*columns(table)}
    assert table.lead is None
    assert "was learned in different ways (labels 8 / 4)" in comparison.warnings[0]


def test_the_last_epoch_is_not_ranked_with_a_score_without_epochs(make_run):
    def without_epochs(report):
        for each in trained(report):
            each["predictions"] = {"top1": each["predictions"]["top1_last"]}

    comparison = compared(make_run("a", 1), edited(make_run("b", 1, width=32), without_epochs))
    assert the_table(comparison).lead is None
    assert "was learned in different ways (prediction top1_last / top1)" in comparison.warnings[0]


def test_the_best_epoch_alone_is_not_ranked(make_run):
    def best_alone(report):
        for each in trained(report):
            each["predictions"] = {"top1_best": each["predictions"]["top1_best"]}

    comparison = compared(make_run("a", 1), edited(make_run("b", 1, width=32), best_alone))
    table = the_table(comparison)
    assert ["linear probe, pooled" in row.cells for row in table.rows] == [True, False]
    assert table.lead is None
    assert "MAMP · width 32 has linear probe, pooled of the best epoch alone" in comparison.warnings[0]


def test_where_nothing_can_be_ranked_there_is_no_table(make_run):
    def best_alone(report):
        report["reports"] = trained(report)
        for each in trained(report):
            each["predictions"] = {"top1_best": each["predictions"]["top1_best"]}

    comparison = compared(edited(make_run("a", 1), best_alone))
    assert comparison.rankings == []
    assert "it is not ranked" in comparison.warnings[0]


def test_the_same_clips_of_another_store_are_noticed(make_run):
    comparison = compared(make_run("a", 1), make_run("b", 1, width=32, store="e" * 64))
    assert len(comparison.rankings) == 2
    assert "stores of different fingerprints have the same clips on test" in comparison.warnings[1]
    others = compared(make_run("c", 1), make_run("d", 1, width=32, store="e" * 64, clips=50))
    assert not any("different fingerprints have the same" in warning for warning in others.warnings)


def test_scores_without_copies_are_not_ranked_with_those_of_the_whole_protocol(make_run):
    dropped = make_run("b", 1, width=32, protocol="xview, without 4 test copies", clips=36, copies=0)
    comparison = compared(make_run("a", 1), dropped)
    assert [ranking.protocol for ranking in comparison.rankings] == ["xview", "xview, without 4 test copies"]
    assert "protocols: xview, xview, without 4 test copies" in comparison.warnings[0]


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
    assert capsys.readouterr().out.splitlines()[0] == str(tmp_path / "page.html")
    assert main(["report", str(tmp_path / "a"), "--store", str(tmp_path / "nowhere")]) == 1
    assert "there is no such folder" in capsys.readouterr().err


def with_objective(run, **objective):
    description = run.evaluations[0].runs[0].description
    settings = {**description["provenance"]["settings"], "method": "amr", "objective": objective}
    provenance = {**description["provenance"], "settings": settings}
    return replace(run, description={**description, "provenance": provenance})


def test_what_marrow_no_longer_has_sets_no_runs_apart_where_it_asks_for_what_is_done_anyway(make_run):
    old, new, other = read_runs([make_run("a1", 1), make_run("a2", 2), make_run("b", 1)])
    old = with_objective(old, hidden_percent=90, fusion="weights", reduction="mean", self_attention=False)
    new = with_objective(new, hidden_percent=90)
    other = with_objective(other, hidden_percent=90, fusion="mean", reduction="mean")
    assert [[run.name for run in group] for group in experiments([old, new, other])] == [["a1", "a2"], ["b"]]
    assert labels([[old, new], [other]]) == ["MAMP · fusion –", "MAMP · fusion mean"]
