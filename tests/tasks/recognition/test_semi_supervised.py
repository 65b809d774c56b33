"""Few labels: means over draws by hand, folds that are pooled, and draws that leave hardly anything to learn from."""

from dataclasses import replace

import numpy as np
import pytest

from marrow.data.augment import AugmentConfig
from marrow.data.label_draws import LabelDraw, LabelLists, draw_labels
from marrow.errors import ConfigError
from marrow.tasks.base import Origin, Report, TaskContext, TaskData, TestClips
from marrow.tasks.evaluate import evaluate
from marrow.tasks.recognition.finetune import Finetune
from marrow.tasks.recognition.over_draws import DrawnPrediction, LabelChoice, pooled_over_draws, report_over_draws
from marrow.tasks.recognition.semi_supervised import SemiSupervised, SemiSupervisedConfig
from marrow.tasks.recognition.trainable import FinetuneConfig
from marrow.testing.few_labels import check_few_label_task
from marrow.train.optim import OptimizerConfig, ScheduleConfig

CPU = TaskContext(device="cpu", precision="fp32")
SMALL = FinetuneConfig(
    epochs=4,
    batch_clips=4,
    hidden_width=16,
    optimizer=OptimizerConfig(0.01),
    schedule=ScheduleConfig(1.0, 1e-4),
    augment=AugmentConfig(crop_low=1.0, rotation_radians=0.0),
    predict_every=2,
)


def _data(store, protocol="xview"):
    return TaskData(store, *store.split_rows(protocol), protocol=protocol)


def _choice(seed, labels, missed=()):
    rows = np.arange(labels)
    return LabelChoice(seed, rows, rows, rows % 2, missed)


def _report(predictions, best=None, rows=4, label=(0, 0, 1, 1), copied=(True, False, False, False), labels=(3, 4)):
    clips = TestClips(np.arange(rows), np.array(label), np.array(copied), ("a", "b"))
    found = [
        DrawnPrediction(
            _choice(seed, labels[seed], ("b",) if seed else ()),
            np.array(predicted),
            None if best is None else np.array(best[seed]),
        )
        for seed, predicted in enumerate(predictions)
    ]
    return report_over_draws(Report("few", {}, noted={"note": "said"}), found, clips)


def test_defaults_are_the_fields():
    config = SemiSupervisedConfig()
    assert (config.fractions, config.draws) == ((0.01, 0.05, 0.1, 0.2), 5)
    assert replace(config.finetune, predict_every=1) == FinetuneConfig()


def test_means_over_draws_by_hand():
    """Labels 0 0 1 1. The first draw is right about 3 clips, the second about 1.

    Mean (75 + 25) / 2 = 50; sample standard deviation sqrt(25^2 + 25^2) = 35.36. Without the first clip, a copy: 2 and
    0 of 3, mean 33.3. Best epochs: all right and 2 of 4, mean 75; without the copy 3 and 2 of 3 (5 of 6).
    Class a: 2 of 2 and 1 of 2, recall 75; class b: 1 of 2 and 0 of 2, recall 25.
    """
    report = _report([[0, 0, 1, 0], [0, 1, 0, 0]], best=[[0, 0, 1, 1], [1, 0, 1, 0]])
    assert report.metrics == {
        "top1_percent": 50.0,
        "top1_clean_percent": pytest.approx(100 / 3),
        "top1_best_percent": 75.0,
        "top1_best_clean_percent": pytest.approx(500 / 6),
        "top1_draws_std_percent": pytest.approx(35.3553391),
    }
    assert report.per_class == {"a": 75.0, "b": 25.0}
    assert report.predictions == {}
    assert report.num_labels_used == 4  # of 3 and 4 the mean, 3.5, to the even number
    first, second = report.detail["draws"]
    assert (first["seed"], first["labels"], first["classes_missed"]) == (0, 3, [])
    assert (second["seed"], second["labels"], second["classes_missed"]) == (1, 4, ["b"])
    assert second["predictions"] == [0, 1, 0, 0]
    assert second["scores"]["top1_percent"] == 25.0
    assert first["scores"]["top1_clean_percent"] == pytest.approx(200 / 3)


