"""The tables of a comparison as text, for the console, for a page and as Markdown: the same ones everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from marrow.report.compare import Comparison
from marrow.report.compare_measures import Number, NumberColumn, NumberRow, NumberTable
from marrow.report.compare_scores import Cell, Ranking, Row
from marrow.report.measure_names import family_of, title_of
from marrow.train.progress import duration

_MISSING = "–"
_WORDS = {"%": "percent", "mm": "mm"}


@dataclass(frozen=True)
class TextTable:
    """A table as text.

    Args:
        title: a sentence without its full stop.
        head: headings; the first two columns name a row and its seeds.
        lines: cells.
        best: places (line, column) of the best scores.
    """

    title: str
    head: list[str]
    lines: list[list[str]]
    best: set[tuple[int, int]] = field(default_factory=set)

    def between(self, start: int, end: int) -> "TextTable":
        """Return a part of the columns, beside those that name the rows."""
        kept = [0, 1, *range(start, end)]
        return replace(
            self,
            head=[self.head[column] for column in kept],
            lines=[[line[column] for column in kept] for line in self.lines],
            best={(line, kept.index(column)) for line, column in self.best if column in kept},
        )


def text_tables(ranking: Ranking) -> list[TextTable]:
    """Return the tables of a ranking: top-1 with all labels, with few, and one for each kind of other task."""
    families = [_score_family(column) for column in ranking.columns]
    tables = [
        _score_table(ranking, family, [c for c, of in zip(ranking.columns, families, strict=True) if of == family])
        for family in dict.fromkeys(families)
    ]
    tables += [_number_table(ranking, each) for each in ranking.measured]
    # What the pre-training cost stands in one table, the first.
    return [_with_costs(tables[0], ranking), *tables[1:]]


def markdown(comparison: Comparison) -> str:
    """Return all tables as Markdown, the best of a column in bold, and after them what a reader has to know."""
    parts = []
    for ranking in comparison.rankings:
        for table in text_tables(ranking):
            parts += [f"{table.title}.", _markdown_table(table)]
    said = [f"Not evaluated yet: {', '.join(row.runs)} ({row.name})." for row in comparison.not_evaluated]
    said += comparison.warnings
    parts += ["\n".join(f"- {each}" for each in said)] if said else []
    return "\n\n".join(parts) + "\n"


def score_text(pair: tuple[float, float] | None, seeds: int, draws_std: float | None = None) -> str:
    """Return a mean with its deviation over seeds; of one seed, with that over draws of the labels.

    Args:
        pair: mean and deviation over seeds; None where there is none.
        seeds: how many.
        draws_std: deviation over draws of the labels; None where there is one draw.
    """
    if pair is None:
        return _MISSING
    if seeds > 1:
        return f"{pair[0]:.1f} ± {pair[1]:.1f}"
    return f"{pair[0]:.1f}" + (f" (draws ± {draws_std:.1f})" if draws_std is not None else "")


def best_of(texts: Sequence[str], better: str | None) -> list[int]:
    """Return the places of the best numbers among texts that begin with them: as shown, so that equals are equal.

    Args:
        texts: of a column.
        better: "higher" or "lower"; None where that is not known, and there is no best.
    """
    shown = {place: float(text.partition(" ")[0]) for place, text in enumerate(texts) if text != _MISSING}
    if len(shown) < 2 or better is None:
        return []
    best = max(shown.values()) if better == "higher" else min(shown.values())
    return [place for place, value in shown.items() if value == best]


def number_text(number: Number | None) -> str:
    """Return a number with its deviation over seeds."""
    return _MISSING if number is None else score_text((number.mean, number.std), len(number.by_seed))


def unit_words(column: NumberColumn) -> str:
    """Say the unit of a number, and which numbers are better."""
    unit = _WORDS.get(column.unit, column.unit)
    return ", ".join([unit] * bool(unit) + [f"{column.better} is better"] * (column.better is not None))


def _score_family(column: str) -> str:
    family = family_of(column.replace(" ", "_"))
    return family if family in ("semi_supervised", "few_shot") else ""


def _score_table(ranking: Ranking, family: str, columns: Sequence[str]) -> TextTable:
    clean = ranking.clean_clips < ranking.test_clips
    kinds = ("official", "clean") if clean else ("official",)
    shown = [(column, kind) for column in columns for kind in kinds]
    # Who has none of these scores stands in the first table alone, which also says what pre-training cost.
    rows = [
        row
        for row in [*ranking.rows, *ranking.baselines]
        if any(column in row.cells for column in columns) or (row.source == "trained" and not family)
    ]
    lines = [
        [row.name, _seeds_text(row.seeds), *(_cell_text(row.cells.get(column), kind) for column, kind in shown)]
        for row in rows
    ]
    head = ["experiment", "seeds", *(f"{column}{f', {kind}' if clean else ''}" for column, kind in shown)]
    of = f"{title_of(family)}: top-1" if family else "Top-1"
    title = f"{of} in percent{_where(ranking)}; ± over seeds"
    if any("draws" in text for line in lines for text in line[2:]):
        title += ", of one seed over draws of the labels"
    return _with_best(TextTable(title, head, lines), ["higher"] * len(shown))


def _number_table(ranking: Ranking, table: NumberTable) -> TextTable:
    units = [unit_words(column) for column in table.columns]
    alike = len(set(units)) == 1
    head = [
        f"{column.heading}{f' ({unit})' if unit and not alike else ''}"
        for column, unit in zip(table.columns, units, strict=True)
    ]
    lines = [_number_line(row, table.columns) for row in [*table.rows, *table.baselines]]
    unit = f" in {units[0]}," if alike and table.columns[0].unit else ""
    text = TextTable(f"{table.title}{unit}{_where(ranking)}; ± over seeds", ["experiment", "seeds", *head], lines)
    return _with_best(text, [column.better for column in table.columns])


def _number_line(row: NumberRow, columns: Sequence[NumberColumn]) -> list[str]:
    return [row.name, _seeds_text(row.seeds), *(number_text(row.numbers.get(column.name)) for column in columns)]


def _cell_text(cell: Cell | None, kind: str) -> str:
    return _MISSING if cell is None else score_text(getattr(cell, kind), len(cell.runs), cell.draws_std.get(kind))


def _where(ranking: Ranking) -> str:
    clean = f", {ranking.clean_clips:,} of them clean" if ranking.clean_clips < ranking.test_clips else ""
    return f" on {ranking.protocol}, {ranking.test_clips:,} test clips{clean}, data {ranking.store[:8]}"


def _with_best(table: TextTable, better: Sequence[str | None]) -> TextTable:
    best = {
        (line, column)
        for column, direction in enumerate(better, start=2)
        for line in best_of([each[column] for each in table.lines], direction)
    }
    return replace(table, best=best)


def _with_costs(table: TextTable, ranking: Ranking) -> TextTable:
    rows = {row.name: row for row in ranking.rows}
    lines = [[*line, *_costs(rows.get(line[0]))] for line in table.lines]
    return replace(table, head=[*table.head, "CPU time", "steps", "parameters"], lines=lines)


def _costs(row: Row | None) -> list[str]:
    if row is None:
        return [_MISSING] * 3
    return [
        _MISSING if row.cpu_seconds is None else duration(row.cpu_seconds),
        _MISSING if row.steps is None else f"{row.steps:,.0f}",
        _MISSING if row.parameters is None else f"{row.parameters / 1e6:.1f} M",
    ]


def _seeds_text(seeds: Sequence[int | None]) -> str:
    return ", ".join(map(str, seeds)) or _MISSING


def _markdown_table(table: TextTable) -> str:
    """Return a table with its experiments downwards, or side by side where it would be wider than it is long."""
    lines = [
        [f"**{cell}**" if (number, column) in table.best else cell for column, cell in enumerate(line)]
        for number, line in enumerate(table.lines)
    ]
    cells, words = [table.head, *lines], 2
    if len(table.head) > len(cells) + words:
        cells, words = [list(column) for column in zip(*cells, strict=True)], 1
    rule = [*["---"] * words, *["---:"] * (len(cells[0]) - words)]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in (escaped[0], rule, *escaped[1:]))
