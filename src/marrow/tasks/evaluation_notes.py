"""What a reader of scores has to know: copies, folds, what pre-training saw, runs that are no seeds of each other."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from marrow.data.subsets import chosen_rows, protocol_rows
from marrow.pretrain_config import NOT_THE_EXPERIMENT
from marrow.store.copies import copied_rows
from marrow.store.format import Store
from marrow.tasks.base import Report, TaskData, TestClips
from marrow.tasks.evaluation_report import RunFacts
from marrow.tasks.numbers import scored_by


def notes_of_protocol(
    folds: Sequence[TaskData], test: TestClips, near: int | None, runs: Sequence[RunFacts], store: Store
) -> list[str]:
    """Say what a reader of the scores has to know; `near` is what `near_copies` returns."""
    notes = notes_of_copies(int(test.copied.sum()), near, len(test.copied))
    if len(folds) > 1:
        notes.append(
            f"{len(folds)} folds, pooled: every clip is predicted once, by heads that saw none of its fold's labels."
        )
    sizes = dict.fromkeys(run.description.get("size") for run in runs)
    notes += [f"The encoder is of the size that is called {size!r}." for size in sizes if size]
    notes += list(dict.fromkeys(_seen_in_pretraining(run, test, store) for run in runs))
    notes += _unequal(runs)
    return notes


def near_copies(folds: Sequence[TaskData]) -> int | None:
    """Count the test clips that are nearly the same as a training clip; None where that is not looked for.

    Over folds, they would be looked for in each anew.
    """
    if len(folds) > 1:
        return None
    near = copied_rows(folds[0].store, folds[0].train_rows, folds[0].test_rows).near
    return None if near is None else len(near)


def notes_of_copies(identical: int, near: int | None, test_count: int) -> list[str]:
    """Say how many test clips are copies of training clips.

    `near` is None where near copies were not looked for.
    """
    notes = []
    if identical:
        notes.append(
            f"{identical} of the {test_count} test clips are bit-identical to a training clip. "
            f"Official scores count them; clean scores are over the other {test_count - identical}."
        )
    if near:
        count = f"{near} more" if identical else f"{near} of the {test_count} test clips"
        notes.append(
            f"{count} {'is' if near == 1 else 'are'} nearly the same as a training clip (but for noise, "
            "resampling, cut frames or a rigid move). Official and clean scores both count them."
        )
    return notes


def _unequal(runs: Sequence[RunFacts]) -> list[str]:
    """Say where runs that are averaged as seeds of one experiment are not."""
    described = [_settings_of(run) for run in runs]
    names = sorted({name for settings in described for name in settings})
    differing = [name for name in names if len({json.dumps(settings.get(name)) for settings in described}) > 1]
    notes = []
    if differing:
        shown = ", ".join(differing[:4]) + (", ..." if len(differing) > 4 else "")
        notes.append(
            f"These runs differ in more than their seed ({shown}): their mean and spread are not those of one "
            "experiment. `marrow compare` puts different experiments side by side."
        )
    if len({run.seed for run in runs}) < len(runs):
        notes.append("Some of these runs have the same seed: the spread over seeds is understated.")
    return notes


def _settings_of(run: RunFacts) -> dict[str, Any]:
    """Return what decides the outcome of a run, flat, without its seed."""
    settings = run.description.get("provenance", {}).get("settings") or {}
    parts = {name: value if isinstance(value, dict) else {"": value} for name, value in settings.items()}
    return {
        ".".join(filter(None, (name, inner))): value
        for name, part in parts.items()
        if name not in NOT_THE_EXPERIMENT
        for inner, value in part.items()
    }


def notes_of_tasks(reports: Sequence[Report], folds: int) -> list[str]:
    """Gather what tasks say of their scores."""
    first = ", first fold" if folds > 1 else ""
    has_best = any(scored_by(name).chosen_on_test for report in reports for name in report.predictions)
    return [
        *(["The best epoch is chosen in each fold apart."] if folds > 1 and has_best else []),
        *(
            f"{report.task} ({report.source}, seed {report.seed}{first}): {report.noted['note']}"
            for report in reports
            if "note" in report.noted
        ),
    ]


def _rows_of_pretraining(provenance: Mapping[str, Any], store: Store) -> Int64[np.ndarray, " row"] | None:
    """Return the rows of a store that a pre-training has learned from; None where it was of other data."""
    for one in provenance.get("stores", ()):
        if one["fingerprint"] == store.fingerprint:
            return chosen_rows(store, None if one["rows"] == "all" else one["rows"])[0]
    if "settings" not in provenance or provenance.get("store_fingerprint") != store.fingerprint:
        return None
    protocol = provenance["settings"]["protocol"]
    return np.arange(len(store)) if protocol is None else protocol_rows(store, protocol)[0]


def _seen_in_pretraining(run: RunFacts, test: TestClips, store: Store) -> str:
    """Say how many test clips the pre-training saw, without their labels, as far as the run tells."""
    provenance = run.description.get("provenance", {})
    if "num_labels_used" in provenance:
        return f"The encoder was fine-tuned with the labels of {provenance['num_labels_used']} clips before."
    rows = _rows_of_pretraining(provenance, store)
    if rows is None and provenance.get("stores"):
        return f"The encoder was pre-trained on other stores: {', '.join(one['name'] for one in provenance['stores'])}."
    if rows is None:
        return "The encoder was pre-trained on other data, or does not say on which."
    seen = int(np.isin(test.row, rows).sum())
    if seen == 0:
        return f"Pre-training learned from {len(rows)} clips without labels; no test clip was among them."
    return (
        f"Pre-training learned from {len(rows)} clips without labels, {seen} of the {len(test.row)} test clips "
        "among them: these scores are transductive (no label was seen, the motion was)."
    )
