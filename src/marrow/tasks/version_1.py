"""Reports of version 1, read as those of today: there, settings were one dictionary, and numbers had names alone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from marrow.tasks.detection import metrics as detection
from marrow.tasks.numbers import DRAWS_STD, TOP1, About, Better, Quantity, label_of
from marrow.tasks.prediction import metrics as prediction
from marrow.tasks.recognition.declared import MEAN_AVERAGE_PRECISION, about_of, recall_at

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
    **detection.QUANTITIES,
    **prediction.QUANTITIES,
}
_QUANTITIES |= {
    name.replace("_percent", "_clean_percent"): quantity.without_copies(name)
    for name, quantity in _QUANTITIES.items()
    if name.endswith("_percent") and quantity.clips == "official" and not quantity.of
}
_UNITS: dict[str, tuple[str, Better]] = {"_percent": ("%", "higher"), "_mm": ("mm", "lower")}


def sorted_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a report of version 1, its settings sorted into those of today."""
    settings = values["settings"]
    elsewhere = (*_COST, *_NOTED, *_ASKED_ALONE, "asked")
    return {
        **values,
        "settings": {name: value for name, value in settings.items() if name not in elsewhere},
        "asked": settings.get("asked") or {},
        "cost": {name: settings[name] for name in _COST if name in settings},
        "noted": {name: settings[name] for name in _NOTED if name in settings},
    }


def declared(report: Any) -> Any:
    """Return a `Report` that says what it is about, and what its numbers are, from one that has names alone."""
    quantities = {name: _QUANTITIES.get(name) or _by_ending(name) for name in report.metrics}
    about = replace(_about(report.task, report.source, report.metrics), label=label_of(report.task))
    return replace(report, declared=about, quantities=quantities)


def _about(task: str, source: str, metrics: Mapping[str, float]) -> About:
    kind, _, variant = task.partition("/")
    if source == "raw" and kind in ("knn", "ridge"):
        return About.undeclared(task)
    if kind == "action_detection":
        reordered = any(_QUANTITIES[name].reading for name in metrics if name in detection.QUANTITIES)
        words = "nearest neighbours" if variant == "knn" else variant
        return replace(detection.ABOUT, variant=words, lead=detection.LEAD if reordered else detection.ABOUT.lead)
    if kind == "motion_prediction":
        parts = [part for part in variant.split(", ") if part]
        test_set = next((part for part in parts if part.endswith(" samples")), "")
        words = ", ".join(part for part in parts if part != test_set)
        name = "rule" if source == "raw" else "variant"
        return replace(prediction.ABOUT, test_set=test_set, **{name: words})
    return about_of(task)


def _by_ending(name: str) -> Quantity:
    """Describe a number of a task that is not of marrow as version 1 did: by the unit at the end of its name."""
    for ending, (unit, better) in _UNITS.items():
        if name.endswith(ending):
            return Quantity(name.removesuffix(ending).replace("_", " "), unit, better)
    return Quantity(name.replace("_", " "))
