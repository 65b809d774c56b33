import json

import numpy as np
import pytest
import torch

from marrow.errors import CheckpointError, ConfigError, DataError
from marrow.models.export import load_encoder, save_encoder
from marrow.models.patch_transformer import PatchTransformer
from marrow.readers.base import Split
from marrow.report.compare import compare_runs
from marrow.report.runs import read_run, read_runs
from marrow.skeleton.layout import KINECT_V2_25
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from marrow.tasks.base import Report, TaskContext
from marrow.tasks.encoders import distinct_names
from marrow.tasks.evaluate import evaluate
from marrow.tasks.evaluation_report import EvaluationReport, RunFacts
from marrow.tasks.kept_reports import fullest
from marrow.tasks.numbers import DRAWS_STD, TOP1
from marrow.tasks.recognition.linear_probe import LinearProbe
from marrow.tasks.recognition.retrieval import Knn, Retrieval, RetrievalConfig
from marrow.tasks.summary import differences, measures, numbers, raw_sentences, scores
from marrow.tasks.version_1 import declared

CPU = TaskContext(device="cpu", precision="fp32", max_steps=2)


def _report(source, task, predicted, seed, run=""):
    prints = {"run": run}
    return declared(Report(task, {}, predictions={"top1": predicted}, seed=seed, source=source, fingerprints=prints))


def _evaluation(reports, *, labels=(0, 1, 0, 1), copied=(False,) * 4, seeds=(1,)):
    runs = [RunFacts(f"r{seed}", seed, {}, "f") for seed in seeds]
    return EvaluationReport("p", "s", ["a", "b"], 8, [0, 1, 2, 3], list(labels), list(copied), runs, reports)


def test_one_report_with_every_source_and_a_file_per_run(small_runs, small_store):
    whole = evaluate(small_runs, small_store, "xview", context=CPU)
    found = {(report.source, report.task, report.seed) for report in whole.reports}
    tasks = ("logistic/pooled", "linear_probe/pooled", "linear_probe/joints", "knn/pooled")
    expected = {(source, task, seed) for source in ("trained", "random") for task in tasks for seed in (3, 4)}
    assert found == expected | {("raw", "knn/raw", 0), ("raw", "ridge/raw", 0)}
    assert (len(whole.test_rows), whole.clean_count) == (12, 8)
    parts = [EvaluationReport.load(folder / "reports" / "xview.json") for folder in small_runs]
    assert [[run.seed for run in part.runs] for part in parts] == [[3], [4]]
    joined, at_once = (numbers(report)["scores"] for report in (EvaluationReport.joined(parts), whole))
    assert sorted(joined, key=str) == sorted(at_once, key=str)
    assert any("4 of the 12 test clips are bit-identical" in note for note in whole.notes)
    assert any("no test clip was among them" in note for note in whole.notes)


def test_an_encoder_in_memory_scores_as_the_one_on_the_disk(small_runs, small_store, tmp_path):
    tasks = {"tasks": ["knn", "finetune"], "quick": True, "context": CPU}
    encoder = load_encoder(small_runs[0]).train()
    weights = {name: value.clone() for name, value in encoder.state_dict().items()}
    save_encoder(encoder, tmp_path / "alone")
    before = sorted(tmp_path.rglob("*"))
    found = evaluate(encoder, small_store, "xview", **tasks)
    assert sorted(tmp_path.rglob("*")) == before, "nothing is kept of an encoder that has no folder"
    expected = evaluate(tmp_path / "alone", small_store, "xview", save=False, **tasks)
    assert [report.task for report in found.reports] == [report.task for report in expected.reports]
    assert [report.predictions for report in found.reports] == [report.predictions for report in expected.reports]
    assert found.runs[0].name == "encoder 1"
    assert found.runs[0].fingerprint == expected.runs[0].fingerprint
    assert found.runs[0].description.keys() == expected.runs[0].description.keys() - {"version"}
    assert encoder.training
    assert all(torch.equal(value, weights[name]) for name, value in encoder.state_dict().items())


