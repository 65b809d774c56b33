"""The parts of a page about numbers that are no top-1 score of one prediction: a card for each kind of task.

Few labels become curves over the number of labels, forecasts curves over the time ahead, everything else bars. Beside
the trained encoders stand the same ones from random initialisation, and what needs no encoder.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape

from marrow.report.figures import Figures, Mark, legend
from marrow.report.measure_figures import Curve, amounts_figure, bars_figure
from marrow.report.measure_names import measure_words, split_unit
from marrow.report.style import ORANGE, SOURCES, card, table
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.summary import Measure, measures

_TITLES = {
    "semi_supervised": "Few labels: shares of all labels",
    "few_shot": "Few labels: a few clips of each class",
    "retrieval": "Retrieval",
    "motion_prediction": "Motion prediction",
    "action_detection": "Action detection",
}
_READOUTS = {
    "semi_supervised": "Fine-tuned",
    "semi_supervised_linear": "Logistic regression on frozen features",
    "few_shot_logistic": "Logistic regression on frozen features",
    "few_shot_nearest_mean": "Nearest class mean of frozen features",
}
# Of forecasts that need no learning: colour, symbol, dash.
_SIMPLE = {
    "zero velocity": (SOURCES["raw"][1], "diamond", "dash"),
    "constant velocity": (ORANGE, "triangle-up", "dot"),
}
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
_DRAWS_STD = "top1_draws_std_percent"

Found = Mapping[tuple[str, str, str], Measure]


def family_of(task: str) -> str:
    """Return the kind of a task under which it is shown: all ways of learning from few labels stand together."""
    kind = task.partition("/")[0]
    return next((family for family in ("semi_supervised", "few_shot") if kind.startswith(family)), kind)


def families(evaluation: EvaluationReport) -> dict[str, list[Measure]]:
    """Return the numbers of an evaluation by the card that they stand on."""
    found: dict[str, list[Measure]] = {}
    for each in measures(evaluation):
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
            "semi_supervised": _few_labels_html,
            "few_shot": _few_labels_html,
            "motion_prediction": _forecasts_html,
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
            f"{_number(each)} {unit} {_said_source(each, fresh)}".replace("  ", " ") for each in of_sources
        )
        variant = first.task.partition("/")[2]
        what = measure_words(first.name) + (f", {_variant_words(variant)}" if variant else "")
        sentences.append(f"{_title(family)}: {what}: {told}.")
    return sentences


def _headline(family: str, mine: Sequence[Measure], evaluation: EvaluationReport) -> Measure | None:
    trained = [each for each in mine if each.source == "trained"]
    if family in ("semi_supervised", "few_shot"):
        labels = _label_counts(evaluation)
        strictest = "top1_clean_percent" if any(each.name == "top1_clean_percent" for each in trained) else ""
        trained = [each for each in trained if each.name == (strictest or "top1_percent")]
        return min(trained, key=lambda each: labels.get(each.task, 0.0), default=None)
    if family == "motion_prediction":
        horizons = {each: found for each in trained if (found := _horizon(each.name)) and not found[1]}
        near = [each for each, (milliseconds, _) in horizons.items() if milliseconds <= 400] or list(horizons)
        return max(near, key=lambda each: horizons[each][0], default=None)
    return next(iter(trained), None)


def _beside(first: Measure, mine: Sequence[Measure]) -> list[Measure]:
    """Return the same number of all sources; baselines without an encoder have variants of their own."""
    rest = _set_of(first.task)
    return [
        each
        for each in mine
        if each.name == first.name
        and (each.task == first.task or (each.source == "raw" and _set_of(each.task) == rest))
    ]


def _few_labels_html(
    family: str, mine: Sequence[Measure], evaluation: EvaluationReport, fresh: str, figures: Figures
) -> str:
    labels, found = _label_counts(evaluation), _by_key(mine)
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
    return card(_title(family), f"{signs}<div class='{kind}'>{''.join(parts)}</div>", lead=lead, wide=True)


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
        said = [f"{_said_source(each, fresh)}, {_amount(each, labels)}: {_spread_text(each, '%')}" for each in mine]
        points = [
            (float(draw["labels"]), float(draw["scores"][name]))
            for report in evaluation.reports
            if report.source == source and report.task in {each.task for each in mine}
            for draw in report.detail.get("draws", ())
            if name in draw.get("scores", {}) and len(report.detail["draws"]) > 1
        ]
        curves.append(
            Curve(
                _said_source(mine[0], fresh),
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
    names = [name for name in dict.fromkeys(each.name for each in of_kind) if name != _DRAWS_STD]
    rows = []
    for name in names:
        # The score needs no name; what stands beside it does.
        said = "" if name == "top1_percent" else f"<small>{escape(measure_words(name))}</small>"
        for task in sorted({each.task for each in of_kind if each.name == name}, key=lambda task: labels[task]):
            cells = []
            for source in sources:
                each = found.get((source, task, name))
                deviation = found.get((source, task, _DRAWS_STD)) if name == "top1_percent" else None
                extra = f"<small>± {deviation.mean:.1f} over draws</small>" if deviation else ""
                cells.append(_cell(each) + extra)
            amount = f"{task.partition('/')[2]} ({labels[task]:g} clips)" if "/" in task else f"{labels[task]:g} clips"
            rows.append([f"{escape(amount)}{said}", *cells])
    return table(["labels", *(f"{_short_source(source, fresh)}, %" for source in sources)], rows)


def _forecasts_html(
    family: str, mine: Sequence[Measure], evaluation: EvaluationReport, fresh: str, figures: Figures
) -> str:
    """Draw the errors over the time ahead: with the body's way through the room, and without it."""
    sets = list(dict.fromkeys(_set_of(each.task) for each in mine))
    parts, shown = [], {}
    for which in sets:
        of_set = [each for each in mine if _set_of(each.task) == which]
        heading = f"<h4>{escape(which)}</h4>" if len(sets) > 1 else ""
        heading = heading or (f"<h4>{escape(which)}</h4>" if which else "")
        charts, tables = [], []
        for centred, title in ((False, "Positions in the room"), (True, "Root-centred: the posture alone")):
            errors: dict[str, dict[int, Measure]] = {}
            for each in of_set:
                horizon = _horizon(each.name)
                if horizon is not None and horizon[1] == centred:
                    errors.setdefault(_column(each, fresh), {})[horizon[0]] = each
            if not errors:
                continue
            curves = []
            for label, by_horizon in errors.items():
                colour, symbol, dash = _look(next(iter(by_horizon.values())))
                shown[label] = (colour, symbol)
                said = [
                    f"{label}, {horizon} ms ahead: {_spread_text(each, 'mm')}" for horizon, each in by_horizon.items()
                ]
                spread = [each.std for each in by_horizon.values()]
                y = [each.mean for each in by_horizon.values()]
                curves.append(Curve(label, list(by_horizon), y, colour, symbol, said, dash, spread))
            horizons = sorted({horizon for by_horizon in errors.values() for horizon in by_horizon})
            figure = amounts_figure(
                curves[::-1], {float(each): f"{each}" for each in horizons}, "ms ahead", "position error, mm"
            )
            told = "; ".join(line for curve in curves for line in curve.said)
            chart = figures.place(figure, f"{title}: position error by time ahead. {told}")
            charts.append(f"<div><h5>{title}</h5>{chart}</div>")
            rows = [
                [f"{horizon} ms", *(_cell(by_horizon.get(horizon)) for by_horizon in errors.values())]
                for horizon in horizons
            ]
            tables.append(f"<div><h5>{title}, mm</h5>{table(['ahead', *errors], rows)}</div>")
        parts.append(f"{heading}<div class='pair'>{''.join(charts)}{''.join(tables)}</div>")
    rest = [each for each in mine if _horizon(each.name) is None]
    signs = legend([(label, colour, symbol) for label, (colour, symbol) in shown.items()])
    lead = (
        "Mean distance of joints from where they went, so many milliseconds after the last frame that was seen; the "
        "lower, the better. Zero velocity: nothing moves any more; constant velocity: everything goes on as it did."
    )
    content = signs + "".join(parts) + (_table(rest, fresh) if rest else "")
    return card(_title(family), content, lead=lead, wide=True)


