"""Several runs side by side: which may be ranked together, which may not, and why.

Scores are ranked together only where they answer the same question: the same protocol on the same data and test clips,
by a head of the same settings that learned from as many labels. Whatever differs is said, and stands in a table or a
column of its own.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from marrow.models.export import WEIGHTS
from marrow.report.members import Member, Row, trained
from marrow.report.ranking import Table, tables_of
from marrow.report.runs import Run, experiments, labels
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.numbers import plain_values

# Settings of an evaluation that have one value in an experiment, or its mean is over unlike things.
_ONE_VALUE = ("precision", "quick", "near_copies")
_CALLED = {
    "baselines": "the baselines that stand beside them",
    "near_copies": "how many near copies were found among the test clips",
    "quick": "whether they were evaluated in the smallest size (quick)",
    "transfer": "how joints of another skeleton were matched",
}
# What reports of a marrow that did not know a setting were made with.
_BEFORE = {"quick": False, "transfer": False}
# Said elsewhere: the probes' seed among the settings of their heads, dropped copies by protocol and clips.
_SAID_ELSEWHERE = ("probe_seed", "asked_protocol", "drop_duplicates")


@dataclass(frozen=True)
class Experiment:
    """Runs that differ in their seed alone.

    Args:
        name: method, and the settings in which it differs from the others.
        runs: names of its runs.
        seeds: theirs.
        cpu_seconds: of pre-training, mean over runs; None where the log does not tell.
        steps: optimizer steps, mean over runs.
        parameters: of the encoder.
        cpu_seconds_by_run: of pre-training, by name of the run.
    """

    name: str
    runs: list[str]
    seeds: list[int | None]
    cpu_seconds: float | None
    steps: float | None
    parameters: int | None
    cpu_seconds_by_run: dict[str, float]

    @classmethod
    def of(cls, name: str, runs: Sequence[Run]) -> "Experiment":
        """Read what some runs cost."""
        cpu_seconds = {run.name: _last(run, "cpu_seconds") for run in runs}
        return cls(
            name,
            [run.name for run in runs],
            [run.seed for run in runs],
            _mean(list(cpu_seconds.values())),
            _mean([_last(run, "step") for run in runs]),
            _parameters(runs[0]),
            {run: seconds for run, seconds in cpu_seconds.items() if seconds is not None},
        )

    def plain(self, row: Row | None = None) -> dict[str, Any]:
        """Return it as plain values, with its top-1 scores."""
        scored = Row(self.name, "trained", [], {}, {}) if row is None else row
        return {**asdict(self), "cells": scored.cells, "points": scored.points, "source": scored.source}


@dataclass(frozen=True)
class Ranking:
    """Experiments that were scored on the same clips.

    Args:
        protocol: name of the protocol.
        store: fingerprint of the data.
        test_clips: how many.
        clean_clips: of them, those that are no copies of training clips.
        experiments: by name.
        tables: of their numbers: top-1 scores first, then each other task.
    """

    protocol: str
    store: str
    test_clips: int
    clean_clips: int
    experiments: dict[str, Experiment]
    tables: list[Table]

    def plain(self) -> dict[str, Any]:
        """Return everything as plain values: top-1 scores with what the experiments cost, then the other tasks."""
        question = {name: getattr(self, name) for name in ("protocol", "store", "test_clips", "clean_clips")}
        top1 = next((table for table in self.tables if table.is_top1), None)
        rows = top1.rows if top1 else [Row(name, "trained", [], {}, {}) for name in self.experiments]
        return question | {
            "columns": list(dict.fromkeys(name for name, _ in top1.columns)) if top1 else [],
            "rows": [self.experiments[row.name].plain(row) for row in rows],
            "lead": top1.lead if top1 else None,
            "baselines": [
                Experiment(row.name, [], list(row.seeds), None, None, None, {}).plain(row)
                for row in (top1.baselines if top1 else [])
            ],
            "measured": [_plain_table(table) for table in self.tables if not table.is_top1],
        }


@dataclass(frozen=True)
class Comparison:
    """Rankings, warnings, and the runs without scores."""

    rankings: list[Ranking]
    warnings: list[str]
    not_evaluated: list[Experiment]

    def plain(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return plain_values(
            {
                "rankings": [ranking.plain() for ranking in self.rankings],
                "warnings": self.warnings,
                "not_evaluated": [experiment.plain() for experiment in self.not_evaluated],
            }
        )


def compare_runs(runs: Sequence[Run]) -> Comparison:
    """Put runs side by side; those that differ in nothing but their seed are one experiment.

    Args:
        runs: from `read_runs`.
    """
    groups = experiments(runs)
    return compare_experiments(list(zip(labels(groups), groups, strict=True)))


def compare_experiments(
    named: Sequence[tuple[str, Sequence[Run]]], *, said_elsewhere: Collection[str] = ()
) -> Comparison:
    """Put experiments side by side whose names are known.

    Args:
        named: names of their own, each with the runs of that experiment, whose names differ from each other.
        said_elsewhere: of "seeds" and "baselines", what is not warned of where experiments differ in it.
    """
    runs = [run for _, group in named for run in group]
    sets: dict[_Question, list[Member]] = {}
    for name, group in named:
        by_question: dict[_Question, list[tuple[Run, EvaluationReport]]] = {}
        for run in group:
            for evaluation in run.evaluations:
                by_question.setdefault(_Question.of(evaluation), []).append((run, evaluation))
        for question, scored in by_question.items():
            sets.setdefault(question, []).append(Member(name, scored))
    warnings = _warnings_of_questions(list(sets)) + _warnings_of_training(runs)
    warnings += [sentence for run in runs for sentence in run.beside]
    for members in sets.values():
        warnings += _warnings_of_members(members, said_elsewhere)
    rankings = []
    for members in sets.values():
        tables = tables_of(members, warnings)
        if tables:
            first = members[0].joined
            costs = {member.name: Experiment.of(member.name, [run for run, _ in member.scored]) for member in members}
            counts = len(first.test_rows), first.clean_count
            rankings.append(Ranking(first.protocol, first.store, *counts, costs, tables))
    without = [
        Experiment.of(name, [run for run in group if not run.evaluations])
        for name, group in named
        if not all(run.evaluations for run in group)
    ]
    return Comparison(rankings, list(dict.fromkeys(warnings)), without)


class _Question(NamedTuple):
    """What two evaluations must share for their scores to be ranked together."""

    protocol: str
    store: str
    train_count: int
    transferred: bool
    # The test clips: rows, labels, which are copies.
    clips: tuple[tuple[int, ...], tuple[int, ...], tuple[bool, ...]]

    @classmethod
    def of(cls, report: EvaluationReport) -> "_Question":
        clips = tuple(report.test_rows), tuple(report.test_labels), tuple(report.test_copied)
        transferred = report.settings.get("transfer", False) is not False
        return cls(report.protocol, report.store, report.train_count, transferred, clips)


def _warnings_of_questions(questions: Sequence[_Question]) -> list[str]:
    """Say what keeps evaluations apart."""
    if len(questions) < 2:
        return []
    parts = {
        "protocols": [question.protocol for question in questions],
        "data (fingerprints of the stores)": [question.store[:12] for question in questions],
        "numbers of labelled training clips": [f"{question.train_count:,}" for question in questions],
        "--transfer": ["yes" if question.transferred else "no" for question in questions],
    }
    differing = [f"{part}: {', '.join(dict.fromkeys(v))}" for part, v in parts.items() if len(set(v)) > 1]
    if len({q[:2] for q in questions}) < len({(*q[:2], q.clips) for q in questions}):
        differing.append("test clips of the same protocol")
    warnings = [f"These runs were not all scored on the same thing ({'; '.join(differing)}): one table for each."]
    stores: dict[_Question, set[str]] = {}
    for question in questions:
        stores.setdefault(question._replace(store=""), set()).add(question.store)
    warnings += [
        f"{question.protocol}: stores of different fingerprints have the same clips on test, by row and label: perhaps "
        "the same recordings, prepared in different ways or by different versions. Evaluate all runs on one of the "
        "stores."
        for question, fingerprints in stores.items()
        if len(fingerprints) > 1
    ]
    return warnings


def _warnings_of_members(members: Sequence[Member], said_elsewhere: Collection[str]) -> list[str]:
    """Say where scores that stand in one table were not come by in the same way."""
    protocol = members[0].joined.protocol
    values_of: dict[str, dict[str, list[Any]]] = {
        "seeds": {member.name: sorted(run.seed for run in member.joined.runs) for member in members},
        "baselines": {
            member.name: sorted({report.source for report in member.joined.reports} - {"trained"}) or ["none"]
            for member in members
        },
    }
    settings = {member.name: _settings_of(member) for member in members}
    for setting in sorted({setting for of_member in settings.values() for setting in of_member}):
        values_of[setting] = {name: of_member.get(setting, ["-"]) for name, of_member in settings.items()}
    warnings = []
    for setting, values in values_of.items():
        shown = {name: ", ".join(map(str, of_member)) for name, of_member in values.items()}
        mixed = setting in _ONE_VALUE and any(len(of_member) > 1 for of_member in values.values())
        if setting not in said_elsewhere and (mixed or len(set(shown.values())) > 1):
            listed = "; ".join(f"{name}: {text}" for name, text in shown.items())
            warnings.append(f"{protocol}: the experiments differ in {_CALLED.get(setting, setting)} ({listed}).")
    draws = _draws(members)
    if len({json.dumps(seeds) for seeds in draws.values()}) > 1:
        listed = "; ".join(f"{name}: {seeds}" for name, seeds in draws.items())
        warnings.append(f"{protocol}: the labels that were learned from are different draws ({listed}).")
    quick = [name for name, of_member in settings.items() if True in of_member["quick"]]
    if quick:
        warnings.append(
            f"{protocol}: {', '.join(quick)} was evaluated with --quick: its scores show that everything runs, no more."
        )
    return warnings


def _settings_of(member: Member) -> dict[str, list[Any]]:
    """Return every value that a setting of the evaluation has among the runs of an experiment."""
    values: dict[str, list[Any]] = {}
    for _, evaluation in member.scored:
        for name, value in (_BEFORE | evaluation.settings).items():
            if name not in _SAID_ELSEWHERE and value not in values.setdefault(name, []):
                values[name].append(value)
    return values


def _draws(members: Sequence[Member]) -> dict[str, list[int]]:
    """Return the seeds by which each experiment drew the labels that it learned from, of those that drew any."""
    draws: dict[str, set[int]] = {}
    for member in members:
        for report in trained(member.joined):
            if report.noted.get("label_seed_used") is not None:
                draws.setdefault(member.name, set()).add(int(report.noted["label_seed_used"]))
    return {name: sorted(seeds) for name, seeds in draws.items()}


def _warnings_of_training(runs: Sequence[Run]) -> list[str]:
    """Say where pre-training saw different data: that is allowed in a ranking, but has to be known."""
    seen: dict[str, list[str]] = {}
    for run in runs:
        provenance = (run.description or {}).get("provenance", {})
        if "store_fingerprint" in provenance:
            clips = f"{provenance.get('rows', 'clips')} of data {provenance['store_fingerprint'][:12]}"
            seen.setdefault(clips, []).append(run.name)
    if len(seen) < 2:
        return []
    listed = "; ".join(f"{clips} ({', '.join(names)})" for clips, names in seen.items())
    return [f"The encoders were pre-trained on different clips: {listed}."]


def _plain_table(table: Table) -> dict[str, Any]:
    """Return a table of a task as values of which `plain_values` makes plain ones: its numbers by name."""

    def plain_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
        return [
            {"name": row.name, "source": row.source, "seeds": row.seeds}
            | {"numbers": {number.name: number for cell in row.cells.values() for number in cell.values()}}
            for row in rows
        ]

    return {
        "task": table.scorings[0].task,
        "title": table.title,
        "about": table.about,
        "columns": {table.number_at(column).name: quantity for column, quantity in table.columns.items()},
        "headline": table.headline,
        "rows": plain_rows(table.rows),
        "baselines": plain_rows(table.baselines),
    }


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
