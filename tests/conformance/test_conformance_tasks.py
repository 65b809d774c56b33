"""Every task passes the checks that are shipped, and the checks can fail."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from marrow.tasks import TASKS
from marrow.tasks.base import Report
from marrow.tasks.recognition.finetune import Finetune
from marrow.tasks.recognition.retrieval import Knn
from marrow.tasks.recognition.trainable import FinetuneConfig
from marrow.testing.tasks import check_task
from marrow.train.optim import OptimizerConfig

# What would take long as it is shipped.
SMALL = {
    "finetune": Finetune(FinetuneConfig(epochs=12, batch_clips=24, hidden_width=32, optimizer=OptimizerConfig(0.01)))
}


# Predictions of these are not one class per clip, or need more than one encoder; each is checked by the check of its
# kind in the tests of its own.
OF_ANOTHER_KIND = {
    "semi_supervised": "check_few_label_task",
    "few_shot": "check_few_label_task",
    "action_detection": "check_detection_task",
    "motion_prediction": "check_prediction_task",
    "stream_fusion": "check_task",
    "retrieval": "test_known_features",
}


@pytest.mark.parametrize("name", sorted(TASKS.keys() - OF_ANOTHER_KIND.keys()))
def test_task_passes(name):
    check_task(SMALL.get(name, TASKS[name]))


@pytest.mark.parametrize("name", sorted(OF_ANOTHER_KIND.keys() & TASKS.keys()))
def test_tasks_of_another_kind_are_checked_in_their_own_tests(name):
    [test] = (Path(__file__).parents[1] / "tasks").rglob(f"test_{name}.py")
    assert OF_ANOTHER_KIND[name] in test.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Cheat:
    """Answers with the test labels."""

    name: str = "cheat"

    def run(self, encoder, data, context):
        clips = data.test_clips()
        return [
            Report.scored(
                "cheat", {"top1": clips.label}, clips, settings={}, seed=0, num_labels_used=len(data.train_rows)
            )
        ]


@dataclass(frozen=True)
class Guess:
    """Answers always the same."""

    name: str = "guess"

    def run(self, encoder, data, context):
        clips = data.test_clips()
        zeros = 0 * clips.label
        return [
            Report.scored("guess", {"top1": zeros}, clips, settings={}, seed=0, num_labels_used=len(data.train_rows))
        ]


@dataclass(frozen=True)
class Vandal:
    """Trains the encoder that it was to leave alone."""

    name: str = "vandal"

    def run(self, encoder, data, context):
        reports = Knn().run(encoder, data, context)
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.mul_(2.0)
        return reports


@dataclass(frozen=True)
class Peeper:
    """Answers with the test labels where the features say nothing."""

    name: str = "peeper"

    def run(self, encoder, data, context):
        reports = Knn().run(encoder, data, context)
        report = reports[0]
        if report.metrics["top1_percent"] < 100.0:
            report.predictions["top1"][:40] = data.test_clips().label[:40].tolist()
        return reports


@pytest.mark.parametrize(
    ("task", "complaint"),
    [
        (Cheat(), "random features must score"),
        (Guess(), "must score 100 percent"),
        (Vandal(), "changed the encoder"),
        (Peeper(), "changed with the test labels"),
    ],
)
def test_check_complains(task, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_task(task)