def _others_html(
    family: str, mine: Sequence[Measure], evaluation: EvaluationReport, fresh: str, figures: Figures
) -> str:
    """Draw shares in percent as bars, and put everything into a table."""
    percents = list(dict.fromkeys(each.name for each in mine if split_unit(each.name)[1] == "%"))
    drawn = [name for name in _DRAWN.get(family, ()) if name in percents] or percents[:_MOST_DRAWN]
    groups, signs = {}, []
    for label in dict.fromkeys(_column(each, fresh) for each in mine):
        of_label = [each for each in mine if _column(each, fresh) == label]
        colour = _look(of_label[0])[0]
        marks = []
        for name in drawn:
            for each in (each for each in of_label if each.name == name):
                ends = (each.mean - each.std, each.mean + each.std)
                low, high = (each.low, each.high) if each.low is not None and each.high is not None else ends
                said = f"{label}, {measure_words(name)}: {_spread_text(each, '%')}"
                marks.append(Mark(_wrapped(measure_words(name)), each.mean, low, high, said))
        if marks:
            groups[label] = (colour, marks)
            signs.append((label, colour, "square"))
    content = ""
    if groups:
        told = "; ".join(mark.said for _, marks in groups.values() for mark in marks)
        content = legend(signs) + figures.place(bars_figure(groups, "%"), f"{_title(family)}. {told}")
    every = _table(mine, fresh)
    if len({each.name for each in mine}) > 2 * _MOST_DRAWN:
        chosen = _table([each for each in mine if each.name in drawn], fresh)
        every = f"{chosen}<details><summary>All numbers</summary>{every}</details>"
    lead = "The higher, the better." if len(percents) == len({each.name for each in mine}) else ""
    return card(_title(family), content + every, lead=lead, wide=True)


