"""Tasks over the folds of a protocol: each fold alone, then all of them scored as one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from marrow.data.subsets import fold_protocols, protocol_rows
from marrow.models.encoder import Encoder
from marrow.store.format import Store
from marrow.tasks.base import Report, Task, TaskContext, TaskData, TestClips
from marrow.tasks.journal import Journal
from marrow.tasks.kinds import PoolsFolds, WithRaw
from marrow.tasks.recognition.baselines import RawBaseline
from marrow.train.run_directory import plain


def folds_of(store: Store, protocol: str) -> list[TaskData]:
    """Return the train and test halves of a protocol: one, or one per fold."""
    return [TaskData(store, *protocol_rows(store, name), protocol=name) for name in fold_protocols(store, protocol)]


def over_folds(
    tasks: Sequence[Task],
    encoder: Encoder,
    folds: Sequence[TaskData],
    context: TaskContext,
    journal: Journal,
    source: str,
    seed: int,
    fingerprints: Mapping[str, str],
) -> list[Report]:
    """Run tasks on every fold; the shared context encodes each clip once."""
    reports: list[Report] = []
    for task in tasks:
        by_fold = [
            journal.reports(
                partial(task.run, encoder, fold, context),
                task=repr(task),
                fold=fold.protocol,
                source=source,
                seed=seed,
            )
            for fold in folds
        ]
        reports += _asked(task, _pooled(task, by_fold, folds, source, seed, fingerprints))
    return reports


def _asked(task: Task, reports: list[Report]) -> list[Report]:
    """Note the settings of the task with what came of it, where it has some and did not do so itself."""
    config = getattr(task, "config", None)
    for report in reports:
        if config is not None and not report.asked:
            report.asked = plain(config)
    return reports


def raw_baselines(
    tasks: Sequence[Task],
    folds: Sequence[TaskData],
    context: TaskContext,
    journal: Journal,
    fingerprints: Mapping[str, str],
) -> list[Report]:
    """Score what needs no encoder: aligned coordinates for recognition, and what other tasks have of their own."""
    reports: list[Report] = []
    if any(not isinstance(task, WithRaw) for task in tasks):
        raw = RawBaseline()
        reports += _pooled(raw, [raw.run(fold, context) for fold in folds], folds, "raw", 0, fingerprints)
    for task in tasks:
        if isinstance(task, WithRaw):
            by_fold = [
                journal.reports(partial(task.raw, fold, context), task=repr(task), fold=fold.protocol, source="raw")
                for fold in folds
            ]
            reports += _pooled(task, by_fold, folds, "raw", 0, fingerprints)
    return reports


def _pooled(
    task: Task | RawBaseline,
    by_fold: Sequence[Sequence[Report]],
    folds: Sequence[TaskData],
    source: str,
    seed: int,
    fingerprints: Mapping[str, str],
) -> list[Report]:
    """Score the predictions of all folds as one set of clips, and mark whose they are."""
    pooled = []
    if isinstance(task, PoolsFolds):
        for parts in zip(*by_fold, strict=True):
            report = parts[0] if len(parts) == 1 else task.pool(parts)
            settings = report.settings if len(parts) == 1 else {**report.settings, "folds": len(parts)}
            pooled.append(replace(report, settings=settings, seed=seed, source=source, fingerprints=dict(fingerprints)))
        return pooled
    clips = TestClips.joined([fold.test_clips() for fold in folds])
    for parts in zip(*by_fold, strict=True):
        predictions = {
            name: np.concatenate([np.asarray(part.predictions[name], np.int64) for part in parts])
            for name in parts[0].predictions
        }
        report = Report.scored(
            parts[0].task,
            predictions,
            clips,
            settings=parts[0].settings if len(parts) == 1 else {**parts[0].settings, "folds": len(parts)},
            seed=seed,
            num_labels_used=max(part.num_labels_used for part in parts),
            source=source,
            about=parts[0].declared,
            asked=parts[0].asked,
            cost=parts[0].cost,
            noted=parts[0].noted,
        )
        report.fingerprints = dict(fingerprints)
        pooled.append(report)
    return pooled