def test_encoders_in_memory_and_on_the_disk_together(small_runs, small_encoder, small_store):
    other = small_encoder.fresh(9)
    found = evaluate([small_runs[0], other], small_store, "xview", tasks="knn", baselines=[], context=CPU)
    assert [(run.name, run.seed) for run in found.runs] == [("run-s3", 3), ("encoder 2", 1)]
    kept = EvaluationReport.load(small_runs[0] / "reports" / "xview.json")
    assert [run.name for run in kept.runs] == ["run-s3"]


def test_an_encoder_in_memory_of_another_skeleton_is_refused(small_encoder, small_store):
    other = PatchTransformer(small_encoder.config, small_encoder.input, KINECT_V2_25)
    with pytest.raises(ConfigError, match=r"encoder 1 was trained on the skeleton 'kinect_v2_25' \(25 joints\)"):
        evaluate(other, small_store, "xview", context=CPU)


def test_a_later_evaluation_adds_to_the_report_of_the_same_encoder(small_runs, small_store, small_encoder, caplog):
    def tasks_on_file():
        report = EvaluationReport.load(small_runs[0] / "reports" / "xview.json")
        return [each.task for each in report.reports]

    context = TaskContext(device="cpu", precision="fp32", max_steps=1)
    evaluate(small_runs[0], small_store, "xview", tasks=["knn"], baselines=[], context=context)
    evaluate(small_runs[0], small_store, "xview", tasks=["linear_probe"], baselines=[], context=context)
    evaluate(small_runs[0], small_store, "xview", tasks=["knn"], baselines=[], context=context)
    assert tasks_on_file() == ["knn/pooled", "logistic/pooled", "linear_probe/pooled", "linear_probe/joints"]
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


def test_leave_one_out_predicts_every_clip_once(small_runs, small_store):
    calls = []
    from marrow.models.patch_transformer import PatchTransformer

    forward = PatchTransformer.forward
    PatchTransformer.forward = lambda self, batch: calls.append(len(batch)) or forward(self, batch)
    try:
        whole = evaluate(
            small_runs[0], small_store, "leave-one-out:subject", tasks=["knn"], baselines=["raw"], context=CPU
        )
    finally:
        PatchTransformer.forward = forward
    assert sorted(whole.test_rows) == list(range(24))
    assert sum(calls) == 24  # four folds, each clip encoded once
    assert whole.train_count == 18
    assert whole.clean_count == 24  # copies are of the same person, so they are left out together
    assert any("4 folds" in note for note in whole.notes)
    assert any("12 of the 24 test clips among them" in note and "transductive" in note for note in whole.notes)


def test_scores_over_seeds_by_hand():
    reports = [
        _report("trained", "knn/pooled", [0, 1, 0, 0], 1, "r1"),
        _report("trained", "knn/pooled", [0, 1, 1, 0], 2, "r2"),
    ]
    [official, clean] = scores(_evaluation(reports, copied=(True, False, False, False), seeds=(1, 2)))
    assert (official.quantity.clips, official.by_seed, official.mean) == ("official", (75.0, 50.0), 62.5)
    assert official.std == pytest.approx(12.5 * np.sqrt(2))
    assert clean.by_seed == (pytest.approx(200 / 3), pytest.approx(100 / 3))


def test_comparison_pairs_seeds_and_wants_both_intervals():
    labels = [0] * 100
    right, half = [0] * 100, [0] * 50 + [1] * 50

    def compared(first, second):
        reports = [_report("trained", "knn/pooled", first, 1, "r1"), _report("trained", "knn/pooled", second, 2, "r2")]
        reports += [_report("random", "knn/pooled", half, seed) for seed in (1, 2)]
        evaluation = _evaluation(reports, labels=labels, copied=[False] * 100, seeds=(1, 2))
        [each] = differences(evaluation)
        return each

    sure = compared(right, right)
    assert (sure.difference_percent, sure.by_seed, sure.verdict) == (50.0, (50.0, 50.0), "better")
    # One seed gains 50 points, the other none: clips alone would call it better, two seeds cannot.
    torn = compared(right, half)
    assert torn.by_seed == (50.0, 0.0)
    assert torn.low_percent > 0
    assert torn.verdict == "not shown"


