"""The whole evaluation of runs: every task, beside its baselines, over seeds and folds, as one report.

Runs that differ only in their seed are evaluated together; each gets its own report in `RUN/reports/`, and what is
printed is the summary over them (`marrow.tasks.summary`).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from marrow.data.augment import AugmentConfig
from marrow.data.subsets import resolved
from marrow.errors import ConfigError, DataError
from marrow.models.encoder import Encoder
from marrow.progress import Parts
from marrow.store.format import Store
from marrow.tasks import TASKS, get_task
from marrow.tasks.base import Quick, Report, Task, TaskContext, TaskData, TestClips, unsuited
from marrow.tasks.encoders import encoder_for, encoder_of, facts_of_all, origin_of, store_for
from marrow.tasks.evaluation_notes import near_copies, notes_of_protocol, notes_of_tasks
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.folds import folds_of, over_folds, raw_baselines, raw_kinds, without_duplicates
from marrow.tasks.kept_reports import Journal, file_name, in_order, keep
from marrow.tasks.recognition.baselines import BASELINES
from marrow.tasks.recognition.linear_probe import LinearProbe
from marrow.weights import shipped_folder

log = logging.getLogger(__name__)

QUICK_NOTE = (
    "Quick: every task ran in its smallest size (few epochs, one draw, few fractions). These scores show that it runs, "
    "not what the encoder can do."
)


def evaluate(
    encoders: Encoder | Path | str | Sequence[Encoder | Path | str],
    store: Store | Path | str,
    protocol: str,
    *,
    tasks: str | Sequence[str | Task] = ("linear_probe", "knn"),
    may_leave_out: bool = False,
    quick: bool = False,
    baselines: str | Sequence[str] = BASELINES,
    augmented: bool | AugmentConfig = False,
    transfer: bool | Mapping[str, str | None] = False,
    drop_duplicates: Literal["none", "test", "train"] = "none",
    context: TaskContext | None = None,
    save: bool = True,
    anew: bool = False,
) -> EvaluationReport:
    """Score encoders on a protocol, beside their baselines.

    Args:
        encoders: run directories, exported encoders, "general", or encoders in memory: one, or one per seed.
        store: the data.
        protocol: a split of the store ("xview"); all folds, whose predictions are pooled to one score over all clips:
            "leave-one-out:ATTRIBUTE", "k-fold:K", "k-fold:K:ATTRIBUTE" or a name that the store has for one of these;
            or one fold: "leave-one-out:ATTRIBUTE=VALUE", "k-fold:K#0".
        tasks: names of tasks, or tasks with settings of their own; or one name. "all": every task that the data is for.
        may_leave_out: leave out tasks that the data is not for, and say so in the notes, as "all" does; otherwise
            that is an error.
        quick: every task in its smallest size, by the same code: to see that all runs, not for the scores.
        baselines: "random": the same encoder at random initialisation, with each run's seed; "raw": coordinates.
        augmented: besides, train the linear probe as the paper does, with the clips augmented anew in every epoch, by
            these settings or (True) by those of each run's pre-training. The trained encoders only: it costs 100 passes
            over the training clips.
        transfer: where the store has another skeleton, adapt the encoders to it, joints being matched by name; or joint
            of the encoder by joint of the store. The notes say what became of each joint.
        drop_duplicates: leave out test clips that are copies of a training clip, or those training clips; the name of
            the protocol then says so.
        context: device, precision, seed of the probes, limits.
        save: keep the report of each run in its `RUN/reports/` (`marrow.tasks.kept_reports`): added to what is there,
            or beside it where that was made in another way. Of an encoder in memory, or of one that comes with marrow,
            nothing is kept.
        anew: put what is kept there under this protocol aside, and begin afresh.
    """
    given = [encoders] if isinstance(encoders, Encoder | Path | str) else encoders
    sources = [source if isinstance(source, Encoder) else Path(source) for source in given]
    store = store if isinstance(store, Store) else Store.open(store)
    context = context or TaskContext()
    tasks = [tasks] if isinstance(tasks, str) else tasks
    baselines = [baselines] if isinstance(baselines, str) else baselines
    unknown = [name for name in baselines if name not in BASELINES]
    if unknown:
        raise ConfigError(f"unknown baseline {unknown[0]!r}; baselines are {', '.join(BASELINES)}")
    if not sources or not tasks:
        raise ConfigError(f"expected at least one run and one task, got {len(sources)} runs and {len(tasks)} tasks")
    folds = folds_of(store, protocol)
    asked_protocol, protocol = protocol, resolved(store, protocol)
    if context.keep is not None and len(sources) * len(folds) > 1:
        raise ConfigError(
            f"what a task trains is kept of one run and one fold, got {len(sources)} runs and {len(folds)} folds; a "
            f"fold is {folds[0].protocol}"
        )
    if drop_duplicates != "none":
        folds = [without_duplicates(fold, drop_duplicates) for fold in folds]
        protocol = folds[0].protocol if len(folds) == 1 else f"{protocol}, without {drop_duplicates} copies"
    chosen, left_out = _suited([get_task(task) if isinstance(task, str) else task for task in _named(tasks)], folds[0])
    if left_out and not may_leave_out and "all" not in tasks:
        raise ConfigError(f"this task is not for this data: {left_out[0]}")
    if quick:
        chosen = [task.quick() if isinstance(task, Quick) else task for task in chosen]
    facts = facts_of_all(sources)
    folders = [None if isinstance(source, Encoder) else source for source in sources]
    # Of an encoder that comes with marrow nothing is kept: its folder is not the user's.
    own = [folder is not None and shipped_folder(folder) is None for folder in folders]
    kept = [folder / "reports" if save and mine and folder else None for folder, mine in zip(folders, own, strict=True)]

    of_store = {"store": store.fingerprint}
    adapts = transfer if isinstance(transfer, bool) else dict(transfer)
    limits = {name: getattr(context, name) for name in ("device", "precision", "seed", "max_steps", "max_minutes")}
    question = {**of_store, "protocol": protocol, "transfer": adapts, **limits}
    journals = [
        Journal(folder and folder / f"{file_name(protocol)}.unfinished", {"encoder": run.fingerprint, **question})
        for folder, run in zip(kept, facts, strict=True)
    ]
    reports: list[Report] = []
    random_done: set[int] = set()
    encoders_scored = len(sources) + ("random" in baselines) * len({run.seed for run in facts})
    probes = 0 if augmented is False else len(sources)
    kinds = [task.name for task in chosen] * encoders_scored + [LinearProbe.name] * probes
    parts = Parts([*kinds, *(raw_kinds(chosen) if "raw" in baselines else [])] * len(folds))
    adapted: list[str] = []
    for source, folder, run, journal in zip(sources, folders, facts, journals, strict=True):
        log.info("evaluating %s on %s", run.name, protocol)
        encoder, adaptation = encoder_for(encoder_of(source), store, transfer, run.seed, folder or run.name)
        adapted += adaptation
        read = store_for(encoder, store, folder or run.name, transfer if isinstance(transfer, Mapping) else None)
        as_read = [replace(fold, store=read) for fold in folds]
        origin = replace(origin_of(folder, run.description.get("provenance", {})), seed=run.seed)
        varied = origin.augment or AugmentConfig() if augmented is True else augmented or None
        extra = [] if varied is None else [LinearProbe(logistic=None, augmented=varied)]
        context = replace(context, origin=origin)
        marks = {"run": run.name, "encoder": run.fingerprint, **of_store}
        reports += over_folds([*chosen, *extra], encoder, as_read, context, journal, "trained", run.seed, marks, parts)
        if "random" in baselines and run.seed not in random_done:
            random_done.add(run.seed)
            fresh = encoder.fresh(run.seed)
            scratch = replace(context, origin=origin.from_scratch())
            reports += over_folds(chosen, fresh, as_read, scratch, journal, "random", run.seed, of_store, parts)
    if "raw" in baselines:
        reports += raw_baselines(chosen, folds, context, journals[0], of_store, parts)

    test = TestClips.joined([fold.test_clips(may_lack_labels=True) for fold in folds])
    near = near_copies(folds)
    whole = EvaluationReport(
        protocol=protocol,
        store=store.fingerprint,
        classes=list(test.classes),
        train_count=max(len(fold.train_rows) for fold in folds),
        test_rows=test.row.tolist(),
        test_labels=test.label.tolist(),
        test_copied=test.copied.tolist(),
        runs=facts,
        reports=in_order(reports),
        notes=[
            *dict.fromkeys(f"{note[0].upper()}{note[1:]}." for note in adapted),
            *notes_of_protocol(folds, test, near, facts, store),
            *notes_of_tasks(reports, len(folds)),
            *([QUICK_NOTE] if quick else []),
            *left_out,
        ],
        settings={
            "folds": len(folds),
            "probe_seed": context.seed,
            "precision": context.precision,
            "quick": quick,
            "asked_protocol": asked_protocol,
            "drop_duplicates": drop_duplicates,
            "transfer": adapts,
            "max_steps": context.max_steps,
            "max_minutes": context.max_minutes,
            "near_copies": near,
        },
    )
    for folder, run, journal in zip(kept, facts, journals, strict=True):
        if folder is not None:
            keep(folder, whole.of_run(run.name), anew=anew)
            journal.close()
    return whole


def _named(tasks: Sequence[str | Task]) -> list[str | Task]:
    """Put the names of all tasks in the place of "all"."""
    named = [name for task in tasks for name in (TASKS if task == "all" else [task])]
    return list(dict.fromkeys(named))


def _suited(tasks: Sequence[Task], data: TaskData) -> tuple[list[Task], list[str]]:
    """Return the tasks that the data is for, and of the others why not."""
    reasons = [(task, unsuited(task, data)) for task in tasks]
    chosen = [task for task, reason in reasons if reason is None]
    left_out = [f"{task.name} is left out: {reason}." for task, reason in reasons if reason is not None]
    if not chosen:
        raise DataError(f"no task is for this data. {' '.join(left_out)}")
    return chosen, left_out
