"""What a run keeps of its evaluations, finished or not."""

import pytest

from marrow.models.export import save_encoder
from marrow.readers.base import Split
from marrow.report.compare import compare_runs
from marrow.report.runs import read_run
from marrow.store.memory import write_store
from marrow.tasks.base import Report, TaskContext
from marrow.tasks.evaluate import evaluate
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.kept_reports import fullest, in_order
from marrow.tasks.recognition.declared import about_of
from marrow.tasks.recognition.linear_probe import LinearProbe
from marrow.tasks.recognition.retrieval import Knn, Retrieval, RetrievalConfig

CPU = TaskContext(device="cpu", precision="fp32", max_steps=2)


def test_a_later_evaluation_adds_to_the_report_of_the_same_encoder(small_runs, small_store, small_encoder, caplog):
    def tasks_on_file():
        report = EvaluationReport.load(small_runs[0] / "reports" / "xview.json")
        return [each.task for each in report.reports]

    context = TaskContext(device="cpu", precision="fp32", max_steps=1)
    evaluate(small_runs[0], small_store, "xview", tasks=["knn"], baselines=[], context=context)
    evaluate(small_runs[0], small_store, "xview", tasks=["linear_probe"], baselines=[], context=context)
    evaluate(small_runs[0], small_store, "xview", tasks=["knn"], baselines=[], context=context)
    assert tasks_on_file() == ["logistic/pooled", "linear_probe/pooled", "linear_probe/joints", "knn/pooled"]
    caplog.set_level("INFO")
    four = tasks_on_file()
    save_encoder(small_encoder.fresh(999), small_runs[0] / "encoder", {"seed": 3})
    evaluate(small_runs[0], small_store, "xview", tasks=["knn"], baselines=[], context=context)
    assert tasks_on_file() == four
    assert "xview~2.json, beside" in caplog.text
    assert "xview.json (another encoder)" in caplog.text
    # Of the encoder that the run has now, there is less.
    [(kept, beside)] = fullest(small_runs[0])
    assert [each.task for each in kept.reports] == ["knn/pooled"]
    assert beside.endswith("keeps other results on xview, not shown: xview.json (4 results: another encoder).")


def test_a_damaged_report_is_put_aside_and_does_not_cost_the_new_one(small_runs, small_store, caplog):
    reports = small_runs[0] / "reports"
    reports.mkdir(exist_ok=True)
    (reports / "xview.json").write_bytes(b"\xff{")
    evaluate(small_runs[0], small_store, "xview", tasks=["knn"], baselines=[], context=CPU)
    assert [each.task for each in EvaluationReport.load(reports / "xview.json").reports] == ["knn/pooled"]
    assert (reports / "xview.json.damaged-1").read_bytes() == b"\xff{"
    assert "it is kept as xview.json.damaged-1" in caplog.text


def test_one_name_will_do_and_protocols_keep_files_apart(small_runs, small_store):
    protocols = [f"view=0 & subject{sign}=1 -> view=1" for sign in ("", "!")]
    for protocol in protocols:
        report = evaluate(small_runs[0], small_store, protocol, tasks="knn", baselines="raw", context=CPU)
        assert {each.task for each in report.reports} == {"knn/pooled", "knn/raw", "ridge/raw"}
    saved = [EvaluationReport.load(path).protocol for path in (small_runs[0] / "reports").glob("*subject*.json")]
    assert sorted(saved) == sorted(protocols)


def test_an_interrupted_evaluation_goes_on_and_a_finished_one_begins_anew(small_runs, small_store, monkeypatch):
    calls = []
    run, interrupts = Knn.run, [True, False]

    def counted(self, encoder, data, context):
        calls.append(data.protocol)
        return run(self, encoder, data, context)

    def interrupted_once(self, encoder, data, context):
        if interrupts.pop(0):
            raise KeyboardInterrupt
        return run(Knn(), encoder, data, context)

    monkeypatch.setattr(Knn, "run", counted)
    monkeypatch.setattr(LinearProbe, "run", interrupted_once)
    how = {"tasks": ["knn", "linear_probe"], "baselines": [], "context": CPU}
    with pytest.raises(KeyboardInterrupt):
        evaluate(small_runs[0], small_store, "xview", **how)
    unfinished = small_runs[0] / "reports" / "xview.unfinished"
    assert len(list(unfinished.iterdir())) == 1
    evaluate(small_runs[0], small_store, "xview", **how)
    assert calls == ["xview"], "what the interrupted evaluation had found must be kept"
    assert not unfinished.exists()
    # Another seed, or a damaged file, is another question.
    interrupts[:] = [True, False]
    with pytest.raises(KeyboardInterrupt):
        evaluate(small_runs[0], small_store, "xview", **how)
    next(unfinished.iterdir()).write_text("[{")
    evaluate(small_runs[0], small_store, "xview", **how)
    assert len(calls) == 3


