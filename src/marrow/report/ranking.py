"""Experiments that were scored on the same clips, as tables: one of top-1 scores, and one of each other task.

Experiments are rows, and so are the baselines below them. What was learned in different ways stands in columns of its
own or, where a task fills a table, in tables of its own.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from marrow.report.members import (
    Cells,
    Column,
    Member,
    Row,
    Scoring,
    answers,
    cells_of,
    how_learned,
    points_of,
    trained,
)
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.metrics import paired_difference_percent
from marrow.tasks.numbers import About, Clips, Number, Quantity
from marrow.tasks.summary import measures, predicted_classes
from marrow.train.run_directory import dotted

TOP1 = "Top-1 in percent"
# Columns of a task that does not say which of its numbers are the main ones.
_MOST_COLUMNS = 8


@dataclass(frozen=True)
class Table:
    """Experiments side by side.

    Args:
        title: without the unit, but for `TOP1`.
        scorings: what the numbers are of.
        columns: the main numbers, by name and kind of clips.
        headline: name of the number that stands for the task where there is room for one; "": all columns do.
        rows: experiments, the best in the first column first.
        baselines: without pre-training, and without an encoder.
        lead: of the first row over the second, in the first column of top-1 scores: points, and the 95 % interval,
            paired over test clips. None where there is no second, and for other numbers.
    """

    title: str
    scorings: list[Scoring]
    columns: dict[Column, Quantity]
    headline: str
    rows: list[Row]
    baselines: list[Row]
    lead: tuple[float, float, float] | None = None

    @property
    def is_top1(self) -> bool:
        """Whether it is the table of top-1 scores."""
        return self.scorings[0].is_top1

    @property
    def about(self) -> About:
        """What the first task is."""
        return self.number_at(next(iter(self.columns))).about

    def number_at(self, column: Column) -> Number:
        """Return the first number of a column."""
        return next(number for row in self.rows if (number := row.number(column)) is not None)


@dataclass
class Baseline:
    """What a baseline found beside one experiment, or beside several that it is the same for.

    Args:
        source: "random" or "raw".
        kind: what has another is another baseline: the architecture of the encoder; how coordinates are read.
        members: names of the experiments.
        reports: that the numbers are from.
        cells: the numbers.
        points: official top-1 of each seed.
    """

    source: str
    kind: str
    members: list[str]
    reports: list[Report]
    cells: Cells
    points: dict[str, dict[str, Number]]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the encoders; none where there is no encoder."""
        return list(dict.fromkeys(report.seed for report in self.reports)) if self.source == "random" else []

    @property
    def name(self) -> str:
        """What it is called; encoders without pre-training that the task trains start from scratch."""
        if self.source == "raw":
            return self.kind
        scratch = [report.from_scratch for report in self.reports]
        if all(scratch):
            return "from scratch"
        return "random initialisation" + (" (from scratch where the encoder is trained)" if any(scratch) else "")

    def agrees(self, other: "Baseline") -> bool:
        """Say whether another of this kind has the same seeds, and the same numbers where both have some."""
        both = self.cells.keys() & other.cells.keys()
        return self.seeds == other.seeds and all(self.cells[name] == other.cells[name] for name in both)

    def add(self, other: "Baseline") -> None:
        """Take over what another has found."""
        self.members += [name for name in other.members if name not in self.members]
        self.reports += other.reports
        self.cells = other.cells | self.cells
        self.points = other.points | self.points


def tables_of(members: Sequence[Member], warnings: list[str]) -> list[Table]:
    """Put the numbers of experiments side by side, top-1 scores first.

    Args:
        members: experiments that were scored on the same clips.
        warnings: are added to.
    """
    protocol = members[0].joined.protocol
    for member in members:
        alone = {r.task: r.about for r in trained(member.joined) if predicted_classes(r) and not answers(r)}
        warnings += [
            f"{protocol}: {member.name} has {about.name} of the best epoch alone, which was chosen on the test clips: "
            "it is not ranked."
            for about in alone.values()
        ]
    top1 = _scorings(members, warnings, is_top1=True)
    tables = [_table(TOP1, members, top1)] if top1 else []
    return tables + [
        _table(scoring.name, members, [scoring]) for scoring in _scorings(members, warnings, is_top1=False)
    ]


