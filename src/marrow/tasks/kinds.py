"""What a task may be besides a `Task`: methods that none has to have, and what it means where they are missing."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from marrow.tasks.base import Report, Task, TaskContext, TaskData


@runtime_checkable
class PoolsFolds(Protocol):
    """A task whose predictions are not one class per clip: it scores what several folds found as one itself."""

    def pool(self, parts: Sequence[Report]) -> Report:
        """Score the findings of all folds (`Report.detail`) together."""
        ...


@runtime_checkable
class WithRaw(Protocol):
    """A task that has baselines without any encoder of its own, other than those of recognition."""

    def raw(self, data: TaskData, context: TaskContext) -> Sequence[Report]:
        """Predict without an encoder, then score: reports of the source "raw"."""
        ...


@runtime_checkable
class Quick(Protocol):
    """A task that takes long, and has a small size to see that it runs."""

    def quick(self) -> Task:
        """Return the same task, the same code path, in its smallest useful size."""
        ...


@runtime_checkable
class Suited(Protocol):
    """A task that is not for all data. Without this, a task is for clips that have labels."""

    def unsuited(self, data: TaskData) -> str | None:
        """Say why the data is not for this task, in words that follow "is left out: "; None where it is."""
        ...


def unsuited(task: Task, data: TaskData) -> str | None:
    """Say why data is not for a task; None where it is."""
    if isinstance(task, Suited):
        return task.unsuited(data)
    label = np.asarray(data.store.label)[np.concatenate([data.train_rows, data.test_rows])]
    unlabelled = int((label < 0).sum())
    return f"{unlabelled} of {len(label)} clips have no label" if unlabelled else None
