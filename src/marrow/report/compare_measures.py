"""Tables of tasks whose numbers are no top-1 score of one class per clip: one for each of them.

Experiments are rows, and so are the baselines below them; columns are the main numbers of the task. All numbers are
kept: `marrow compare --json` prints them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from marrow.report.compare_members import (
    Member,
    architecture,
    baseline_name,
    differences,
    how_learned,
    numbered,
    together,
    trained,
    untrained_name,
)
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.numbers import About, Number, Quantity
from marrow.tasks.summary import measures

# Columns of a task that does not say which of its numbers are the main ones.
_MOST = 8


@dataclass(frozen=True)
class NumberRow:
    """An experiment, or a baseline.

    Args:
        name: of its own.
        source: "trained", "random" (the encoder without pre-training) or "raw" (no encoder).
        seeds: of the runs; what has no encoder has none.
        numbers: all numbers by name, not those of the columns alone.
    """

    name: str
    source: str
    seeds: list[int]
    numbers: dict[str, Number]


@dataclass(frozen=True)
class NumberTable:
    """Experiments that a task has scored in the same way.

    Args:
        task: name of the task and variant.
        title: for people; with the variant, and a number where experiments were scored in different ways.
        about: what the task is.
        columns: what the main numbers are, by name.
        headline: name of the one that stands for the task where there is room for one.
        rows: experiments, the best in the first column first.
        baselines: without pre-training, and without an encoder.
    """

    task: str
    title: str
    about: About
    columns: dict[str, Quantity]
    headline: str
    rows: list[NumberRow]
    baselines: list[NumberRow]


def number_tables(members: Sequence[Member], warnings: list[str]) -> list[NumberTable]:
    """Put the numbers of each task side by side; what was learned in different ways, in tables of its own.

    Args:
        members: experiments that were scored on the same clips.
        warnings: are added to.
    """
    variants: dict[str, dict[str, list[str]]] = {}
    for member in members:
        for _, evaluation in member.scored:
            measured = {number.task for number in measures(evaluation) if number.source == "trained"}
            for report in (report for report in trained(evaluation) if report.task in measured):
                users = variants.setdefault(report.task, {}).setdefault(how_learned(report, evaluation), [])
                if member.name not in users:
                    users.append(member.name)
    tables = []
    for task, ways in variants.items():
        of_task = [
            _table(task, [(member.name, part) for member in members if (part := member.part(task, way)) is not None])
            for way in ways
        ]
        if len(ways) == 1:
            tables += of_task
        else:
            tables += [replace(each, title=f"{each.title} #{place}") for place, each in enumerate(of_task, start=1)]
            title = f"{members[0].joined.protocol}: {of_task[0].title}"
            warnings.append(
                f"{title} came about in different ways ({differences(list(ways))}); "
                f"one table for each ({numbered(ways)})."
            )
    return tables


def numbers_of(evaluation: EvaluationReport, source: str, task: str) -> dict[str, Number]:
    """Return the numbers of a source and a task by name."""
    return {number.name: number for number in measures(evaluation) if (number.source, number.task) == (source, task)}


def raw_name(about: About) -> str:
    """Return what a baseline without an encoder is called: by its rule, or by the coordinates that it reads."""
    return about.rule or ", ".join(filter(None, ("raw coordinates", about.variant)))


def raw_tasks(evaluation: EvaluationReport, about: About) -> dict[str, About]:
    """Return the tasks without an encoder that stand beside one of the encoders: same kind, same test set."""
    return {
        report.task: report.about
        for report in evaluation.reports
        if report.source == "raw" and (report.about.kind, report.about.test_set) == (about.kind, about.test_set)
    }


def _table(task: str, parts: Sequence[tuple[str, EvaluationReport]]) -> NumberTable:
    rows = [
        NumberRow(name, "trained", _seeds(part, "trained", task), numbers_of(part, "trained", task))
        for name, part in parts
    ]
    encoders = {architecture(part, name) for name, part in parts}
    fresh = [
        (name, (architecture(part, name), _seeds(part, "random", task)), numbers)
        for name, part in parts
        if (numbers := numbers_of(part, "random", task))
    ]
    by_name, baselines = dict(parts), []
    groups = together(fresh)
    for names, (_, seeds), numbers in groups:
        reports = [r for r in by_name[names[0]].reports if (r.source, r.task) == ("random", task)]
        called = baseline_name(untrained_name(reports), names, len(groups) == len(encoders) == 1)
        baselines.append(NumberRow(called, "random", seeds, numbers))
    quantities, about = _described(rows)
    for raw, of_raw in {raw: said for _, part in parts for raw, said in raw_tasks(part, about).items()}.items():
        # There is no encoder in these: they are the same everywhere.
        groups = together([(name, "", numbers) for name, part in parts if (numbers := numbers_of(part, "raw", raw))])
        for names, _, numbers in groups:
            baselines.append(NumberRow(baseline_name(raw_name(of_raw), names, len(groups) == 1), "raw", [], numbers))
    chosen = [name for name in about.columns if name in quantities] or list(quantities)[:_MOST]
    columns = {name: quantities[name] for name in chosen}
    rows.sort(key=lambda row: _place(row, chosen[0], columns[chosen[0]]))
    title = ", ".join(filter(None, (about.title, about.variant, about.test_set)))
    headline = next((name for name in about.headline if name in columns), chosen[0])
    return NumberTable(task, title, about, columns, headline, rows, baselines)


def _described(rows: Sequence[NumberRow]) -> tuple[dict[str, Quantity], About]:
    """Return what the numbers of some rows are, by name, and what their task is."""
    numbers = [number for row in rows for number in row.numbers.values()]
    return {number.name: number.quantity for number in numbers}, numbers[0].about


def _place(row: NumberRow, name: str, quantity: Quantity) -> float:
    """Return what sorts the best to the front, and what has no number to the end."""
    if name not in row.numbers:
        return math.inf
    value = row.numbers[name].mean
    return -value if quantity.better == "higher" else value


def _seeds(evaluation: EvaluationReport, source: str, task: str) -> list[int]:
    return [report.seed for report in evaluation.reports if (report.source, report.task) == (source, task)]
