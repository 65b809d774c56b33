"""Numbers of tasks and whose they are, in plain words: `map_actions_iou50_percent` is written out on a page."""

import re
from collections.abc import Sequence
from html import escape

from marrow.report.style import GREEN, ORANGE, SOURCES, table
from marrow.tasks.summary import Measure

_TITLES = {
    "semi_supervised": "Learning from a share of the labels",
    "few_shot": "Learning from a few clips of each class",
    "retrieval": "Retrieval",
    "motion_prediction": "Motion prediction",
    "action_detection": "Action detection",
}
# Of forecasts that need no learning: colour, symbol, dash.
_SIMPLE = {
    "zero velocity": (SOURCES["raw"][1], "diamond", "dash"),
    "constant velocity": (ORANGE, "triangle-up", "dot"),
    "linear regression": (GREEN, "cross", "dashdot"),
}

_OVERLAP = r"iou(\d+)"
# The first that fits; what it has found is put in the place of {}: a share of overlap, milliseconds, a rank.
_WORDS: tuple[tuple[str, str], ...] = (
    (r"top1(?:_last)?", "top-1 accuracy"),
    (r"top1_best", "top-1 accuracy of the best epoch (too high by construction)"),
    (r"top1_draws_std", "deviation of top-1 accuracy over draws of labels"),
    (r"mpjpe_(\d+)ms", "position error {} ms ahead"),
    (r"mpjpe_root_(\d+)ms", "position error {} ms ahead, root-centred"),
    (rf"map_actions_{_OVERLAP}", "mean average precision over classes, overlap {}"),
    (rf"map_videos_{_OVERLAP}", "mean average precision over recordings, overlap {}"),
    (rf"voc_map_{_OVERLAP}", "mean average precision as in PASCAL VOC, overlap {}"),
    (rf"ap_{_OVERLAP}", "average precision of all proposals, overlap {}"),
    (rf"f1_{_OVERLAP}", "F1 of proposals, overlap {}"),
    (r"ap_2d", "average precision, mean over overlaps 0.05 to 1"),
    (r"frame_accuracy", "frames with the right class"),
    (r"frame_accuracy_actions", "frames of actions with the right class"),
    (r"frame_f1", "F1 of frames, mean over classes and background"),
    (r"frame_f1_actions", "F1 of frames, mean over classes"),
    (r"segment_f1_(\d+)", "F1 of segments, overlap {}"),
    (r"edit", "edit score of the order of actions"),
    (r"recall_?(?:at_?|@)?(\d+)", "recall at {}"),
    (r"(?:map|mean_average_precision)", "mean average precision"),
)
_UNITS = {"percent": "%", "mm": "mm"}


def split_unit(name: str) -> tuple[str, str]:
    """Return a number's name without its unit, and the unit as it is written after numbers; "" where it has none."""
    for ending, unit in _UNITS.items():
        if name.endswith(f"_{ending}"):
            return name.removesuffix(f"_{ending}"), unit
    return name, ""


def measure_words(name: str) -> str:
    """Say a number's name in plain words, without its unit; of one that is not known, its own words."""
    plain, _ = split_unit(name)
    clean = ", without copies" if "_clean" in plain else ""
    plain = plain.replace("_clean", "")
    for pattern, words in _WORDS:
        if found := re.fullmatch(pattern, plain):
            value = found.group(1) if found.groups() else ""
            # Overlaps are written as percent in names, and as shares everywhere else.
            if "overlap {}" in words:
                value = f"{int(value) / 100:g}"
            return words.format(value) + clean
    return plain.replace("_", " ") + clean


def family_of(task: str) -> str:
    """Return the kind of a task under which it is shown: all ways of learning from few labels stand together."""
    kind = task.partition("/")[0]
    return next((family for family in ("semi_supervised", "few_shot") if kind.startswith(family)), kind)


def cell(each: Measure | None) -> str:
    """Return what stands in a table for a number: mean, deviation over seeds, and the interval below."""
    if each is None:
        return "–"
    interval = "" if each.low is None else f"<small>[{each.low:.1f}, {each.high:.1f}]</small>"
    return f"{number_text(each)}{interval}"


def number_text(each: Measure) -> str:
    """Return a mean and, with several seeds, the deviation over them."""
    return f"{each.mean:.1f}" + (f" ± {each.std:.1f}" if len(each.by_seed) > 1 else "")


def spread_text(each: Measure, unit: str) -> str:
    """Return a number with its unit and interval, in one line."""
    interval = "" if each.low is None else f" [{each.low:.1f}, {each.high:.1f}]"
    return f"{number_text(each)} {unit}{interval}"


def variant_parts(task: str) -> list[str]:
    """Return what a task says after the slash."""
    return [part for part in task.partition("/")[2].split(", ") if part]


def set_of(task: str) -> str:
    """Return the set of test windows that a variant names ("8 samples"); "" for the only one."""
    return ", ".join(part for part in variant_parts(task) if part.endswith(" samples"))


def column_of(each: Measure, fresh: str) -> str:
    """Name a source and its variant, without the set of test windows, which has a heading of its own."""
    # Of pooled features there is only this one kind, which needs no name.
    parts = [part for part in variant_parts(each.task) if not part.endswith(" samples") and part != "pooled"]
    rest = ["nearest neighbours" if part == "knn" else part.replace("_", " ") for part in parts]
    if each.source == "raw":
        said = ", ".join(rest)
        return said if said in _SIMPLE else f"no encoder{f', {said}' if said else ''}"
    return ", ".join([short_source(each.source, fresh), *rest])


def look_of(each: Measure) -> tuple[str, str, str]:
    """Return colour, symbol and dash of a source."""
    simple = next((part for part in variant_parts(each.task) if part in _SIMPLE), None)
    if simple is not None:
        return _SIMPLE[simple]
    return (*SOURCES[each.source][1:], "solid")


def short_source(source: str, fresh: str) -> str:
    """Return what a source is called in tables; `fresh` is what the encoder without pre-training is."""
    return {"trained": "trained", "random": fresh, "raw": "no encoder"}[source]


def said_source(each: Measure, fresh: str) -> str:
    """Name the source of a number; a forecast that needs no learning has a name of its own."""
    simple = next((part for part in variant_parts(each.task) if part in _SIMPLE), None)
    return simple or short_source(each.source, fresh)


def title_of(family: str) -> str:
    """Return the title of the card of a kind of task."""
    return _TITLES.get(family, family.replace("_", " ").capitalize())


def numbers_table(mine: Sequence[Measure], fresh: str) -> str:
    """Put numbers side by side: a row each, a column for each source and variant."""
    columns = list(dict.fromkeys(column_of(each, fresh) for each in mine))
    found = {(column_of(each, fresh), each.name): each for each in mine}
    rows = []
    for name in dict.fromkeys(each.name for each in mine):
        words, unit = measure_words(name), split_unit(name)[1]
        cells = [cell(found.get((column, name))) for column in columns]
        rows.append([escape(words + (f", {unit}" if unit else "")), *cells])
    return table(["", *columns], rows)
