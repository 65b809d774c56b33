"""What every downstream task must do, whatever it measures."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.window import InputConfig
from marrow.models.blocks import DropPath
from marrow.models.encoder import Encoder, Features, FeatureShape
from marrow.skeleton.layout import KINECT_V1_20
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.memory import write_store
from marrow.tasks.base import Report, Task, TaskContext, TaskData

CLASSES, _TRAIN_PER_CLASS, _TEST_PER_CLASS, _DIM = 5, 24, 40, 16


class TableEncoder(Encoder):
    """Look every clip's feature up by its row: an encoder whose quality is known.

    Args:
        table: one feature vector per row of the store.
    """

    def __init__(self, table: Float[Tensor, "row dim"]) -> None:
        super().__init__()
        self.skeleton, self.input, self.frames_per_token = KINECT_V1_20, InputConfig(window_frames=8), 8
        self.config, self.feature_shape = None, FeatureShape(1, 1, table.shape[1])
        self.table = nn.Parameter(table)

    def forward(self, batch: Batch, drop: DropPath | None = None) -> Features:
        """Return the clips' vectors on a grid of one body, one time step and one joint."""
        tokens = self.table[batch.row][:, None, None, None, :]
        return Features(tokens, torch.ones(tokens.shape[:-1], dtype=torch.bool, device=tokens.device))

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the table."""
        return [[self.table]]

    def fresh(self, seed: int) -> "TableEncoder":
        """Return vectors that know nothing of the clips."""
        return TableEncoder(torch.randn(self.table.shape, generator=torch.Generator().manual_seed(seed)))


def check_task(task: Task, context: TaskContext | None = None) -> None:
    """Check a classification task on encoders whose quality is known.

    - Features that name the class score 100 percent, features without meaning score chance within a bound.
    - Test labels are not read before predictions are made: with other test labels the predictions are the same. A
      prediction that test labels did choose (the best epoch) must be called `..._best`.
    - The same seed gives the same predictions; the encoder comes back unchanged; a report survives its file.

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
        noise = torch.randn(len(label), _DIM, generator=torch.Generator().manual_seed(0))
        perfect = TableEncoder(3.0 * nn.functional.one_hot(label, _DIM).float() + 0.05 * noise)
        random = TableEncoder(noise)

        reports = run_afresh(task, perfect, true, context)
        for score, value in _scores(reports):
            assert value == 100.0, f"features that name the class must score 100 percent, got {value} for {score}"
        # Of many epochs the best one may lie higher than others.
        for score, value in _scores(run_afresh(task, random, true, context)):
            check_chance(value, score)

        with unchanged(random):
            first, second = (run_afresh(task, random, data, context) for data in (true, other))
        for ours, theirs in zip(first, second, strict=True):
            for name, predicted in ours.predictions.items():
                assert name.endswith("_best") or predicted == theirs.predictions[name], (
                    f"{ours.task}: predictions {name!r} changed with the test labels (or from run to run)"
                )

        for report in reports:
            assert report.num_labels_used == len(true.train_rows), f"{report.task}: num_labels_used is wrong"
            assert all(len(predicted) == len(true.test_rows) for predicted in report.predictions.values())
            check_survives(report)


def run_afresh(task: Task, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
    """Run with nothing cached."""
    reports = list(task.run(encoder, data, replace(context, features=type(context.features)())))
    assert reports, f"task {task.name!r} returned no report"
    return reports


@contextmanager
def unchanged(encoder: Encoder) -> Iterator[None]:
    """Check that an encoder keeps its weights and its mode."""
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    was_training = encoder.training
    yield
    after = encoder.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items()), "the task changed the encoder"
    assert encoder.training == was_training, "the task left the encoder in another mode"


def check_survives(report: Report) -> None:
    """Check that a report is the same when it is read from its file."""
    with tempfile.TemporaryDirectory() as folder:
        report.save(path := Path(folder) / "report.json")
        assert Report.load(path) == report, f"{report.task}: the report does not survive its file"


def check_chance(percent: float, score: str) -> None:
    """Check a score of features without meaning, within five standard deviations of a binomial score."""
    chance, clips = 1 / CLASSES, CLASSES * _TEST_PER_CLASS
    bound = 5 * 100.0 * np.sqrt(chance * (1 - chance) / clips)
    assert abs(percent - 100.0 * chance) < bound, (
        f"random features must score {100.0 * chance} within {bound:.1f}, got {percent} for {score}"
    )


def _scores(reports: list[Report]) -> list[tuple[str, float]]:
    return [
        (f"{report.task} {name}", value)
        for report in reports
        for name, value in report.metrics.items()
        if name.endswith("_percent")
    ]


def task_data(path: Path, test_label: Callable[[int], int]) -> TaskData:
    """Write a store of clips that are alike in kind and differ in content; test labels go through a function."""
    rng = np.random.default_rng(0)
    per_class = _TRAIN_PER_CLASS + _TEST_PER_CLASS
    sequences = []
    for row in range(CLASSES * per_class):
        label, is_test = row % CLASSES, row // CLASSES >= _TRAIN_PER_CLASS
        joints = rng.normal(size=(1, 2, len(KINECT_V1_20.joints), 3)).astype(np.float32)
        record = Record(f"clip{row:04d}", label=test_label(label) if is_test else label)
        present = np.ones(joints.shape[:3], dtype=np.bool_)
        sequences.append(SkeletonSequence(joints, present, 30.0, KINECT_V1_20, record))
    store = write_store(path, sequences, source="check_task", classes=[f"class {number}" for number in range(CLASSES)])
    rows, train_count = np.arange(len(sequences)), CLASSES * _TRAIN_PER_CLASS
    return TaskData(store, rows[:train_count], rows[train_count:], protocol="check")
