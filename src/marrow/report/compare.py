"""Several runs side by side: which may be ranked together, which may not, and why.

Scores are ranked together only where they answer the same question: the same protocol on the same data and test clips,
by a head of the same settings that learned from as many labels. Whatever differs is said, and stands in a table or a
column of its own.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from marrow.models.export import WEIGHTS
from marrow.report.runs import Run, experiments, labels
from marrow.report.scores import halves, task_name
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.metrics import paired_difference_percent
from marrow.tasks.summary import scores

# What a head reports of itself that is an outcome or what it started from, not how it was learned.
_OUTCOMES = (
    "best_epoch",
    "converged",
    "steps_done",
    "stopped_early",
    "steps_per_epoch",
    "training_cpu_seconds",
    "training_wall_seconds",
    "pretraining_steps",
    "pretraining_cpu_seconds",
    "pretraining_wall_seconds",
    "label_seed_used",
    "asked",
    "note",
)

# Settings of an evaluation that have one value in an experiment, or its mean is over unlike things.
_ONE_VALUE = ("precision", "quick", "near_copies")
_CALLED = {
    "baselines": "the baselines that stand beside them",
    "near_copies": "how many near copies were found among the test clips",
    "quick": "whether they were evaluated in the smallest size (quick)",
}


@dataclass(frozen=True)
class RunScore:
    """One run's score: a point of the plot."""

    run: str
    seed: int
    cpu_seconds: float | None
    percent: float
    low_percent: float
    high_percent: float


@dataclass(frozen=True)
class Cell:
    """A score of an experiment in one column.

    Args:
        official: over all test clips: mean and deviation over seeds, in percent.
        clean: without copies of training clips; None where there are none.
        runs: one score per run, official.
    """

    official: tuple[float, float]
    clean: tuple[float, float] | None
    runs: list[RunScore]


@dataclass
class Row:
    """An experiment: runs that differ in their seed alone.

    Args:
        name: method, and the settings in which it differs from the others.
        runs: names of its runs.
        seeds: theirs.
        cpu_seconds: of pre-training, mean over runs; None where the log does not tell.
        steps: optimizer steps, mean over runs.
        parameters: of the encoder.
        cells: scores by column.
    """

    name: str
    runs: list[str]
    seeds: list[int | None]
    cpu_seconds: float | None
    steps: float | None
    parameters: int | None
    cells: dict[str, Cell] = field(default_factory=dict)


@dataclass
class Ranking:
    """Experiments that were scored on the same clips.

    Args:
        protocol: name of the protocol.
        store: fingerprint of the data.
        test_clips: how many.
        clean_clips: of them, those that are no copies of training clips.
        columns: tasks; one for each setting of their heads.
        rows: the best in the first column first.
        lead: of the first row over the second, in the first column, official: points, and the 95 % interval, paired
            over test clips. None where there is no second.
    """

    protocol: str
    store: str
    test_clips: int
    clean_clips: int
    columns: list[str]
    rows: list[Row]
    lead: tuple[float, float, float] | None


