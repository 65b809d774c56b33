"""The parts of a page about top-1 scores: in words, as charts and tables, and beside their baselines."""

from collections.abc import Mapping, Sequence
from html import escape

from marrow.report.cards import cell
from marrow.report.figures import Figures, Mark, interval_figure, legend
from marrow.report.headline import headline
from marrow.report.style import SOURCES, card, table
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.numbers import Number
from marrow.tasks.summary import Difference, differences, kinds_of_clips, raw_sentences, scores

_SIGNS = {"better": "▲", "worse": "▼", "not shown": "●"}
# Per group of marks its colour, symbol and marks.
_Groups = dict[str, tuple[str, str, list[Mark]]]


def verdicts_html(evaluation: EvaluationReport) -> str:
    """Say in plain sentences what the encoders are good for, and test by test how they stand against coordinates."""
    strictest = kinds_of_clips(evaluation)[-1]
    judged = [difference for difference in differences(evaluation) if difference.clips == strictest]
    verdicts = [difference.verdict for difference in judged if difference.against == "raw"]
    said = headline(evaluation)
    return (f"<p class='headline'>{escape(said)}</p>" if said else "") + "".join(
        f"<p class='verdict {verdict.replace(' ', '-')}'><b class='sign' aria-hidden='true'>"
        f"{_SIGNS[verdict]}</b>{escape(sentence)}</p>"
        for verdict, sentence in zip(verdicts, raw_sentences(evaluation), strict=True)
    )


def scores_html(evaluation: EvaluationReport, figures: Figures) -> str:
    """Return scores with their spread beside the baselines, and the differences; "" without a class per clip."""
    numbers, of_baselines, clips = scores(evaluation), differences(evaluation), kinds_of_clips(evaluation)
    if not numbers:
        return ""
    counts = {"official": len(evaluation.test_rows), "clean": evaluation.clean_count}
    charts = ""
    for half in clips:
        chart = _chart(_score_marks(numbers, half), f"Top-1 accuracy with 95 % intervals, {half} clips", figures)
        charts += f"<div><h4>{half.capitalize()}: {counts[half]:,} clips</h4>{chart}</div>"
    shown = {score.source for score in numbers}
    signs = legend([look for source, look in SOURCES.items() if source in shown])
    content = f"{signs}<div class='pair'>{charts}</div>{_score_table(numbers, clips, counts)}"
    lead = "Marks with their 95 % intervals over test clips; in the table, ± is the deviation over seeds."
    parts = card("Top-1 accuracy", content, lead=lead, wide=True)
    if of_baselines:
        labels = {report.task: report.about.name for report in evaluation.reports}
        charts = ""
        for half in clips:
            groups = _difference_marks([difference for difference in of_baselines if difference.clips == half], labels)
            chart = _chart(groups, f"Differences, {half} clips", figures, unit="", zero=True)
            charts += f"<div>{f'<h4>{half.capitalize()}</h4>' if len(clips) > 1 else ''}{chart}</div>"
        signs = legend([(f"minus {SOURCES[source][0]}", *SOURCES[source][1:]) for source in ("random", "raw")])
        content = f"{signs}<div class='pair'>{charts}</div>{_difference_table(of_baselines, clips, labels)}"
        lead = "In percentage points, paired: the same clips, the same seeds. Right of zero: training helped."
        parts += card("Trained minus baseline", content, lead=lead, wide=True)
    return parts


def notes_html(evaluation: EvaluationReport) -> str:
    """Return what a reader of the scores has to know."""
    notes = "".join(f"<li>{escape(note)}</li>" for note in evaluation.notes)
    return card("Notes", f"<ul class='notes'>{notes}</ul>") if notes else ""


def _chart(groups: _Groups, title: str, figures: Figures, *, unit: str = "%", zero: bool = False) -> str:
    said = "; ".join(mark.said for _, _, marks in groups.values() for mark in marks)
    return figures.place(interval_figure(groups, unit=unit, zero=zero), f"{title}. {said}")


