"""The parts of a page about numbers that are no top-1 score of one prediction: a card for each kind of task.

Few labels become curves over the number of labels (`few_labels.py`), forecasts curves over the time ahead
(`horizons.py`), everything else bars. Beside the trained encoders stand the same ones from random initialisation, and
what needs no encoder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from marrow.report.few_labels import amount_words, few_labels_html, label_counts
from marrow.report.figures import Figures, Mark, legend
from marrow.report.horizons import horizon_of, horizons_html
from marrow.report.measure_figures import bars_figure
from marrow.report.measure_names import (
    column_of,
    family_of,
    look_of,
    measure_words,
    number_text,
    numbers_table,
    said_source,
    set_of,
    split_unit,
    spread_text,
    title_of,
)
from marrow.report.style import card
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.summary import Measure, measures

# Numbers of a task that has many, in the order in which they are drawn; all of them stand in the table.
_DRAWN = {
    "action_detection": (
        "map_actions_iou50_percent",
        "map_videos_iou50_percent",
        "f1_iou50_percent",
        "frame_accuracy_percent",
        "frame_f1_actions_percent",
        "segment_f1_50_percent",
        "edit_percent",
    )
}
_MOST_DRAWN = 8
_SHUFFLED, _REORDERED = "_shuffled_percent", "actions reordered"


def families(evaluation: EvaluationReport) -> dict[str, list[Measure]]:
    """Return the numbers of an evaluation by the card that they stand on."""
    found: dict[str, list[Measure]] = {}
    for each in measures(evaluation):
        if each.name.endswith(_SHUFFLED):
            # The same numbers of the same recordings in another order: they stand beside them, not below.
            name, task = each.name.replace(_SHUFFLED, "_percent"), each.task
            each = replace(each, name=name, task=f"{task}{', ' if '/' in task else '/'}{_REORDERED}")
        found.setdefault(family_of(each.task), []).append(each)
    return found


def measures_html(evaluation: EvaluationReport, figures: Figures, further: Mapping[str, str] | None = None) -> str:
    """Return a card for each kind of task.

    Args:
        evaluation: whose numbers are shown.
        figures: of the page.
        further: HTML that follows the card of a kind.
    """
    parts = []
    for family, mine in families(evaluation).items():
        fresh = _fresh_name(evaluation, family)
        draw = {
            "semi_supervised": few_labels_html,
            "few_shot": few_labels_html,
            "motion_prediction": horizons_html,
        }.get(family, _others_html)
        parts.append(draw(family, mine, evaluation, fresh, figures))
        parts.append((further or {}).get(family, ""))
    return "".join(parts)


def measure_sentences(evaluation: EvaluationReport) -> list[str]:
    """Say the first number of each kind of task plainly, trained beside its baselines, and nothing of who is better.

    Of few labels that is the fewest; of forecasts, the error 400 ms ahead, or at the last horizon before it.
    """
    sentences = []
    for family, mine in families(evaluation).items():
        first = _headline(family, mine, evaluation)
        if first is None:
            continue
        of_sources = _beside(first, mine)
        fresh = _fresh_name(evaluation, family)
        unit = split_unit(first.name)[1]
        told = ", ".join(
            f"{number_text(each)} {unit} {said_source(each, fresh)}".replace("  ", " ") for each in of_sources
        )
        labels = label_counts(evaluation) if family in ("semi_supervised", "few_shot") else {}
        of = f", {amount_words(first.task, labels)}" if labels else ""
        sentences.append(f"{title_of(family)}{of}, {measure_words(first.name)}: {told}.")
    return sentences


def _headline(family: str, mine: Sequence[Measure], evaluation: EvaluationReport) -> Measure | None:
    trained = [each for each in mine if each.source == "trained"]
    if family in ("semi_supervised", "few_shot"):
        labels = label_counts(evaluation)
        strictest = "top1_clean_percent" if any(each.name == "top1_clean_percent" for each in trained) else ""
        trained = [each for each in trained if each.name == (strictest or "top1_percent")]
        return min(trained, key=lambda each: labels.get(each.task, 0.0), default=None)
    if family == "motion_prediction":
        horizons = {each: found for each in trained if (found := horizon_of(each.name)) and not found[1]}
        near = [each for each, (milliseconds, _) in horizons.items() if milliseconds <= 400] or list(horizons)
        return max(near, key=lambda each: horizons[each][0], default=None)
    drawn = [each for name in _DRAWN.get(family, ()) for each in trained if each.name == name]
    return next(iter(drawn or trained), None)


def _beside(first: Measure, mine: Sequence[Measure]) -> list[Measure]:
    """Return the same number of all sources; baselines without an encoder have variants of their own."""
    same = [each for each in mine if each.name == first.name and _REORDERED not in each.task]
    of_set = set_of(first.task)
    return [e for e in same if e.task == first.task or (e.source == "raw" and set_of(e.task) == of_set)]


def _others_html(
    family: str, mine: Sequence[Measure], evaluation: EvaluationReport, fresh: str, figures: Figures
) -> str:
    """Draw shares in percent as bars, and put everything into a table."""
    percents = list(dict.fromkeys(each.name for each in mine if split_unit(each.name)[1] == "%"))
    drawn = [name for name in _DRAWN.get(family, ()) if name in percents] or percents[:_MOST_DRAWN]
    groups, signs = {}, []
    for label in dict.fromkeys(column_of(each, fresh) for each in mine):
        of_label = [each for each in mine if column_of(each, fresh) == label]
        colour = look_of(of_label[0])[0]
        if _REORDERED in label:
            continue
        marks = []
        for name in drawn:
            for each in (each for each in of_label if each.name == name):
                low, high = each.mean - each.std, each.mean + each.std
                if each.low is not None and each.high is not None:
                    low, high = each.low, each.high
                said = f"{label}, {measure_words(name)}: {spread_text(each, '%')}"
                marks.append(Mark(_wrapped(measure_words(name)), each.mean, low, high, said))
        if marks:
            groups[label] = (colour, marks)
            signs.append((label, colour, "square"))
    content = ""
    if groups:
        told = "; ".join(mark.said for _, marks in groups.values() for mark in marks)
        content = legend(signs) + figures.place(bars_figure(groups, "%"), f"{title_of(family)}. {told}")
    every = numbers_table(mine, fresh)
    if len({each.name for each in mine}) > _MOST_DRAWN + 2:
        chosen = numbers_table([each for each in mine if each.name in drawn], fresh)
        every = f"{chosen}<details><summary>All numbers</summary>{every}</details>"
    lead = "The higher, the better." if len(percents) == len({each.name for each in mine}) else ""
    if any(_REORDERED in each.task for each in mine):
        lead += (
            " Actions reordered: the same recordings, cut and put together in another order; a detector that lives on "
            "the usual order falls there."
        )
    return card(title_of(family), content + every, lead=lead, wide=True)


def _fresh_name(evaluation: EvaluationReport, family: str) -> str:
    """Return what the untrained encoder is called: one that the task trains is trained from scratch."""
    mine = [each for each in evaluation.reports if each.source == "random" and family_of(each.task) == family]
    trained = any(
        each.settings.get("start") == "from scratch" and each.settings.get("encoder") != "frozen" for each in mine
    )
    return "from scratch" if trained else "random initialisation"


def _wrapped(words: str, letters: int = 24) -> str:
    """Break words into lines, for a narrow axis."""
    lines = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > letters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)