def baselines_beside(member: Member, scorings: Sequence[Scoring], source: str) -> list[Baseline]:
    """Return what a baseline found beside an experiment: one for the encoders, one for each way without an encoder.

    Args:
        member: the experiment.
        scorings: what is asked for.
        source: "random" or "raw"; the latter has tasks of its own, which stand beside the encoders'.
    """
    baselines: dict[str, Baseline] = {}
    for scoring in scorings:
        part = member.part(scoring)
        if part is None:
            continue
        about = next(report.about for report in trained(part) if report.task == scoring.task)
        kinds = {scoring.task: member.architecture} if source == "random" else _raw_tasks(part, about)
        for task, kind in kinds.items():
            reports = [report for report in part.reports if (report.source, report.task) == (source, task)]
            cells = cells_of(part, reports, scoring)
            if cells:
                points = points_of(part, reports, scoring)
                baseline = Baseline(source, kind, [member.name], reports, cells, points)
                if kind in baselines:
                    baselines[kind].add(baseline)
                else:
                    baselines[kind] = baseline
    return list(baselines.values())


def _raw_tasks(evaluation: EvaluationReport, about: About) -> dict[str, str]:
    """Return the tasks without an encoder that stand beside a task, and what they are called as baselines.

    They are called by their rule, or by the coordinates that they read. A task names the one beside it, or has some of
    its own kind and test set.
    """
    if about.beside:
        return {about.beside: "raw coordinates"}
    return {
        report.task: report.about.rule or ", ".join(filter(None, ("raw coordinates", report.about.variant)))
        for report in evaluation.reports
        if report.source == "raw" and (report.about.kind, report.about.test_set) == (about.kind, about.test_set)
    }


def _scorings(members: Sequence[Member], warnings: list[str], *, is_top1: bool) -> list[Scoring]:
    """Return the tasks by how they learned, and warn where one learned in several ways."""
    users: dict[str, dict[str, list[str]]] = {}
    names: dict[str, str] = {}
    for member in members:
        for _, evaluation in member.scored:
            measured = {number.task for number in measures(evaluation) if number.source == "trained"}
            for report in trained(evaluation):
                if answers(report) if is_top1 else report.task in measured:
                    about = report.about
                    title = ", ".join(filter(None, (about.title, about.variant, about.test_set)))
                    names.setdefault(report.task, about.name if is_top1 else title)
                    of_way = users.setdefault(report.task, {}).setdefault(how_learned(report, evaluation), [])
                    of_way += [member.name] * (member.name not in of_way)
    result, verb, place = [], *(("was learned", "column") if is_top1 else ("came about", "table"))
    for task, ways in users.items():
        numbers = [f" #{number}" if len(ways) > 1 else "" for number in range(1, len(ways) + 1)]
        result += [Scoring(task, way, names[task] + number, is_top1) for way, number in zip(ways, numbers, strict=True)]
        if len(ways) > 1:
            listed = "; ".join(f"#{number}: {', '.join(used)}" for number, used in enumerate(ways.values(), start=1))
            warnings.append(
                f"{members[0].joined.protocol}: {names[task]} {verb} in different ways "
                f"({_differences(list(ways))}); one {place} for each ({listed})."
            )
    return result


def _differences(ways: Sequence[str]) -> str:
    """Say in what some results of `how_learned` differ."""
    settings = [dotted(json.loads(way)) for way in ways]
    names = sorted({name for of_way in settings for name in of_way})
    differing = [name for name in names if len({json.dumps(of_way.get(name)) for of_way in settings}) > 1]
    return "; ".join(f"{name} {' / '.join(str(of_way.get(name, '–')) for of_way in settings)}" for name in differing)