def _table(mine: Sequence[Measure], fresh: str) -> str:
    """Put numbers side by side: a row each, a column for each source and variant."""
    columns = list(dict.fromkeys(_column(each, fresh) for each in mine))
    found = {(_column(each, fresh), each.name): each for each in mine}
    rows = []
    for name in dict.fromkeys(each.name for each in mine):
        words, unit = measure_words(name), split_unit(name)[1]
        cells = [_cell(found.get((column, name))) for column in columns]
        rows.append([escape(words + (f", {unit}" if unit else "")), *cells])
    return table(["", *columns], rows)


def _cell(each: Measure | None) -> str:
    if each is None:
        return "–"
    interval = "" if each.low is None else f"<small>[{each.low:.1f}, {each.high:.1f}]</small>"
    return f"{_number(each)}{interval}"


def _number(each: Measure) -> str:
    return f"{each.mean:.1f}" + (f" ± {each.std:.1f}" if len(each.by_seed) > 1 else "")


def _spread_text(each: Measure, unit: str) -> str:
    interval = "" if each.low is None else f" [{each.low:.1f}, {each.high:.1f}]"
    return f"{_number(each)} {unit}{interval}"


def _by_key(mine: Sequence[Measure]) -> Found:
    return {(each.source, each.task, each.name): each for each in mine}


def _label_counts(evaluation: EvaluationReport) -> dict[str, float]:
    """Return, per task, how many clips' labels were used, mean over reports; at least 1, which has a logarithm."""
    counts: dict[str, list[int]] = {}
    for report in evaluation.reports:
        counts.setdefault(report.task, []).append(report.num_labels_used)
    return {task: max(1.0, round(sum(each) / len(each), 1)) for task, each in counts.items()}


def _amount(each: Measure, labels: Mapping[str, float]) -> str:
    variant = each.task.partition("/")[2]
    return f"{labels[each.task]:g} labels" + (f" ({variant})" if variant else "")


def _short_variant(task: str) -> str:
    return task.partition("/")[2].replace(" per class", "/class")


def _horizon(name: str) -> tuple[int, bool] | None:
    """Return milliseconds ahead, and whether the root is centred, of a forecast's error; None of other numbers."""
    found = re.fullmatch(r"mpjpe_(root_)?(\d+)ms_mm", name)
    return (int(found.group(2)), bool(found.group(1))) if found else None


def _variant_parts(task: str) -> list[str]:
    return [part for part in task.partition("/")[2].split(", ") if part]


def _set_of(task: str) -> str:
    """Return the set of test windows that a variant names ("8 samples"); "" for the only one."""
    return ", ".join(part for part in _variant_parts(task) if part.endswith(" samples"))


def _variant_words(variant: str) -> str:
    return variant.replace("_", " ")


def _column(each: Measure, fresh: str) -> str:
    """Name a source and its variant, without the set of test windows, which has a heading of its own."""
    rest = [part for part in _variant_parts(each.task) if not part.endswith(" samples")]
    if each.source == "raw":
        said = ", ".join(rest)
        return said if said in _SIMPLE else f"no encoder{f', {said}' if said else ''}"
    return ", ".join([_short_source(each.source, fresh), *rest])


def _look(each: Measure) -> tuple[str, str, str]:
    """Return colour, symbol and dash of a source."""
    simple = next((part for part in _variant_parts(each.task) if part in _SIMPLE), None)
    if simple is not None:
        return _SIMPLE[simple]
    return (*SOURCES[each.source][1:], "solid")


def _short_source(source: str, fresh: str) -> str:
    return {"trained": "trained", "random": fresh, "raw": "no encoder"}[source]


def _said_source(each: Measure, fresh: str) -> str:
    simple = next((part for part in _variant_parts(each.task) if part in _SIMPLE), None)
    return simple or _short_source(each.source, fresh)


def _source_signs(mine: Sequence[Measure], fresh: str) -> str:
    shown = [source for source in SOURCES if any(each.source == source for each in mine)]
    return legend([(_short_source(source, fresh), *SOURCES[source][1:]) for source in shown])


def _fresh_name(evaluation: EvaluationReport, family: str) -> str:
    """Return what the untrained encoder is called: one that the task trains is trained from scratch."""
    mine = [each for each in evaluation.reports if each.source == "random" and family_of(each.task) == family]
    trained = any(each.settings.get("start") == "from scratch" for each in mine)
    return "from scratch" if trained else "random initialisation"


def _title(family: str) -> str:
    return _TITLES.get(family, family.replace("_", " ").capitalize())


def _wrapped(words: str, letters: int = 24) -> str:
    """Break words into lines, for a narrow axis."""
    lines = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > letters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)
