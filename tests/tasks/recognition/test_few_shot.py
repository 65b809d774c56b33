"""A few clips per class: readouts on points that can be drawn on paper, and the draws."""

import numpy as np
import pytest
import torch

from marrow.data.label_draws import LabelLists, draw_labels
from marrow.errors import ConfigError
from marrow.tasks.base import TaskContext, TaskData
from marrow.tasks.evaluate import evaluate
from marrow.tasks.recognition.few_shot import FewShot, FewShotConfig
from marrow.tasks.recognition.linear_probe import LinearProbe, ProbeConfig
from marrow.tasks.recognition.readouts import Logistic, LogisticConfig, nearest_class_mean, standardised
from marrow.testing.few_labels import check_few_label_task

CPU = TaskContext(device="cpu", precision="fp32")


def _data(store, protocol="xview"):
    return TaskData(store, *store.split_rows(protocol), protocol=protocol)


def test_defaults_are_the_usual_ones():
    config = FewShotConfig()
    assert (config.shots, config.draws) == ((1, 2, 5, 10), 5)


def test_it_passes_the_check():
    check_few_label_task(FewShot(FewShotConfig(shots=(1, 5), draws=2)))


def test_nearest_class_mean_by_hand():
    """Class 4 has the directions 0 and 90 degrees, of which the mean is at 45, however long they are; class 6 has 100.

    A query at 60 degrees is 15 from the first mean and 40 from the second; one at 80 is 35 and 20 away, though its
    nearest clip, at 90, is of class 4.
    """

    def at(degrees, length=1.0):
        angle = np.deg2rad(degrees)
        return [length * np.cos(angle), length * np.sin(angle)]

    features = torch.tensor([at(100), at(0, 9.0), at(90)])
    query = torch.tensor([at(60), at(80, 5.0)])
    assert nearest_class_mean(features, np.array([6, 4, 4]), query).tolist() == [4, 6]


def test_features_are_standardised_by_all_training_clips():
    train, test = torch.tensor([[0.0, 1.0], [2.0, 5.0]]), torch.tensor([[3.0, 3.0]])
    # Means 1 and 3, standard deviations (of all, not of a sample) 1 and 2.
    ours, theirs = standardised(train, test)
    np.testing.assert_allclose(ours, [[-1, -1], [1, 1]])
    np.testing.assert_allclose(theirs, [[2, 0]])


def test_one_class_is_the_answer_to_everything():
    fitted = Logistic.fitted(np.ones((3, 2)), np.array([4, 4, 4]), LogisticConfig())
    assert fitted.predict(np.zeros((5, 2))).tolist() == [4] * 5


def test_with_all_clips_it_is_the_logistic_probe(small_store, small_encoder):
    """Four clips of each class, of which four are used: nothing is left to chance."""
    reports = {
        r.task: r for r in FewShot(FewShotConfig(shots=(4,), draws=2)).run(small_encoder, _data(small_store), CPU)
    }
    probe = LinearProbe(ProbeConfig(epochs=1)).run(small_encoder, _data(small_store), CPU)[0]
    assert probe.task == "logistic/pooled"
    report = reports["few_shot_logistic/4 per class"]
    assert [draw["predictions"] for draw in report.detail["draws"]] == [probe.predictions["top1"]] * 2
    assert report.metrics["top1_draws_std_percent"] == 0.0
    assert report.metrics["top1_percent"] == pytest.approx(probe.metrics["top1_percent"])
    assert report.metrics["top1_clean_percent"] == pytest.approx(probe.metrics["top1_clean_percent"])
    assert report.per_class == pytest.approx(probe.per_class)


def test_reports_say_what_they_used(small_store, small_encoder):
    reports = {
        report.task: report
        for report in FewShot(FewShotConfig(shots=(1, 9), draws=3)).run(small_encoder, _data(small_store), CPU)
    }
    assert list(reports) == [
        f"few_shot_{readout}/{shots} per class" for shots in (1, 9) for readout in ("logistic", "nearest_mean")
    ]
    one, nine = reports["few_shot_logistic/1 per class"], reports["few_shot_nearest_mean/9 per class"]
    assert (one.num_labels_used, nine.num_labels_used) == (3, 12)
    assert "note" not in one.settings
    assert nine.noted["note"] == (
        "3 classes have fewer than 9 training clips, all of which are used: nod (4), wave (4), kick (4)."
    )
    assert [draw["seed"] for draw in one.detail["draws"]] == [0, 1, 2]
    assert {draw["labels"] for draw in one.detail["draws"]} == {3}


