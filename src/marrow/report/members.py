"""What an experiment brings to a ranking: its numbers, by the task and by how that learned."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from marrow.report.runs import Run
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.numbers import Clips, Number, scored_by
from marrow.tasks.summary import measures, predicted_classes, scores

# A number over all test clips, and without copies of training clips.
Cell = dict[Clips, Number]
# By the name of a column (a task's score) or of a number.
Cells = dict[str, Cell]
Column = tuple[str, Clips]


@dataclass(frozen=True)
class Member:
    """An experiment in a ranking.

    Args:
        name: of its own.
        scored: its runs, each with what was found on the question of the ranking.
    """

    name: str
    scored: list[tuple[Run, EvaluationReport]]

    @cached_property
    def joined(self) -> EvaluationReport:
        """What was found of all its runs."""
        return EvaluationReport.joined([evaluation for _, evaluation in self.scored])

    @property
    def architecture(self) -> str:
        """Kind, size and input of its encoders, as text; its name where they are not known."""
        return architecture(self.joined.runs[0].description) or self.name

    def part(self, scoring: "Scoring") -> EvaluationReport | None:
        """Return what was found of those runs that a task has scored in one way; None where it has scored none so."""
        parts = [
            evaluation
            for _, evaluation in self.scored
            if any(
                report.task == scoring.task and how_learned(report, evaluation) == scoring.way
                for report in trained(evaluation)
            )
        ]
        return EvaluationReport.joined(parts) if parts else None


@dataclass(frozen=True)
class Scoring:
    """A task that learned in one way, whose numbers may be ranked with each other.

    Args:
        task: name of the task and variant.
        way: from `how_learned`.
        name: for people, with a number where the task learned in several ways.
        is_top1: whether its classes for the test clips are meant, or its other numbers.
    """

    task: str
    way: str
    name: str
    is_top1: bool


@dataclass(frozen=True)
class Row:
    """An experiment, or a baseline, in a table.

    Args:
        name: of its own.
        source: "trained", "random" (the encoder without pre-training) or "raw" (no encoder).
        seeds: of the runs; what has no encoder has none.
        cells: all its numbers, not those of the columns alone.
        points: official top-1 of each run by column and name of the run; of each seed of a baseline.
    """

    name: str
    source: str
    seeds: list[int]
    cells: Cells
    points: dict[str, dict[str, Number]]

    def number(self, column: Column) -> Number | None:
        """Return what stands in a column."""
        name, clips = column
        return self.cells.get(name, {}).get(clips)


def trained(evaluation: EvaluationReport) -> list[Report]:
    """Return the reports on the trained encoders."""
    return [report for report in evaluation.reports if report.source == "trained"]


def answers(report: Report) -> list[list[int]]:
    """Return the classes that a report gives the test clips, once or for each draw; not those of the best epoch."""
    return next(
        (classes for name, classes in predicted_classes(report).items() if not scored_by(name).chosen_on_test), []
    )


def how_learned(report: Report, evaluation: EvaluationReport) -> str:
    """Return how a score came about, as text that is equal where two did in the same way."""
    # The last epoch's score and one without epochs are different scores of the same task.
    prediction = next((name for name in report.predictions if not scored_by(name).chosen_on_test), "")
    how = {
        "labels": report.num_labels_used,
        "prediction": prediction,
        **report.settings,
        "probe_seed": evaluation.settings.get("probe_seed"),
    }
    return json.dumps(how, sort_keys=True, default=str)


def architecture(description: Mapping[str, object] | None) -> str | None:
    """Return kind, size and input of an encoder, as JSON; None where they are not known."""
    if description is None or "kind" not in description:
        return None
    return json.dumps({name: description.get(name) for name in ("kind", "config", "input")}, sort_keys=True)


def cells_of(part: EvaluationReport, reports: Sequence[Report], scoring: Scoring) -> Cells:
    """Return the numbers of some reports over seeds.

    The best epoch was chosen on the test clips: it is in the report, not in a ranking of top-1 scores.
    """
    numbers = (scores if scoring.is_top1 else measures)(replace(part, reports=list(reports)))
    names = {number.name for number in numbers}
    cells: Cells = {}
    for number in numbers:
        quantity = number.quantity
        if scoring.is_top1:
            if not quantity.chosen_on_test:
                cells.setdefault(scoring.name, {})[quantity.clips] = number
        elif quantity.clips == "clean" and quantity.of in names:
            cells.setdefault(quantity.of, {})["clean"] = number
        else:
            cells.setdefault(number.name, {})["official"] = number
    return cells


def points_of(part: EvaluationReport, reports: Sequence[Report], scoring: Scoring) -> dict[str, dict[str, Number]]:
    """Return the official top-1 score of each report, by the name of its run; a baseline's, by its seed."""
    if not scoring.is_top1:
        return {}
    names = [report.fingerprints.get("run", f"seed {report.seed}") for report in reports]
    cells = [cells_of(part, [report], scoring)[scoring.name] for report in reports]
    return {scoring.name: {name: cell["official"] for name, cell in zip(names, cells, strict=True)}}
