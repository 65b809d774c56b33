"""The parts of a page about numbers that are no top-1 score of one prediction: a card for each task.

What a task plots decides the card: curves over the number of labels (`few_labels.py`), curves over another axis
(`curves.py`), or bars. Beside the trained encoders stand the same ones from random initialisation, and what needs no
encoder.
"""

from collections.abc import Sequence
from dataclasses import replace

from marrow.report.curves import curves_html
from marrow.report.few_labels import amount_words, few_labels_html, label_counts
from marrow.report.figures import Figures, Mark, legend
from marrow.report.measure_figures import bars_figure
from marrow.report.number_cells import column_of, fresh_name, look_of, numbers_table, source_name
from marrow.report.style import card
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.numbers import Number
from marrow.tasks.summary import measures, scores

_MOST_DRAWN = 8


def cards(evaluation: EvaluationReport) -> dict[str, list[Number]]:
    """Return the numbers of an evaluation by the task on whose card they stand."""
    over_labels = [number for number in scores(evaluation) if number.about.plot == "labels"]
    found: dict[str, list[Number]] = {}
    for number in [*over_labels, *measures(evaluation)]:
        found.setdefault(number.about.kind, []).append(number)
    return {kind: _side_by_side(numbers) for kind, numbers in found.items()}


def measures_html(evaluation: EvaluationReport, figures: Figures) -> str:
    """Return a card for each task.

    Args:
        evaluation: whose numbers are shown.
        figures: of the page.
    """
    parts = []
    for kind, numbers in cards(evaluation).items():
        fresh = _fresh_name(evaluation, kind)
        plot = numbers[0].about.plot
        if plot == "labels":
            parts.append(few_labels_html(numbers, evaluation, fresh, figures))
        else:
            parts.append((curves_html if plot == "curves" else _bars_html)(numbers, fresh, figures))
    return "".join(parts)


def measure_sentences(evaluation: EvaluationReport) -> list[str]:
    """Say the most important number of each task, trained beside its baselines, and nothing of who is better.

    Where that is over the number of labels, it is the one with the fewest.
    """
    sentences = []
    for kind, numbers in cards(evaluation).items():
        trained = [number for number in numbers if number.source == "trained"]
        if not trained:
            continue
        labels, of = label_counts(evaluation), ""
        if trained[0].about.plot == "labels":
            first = _fewest_labels(trained, labels)
            of = f", {amount_words(first, labels)}"
        else:
            named = {number.name: number for number in reversed(trained)}
            first = next((named[name] for name in trained[0].about.drawn if name in named), trained[0])
        fresh = _fresh_name(evaluation, kind)
        told = ", ".join(
            f"{number.text} {number.quantity.unit} {source_name(number, fresh)}".replace("  ", " ")
            for number in _beside(first, numbers)
        )
        sentences.append(f"{first.about.title}{of}, {first.quantity.words}: {told}.")
    return sentences


def _side_by_side(numbers: Sequence[Number]) -> list[Number]:
    """Give numbers under another condition the name of the usual ones: they stand beside them, not below."""
    quantities = {number.name: number.quantity for number in numbers}
    result = []
    for number in numbers:
        quantity, about = number.quantity, number.about
        if quantity.of in quantities and quantity.reading and not quantity.small_print:
            variant = ", ".join(filter(None, (about.variant, quantity.reading)))
            number = replace(
                number,
                name=quantity.of,
                quantity=replace(quantities[quantity.of], reading=quantity.reading),
                about=replace(about, variant=variant),
            )
        result.append(number)
    return result


def _fewest_labels(trained: Sequence[Number], labels: dict[str, float]) -> Number:
    ranked = [number for number in trained if not number.quantity.small_print]
    clean = [number for number in ranked if number.quantity.clips == "clean"]
    return min(clean or ranked, key=lambda number: labels.get(number.task, 0.0))


def _beside(first: Number, numbers: Sequence[Number]) -> list[Number]:
    """Return the same number of all sources; baselines without an encoder have variants of their own."""
    key = first.name, first.quantity.clips, first.quantity.reading, first.about.test_set
    same = [n for n in numbers if (n.name, n.quantity.clips, n.quantity.reading, n.about.test_set) == key]
    return [number for number in same if number.task == first.task or number.source == "raw"]


def _bars_html(numbers: Sequence[Number], fresh: str, figures: Figures) -> str:
    """Draw numbers of the same unit as the first as bars, and put everything into a table."""
    about, unit = numbers[0].about, numbers[0].quantity.unit
    quantities = {number.name: number.quantity for number in reversed(numbers)}
    alike = [name for name in dict.fromkeys(number.name for number in numbers) if quantities[name].unit == unit]
    drawn = [name for name in about.drawn if name in alike] or alike[:_MOST_DRAWN]
    groups, signs = {}, []
    usual = [number for number in numbers if not number.quantity.reading]
    for label in dict.fromkeys(column_of(number, fresh) for number in usual):
        of_label = {number.name: number for number in usual if column_of(number, fresh) == label}
        colour = look_of(next(iter(of_label.values())), numbers)[0]
        marks = [_mark(of_label[name], label) for name in drawn if name in of_label]
        if marks:
            groups[label] = (colour, marks)
            signs.append((label, colour, "square"))
    content = ""
    if groups:
        told = "; ".join(mark.said for _, marks in groups.values() for mark in marks)
        content = legend(signs) + figures.place(bars_figure(groups, unit), f"{about.title}. {told}")
    every = numbers_table(numbers, fresh)
    if len(quantities) > _MOST_DRAWN + 2:
        chosen = numbers_table([number for number in numbers if number.name in drawn], fresh)
        every = f"{chosen}<details><summary>All numbers</summary>{every}</details>"
    directions = {quantity.better for quantity in quantities.values()}
    lead = "".join(f"The {better}, the better." for better in directions if better and len(directions) == 1)
    return card(about.title, content + every, lead=f"{lead} {about.lead}".strip(), wide=True)


def _mark(number: Number, label: str) -> Mark:
    words = number.quantity.words
    return Mark(_wrapped(words), number.mean, *number.ends, f"{label}, {words}: {number.text_in_line}")


def _fresh_name(evaluation: EvaluationReport, kind: str) -> str:
    return fresh_name([r for r in evaluation.reports if r.source == "random" and r.about.kind == kind])


def _wrapped(words: str, letters: int = 24) -> str:
    """Break words into lines, for a narrow axis."""
    lines = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > letters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)
