"""Experiments side by side: numbers that are counted on fingers, which of them are better, and what is missing."""

from dataclasses import replace
from pathlib import Path

import pytest

from marrow.report.members import Member, architecture
from marrow.report.ranking import baselines_beside, tables_of
from marrow.report.runs import Run
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport, RunFacts
from marrow.tasks.numbers import About, Quantity, scored_by

ERROR = Quantity("mean error", "mm", "lower", heading="error")
HITS = Quantity("hits", "%", "higher")
HITS_CLEAN = HITS.without_copies("hits")
FRAMES = Quantity("frames")
ABOUT = About("reach", "Reaching", columns=("error", "hits"), headline=("hits",))
LABEL = [0, 1] * 4
PROBE = About("probe", "Probe", beside="probe/raw", label="probe")


def classes(wrong):
    """Return predictions that are wrong about the first so many of eight clips, of which two are copies."""
    return [label ^ (clip < wrong) for clip, label in enumerate(LABEL)]


def measured(seed, source="trained", about=ABOUT, task="reach", **metrics):
    quantities = {"error": ERROR, "hits": HITS, "hits_clean": HITS_CLEAN, "frames": FRAMES}
    return Report(task, metrics, quantities=quantities, declared=about, seed=seed, source=source)


def probed(seed, wrong, source="trained", task="probe", settings=None, name="top1"):
    quantities = {f"{name}_percent": scored_by(name)}
    metrics = {f"{name}_percent": 100.0 - 12.5 * wrong}
    return Report(
        task,
        metrics,
        quantities=quantities,
        declared=PROBE,
        predictions={name: classes(wrong)},
        settings=settings or {},
        seed=seed,
        source=source,
    )


def member(name, *reports_of_runs, description=None):
    """Return an experiment with a run for each list of reports; seeds are counted from 0."""
    scored = []
    for seed, reports in enumerate(reports_of_runs):
        run = f"{name}{seed}"
        marked = [replace(r, fingerprints={"run": run} if r.source == "trained" else {}) for r in reports]
        facts = RunFacts(run, seed, description or {}, "abc")
        copied = [True, True, *[False] * 6]
        evaluation = EvaluationReport("xsub", "f" * 64, ["a", "b"], 8, list(range(8)), LABEL, copied, [facts], marked)
        scored.append((Run(Path(run), run, {}, [], [], description, [evaluation]), evaluation))
    return Member(name, scored)


def shown(rows, column):
    return [(row.name, row.number(column) and (row.number(column).mean, row.number(column).std)) for row in rows]


def test_errors_are_ranked_from_the_lowest_and_hits_from_the_highest():
    a = member("a", [measured(0, error=5.0, hits=50.0)], [measured(1, error=7.0, hits=70.0)])
    b = member("b", [measured(0, error=4.0, hits=40.0)])
    [table] = tables_of([a, b], [])
    # 5 and 7: mean 6, deviation sqrt(2); the lower first.
    assert shown(table.rows, ("error", "official")) == [("b", (4.0, 0.0)), ("a", (6.0, pytest.approx(2**0.5)))]
    assert list(table.columns) == [("error", "official"), ("hits", "official")]
    assert (table.headline, table.lead) == ("hits", None)
    other_first = replace(ABOUT, columns=("hits", "error"))
    of_a = member("a", [measured(0, about=other_first, error=5.0, hits=50.0)])
    of_b = member("b", [measured(0, about=other_first, error=4.0, hits=40.0)])
    [table] = tables_of([of_b, of_a], [])
    assert [row.name for row in table.rows] == ["a", "b"]


def test_equal_in_the_first_column_are_ranked_by_the_next():
    a = member("a", [measured(0, error=5.0, hits=50.0)])
    b = member("b", [measured(0, error=5.0, hits=60.0)])
    [table] = tables_of([a, b], [])
    assert [row.name for row in table.rows] == ["b", "a"]


def test_a_seed_that_lacks_a_number_is_no_zero():
    a = member("a", [measured(0, error=5.0, hits=50.0)], [measured(1, error=7.0)], [measured(2, error=6.0, hits=70.0)])
    b = member("b", [measured(0, hits=90.0)])
    [table] = tables_of([a, b], [])
    hits = table.rows[0].number(("hits", "official"))
    assert (table.rows[0].name, hits.mean, hits.by_seed) == ("a", 60.0, (50.0, 70.0))
    # Who lacks the first column comes last, and is in the others.
    assert shown(table.rows, ("error", "official"))[1] == ("b", None)
    assert table.rows[1].number(("hits", "official")).mean == 90.0


def test_a_run_that_a_task_has_not_scored_is_no_seed_of_it():
    a = member("a", [measured(0, error=5.0), probed(0, 2)], [probed(1, 4)])
    top1, table = tables_of([a], [])
    assert (top1.rows[0].seeds, table.rows[0].seeds) == ([0, 1], [0])
    # 2 and 4 of 8 wrong: 75 and 50; without the two copies, 0 and 2 of 6 wrong.
    cell = top1.rows[0].cells["probe"]
    assert (cell["official"].mean, cell["official"].std) == (62.5, pytest.approx(312.5**0.5))
    assert cell["clean"].by_seed == (100.0, pytest.approx(100 * 4 / 6))


def test_numbers_without_copies_stand_beside_theirs():
    about = replace(ABOUT, columns=())
    a = member("a", [measured(0, about=about, hits=50.0, hits_clean=40.0, frames=3.0)])
    [table] = tables_of([a], [])
    assert list(table.columns) == [("hits", "official"), ("hits", "clean"), ("frames", "official")]
    assert {clips: number.mean for clips, number in table.rows[0].cells["hits"].items()} == {
        "official": 50.0,
        "clean": 40.0,
    }