def test_sentence_where_the_raw_baseline_is_not_passed():
    labels = [0] * 40
    reports = [_report("trained", "knn/pooled", [1] * 20 + [0] * 20, 1, "r1"), _report("raw", "knn/raw", [0] * 40, 0)]
    [sentence] = raw_sentences(_evaluation(reports, labels=labels, copied=[False] * 40))
    assert "does not pass the raw-coordinate baseline: 50.0 points below it" in sentence


def test_reports_of_other_clips_are_not_joined():
    first, second = _evaluation([]), _evaluation([])
    second.store = "other"
    with pytest.raises(DataError, match="different test clips"):
        EvaluationReport.joined([first, second])


def test_runs_that_are_not_seeds_of_one_experiment_are_told_apart(small_runs, small_store):
    def describe(folder, seed, **settings):
        file = folder / "encoder" / "encoder.json"
        description = json.loads(file.read_text())
        description["provenance"] = {"seed": seed, "settings": {"seed": seed, "out": str(folder), **settings}}
        file.write_text(json.dumps(description))

    def notes():
        return " ".join(evaluate(small_runs, small_store, "xview", tasks=["knn"], baselines=[], context=CPU).notes)

    describe(small_runs[0], 3, epochs=10, objective={"target": "motion", "stride": 1})
    describe(small_runs[1], 4, epochs=10, objective={"target": "motion", "stride": 1})
    assert "differ" not in notes()
    describe(small_runs[1], 3, epochs=10, objective={"target": "joint", "stride": 1})
    said = notes()
    assert "differ in more than their seed (objective.target)" in said
    assert "have the same seed" in said


def test_mistakes_are_named(small_runs, small_store, tmp_path):
    with pytest.raises(ConfigError, match="unknown baseline 'rar'; baselines are random, raw"):
        evaluate(small_runs, small_store, "xview", baselines=["rar"], context=CPU)
    with pytest.raises(ConfigError, match="at least one run and one task, got 2 runs and 0 tasks"):
        evaluate(small_runs, small_store, "xview", tasks=[], context=CPU)
    with pytest.raises(CheckpointError, match="there is no such folder"):
        evaluate(tmp_path / "nowhere", small_store, "xview", context=CPU)
    (tmp_path / "begun" / "checkpoints").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="its training was not finished"):
        evaluate(tmp_path / "begun", small_store, "xview", context=CPU)
    one_class = "label=0 & view=0 -> label=0 & view=1"
    with pytest.raises(DataError, match=r"nothing to tell apart: all \d+ training clips are of the class"):
        evaluate(small_runs[0], small_store, one_class, context=CPU)
    with pytest.raises(CheckpointError, match="no finished encoder"):
        evaluate(tmp_path / "nothing", small_store, "xview", context=CPU)
    broken = tmp_path / "report.json"
    broken.write_text(json.dumps({"version": 1}))
    with pytest.raises(DataError, match=r"report\.json"):
        EvaluationReport.load(broken)