def _score_marks(numbers: Sequence[Number], half: str) -> _Groups:
    """Return the scores of each source, in the rows of the encoders' tasks."""
    groups: _Groups = {}
    for source, (name, colour, symbol) in SOURCES.items():
        for score in numbers:
            if (score.source, score.quantity.clips) == (source, half) and not score.quantity.chosen_on_test:
                low, high = score.ends
                said = f"{name}, {score.about.name}: {score.mean:.1f} % [{low:.1f}, {high:.1f}]"
                # The raw coordinates have their own tasks: they stand beside the encoders' of the same kind.
                rows = [
                    number.about.name
                    for number in numbers
                    if number.source == "trained"
                    and (number.task if source != "raw" else number.about.beside) == score.task
                ]
                marks = groups.setdefault(name, (colour, symbol, []))[2]
                marks += [Mark(_lines(row), score.mean, low, high, said) for row in dict.fromkeys(rows)]
    return {name: group for name, group in groups.items() if group[2]}


def _score_table(numbers: Sequence[Number], clips: Sequence[str], counts: Mapping[str, int]) -> str:
    """Return the scores task by task, a row for each source: narrow enough for a phone."""
    by_place = {(score.source, score.task, score.name, score.quantity.clips): score for score in numbers}
    lines: list[list[str]] = []
    for score in {(score.task, score.name): score for score in numbers if score.source == "trained"}.values():
        title = score.about.name + (f" ({score.quantity.reading})" if score.quantity.reading else "")
        lines.append([f"<b>{escape(title)}</b>", *[""] * len(clips)])
        for source in SOURCES:
            task, name = (score.about.beside, "top1") if source == "raw" else (score.task, score.name)
            cells = [by_place.get((source, task, name, half)) for half in clips]
            if any(cells):
                lines.append([source, *map(cell, cells)])
    told = (
        "Percent. Trained: the encoder; random: the same one untrained; raw: coordinates without an encoder, by "
        "nearest neighbours beside nearest neighbours and by ridge regression beside linear heads."
    )
    if len(clips) > 1:
        told += f" Official: all {counts['official']:,} test clips; clean: {counts['clean']:,} without copies."
    return f"<p class='lead'>{told}</p>{table(['', *clips], lines)}"


def _difference_marks(of_half: Sequence[Difference], labels: Mapping[str, str]) -> _Groups:
    groups: _Groups = {}
    for against in ("random", "raw"):
        name, colour, symbol = SOURCES[against]
        for difference in (difference for difference in of_half if difference.against == against):
            value, low, high = difference.difference_percent, difference.low_percent, difference.high_percent
            label = labels[difference.task]
            said = f"{label}, minus {name}: {value:+.1f} points [{low:+.1f}, {high:+.1f}], {difference.verdict}"
            marks = groups.setdefault(f"minus {name}", (colour, symbol, []))[2]
            marks.append(Mark(_lines(label), value, low, high, said))
    return groups


def _difference_table(of_baselines: Sequence[Difference], clips: Sequence[str], labels: Mapping[str, str]) -> str:
    """Return the differences task by task, a row for each baseline."""
    tasks: dict[str, dict[str, dict[str, str]]] = {}
    for difference in of_baselines:
        beside = f" ({labels[difference.against_task]})" if difference.against == "raw" else ""
        rows = tasks.setdefault(labels[difference.task], {})
        rows.setdefault(f"minus {difference.against}{beside}", {})[difference.clips] = (
            f"{_SIGNS[difference.verdict]} {difference.difference_percent:+.1f}"
            f"<small>{difference.verdict}</small>"
            f"<small>[{difference.low_percent:+.1f}, {difference.high_percent:+.1f}]</small>"
        )
    lines: list[list[str]] = []
    for task, rows in tasks.items():
        lines.append([f"<b>{escape(task)}</b>", *[""] * len(clips)])
        lines += [[escape(baseline), *(cells[half] for half in clips)] for baseline, cells in rows.items()]
    return table(["", *(clips if len(clips) > 1 else ["points"])], lines)


def _lines(label: str) -> str:
    """Break a label into the lines of a narrow axis."""
    return label.replace(", ", "<br>")
