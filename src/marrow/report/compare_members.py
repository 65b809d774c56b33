"""What an experiment brings to a ranking, and which of its scores came about in the same way as others'."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from marrow.report.runs import Run
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.numbers import scored_by
from marrow.train.run_directory import dotted

_Of = TypeVar("_Of")
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Member:
    """An experiment in a ranking.

    Args:
        name: of its own.
        scored: its runs, each with what was found on the question of the ranking.
    """

    name: str
    scored: list[tuple[Run, EvaluationReport]]

    @property
    def runs(self) -> list[Run]:
        """Its runs."""
        return [run for run, _ in self.scored]

    @cached_property
    def joined(self) -> EvaluationReport:
        """What was found of all its runs."""
        return EvaluationReport.joined([evaluation for _, evaluation in self.scored])

    def part(self, task: str, how: str) -> EvaluationReport | None:
        """Return what was found of those runs that a task has scored in one way; None where it has scored none so.

        Args:
            task: name of the task and variant.
            how: from `how_learned`.
        """
        parts = [
            evaluation
            for _, evaluation in self.scored
            if any(each.task == task and how_learned(each, evaluation) == how for each in trained(evaluation))
        ]
        return EvaluationReport.joined(parts) if parts else None


def trained(evaluation: EvaluationReport) -> list[Report]:
    """Return the reports on the trained encoders."""
    return [report for report in evaluation.reports if report.source == "trained"]


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


def differences(ways: Sequence[str]) -> str:
    """Say in what some results of `how_learned` differ."""
    every = [dotted(json.loads(way)) for way in ways]
    names = sorted({name for each in every for name in each})
    differing = [name for name in names if len({json.dumps(each.get(name)) for each in every}) > 1]
    return "; ".join(f"{name} {' / '.join(str(each.get(name, '–')) for each in every)}" for name in differing)


def numbered(ways: Mapping[str, Sequence[str]]) -> str:
    """Say who has which of several results of `how_learned`, in their order."""
    return "; ".join(f"#{number}: {', '.join(users)}" for number, users in enumerate(ways.values(), start=1))


def untrained_name(reports: Sequence[Report]) -> str:
    """Return what encoders without pre-training are called: those that a task trains start from scratch."""
    scratch = [report.from_scratch for report in reports]
    if all(scratch):
        return "from scratch"
    return "random initialisation" + (" (from scratch where the encoder is trained)" if any(scratch) else "")


def architecture(evaluation: EvaluationReport, name: str) -> str:
    """Return kind, size and input of the encoders of an experiment, as text; its name where they are not known."""
    description = evaluation.runs[0].description
    if "kind" not in description:
        return name
    return json.dumps({part: description.get(part) for part in ("kind", "config", "input")}, sort_keys=True)


def together(found: Sequence[tuple[str, _Of, Mapping[str, _Value]]]) -> list[tuple[list[str], _Of, dict[str, _Value]]]:
    """Put experiments together beside which a baseline found the same.

    Args:
        found: the name of an experiment, what the baseline is of, and what it found by name. Where it is of the same,
            what it found beside one experiment holds for another, unless that contradicts it.
    """
    groups: list[tuple[list[str], _Of, dict[str, _Value]]] = []
    for name, of, values in found:
        for names, known_of, known in groups:
            if of == known_of and all(known[each] == values[each] for each in known.keys() & values.keys()):
                names.append(name)
                known.update(values)
                break
        else:
            groups.append(([name], of, dict(values)))
    return groups


def baseline_name(name: str, experiments: Sequence[str], is_the_only_one: bool) -> str:
    """Name a baseline, and the experiments that it belongs to unless it stands beside all."""
    return name if is_the_only_one else f"{name} ({'; '.join(experiments)})"
