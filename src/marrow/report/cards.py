"""The parts of a page about numbers that are no top-1 score of all labels: a card for each task, and a sentence.

What a task plots decides its chart: curves over the number of labels, curves over another axis, or bars. Beside the
trained encoders stand the same ones from random initialisation, and what needs no encoder.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape

from marrow.report.figures import Figures, Line, Mark, amounts_figure, bars_figure, legend
from marrow.report.style import GREEN, ORANGE, SOURCES, card, cross_table
from marrow.report.tables import MISSING
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.numbers import Number
from marrow.tasks.summary import measures, scores

_MOST_DRAWN = 8
# Of baselines that follow a rule, in their order: colour, symbol, dash.
_RULES = ((SOURCES["raw"][1], "diamond", "dash"), (ORANGE, "triangle-up", "dot"), (GREEN, "cross", "dashdot"))


def cards_html(evaluation: EvaluationReport, figures: Figures) -> str:
    """Return a card for each task.

    Args:
        evaluation: whose numbers are shown.
        figures: of the page.
    """
    parts = []
    for kind, numbers in _by_card(evaluation).items():
        fresh, plot = _fresh_name(evaluation, kind), numbers[0].about.plot
        if plot == "labels":
            parts.append(_labels_html(numbers, evaluation, fresh, figures))
        else:
            parts.append((_curves_html if plot == "curves" else _bars_html)(numbers, fresh, figures))
    return "".join(parts)


def card_sentences(evaluation: EvaluationReport) -> list[str]:
    """Say the most important number of each task, trained beside its baselines, and nothing of who is better.

    Where that is over the number of labels, it is the one with the fewest.
    """
    sentences = []
    for kind, numbers in _by_card(evaluation).items():
        trained = [number for number in numbers if number.source == "trained"]
        if not trained:
            continue
        labels, of = _label_counts(evaluation), ""
        if trained[0].about.plot == "labels":
            ranked = [number for number in trained if not number.quantity.small_print]
            clean = [number for number in ranked if number.quantity.clips == "clean"]
            first = min(clean or ranked, key=lambda number: labels.get(number.task, 0.0))
            of = f", {_amount(first, labels)}"
        else:
            named = {number.name: number for number in reversed(trained)}
            first = next((named[name] for name in trained[0].about.drawn if name in named), trained[0])
        fresh = _fresh_name(evaluation, kind)
        told = ", ".join(
            f"{number.text} {number.quantity.unit} {_source_name(number, fresh)}".replace("  ", " ")
            for number in numbers
            # Baselines without an encoder have variants of their own.
            if _reading(number) == _reading(first) and (number.task == first.task or number.source == "raw")
        )
        sentences.append(f"{first.about.title}{of}, {first.quantity.words}: {told}.")
    return sentences


def cell(number: Number | None) -> str:
    """Return what stands in a table for a number: mean, deviation over seeds, and the interval below."""
    if number is None:
        return MISSING
    interval = "" if number.low is None else f"<small>[{number.low:.1f}, {number.high:.1f}]</small>"
    return f"{number.text}{interval}"


def _by_card(evaluation: EvaluationReport) -> dict[str, list[Number]]:
    """Return the numbers by the task on whose card they stand.

    Those under another condition have the name of the usual ones: they stand beside them, not below.
    """
    over_labels = [number for number in scores(evaluation) if number.about.plot == "labels"]
    cards: dict[str, list[Number]] = {}
    for number in [*over_labels, *measures(evaluation)]:
        cards.setdefault(number.about.kind, []).append(number)
    for numbers in cards.values():
        quantities = {number.name: number.quantity for number in numbers}
        for place, number in enumerate(numbers):
            quantity, about = number.quantity, number.about
            if quantity.of in quantities and quantity.reading and not quantity.small_print:
                usual = replace(quantities[quantity.of], reading=quantity.reading)
                about = replace(about, variant=", ".join(filter(None, (about.variant, quantity.reading))))
                numbers[place] = replace(number, name=quantity.of, quantity=usual, about=about)
    return cards


def _reading(number: Number) -> tuple[str, ...]:
    """Return what two numbers share that may stand side by side."""
    return number.name, number.quantity.clips, number.quantity.reading, number.about.test_set


def _bars_html(numbers: Sequence[Number], fresh: str, figures: Figures) -> str:
    """Draw numbers of the same unit as the first as bars, and put everything into a table."""
    about, unit = numbers[0].about, numbers[0].quantity.unit
    quantities = {number.name: number.quantity for number in reversed(numbers)}
    alike = [name for name in dict.fromkeys(number.name for number in numbers) if quantities[name].unit == unit]
    drawn = [name for name in about.drawn if name in alike] or alike[:_MOST_DRAWN]
    groups, signs = {}, []
    usual = [number for number in numbers if not number.quantity.reading]
    for label in dict.fromkeys(_column(number, fresh) for number in usual):
        of_label = {number.name: number for number in usual if _column(number, fresh) == label}
        colour = _look(next(iter(of_label.values())), numbers)[0]
        marks = [_mark(of_label[name], label) for name in drawn if name in of_label]
        if marks:
            groups[label] = (colour, marks)
            signs.append((label, colour, "square"))
    content = ""
    if groups:
        told = "; ".join(mark.said for _, marks in groups.values() for mark in marks)
        content = legend(signs) + figures.place(bars_figure(groups, unit), f"{about.title}. {told}")
    table = _table(numbers, fresh)
    if len(quantities) > _MOST_DRAWN + 2:
        chosen = _table([number for number in numbers if number.name in drawn], fresh)
        table = f"{chosen}<details><summary>All numbers</summary>{table}</details>"
    directions = {quantity.better for quantity in quantities.values()}
    lead = "".join(f"The {better}, the better." for better in directions if better and len(directions) == 1)
    return card(about.title, content + table, lead=f"{lead} {about.lead}".strip(), wide=True)


def _mark(number: Number, label: str) -> Mark:
    words = number.quantity.words
    lines = "<br>".join(textwrap.wrap(words, 24, break_long_words=False, break_on_hyphens=False))
    return Mark(lines, number.mean, *number.ends, f"{label}, {words}: {number.text_in_line}")


def _table(numbers: Sequence[Number], fresh: str) -> str:
    """Put numbers side by side: a row each, a column for each source and variant."""
    first = {number.name: number.quantity for number in numbers}
    rows = {
        name: f"{quantity.words}{f', {quantity.unit}' if quantity.unit else ''}" for name, quantity in first.items()
    }
    cells = {(escape(rows[number.name]), _column(number, fresh)): cell(number) for number in numbers}
    return cross_table("", cells)


def _curves_html(numbers: Sequence[Number], fresh: str, figures: Figures) -> str:
    """Draw numbers over their axis: a chart for each title that they name, side by side, and a table of them."""
    about = numbers[0].about
    sets = list(dict.fromkeys(number.about.test_set for number in numbers))
    titles = list(dict.fromkeys(number.quantity.chart for number in numbers if number.quantity.at is not None))
    parts, shown = [], {}
    for test_set in sets:
        of_set = [number for number in numbers if number.about.test_set == test_set]
        heading = f"<h4>Test windows: {escape(test_set or 'main set')}</h4>" if len(sets) > 1 else ""
        charts = ""
        for title in titles:
            lines, unit = [], ""
            for label, by_place in _by_place(of_set, title, fresh).items():
                first = next(iter(by_place.values()))
                colour, symbol, dash = _look(first, numbers)
                shown[label], unit = (colour, symbol), first.quantity.unit
                said = [f"{label}, {at:g} {about.axis}: {number.text_in_line}" for at, number in by_place.items()]
                spread, means = [n.std for n in by_place.values()], [n.mean for n in by_place.values()]
                lines.append(Line(label, list(by_place), means, colour, dash, True, symbol, said, spread))
            if lines:
                ticks = {float(at): f"{at:g}" for at in sorted({at for line in lines for at in line.x})}
                figure = amounts_figure(lines[::-1], ticks, about.axis, unit)
                told = "; ".join(said for line in lines for said in line.said)
                chart = figures.place(figure, f"{title}, by {about.axis}. {told}")
                charts += f"<div><h5>{escape(title)}</h5>{chart}</div>"
        parts.append(f"{heading}<div class='pair'>{charts}</div>{_curve_table(of_set, titles, fresh)}")
    rest = [number for number in numbers if number.quantity.at is None]
    signs = legend([(label, colour, symbol) for label, (colour, symbol) in shown.items()])
    content = signs + "".join(parts) + (_table(rest, fresh) if rest else "")
    return card(about.title, content, lead=about.lead, wide=True)


def _by_place(numbers: Sequence[Number], title: str, fresh: str) -> dict[str, dict[float, Number]]:
    """Return the numbers of a chart by source, and by their place on the axis."""
    lines: dict[str, dict[float, Number]] = {}
    for number in numbers:
        if number.quantity.at is not None and number.quantity.chart == title:
            lines.setdefault(_column(number, fresh), {})[number.quantity.at] = number
    return lines


def _curve_table(numbers: Sequence[Number], titles: Sequence[str], fresh: str) -> str:
    """Put the numbers of the first chart into a table, and those of the others below them in small print."""
    first, *others = (_by_place(numbers, title, fresh) for title in titles)
    small = "".join(f"<small>{escape(title)}</small>" for title in titles[1:])
    columns = list(dict.fromkeys(column for lines in (first, *others) for column in lines))
    places = sorted({at for lines in (first, *others) for line in lines.values() for at in line})
    cells = {
        (f"{at:g} {escape(numbers[0].about.axis)}{small}", column): cell(first.get(column, {}).get(at))
        + "".join(f"<small>{n.text}</small>" for lines in others if (n := lines.get(column, {}).get(at)))
        for at in places
        for column in columns
    }
    return cross_table(numbers[0].quantity.unit, cells) if cells else ""


def _labels_html(numbers: Sequence[Number], evaluation: EvaluationReport, fresh: str, figures: Figures) -> str:
    """Draw accuracy over the number of labels: a chart and a table for each way of learning."""
    about, labels = numbers[0].about, _label_counts(evaluation)
    names = {number.source: _source_name(number, fresh) for number in numbers}
    sources = {source: names[source] for source in SOURCES if source in names}
    parts = []
    for way in dict.fromkeys(number.about.way for number in numbers):
        of_way = [number for number in numbers if number.about.way == way]
        drawn = [n for n in of_way if n.quantity.predictions and not n.quantity.small_print]
        kinds = list(dict.fromkeys(number.quantity.clips for number in drawn))
        charts = ""
        for kind in kinds:
            of_kind = [number for number in drawn if number.quantity.clips == kind]
            title = f"<h5>{kind.capitalize()}</h5>" if len(kinds) > 1 else ""
            charts += f"<div>{title}{_label_chart(of_kind, evaluation, labels, sources, figures)}</div>"
        heading = f"<h4>{escape(way)}</h4>" if way else ""
        wide = f"<div class='pair'>{charts}</div>" if len(kinds) > 1 else charts
        parts.append(f"<div>{heading}{wide}{_label_table(of_way, labels, sources)}</div>")
    draws = max((len(report.detail.get("draws", ())) for report in evaluation.reports), default=0)
    lead = "Top-1 accuracy against the number of clips whose labels are used, on a logarithmic scale."
    if draws > 1:
        lead += f" Lines: means over {draws} draws of them; pale marks: single draws."
    if any(number.quantity.chosen_on_test for number in numbers):
        lead += " The best epoch of each draw is chosen on the test clips, and too high by construction."
    signs = legend([(name, *SOURCES[source][1:]) for source, name in sources.items()])
    kind = "pair" if len(parts) > 1 else ""
    return card(about.title, f"{signs}<div class='{kind}'>{''.join(parts)}</div>", lead=lead, wide=True)


def _label_chart(
    numbers: Sequence[Number],
    evaluation: EvaluationReport,
    labels: Mapping[str, float],
    sources: Mapping[str, str],
    figures: Figures,
) -> str:
    lines, ticks = [], {}
    for source, name in reversed(list(sources.items())):
        of_source = sorted((n for n in numbers if n.source == source), key=lambda number: labels[number.task])
        if not of_source:
            continue
        for number in of_source:
            variant = number.about.variant.replace(" per class", "/class")
            ticks[labels[number.task]] = f"{labels[number.task]:g}<br>{escape(variant)}"
        _, colour, symbol = SOURCES[source]
        x, y = [labels[number.task] for number in of_source], [number.mean for number in of_source]
        said = [f"{name}, {_amount(number, labels)}: {number.text_in_line}" for number in of_source]
        points = [point for number in of_source for point in _single_draws(number, evaluation)]
        lines.append(Line(name, x, y, colour, "solid", True, symbol, said, points=points))
    told = "; ".join(said for line in reversed(lines) for said in line.said)
    figure = amounts_figure(lines, dict(sorted(ticks.items())), "labelled clips", "top-1 accuracy, %", log_scale=True)
    return figures.place(figure, f"Top-1 accuracy by number of labels, {numbers[0].quantity.clips} clips. {told}")


def _single_draws(number: Number, evaluation: EvaluationReport) -> list[tuple[float, float]]:
    """Return labels and score of each of several draws that a number is the mean of."""
    points = []
    for report in evaluation.reports:
        draws = report.detail.get("draws", ())
        if (report.source, report.task) == (number.source, number.task) and len(draws) > 1:
            # A draw has the same scores as the report, by the same names.
            wanted = number.quantity.predictions, number.quantity.clips
            scored = {(q.predictions, q.clips): name for name, q in reversed(report.quantities.items())}
            points += [
                (float(draw["labels"]), float(draw["scores"][scored[wanted]]))
                for draw in draws
                if wanted in scored and scored[wanted] in draw.get("scores", {})
            ]
    return points


def _label_table(numbers: Sequence[Number], labels: Mapping[str, float], sources: Mapping[str, str]) -> str:
    cells = {}
    ranked = [number for number in numbers if not number.quantity.small_print]
    places = list(dict.fromkeys((number.name, number.quantity.clips) for number in ranked))
    for number in sorted(ranked, key=lambda n: (places.index((n.name, n.quantity.clips)), labels[n.task])):
        quantity, clips = number.quantity, number.quantity.clips
        # The score needs no name; other numbers do.
        words = "" if quantity.predictions and clips == "official" else f"<small>{escape(quantity.words)}</small>"
        small = [n for n in numbers if n.quantity.small_print and n.quantity.clips == clips and n.task == number.task]
        small.sort(key=lambda number: number.quantity.chosen_on_test)
        further = [f"± {number.draws_std:.1f} over draws"] if number.draws_std is not None else []
        further += [n.quantity.small_print.format(f"{n.mean:.1f}") for n in small if n.source == number.source]
        shown = "".join(f"<small>{line}</small>" for line in further if quantity.predictions)
        cells[f"{escape(_amount(number, labels))}{words}", f"{sources[number.source]}, %"] = cell(number) + shown
    return cross_table("labels", cells, [f"{name}, %" for name in sources.values()])


def _amount(number: Number, labels: Mapping[str, float]) -> str:
    """Say how many labels a number used: 10 % (102 clips)."""
    clips = f"{labels[number.task]:g} clips"
    return f"{number.about.variant} ({clips})" if number.about.variant else clips


def _label_counts(evaluation: EvaluationReport) -> dict[str, float]:
    """Return, per task, how many clips' labels were used, mean over reports; at least 1, which has a logarithm."""
    counts: dict[str, list[int]] = {}
    for report in evaluation.reports:
        counts.setdefault(report.task, []).append(report.num_labels_used)
    return {task: max(1.0, round(sum(used) / len(used), 1)) for task, used in counts.items()}


def _fresh_name(evaluation: EvaluationReport, kind: str) -> str:
    """Return what the encoder without pre-training is called: one that a task trains is trained from scratch."""
    fresh = [report for report in evaluation.reports if report.source == "random" and report.about.kind == kind]
    return "from scratch" if any(report.from_scratch for report in fresh) else "random initialisation"


def _source_name(number: Number, fresh: str) -> str:
    """Name the source of a number; a baseline that follows a rule has the name of that."""
    return number.about.rule or {"trained": "trained", "random": fresh, "raw": "no encoder"}[number.source]


def _column(number: Number, fresh: str) -> str:
    """Name a source and its variant, without what it was tested on, which has a heading of its own."""
    return ", ".join(filter(None, (_source_name(number, fresh), number.about.variant)))


def _look(number: Number, numbers: Sequence[Number]) -> tuple[str, str, str]:
    """Return colour, symbol and dash of the source of a number among others."""
    rules = list(dict.fromkeys(other.about.rule for other in numbers if other.about.rule))
    if number.about.rule:
        return _RULES[rules.index(number.about.rule) % len(_RULES)]
    return (*SOURCES[number.source][1:], "solid")
