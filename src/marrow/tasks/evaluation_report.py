"""All scores of some runs on one protocol, as a file."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from marrow.errors import DataError
from marrow.files import write_text_whole
from marrow.tasks.base import Report
from marrow.tasks.run_facts import RunFacts

REPORT_VERSION = 2


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
        return EvaluationReport(**{**self.__dict__, "runs": [facts], "reports": reports})

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
        values = {**first.__dict__, "runs": list(runs.values()), "reports": list(reports.values()), "notes": notes}
        return cls(**values)

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
