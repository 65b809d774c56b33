"""The parts of a page about single classes: the confusion matrix, and the gain of each over the baselines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Int64

from marrow.report.figures import Figures, lay_out, legend, marker, short
from marrow.report.style import GREEN, INK, SOURCES, VERMILION, card
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.metrics import confusion_matrix


def classes_html(evaluation: EvaluationReport, figures: Figures) -> str:
    """Draw the confusion matrix, summed over seeds, and the gain of each class over the baselines."""
    trained = main_reports(evaluation, "trained")
    if not trained:
        return ""
    matrix, classes = _matrix(evaluation, trained), evaluation.classes
    wrong = matrix * (1 - np.eye(len(matrix), dtype=np.int64))
    worst = [np.unravel_index(place, wrong.shape) for place in np.argsort(wrong, axis=None)[::-1][:5]]
    named = [
        f"{classes[true]} → {classes[taken]} ({100 * wrong[true, taken] // matrix[true].sum()} %)"
        for true, taken in worst
        if wrong[true, taken]
    ]
    most = f"Most often confused: {'; '.join(named)}." if named else "No clip was taken for another class."
    told = f"{trained[0].about.name.capitalize()}, trained encoders, all test clips, summed over seeds. "
    heat = figures.place(_confusion_figure(matrix, classes), f"Confusion matrix of {len(classes)} classes. {most}")
    kind = "scroll tall" if len(classes) > 60 else "scroll"
    parts = [card("Confusion matrix", f"<div class='{kind}'>{heat}</div>", lead=told + most)]

    recall, gains, scored = _recall(matrix), {}, matrix.sum(1) > 0
    for source, colour in (("random", GREEN), ("raw", VERMILION)):
        baseline = main_reports(evaluation, source)
        if baseline:
            gain = (recall - _recall(_matrix(evaluation, baseline)))[scored]
            gains[f"minus {SOURCES[source][0]}"] = (colour, "diamond", gain.tolist())
    if gains:
        names = [name for name, counts in zip(classes, scored, strict=True) if counts]
        first = next(iter(gains.values()))[2]
        best, least = names[int(np.argmax(first))], names[int(np.argmin(first))]
        ends = f"Most gained: {best} ({max(first):+.0f}); least: {least} ({min(first):+.0f})."
        chart = figures.place(_gains_figure(names, gains), f"Gain of each class over the baselines. {ends}")
        shapes = ("square", "diamond")
        signs = legend([(name, gains[name][0], shape) for name, shape in zip(gains, shapes, strict=False)])
        lead = f"Recall of each class, trained minus baseline, in percentage points. {ends}"
        scroll = f"<div class='{'tall' if len(names) > 40 else ''}'>{chart}</div>"
        parts.append(card("Gain by class", signs + scroll, lead=lead, wide=len(names) > 40))
    return "".join(parts)


def main_reports(evaluation: EvaluationReport, source: str) -> list[Report]:
    """Return the reports, one per seed, of the task that the charts by class are about: the first that is meant for it.

    There are none where no task predicts one class per clip.
    """
    of_source = [report for report in evaluation.reports if report.source == source and report.predictions]
    trained = [report for report in evaluation.reports if report.source == "trained" and report.predictions]
    if not trained:
        return []
    main = next((report for report in trained if report.about.by_class), trained[0])
    task = main.about.beside if source == "raw" else main.task
    return [report for report in of_source if report.task == task]


def _confusion_figure(matrix: Int64[np.ndarray, "true predicted"], classes: Sequence[str]) -> go.Figure:
    """Draw a confusion matrix: rows are true classes, shades are percent of the row, numbers where they fit."""
    count = len(classes)
    total = matrix.sum(1, keepdims=True)
    percent = np.round(100 * matrix / np.maximum(total, 1), 1)
    said = (
        [
            [
                f"{classes[true]}<br>taken for {classes[taken]}<br>{matrix[true, taken]} of {int(total[true, 0])}"
                for taken in range(count)
            ]
            for true in range(count)
        ]
        if count <= 60
        else None
    )
    names = [short(name, 22 if count <= 30 else 16) for name in classes]
    heat: dict[str, Any] = {
        "showscale": count > 16,
        "z": percent.tolist(),
        "colorscale": [[0, "#f6f8fb"], [0.15, "#cfe1f0"], [0.5, "#5b9fcb"], [1, "#00375c"]],
        "zmin": 0,
        "zmax": 100,
        "xgap": 1 if count <= 60 else 0,
        "ygap": 1 if count <= 60 else 0,
        "colorbar": {"title": {"text": "%"}, "thickness": 10, "len": 0.6, "outlinewidth": 0, "x": 1.01},
    }
    if said:
        heat |= {"hovertext": said, "hoverinfo": "text"}
    else:
        heat |= {"hovertemplate": "true class %{y}<br>taken for %{x}<br>%{z} %<extra></extra>"}
    if count <= 16:
        texts = [[f"{value:.0f}" if value >= 0.5 else "" for value in row] for row in percent]
        heat |= {"text": texts, "texttemplate": "%{text}", "textfont": {"size": 11}}
    places = list(range(count))
    figure = go.Figure(go.Heatmap(x=places, y=places, **heat))
    # Many classes need their width on any screen, and are scrolled; few of them shrink with it.
    figure.update_layout(meta={"square": count <= 40, "min_width": 0 if count <= 40 else 8 * count + 170})
    size = 12 if count <= 20 else 9 if count <= 40 else 7
    cell = max(8, min(34, 760 // count))
    lay_out(figure, height=max(380, cell * count + 150), left=10)
    labels = {"tickvals": places, "ticktext": names, "tickfont": {"size": size}, "showgrid": False, "automargin": True}
    figure.update_xaxes(**labels, tickangle=-50 if count <= 40 else -90, title_text="predicted")
    figure.update_yaxes(**labels, autorange="reversed", title_text="true class")
    return figure


def _gains_figure(classes: Sequence[str], gains: Mapping[str, tuple[str, str, Sequence[float]]]) -> go.Figure:
    """Draw per-class gains: bars for the first baseline, sorted by it, and marks for the others.

    Args:
        classes: class names.
        gains: per baseline its colour, symbol and the gain of each class, in percentage points.
    """
    first = next(iter(gains.values()))[2]
    order = sorted(range(len(classes)), key=lambda index: first[index])
    names = [short(classes[index], 26) for index in order]
    figure = go.Figure()
    for place, (name, (colour, symbol, values)) in enumerate(gains.items()):
        shown = [values[index] for index in order]
        said = [f"{classes[index]}<br>{name}: {values[index]:+.1f} points" for index in order]
        common = {"name": name, "x": shown, "y": list(range(len(order))), "hovertext": said, "hoverinfo": "text"}
        if place == 0:
            figure.add_bar(**common, orientation="h", marker={"color": colour}, opacity=0.85)
        else:
            figure.add_scatter(**common, mode="markers", marker=marker(colour, symbol, 9))
    lay_out(figure, height=70 + (20 if len(order) <= 40 else 15) * len(order), left=10)
    size = 12 if len(order) <= 40 else 10
    figure.update_yaxes(
        tickvals=list(range(len(order))), ticktext=names, tickfont={"size": size}, showgrid=False, automargin=True
    )
    figure.update_yaxes(range=[-0.7, len(order) - 0.3])
    figure.update_xaxes(title_text="percentage points", zeroline=True, zerolinecolor=INK, nticks=7)
    return figure


def _matrix(evaluation: EvaluationReport, reports: Sequence[Report]) -> Int64[np.ndarray, "true predicted"]:
    label = np.asarray(evaluation.test_labels, np.int64)
    matrix = np.zeros((len(evaluation.classes),) * 2, np.int64)
    for report in reports:
        predicted = np.asarray(next(iter(report.predictions.values())), np.int64)
        matrix += confusion_matrix(predicted, label, len(evaluation.classes))
    return matrix


def _recall(matrix: Int64[np.ndarray, "true predicted"]) -> np.ndarray:
    return 100.0 * np.diag(matrix) / np.maximum(matrix.sum(1), 1)
