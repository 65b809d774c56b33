"""Colours of charts and page, told apart also by those who do not see red or green, and how text is put into HTML."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

INK, MUTED, LINE, PAPER = "#1c2333", "#5b6475", "#e4e7ec", "#ffffff"

# After Okabe and Ito, darker where the original is pale on white. Every use has a second sign: a shape, a word.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, YELLOW, BLACK = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#c9b800", "#1c2333"),
)
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon2", "triangle-down", "pentagon")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")

# Of what is scored: name, colour, symbol.
SOURCES = {
    "trained": ("trained encoder", BLUE, "circle"),
    "random": ("same encoder, random initialisation", "#7b8494", "square"),
    "raw": ("raw aligned coordinates, no encoder", VERMILION, "diamond"),
}


def packaged(name: str) -> str:
    """Return a file that stands beside this module."""
    return files("marrow.report").joinpath(name).read_text(encoding="utf-8")


def card(title: str, content: str, *, lead: str = "", wide: bool = False, screen: bool = False) -> str:
    """Return a part of the page with its title.

    Args:
        title: plain text.
        content: HTML.
        lead: a sentence under the title, plain text.
        wide: allowed to break over two printed pages.
        screen: left out in print.
    """
    said = f"<p class='lead'>{escape(lead)}</p>" if lead else ""
    kind = f"card{' long' if wide else ''}{' screen' if screen else ''}"
    return f"<section class='{kind}'><h3>{escape(title)}</h3>{said}{content}</section>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers_from: int = 1) -> str:
    """Return a table that scrolls sideways where it does not fit.

    Args:
        head: plain text.
        rows: cells as HTML.
        numbers_from: columns from this one on are set to the right.
    """

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = [" class='number'" if place >= numbers_from else "" for place in range(len(cells))]
        return "".join(f"<{tag}{kind}>{cell}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    titles = line([escape(title) for title in head], "th")
    return f"<div class='scroll'><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"


def cross_table(corner: str, cells: Mapping[tuple[str, str], str], columns: Sequence[str] = ()) -> str:
    """Return a table of cells that are known by row and column; those that are not there are dashes.

    Args:
        corner: above the names of the rows, plain text.
        cells: HTML, by the name of the row in HTML and that of the column in plain text.
        columns: those that are shown; none: all.
    """
    columns = columns or list(dict.fromkeys(column for _, column in cells))
    rows = dict.fromkeys(row for row, _ in cells)
    return table([corner, *columns], [[row, *(cells.get((row, column), "–") for column in columns)] for row in rows])


def paragraphs(sentences: Iterable[str], kind: str = "") -> str:
    """Return plain sentences as paragraphs."""
    return "".join(f"<p{f' class={kind!r}' if kind else ''}>{escape(sentence)}</p>" for sentence in sentences)
