import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from marrow.data.augment import AugmentConfig
from marrow.errors import ConfigError, DataError
from marrow.models.features import nearest_neighbour_labels, nearest_neighbours
from marrow.tasks import get_task
from marrow.tasks.base import Report, TaskContext, TaskData, TestClips
from marrow.tasks.recognition.linear_probe import LinearProbe, ProbeConfig, _head, _splits, fit_heads
from marrow.tasks.recognition.retrieval import Knn

CPU = TaskContext(device="cpu", precision="fp32", max_steps=4)


def _data(store, protocol="xview"):
    return TaskData(store, *store.split_rows(protocol), protocol=protocol)


def test_nearest_by_cosine_not_by_distance():
    gallery = torch.tensor([[1.0, 0.0], [0.0, 5.0], [-1.0, -1.0]])
    query = torch.tensor([[9.0, 1.0], [0.1, 0.2], [-3.0, -2.0], [0.0, 1.0]])
    assert nearest_neighbours(query, gallery).tolist() == [0, 1, 2, 1]
    assert nearest_neighbour_labels(query, gallery, torch.tensor([4, 5, 6])).tolist() == [4, 5, 6, 5]


def test_nearest_agrees_with_scikit_learn_in_any_chunk():
    generator = torch.Generator().manual_seed(1)
    gallery, query = torch.randn(50, 8, generator=generator), torch.randn(33, 8, generator=generator)
    label = torch.arange(50) % 4
    oracle = KNeighborsClassifier(1, metric="cosine").fit(gallery.numpy(), label.numpy()).predict(query.numpy())
    for chunk in (1, 7, 100):
        assert nearest_neighbour_labels(query, gallery, label, chunk=chunk).tolist() == oracle.tolist()


def test_head_is_the_papers():
    norm, linear = _head(32, 500, 0.01, torch.Generator().manual_seed(0))
    assert isinstance(norm, nn.BatchNorm1d)
    assert (norm.eps, norm.affine) == (1e-6, False)
    assert linear.bias.abs().max() == 0
    assert float(linear.weight.detach().std()) == pytest.approx(0.01, rel=0.02)


def test_head_follows_plain_sgd_with_a_cosine():
    """One batch per epoch, so the whole training can be written down again with the textbook's formulas."""
    generator = torch.Generator().manual_seed(2)
    x, label = torch.randn(12, 5, generator=generator), torch.arange(12) % 3
    config = ProbeConfig(epochs=6, batch_clips=12)
    fit = fit_heads(
        lambda: iter([({"pooled": x}, label)]), {"pooled": x}, 3, config, steps_per_epoch=1, context=TaskContext("cpu")
    )
    head = _head(5, 3, 0.01, torch.Generator().manual_seed(0))
    weight, bias = head[1].weight, head[1].bias
    velocity = [torch.zeros_like(weight), torch.zeros_like(bias)]
    running_mean, running_var, expected = torch.zeros(5), torch.ones(5), []
    for step in range(6):
        mean, var = x.mean(0), x.var(0, unbiased=False)
        loss = nn.functional.cross_entropy((x - mean) / (var + 1e-6).sqrt() @ weight.T + bias, label)
        gradients = torch.autograd.grad(loss, [weight, bias])
        rate = 0.1 * 0.5 * (1 + math.cos(math.pi * step / 6))
        velocity = [0.9 * v + g for v, g in zip(velocity, gradients, strict=True)]
        with torch.no_grad():
            weight -= rate * velocity[0]
            bias -= rate * velocity[1]
            running_mean = 0.9 * running_mean + 0.1 * mean
            running_var = 0.9 * running_var + 0.1 * x.var(0)
            expected.append(((x - running_mean) / (running_var + 1e-6).sqrt() @ weight.T + bias).argmax(1))
    np.testing.assert_array_equal(fit.predictions["pooled"], torch.stack(expected).numpy())
    assert (fit.steps_done, fit.stopped_early) == (6, False)


def test_batches_cover_everything_but_a_lonely_clip():
    assert [len(part) for part in _splits(torch.arange(10), 4)] == [4, 4, 2]
    assert [len(part) for part in _splits(torch.arange(9), 4)] == [4, 4]