def test_a_finished_evaluation_leaves_what_another_one_is_to_go_on_from(small_runs, small_store):
    unfinished = small_runs[0] / "reports" / "xview.unfinished"
    unfinished.mkdir(parents=True)
    of_other_data = unfinished / f"{24 * 'a'}.json"
    of_other_data.write_text("[]")
    evaluate(small_runs[0], small_store, "xview", tasks=["knn"], baselines=[], context=CPU)
    assert list(unfinished.iterdir()) == [of_other_data]


def test_a_run_whose_folder_was_renamed_is_not_two_seeds(small_runs, small_store):
    evaluate(small_runs[0], small_store, "xview", tasks="knn", baselines=[], context=CPU)
    renamed = small_runs[0].with_name("renamed")
    small_runs[0].rename(renamed)
    evaluate(renamed, small_store, "xview", tasks=["knn", "retrieval"], baselines=[], context=CPU)
    report = EvaluationReport.load(renamed / "reports" / "xview.json")
    assert [run.name for run in report.runs] == ["renamed"]
    assert [(each.task, each.fingerprints["run"]) for each in report.reports] == [
        ("knn/pooled", "renamed"),
        ("retrieval/pooled", "renamed"),
    ]


def test_what_was_made_in_another_way_stands_beside_and_the_fullest_is_taken(small_runs, small_store, caplog):
    """As the README's quick start has it: a whole report, a quick evaluation after it, then one without baselines."""
    caplog.set_level("INFO")
    reports = small_runs[0] / "reports"

    def on_file(name):
        return {(each.source, each.task) for each in EvaluationReport.load(reports / name).reports}

    def again(**how):
        evaluate(small_runs[0], small_store, "xview", context=CPU, **how)

    again(tasks=["knn", "retrieval"])
    whole = on_file("xview.json")
    assert len(whole) == 6
    again(tasks="knn", quick=True)
    again(tasks="knn", baselines=[])
    assert on_file("xview.json") == whole
    assert len(on_file("xview~2.json")) < len(whole)
    # Another seed of the probes, and a task with another setting: each has a file of its own, which the next one joins.
    other_seed = TaskContext(device="cpu", precision="fp32", max_steps=2, seed=5)
    for _ in range(2):
        evaluate(small_runs[0], small_store, "xview", tasks="knn", baselines=[], context=other_seed)
    again(tasks=[Retrieval(RetrievalConfig(ranks=(1, 2)))], baselines=[])
    assert sorted(path.name for path in reports.glob("*.json")) == [
        f"xview{end}.json" for end in ("", "~2", "~3", "~4")
    ]
    assert "xview~4.json, beside xview.json (retrieval with other settings)" in caplog.text
    [(kept, beside)] = fullest(small_runs[0])
    assert {(each.source, each.task) for each in kept.reports} == whole
    assert "xview~2.json (4 results: quick)" in beside
    assert "xview~3.json (1 results: probe seed 5)" in beside
    # The page and the comparison take that one.
    run = read_run(small_runs[0])
    assert run.evaluations[0].notes == [*kept.notes, beside]
    assert beside in compare_runs([run]).warnings


def test_only_replacing_puts_results_aside_and_keeps_a_copy(small_runs, small_store):
    path = small_runs[0] / "reports" / "xview.json"
    evaluate(small_runs[0], small_store, "xview", tasks="knn", context=CPU)
    before = path.read_bytes()
    evaluate(small_runs[0], small_store, "xview", tasks="knn", baselines=[], quick=True, context=CPU)
    quick = path.with_name("xview~2.json").read_bytes()
    for number in (1, 2):
        evaluate(small_runs[0], small_store, "xview", tasks="knn", baselines=[], context=CPU, anew=True)
        assert [each.task for each in EvaluationReport.load(path).reports] == ["knn/pooled"]
        assert path.with_name(f"xview.json.replaced-{number}").is_file()
    assert path.with_name("xview.json.replaced-1").read_bytes() == before
    assert path.with_name("xview~2.json.replaced-1").read_bytes() == quick
    assert [each.name for each in path.parent.glob("*.json")] == ["xview.json"]
    assert len(fullest(small_runs[0])) == 1


def test_the_same_protocol_on_other_data_has_a_report_of_its_own(small_runs, small_store, tmp_path):
    sequences = [small_store.sequence(row) for row in range(len(small_store))]
    view = Split(lambda record: record.attributes["subject"] < 2, lambda record: record.attributes["subject"] > 1)
    other = write_store(
        tmp_path / "other", sequences, source="test", classes=small_store.classes, splits={"xview": view}
    )
    for store in (small_store, other, other):
        evaluate(small_runs[0], store, "xview", tasks="knn", baselines=[], context=CPU)
    reports = [EvaluationReport.load(path).store for path in sorted((small_runs[0] / "reports").glob("*.json"))]
    assert sorted(reports) == sorted([small_store.fingerprint, other.fingerprint])


def test_reports_have_one_order_whatever_came_first():
    came = [("raw", "ridge/raw"), ("random", "knn/pooled"), ("trained", "knn/pooled"), ("trained", "logistic/pooled")]
    reports = [Report(task, {}, source=source, declared=about_of(task)) for source, task in came]
    assert [(each.source, each.task) for each in in_order(reports)] == [came[3], came[2], came[1], came[0]]
