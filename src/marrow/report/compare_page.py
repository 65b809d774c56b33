"""The page of a comparison: warnings first, then per ranking a table, and accuracy against the time it took."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from marrow.files import write_text_whole
from marrow.report.compare import Cell, Comparison, Ranking, Row
from marrow.report.figures import Figures, Mark, cost_figure
from marrow.report.page import page_html
from marrow.report.repeat import repeat_html
from marrow.report.runs import Run, experiments, labels
from marrow.report.style import card, paragraphs, table
from marrow.report.training import training_html

_HOW_TO_READ = (
    "<b>How to read this.</b> Scores are top-1 accuracy of frozen encoders, mean ± standard deviation over seeds; on "
    "the plot, each run has its 95 % interval by bootstrap over the test clips. Rows are sorted by the first column. "
    "Official scores count every test clip of the protocol; clean scores leave out copies of training clips. Scores "
    "that answer different questions are never in one ranking."
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
        parts.append(card("Scores", _table(ranking), lead="Percent, mean ± deviation over seeds.", wide=True))
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


def score_text(pair: tuple[float, float] | None, seeds: int) -> str:
    """Return a mean, and its deviation where there are several seeds."""
    if pair is None:
        return "–"
    return f"{pair[0]:.1f}" + (f" ± {pair[1]:.1f}" if seeds > 1 else "")


def _verdict(comparison: Comparison) -> str:
    sentences = [_leader(ranking) for ranking in comparison.rankings] or ["None of these runs has been evaluated yet."]
    return card("Verdict", paragraphs(sentences, "headline") + paragraphs(comparison.warnings, "note"))


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
    elif min(len(first.cells[column].runs), len(second.cells[column].runs)) < 2:
        said += "; with one seed, nothing is known of the spread over seeds"
    return f"{ranking.protocol}, {column}: {first.name} leads {second.name} by {said}."


def _table(ranking: Ranking) -> str:
    clean = ranking.clean_clips < ranking.test_clips
    kinds = ("official", "clean") if clean else ("official",)
    head = ["experiment", "seeds"]
    head += [f"{column}{f', {kind}' if clean else ''}" for column in ranking.columns for kind in kinds]
    head += ["processor time", "steps", "parameters"]
    return table(head, [_cells(row, ranking.columns, kinds) for row in ranking.rows])


def _cells(row: Row, columns: Sequence[str], kinds: Sequence[str]) -> list[str]:
    from marrow.train.progress import duration

    def shown(cell: Cell | None, kind: str) -> str:
        return "–" if cell is None else score_text(getattr(cell, kind), len(cell.runs))

    return [
        escape(row.name),
        escape(", ".join(str(seed) for seed in row.seeds)),
        *(shown(row.cells.get(column), kind) for column in columns for kind in kinds),
        "–" if row.cpu_seconds is None else duration(row.cpu_seconds),
        "–" if row.steps is None else f"{row.steps:,.0f}",
        "–" if row.parameters is None else f"{row.parameters / 1e6:.1f} M",
    ]


def _costs(ranking: Ranking, figures: Figures) -> str:
    """Draw accuracy against time, one chart per column that has anything to show."""
    charts = []
    for column in ranking.columns:
        points: dict[str, list[tuple[float, Mark]]] = {}
        for row in ranking.rows:
            for run in row.cells[column].runs if column in row.cells else ():
                if run.cpu_seconds is not None:
                    said = (
                        f"{run.run} ({escape(row.name)})<br>{run.percent:.1f} % "
                        f"[{run.low_percent:.1f}, {run.high_percent:.1f}]<br>{run.cpu_seconds:,.0f} processor seconds"
                    )
                    mark = Mark(row.name, run.percent, run.low_percent, run.high_percent, said)
                    points.setdefault(row.name, []).append((run.cpu_seconds, mark))
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
