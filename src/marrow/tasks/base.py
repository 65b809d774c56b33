"""What a downstream task is given, and what it has to offer."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64
from lightning_fabric import Fabric

from marrow.data.augment import AugmentConfig
from marrow.errors import NOT_NEGATIVE, POSITIVE, DataError, at_least, check_ranges
from marrow.models.encoder import Encoder
from marrow.store.format import Store
from marrow.tasks.evaluation_report import Report, TestClips
from marrow.tasks.features import FeatureCache, FeatureTable
from marrow.train.compiled import Compile
from marrow.train.device import Precision, make_fabric

__all__ = ["Origin", "Report", "Task", "TaskContext", "TaskData", "TestClips"]


@dataclass(frozen=True)
class TaskData:
    """A store and the rows of one protocol.

    Args:
        store: the data.
        train_rows: rows whose labels may be used.
        test_rows: rows that are scored; their labels are read for scoring only, after all predictions are made.
        protocol: name of the split, for the report.
    """

    store: Store
    train_rows: Int64[np.ndarray, " train"]
    test_rows: Int64[np.ndarray, " test"]
    protocol: str

    def __post_init__(self) -> None:
        for half, rows in (("train", self.train_rows), ("test", self.test_rows)):
            if len(rows) == 0:
                raise DataError(f"protocol {self.protocol!r} has no {half} clips in this store")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return tuple(self.store.classes)

    def train_labels(self) -> Int64[np.ndarray, " train"]:
        """Return the labels that may be learned from."""
        labels = self._labels(self.train_rows)
        if len(labels) > 1 and len(np.unique(labels)) == 1:
            raise DataError(
                f"protocol {self.protocol!r}: there is nothing to tell apart: all {len(labels)} training clips are of "
                f"the class {self.classes[labels[0]]!r}. Choose a protocol whose training half holds two classes."
            )
        return labels

    def test_clips(self, *, may_lack_labels: bool = False) -> TestClips:
        """Read the test labels. Called once the predictions are there.

        Args:
            may_lack_labels: let labels be -1, as those of untrimmed recordings are, whose segments have the classes.
        """
        label = np.asarray(self.store.label)[self.test_rows].astype(np.int64)
        copies = self.store.duplicates(self.train_rows, self.test_rows)
        return TestClips(
            self.test_rows,
            label if may_lack_labels else self._labels(self.test_rows),
            np.isin(self.test_rows, np.asarray(copies)),
            self.classes,
        )

    def _labels(self, rows: Int64[np.ndarray, " row"]) -> Int64[np.ndarray, " row"]:
        label = np.asarray(self.store.label)[rows].astype(np.int64)
        if label.min() < 0 or label.max() >= len(self.classes):
            raise DataError(
                f"protocol {self.protocol!r}: labels must lie in 0..{len(self.classes) - 1} "
                f"(the store names {len(self.classes)} classes), found {label.min()}..{label.max()}. "
                "Clips without a label cannot take part in a scored task."
            )
        return label


@dataclass(frozen=True)
class Origin:
    """Where the encoder that a task is given comes from: what it cost, and how its clips were varied.

    Args:
        source: "trained", or "random" for the baseline at random initialisation (to fine-tune it is to train from
            scratch). What follows is then about the pre-training that it is compared with.
        steps: optimizer steps of the pre-training; None where unknown.
        cpu_seconds: processor seconds of the pre-training; None where unknown.
        wall_seconds: seconds of the pre-training on the clock; None where unknown.
        augment: its augmentation; None where unknown.
        seed: its seed; None where unknown.
    """

    source: str = "trained"
    steps: int | None = None
    cpu_seconds: float | None = None
    wall_seconds: float | None = None
    augment: AugmentConfig | None = None
    seed: int | None = None

    @property
    def start(self) -> str:
        """Where a training of the encoder starts, as reports say it."""
        return "from scratch" if self.source == "random" else "from pre-training"

    def from_scratch(self) -> "Origin":
        """Return what is known, of the same architecture at random initialisation."""
        return replace(self, source="random")

    def seconds(self, device_type: str) -> float | None:
        """Return what the pre-training cost, on the clock that counts: the processor's on a CPU, else the wall's."""
        return self.cpu_seconds if device_type == "cpu" else self.wall_seconds


@dataclass(frozen=True)
class TaskContext:
    """Where and how a task computes.

    Args:
        device: "auto", "cpu", "cuda", ...
        precision: "auto", "fp32" or "bf16".
        seed: of everything random in the task.
        batch_clips: clips per forward pass when features are extracted.
        compile: whether the steps of fine-tuning, detection and prediction are compiled, and captured on a GPU: "on",
            "off", or "auto", where it is known to pay. A frozen encoder is captured unless it is "off".
        max_steps: at most so many optimizer steps per trained head; None for as many as the protocol has.
        max_minutes: stop a trained head after so many minutes; None for no limit.
        features: the features extracted so far; sharing one between tasks saves running the encoder again.
        origin: where the encoder comes from.
    """

    device: str = "auto"
    precision: Precision = "auto"
    seed: int = 0
    batch_clips: int = 64
    compile: Compile = "auto"
    max_steps: int | None = None
    max_minutes: float | None = None
    features: FeatureCache = field(default_factory=FeatureCache)
    origin: Origin = field(default_factory=Origin)

    def __post_init__(self) -> None:
        check_ranges(self, seed=NOT_NEGATIVE, max_steps=at_least(1), max_minutes=POSITIVE)

    def fabric(self) -> Fabric:
        """Return what computes on the device and in the precision."""
        return make_fabric(self.device, self.precision)[0]

    def tables(self, encoder: Encoder, data: TaskData) -> tuple[FeatureTable, FeatureTable]:
        """Return the features of the training and of the test clips."""
        return self.table(encoder, data.store, data.train_rows), self.table(encoder, data.store, data.test_rows)

    def table(self, encoder: Encoder, store: Store, rows: Int64[np.ndarray, " row"]) -> FeatureTable:
        """Return the features of some rows, extracting those that are not cached."""
        return self.features.table(
            encoder,
            store,
            rows,
            batch_clips=self.batch_clips,
            device=self.device,
            precision=self.precision,
            captured=self.compile != "off",
        )


@runtime_checkable
class Task(Protocol):
    """A downstream evaluation of a frozen or tuned encoder."""

    @property
    def name(self) -> str:
        """How the command line and reports refer to the task."""
        ...

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> Sequence[Report]:
        """Evaluate an encoder: one report per variant (kind of pooling, kind of head)."""
        ...


@runtime_checkable
class PoolsFolds(Protocol):
    """A task whose predictions are not one class per clip: it scores what several folds found as one itself."""

    def pool(self, parts: Sequence[Report]) -> Report:
        """Score the findings of all folds (`Report.detail`) together."""
        ...


@runtime_checkable
class WithRaw(Protocol):
    """A task that has baselines without any encoder of its own, other than those of recognition.

    Where it has a true `raw_of_recognition`, they stand beside those of recognition, not in their place.
    """

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
    return task.unsuited(data) if isinstance(task, Suited) else without_labels(data)


def without_labels(data: TaskData) -> str | None:
    """Say how many clips have no label; None where all have one."""
    label = np.asarray(data.store.label)[np.concatenate([data.train_rows, data.test_rows])]
    unlabelled = int((label < 0).sum())
    return f"{unlabelled} of {len(label)} clips have no label" if unlabelled else None
