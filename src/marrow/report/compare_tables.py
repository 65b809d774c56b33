"""The tables of a comparison as text, for the console, for a page and as Markdown: the same ones everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from marrow.report.compare import Comparison
from marrow.report.compare_measures import NumberRow, NumberTable
from marrow.report.compare_scores import Ranking, Row
from marrow.tasks.numbers import Clips, Number
from marrow.train.logs import duration

_MISSING = "–"


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
    titles = _titles(ranking)
    tables = [
        _score_table(ranking, title, [column for column in ranking.columns if titles[column] == title])
        for title in dict.fromkeys(titles.values())
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


def number_text(number: Number | None) -> str:
    """Return a number with its deviation over seeds; of one seed, with that over draws of the labels."""
    return _MISSING if number is None else number.text_with_draws


def best_of(numbers: Sequence[Number | None], better: str | None) -> list[int]:
    """Return the places of the best numbers: as they are shown, so that equals are equal.

    Args:
        numbers: of a column; None where there is none.
        better: "higher" or "lower"; None where that is not known, and there is no best.
    """
    shown = {place: float(f"{number.mean:.1f}") for place, number in enumerate(numbers) if number is not None}
    if len(shown) < 2 or better is None:
        return []
    best = max(shown.values()) if better == "higher" else min(shown.values())
    return [place for place, value in shown.items() if value == best]


def _titles(ranking: Ranking) -> dict[str, str]:
    """Return the title of the table that each column of top-1 scores stands in: few labels stand apart."""
    cells = {column: cell for row in ranking.rows for column, cell in row.cells.items()}
    abouts = {column: cells[column]["official"].about for column in ranking.columns}
    return {column: about.title if about.plot == "labels" else "" for column, about in abouts.items()}


def _score_table(ranking: Ranking, few_labels: str, columns: Sequence[str]) -> TextTable:
    clean = ranking.clean_clips < ranking.test_clips
    kinds: tuple[Clips, ...] = ("official", "clean") if clean else ("official",)
    shown: list[tuple[str, Clips]] = [(column, kind) for column in columns for kind in kinds]
    # Who has none of these scores stands in the first table alone, which also says what pre-training cost.
    rows = [
        row
        for row in [*ranking.rows, *ranking.baselines]
        if any(column in row.cells for column in columns) or (row.source == "trained" and not few_labels)
    ]
    numbers = [[row.cells.get(column, {}).get(kind) for column, kind in shown] for row in rows]
    of = f"{few_labels}: top-1" if few_labels else "Top-1"
    title = f"{of} in percent{_where(ranking)}; ± over seeds"
    if any(number.shows_draws for line in numbers for number in line if number is not None):
        title += ", of one seed over draws of the labels"
    head = [f"{column}{f', {kind}' if clean else ''}" for column, kind in shown]
    return _text_table(title, head, rows, numbers)


def _number_table(ranking: Ranking, table: NumberTable) -> TextTable:
    quantities = list(table.columns.values())
    units = [quantity.unit_words for quantity in quantities]
    alike = len(set(units)) == 1
    head = [
        f"{quantity.short}{f' ({unit})' if unit and not alike else ''}"
        for quantity, unit in zip(quantities, units, strict=True)
    ]
    rows = [*table.rows, *table.baselines]
    unit = f" in {units[0]}," if alike and quantities[0].unit else ""
    numbers = [[row.numbers.get(name) for name in table.columns] for row in rows]
    return _text_table(f"{table.title}{unit}{_where(ranking)}; ± over seeds", head, rows, numbers)


def _text_table(
    title: str, head: Sequence[str], rows: Sequence[Row | NumberRow], numbers: Sequence[Sequence[Number | None]]
) -> TextTable:
    lines = [
        [row.name, _seeds_text(row.seeds), *map(number_text, line)] for row, line in zip(rows, numbers, strict=True)
    ]
    best: set[tuple[int, int]] = set()
    for place, column in enumerate(zip(*numbers, strict=True), start=2):
        better = next((number.quantity.better for number in column if number is not None), None)
        best |= {(line, place) for line in best_of(column, better)}
    return TextTable(title, ["experiment", "seeds", *head], lines, best)


def _where(ranking: Ranking) -> str:
    clean = f", {ranking.clean_clips:,} of them clean" if ranking.clean_clips < ranking.test_clips else ""
    return f" on {ranking.protocol}, {ranking.test_clips:,} test clips{clean}, data {ranking.store[:8]}"


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
