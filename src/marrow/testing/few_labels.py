"""What every task must do that learns from several draws of few labels: `check_task` for predictions by draw."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from marrow.tasks.base import PoolsFolds, Report, Task, TaskContext
from marrow.testing.tasks import (
    CLASSES,
    TableEncoder,
    check_chance,
    check_survives,
    run_afresh,
    task_data,
    unchanged,
)


def check_few_label_task(task: Task, context: TaskContext | None = None) -> None:
    """Check a task whose reports keep their predictions by draw (`Report.detail["draws"]`).

    - Features that name the class score 100 percent in every draw, features without meaning chance within a bound.
    - Test labels are not read before predictions are made: with other test labels the predictions are the same. Those
      that test labels did choose (the best epoch) are called `predictions_best`.
    - Each report learns from as many labels as it says, and its score is the mean over its draws.
    - The encoder comes back unchanged, and the test clips of two halves pool to the score of the whole.
    - A report survives its file.

    Args:
        task: to be checked.
        context: where it computes; the CPU in fp32 by default.

    Raises:
        AssertionError: says which of these does not hold.
    """
    context = context or TaskContext(device="cpu", precision="fp32")
    with tempfile.TemporaryDirectory() as folder:
        true = task_data(Path(folder) / "true", lambda label: label)
        other = task_data(Path(folder) / "other", lambda label: (label + 1) % CLASSES)
        label = torch.tensor(np.asarray(true.store.label))
        noise = torch.randn(len(label), 16, generator=torch.Generator().manual_seed(0))
        # One dimension per class and none besides: one clip per class must be enough.
        perfect = TableEncoder(3.0 * nn.functional.one_hot(label, CLASSES).float() + 0.05 * noise[:, :CLASSES])
        random = TableEncoder(noise)

        for report in run_afresh(task, perfect, true, context):
            _check_form(report, len(true.train_rows))
            for draw in report.detail["draws"]:
                value = draw["scores"]["top1_percent"]
                assert value == 100.0, (
                    f"features that name the class must score 100 percent, got {value}: {report.task}"
                )
            check_survives(report)

        with unchanged(random):
            first, second = (run_afresh(task, random, data, context) for data in (true, other))
        for ours, theirs in zip(first, second, strict=True):
            # The best epoch is the largest of many, so it is left out.
            check_chance(ours.metrics["top1_percent"], ours.task)
            assert _predictions(ours) == _predictions(theirs), (
                f"{ours.task}: predictions changed with the test labels (or from run to run)"
            )

        assert isinstance(task, PoolsFolds), "the predictions of several draws are pooled over folds by the task itself"
        rows = true.test_rows
        halves = [run_afresh(task, random, replace(true, test_rows=half), context) for half in (rows[:70], rows[70:])]
        for whole, *parts in zip(first, *halves, strict=True):
            pooled = task.pool(parts)
            assert _predictions(pooled) == _predictions(whole), f"{whole.task}: pooled predictions differ"
            assert np.isclose(pooled.metrics["top1_percent"], whole.metrics["top1_percent"]), (
                f"{whole.task}: two halves pool to {pooled.metrics['top1_percent']}, the whole scores "
                f"{whole.metrics['top1_percent']}"
            )


def _predictions(report: Report) -> list[list[int]]:
    return [draw["predictions"] for draw in report.detail["draws"]]


def _check_form(report: Report, train_clips: int) -> None:
    assert not report.predictions, f"{report.task}: predictions are of draws, and belong into detail"
    counts = [draw["labels"] for draw in report.detail["draws"]]
    assert report.num_labels_used == round(float(np.mean(counts))), f"{report.task}: num_labels_used is wrong"
    assert max(counts) < train_clips, f"{report.task}: {max(counts)} labels of {train_clips} are not few"
    mean = float(np.mean([draw["scores"]["top1_percent"] for draw in report.detail["draws"]]))
    assert np.isclose(report.metrics["top1_percent"], mean), f"{report.task}: the score is not the mean over draws"
