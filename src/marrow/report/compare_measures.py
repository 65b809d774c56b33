"""Tables of tasks whose numbers are no top-1 score of one class per clip: one for each kind of task.

Experiments are rows, and so are the baselines below them; columns are the main numbers of the kind. All numbers are
kept: `marrow compare --json` prints them.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from marrow.report.compare_members import (
    Member,
    architecture,
    baseline_name,
    differences,
    how_learned,
    numbered,
    together,
    trained,
    untrained_name,
)
from marrow.report.measure_names import family_of, measure_words, set_of, split_unit, title_of, variant_parts
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.summary import measures

Better = Literal["higher", "lower"]

# The main numbers of a kind of task, the first of which rows are sorted by; of other kinds, the first eight.
_HORIZONS_MS = (80, 160, 320, 400, 560, 1000)
_MAIN = {
    "action_detection": (
        "frame_f1_actions_percent",
        "frame_accuracy_percent",
        "map_actions_iou50_percent",
        "map_videos_iou50_percent",
        "segment_f1_50_percent",
        "edit_percent",
        "frame_f1_actions_shuffled_percent",
    ),
    "motion_prediction": (
        *(f"mpjpe_{horizon}ms_mm" for horizon in _HORIZONS_MS),
        *(f"mpjpe_root_{horizon}ms_mm" for horizon in _HORIZONS_MS),
    ),
}
_MOST = 8
# The one number that stands for a kind where there is room for one: the first of these that is there.
_HEADLINE = {
    # Recall at 1 is the accuracy of the nearest neighbour.
    "retrieval": ("map_percent",),
    "motion_prediction": tuple(f"mpjpe_{horizon}ms_mm" for horizon in (400, 320, 160, 80)),
}

# What {} stands for is what was found.
_HEADINGS: tuple[tuple[str, str], ...] = (
    (r"mpjpe_(\d+)ms", "{} ms"),
    (r"mpjpe_root_(\d+)ms", "{} ms, root-centred"),
    (r"recall_at_(\d+)", "recall@{}"),
    (r"map", "mAP"),
    (r"frame_f1_actions", "frame F1"),
    (r"frame_accuracy", "frame accuracy"),
    (r"map_actions_iou(\d+)", "mAP over classes, overlap {}"),
    (r"map_videos_iou(\d+)", "mAP over recordings, overlap {}"),
    (r"segment_f1_(\d+)", "segment F1, overlap {}"),
    (r"edit", "edit score"),
)
_ENDINGS = {"_clean": "clean", "_shuffled": "actions reordered"}


@dataclass(frozen=True)
class Number:
    """A number over seeds.

    Args:
        mean: over seeds.
        std: sample standard deviation over seeds; 0 for a single one.
        low: lower end of the 95 % interval over what was tested; None where the task gives none.
        high: upper end.
        by_seed: each seed's number.
    """

    mean: float
    std: float
    low: float | None
    high: float | None
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class NumberColumn:
    """One of the main numbers of a kind of task.

    Args:
        name: as reports have it.
        heading: for people, without the unit.
        unit: "%", "mm", or "" where it is not known.
        better: which numbers are better; None where it is not known.
    """

    name: str
    heading: str
    unit: str
    better: Better | None

    @classmethod
    def of(cls, name: str) -> "NumberColumn":
        """Describe a number by its name."""
        unit = split_unit(name)[1]
        known: dict[str, Better] = {"%": "higher", "mm": "lower"}
        return cls(name, _heading(name), unit, known.get(unit))


@dataclass(frozen=True)
class NumberRow:
    """An experiment, or a baseline.

    Args:
        name: of its own.
        source: "trained", "random" (the encoder without pre-training) or "raw" (no encoder).
        seeds: of the runs; what has no encoder has none.
        numbers: all numbers by name, not those of the columns alone.
    """

    name: str
    source: str
    seeds: list[int]
    numbers: dict[str, Number]


@dataclass(frozen=True)
class NumberTable:
    """Experiments that a task has scored in the same way.

    Args:
        kind: of the task.
        task: name of the task and variant.
        title: for people; with the variant, and a number where experiments were scored in different ways.
        columns: the main numbers.
        rows: experiments, the best in the first column first.
        baselines: without pre-training, and without an encoder.
    """

    kind: str
    task: str
    title: str
    columns: list[NumberColumn]
    rows: list[NumberRow]
    baselines: list[NumberRow]

    @property
    def headline(self) -> NumberColumn:
        """The one column that stands for the kind where there is room for one."""
        named = {column.name: column for column in self.columns}
        return next((named[name] for name in _HEADLINE.get(self.kind, ()) if name in named), self.columns[0])


def number_tables(members: Sequence[Member], warnings: list[str]) -> list[NumberTable]:
    """Put the numbers of each kind of task side by side; what was learned in different ways, in tables of its own.

    Args:
        members: experiments that were scored on the same clips.
        warnings: are added to.
    """
    variants: dict[str, dict[str, list[str]]] = {}
    for member in members:
        for _, evaluation in member.scored:
            measured = {each.task for each in measures(evaluation) if each.source == "trained"}
            for report in (report for report in trained(evaluation) if report.task in measured):
                users = variants.setdefault(report.task, {}).setdefault(how_learned(report, evaluation), [])
                if member.name not in users:
                    users.append(member.name)
    tables = []
    for task, ways in variants.items():
        title = ", ".join([title_of(family_of(task)), *(part for part in variant_parts(task) if part != "pooled")])
        for number, way in enumerate(ways, start=1):
            parts = [(member.name, part) for member in members if (part := member.part(task, way)) is not None]
            tables.append(_table(task, title + (f" #{number}" if len(ways) > 1 else ""), parts))
        if len(ways) > 1:
            warnings.append(
                f"{members[0].joined.protocol}: {title} came about in different ways ({differences(list(ways))}); "
                f"one table for each ({numbered(ways)})."
            )
    return tables


def numbers_of(evaluation: EvaluationReport, source: str, task: str) -> dict[str, Number]:
    """Return the numbers of a source and a task by name."""
    return {
        each.name: Number(each.mean, each.std, each.low, each.high, each.by_seed)
        for each in measures(evaluation)
        if (each.source, each.task) == (source, task)
    }


def clean_name(name: str) -> str:
    """Return the name of the same number without copies of training clips."""
    plain, _ = split_unit(name)
    return f"{plain}_clean{name.removeprefix(plain)}"


def raw_name(task: str) -> str:
    """Return what a baseline without an encoder is called: by its rule, or by the coordinates that it reads."""
    parts = [part for part in variant_parts(task) if part != set_of(task)]
    said = ["nearest neighbours" if part == "knn" else part for part in parts]
    return ", ".join(said if said and "knn" not in parts else ["raw coordinates", *said])


def raw_tasks(evaluation: EvaluationReport, task: str) -> list[str]:
    """Return the tasks without an encoder that stand beside one of the encoders: same kind, same test windows."""
    found = [report.task for report in evaluation.reports if report.source == "raw"]
    same = (family_of(task), set_of(task))
    return [each for each in dict.fromkeys(found) if (family_of(each), set_of(each)) == same]


def _table(task: str, title: str, parts: Sequence[tuple[str, EvaluationReport]]) -> NumberTable:
    rows = [
        NumberRow(name, "trained", _seeds(part, "trained", task), numbers_of(part, "trained", task))
        for name, part in parts
    ]
    encoders = {architecture(part, name) for name, part in parts}
    fresh = [
        (name, (architecture(part, name), _seeds(part, "random", task)), found)
        for name, part in parts
        if (found := numbers_of(part, "random", task))
    ]
    by_name, baselines = dict(parts), []
    groups = together(fresh)
    for names, (_, seeds), numbers in groups:
        mine = [each for each in by_name[names[0]].reports if (each.source, each.task) == ("random", task)]
        called = baseline_name(untrained_name(mine), names, len(groups) == len(encoders) == 1)
        baselines.append(NumberRow(called, "random", seeds, numbers))
    for raw in dict.fromkeys(raw for _, part in parts for raw in raw_tasks(part, task)):
        # There is no encoder in these: they are the same everywhere.
        found = [(name, "", numbers) for name, part in parts if (numbers := numbers_of(part, "raw", raw))]
        groups = together(found)
        for names, _, numbers in groups:
            baselines.append(NumberRow(baseline_name(raw_name(raw), names, len(groups) == 1), "raw", [], numbers))
    there = list(dict.fromkeys(name for row in rows for name in row.numbers))
    columns = [NumberColumn.of(name) for name in _MAIN.get(family_of(task), ()) if name in there]
    columns = columns or [NumberColumn.of(name) for name in there[:_MOST]]
    rows.sort(key=lambda row: _place(row, columns[0]))
    return NumberTable(family_of(task), task, title, columns, rows, baselines)


def _place(row: NumberRow, column: NumberColumn) -> float:
    """Return what sorts the best to the front, and what has no number to the end."""
    if column.name not in row.numbers:
        return math.inf
    value = row.numbers[column.name].mean
    return -value if column.better == "higher" else value


def _seeds(evaluation: EvaluationReport, source: str, task: str) -> list[int]:
    return [report.seed for report in evaluation.reports if (report.source, report.task) == (source, task)]


def _heading(name: str) -> str:
    plain, _ = split_unit(name)
    said = []
    for ending, words in _ENDINGS.items():
        if plain.endswith(ending):
            plain = plain.removesuffix(ending)
            said = [words]
    for pattern, words in _HEADINGS:
        if found := re.fullmatch(pattern, plain):
            values = found.groups()
            if "overlap" in words:  # percent in names, shares everywhere else
                values = tuple(f"{int(value) / 100:g}" for value in values)
            return ", ".join([words.format(*values), *said])
    return ", ".join([measure_words(plain), *said])
