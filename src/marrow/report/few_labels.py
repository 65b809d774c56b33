"""The card of a page about learning from few labels: accuracy over the number of labels, over draws of them."""

from collections.abc import Mapping, Sequence
from html import escape

from marrow.report.figures import Figures, legend
from marrow.report.measure_figures import Curve, amounts_figure
from marrow.report.number_cells import cell, source_name
from marrow.report.style import SOURCES, card, table
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.numbers import Number


def few_labels_html(numbers: Sequence[Number], evaluation: EvaluationReport, fresh: str, figures: Figures) -> str:
    """Return the card: a chart and a table for each way of learning.

    Args:
        numbers: of the task.
        evaluation: whose reports keep single draws.
        fresh: what the encoder without pre-training is called.
        figures: of the page.
    """
    about, labels = numbers[0].about, label_counts(evaluation)
    sources = [source for source in SOURCES if any(number.source == source for number in numbers)]
    names = {number.source: source_name(number, fresh) for number in numbers}
    parts = []
    for way in dict.fromkeys(number.about.way for number in numbers):
        of_way = [number for number in numbers if number.about.way == way]
        drawn = [n for n in of_way if n.quantity.predictions and not n.quantity.small_print]
        kinds = list(dict.fromkeys(number.quantity.clips for number in drawn))
        charts = ""
        for kind in kinds:
            of_kind = [number for number in drawn if number.quantity.clips == kind]
            title = f"<h5>{kind.capitalize()}</h5>" if len(kinds) > 1 else ""
            charts += f"<div>{title}{_label_chart(of_kind, kind, evaluation, labels, fresh, figures)}</div>"
        heading = f"<h4>{escape(way)}</h4>" if way else ""
        wide = f"<div class='pair'>{charts}</div>" if len(kinds) > 1 else charts
        parts.append(f"<div>{heading}{wide}{_label_table(of_way, labels, {s: names[s] for s in sources})}</div>")
    draws = max((len(report.detail.get("draws", ())) for report in evaluation.reports), default=0)
    lead = "Top-1 accuracy against the number of clips whose labels are used, on a logarithmic scale."
    if draws > 1:
        lead += f" Lines: means over {draws} draws of them; pale marks: single draws."
    if any(number.quantity.chosen_on_test for number in numbers):
        lead += " The best epoch of each draw is chosen on the test clips, and too high by construction."
    signs = legend([(names[source], *SOURCES[source][1:]) for source in sources])
    kind = "pair" if len(parts) > 1 else ""
    return card(about.title, f"{signs}<div class='{kind}'>{''.join(parts)}</div>", lead=lead, wide=True)


def _label_chart(
    numbers: Sequence[Number],
    kind: str,
    evaluation: EvaluationReport,
    labels: Mapping[str, float],
    fresh: str,
    figures: Figures,
) -> str:
    curves, ticks = [], {}
    for source in reversed(SOURCES):
        of_source = sorted((n for n in numbers if n.source == source), key=lambda number: labels[number.task])
        if not of_source:
            continue
        for number in of_source:
            variant = number.about.variant.replace(" per class", "/class")
            ticks[labels[number.task]] = f"{labels[number.task]:g}<br>{escape(variant)}"
        name = source_name(of_source[0], fresh)
        curves.append(
            Curve(
                name,
                [labels[number.task] for number in of_source],
                [number.mean for number in of_source],
                *SOURCES[source][1:],
                [f"{name}, {amount_words(number, labels)}: {number.text_in_line}" for number in of_source],
                points=[point for number in of_source for point in _single_draws(number, evaluation)],
            )
        )
    told = "; ".join(line for curve in reversed(curves) for line in curve.said)
    figure = amounts_figure(curves, dict(sorted(ticks.items())), "labelled clips", "top-1 accuracy, %", log_scale=True)
    return figures.place(figure, f"Top-1 accuracy by number of labels, {kind} clips. {told}")


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
    rows = []
    for name, clips in dict.fromkeys((n.name, n.quantity.clips) for n in numbers if not n.quantity.small_print):
        of_name = [n for n in numbers if (n.name, n.quantity.clips) == (name, clips)]
        quantity = of_name[0].quantity
        # The score needs no name; other numbers do.
        plain = quantity.predictions and clips == "official"
        said = "" if plain else f"<small>{escape(quantity.words)}</small>"
        for task in sorted({number.task for number in of_name}, key=lambda task: labels[task]):
            of_task = {number.source: number for number in of_name if number.task == task}
            small = [n for n in numbers if n.quantity.small_print and (n.task, n.quantity.clips) == (task, clips)]
            small.sort(key=lambda number: number.quantity.chosen_on_test)
            cells = []
            for source in sources:
                number = of_task.get(source)
                further = [n.quantity.small_print.format(f"{n.mean:.1f}") for n in small if n.source == source]
                if number is not None and number.draws_std is not None:
                    further.insert(0, f"± {number.draws_std:.1f} over draws")
                shown = "".join(f"<small>{words}</small>" for words in further if quantity.predictions)
                cells.append(cell(number) + shown)
            rows.append([f"{escape(amount_words(next(iter(of_task.values())), labels))}{said}", *cells])
    return table(["labels", *(f"{name}, %" for name in sources.values())], rows)


def amount_words(number: Number, labels: Mapping[str, float]) -> str:
    """Say how many labels a number used: 10 % (102 clips)."""
    clips = f"{labels[number.task]:g} clips"
    return f"{number.about.variant} ({clips})" if number.about.variant else clips


def label_counts(evaluation: EvaluationReport) -> dict[str, float]:
    """Return, per task, how many clips' labels were used, mean over reports; at least 1, which has a logarithm."""
    counts: dict[str, list[int]] = {}
    for report in evaluation.reports:
        counts.setdefault(report.task, []).append(report.num_labels_used)
    return {task: max(1.0, round(sum(used) / len(used), 1)) for task, used in counts.items()}
