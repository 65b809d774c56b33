"""The parts of a page about scores: in words, as charts and tables, by class."""

from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Int64

from marrow.report.figures import Figures, Mark, confusion_figure, gains_figure, interval_figure, legend
from marrow.report.number_cells import cell
from marrow.report.style import GREEN, SOURCES, VERMILION, card, table
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.metrics import confusion_matrix
from marrow.tasks.numbers import Number
from marrow.tasks.summary import Difference, differences, kinds_of_clips, raw_sentences, scores

_SIGNS = {"better": "▲", "worse": "▼", "not shown": "●"}


def verdicts_html(evaluation: EvaluationReport) -> str:
    """Say in plain sentences how the encoders stand against raw coordinates."""
    strictest = kinds_of_clips(evaluation)[-1]
    every = [each for each in differences(evaluation) if each.clips == strictest]
    against = [each for each in every if each.against == "raw"]
    passed = {
        name: (sum(each.verdict == "better" for each in mine), len(mine))
        for name in ("random", "raw")
        if (mine := [each for each in every if each.against == name])
    }
    names = {"random": "the same encoder at random initialisation", "raw": "raw coordinates without an encoder"}
    told = " and ".join(f"{names[name]} in {better} of {count} tests" for name, (better, count) in passed.items())
    headline = f"<p class='headline'>The trained encoder is shown to pass {escape(told)}.</p>" if told else ""
    return headline + "".join(
        f"<p class='verdict {each.verdict.replace(' ', '-')}'><b class='sign' aria-hidden='true'>"
        f"{_SIGNS[each.verdict]}</b>{escape(sentence)}</p>"
        for each, sentence in zip(against, raw_sentences(evaluation), strict=True)
    )


def scores_html(evaluation: EvaluationReport, figures: Figures) -> str:
    """Return scores with spread and baselines, differences, confusion and classes; "" without a class per clip."""
    every, of_baselines, clips = scores(evaluation), differences(evaluation), kinds_of_clips(evaluation)
    if not every:
        return ""
    counts = {"official": len(evaluation.test_rows), "clean": evaluation.clean_count}
    charts = "".join(
        f"<div><h4>{half.capitalize()}: {counts[half]:,} clips</h4>{_score_chart(every, half, figures)}</div>"
        for half in clips
    )
    shown = {score.source for score in every}
    signs = legend([(name, colour, symbol) for key, (name, colour, symbol) in SOURCES.items() if key in shown])
    parts = [
        card(
            "Top-1 accuracy",
            f"{signs}<div class='pair'>{charts}</div>{_score_table(every, clips, counts)}",
            lead="Marks with their 95 % intervals over test clips; in the table, ± is the deviation over seeds.",
            wide=True,
        )
    ]
    if of_baselines:
        parts.append(
            card(
                "Trained minus baseline",
                _difference_charts(of_baselines, clips, figures) + _difference_table(of_baselines, clips),
                lead="In percentage points, paired: the same clips, the same seeds. Right of zero: training helped.",
                wide=True,
            )
        )
    parts.append(_classes_html(evaluation, figures))
    return "".join(parts)


def notes_html(evaluation: EvaluationReport) -> str:
    """Return what a reader of the scores has to know."""
    notes = "".join(f"<li>{escape(note)}</li>" for note in evaluation.notes)
    return card("Notes", f"<ul class='notes'>{notes}</ul>") if notes else ""


def task_name(task: str) -> str:
    """Return the name of a task and its variant for people: linear probe, pooled."""
    return task.replace("/", ", ").replace("_", " ")


def main_reports(evaluation: EvaluationReport, source: str) -> list[Report]:
    """Return the reports, one per seed, of the head that the charts by class are about: the first that is no kNN.

    There are none where no task predicts one class per clip.
    """
    of_source = [report for report in evaluation.reports if report.source == source and report.predictions]
    trained = [report for report in evaluation.reports if report.source == "trained" and report.predictions]
    if not trained:
        return []
    main = next((report for report in trained if report.about.kind != "knn"), trained[0])
    task = main.about.beside if source == "raw" else main.task
    return [report for report in of_source if report.task == task]


def _score_chart(every: Sequence[Number], half: str, figures: Figures) -> str:
    groups = {}
    for source, (name, colour, symbol) in SOURCES.items():
        of_source = [n for n in every if (n.source, n.quantity.clips) == (source, half)]
        marks = []
        for score in (number for number in of_source if not number.quantity.chosen_on_test):
            # The raw coordinates have their own tasks: they stand beside the encoders' of the same kind.
            rows = [
                number.task
                for number in every
                if number.source == "trained"
                and (number.task if source != "raw" else number.about.beside) == score.task
            ]
            for task in dict.fromkeys(rows):
                row, (low, high) = task_name(task).replace(", ", "<br>"), score.ends
                said = f"{name}, {task_name(score.task)}: {score.mean:.1f} % [{low:.1f}, {high:.1f}]"
                marks.append(Mark(row, score.mean, low, high, said))
        if marks:
            groups[name] = (colour, symbol, marks)
    said = "; ".join(mark.said for _, _, marks in groups.values() for mark in marks)
    return figures.place(interval_figure(groups), f"Top-1 accuracy with 95 % intervals, {half} clips. {said}")


