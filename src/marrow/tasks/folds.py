"""The folds of a protocol: tasks on each of them alone, then all of them scored as one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from marrow.data.subsets import fold_protocols, protocol_rows
from marrow.errors import ConfigError
from marrow.models.encoder import Encoder
from marrow.progress import Parts
from marrow.store.copies import copied_rows
from marrow.store.format import Store
from marrow.tasks.base import PoolsFolds, Report, Task, TaskContext, TaskData, TestClips, WithRaw
from marrow.tasks.kept_reports import Journal
from marrow.tasks.recognition.baselines import RawBaseline
from marrow.train.run_directory import plain


def folds_of(store: Store, protocol: str) -> list[TaskData]:
    """Return the train and test halves of a protocol: one, or one per fold."""
    return [TaskData(store, *protocol_rows(store, name), protocol=name) for name in fold_protocols(store, protocol)]


def without_duplicates(data: TaskData, half: str = "test", *, near: bool | None = None) -> TaskData:
    """Return a protocol without the clips of one half that are copies of a clip of the other.

    Its name says what was left out ("xview, without 95 test copies"), so that its scores are never ranked with those of
    the whole protocol. Without copies, the protocol is returned as it is.

    Args:
        data: the whole protocol.
        half: "test": fewer clips are scored, by heads that learned from all training clips. "train": all test clips are
            scored, by heads that learned from fewer. What an encoder was pre-trained on is not changed by either.
        near: whether near copies are looked for and left out too; None: where it takes seconds.

    Raises:
        ConfigError: the half is neither.
        DataError: every clip of that half is a copy.
    """
    if half not in ("train", "test"):
        raise ConfigError(f"half must be 'train' or 'test', got {half!r}: leave copies out of one of them")
    rows, others = (data.train_rows, data.test_rows) if half == "train" else (data.test_rows, data.train_rows)
    copies = copied_rows(data.store, others, rows, near=near)
    if not len(copies.rows):
        return data
    count = f"{len(copies.identical)}"
    if copies.near:
        count += f" identical and {len(copies.near)} near"
    protocol = f"{data.protocol}, without {count} {half} cop{'y' if len(copies.rows) == 1 else 'ies'}"
    return replace(data, protocol=protocol, **{f"{half}_rows": rows[~np.isin(rows, copies.rows)]})


def over_folds(
    tasks: Sequence[Task],
    encoder: Encoder,
    folds: Sequence[TaskData],
    context: TaskContext,
    journal: Journal,
    source: str,
    seed: int,
    fingerprints: Mapping[str, str],
    parts: Parts,
) -> list[Report]:
    """Run tasks on every fold; the shared context encodes each clip once. `parts` says which one is at hand."""
    reports: list[Report] = []
    words = "trained encoder" if source == "trained" else "untrained encoder"
    for task in tasks:
        by_fold: list[list[Report]] = []
        for fold in folds:
            compute = partial(task.run, encoder, fold, context)
            named = partial(_named, parts, task.name, _words(task.name, words, fold, folds), compute)
            part = {"task": repr(task), "fold": fold.protocol, "source": source, "seed": seed}
            by_fold.append(journal.reports(named, **part))
            parts.done(task.name)
        pooled = _pooled(task, by_fold, folds, source, seed, fingerprints)
        config = getattr(task, "config", None)
        for report in pooled:  # a task of another package may not say itself what was asked for
            if config is not None and not report.asked:
                report.asked = plain(config)
        reports += pooled
    return reports


def raw_baselines(
    tasks: Sequence[Task],
    folds: Sequence[TaskData],
    context: TaskContext,
    journal: Journal,
    fingerprints: Mapping[str, str],
    parts: Parts,
) -> list[Report]:
    """Score what needs no encoder: aligned coordinates for recognition, and what other tasks have of their own."""
    reports: list[Report] = []
    for task, kind in zip(_raw_tasks(tasks), raw_kinds(tasks), strict=True):
        by_fold: list[list[Report]] = []
        for fold in folds:
            words = _words(kind, "", fold, folds)
            if isinstance(task, WithRaw):
                named = partial(_named, parts, kind, words, partial(task.raw, fold, context))
                by_fold.append(journal.reports(named, task=repr(task), fold=fold.protocol, source="raw"))
            else:
                assert isinstance(task, RawBaseline)
                by_fold.append(_named(parts, kind, words, partial(task.run, fold, context)))
            parts.done(kind)
        reports += _pooled(task, by_fold, folds, "raw", 0, fingerprints)
    return reports


def raw_kinds(tasks: Sequence[Task]) -> list[str]:
    """Return what scores without an encoder beside some tasks, as kinds of parts (`marrow.progress.Parts`)."""
    names = ("recognition" if isinstance(task, RawBaseline) else task.name for task in _raw_tasks(tasks))
    return [f"{name} of raw coordinates" for name in names]


def _raw_tasks(tasks: Sequence[Task]) -> list[Task | RawBaseline]:
    own = [task for task in tasks if isinstance(task, WithRaw)]
    needed = any(not isinstance(task, WithRaw) or getattr(task, "raw_of_recognition", False) for task in tasks)
    return [*([RawBaseline()] if needed else []), *own]


def _named(parts: Parts, kind: str, words: str, compute: Callable[[], Sequence[Report]]) -> list[Report]:
    """Say that a part begins, and compute it."""
    parts.begin(kind, words)
    return list(compute())


def _words(name: str, source: str, fold: TaskData, folds: Sequence[TaskData]) -> str:
    of_fold = fold.protocol if len(folds) > 1 else ""
    return ", ".join(filter(None, (name, source, of_fold)))


def _pooled(
    task: Task | RawBaseline,
    by_fold: Sequence[Sequence[Report]],
    folds: Sequence[TaskData],
    source: str,
    seed: int,
    fingerprints: Mapping[str, str],
) -> list[Report]:
    """Score the predictions of all folds as one set of clips, and mark whose they are."""
    clips = None if isinstance(task, PoolsFolds) else TestClips.joined([fold.test_clips() for fold in folds])
    pooled = []
    for parts in zip(*by_fold, strict=True):
        if isinstance(task, PoolsFolds):
            report = parts[0] if len(parts) == 1 else task.pool(parts)
        else:
            assert clips is not None
            report = _scored_together(parts, clips)
        settings = report.settings if len(parts) == 1 else {**report.settings, "folds": len(parts)}
        pooled.append(replace(report, settings=settings, seed=seed, source=source, fingerprints=dict(fingerprints)))
    return pooled


def _scored_together(parts: Sequence[Report], clips: TestClips) -> Report:
    """Score the classes that each fold predicted as those of one set of clips."""
    first = parts[0]
    return Report.scored(
        first.task,
        {
            name: np.concatenate([np.asarray(part.predictions[name], np.int64) for part in parts])
            for name in first.predictions
        },
        clips,
        settings=first.settings,
        seed=first.seed,
        num_labels_used=max(part.num_labels_used for part in parts),
        about=first.declared,
        asked=first.asked,
        cost=first.cost,
        noted=first.noted,
    )