def test_the_clips_that_were_drawn_are_the_ones_that_are_learned_from(small_store, small_encoder):
    """With training rows in any order: the nearest mean of one clip per class is the nearest of those clips."""
    data = _data(small_store)
    shuffled = TaskData(data.store, data.train_rows[::-1].copy(), data.test_rows, protocol="xview")
    pick = draw_labels(small_store, data.train_rows, "per_class", 1.0, 3)
    table = CPU.table(small_encoder, small_store, data.train_rows)
    query = CPU.table(small_encoder, small_store, data.test_rows)
    train, test = standardised(table.pooled, query.pooled)
    chosen = train[np.searchsorted(data.train_rows, pick)]
    cosine = test @ (chosen / np.linalg.norm(chosen, axis=1, keepdims=True)).T
    expected = small_store.label[pick][cosine.argmax(1)].tolist()
    [_, report] = FewShot(FewShotConfig(shots=(1,), draws=1, label_seed=3)).run(small_encoder, data, CPU)
    assert report.detail["draws"][0]["predictions"] == expected
    [_, of_shuffled] = FewShot(FewShotConfig(shots=(1,), draws=1, label_seed=3)).run(small_encoder, shuffled, CPU)
    # The draw of shuffled rows is another one; what it says must still fit the labels it drew.
    assert of_shuffled.detail["draws"][0]["labels"] == 3


def test_published_lists_give_what_is_drawn_here(small_store, small_encoder, tmp_path):
    data = _data(small_store)
    LabelLists.drawn(small_store, "xview", "per_class", (1.0, 2.0), (0, 1)).save(tmp_path / "labels.json")
    config = FewShotConfig(shots=(1, 2), draws=2)
    drawn = FewShot(config).run(small_encoder, data, CPU)
    listed = FewShot(FewShotConfig((1, 2), 2, lists=tmp_path / "labels.json")).run(small_encoder, data, CPU)
    assert [report.detail for report in drawn] == [report.detail for report in listed]
    LabelLists.drawn(small_store, "xview", "uniform", (0.5,), (0,)).save(tmp_path / "shares.json")
    with pytest.raises(ConfigError, match="holds draws of the scheme uniform, per_class is asked for"):
        FewShot(FewShotConfig((1,), 1, lists=tmp_path / "shares.json")).run(small_encoder, data, CPU)


def test_all_folds_are_pooled_by_draw(small_runs, small_store):
    task = FewShot(FewShotConfig(shots=(2,), draws=3))
    found = evaluate(small_runs[0], small_store, "leave-one-out:subject", tasks=[task], context=CPU)
    label = np.asarray(found.test_labels)
    for report in (report for report in found.reports if report.task.startswith("few_shot")):
        draws = report.detail["draws"]
        right = [np.mean(np.asarray(draw["predictions"]) == label) for draw in draws]
        assert [draw["scores"]["top1_percent"] for draw in draws] == pytest.approx(100 * np.array(right))
        assert report.metrics["top1_percent"] == pytest.approx(100 * np.mean(right))
        assert report.settings["folds"] == 4
        assert report.num_labels_used == 6


def test_quick_is_the_same_in_small():
    quick = FewShot().quick()
    assert (quick.config.shots, quick.config.draws) == ((1, 2), 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shots": (0,)}, "clips per class must be a whole number from 1 on, got 0"),
        ({"shots": ()}, "expected one amount of labels or several different ones"),
        ({"shots": (1, 1)}, "several different ones"),
        ({"draws": 0}, "draws must be at least 1, got 0"),
        ({"label_seed": -1}, "label_seed must not be negative, got -1"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(ConfigError, match=message):
        FewShotConfig(**wrong)
