"""Reports of version 1, read as those of today: there, settings were one dictionary, and numbers had names alone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from marrow.tasks.base import Report
from marrow.tasks.detection import scoring as detection_report
from marrow.tasks.numbers import DRAWS_STD, TOP1, About, Better, Quantity, label_of
from marrow.tasks.prediction import scoring as prediction_report
from marrow.tasks.recognition import few_shot, finetune, knn, linear_probe, semi_supervised
from marrow.tasks.recognition.retrieval import ABOUT as RETRIEVAL
from marrow.tasks.recognition.retrieval import MEAN_AVERAGE_PRECISION, recall_at

_COST = (
    *("steps_done", "steps_per_epoch", "training_cpu_seconds", "training_wall_seconds"),
    *("pretraining_steps", "pretraining_cpu_seconds", "pretraining_wall_seconds"),
)
_NOTED = ("best_epoch", "converged", "stopped_early", "label_seed_used", "note")
# Which other scores were asked for, and memory, decide no score.
_ASKED_ALONE = ("chunk_queries", "fractions", "shots", "ranks")

_QUANTITIES = {
    **{f"{name}_percent": quantity for name, quantity in TOP1.items()},
    "top1_draws_std_percent": DRAWS_STD,
    **{f"recall_at_{rank}_percent": recall_at(rank) for rank in range(1, 101)},
    "map_percent": MEAN_AVERAGE_PRECISION,
    **detection_report.QUANTITIES,
    **prediction_report.QUANTITIES,
}
_QUANTITIES |= {
    name.replace("_percent", "_clean_percent"): quantity.without_copies(name)
    for name, quantity in _QUANTITIES.items()
    if name.endswith("_percent") and quantity.clips == "official" and not quantity.of
}
_VARIANTS = {"knn": "nearest neighbours", "pooled": ""}


def converted(values: Mapping[str, Any]) -> Report:
    """Return what a report of version 1 says, from what JSON made of it."""
    settings = values["settings"]
    how = {name: value for name, value in settings.items() if name not in (*_COST, *_NOTED, *_ASKED_ALONE, "asked")}
    fields = {
        **values,
        "intervals": {name: (float(low), float(high)) for name, (low, high) in values["intervals"].items()},
        "settings": how,
        "asked": settings.get("asked") or {},
        "cost": {name: settings[name] for name in _COST if name in settings},
        "noted": {name: settings[name] for name in _NOTED if name in settings},
    }
    return declared(Report(**fields))


def declared(report: Report) -> Report:
    """Return a report that says what it is about, and what its numbers are, from one that has names alone."""
    quantities = {name: _QUANTITIES.get(name) or _by_ending(name) for name in report.metrics}
    about = replace(_about(report), label=label_of(report.task))
    return replace(report, declared=about, quantities=quantities)


def _about(report: Report) -> About:
    kind, _, variant = report.task.partition("/")
    if report.source == "raw" and kind in ("knn", "ridge"):
        return About.undeclared(report.task)
    if kind in few_shot.WAYS:
        return few_shot.about_of(report.task)
    if kind.startswith("semi_supervised"):
        return semi_supervised.about_of(report.task)
    if kind in ("linear_probe", "linear_probe_augmented", "logistic"):
        return linear_probe.about_of(report.task)
    if kind == "finetune":
        return finetune.about_of(report.task)
    of_kinds = {
        "knn": knn.ABOUT,
        "retrieval": RETRIEVAL,
        "action_detection": detection_report.ABOUT,
        "motion_prediction": prediction_report.ABOUT,
    }
    if kind not in of_kinds:
        return About.of_recognition(report.task)
    parts = [_VARIANTS.get(part, part) for part in variant.split(", ") if part]
    test_set = next((part for part in parts if part.endswith(" samples")), "")
    words = ", ".join(part for part in parts if part and part != test_set)
    rule = words if kind == "motion_prediction" and report.source == "raw" else ""
    reordered = any(_QUANTITIES[name].reading for name in report.metrics if name in detection_report.QUANTITIES)
    return replace(
        of_kinds[kind],
        rule=rule,
        variant="" if rule else words,
        test_set=test_set,
        lead=detection_report.LEAD if reordered else of_kinds[kind].lead,
    )


def _by_ending(name: str) -> Quantity:
    """Describe a number of a task that is not of marrow as version 1 did: by the unit at the end of its name."""
    units: dict[str, tuple[str, Better]] = {"_percent": ("%", "higher"), "_mm": ("mm", "lower")}
    for ending, (unit, better) in units.items():
        if name.endswith(ending):
            return Quantity(name.removesuffix(ending).replace("_", " "), unit, better)
    return Quantity(name.replace("_", " "))
