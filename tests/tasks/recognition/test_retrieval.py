"""Retrieval: rankings whose scores can be computed on paper, and an oracle for the others."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from marrow.errors import ConfigError
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.evaluate import evaluate
from marrow.tasks.recognition.retrieval import Knn, Rankings, Retrieval, RetrievalConfig
from marrow.testing.tasks import TableEncoder, task_data

CPU = TaskContext(device="cpu", precision="fp32")


def _on_a_circle(degrees):
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def test_average_precision_by_hand():
    """Clips of class 7 at the ranks 1, 3 and 6: (1/1 + 2/3 + 3/6) / 3 = 0.7222; of 8 at 2, 4, 5: (1/2 + 2/4 + 3/5) / 3.

    The gallery lies on a circle, further and further from the query, and is given in another order; lengths differ.
    """
    gallery = _on_a_circle([30.0, 10.0, 60.0, 20.0, 50.0, 40.0]) * torch.tensor(
        [[1.0], [5.0], [2.0], [3.0], [1.0], [9.0]]
    )
    label = torch.tensor([7, 7, 7, 8, 8, 8])  # by angle: 7 (10), 8 (20), 7 (30), 8 (40), 8 (50), 7 (60)
    query = _on_a_circle([0.0, 0.0, 0.0])
    found = Rankings.scored(query, torch.tensor([7, 8, 9]), gallery, label, RetrievalConfig(chunk_queries=2))
    assert found.first_hit.tolist() == [1, 2, 0]
    assert found.average_precision.tolist() == pytest.approx(
        [(1 + 2 / 3 + 3 / 6) / 3, (1 / 2 + 2 / 4 + 3 / 5) / 3, 0.0]
    )


def test_of_equally_near_clips_the_earlier_one_comes_first():
    gallery = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    for label, first in (([0, 1, 1], 2), ([1, 0, 0], 1), ([0, 0, 1], 3)):
        query = torch.tensor([[1.0, 0.0]])
        found = Rankings.scored(query, torch.tensor([1]), gallery, torch.tensor(label), RetrievalConfig())
        assert found.first_hit.tolist() == [first]


def test_average_precision_agrees_with_scikit_learn_in_any_chunk():
    generator = torch.Generator().manual_seed(0)
    gallery, query = torch.randn(60, 8, generator=generator), torch.randn(23, 8, generator=generator)
    label, asked = torch.arange(60) % 5, torch.arange(23) % 5
    cosine = torch.nn.functional.cosine_similarity(query[:, None], gallery[None], dim=2).numpy()
    expected = [
        average_precision_score(label.numpy() == int(each), row) for each, row in zip(asked, cosine, strict=True)
    ]
    for chunk in (1, 7, 100):
        found = Rankings.scored(query, asked, gallery, label, RetrievalConfig(chunk_queries=chunk))
        assert found.average_precision.tolist() == pytest.approx(expected, abs=1e-6)


def test_scores_by_hand_and_pooled_over_folds():
    """First hits at 1, 6, 0 (never) and 2, of which the first query is a copy.

    recall@1: 1 of 4, of the clean ones 0 of 3; recall@5: 2 of 4 and 1 of 3; recall@10: 3 of 4 and 2 of 3.
    mAP: (1 + 0.2 + 0 + 0.6) / 4 = 0.45, clean (0.2 + 0 + 0.6) / 3.
    """
    parts = [
        {"first_hit": [1, 6], "average_precision": [1.0, 0.2], "copied": [True, False]},
        {"first_hit": [0, 2], "average_precision": [0.0, 0.6], "copied": [False, False]},
    ]
    asked = {"ranks": [1, 5, 10]}
    reports = [
        Report("retrieval/pooled", {}, asked=asked, detail=detail, num_labels_used=labels)
        for detail, labels in zip(parts, (5, 7), strict=True)
    ]
    pooled = Retrieval().pool(reports)
    assert pooled.metrics == {
        "recall_at_1_percent": 25.0,
        "recall_at_1_clean_percent": 0.0,
        "recall_at_5_percent": 50.0,
        "recall_at_5_clean_percent": pytest.approx(100 / 3),
        "recall_at_10_percent": 75.0,
        "recall_at_10_clean_percent": pytest.approx(200 / 3),
        "map_percent": pytest.approx(45.0),
        "map_clean_percent": pytest.approx(80 / 3),
    }
    assert pooled.num_labels_used == 7
    assert pooled.intervals.keys() == pooled.metrics.keys()
    assert all(low <= pooled.metrics[name] <= high for name, (low, high) in pooled.intervals.items())


def test_the_nearest_is_that_of_knn(small_store, small_encoder):
    data = TaskData(small_store, *small_store.split_rows("xview"), protocol="xview")
    [report] = Retrieval().run(small_encoder, data, CPU)
    [knn] = Knn().run(small_encoder, data, CPU)
    assert report.predictions == {}
    assert report.metrics["recall_at_1_percent"] == pytest.approx(knn.metrics["top1_percent"])
    assert report.metrics["recall_at_1_clean_percent"] == pytest.approx(knn.metrics["top1_clean_percent"])
    assert report.num_labels_used == 12
    assert Report.from_dict(json.loads(json.dumps(asdict(report)))) == report


def test_known_features(tmp_path):
    """Features that name the class find only that; features without meaning find what chance does."""
    data = task_data(tmp_path / "store", lambda label: label)
    label = torch.tensor(np.asarray(data.store.label))
    [perfect] = Retrieval().run(TableEncoder(torch.nn.functional.one_hot(label, 16).float()), data, CPU)
    assert set(perfect.metrics.values()) == {100.0}
    noise = torch.randn(len(label), 16, generator=torch.Generator().manual_seed(0))
    encoder = TableEncoder(noise)
    [random] = Retrieval().run(encoder, data, CPU)
    # 200 queries: one standard deviation of recall@1 is 100 * sqrt(0.2 * 0.8 / 200) = 2.8 points.
    assert random.metrics["recall_at_1_percent"] == pytest.approx(20.0, abs=14.0)
    # A clip of the class is among 5 drawn of 120, 24 of them right, with 1 - 96/120 * 95/119 * ... * 92/116 = 0.679.
    missed = np.prod([(96 - each) / (120 - each) for each in range(5)])
    assert random.metrics["recall_at_5_percent"] == pytest.approx(100 * (1 - missed), abs=5 * 3.3)
    # The expectation of average precision is a little above the share of the class.
    assert 20.0 < random.metrics["map_percent"] < 27.0
    assert torch.equal(encoder.table, noise)


def test_all_folds_are_pooled(small_runs, small_store):
    found = evaluate(small_runs[0], small_store, "leave-one-out:subject", tasks=[Retrieval()], context=CPU)
    for report in (report for report in found.reports if report.source != "raw"):
        assert len(report.detail["first_hit"]) == 24
        assert report.settings["folds"] == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ranks": ()}, "ranks must be whole numbers from 1 on"),
        ({"ranks": (0, 5)}, r"got \[0, 5\]"),
        ({"chunk_queries": 0}, "chunk_queries must be at least 1"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(ConfigError, match=message):
        RetrievalConfig(**wrong)