def test_command_prints_numbers_only(small_runs, small_store, capsys):
    from marrow.cli.main import main

    options = ["--store", str(small_store.path), "--protocol", "xview", "--tasks", "knn", "--device", "cpu"]
    assert main(["evaluate", *map(str, small_runs), *options, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["seeds"] == [3, 4]
    assert {score["clips"] for score in printed["scores"]} == {"official", "clean"}
    assert main(["evaluate", str(small_runs[0]), *options, "--max-steps", "3", "--baselines", "none"]) == 0
    assert "knn/pooled" in capsys.readouterr().out


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


def test_all_tasks_are_those_that_the_data_is_for(small_runs, small_store):
    whole = evaluate(small_runs[0], small_store, "xview", tasks="all", quick=True, baselines=[], context=CPU)
    kinds = {report.task.partition("/")[0] for report in whole.reports}
    assert {"knn", "linear_probe", "finetune"} <= kinds
    assert any(note.startswith("Quick:") for note in whole.notes)
    assert whole.settings["quick"]


def test_scores_of_draws_are_means_over_them():
    draws = [{"predictions": [0, 1, 0, 1]}, {"predictions": [0, 1, 1, 0]}]  # 4 and 2 of 4 right
    report = Report("semi_supervised/5 %", {"top1_percent": 75.0, "top1_draws_std_percent": 35.4, "seconds": 3.0})
    report.detail, report.quantities = (
        {"draws": draws},
        {"top1_percent": TOP1["top1"], "top1_draws_std_percent": DRAWS_STD},
    )
    other = Report("semi_supervised/5 %", {}, source="random", detail={"draws": [draws[1], draws[1]]})
    evaluation = _evaluation([report, other], copied=(False, False, False, True))
    [official, clean] = [score for score in scores(evaluation) if score.source == "trained"]
    # The draws score 100 and 50: mean 75, sample deviation 25 sqrt 2. Without the last clip 3 and 2 of 3.
    assert (official.mean, official.draws_std) == (75.0, pytest.approx(25 * 2**0.5))
    assert clean.mean == pytest.approx(100 * (1 + 2 / 3) / 2)
    [difference, _] = differences(evaluation)
    assert difference.difference_percent == 25.0
    # What is no score of this kind is a number by itself.
    assert [(each.name, each.mean, each.low) for each in measures(evaluation)] == [("seconds", 3.0, None)]


def test_copies_can_be_left_out_under_a_name_that_says_so(small_runs, small_store):
    whole = evaluate(small_runs[0], small_store, "xview", tasks="knn", drop_duplicates="test", context=CPU)
    assert (whole.protocol, len(whole.test_rows)) == ("xview, without 4 test copies", 8)
    assert (whole.settings["asked_protocol"], whole.settings["drop_duplicates"]) == ("xview", "test")
    assert (small_runs[0] / "reports" / "xview__without_4_test_copies.json").is_file()
    fewer = evaluate(small_runs[0], small_store, "xview", tasks="knn", drop_duplicates="train", context=CPU)
    assert (fewer.train_count, len(fewer.test_rows)) == (8, 12)


def test_another_skeleton_is_refused_and_with_transfer_adapted_to(small_runs, tmp_path):
    rng = np.random.default_rng(0)
    sequences = [
        SkeletonSequence(
            rng.normal(size=(1, 12, 25, 3)).astype(np.float32),
            np.ones((1, 12, 25), bool),
            30.0,
            KINECT_V2_25,
            Record(f"clip{number}", label=number % 2, attributes={"half": number // 8}),
        )
        for number in range(16)
    ]
    store = write_store(tmp_path / "other", sequences, source="test", classes=("nod", "wave"))
    with pytest.raises(ConfigError, match="adapt the encoder with --transfer"):
        evaluate(small_runs[0], store, "half=0 -> half=1", tasks="knn", context=CPU)
    whole = evaluate(small_runs[0], store, "half=0 -> half=1", tasks="knn", transfer=True, context=CPU)
    [note] = [note for note in whole.notes if note.startswith("The encoder of kinect_v1_20 was adapted")]
    assert "20 joints keep what it learned; 5 of kinect_v2_25 begin untrained" in note
    assert {report.source for report in whole.reports} == {"trained", "random", "raw"}
    assert whole.settings["transfer"] is True


def test_folders_of_one_name_are_named_by_what_tells_them_apart(small_runs, small_store, tmp_path):
    folders = [tmp_path / method / "seed0" for method in ("amr", "mamp")]
    for folder, run in zip(folders, small_runs, strict=True):
        folder.parent.mkdir()
        run.rename(folder)
    whole = evaluate(folders, small_store, "xview", tasks="knn", baselines=[], context=CPU)
    assert [run.name for run in whole.runs] == ["amr/seed0", "mamp/seed0"]
    assert [report.fingerprints["run"] for report in whole.reports] == ["amr/seed0", "mamp/seed0"]
    runs = read_runs(folders)
    assert [run.name for run in runs] == ["amr/seed0", "mamp/seed0"]
    assert [run.evaluations[0].runs[0].name for run in runs] == ["amr/seed0", "mamp/seed0"]
    assert read_run(folders[0]).evaluations[0].runs[0].name == "seed0"
    assert distinct_names([*folders, tmp_path / "seed1"]) == ["amr/seed0", "mamp/seed0", "seed1"]
    with pytest.raises(ConfigError, match="each run must be given once"):
        evaluate([folders[0], folders[0]], small_store, "xview", tasks="knn", context=CPU)


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