def _score_table(every: Sequence[Number], clips: Sequence[str], counts: dict[str, int]) -> str:
    found = {(score.source, score.task, score.name, score.quantity.clips): score for score in every}
    trained = {(score.task, score.name): score for score in every if score.source == "trained"}
    rows = []
    for (task, name), score in trained.items():
        sources = [("trained", task, name), ("random", task, name), ("raw", score.about.beside, "top1")]
        cells = [cell(found.get((*source, half))) for half in clips for source in sources]
        reading = f" ({score.quantity.reading})" if score.quantity.reading else ""
        rows.append([escape(task_name(task) + reading), *cells])
    short = ("trained", "random", "raw")
    head = ["task", *(f"{each}{f', {half}' if len(clips) > 1 else ''}" for half in clips for each in short)]
    told = "Percent. Raw: nearest neighbours beside nearest neighbours, ridge regression beside linear heads."
    if len(clips) > 1:
        told += f" Official: all {counts['official']:,} test clips; clean: {counts['clean']:,} without copies."
    return f"<p class='lead'>{told}</p>{table(head, rows)}"


def _difference_charts(differences: Sequence[Difference], clips: Sequence[str], figures: Figures) -> str:
    charts = []
    for half in clips:
        groups = {}
        for against in ("random", "raw"):
            name, colour, symbol = SOURCES[against]
            marks = [
                Mark(
                    task_name(each.task).replace(", ", "<br>"),
                    each.difference_percent,
                    each.low_percent,
                    each.high_percent,
                    f"{task_name(each.task)}, minus {name}: {each.difference_percent:+.1f} points "
                    f"[{each.low_percent:+.1f}, {each.high_percent:+.1f}], {each.verdict}",
                )
                for each in differences
                if (each.against, each.clips) == (against, half)
            ]
            if marks:
                groups[f"minus {name}"] = (colour, symbol, marks)
        said = "; ".join(mark.said for _, _, marks in groups.values() for mark in marks)
        chart = figures.place(interval_figure(groups, unit="", zero=True), f"Differences, {half} clips. {said}")
        title = f"<h4>{half.capitalize()}</h4>" if len(clips) > 1 else ""
        charts.append(f"<div>{title}{chart}</div>")
    signs = legend([(f"minus {SOURCES[each][0]}", *SOURCES[each][1:]) for each in ("random", "raw")])
    return f"{signs}<div class='pair'>{''.join(charts)}</div>"


def _difference_table(differences: Sequence[Difference], clips: Sequence[str]) -> str:
    rows: dict[tuple[str, str], dict[str, Difference]] = {}
    for each in differences:
        rows.setdefault((each.task, each.against_task if each.against == "raw" else "random"), {})[each.clips] = each
    lines = []
    for (task, against), pair in rows.items():
        cells = [
            f"{_SIGNS[pair[half].verdict]} {pair[half].difference_percent:+.1f} {pair[half].verdict}"
            f"<small>[{pair[half].low_percent:+.1f}, {pair[half].high_percent:+.1f}]</small>"
            for half in clips
        ]
        name = "random initialisation" if against == "random" else task_name(against)
        lines.append([escape(task_name(task)), escape(name), *cells])
    return table(["task", "baseline", *(clips if len(clips) > 1 else ["points"])], lines, numbers_from=2)


def _classes_html(evaluation: EvaluationReport, figures: Figures) -> str:
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
    told = f"{task_name(trained[0].task).capitalize()}, trained encoders, all test clips, summed over seeds. "
    heat = figures.place(confusion_figure(matrix, classes), f"Confusion matrix of {len(classes)} classes. {most}")
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
        chart = figures.place(gains_figure(names, gains), f"Gain of each class over the baselines. {ends}")
        shapes = ("square", "diamond")
        signs = legend([(name, gains[name][0], shape) for name, shape in zip(gains, shapes, strict=False)])
        lead = f"Recall of each class, trained minus baseline, in percentage points. {ends}"
        scroll = f"<div class='{'tall' if len(names) > 40 else ''}'>{chart}</div>"
        parts.append(card("Gain by class", signs + scroll, lead=lead, wide=len(names) > 40))
    return "".join(parts)


def _matrix(evaluation: EvaluationReport, reports: Sequence[Report]) -> Int64[np.ndarray, "true predicted"]:
    label = np.asarray(evaluation.test_labels, np.int64)
    matrix = np.zeros((len(evaluation.classes),) * 2, np.int64)
    for report in reports:
        predicted = np.asarray(next(iter(report.predictions.values())), np.int64)
        matrix += confusion_matrix(predicted, label, len(evaluation.classes))
    return matrix


def _recall(matrix: Int64[np.ndarray, "true predicted"]) -> np.ndarray:
    return 100.0 * np.diag(matrix) / np.maximum(matrix.sum(1), 1)
