"""The card of a page about learning from few labels: accuracy over the number of labels, over draws of them."""

from collections.abc import Mapping, Sequence
from html import escape

from marrow.report.figures import Figures, legend
from marrow.report.measure_figures import Curve, amounts_figure
from marrow.report.measure_names import cell, measure_words, said_source, short_source, spread_text, title_of
from marrow.report.style import SOURCES, card, table
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.summary import Measure

_READOUTS = {
    "semi_supervised": "Fine-tuned",
    "semi_supervised_linear": "Logistic regression on frozen features",
    "few_shot_logistic": "Logistic regression on frozen features",
    "few_shot_nearest_mean": "Nearest class mean of frozen features",
}
_DRAWS_STD, _BEST = "top1_draws_std_percent", "top1_best_percent"

Found = Mapping[tuple[str, str, str], Measure]


def few_labels_html(
    family: str, mine: Sequence[Measure], evaluation: EvaluationReport, fresh: str, figures: Figures
) -> str:
    """Return the card: a chart and a table for each way of learning.

    Args:
        family: kind of the task.
        mine: its numbers.
        evaluation: whose reports keep single draws.
        fresh: what the encoder without pre-training is called.
        figures: of the page.
    """
    labels, found = label_counts(evaluation), {(each.source, each.task, each.name): each for each in mine}
    signs = _source_signs(mine, fresh)
    parts = []
    for kind in dict.fromkeys(each.task.partition("/")[0] for each in mine):
        of_kind = [each for each in mine if each.task.partition("/")[0] == kind]
        names = {"official": "top1_percent", "clean": "top1_clean_percent"}
        halves = {half: name for half, name in names.items() if any(each.name == name for each in of_kind)}
        charts = []
        for half, name in halves.items():
            chart = _label_chart(name, half, of_kind, evaluation, labels, fresh, figures)
            title = f"<h5>{half.capitalize()}</h5>" if len(halves) > 1 else ""
            charts.append(f"<div>{title}{chart}</div>")
        heading = f"<h4>{escape(_READOUTS[kind])}</h4>" if kind in _READOUTS else ""
        wide = f"<div class='pair'>{''.join(charts)}</div>" if len(charts) > 1 else "".join(charts)
        parts.append(f"<div>{heading}{wide}{_label_table(of_kind, found, labels, fresh)}</div>")
    kind = "pair" if len(parts) > 1 else ""
    draws = max((len(report.detail.get("draws", ())) for report in evaluation.reports), default=0)
    lead = "Top-1 accuracy against the number of clips whose labels are used, on a logarithmic scale."
    if draws > 1:
        lead += f" Lines: means over {draws} draws of them; pale marks: single draws."
    if any(each.name == _BEST for each in mine):
        lead += " The best epoch of each draw is chosen on the test clips, and too high by construction."
    return card(title_of(family), f"{signs}<div class='{kind}'>{''.join(parts)}</div>", lead=lead, wide=True)


def _label_chart(
    name: str,
    half: str,
    of_kind: Sequence[Measure],
    evaluation: EvaluationReport,
    labels: Mapping[str, float],
    fresh: str,
    figures: Figures,
) -> str:
    curves, ticks = [], {}
    for source in reversed(SOURCES):
        mine = [each for each in of_kind if (each.source, each.name) == (source, name)]
        mine.sort(key=lambda each: labels[each.task])
        if not mine:
            continue
        for each in mine:
            ticks[labels[each.task]] = f"{labels[each.task]:g}<br>{escape(_short_variant(each.task))}"
        _, colour, symbol = SOURCES[source]
        said = [
            f"{said_source(each, fresh)}, {amount_words(each.task, labels)}: {spread_text(each, '%')}" for each in mine
        ]
        points = [
            (float(draw["labels"]), float(draw["scores"][name]))
            for report in evaluation.reports
            if report.source == source and report.task in {each.task for each in mine}
            for draw in report.detail.get("draws", ())
            if name in draw.get("scores", {}) and len(report.detail["draws"]) > 1
        ]
        curves.append(
            Curve(
                said_source(mine[0], fresh),
                [labels[each.task] for each in mine],
                [each.mean for each in mine],
                colour,
                symbol,
                said,
                points=points,
            )
        )
    told = "; ".join(line for curve in reversed(curves) for line in curve.said)
    figure = amounts_figure(curves, dict(sorted(ticks.items())), "labelled clips", "top-1 accuracy, %", log_scale=True)
    return figures.place(figure, f"Top-1 accuracy by number of labels, {half} clips. {told}")


def _label_table(of_kind: Sequence[Measure], found: Found, labels: Mapping[str, float], fresh: str) -> str:
    sources = [source for source in SOURCES if any(each.source == source for each in of_kind)]
    beside = {_DRAWS_STD: "± {:.1f} over draws", _BEST: "best epoch {:.1f}"}
    rows = []
    for name in (name for name in dict.fromkeys(each.name for each in of_kind) if name not in beside):
        # The score needs no name; other numbers do.
        said = "" if name == "top1_percent" else f"<small>{escape(measure_words(name))}</small>"
        for task in sorted({each.task for each in of_kind if each.name == name}, key=lambda task: labels[task]):
            cells = []
            for source in sources:
                further = [(found.get((source, task, other)), words) for other, words in beside.items()]
                cells.append(
                    cell(found.get((source, task, name)))
                    + "".join(
                        f"<small>{words.format(each.mean)}</small>"
                        for each, words in further
                        if each is not None and name == "top1_percent"
                    )
                )
            rows.append([f"{escape(amount_words(task, labels))}{said}", *cells])
    return table(["labels", *(f"{short_source(source, fresh)}, %" for source in sources)], rows)


def amount_words(task: str, labels: Mapping[str, float]) -> str:
    """Say how many labels a task used: 10 % (102 clips)."""
    clips = f"{labels[task]:g} clips"
    return f"{task.partition('/')[2]} ({clips})" if "/" in task else clips


def label_counts(evaluation: EvaluationReport) -> dict[str, float]:
    """Return, per task, how many clips' labels were used, mean over reports; at least 1, which has a logarithm."""
    counts: dict[str, list[int]] = {}
    for report in evaluation.reports:
        counts.setdefault(report.task, []).append(report.num_labels_used)
    return {task: max(1.0, round(sum(each) / len(each), 1)) for task, each in counts.items()}


def _short_variant(task: str) -> str:
    return task.partition("/")[2].replace(" per class", "/class")


def _source_signs(mine: Sequence[Measure], fresh: str) -> str:
    shown = [source for source in SOURCES if any(each.source == source for each in mine)]
    return legend([(short_source(source, fresh), *SOURCES[source][1:]) for source in shown])
