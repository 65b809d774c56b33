"""The card of a task whose numbers lie on an axis, as the errors of forecasts do over the time ahead."""

from collections.abc import Sequence
from html import escape

from marrow.report.figures import Figures, legend
from marrow.report.measure_figures import Curve, amounts_figure
from marrow.report.number_cells import cell, column_of, look_of, numbers_table
from marrow.report.style import card, table
from marrow.tasks.numbers import Number

# Of one source, by the place on the axis.
_Line = dict[float, Number]


def curves_html(numbers: Sequence[Number], fresh: str, figures: Figures) -> str:
    """Draw numbers over their axis: a chart for each title that they name, side by side.

    Args:
        numbers: of the task.
        fresh: what the encoder without pre-training is called.
        figures: of the page.
    """
    about = numbers[0].about
    sets = list(dict.fromkeys(number.about.test_set for number in numbers))
    titles = list(dict.fromkeys(number.quantity.chart for number in numbers if number.quantity.at is not None))
    parts, shown = [], {}
    for test_set in sets:
        of_set = [number for number in numbers if number.about.test_set == test_set]
        heading = f"<h4>Test windows: {escape(test_set or 'main set')}</h4>" if len(sets) > 1 else ""
        charts = ""
        for title in titles:
            curves, ticks, unit = [], {}, ""
            for label, line in _lines(of_set, title, fresh).items():
                first = next(iter(line.values()))
                colour, symbol, dash = look_of(first, numbers)
                shown[label], unit = (colour, symbol), first.quantity.unit
                ticks |= {at: f"{at:g}" for at in line}
                said = [f"{label}, {at:g} {about.axis}: {number.text_in_line}" for at, number in line.items()]
                spread, means = [n.std for n in line.values()], [n.mean for n in line.values()]
                curves.append(Curve(label, list(line), means, colour, symbol, said, dash, spread))
            if curves:
                figure = amounts_figure(curves[::-1], dict(sorted(ticks.items())), about.axis, unit)
                told = "; ".join(line for curve in curves for line in curve.said)
                chart = figures.place(figure, f"{title}, by {about.axis}. {told}")
                charts += f"<div><h5>{escape(title)}</h5>{chart}</div>"
        parts.append(f"{heading}<div class='pair'>{charts}</div>{_curve_table(of_set, titles, fresh)}")
    rest = [number for number in numbers if number.quantity.at is None]
    signs = legend([(label, colour, symbol) for label, (colour, symbol) in shown.items()])
    content = signs + "".join(parts) + (numbers_table(rest, fresh) if rest else "")
    return card(about.title, content, lead=about.lead, wide=True)


def _lines(numbers: Sequence[Number], title: str, fresh: str) -> dict[str, _Line]:
    """Return the numbers of a chart by source, and by their place on the axis."""
    lines: dict[str, _Line] = {}
    for number in numbers:
        if number.quantity.at is not None and number.quantity.chart == title:
            lines.setdefault(column_of(number, fresh), {})[number.quantity.at] = number
    return lines


def _curve_table(numbers: Sequence[Number], titles: Sequence[str], fresh: str) -> str:
    """Put the numbers of the first chart into a table, and those of the others below them in small print."""
    first, *others = (_lines(numbers, title, fresh) for title in titles)
    small = "".join(f"<small>{escape(title)}</small>" for title in titles[1:])
    columns = list(dict.fromkeys(column for lines in (first, *others) for column in lines))
    places = sorted({at for lines in (first, *others) for line in lines.values() for at in line})
    rows = []
    for at in places:
        cells = [
            cell(first.get(column, {}).get(at))
            + "".join(f"<small>{n.text}</small>" for lines in others if (n := lines.get(column, {}).get(at)))
            for column in columns
        ]
        rows.append([f"{at:g} {escape(numbers[0].about.axis)}{small}", *cells])
    return table([numbers[0].quantity.unit, *columns], rows) if rows else ""
