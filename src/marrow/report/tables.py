"""Numbers as tables of text, and those as Markdown, HTML and for the console: the same ones everywhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from html import escape

from rich import box
from rich.markup import escape as console_escape
from rich.table import Table

from marrow.report.style import table
from marrow.tasks.numbers import Number

MISSING = "–"
# Letters between two columns of the console.
_GAP = 2


@dataclass(frozen=True)
class TextTable:
    """A table as text.

    Args:
        title: a sentence without its full stop.
        head: headings; the first two columns name a row and its seeds.
        lines: cells.
        best: places (line, column) of the best numbers.
    """

    title: str
    head: list[str]
    lines: list[list[str]]
    best: set[tuple[int, int]] = field(default_factory=set)

    def with_numbers(self, headings: Sequence[str], numbers: Sequence[Sequence[Number | None]]) -> "TextTable":
        """Return the table with further columns, in each of which the best numbers are marked.

        Args:
            headings: of the columns.
            numbers: of each line; None where there is none.
        """
        best = set(self.best)
        for place, column in enumerate(zip(*numbers, strict=True), start=len(self.head)):
            best |= {(line, place) for line in best_of(column)}
        lines = [[*line, *map(number_text, of_line)] for line, of_line in zip(self.lines, numbers, strict=True)]
        return replace(self, head=[*self.head, *headings], lines=lines, best=best)

    def markdown(self, *, may_turn: bool = False) -> str:
        """Return the table as Markdown, the best numbers in bold.

        Args:
            may_turn: put rows side by side where the table would be wider than it is long.
        """
        cells, words = [self.head, *self._marked("**{}**".format)], 2
        if may_turn and len(self.head) > len(cells) + words:
            cells, words = [list(column) for column in zip(*cells, strict=True)], 1
        rule = [*["---"] * words, *["---:"] * (len(cells[0]) - words)]
        escaped = [[cell.replace("|", "\\|") for cell in line] for line in cells]
        return "\n".join(f"| {' | '.join(line)} |" for line in (escaped[0], rule, *escaped[1:]))

    def html(self) -> str:
        """Return the table as HTML, the best numbers in bold."""
        lines = replace(self, lines=[[escape(cell) for cell in line] for line in self.lines])._marked(
            "<b>{}</b>".format
        )
        return table(self.head, lines, numbers_from=2)

    def console(self, width: int) -> list[Table]:
        """Return the table in parts that fit a console, each with the columns that name its rows."""
        headings = [heading.replace(", ", "\n").replace(" (", "\n(") for heading in self.head]
        widths = [
            _GAP + max(len(text) for cell in (heading, *cells) for text in cell.split("\n"))
            for heading, *cells in zip(headings, *self.lines, strict=True)
        ]
        names, parts, start = sum(widths[:2]), [], 2
        for column in range(3, len(widths) + 1):
            if column == len(widths) or names + sum(widths[start : column + 1]) > width:
                parts.append(self._console_part(headings, [0, 1, *range(start, column)]))
                start = column
        return parts

    def _console_part(self, headings: Sequence[str], columns: Sequence[int]) -> Table:
        part = console_table(self.title)
        part.add_column(headings[0], overflow="fold", min_width=18)
        part.add_column(headings[1], no_wrap=True)
        for column in columns[2:]:
            part.add_column(console_escape(headings[column]), justify="right", no_wrap=True)
        escaped = replace(self, lines=[[console_escape(cell) for cell in line] for line in self.lines])
        for line in escaped._marked("[bold]{}[/bold]".format):
            part.add_row(*(line[column] for column in columns))
        return part

    def _marked(self, mark: Callable[[str], str]) -> list[list[str]]:
        """Return the lines with the best numbers marked."""
        return [
            [mark(cell) if (number, column) in self.best else cell for column, cell in enumerate(line)]
            for number, line in enumerate(self.lines)
        ]


def number_text(number: Number | None) -> str:
    """Return a number with its deviation over seeds; of one seed, with that over draws of the labels."""
    return MISSING if number is None else number.text_with_draws


def best_of(numbers: Sequence[Number | None]) -> list[int]:
    """Return the places of the best numbers of a column: as they are shown, so that equals are equal.

    Args:
        numbers: None where there is none. None is best where there is but one, where it is not known which are better,
            and where they were chosen on the test clips.
    """
    shown = {place: float(f"{number.mean:.1f}") for place, number in enumerate(numbers) if number is not None}
    quantity = next((number.quantity for number in numbers if number is not None), None)
    if len(shown) < 2 or quantity is None or quantity.better is None or quantity.chosen_on_test:
        return []
    best = max(shown.values()) if quantity.better == "higher" else min(shown.values())
    return [place for place, value in shown.items() if value == best]


def console_table(title: str) -> Table:
    """Return an empty table for the console, in the look that all share."""
    return Table(title=console_escape(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
