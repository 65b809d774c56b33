"""Scores with few labels are means over several draws of them: from draws to predictions to one report.

A report of this kind keeps what each draw predicted in `Report.detail`, so that folds can be pooled: the predictions of
all folds are put behind each other, draw by draw, and scored as those of one set of clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from marrow.data.label_draws import LabelLists, Scheme, check_amount, draw_labels
from marrow.errors import NOT_NEGATIVE, ConfigError, at_least, check_ranges
from marrow.tasks import metrics
from marrow.tasks.base import Report, TaskData, TestClips
from marrow.tasks.numbers import DRAWS_STD, scored_by

Rows = Int64[np.ndarray, " _"]


@dataclass(frozen=True)
class LabelChoice:
    """The clips of one draw.

    Args:
        seed: of the draw.
        rows: the training clips that keep their labels.
        places: where they stand among the training rows.
        label: their classes.
        missed: names of the classes of the training half that none of them has.
    """

    seed: int
    rows: Rows
    places: Int64[np.ndarray, " label"]
    label: Int64[np.ndarray, " label"]
    missed: tuple[str, ...]


@dataclass(frozen=True)
class DrawnPrediction:
    """What was predicted with the labels of one draw.

    Args:
        choice: the labels.
        predicted: class of every test clip.
        best: likewise after the epoch that fits the test clips best; None where there are no epochs.
    """

    choice: LabelChoice
    predicted: Int64[np.ndarray, " test"]
    best: Int64[np.ndarray, " test"] | None = None


def check_draws(settings: Any, amounts: Sequence[float], scheme: Scheme) -> None:
    """Raise a ConfigError where there is nothing to draw.

    Of a task's settings, `draws` and `label_seed` are read.
    """
    check_ranges(settings, draws=at_least(1), label_seed=NOT_NEGATIVE)
    if not amounts or len(set(amounts)) < len(amounts):
        raise ConfigError(f"expected one amount of labels or several different ones, got {list(amounts)}")
    for amount in amounts:
        check_amount(scheme, amount)


def label_choices(
    data: TaskData, scheme: Scheme, amounts: Sequence[float], *, draws: int, label_seed: int, lists: Path | None
) -> dict[float, list[LabelChoice]]:
    """Draw labels, or take them from a file, in which case that decides the seeds.

    Args:
        data: the training half is drawn from.
        scheme: how.
        amounts: shares, or clips per class.
        draws: how many of each amount.
        label_seed: of the first draw; each further one has the next.
        lists: file of `marrow labels`; None: draw here.

    Raises:
        ConfigError: the file is none, or does not fit the data or the amounts.
    """
    published = None if lists is None else LabelLists.load(lists)
    if published is not None:
        if published.scheme != scheme:
            raise ConfigError(f"{lists} holds draws of the scheme {published.scheme}, {scheme} is asked for")
        published.warn_of_another_store(data.store)
    chosen: dict[float, list[LabelChoice]] = {}
    for amount in amounts:
        if published is not None:
            listed = published.select(data.protocol, float(amount), draws)
            drawn = [(draw.seed, published.rows(draw, data.store, data.train_rows)) for draw in listed]
        else:
            seeds = range(label_seed, label_seed + draws)
            drawn = [(seed, draw_labels(data.store, data.train_rows, scheme, float(amount), seed)) for seed in seeds]
        chosen[amount] = [_choice(data, seed, rows) for seed, rows in drawn]
    return chosen


def _choice(data: TaskData, seed: int, rows: Rows) -> LabelChoice:
    labels = np.asarray(data.store.label)
    label = labels[rows].astype(np.int64)
    # The labels of all training clips name the classes that there are; nothing else is taken from them.
    in_training = np.unique(labels[data.train_rows])
    missed = tuple(data.classes[number] for number in in_training if number >= 0 and number not in label)
    order = np.argsort(data.train_rows)
    places = order[np.searchsorted(data.train_rows, rows, sorter=order)]
    return LabelChoice(seed, rows, places, label, missed)


def report_over_draws(report: Report, predictions: Sequence[DrawnPrediction], test: TestClips) -> Report:
    """Score predictions as means over draws; intervals are over clips, of the mean over draws."""
    draws: list[dict[str, Any]] = []
    for drawn in predictions:
        draw: dict[str, Any] = {
            "seed": drawn.choice.seed,
            "labels": len(drawn.choice.rows),
            "classes_missed": list(drawn.choice.missed),
            "predictions": drawn.predicted.tolist(),
        }
        if drawn.best is not None:
            draw["predictions_best"] = drawn.best.tolist()
        draws.append(draw)
    detail = {
        "draws": draws,
        "label": test.label.tolist(),
        "copied": test.copied.tolist(),
        "classes": list(test.classes),
    }
    return _scored(report, detail)


def pooled_over_draws(parts: Sequence[Report]) -> Report:
    """Score what several folds predicted, draw by draw, as one set of clips."""
    details = [part.detail for part in parts]
    draws = []
    for of_folds in zip(*(detail["draws"] for detail in details), strict=True):
        draw = {
            "seed": of_folds[0]["seed"],
            "labels": round(float(np.mean([draw["labels"] for draw in of_folds]))),
            "classes_missed": sorted({name for draw in of_folds for name in draw["classes_missed"]}),
        }
        for key in _SCORE_OF:
            if key in of_folds[0]:
                draw[key] = [predicted for draw in of_folds for predicted in draw[key]]
        draws.append(draw)
    detail = {
        "draws": draws,
        "label": [label for detail in details for label in detail["label"]],
        "copied": [copied for detail in details for copied in detail["copied"]],
        "classes": details[0]["classes"],
    }
    return _scored(parts[0], detail)


# The score of a draw's predictions.
_SCORE_OF = {"predictions": "top1", "predictions_best": "top1_best"}


def _scored(report: Report, detail: dict[str, Any]) -> Report:
    """Return a report with the scores of what was predicted with each draw."""
    draws, label = detail["draws"], np.asarray(detail["label"], np.int64)
    copied = np.asarray(detail["copied"], bool)
    report = replace(report, metrics={}, intervals={}, quantities={})
    scores_of_draws: list[dict[str, float]] = [{} for _ in draws]
    for key, name in _SCORE_OF.items():
        if key not in draws[0]:
            continue
        is_right = np.array([draw[key] for draw in draws]) == label
        report.add_percent(name, scored_by(name), is_right.mean(axis=0), copied)
        for suffix, counted in metrics.counted_clips(copied).items():
            for scores, of_draw in zip(scores_of_draws, is_right, strict=True):
                scores[f"{name}{suffix}_percent"] = 100.0 * float(of_draw[counted].mean())
    if len(draws) > 1:  # one draw has no spread
        spread = metrics.mean_and_std([scores["top1_percent"] for scores in scores_of_draws])[1]
        report.metrics["top1_draws_std_percent"] = spread
        report.quantities["top1_draws_std_percent"] = DRAWS_STD
    recalls = [
        metrics.per_class_recall_percent(np.asarray(draw["predictions"], np.int64), label, tuple(detail["classes"]))
        for draw in draws
    ]
    return replace(
        report,
        per_class={name: float(np.mean([recall[name] for recall in recalls])) for name in recalls[0]},
        num_labels_used=round(float(np.mean([draw["labels"] for draw in draws]))),
        detail={
            **detail,
            "draws": [{**draw, "scores": scores} for draw, scores in zip(draws, scores_of_draws, strict=True)],
        },
    )


def missing_note(choices: Sequence[LabelChoice]) -> str:
    """Say how many draws miss classes, and how many leave nothing to tell apart; nothing where none does."""
    missing = sum(bool(choice.missed) for choice in choices)
    single = sum(len(np.unique(choice.label)) == 1 for choice in choices)
    note = f" Classes are missed in {missing} of {len(choices)} draws, and there never predicted." if missing else ""
    if single:
        note += f" A single class is held by {single} of {len(choices)}, and there predicted for every clip."
    return note