def test_the_interval_is_that_of_the_mean_over_draws():
    """Right in every draw or in none: the clips are all the chance there is; right in half of the draws each: none."""
    many = np.arange(400) % 2
    clips = {"rows": 400, "label": tuple(0 * many), "copied": (False,) * 400}
    certain = _report([many, many], **clips).intervals["top1_percent"]
    # As for 400 throws of a coin: 50 -+ 1.96 * 50 / 20 = 4.9.
    assert certain == (pytest.approx(45.1, abs=0.4), pytest.approx(54.9, abs=0.4))
    assert _report([many, 1 - many], **clips).intervals["top1_percent"] == (50.0, 50.0)


def test_folds_are_pooled_by_draw():
    """4 and 2 clips: a mean over folds would count those of the second fold twice."""
    first = _report([[0, 0, 1, 0], [0, 1, 0, 0]])
    second = _report([[1, 1], [1, 0]], rows=2, label=(1, 1), copied=(False, False), labels=(5, 6))
    pooled = pooled_over_draws([first, second])
    # 3 + 2 of 6 and 1 + 1 of 6; without the copy 2 + 2 of 5 and 0 + 1 of 5.
    assert pooled.metrics["top1_percent"] == pytest.approx(100 * (5 / 6 + 2 / 6) / 2)
    assert pooled.metrics["top1_clean_percent"] == pytest.approx(100 * (4 / 5 + 1 / 5) / 2)
    assert pooled.metrics["top1_draws_std_percent"] == pytest.approx(100 * (3 / 6) / np.sqrt(2))
    assert [draw["labels"] for draw in pooled.detail["draws"]] == [4, 5]
    assert pooled.detail["draws"][1]["predictions"] == [0, 1, 0, 0, 1, 0]
    assert (pooled.task, pooled.noted) == ("few", {"note": "said"})


def test_one_draw_has_no_spread():
    assert set(_report([[0, 0, 1, 0]]).metrics) == {"top1_percent", "top1_clean_percent"}


def test_it_passes_the_check():
    check_few_label_task(SemiSupervised(SemiSupervisedConfig(fractions=(0.05, 0.2), draws=2, readout="linear")))


@pytest.mark.slow
def test_finetuning_passes_the_check():
    finetune = replace(SMALL, epochs=30, batch_clips=24, hidden_width=32, predict_every=15)
    check_few_label_task(SemiSupervised(SemiSupervisedConfig(fractions=(0.2,), draws=2, finetune=finetune)))


def test_each_draw_is_a_finetuning_on_its_clips(small_store, small_encoder):
    data = _data(small_store)
    before = {name: value.clone() for name, value in small_encoder.state_dict().items()}
    config = SemiSupervisedConfig(fractions=(0.5,), draws=2, label_seed=4, finetune=SMALL)
    [report] = SemiSupervised(config).run(small_encoder, data, CPU)
    assert (report.task, report.num_labels_used) == ("semi_supervised/50 %", 6)
    assert set(report.metrics) == {
        *(f"top1{epoch}{clips}_percent" for epoch in ("", "_best") for clips in ("", "_clean")),
        "top1_draws_std_percent",
    }
    for draw in report.detail["draws"]:
        rows = draw_labels(small_store, data.train_rows, "stratified", 0.5, draw["seed"])
        [alone] = Finetune(SMALL).run(small_encoder, replace(data, train_rows=rows), replace(CPU, seed=draw["seed"]))
        assert draw["predictions"] == alone.predictions["top1_last"]
        assert draw["predictions_best"] == alone.predictions["top1_best"]
    assert [draw["seed"] for draw in report.detail["draws"]] == [4, 5]
    assert all(np.array_equal(before[name], value) for name, value in small_encoder.state_dict().items())
    assert report.noted["note"].startswith("Fine-tuned from pre-training on 6 labels in each of 2 draws, 4 steps, ")


def test_from_scratch_has_no_layer_decay(small_store, small_encoder):
    context = replace(CPU, max_steps=1, origin=Origin("random", seed=9))
    config = SemiSupervisedConfig(fractions=(0.5,), draws=1, finetune=SMALL)
    [report] = SemiSupervised(config).run(small_encoder.fresh(9), _data(small_store), context)
    assert (report.source, report.settings["layer_decay"], report.settings["start"]) == ("random", 1.0, "from scratch")
    assert report.detail["draws"][0]["seed"] == 0, "the draw does not follow the seed of a run"


