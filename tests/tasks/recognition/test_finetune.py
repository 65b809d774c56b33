"""Fine-tuning: the paper's numbers, the budgets that are stated, and a resume that loses nothing."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from marrow.data.augment import AugmentConfig
from marrow.data.draws import Draws
from marrow.data.label_draws import draw_labels
from marrow.data.subsets import protocol_rows
from marrow.errors import ConfigError, DataError, MarrowError
from marrow.models.export import save_encoder
from marrow.models.heads import JointsHead
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from marrow.tasks import one_go
from marrow.tasks.base import Origin, TaskContext, TaskData
from marrow.tasks.encoders import origin_of
from marrow.tasks.evaluate import evaluate
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.recognition import finetune_training
from marrow.tasks.recognition.finetune import Finetune, finetune, finetune_in
from marrow.tasks.recognition.finetune_training import with_labels_used
from marrow.tasks.recognition.trainable import FinetuneConfig, Recognition, layer_scales
from marrow.tasks.summary import differences
from marrow.testing.encoders import example_batch
from marrow.train.checkpoint import CheckpointConfig
from marrow.train.device import make_fabric
from marrow.train.optim import OptimizerConfig, ScheduleConfig, optimizer_of

SMALL = FinetuneConfig(
    epochs=4,
    batch_clips=4,
    hidden_width=16,
    optimizer=OptimizerConfig(0.01),
    schedule=ScheduleConfig(1.0, 1e-4),
    augment=AugmentConfig(crop_low=1.0, rotation_radians=0.0),
)
CPU = TaskContext(device="cpu", precision="fp32")
ONCE = CheckpointConfig(every_minutes=1e9, keep_last=1)


def _data(store, protocol="xview"):
    return TaskData(store, *protocol_rows(store, protocol), protocol=protocol)


def test_defaults_are_the_papers():
    config = FinetuneConfig()
    optimizer, schedule = config.optimizer, config.schedule
    assert (optimizer.learning_rate, optimizer.betas, optimizer.weight_decay) == (3e-4, (0.9, 0.999), 0.05)
    assert (schedule.warmup_epochs, schedule.min_learning_rate) == (5.0, 1e-5)
    assert (config.epochs, config.batch_clips, config.layer_decay) == (100, 48, 0.8)
    assert (config.drop_path, config.dropout, config.label_smoothing, config.hidden_width) == (0.3, 0.3, 0.1, 2048)


def test_layer_decay_of_the_papers_depth():
    """0.8^(9 - id): embeddings 0 -> 0.134, block i -> i + 1, last norm and head 9 -> 1."""
    from marrow.data.window import InputConfig

    encoder = PatchTransformer(PatchTransformerConfig(width=8, heads=2), InputConfig(8), KINECT_V1_20)
    scales = layer_scales(encoder, 0.8)
    assert scales[encoder.joint_position] == pytest.approx(0.134218, abs=1e-6)
    assert scales[encoder.blocks[0].norm1.weight] == pytest.approx(0.8**8)
    assert scales[encoder.blocks[7].mlp.fc1.weight] == pytest.approx(0.8)
    assert scales[encoder.norm.weight] == 1.0
    assert len(scales) == len(list(encoder.parameters()))


def test_optimizer_gives_each_layer_its_share_and_decays_matrices_only(small_encoder):
    recognition = Recognition(small_encoder, JointsHead(20, 16, 3, 8), SMALL)
    optimizer = optimizer_of(recognition, SMALL.optimizer, layer_scales(small_encoder, 0.5))
    groups = {
        id(parameter): (group["lr_scale"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert len(groups) == len(list(recognition.parameters()))
    assert groups[id(small_encoder.time_position)] == (0.25, 0.05)
    assert groups[id(small_encoder.embedding.bias)] == (0.25, 0.0)
    assert groups[id(small_encoder.blocks[0].attn.qkv.weight)] == (0.5, 0.05)
    assert groups[id(small_encoder.norm.weight)] == (1.0, 0.0)
    assert groups[id(recognition.head.classify.weight)] == (1.0, 0.05)
    assert groups[id(recognition.head.norm.weight)] == (1.0, 0.0)


def test_draws_do_not_depend_on_how_a_batch_is_cut(small_encoder):
    recognition = Recognition(small_encoder, JointsHead(20, 16, 3, 8), SMALL)
    batch = example_batch(small_encoder)
    whole = recognition.sample(batch, Draws(3, 7, torch.arange(4)))
    rest = replace(batch, joints=batch.joints[1:], present=batch.present[1:], label=batch.label[1:], row=batch.row[1:])
    part = recognition.sample(rest, Draws(3, 7, torch.arange(1, 4)))
    assert torch.equal(whole.drop.uniform[1:], part.drop.uniform)
    assert torch.equal(whole.kept[1:], part.kept)
    assert whole.drop.uniform.shape == (4, 2, 2)
    assert float(whole.kept.float().mean()) == pytest.approx(0.7, abs=0.03)
    assert recognition.couples_samples


def test_every_parameter_is_trained_and_the_loss_is_the_smoothed_cross_entropy(small_encoder):
    recognition = Recognition(small_encoder, JointsHead(20, 16, 3, 8), SMALL)
    batch = example_batch(small_encoder)
    batch.label[:] = torch.tensor([0, 1, 2, 1])
    draw = recognition.sample(batch, Draws(0, 0, torch.arange(4)))
    output = recognition(batch, draw)
    output.loss_sum.backward()
    assert all(parameter.grad is not None for parameter in recognition.parameters())
    with torch.no_grad():
        scores = recognition.head(small_encoder(batch, draw.drop), draw.kept, 0.3)
    # 0.1 of the target is spread over the three classes: 0.9 + 0.1 / 3 on the true one, 0.1 / 3 on the others.
    target = 0.9 * torch.nn.functional.one_hot(batch.label, 3) + 0.1 / 3
    expected = -(target * scores.log_softmax(1)).sum()
    torch.testing.assert_close(output.loss_sum.detach(), expected)
    assert float(output.weight) == 4
    assert float(output.metrics["train_top1_percent"]) == 100 * int((scores.argmax(1) == batch.label).sum())


def test_it_learns_leaves_the_encoder_alone_and_says_what_it_cost(small_store, small_encoder):
    before = {name: value.clone() for name, value in small_encoder.state_dict().items()}
    context = replace(CPU, origin=Origin(steps=50, cpu_seconds=12.0, wall_seconds=13.0))
    config = replace(SMALL, epochs=60, batch_clips=12, hidden_width=64)
    [report] = Finetune(config).run(small_encoder, _data(small_store), context)
    assert report.task == "finetune"
    assert report.metrics["top1_last_percent"] == 100.0
    assert set(report.metrics) == {f"top1_{e}{c}_percent" for e in ("last", "best") for c in ("", "_clean")}
    assert all(torch.equal(before[name], value) for name, value in small_encoder.state_dict().items())
    settings, cost, note = report.settings, report.cost, report.noted["note"]
    assert (settings["start"], settings["layer_decay"]) == ("from pre-training", 0.8)
    assert (settings["epochs"], cost["steps_per_epoch"], cost["steps_done"]) == (60, 1, 60)
    assert (cost["pretraining_steps"], cost["pretraining_cpu_seconds"]) == (50, 12.0)
    assert cost["training_cpu_seconds"] >= 0
    assert note.startswith("Fine-tuned for 60 epochs, 60 steps,")
    assert "after the 12 processor seconds of pre-training (50 steps)" in note


def test_fewer_predictions_are_some_of_all_of_them(small_store, small_encoder, tmp_path):
    """Of 4 epochs, after every third: those after 3 and, because it is the last, 4; what is learned stays the same."""

    def trained(name, every):
        (tmp_path / name).mkdir()
        config = replace(SMALL, predict_every=every)
        _, report = finetune_in(tmp_path / name, small_encoder, _data(small_store), config, CPU, ONCE)
        steps = sorted(path.name for path in (tmp_path / name / "predictions").iterdir())
        return report, {step: np.load(tmp_path / name / "predictions" / step) for step in steps}

    (all_report, everything), (few_report, few) = trained("all", 1), trained("few", 3)
    # 12 training clips in batches of 4: 3 steps per epoch.
    assert list(everything) == [f"step-{step:08d}.npy" for step in (3, 6, 9, 12)]
    assert list(few) == [f"step-{step:08d}.npy" for step in (9, 12)]
    assert all(np.array_equal(everything[step], predicted) for step, predicted in few.items())
    assert few_report.predictions["top1_last"] == all_report.predictions["top1_last"]
    assert few_report.noted["best_epoch"] in (3, 4)
    assert all_report.noted["best_epoch"] in (1, 2, 3, 4)


def test_the_best_epoch_keeps_its_number_where_not_all_are_predicted(small_store, small_encoder, monkeypatch):
    """Predictions after epochs 2 and 4, of which the second is made all wrong: the best epoch is 2."""
    data = _data(small_store)
    label = np.asarray(small_store.label)[data.test_rows]
    monkeypatch.setattr(
        finetune_training._Predictions, "until", lambda *_: np.stack([label, (label + 1) % 3]).astype(np.int64)
    )
    [report] = Finetune(replace(SMALL, predict_every=2)).run(small_encoder, data, CPU)
    assert report.noted["best_epoch"] == 2
    assert (report.metrics["top1_best_percent"], report.metrics["top1_last_percent"]) == (100.0, 0.0)


def test_from_scratch_has_no_layer_decay_and_the_pretrainings_augmentation(small_store, small_encoder):
    augment = AugmentConfig(min_crop_frames=2, rotation_radians=0.1)
    context = replace(CPU, max_steps=4, origin=Origin("random", augment=augment))
    config = replace(SMALL, augment=None)
    [report] = Finetune(config).run(small_encoder.fresh(1), _data(small_store), context)
    assert (report.settings["start"], report.settings["layer_decay"]) == ("from scratch", 1.0)
    assert report.settings["augment"]["rotation_radians"] == 0.1
    assert (report.cost["steps_done"], report.noted["stopped_early"]) == (4, True)
    assert report.source == "random"
    assert "Equal epochs, not equal total" in report.noted["note"]


def test_equal_total_budget_by_hand(small_store, small_encoder, monkeypatch):
    """Steps of 2 s, 3 per epoch: a pre-training of 60 s is worth 10 further epochs."""
    seconds = [{"cpu_seconds": 5.0 + 2.0 * step, "wall_seconds": 0.0} for step in range(6)]
    read = finetune_training.read_log
    monkeypatch.setattr(
        finetune_training, "read_log", lambda path: seconds if "marrow-timing" in str(path) else read(path)
    )
    config = replace(SMALL, scratch_budget="same_total", epochs=2)
    context = replace(CPU, max_steps=5, origin=Origin("random", steps=50, cpu_seconds=60.0))
    [report] = Finetune(config).run(small_encoder.fresh(1), _data(small_store), context)
    assert report.settings["epochs"] == 12
    assert "Equal total budget: the 60 processor seconds of pre-training (50 steps)" in report.noted["note"]
    # From pre-training the same setting changes nothing.
    context = replace(context, origin=Origin("trained", steps=50, cpu_seconds=60.0))
    assert Finetune(config).run(small_encoder, _data(small_store), context)[0].settings["epochs"] == 2


def test_timing_leaves_the_training_as_it_would_be(small_store, small_encoder):
    """The steps that are timed change neither weights nor the order of the clips."""
    context = replace(CPU, origin=Origin("random", steps=1, cpu_seconds=1e-9))  # worth no epoch
    timed, untimed = (
        Finetune(replace(SMALL, scratch_budget=budget)).run(small_encoder, _data(small_store), context)[0]
        for budget in ("same_total", "same_epochs")
    )
    assert timed.settings["epochs"] == untimed.settings["epochs"] == 4
    assert timed.predictions == untimed.predictions


def test_an_interruption_while_steps_are_timed_ends_it(small_store, small_encoder, monkeypatch):
    monkeypatch.setattr(finetune_training, "fit", lambda *_: SimpleNamespace(finished=False))
    context = replace(CPU, origin=Origin("random", cpu_seconds=1.0))
    with pytest.raises(KeyboardInterrupt):
        Finetune(replace(SMALL, scratch_budget="same_total")).run(small_encoder, _data(small_store), context)


def test_unknown_cost_of_pretraining_is_an_error_where_it_is_needed(small_store, small_encoder):
    config = replace(SMALL, scratch_budget="same_total")
    with pytest.raises(ConfigError, match="what the pre-training cost is not known"):
        Finetune(config).run(small_encoder, _data(small_store), replace(CPU, origin=Origin("random")))


def test_predictions_do_not_count_as_training():
    # Steps of 4 s, predictions of 1 s: the clock stands at 4, then, after the first predictions and another step, at 9.
    log = [{"cpu_seconds": 4.0, "prediction_cpu_seconds": 1.0}, {"cpu_seconds": 9.0, "prediction_cpu_seconds": 2.0}]
    assert finetune_training.training_seconds(log, "cpu") == 8.0
    assert finetune_training.training_seconds(log[:1], "cpu") == 4.0


def test_predictions_that_a_kill_has_undone_are_not_counted(small_store, small_encoder, tmp_path):
    """The log tells of steps 3 and 6, the newest checkpoint is of step 3: what step 6 took is lost and taken anew."""
    spent = [{"step": 3, "prediction_cpu_seconds": 100.0, "prediction_wall_seconds": 200.0}]
    spent += [{"step": 6, "prediction_cpu_seconds": 5000.0, "prediction_wall_seconds": 6000.0}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in spent))
    data = _data(small_store)
    predictions = _predictions(tmp_path, small_encoder, data)
    found = predictions({"step": 6, "progress": 0.5})
    assert 100.0 <= found["prediction_cpu_seconds"] < 5000.0
    assert 200.0 <= found["prediction_wall_seconds"] < 6000.0


def _predictions(folder, encoder, data):
    fabric, _ = make_fabric("cpu", "fp32")
    head = JointsHead(encoder.feature_shape.joints, encoder.dim, len(data.classes), 4)
    recognition = Recognition(encoder, head, SMALL)
    return finetune_training._Predictions(folder, recognition, data, fabric, 8, 3)


def test_interrupted_and_resumed_is_the_same(small_store, small_encoder, tmp_path, monkeypatch):
    arguments = (small_encoder, _data(small_store), SMALL, CPU)
    (tmp_path / "whole").mkdir()
    whole, whole_report = finetune_in(tmp_path / "whole", *arguments, ONCE)

    call = finetune_training._Predictions.__call__

    def dies_in_the_third_epoch(self, entry):
        if entry["step"] == 7:
            raise KeyboardInterrupt
        return call(self, entry)

    monkeypatch.setattr(finetune_training._Predictions, "__call__", dies_in_the_third_epoch)
    (tmp_path / "pieces").mkdir()
    with pytest.raises(KeyboardInterrupt):
        finetune_in(tmp_path / "pieces", *arguments, CheckpointConfig(every_steps=1))
    monkeypatch.undo()
    pieces, pieces_report = finetune_in(tmp_path / "pieces", *arguments, CheckpointConfig(every_steps=1))
    assert pieces_report.predictions == whole_report.predictions
    ours, theirs = ({**one.encoder.state_dict(), **one.head.state_dict()} for one in (whole, pieces))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert len(list((tmp_path / "pieces" / "predictions").iterdir())) == 4


def test_two_bodies_and_clips_without_the_second(small_encoder, tmp_path):
    rng = np.random.default_rng(0)
    sequences = []
    for number in range(12):
        bodies = 1 + number % 2
        joints = rng.normal(size=(bodies, 9, 20, 3)).astype(np.float32)
        record = Record(f"clip{number}", label=number % 2, attributes={"half": number // 8})
        sequences.append(SkeletonSequence(joints, np.ones(joints.shape[:3], np.bool_), 30.0, KINECT_V1_20, record))
    store = write_store(tmp_path / "store", sequences, source="test", classes=("alone", "together"))
    [report] = Finetune(SMALL).run(small_encoder, _data(store, "half=0 -> half=1"), CPU)
    assert len(report.predictions["top1_last"]) == 4


def test_a_loss_that_is_not_finite_is_explained_without_a_file_that_is_gone(small_store, small_encoder):
    config = replace(SMALL, optimizer=OptimizerConfig(1e30), schedule=ScheduleConfig(0.0, 0.0))
    with pytest.raises(MarrowError, match="expected a finite loss") as caught:
        Finetune(config).run(small_encoder, _data(small_store), CPU)
    assert "non_finite" not in str(caught.value)


def test_too_few_clips_and_clips_without_a_label(small_store, small_encoder):
    data = TaskData(small_store, np.array([0]), np.array([1]), protocol="one")
    with pytest.raises(DataError, match="at least 2 training clips"):
        Finetune(SMALL).run(small_encoder, data, CPU)


def test_several_processes_are_refused(small_store, small_encoder, monkeypatch):
    monkeypatch.setattr(one_go, "make_fabric", lambda *_: (SimpleNamespace(world_size=2), None))
    with pytest.raises(ConfigError, match="fine-tuning runs in one process, got 2"):
        Finetune(SMALL).run(small_encoder, _data(small_store), CPU)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_clips": 1}, "batch_clips must be at least 2"),
        ({"drop_path": 1.0}, r"drop_path must lie in \[0, 1\)"),
        ({"predict_every": 0}, "predict_every must be at least 1, got 0"),
        ({"layer_decay": 0.0}, r"layer_decay must lie in \(0, 1\]"),
        ({"label_fraction": 10.0}, r"label_fraction must lie in \(0, 1\], got 10.0"),
        ({"label_seed": -1}, "label_seed must not be negative, got -1"),
        ({"epochs": 3}, "schedule.warmup_epochs must not exceed epochs, got 5 of 3"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(ConfigError, match=message):
        FinetuneConfig(**wrong)


def test_few_labels_are_a_share_of_each_class(small_store, small_encoder):
    """Four clips of each of three classes: of a half, two each; of a hundredth, still one each."""
    data = _data(small_store)
    label = np.asarray(small_store.label)

    def used(share, label_seed=None, run_seed=None, seed=5):
        config = replace(SMALL, label_fraction=share, label_seed=label_seed)
        context = replace(CPU, seed=seed, origin=Origin(seed=run_seed))
        return with_labels_used(data, config, context).train_rows

    assert np.bincount(label[used(0.5)]).tolist() == [2, 2, 2]
    assert np.bincount(label[used(0.01)]).tolist() == [1, 1, 1]
    assert set(used(0.01)) < set(used(0.5)) < set(data.train_rows)
    # The seed that is set, else the pre-training's, else the task's; 0 is one.
    assert np.array_equal(
        used(0.5, label_seed=0, run_seed=1), draw_labels(small_store, data.train_rows, "stratified", 0.5, 0)
    )
    assert np.array_equal(used(0.5, run_seed=0), used(0.5, label_seed=0))
    assert np.array_equal(used(0.5), used(0.5, label_seed=5))
    assert len({tuple(used(0.5, label_seed=seed)) for seed in range(5)}) > 1

    [report] = Finetune(replace(SMALL, label_fraction=0.5)).run(small_encoder, data, CPU)
    assert (report.task, report.num_labels_used) == ("finetune/50 % of labels", 6)
    assert report.cost["steps_per_epoch"] == 1, "a batch of four of six"
    assert "4 steps" in report.noted["note"]
    assert "with 6 labels" in report.noted["note"]
    # Four test clips are copies of training clips, whether those labels are used or not: the others are clean.
    right = np.asarray(report.predictions["top1_last"]) == label[data.test_rows]
    clean = label[data.test_rows] != 2
    assert report.metrics["top1_last_clean_percent"] == pytest.approx(100 * right[clean].mean())


def test_labels_that_are_not_used_are_not_learned_from(small_store, small_encoder, monkeypatch):
    """The same predictions where all other training clips are gone."""
    data = _data(small_store)
    [whole] = Finetune(replace(SMALL, label_fraction=0.5, label_seed=1)).run(small_encoder, data, CPU)
    rows = draw_labels(small_store, data.train_rows, "stratified", 0.5, 1)
    [alone] = Finetune(SMALL).run(small_encoder, replace(data, train_rows=rows), CPU)
    assert whole.predictions == alone.predictions
    assert alone.task == "finetune"


def test_evaluation_draws_labels_by_the_seed_of_each_run(small_runs, small_store):
    few = Finetune(replace(SMALL, label_fraction=0.5))
    found = evaluate(small_runs, small_store, "xview", tasks=[few, "knn"], context=replace(CPU, max_steps=2))
    tuned = [report for report in found.reports if report.task.startswith("finetune")]
    assert [(each.source, each.seed, each.noted["label_seed_used"]) for each in tuned] == [
        *(("trained", 3, 3), ("trained", 4, 4), ("random", 3, 3), ("random", 4, 4)),
    ]
    # Raw coordinates learn from all labels: no comparison with few.
    against = {(each.task, each.against) for each in differences(found)}
    assert against == {("finetune/50 % of labels", "random"), ("knn/pooled", "random"), ("knn/pooled", "raw")}


def test_reports_of_other_settings_do_not_stand_side_by_side(small_runs, small_store):
    def kept(config, file="xview.json", **options):
        evaluate(small_runs[0], small_store, "xview", tasks=[Finetune(config)], context=CPU, **options)
        report = EvaluationReport.load(small_runs[0] / "reports" / file)
        return [(each.source, each.task, each.settings["epochs"]) for each in report.reports if each.source != "raw"]

    one, two = replace(SMALL, epochs=1), replace(SMALL, epochs=2)
    assert kept(one) == [("trained", "finetune", 1), ("random", "finetune", 1)]
    assert kept(one, baselines=[]) == [("trained", "finetune", 1), ("random", "finetune", 1)], "asked for alike"
    beside = kept(two, "xview~2.json", baselines=[])
    assert beside == [("trained", "finetune", 2)], "a baseline of one epoch is none of two"
    few = replace(one, label_fraction=0.5)
    beside = [("trained", "finetune", 1), ("trained", "finetune/50 % of labels", 1), ("random", "finetune", 1)]
    assert kept(few, baselines=[]) == beside


def test_evaluation_puts_it_beside_scratch_and_says_so(small_runs, small_store):
    context = replace(CPU, max_steps=3)
    found = evaluate(small_runs[0], small_store, "leave-one-out:subject", tasks=[Finetune(SMALL)], context=context)
    by_source = {report.source: report for report in found.reports if report.task == "finetune"}
    assert by_source["trained"].settings["start"] == "from pre-training"
    assert by_source["random"].settings["start"] == "from scratch"
    assert by_source["trained"].cost["pretraining_cpu_seconds"] == 3.0  # the last line of the run's log
    assert len(by_source["trained"].predictions["top1_last"]) == 24
    notes = [note for note in found.notes if note.startswith("finetune")]
    assert len(notes) == 2
    assert notes[0].startswith("finetune (trained, seed 3, first fold): Fine-tuned for 0.75 epochs, 3 steps")


def test_an_encoder_in_memory_is_fine_tuned_as_the_one_on_the_disk(small_store, small_encoder, tmp_path):
    save_encoder(small_encoder, tmp_path / "encoder")
    before = {name: value.clone() for name, value in small_encoder.state_dict().items()}
    one = finetune(small_encoder, small_store, "xview", tmp_path / "one", SMALL, context=CPU).report
    two = finetune(tmp_path / "encoder", small_store, "xview", tmp_path / "two", SMALL, context=CPU).report
    assert one.predictions == two.predictions
    assert (one.fingerprints["run"], one.fingerprints["encoder"]) == ("encoder 1", two.fingerprints["encoder"])
    assert all(torch.equal(value, before[name]) for name, value in small_encoder.state_dict().items())


def test_an_encoder_of_another_version_may_have_been_made_by_settings_that_are_gone(caplog):
    provenance = {"marrow": "0.0.9", "steps": 7, "settings": {"augment": {"crop_low": 0.7, "limb_share": 0.3}}}
    assert origin_of(None, provenance) == Origin(steps=7)
    assert "0.0.9" in caplog.text
    assert "augment.limb_share" in caplog.text


def test_origin_of_a_run_and_of_an_encoder_alone(tmp_path):
    provenance = {"steps": 7, "settings": {"augment": {"crop_low": 0.7}}}
    assert origin_of(tmp_path, provenance) == Origin(steps=7, augment=AugmentConfig(crop_low=0.7))
    entry = {"step": 9, "cpu_seconds": 1.5, "wall_seconds": 2.5}
    (tmp_path / "log.jsonl").write_text(json.dumps(entry) + "\n")
    assert origin_of(tmp_path, {}) == Origin(steps=9, cpu_seconds=1.5, wall_seconds=2.5)
    # A run that was interrupted and has gone on since: its encoder is still the one of the interruption.
    kept = {"steps": 7, "cpu_seconds": 1.0, "wall_seconds": 2.0}
    assert origin_of(tmp_path, kept) == Origin(steps=7, cpu_seconds=1.0, wall_seconds=2.0)
