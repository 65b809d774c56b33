"""A comparison as text: its tables, as Markdown, and as a page that has accuracy against the time it took as well."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from marrow.files import write_text_whole
from marrow.progress import duration
from marrow.report.compare import Comparison, Experiment, Ranking
from marrow.report.figures import Figures, Mark, costs_html
from marrow.report.members import Column, Row
from marrow.report.page import page_html
from marrow.report.ranking import Table
from marrow.report.repeat import repeat_html
from marrow.report.runs import Run, experiments, labels
from marrow.report.style import card, paragraphs, table
from marrow.report.tables import MISSING, TextTable, number_text
from marrow.report.training import training_html

_HOW_TO_READ = (
    "<b>How to read this.</b> Scores are means ± standard deviation over seeds, of frozen encoders or, where the task "
    "trains it, of the trained one; on the plot, each run has its 95 % interval by bootstrap over the test clips. Rows "
    "are sorted by the first column, baselines stand below: the same encoder without pre-training (from scratch, where "
    "the task trains it), and what needs no encoder. The best of a column is bold. Official scores count every test "
    "clip of the protocol; clean scores leave out copies of training clips. Scores that answer different questions are "
    "never in one ranking."
)


def write_comparison(
    runs: Sequence[Run], comparison: Comparison, out: Path, *, title: str = "marrow comparison"
) -> Path:
    """Write the page.

    Args:
        runs: that are compared.
        comparison: from `compare_runs`.
        out: the page.
        title: its heading.
    """
    figures = Figures()
    parts = ["<h2 id='verdict-1'>Comparison</h2>", _verdict(comparison)]
    for number, ranking in enumerate(comparison.rankings, start=1):
        heading = f"{ranking.protocol}, {ranking.test_clips:,} test clips"
        if len(comparison.rankings) > 1:
            heading += f", data {ranking.store[:8]}"
        parts.append(f"<h2 id='scores-{number}'>{escape(heading)}</h2>")
        parts += [card(text.title, text.html(), wide=True) for text in text_tables(ranking)]
        parts.append(_charts(ranking, figures))
    if comparison.not_evaluated:
        rows = [[escape(row.name), escape(", ".join(row.runs))] for row in comparison.not_evaluated]
        parts.append(card("Not evaluated yet", table(["experiment", "runs"], rows, numbers_from=2)))
    parts += ["<h2 id='training-1'>Pre-training</h2>", training_html(runs, figures)]
    groups = experiments(runs)
    parts.append("<h2 id='repeat-1'>Repeat it</h2>")
    for group, name in zip(groups, labels(groups), strict=True):
        parts.append(f"<h3>{escape(name)}</h3>{repeat_html(group, None, None)}")
    contents = [
        ("verdict-1", "Verdict"),
        ("scores-1", "Scores"),
        ("training-1", "Pre-training"),
        ("repeat-1", "Repeat"),
    ]
    page = page_html(title, "".join(parts), figures, contents=contents, run_count=len(runs), how_to_read=_HOW_TO_READ)
    write_text_whole(out, page)
    return out


def text_tables(ranking: Ranking) -> list[TextTable]:
    """Return the tables of a ranking: top-1 with all labels, with few, and one for each kind of other task."""
    tables = [text for shown in ranking.tables for text in _text_tables(shown, ranking)]
    # What the pre-training cost stands in one table, the first.
    costs = [_costs(ranking.experiments.get(line[0])) for line in tables[0].lines]
    head = [*tables[0].head, "CPU time", "steps", "parameters"]
    lines = [[*line, *cost] for line, cost in zip(tables[0].lines, costs, strict=True)]
    return [replace(tables[0], head=head, lines=lines), *tables[1:]]


def markdown(comparison: Comparison) -> str:
    """Return all tables as Markdown, the best of a column in bold, and after them what a reader has to know."""
    texts = [text for ranking in comparison.rankings for text in text_tables(ranking)]
    parts = [part for text in texts for part in (f"{text.title}.", text.markdown(may_turn=True))]
    said = [f"Not evaluated yet: {', '.join(row.runs)} ({row.name})." for row in comparison.not_evaluated]
    said += comparison.warnings
    parts += ["\n".join(f"- {sentence}" for sentence in said)] if said else []
    return "\n\n".join(parts) + "\n"


def _text_tables(shown: Table, ranking: Ranking) -> list[TextTable]:
    """Return a table as text; of top-1 scores, those with few labels stand in tables of their own."""
    if not shown.is_top1:
        return [_text_table(shown, list(shown.columns), shown.title, shown.rows, ranking)]
    abouts = {column: shown.number_at(column).about for column in shown.columns}
    titles = {column: about.title if about.plot == "labels" else "" for column, about in abouts.items()}
    texts = []
    for few_labels in dict.fromkeys(titles.values()):
        columns = [column for column in shown.columns if titles[column] == few_labels]
        title = f"{few_labels}: top-1 in percent" if few_labels else shown.title
        # Who has none of these scores stands in the first table alone, which also says what pre-training cost.
        rows = [row for row in shown.rows if not few_labels or any(map(row.number, columns))]
        texts.append(_text_table(shown, columns, title, rows, ranking))
    return texts


def _text_table(
    shown: Table, columns: Sequence[Column], title: str, of_experiments: Sequence[Row], ranking: Ranking
) -> TextTable:
    quantities = [shown.columns[column] for column in columns]
    units = [quantity.unit_words for quantity in quantities]
    alike = len(set(units)) == 1
    if alike and quantities[0].unit and not shown.is_top1:
        title += f" in {units[0]},"
    rows = [*of_experiments, *(row for row in shown.baselines if any(map(row.number, columns)))]
    numbers = [[row.number(column) for column in columns] for row in rows]
    clean = f", {ranking.clean_clips:,} of them clean" if ranking.clean_clips < ranking.test_clips else ""
    title += f" on {ranking.protocol}, {ranking.test_clips:,} test clips{clean}, data {ranking.store[:8]}; ± over seeds"
    if any(number.shows_draws for line in numbers for number in line if number is not None):
        title += ", of one seed over draws of the labels"
    head = [
        f"{quantity.short} ({unit})" if unit and not alike else quantity.short
        for quantity, unit in zip(quantities, units, strict=True)
    ]
    lines = [[row.name, ", ".join(map(str, row.seeds)) or MISSING] for row in rows]
    return TextTable(title, ["experiment", "seeds"], lines).with_numbers(head, numbers)


def _costs(experiment: Experiment | None) -> list[str]:
    if experiment is None:
        return [MISSING] * 3
    return [
        MISSING if experiment.cpu_seconds is None else duration(experiment.cpu_seconds),
        MISSING if experiment.steps is None else f"{experiment.steps:,.0f}",
        MISSING if experiment.parameters is None else f"{experiment.parameters / 1e6:.1f} M",
    ]


def _verdict(comparison: Comparison) -> str:
    said = [f"{r.protocol}, {_leader(shown)}" for r in comparison.rankings for shown in r.tables]
    said = said or ["None of these runs has been evaluated yet."]
    return card("Verdict", paragraphs(said, "headline") + paragraphs(comparison.warnings, "note"))


def _leader(shown: Table) -> str:
    """Say who is first in a table; of top-1 scores, whether that is more than the spread, which others do not tell."""
    column, quantity = next(iter(shown.columns.items()))
    scored = [(row, number) for row in shown.rows if (number := row.number(column)) is not None]
    first, number = scored[0]
    what = shown.scorings[0].name if shown.is_top1 else f"{shown.title}, {quantity.short}"
    value = f"{number_text(number)} {quantity.unit}".rstrip()
    if len(scored) < 2:
        return f"{what}: only {first.name} is scored ({value})."
    if quantity.better is None:
        return f"{what}: it is not known which numbers are better."
    if shown.lead is None:
        return f"{what}: {first.name} is first ({value}); whether that is chance is not judged."
    second, (lead, low, high) = scored[1][0], shown.lead
    said = f"{lead:.1f} points (95 % interval, paired over the test clips: {low:+.1f} to {high:+.1f})"
    if low <= 0:
        said += ", which may be chance"
    elif min(len(row.points[column[0]]) for row in (first, second)) < 2:
        said += "; with one seed, nothing is known of the spread over seeds"
    return f"{what}: {first.name} leads {second.name} by {said}."


def _charts(ranking: Ranking, figures: Figures) -> str:
    """Draw top-1 accuracy against time, one chart per column that has anything to show."""
    charts = ""
    for shown in (shown for shown in ranking.tables if shown.is_top1):
        for scoring in shown.scorings:
            points = {row.name: _points(row, scoring.name, ranking.experiments[row.name]) for row in shown.rows}
            charts += costs_html(scoring.name, points, figures)
    if not charts:
        return ""
    told = "One point per run, with its 95 % interval over test clips. Up and to the left is better."
    return card("Accuracy against time spent", f"<div class='pair'>{charts}</div>", lead=told, wide=True)


def _points(row: Row, column: str, experiment: Experiment) -> list[tuple[float, Mark]]:
    """Return processor seconds and score of each run whose log tells the seconds."""
    points = []
    for run, score in row.points.get(column, {}).items():
        seconds, (low, high) = experiment.cpu_seconds_by_run.get(run), score.ends
        if seconds is not None:
            said = f"{run} ({escape(row.name)})<br>{score.mean:.1f} % [{low:.1f}, {high:.1f}]"
            points.append(
                (seconds, Mark(row.name, score.mean, low, high, f"{said}<br>{seconds:,.0f} processor seconds"))
            )
    return points