def test_one_clip_per_class_and_draws_of_a_single_class(small_store, small_encoder):
    """1 % of four clips per class: three clips, one batch. Of 12 uniformly 9 %: one clip, whose class it is."""
    data = _data(small_store)
    config = SemiSupervisedConfig(fractions=(0.01,), draws=2, finetune=SMALL)
    [report] = SemiSupervised(config).run(small_encoder, data, CPU)
    assert (report.task, report.num_labels_used) == ("semi_supervised/1 %", 3)
    assert report.cost["steps_done"] == [4]

    for readout in ("finetune", "linear"):
        config = SemiSupervisedConfig((0.09,), 3, "uniform", readout=readout, finetune=SMALL)
        [report] = SemiSupervised(config).run(small_encoder, data, CPU)
        for draw in report.detail["draws"]:
            row = draw_labels(small_store, data.train_rows, "uniform", 0.09, draw["seed"])[0]
            assert draw["predictions"] == [int(small_store.label[row])] * 12
            assert len(draw["classes_missed"]) == 2
        # Four of twelve test clips are of each class.
        assert report.metrics["top1_percent"] == pytest.approx(100 / 3)
        assert "A single class is held by 3 of 3" in report.noted["note"]


def test_a_batch_of_two_clips_is_learned_from(small_store, small_encoder, tmp_path):
    """The fewest clips that can differ in class: BatchNorm has two to normalise over."""
    data = _data(small_store)
    names = tuple(small_store.ids[row] for row in data.train_rows[[0, 4]])
    lists = LabelLists(small_store.fingerprint, "xview", "uniform", (LabelDraw("xview", 0.2, 0, names),))
    lists.save(tmp_path / "two.json")
    config = SemiSupervisedConfig((0.2,), 1, "uniform", lists=tmp_path / "two.json", finetune=SMALL)
    [report] = SemiSupervised(config).run(small_encoder, data, CPU)
    assert report.num_labels_used == 2
    assert set(report.detail["draws"][0]["predictions"]) <= set(np.unique(small_store.label))


def test_draws_follow_their_own_seed_and_lists_give_the_same(small_store, small_encoder, tmp_path):
    data = _data(small_store)
    LabelLists.drawn(small_store, "xview", "uniform", (0.3, 0.6), (0, 1)).save(tmp_path / "labels.json")
    config = SemiSupervisedConfig((0.3, 0.6), 2, "uniform", readout="linear")
    drawn = SemiSupervised(config).run(small_encoder, data, CPU)
    listed = SemiSupervised(replace(config, lists=tmp_path / "labels.json")).run(small_encoder, data, CPU)
    other = SemiSupervised(config).run(small_encoder, data, replace(CPU, seed=7, origin=Origin(seed=8)))
    assert [report.detail for report in drawn] == [report.detail for report in listed]
    assert [report.detail for report in drawn] == [report.detail for report in other]
    assert [report.task for report in drawn] == ["semi_supervised_linear/30 %", "semi_supervised_linear/60 %"]
    with pytest.raises(ConfigError, match=r"hold 2 draws of 0\.3, 3 were asked for"):
        SemiSupervised(replace(config, lists=tmp_path / "labels.json", draws=3)).run(small_encoder, data, CPU)


def test_evaluation_pools_folds(small_runs, small_store):
    task = SemiSupervised(SemiSupervisedConfig((0.3,), 2, readout="linear"))
    found = evaluate(small_runs[0], small_store, "leave-one-out:view", tasks=[task], context=CPU)
    reports = [report for report in found.reports if report.task.startswith("semi")]
    assert [report.source for report in reports] == ["trained", "random", "raw"]
    label = np.asarray(found.test_labels)
    for report in reports:
        right = [np.mean(np.asarray(draw["predictions"]) == label) for draw in report.detail["draws"]]
        assert report.metrics["top1_percent"] == pytest.approx(100 * np.mean(right))


def test_quick_is_the_same_in_small(small_store, small_encoder):
    quick = SemiSupervised().quick().config
    assert (quick.fractions, quick.draws, quick.finetune.epochs) == ((0.01, 0.05), 1, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fractions": (10.0,)}, r"a share of labels must lie in \(0, 1\], got 10 \(1 % is 0.01\)"),
        ({"fractions": ()}, "expected one amount of labels or several different ones"),
        ({"draws": 0}, "draws must be at least 1"),
        ({"label_seed": -2}, "label_seed must not be negative, got -2"),
        ({"finetune": FinetuneConfig(label_fraction=0.5)}, "set semi_supervised.fractions"),
        ({"finetune": FinetuneConfig(label_seed=1)}, "set semi_supervised.fractions and semi_supervised.label_seed"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(ConfigError, match=message):
        SemiSupervisedConfig(**wrong)