def test_a_task_may_name_clean_numbers_alone():
    about = replace(ABOUT, columns=("hits_clean",), headline=())
    [table] = tables_of([member("a", [measured(0, about=about, hits=50.0, hits_clean=40.0)])], [])
    assert (list(table.columns), table.headline) == ([("hits", "clean")], "hits")
    # Where there is no other, it stands for all clips.
    [table] = tables_of([member("a", [measured(0, about=about, hits_clean=40.0)])], [])
    assert (list(table.columns), table.headline) == ([("hits_clean", "official")], "hits_clean")
    assert table.columns["hits_clean", "official"].short == "hits, clean"


def test_the_lead_is_paired_over_clips():
    # The same two clips wrong and four more: the difference is 0 on four clips and 1 on four, 50 points on average.
    [table] = tables_of([member("a", [probed(0, 2)]), member("b", [probed(0, 6)])], [])
    lead, low, high = table.lead
    assert lead == pytest.approx(50.0)
    # With replacement, of eight draws of a coin 1 to 7 show it in 95 % of all cases: 12.5 to 87.5 points.
    assert (low, high) == (pytest.approx(12.5), pytest.approx(87.5))
    [alike] = tables_of([member("a", [probed(0, 2)]), member("b", [probed(0, 2)])], [])
    assert alike.lead == (0.0, 0.0, 0.0)


def test_the_lead_is_over_the_mean_of_seeds():
    [table] = tables_of([member("a", [probed(0, 2)], [probed(1, 4)]), member("b", [probed(0, 8)])], [])
    # 62.5 against 0: per clip 0, 0, then one half twice, then 1 four times.
    assert table.lead[0] == pytest.approx(62.5)


def test_the_best_epoch_is_not_ranked():
    warnings = []
    best = member("a", [probed(0, 2, name="top1_best")])
    assert tables_of([best], warnings) == []
    assert warnings == [
        "xsub: a has probe of the best epoch alone, which was chosen on the test clips: it is not ranked."
    ]


def test_the_same_baseline_is_one_row_and_another_its_own():
    narrow, wide = ({"kind": "k", "config": {"width": width}} for width in (1, 2))

    def experiment(name, fresh, raw, description):
        random, coordinates = probed(0, fresh, "random"), probed(0, raw, "raw", task="probe/raw")
        return member(name, [probed(0, 2), random, coordinates], description=description)

    members = [experiment("a", 6, 1, narrow), experiment("b", 6, 1, narrow), experiment("c", 5, 1, wide)]
    [table] = tables_of(members, [])
    assert shown(table.baselines, ("probe", "official")) == [
        ("random initialisation (a; b)", (25.0, 0.0)),
        ("random initialisation (c)", (37.5, 0.0)),
        ("raw coordinates", (87.5, 0.0)),
    ]
    # What contradicts another is not the same, though it should be.
    [table] = tables_of([experiment("a", 6, 1, narrow), experiment("b", 7, 2, narrow)], [])
    assert shown(table.baselines, ("probe", "official")) == [
        ("random initialisation (a)", (25.0, 0.0)),
        ("random initialisation (b)", (12.5, 0.0)),
        ("raw coordinates (a)", (87.5, 0.0)),
        ("raw coordinates (b)", (75.0, 0.0)),
    ]


def test_what_needs_no_encoder_stands_beside_its_own_kind_and_test_set():
    still = replace(ABOUT, rule="standing still")
    elsewhere = replace(still, test_set="others")
    reports = [
        measured(0, error=5.0),
        measured(0, "raw", still, "reach/still", error=9.0),
        measured(0, "raw", elsewhere, "reach/others", error=1.0),
        measured(0, "raw", replace(still, kind="jump"), "jump/still", error=2.0),
    ]
    a = member("a", reports)
    [table] = tables_of([a], [])
    [row] = table.baselines
    assert (row.name, row.seeds, row.number(("error", "official")).mean) == ("standing still", [], 9.0)
    [baseline] = baselines_beside(a, table.scorings, "raw")
    assert (baseline.name, baseline.cells) == ("standing still", row.cells)


def test_other_settings_are_other_columns_and_other_tables():
    warnings = []
    a = member("a", [probed(0, 2, settings={"epochs": 1}), measured(0, error=5.0)])
    b = member("b", [probed(0, 4, settings={"epochs": 2}), replace(measured(0, error=4.0), num_labels_used=7)])
    top1, first, second = tables_of([a, b], warnings)
    assert [scoring.name for scoring in top1.scorings] == ["probe #1", "probe #2"]
    assert [sorted(row.cells) for row in top1.rows] == [["probe #1"], ["probe #2"]]
    assert top1.lead is None
    assert [(table.title, [row.name for row in table.rows]) for table in (first, second)] == [
        ("Reaching #1", ["a"]),
        ("Reaching #2", ["b"]),
    ]
    assert "probe was learned in different ways (epochs 1 / 2); one column for each (#1: a; #2: b)." in warnings[0]
    assert "Reaching came about in different ways (labels 0 / 7); one table for each (#1: a; #2: b)." in warnings[1]


def test_an_architecture_is_kind_size_and_input():
    one = {"kind": "k", "config": {"width": 1}, "input": {"frames": 8}, "provenance": {"seed": 1}}
    assert architecture(one) == architecture({**one, "provenance": {"seed": 2}})
    assert architecture(one) != architecture({**one, "input": {"frames": 9}})
    assert architecture({"provenance": {}}) is None
    assert architecture(None) is None