@dataclass
class Comparison:
    """Rankings, warnings, and the runs without scores."""

    rankings: list[Ranking]
    warnings: list[str]
    not_evaluated: list[Row]

    def plain(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def compare_runs(runs: Sequence[Run]) -> Comparison:
    """Put runs side by side; those that differ in nothing but their seed are one experiment.

    Args:
        runs: from `read_runs`.
    """
    groups = experiments(runs)
    return compare_experiments(list(zip(labels(groups), groups, strict=True)))


def compare_experiments(named: Sequence[tuple[str, Sequence[Run]]]) -> Comparison:
    """Put experiments side by side whose names are known.

    Args:
        named: names of their own, each with the runs of that experiment, whose names differ from each other.
    """
    runs = [run for _, group in named for run in group]
    sets: dict[tuple[Any, ...], list[tuple[str, list[Run], EvaluationReport]]] = {}
    for name, group in named:
        by_question: dict[tuple[Any, ...], list[tuple[Run, EvaluationReport]]] = {}
        for run in group:
            for evaluation in run.evaluations:
                by_question.setdefault(_question(evaluation), []).append((run, evaluation))
        for question, scored in by_question.items():
            joined = EvaluationReport.joined([evaluation for _, evaluation in scored])
            sets.setdefault(question, []).append((name, [run for run, _ in scored], joined))
    warnings = _warnings_of_questions(list(sets)) + _warnings_of_training(runs)
    for members in sets.values():
        warnings += _warnings_of_members(members)
    rankings = [ranking for members in sets.values() if (ranking := _ranking(members, warnings)).columns]
    without = [
        _row(name, [run for run in group if not run.evaluations])
        for name, group in named
        if not all(run.evaluations for run in group)
    ]
    return Comparison(rankings, list(dict.fromkeys(warnings)), without)


def _question(evaluation: EvaluationReport) -> tuple[Any, ...]:
    """Return what two evaluations must share for their scores to be ranked together."""
    return (
        evaluation.protocol,
        evaluation.store,
        tuple(evaluation.test_rows),
        tuple(evaluation.test_labels),
        tuple(evaluation.test_copied),
        evaluation.train_count,
    )


def _warnings_of_questions(questions: Sequence[tuple[Any, ...]]) -> list[str]:
    """Say what keeps evaluations apart."""
    if len(questions) < 2:
        return []
    parts = {
        "protocols": [str(question[0]) for question in questions],
        "data (fingerprints of the stores)": [str(question[1])[:12] for question in questions],
        "numbers of labelled training clips": [f"{question[5]:,}" for question in questions],
    }
    differing = [f"{what}: {', '.join(dict.fromkeys(v))}" for what, v in parts.items() if len(set(v)) > 1]
    clips: dict[tuple[Any, ...], set[Any]] = {}
    for question in questions:
        clips.setdefault(question[:2], set()).add(question[2:5])
    if any(len(each) > 1 for each in clips.values()):
        differing.append("test clips of the same protocol")
    warnings = [f"These runs were not all scored on the same thing ({'; '.join(differing)}): one table for each."]
    stores: dict[tuple[Any, ...], set[str]] = {}
    for question in questions:
        stores.setdefault((question[0], *question[2:]), set()).add(question[1])
    warnings += [
        f"{same[0]}: stores of different fingerprints have the same clips on test, by row and label: perhaps the same "
        "recordings, prepared in different ways or by different versions. Evaluate all runs on one of the stores."
        for same, prints in stores.items()
        if len(prints) > 1
    ]
    return warnings


def _warnings_of_members(members: Sequence[tuple[str, list[Run], EvaluationReport]]) -> list[str]:
    """Say where scores that stand in one table were not come by in the same way."""
    protocol = members[0][2].protocol
    what = {
        "seeds": {name: sorted(run.seed for run in joined.runs) for name, _, joined in members},
        "baselines": {
            name: sorted({each.source for each in joined.reports} - {"trained"}) or ["none"]
            for name, _, joined in members
        },
    }
    settings = {name: _settings_of(runs, joined) for name, runs, joined in members}
    for setting in sorted({each for found in settings.values() for each in found}):
        what[setting] = {name: found.get(setting, ["-"]) for name, found in settings.items()}
    warnings = []
    for named, values in what.items():
        shown = {name: ", ".join(map(str, found)) for name, found in values.items()}
        if len(set(shown.values())) > 1 or (named in _ONE_VALUE and any(len(found) > 1 for found in values.values())):
            said = "; ".join(f"{name}: {found}" for name, found in shown.items())
            warnings.append(f"{protocol}: the experiments differ in {_CALLED.get(named, named)} ({said}).")
    draws = _draws(members)
    if len({json.dumps(found) for found in draws.values()}) > 1:
        said = "; ".join(f"{name}: {found}" for name, found in draws.items())
        warnings.append(f"{protocol}: the labels that were learned from are different draws ({said}).")
    quick = [name for name, runs, joined in members if True in _settings_of(runs, joined).get("quick", [])]
    if quick:
        warnings.append(
            f"{protocol}: {', '.join(quick)} was evaluated with --quick: its scores show that everything runs, no more."
        )
    return warnings


def _settings_of(runs: Sequence[Run], joined: EvaluationReport) -> dict[str, list[Any]]:
    """Return every value that a setting of the evaluation has among the runs of an experiment."""
    found: dict[str, list[Any]] = {}
    for run in runs:
        for evaluation in run.evaluations:
            if _question(evaluation) == _question(joined):
                for name, value in evaluation.settings.items():
                    # That of the probes is among the settings of their heads.
                    if name != "probe_seed" and value not in found.setdefault(name, []):
                        found[name].append(value)
    return found


def _draws(members: Sequence[tuple[str, list[Run], EvaluationReport]]) -> dict[str, list[int]]:
    """Return the seeds by which each experiment drew the labels that it learned from, of those that drew any."""
    found = {
        name: sorted(
            {
                int(report.settings["label_seed_used"])
                for report in joined.reports
                if report.source == "trained" and report.settings.get("label_seed_used") is not None
            }
        )
        for name, _, joined in members
    }
    return {name: seeds for name, seeds in found.items() if seeds}


def _warnings_of_training(runs: Sequence[Run]) -> list[str]:
    """Say where pre-training saw different data: that is allowed in a ranking, but has to be known."""
    seen: dict[str, list[str]] = {}
    for run in runs:
        provenance = (run.description or {}).get("provenance", {})
        if "store_fingerprint" in provenance:
            what = f"{provenance.get('rows', 'clips')} of data {provenance['store_fingerprint'][:12]}"
            seen.setdefault(what, []).append(run.name)
    if len(seen) < 2:
        return []
    said = "; ".join(f"{what} ({', '.join(names)})" for what, names in seen.items())
    return [f"The encoders were pre-trained on different clips: {said}."]


def _ranking(members: Sequence[tuple[str, list[Run], EvaluationReport]], warnings: list[str]) -> Ranking:
    """Rank the experiments of one question; heads with different settings get columns of their own."""
    first = members[0][2]
    variants: dict[str, dict[str, list[str]]] = {}
    for name, _, evaluation in members:
        trained = [report for report in evaluation.reports if report.source == "trained"]
        for task in dict.fromkeys(report.task for report in trained if _scored_at_best_alone(report)):
            warnings.append(
                f"{first.protocol}: {name} has {task_name(task)} of the best epoch alone, which was chosen on the test "
                "clips: it is not ranked."
            )
        for report in (report for report in trained if report.predictions and not _scored_at_best_alone(report)):
            users = variants.setdefault(report.task, {}).setdefault(_head(report, evaluation), [])
            if name not in users:
                users.append(name)
    columns: dict[tuple[str, str], str] = {}
    for task, heads in variants.items():
        for number, head in enumerate(heads):
            columns[task, head] = task_name(task) + (f" #{number + 1}" if len(heads) > 1 else "")
        if len(heads) > 1:
            said = "; ".join(f"#{number + 1}: {', '.join(users)}" for number, users in enumerate(heads.values()))
            warnings.append(
                f"{first.protocol}: {task_name(task)} was learned in different ways ({_differences(list(heads))}); "
                f"one column for each ({said})."
            )
    rows = []
    for name, runs, evaluation in members:
        row = _row(name, runs)
        for (task, head), column in columns.items():
            cell = _cell(evaluation, runs, task, head)
            if cell is not None:
                row.cells[column] = cell
        rows.append(row)
    listed = list(columns.values())
    rows.sort(key=lambda row: [-row.cells[c].official[0] if c in row.cells else math.inf for c in listed])
    lead = _lead({name: evaluation for name, _, evaluation in members}, rows, columns)
    return Ranking(first.protocol, first.store, len(first.test_rows), first.clean_count, listed, rows, lead)


def _lead(
    evaluations: Mapping[str, EvaluationReport], rows: Sequence[Row], columns: Mapping[tuple[str, str], str]
) -> tuple[float, float, float] | None:
    """Compare the first two rows on the same clips, in the first column."""
    if not columns:
        return None
    (task, head), column = next(iter(columns.items()))
    leading = [row.name for row in rows if column in row.cells][:2]
    if len(leading) < 2:
        return None
    right = []
    for name in leading:
        evaluation = evaluations[name]
        label = np.asarray(evaluation.test_labels)
        mine = [
            report
            for report in evaluation.reports
            if report.source == "trained" and report.task == task and _head(report, evaluation) == head
        ]
        # Of several predictions, the last epoch's comes first; the best one is not looked at.
        right.append(np.mean([np.asarray(next(iter(r.predictions.values()))) == label for r in mine], axis=0))
    difference, (low, high) = paired_difference_percent(*right)
    return difference, low, high


def _head(report: Report, evaluation: EvaluationReport) -> str:
    """Return how a head was learned, as text that is equal where it was learned in the same way."""
    settings = {name: value for name, value in report.settings.items() if name not in _OUTCOMES}
    # The last epoch's score and one without epochs are different scores of the same task.
    prediction = next((name for name in report.predictions if "best" not in name), "")
    how = {
        "labels": report.num_labels_used,
        "prediction": prediction,
        **settings,
        "probe_seed": evaluation.settings.get("probe_seed"),
    }
    return json.dumps(how, sort_keys=True, default=str)


def _scored_at_best_alone(report: Report) -> bool:
    return bool(report.predictions) and all("best" in name for name in report.predictions)


def _differences(heads: Sequence[str]) -> str:
    every = [json.loads(head) for head in heads]
    names = sorted({name for each in every for name in each})
    differing = [name for name in names if len({json.dumps(each.get(name)) for each in every}) > 1]
    return "; ".join(f"{name} {' / '.join(str(each.get(name, '–')) for each in every)}" for name in differing)


def _cell(evaluation: EvaluationReport, runs: Sequence[Run], task: str, head: str) -> Cell | None:
    """Return an experiment's score of one task, over its runs with that head; None where there is none."""
    mine = [
        report
        for report in evaluation.reports
        if report.source == "trained" and report.task == task and _head(report, evaluation) == head
    ]
    if not mine:
        return None
    part = EvaluationReport(**{**evaluation.__dict__, "reports": mine})
    # The best epoch was chosen on the test clips: it is in the report, not in a ranking.
    found = {score.clips: score for score in scores(part) if "best" not in score.name}
    official, clean = found["official"], found.get("clean") if "clean" in halves(part) else None
    by_name = {run.name: run for run in runs}
    points = []
    for report in mine:
        alone = EvaluationReport(**{**evaluation.__dict__, "reports": [report]})
        [score] = [each for each in scores(alone) if "best" not in each.name and each.clips == "official"]
        name = report.fingerprints.get("run", "")
        cost = _last(by_name[name], "cpu_seconds") if name in by_name else None
        points.append(RunScore(name, report.seed, cost, score.mean_percent, score.low_percent, score.high_percent))
    pair = None if clean is None else (clean.mean_percent, clean.std_percent)
    return Cell((official.mean_percent, official.std_percent), pair, points)


def _row(name: str, runs: Sequence[Run]) -> Row:
    return Row(
        name,
        [run.name for run in runs],
        [run.seed for run in runs],
        _mean([_last(run, "cpu_seconds") for run in runs]),
        _mean([_last(run, "step") for run in runs]),
        _parameters(runs[0]),
    )


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
