"""The whole evaluation of runs."""

import json

import numpy as np
import pytest
import torch

from marrow.errors import CheckpointError, ConfigError, DataError
from marrow.models.export import load_encoder, save_encoder
from marrow.models.patch_transformer import PatchTransformer
from marrow.report.runs import read_run, read_runs
from marrow.skeleton.layout import KINECT_V2_25
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from marrow.tasks.base import TaskContext
from marrow.tasks.encoders import distinct_names
from marrow.tasks.evaluate import evaluate
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.summary import numbers

CPU = TaskContext(device="cpu", precision="fp32", max_steps=2)


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


@pytest.mark.parametrize(
    ("protocol", "means", "folds", "single"),
    [
        ("loso", "leave-one-out:subject", 4, "loso=0"),
        ("halves", "k-fold:2:subject", 2, "halves#1"),
        ("k-fold:3", "k-fold:3", 3, "k-fold:3#2"),
    ],
)
def test_folds_that_a_store_declares_or_not(small_runs, small_store, protocol, means, folds, single):
    asked = {"tasks": ["knn"], "baselines": ["raw"], "context": CPU}
    whole = evaluate(small_runs[0], small_store, protocol, **asked)
    assert (whole.protocol, whole.settings["asked_protocol"]) == (means, protocol)
    assert sorted(whole.test_rows) == list(range(24))
    assert {report.settings["folds"] for report in whole.reports} == {folds}
    fold = evaluate(small_runs[0], small_store, single, **asked)
    assert fold.protocol.startswith(means)
    assert 0 < len(fold.test_rows) < 24


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


def test_all_tasks_are_those_that_the_data_is_for(small_runs, small_store):
    whole = evaluate(small_runs[0], small_store, "xview", tasks="all", quick=True, baselines=[], context=CPU)
    kinds = {report.task.partition("/")[0] for report in whole.reports}
    assert {"knn", "linear_probe", "finetune"} <= kinds
    assert any(note.startswith("Quick:") for note in whole.notes)
    assert whole.settings["quick"]


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
    with pytest.raises(ConfigError, match="adapt the encoder with transfer"):
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
