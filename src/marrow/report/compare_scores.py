"""Top-1 scores of experiments in one table: a column for each task, and below them the baselines."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from safetensors import SafetensorError, safe_open

from marrow.models.export import WEIGHTS
from marrow.report.compare_measures import NumberTable
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
from marrow.report.runs import Run
from marrow.report.scores import task_name
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.metrics import paired_difference_percent
from marrow.tasks.numbers import About, Clips, Number, scored_by
from marrow.tasks.summary import predicted_classes, scores

# The scores of an experiment in one column: over all test clips, and without copies of training clips.
Cell = dict[Clips, Number]


@dataclass
class Row:
    """An experiment: runs that differ in their seed alone; or a baseline.

    Args:
        name: method, and the settings in which it differs from the others.
        runs: names of its runs; a baseline has none.
        seeds: theirs.
        cpu_seconds: of pre-training, mean over runs; None where the log does not tell.
        steps: optimizer steps, mean over runs.
        parameters: of the encoder.
        cells: scores by column.
        points: official score of each run by column and name of the run; of each seed of a baseline.
        cpu_seconds_by_run: of pre-training, by name of the run.
        source: "trained", "random" (the encoder without pre-training) or "raw" (coordinates, no encoder).
    """

    name: str
    runs: list[str]
    seeds: list[int | None]
    cpu_seconds: float | None
    steps: float | None
    parameters: int | None
    cells: dict[str, Cell] = field(default_factory=dict)
    points: dict[str, dict[str, Number]] = field(default_factory=dict)
    cpu_seconds_by_run: dict[str, float] = field(default_factory=dict)
    source: str = "trained"


@dataclass
class Ranking:
    """Experiments that were scored on the same clips.

    Args:
        protocol: name of the protocol.
        store: fingerprint of the data.
        test_clips: how many.
        clean_clips: of them, those that are no copies of training clips.
        columns: tasks with a top-1 score; one for each setting of their heads.
        rows: the best in the first column first.
        lead: of the first row over the second, in the first column, official: points, and the 95 % interval, paired
            over test clips. None where there is no second.
        baselines: the same columns without pre-training, and without an encoder.
        measured: tables of the other tasks.
    """

    protocol: str
    store: str
    test_clips: int
    clean_clips: int
    columns: list[str]
    rows: list[Row]
    lead: tuple[float, float, float] | None
    baselines: list[Row] = field(default_factory=list)
    measured: list[NumberTable] = field(default_factory=list)


def score_ranking(members: Sequence[Member], warnings: list[str]) -> Ranking:
    """Rank the experiments of one question by top-1; heads with different settings get columns of their own.

    Args:
        members: the experiments.
        warnings: are added to.
    """
    first = members[0].joined
    columns = _columns(members, warnings)
    rows = []
    for member in members:
        row = experiment_row(member.name, member.runs)
        for (task, how), column in columns.items():
            part = member.part(task, how)
            cell = {} if part is None else _cell(part, "trained", task)
            if part is not None and cell:
                row.cells[column], row.points[column] = cell, _points(part, "trained", task)
        rows.append(row)
    listed = list(columns.values())
    rows.sort(key=lambda row: [-row.cells[c]["official"].mean if c in row.cells else math.inf for c in listed])
    return Ranking(
        protocol=first.protocol,
        store=first.store,
        test_clips=len(first.test_rows),
        clean_clips=first.clean_count,
        columns=listed,
        rows=rows,
        lead=_lead({member.name: member for member in members}, rows, columns),
        baselines=_baselines(members, columns),
    )


def experiment_row(name: str, runs: Sequence[Run]) -> Row:
    """Return what is known of an experiment without any score."""
    cpu_seconds = {run.name: _last(run, "cpu_seconds") for run in runs}
    return Row(
        name,
        [run.name for run in runs],
        [run.seed for run in runs],
        _mean(list(cpu_seconds.values())),
        _mean([_last(run, "step") for run in runs]),
        _parameters(runs[0]),
        cpu_seconds_by_run={run: seconds for run, seconds in cpu_seconds.items() if seconds is not None},
    )


def _columns(members: Sequence[Member], warnings: list[str]) -> dict[tuple[str, str], str]:
    """Return the columns by task and by how it was learned."""
    protocol = members[0].joined.protocol
    variants: dict[str, dict[str, list[str]]] = {}
    for member in members:
        alone = [each.task for each in trained(member.joined) if predicted_classes(each) and not _answers(each)]
        for task in dict.fromkeys(alone):
            warnings.append(
                f"{protocol}: {member.name} has {task_name(task)} of the best epoch alone, which was chosen on the "
                "test clips: it is not ranked."
            )
        for _, evaluation in member.scored:
            for report in trained(evaluation):
                if _answers(report):
                    users = variants.setdefault(report.task, {}).setdefault(how_learned(report, evaluation), [])
                    if member.name not in users:
                        users.append(member.name)
    columns: dict[tuple[str, str], str] = {}
    for task, ways in variants.items():
        for number, way in enumerate(ways, start=1):
            columns[task, way] = task_name(task) + (f" #{number}" if len(ways) > 1 else "")
        if len(ways) > 1:
            warnings.append(
                f"{protocol}: {task_name(task)} was learned in different ways ({differences(list(ways))}); "
                f"one column for each ({numbered(ways)})."
            )
    return columns


def _baselines(members: Sequence[Member], columns: Mapping[tuple[str, str], str]) -> list[Row]:
    """Return the rows of the encoders without pre-training, then that of the coordinates."""
    rows = []
    encoders = {architecture(member.joined, member.name) for member in members}
    for source in ("random", "raw"):
        found: list[tuple[str, tuple[str, list[int]], dict[str, Cell]]] = []
        beside: dict[str, list[Report]] = {}
        points: dict[str, dict[str, dict[str, Number]]] = {}
        for member in members:
            cells: dict[str, Cell] = {}
            used = beside.setdefault(member.name, [])
            for (task, how), column in columns.items():
                # The raw coordinates have their own tasks: they stand beside the encoders' of the same kind.
                part = member.part(task, how)
                theirs = task if source == "random" or part is None else _about(part, task).beside
                cell = {} if part is None else _cell(part, source, theirs)
                if part is not None and cell:
                    cells[column] = cell
                    points.setdefault(column, {})[member.name] = _points(part, source, theirs)
                    used += [each for each in part.reports if (each.source, each.task) == (source, theirs)]
            of = architecture(member.joined, member.name), list(dict.fromkeys(each.seed for each in used))
            if cells:
                # There is no encoder in the coordinates: they are the same everywhere.
                found.append((member.name, of if source == "random" else ("", []), cells))
        groups = together(found)
        for names, (_, seeds), cells in groups:
            reports = [report for name in names for report in beside[name]]
            called = untrained_name(reports) if source == "random" else "raw coordinates"
            called = baseline_name(called, names, len(groups) == 1 and (source == "raw" or len(encoders) == 1))
            ordered = {column: cells[column] for column in columns.values() if column in cells}
            of_seeds = {
                column: next(points[column][name] for name in names if name in points[column]) for column in ordered
            }
            rows.append(Row(called, [], [*seeds], None, None, None, ordered, of_seeds, source=source))
    return rows


def _lead(
    members: Mapping[str, Member], rows: Sequence[Row], columns: Mapping[tuple[str, str], str]
) -> tuple[float, float, float] | None:
    """Compare the first two rows on the same clips, in the first column."""
    if not columns:
        return None
    (task, how), column = next(iter(columns.items()))
    parts = [members[row.name].part(task, how) for row in rows if column in row.cells][:2]
    if len(parts) < 2:
        return None
    right = []
    for part in parts:
        assert part is not None
        label = np.asarray(part.test_labels)
        mine = [each for report in trained(part) if report.task == task for each in _answers(report)]
        right.append(np.mean([np.asarray(each) == label for each in mine], axis=0))
    difference, (low, high) = paired_difference_percent(*right)
    return difference, low, high


def _answers(report: Report) -> list[list[int]]:
    """Return the classes that a report gives the test clips, once or for each draw; not those of the best epoch."""
    return next(
        (answers for name, answers in predicted_classes(report).items() if not scored_by(name).chosen_on_test), []
    )


def _cell(part: EvaluationReport, source: str, task: str) -> Cell:
    """Return the score of one task over seeds; empty where there is none.

    The best epoch was chosen on the test clips: it is in the report, not in a ranking.

    Args:
        part: what was found of the runs that were scored in the same way.
        source: whose score.
        task: name of the task and variant.
    """
    return _ranked(part, [report for report in part.reports if (report.source, report.task) == (source, task)])


def _points(part: EvaluationReport, source: str, task: str) -> dict[str, Number]:
    """Return the official score of each run, by its name; a baseline's, by its seed."""
    reports = [report for report in part.reports if (report.source, report.task) == (source, task)]
    names = [report.fingerprints.get("run", f"seed {report.seed}") for report in reports]
    return {name: _ranked(part, [report])["official"] for name, report in zip(names, reports, strict=True)}


def _ranked(part: EvaluationReport, reports: list[Report]) -> Cell:
    found = scores(EvaluationReport(**{**part.__dict__, "reports": reports}))
    return {score.quantity.clips: score for score in found if not score.quantity.chosen_on_test}


def _about(part: EvaluationReport, task: str) -> About:
    return next(report.about for report in trained(part) if report.task == task)


def _last(run: Run, name: str) -> float | None:
    return float(run.log[-1][name]) if run.log and name in run.log[-1] else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _parameters(run: Run) -> int | None:
    """Count the parameters of an exported encoder, without loading them."""
    for folder in (run.folder / "encoder", run.folder):
        if (folder / WEIGHTS).is_file():
            try:
                with safe_open(folder / WEIGHTS, framework="numpy") as file:
                    return int(sum(np.prod(file.get_slice(name).get_shape()) for name in file.keys()))  # noqa: SIM118
            except (OSError, SafetensorError):
                return None
    return None
