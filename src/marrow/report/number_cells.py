"""How numbers stand on a page: their cells, whose they are, and the look of each source."""

from collections.abc import Sequence
from html import escape

from marrow.report.style import GREEN, ORANGE, SOURCES, table
from marrow.tasks.base import Report
from marrow.tasks.numbers import Number

# Of baselines that follow a rule, in their order: colour, symbol, dash.
_RULES = ((SOURCES["raw"][1], "diamond", "dash"), (ORANGE, "triangle-up", "dot"), (GREEN, "cross", "dashdot"))


def cell(number: Number | None) -> str:
    """Return what stands in a table for a number: mean, deviation over seeds, and the interval below."""
    if number is None:
        return "–"
    interval = "" if number.low is None else f"<small>[{number.low:.1f}, {number.high:.1f}]</small>"
    return f"{number.text}{interval}"


def fresh_name(reports: Sequence[Report]) -> str:
    """Return what the encoder without pre-training is called: one that a task trains is trained from scratch."""
    return "from scratch" if any(report.from_scratch for report in reports) else "random initialisation"


def source_name(number: Number, fresh: str) -> str:
    """Name the source of a number; a baseline that follows a rule has the name of that."""
    return number.about.rule or {"trained": "trained", "random": fresh, "raw": "no encoder"}[number.source]


def column_of(number: Number, fresh: str) -> str:
    """Name a source and its variant, without what it was tested on, which has a heading of its own."""
    return ", ".join(filter(None, (source_name(number, fresh), number.about.variant)))


def look_of(number: Number, numbers: Sequence[Number]) -> tuple[str, str, str]:
    """Return colour, symbol and dash of the source of a number among others."""
    rules = list(dict.fromkeys(other.about.rule for other in numbers if other.about.rule))
    if number.about.rule:
        return _RULES[rules.index(number.about.rule) % len(_RULES)]
    return (*SOURCES[number.source][1:], "solid")


def numbers_table(numbers: Sequence[Number], fresh: str) -> str:
    """Put numbers side by side: a row each, a column for each source and variant."""
    columns = list(dict.fromkeys(column_of(number, fresh) for number in numbers))
    by_place = {(column_of(number, fresh), number.name): number for number in numbers}
    rows = []
    for name, quantity in {number.name: number.quantity for number in numbers}.items():
        unit = f", {quantity.unit}" if quantity.unit else ""
        rows.append([escape(quantity.words + unit), *(cell(by_place.get((column, name))) for column in columns)])
    return table(["", *columns], rows)