def test_probe_reports_each_head_and_pair(small_store, small_encoder):
    reports = LinearProbe().run(small_encoder, _data(small_store), CPU)
    assert [report.task for report in reports] == ["logistic/pooled", "linear_probe/pooled", "linear_probe/joints"]
    for report in reports[1:]:
        assert set(report.metrics) == {
            f"top1_{epoch}{clips}_percent" for epoch in ("last", "best") for clips in ("", "_clean")
        }
        assert report.metrics["top1_best_percent"] >= report.metrics["top1_last_percent"]
        assert report.cost["steps_done"] == 4
        assert report.num_labels_used == 12


def test_augmented_probe_runs_the_encoder_on_every_batch(small_store, small_encoder):
    calls = []
    small_encoder.register_forward_hook(lambda *_: calls.append(small_encoder.training))
    small_encoder.train()
    task = LinearProbe(logistic=None, augmented=AugmentConfig(min_crop_frames=4))
    reports = task.run(small_encoder, _data(small_store), CPU)
    assert [report.task for report in reports] == ["linear_probe_augmented/pooled", "linear_probe_augmented/joints"]
    # One pass over the test clips, then one batch of 12 in each of the four steps; always in eval mode.
    assert calls == [False] * 5
    assert small_encoder.training


def test_time_limit_stops_and_is_said(small_store, small_encoder):
    context = TaskContext(device="cpu", precision="fp32", max_minutes=1e-9)
    report = LinearProbe(logistic=None).run(small_encoder, _data(small_store), context)[0]
    assert report.noted["stopped_early"] is True
    assert report.cost["steps_done"] == 1


def test_solver_that_does_not_converge_is_reported(small_store, small_encoder):
    from marrow.tasks.recognition.readouts import LogisticConfig

    noted = [
        LinearProbe(logistic=LogisticConfig(max_iterations=limit)).run(small_encoder, _data(small_store), CPU)[0].noted
        for limit in (1, 5000)
    ]
    assert [each["converged"] for each in noted] == [False, True]


def test_copies_are_found_by_knn_and_left_out_of_the_clean_score(small_store, small_encoder):
    data = _data(small_store)
    clips = data.test_clips()
    assert clips.copied.sum() == 4
    assert set(clips.label[clips.copied]) == {2}
    [report] = Knn().run(small_encoder, data, CPU)
    predicted = np.array(report.predictions["top1"])
    assert (predicted[clips.copied] == 2).all()
    right = predicted == clips.label
    assert report.metrics["top1_percent"] == pytest.approx(100 * right.mean())
    assert report.metrics["top1_clean_percent"] == pytest.approx(100 * right[~clips.copied].mean())


def test_clean_score_by_hand():
    clips = TestClips(np.arange(4), np.array([0, 0, 1, 1]), np.array([True, False, False, True]), ("a", "b"))
    report = Report.scored("t", {"top1": np.array([0, 1, 1, 1])}, clips, settings={}, seed=0, num_labels_used=9)
    assert report.metrics == {"top1_percent": 75.0, "top1_clean_percent": 50.0}
    assert report.per_class == {"a": 50.0, "b": 100.0}


def test_features_are_extracted_once(small_store, small_encoder):
    calls = []
    small_encoder.register_forward_hook(lambda *_: calls.append(1))
    context = TaskContext(device="cpu", precision="fp32", max_steps=1)
    for task in (LinearProbe(), Knn()):
        task.run(small_encoder, _data(small_store), context)
    assert len(calls) == 2  # the training rows and the test rows, 12 clips each


def test_cached_rows_come_in_the_order_asked_for(small_store, small_encoder):
    context = TaskContext(device="cpu", precision="fp32")
    context.table(small_encoder, small_store, np.array([5, 2]))
    table = context.table(small_encoder, small_store, np.array([9, 2, 5]))
    alone = TaskContext(device="cpu", precision="fp32").table(small_encoder, small_store, np.array([2]))
    assert table.row.tolist() == [9, 2, 5]
    assert table.joints_kept.shape == (3, 20 * 16)
    torch.testing.assert_close(table.pooled[1:2], alone.pooled)


def test_unknown_task_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'linear_probe'"):
        get_task("linear_prob")


def test_an_empty_half_is_an_error(small_store):
    with pytest.raises(DataError, match="no test clips"):
        TaskData(small_store, np.arange(3), np.zeros(0, np.int64), protocol="nothing")
