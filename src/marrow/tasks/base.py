"""What a downstream task is given, and the report that it returns."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int64

from marrow.errors import ConfigError, DataError
from marrow.files import write_text_whole
from marrow.models.encoder import Encoder
from marrow.store.format import Store
from marrow.tasks import metrics
from marrow.tasks.features import FeatureCache, FeatureTable
from marrow.tasks.numbers import About, Quantity, scored_by
from marrow.tasks.origin import Origin
from marrow.train.compiled import Compile
from marrow.train.device import Precision


@dataclass(frozen=True)
class TestClips:
    """What predictions are scored against.

    Args:
        row: the clips' rows in the store.
        label: their classes.
        copied: which of them are bit-identical to a clip that was trained on. A score that counts them is "official"
            where the protocol does; a score without them is "clean".
        classes: class names.
    """

    __test__ = False  # the name begins with "Test", but this is nothing for pytest to collect

    row: Int64[np.ndarray, " clip"]
    label: Int64[np.ndarray, " clip"]
    copied: Bool[np.ndarray, " clip"]
    classes: tuple[str, ...]

    @classmethod
    def joined(cls, parts: Sequence["TestClips"]) -> "TestClips":
        """Put the test clips of several folds behind each other."""
        return cls(
            np.concatenate([part.row for part in parts]),
            np.concatenate([part.label for part in parts]),
            np.concatenate([part.copied for part in parts]),
            parts[0].classes,
        )


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
        if self.seed < 0:
            raise ConfigError(f"seed must not be negative, got {self.seed}")
        if self.max_steps is not None and self.max_steps < 1:
            raise ConfigError(f"max_steps must be at least 1, got {self.max_steps}")
        if self.max_minutes is not None and self.max_minutes <= 0:
            raise ConfigError(f"max_minutes must be positive, got {self.max_minutes}")

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


@dataclass
class Report:
    """The outcome of one task on one encoder.

    Args:
        task: name of the task and, after a slash, of its variant.
        metrics: figures by name, which carries the unit for those who read the file (`top1_percent`).
        intervals: 95 % interval per figure, by bootstrap over the test clips.
        quantities: what each figure is; one that is not declared is called by its name, and has no unit.
        declared: what the report is about; None: it is called by its name.
        per_class: recall in percent by class name, of the first prediction.
        predictions: predicted class per test row by score name (`top1`), for paired comparisons and confusion matrices.
        settings: everything that decided the scores: those of equal settings may be ranked together.
        asked: options of the task, as they were asked for.
        cost: steps and seconds, also of the pre-training.
        noted: what came of it besides the scores; what stands under "note" is said to whoever reads them.
        fingerprints: of the data and the encoder.
        seed: of the task.
        num_labels_used: labelled clips that the task learned from.
        source: what was scored: "trained", "random" (the same encoder at random initialisation) or "raw" (aligned
            coordinates, no encoder).
        detail: what scores are made of where a prediction is not one class per clip, as plain values: what folds are
            pooled from, and pages drawn.
    """

    task: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    quantities: dict[str, Quantity] = field(default_factory=dict)
    declared: About | None = None
    per_class: dict[str, float] = field(default_factory=dict)
    predictions: dict[str, list[int]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    noted: dict[str, Any] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    num_labels_used: int = 0
    source: str = "trained"
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def about(self) -> About:
        """What the report is about."""
        return self.declared or About.undeclared(self.task)

    @property
    def from_scratch(self) -> bool:
        """Whether the task itself trained the encoder, and from random initialisation."""
        return self.settings.get("start") == "from scratch" and self.settings.get("encoder") != "frozen"

    def quantity(self, name: str) -> Quantity:
        """Return what a figure is."""
        return self.quantities.get(name) or Quantity(name.replace("_", " "))

    @classmethod
    def scored(
        cls,
        task: str,
        predictions: Mapping[str, Int64[np.ndarray, " clip"]],
        test: TestClips,
        *,
        settings: Mapping[str, Any],
        seed: int,
        num_labels_used: int,
        source: str = "trained",
        about: About | None = None,
        asked: Mapping[str, Any] | None = None,
        cost: Mapping[str, Any] | None = None,
        noted: Mapping[str, Any] | None = None,
    ) -> "Report":
        """Score predictions: every score is a pair, on all test clips and without the copies of training clips.

        Args:
            task: name of the task.
            predictions: predicted classes by the name of the score, for example "top1_last".
            test: the test clips.
            settings: everything that decided the scores.
            seed: of the task.
            num_labels_used: labelled clips that were learned from.
            source: what was scored.
            about: what the report is about; None: it is called by its name, and stands beside linear heads on raw
                coordinates.
            asked: options of the task, as they were asked for.
            cost: steps and seconds.
            noted: what came of it besides the scores.
        """
        scores: dict[str, float] = {}
        intervals: dict[str, tuple[float, float]] = {}
        quantities: dict[str, Quantity] = {}
        for name, predicted in predictions.items():
            for suffix, kept in metrics.counted_clips(test.copied).items():
                metric = f"{name}{suffix}_percent"
                official = scored_by(name)
                quantities[metric] = official.without_copies(f"{name}_percent") if suffix else official
                scores[metric] = metrics.top1_percent(predicted[kept], test.label[kept])
                intervals[metric] = metrics.top1_interval_percent(predicted[kept], test.label[kept])
        first = next(iter(predictions.values()))
        return cls(
            task=task,
            metrics=scores,
            intervals=intervals,
            quantities=quantities,
            declared=about or About.of_recognition(task),
            per_class=metrics.per_class_recall_percent(first, test.label, test.classes),
            predictions={name: predicted.tolist() for name, predicted in predictions.items()},
            settings=dict(settings),
            asked=dict(asked or {}),
            cost=dict(cost or {}),
            noted=dict(noted or {}),
            seed=seed,
            num_labels_used=num_labels_used,
            source=source,
        )

    def save(self, path: Path) -> None:
        """Write the report as JSON."""
        write_text_whole(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Report":
        """Read a report."""
        return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Report":
        """Rebuild a report from what JSON made of it (pairs come back as lists)."""
        from marrow.tasks.version_1 import converted

        if "declared" not in values:
            return converted(values)
        intervals = {name: (float(low), float(high)) for name, (low, high) in values["intervals"].items()}
        quantities = {name: Quantity(**said) for name, said in values["quantities"].items()}
        declared = None if values["declared"] is None else About.from_dict(values["declared"], values["task"])
        return cls(**{**values, "intervals": intervals, "quantities": quantities, "declared": declared})


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
