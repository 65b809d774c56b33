"""The page of a comparison: warnings first, then per ranking a table, and accuracy against the time it took."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from marrow.files import write_text_whole
from marrow.report.compare import Comparison
from marrow.report.compare_measures import NumberTable
from marrow.report.compare_scores import Ranking
from marrow.report.compare_tables import TextTable, number_text, text_tables
from marrow.report.figures import Figures, Mark, cost_figure
from marrow.report.page import page_html
from marrow.report.repeat import repeat_html
from marrow.report.runs import Run, experiments, labels
from marrow.report.style import card, paragraphs, table
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
        parts += [card(each.title, _table(each), wide=True) for each in text_tables(ranking)]
        parts.append(_costs(ranking, figures))
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


def _verdict(comparison: Comparison) -> str:
    sentences = [
        sentence
        for ranking in comparison.rankings
        for sentence in [*([_leader(ranking)] if ranking.columns else []), *_first_of(ranking)]
    ]
    said = sentences or ["None of these runs has been evaluated yet."]
    return card("Verdict", paragraphs(said, "headline") + paragraphs(comparison.warnings, "note"))


def _first_of(ranking: Ranking) -> list[str]:
    """Say who is first in each table of numbers; whether that is chance is not judged there."""
    return [f"{ranking.protocol}, {each.title}, {_first(each)}" for each in ranking.measured]


def _first(each: NumberTable) -> str:
    name, quantity = next(iter(each.columns.items()))
    scored = [row for row in each.rows if name in row.numbers]
    value = f"{number_text(scored[0].numbers[name])} {quantity.unit}".rstrip()
    if len(scored) < 2:
        return f"{quantity.short}: only {scored[0].name} is scored ({value})."
    if quantity.better is None:
        return f"{quantity.short}: it is not known which numbers are better."
    return f"{quantity.short}: {scored[0].name} is first ({value}); whether that is chance is not judged."


def _leader(ranking: Ranking) -> str:
    """Say who leads in the first column, and whether that is more than the spread."""
    column = ranking.columns[0]
    scored = [row for row in ranking.rows if column in row.cells]
    if len(scored) < 2:
        return f"{ranking.protocol}: only {scored[0].name} is scored by {column}."
    first, second = scored[:2]
    if ranking.lead is None:
        return f"{ranking.protocol}, {column}: {first.name} is first."
    lead, low, high = ranking.lead
    said = f"{lead:.1f} points (95 % interval, paired over the test clips: {low:+.1f} to {high:+.1f})"
    if low <= 0:
        said += ", which may be chance"
    elif min(len(first.points[column]), len(second.points[column])) < 2:
        said += "; with one seed, nothing is known of the spread over seeds"
    return f"{ranking.protocol}, {column}: {first.name} leads {second.name} by {said}."


def _table(shown: TextTable) -> str:
    lines = [
        [
            f"<b>{escape(cell)}</b>" if (number, column) in shown.best else escape(cell)
            for column, cell in enumerate(line)
        ]
        for number, line in enumerate(shown.lines)
    ]
    return table(shown.head, lines)


def _costs(ranking: Ranking, figures: Figures) -> str:
    """Draw accuracy against time, one chart per column that has anything to show."""
    charts = []
    for column in ranking.columns:
        points: dict[str, list[tuple[float, Mark]]] = {}
        for row in ranking.rows:
            for run, score in row.points.get(column, {}).items():
                if run in row.cpu_seconds_by_run:
                    cost, (low, high) = row.cpu_seconds_by_run[run], score.ends
                    said = (
                        f"{run} ({escape(row.name)})<br>{score.mean:.1f} % [{low:.1f}, {high:.1f}]<br>"
                        f"{cost:,.0f} processor seconds"
                    )
                    points.setdefault(row.name, []).append((cost, Mark(row.name, score.mean, low, high, said)))
        if points:
            said = "; ".join(
                f"{name}: {', '.join(f'{mark.value:.1f} % after {cost:.0f} s' for cost, mark in runs)}"
                for name, runs in points.items()
            )
            chart = figures.place(cost_figure(points), f"{column} against processor seconds. {said}")
            charts.append(f"<div><h4>{escape(column)}</h4>{chart}</div>")
    if not charts:
        return ""
    told = "One point per run, with its 95 % interval over test clips. Up and to the left is better."
    return card("Accuracy against time spent", f"<div class='pair'>{''.join(charts)}</div>", lead=told, wide=True)
