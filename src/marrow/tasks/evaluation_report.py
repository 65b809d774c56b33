"""What is found: the report of one task on one encoder, and all reports of some runs on one protocol, as files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from marrow.errors import DataError
from marrow.files import write_text_whole
from marrow.tasks import metrics
from marrow.tasks.numbers import About, Quantity, scored_by
from marrow.tasks.version_1 import declared, sorted_settings

REPORT_VERSION = 2


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

        Predicted classes come by the name of their score, for example "top1_last". Without `about`, the report is
        called by its name, and stands beside linear heads on raw coordinates. The others are fields of the report.
        """
        first = next(iter(predictions.values()))
        report = cls(
            task=task,
            metrics={},
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
        for name, predicted in predictions.items():
            report.add_percent(name, scored_by(name), (predicted == test.label).astype(np.float64), test.copied)
        return report

    def add_percent(
        self,
        name: str,
        quantity: Quantity,
        per_clip: Float64[np.ndarray, " clip"],
        copied: Bool[np.ndarray, " clip"],
        *,
        decimals: int | None = None,
    ) -> None:
        """Add the mean over test clips in percent, with its interval; where clips are copies, also without those.

        Args:
            name: of the score, without its unit.
            quantity: what it is.
            per_clip: a number per clip, 1 or 0 for right or wrong.
            copied: which clips are copies of training clips.
            decimals: round the numbers for the interval, whose bootstrap costs as much as there are distinct ones.
        """
        for suffix, counted in metrics.counted_clips(copied).items():
            metric, values = f"{name}{suffix}_percent", per_clip[counted]
            low, high = metrics.bootstrap_interval(values if decimals is None else values.round(decimals))
            self.metrics[metric] = 100.0 * float(values.mean())
            self.intervals[metric] = (100.0 * low, 100.0 * high)
            self.quantities[metric] = quantity.without_copies(f"{name}_percent") if suffix else quantity

    def save(self, path: Path) -> None:
        """Write the report as JSON."""
        write_text_whole(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Report":
        """Read a report."""
        return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Report":
        """Rebuild a report from what JSON made of it (pairs come back as lists); version 1 becomes that of today."""
        values = {**values, "intervals": {name: (low, high) for name, (low, high) in values["intervals"].items()}}
        if "declared" not in values:
            return declared(cls(**sorted_settings(values)))
        quantities = {name: Quantity(**quantity) for name, quantity in values["quantities"].items()}
        about = None if values["declared"] is None else About.from_dict(values["declared"], values["task"])
        return cls(**{**values, "quantities": quantities, "declared": about})


@dataclass(frozen=True)
class RunFacts:
    """One evaluated encoder.

    Args:
        name: of the run's folder; "encoder 1", for example, where it is in memory alone.
        seed: of its pre-training.
        description: what the exported encoder says of itself: kind, size, input, skeleton, provenance.
        fingerprint: SHA-256 of its weights, shortened; the same in memory as exported.
    """

    name: str
    seed: int
    description: dict[str, Any]
    fingerprint: str


@dataclass
class EvaluationReport:
    """All scores of some runs on one protocol.

    Args:
        protocol: name of the protocol.
        store: fingerprint of the data.
        classes: class names.
        train_count: labelled clips that a probe learned from (the largest fold's).
        test_rows: the scored clips' rows in the store.
        test_labels: their classes.
        test_copied: which of them are bit-identical to a training clip.
        runs: the evaluated encoders.
        reports: one per source (trained, random, raw), task, variant and seed; a trained one carries its run's name in
            its fingerprints.
        notes: what a reader has to know about the scores.
        settings: of the evaluation.
        version: of this format.
    """

    protocol: str
    store: str
    classes: list[str]
    train_count: int
    test_rows: list[int]
    test_labels: list[int]
    test_copied: list[bool]
    runs: list[RunFacts]
    reports: list[Report]
    notes: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    version: int = REPORT_VERSION

    @property
    def clean_count(self) -> int:
        """Test clips that are not copies of training clips."""
        return len(self.test_copied) - sum(self.test_copied)

    def of_run(self, name: str) -> "EvaluationReport":
        """Return the part about one run, with the random baseline of its seed and the raw one."""
        [facts] = [run for run in self.runs if run.name == name]
        reports = [
            report
            for report in self.reports
            if report.source == "raw"
            or (report.source == "random" and report.seed == facts.seed)
            or report.fingerprints.get("run") == name
        ]
        return replace(self, runs=[facts], reports=reports)

    def renamed(self, name: str) -> "EvaluationReport":
        """Return the report of one run under another name of it."""
        reports = []
        for report in self.reports:
            marks = {mark: name if mark == "run" else value for mark, value in report.fingerprints.items()}
            reports.append(replace(report, fingerprints=marks))
        return replace(self, runs=[replace(run, name=name) for run in self.runs], reports=reports)

    @classmethod
    def joined(cls, parts: Sequence["EvaluationReport"]) -> "EvaluationReport":
        """Put the reports of several runs on the same clips together; a baseline that occurs twice counts once."""
        first = parts[0]
        for part in parts[1:]:
            if (part.protocol, part.store, part.test_rows) != (first.protocol, first.store, first.test_rows):
                raise DataError(
                    f"reports of different test clips cannot be joined: {part.protocol!r} on store {part.store[:12]} "
                    f"and {first.protocol!r} on store {first.store[:12]}. Evaluate the runs again on the same store."
                )
        reports = {
            (report.source, report.task, report.seed, report.fingerprints.get("run", "")): report
            for part in parts
            for report in part.reports
        }
        runs = {run.name: run for part in parts for run in part.runs}
        notes = list(dict.fromkeys(note for part in parts for note in part.notes))
        return replace(first, runs=list(runs.values()), reports=list(reports.values()), notes=notes)

    def save(self, path: Path) -> None:
        """Write the report as JSON."""
        write_text_whole(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "EvaluationReport":
        """Read a report; one of version 1 becomes one of today.

        Raises:
            DataError: the file is damaged or of another version.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            version = values.pop("version")
            if version not in (1, REPORT_VERSION):
                raise DataError(
                    f"{path}: report version {version}, this marrow reads 1 and {REPORT_VERSION}. Evaluate the run "
                    "again to make it anew"
                )
            values["runs"] = [RunFacts(**run) for run in values["runs"]]
            values["reports"] = [Report.from_dict(report) for report in values["reports"]]
            return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: cannot be read as an evaluation report: {type(error).__name__}: {error}"
            ) from error