def _table(title: str, members: Sequence[Member], scorings: Sequence[Scoring]) -> Table:
    rows = [row for member in members if (row := _row(member, scorings)).cells or scorings[0].is_top1]
    columns = _columns(rows, scorings)
    rows.sort(key=lambda row: [_place(row.number(column)) for column in columns])
    baselines = _baselines(members, scorings)
    if scorings[0].is_top1:
        return Table(title, list(scorings), columns, "", rows, baselines, _lead(members, rows, scorings[0]))
    table = Table(title, list(scorings), columns, next(iter(columns))[0], rows, baselines)
    headlines = [name for name in table.about.headline if (name, "official") in columns]
    return replace(table, headline=headlines[0]) if headlines else table


def _row(member: Member, scorings: Sequence[Scoring]) -> Row:
    cells: Cells = {}
    points: dict[str, dict[str, Number]] = {}
    runs = []
    for scoring in scorings:
        part = member.part(scoring)
        if part is not None:
            reports = [report for report in trained(part) if report.task == scoring.task]
            cells |= cells_of(part, reports, scoring)
            points |= points_of(part, reports, scoring)
            runs += part.runs
    seeds = [facts.seed for facts in runs or member.joined.runs]
    return Row(member.name, "trained", list(dict.fromkeys(seeds)), cells, points)


def _columns(rows: Sequence[Row], scorings: Sequence[Scoring]) -> dict[Column, Quantity]:
    """Return the columns: every score; of other numbers, the main ones of their task."""
    numbers: dict[Column, Number] = {
        (name, clips): number for row in rows for name, cell in row.cells.items() for clips, number in cell.items()
    }
    if scorings[0].is_top1:
        halves: tuple[Clips, ...] = ("official", "clean") if any(c == "clean" for _, c in numbers) else ("official",)
        listed: list[Column] = [(scoring.name, clips) for scoring in scorings for clips in halves]
        headings = {(name, clips): f"{name}, {clips}" if len(halves) > 1 else name for name, clips in listed}
        return {key: replace(numbers[key].quantity, heading=headings[key]) for key in listed if key in numbers}
    keys = {number.name: key for key, number in numbers.items()}
    about = next(iter(numbers.values())).about
    chosen = [keys[name] for name in about.columns if name in keys]
    return {key: numbers[key].quantity for key in chosen or list(numbers)[:_MOST_COLUMNS]}


def _place(number: Number | None) -> float:
    """Return what sorts the best number to the front, and what is missing to the end."""
    if number is None:
        return math.inf
    return -number.mean if number.quantity.better == "higher" else number.mean


def _lead(members: Sequence[Member], rows: Sequence[Row], scoring: Scoring) -> tuple[float, float, float] | None:
    """Compare the first two rows on the same clips."""
    by_name = {member.name: member for member in members}
    parts = [part for row in rows if (part := by_name[row.name].part(scoring)) is not None][:2]
    if len(parts) < 2:
        return None
    right = []
    for part in parts:
        label = np.asarray(part.test_labels)
        predicted = [classes for report in trained(part) if report.task == scoring.task for classes in answers(report)]
        right.append(np.mean([np.asarray(classes) == label for classes in predicted], axis=0))
    difference, (low, high) = paired_difference_percent(*right)
    return difference, low, high


def _baselines(members: Sequence[Member], scorings: Sequence[Scoring]) -> list[Row]:
    """Return the rows of the encoders without pre-training, then those without an encoder.

    What a baseline found beside one experiment holds for another as well, if it is of the same, unless that contradicts
    it. There is no encoder in coordinates: they are the same everywhere.
    """
    encoders = {member.architecture for member in members if any(member.part(scoring) for scoring in scorings)}
    rows = []
    for source in ("random", "raw"):
        groups: dict[str, list[Baseline]] = {}
        for member in members:
            for baseline in baselines_beside(member, scorings, source):
                of_kind = groups.setdefault(baseline.kind, [])
                partner = next((other for other in of_kind if other.agrees(baseline)), None)
                if partner is None:
                    of_kind.append(baseline)
                else:
                    partner.add(baseline)
        for of_kind in groups.values():
            alone = len(of_kind) == 1 and (source == "raw" or len(encoders) == 1)
            for baseline in of_kind:
                name = baseline.name if alone else f"{baseline.name} ({'; '.join(baseline.members)})"
                rows.append(Row(name, source, baseline.seeds, baseline.cells, baseline.points))
    return rows
