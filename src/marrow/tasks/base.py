"""What a downstream task is, and the report that it returns."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int64

from marrow.models.encoder import Encoder
from marrow.store.format import Store


@dataclass(frozen=True)
class TaskData:
    """A store and the rows of one protocol.

    Args:
        store: the data.
        train_rows: rows whose labels may be used.
        test_rows: rows that are scored; their labels are read for scoring only.
        protocol: name of the split, for the report.
    """

    store: Store
    train_rows: Int64[np.ndarray, " train"]
    test_rows: Int64[np.ndarray, " test"]
    protocol: str


@dataclass(frozen=True)
class TaskContext:
    """Where and how a task computes.

    Args:
        device: "auto", "cpu", "cuda", ...
        precision: "auto", "fp32" or "bf16".
        seed: of everything random in the task.
    """

    device: str = "auto"
    precision: str = "auto"
    seed: int = 0


@dataclass
class Report:
    """The outcome of one task on one encoder.

    Args:
        task: name of the task.
        metrics: scores by name; the unit is in the name (`top1_percent`).
        intervals: 95 % interval per score, by bootstrap over the test clips.
        predictions: predicted class per test row, for paired comparisons and the confusion matrix.
        settings: everything that decided the scores.
        fingerprints: of the data and the encoder.
        seed: of the task.
        num_labels_used: labelled clips that the task learned from.
    """

    task: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    per_class: dict[str, float] = field(default_factory=dict)
    predictions: dict[str, list[int]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    num_labels_used: int = 0

    def save(self, path: Path) -> None:
        """Write the report as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Report":
        """Read a report."""
        values: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(**values)


class Task(Protocol):
    """A downstream evaluation of a frozen or tuned encoder."""

    name: str

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> Sequence[Report]:
        """Evaluate an encoder."""
        ...
