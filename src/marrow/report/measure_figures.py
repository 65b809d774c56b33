"""Charts of numbers that are no top-1 score: over amounts of labels, over time ahead, side by side as bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go

from marrow.report.figures import Mark, Number, lay_out
from marrow.report.style import INK, PAPER


@dataclass(frozen=True)
class Curve:
    """Values of one source over amounts or times.

    Args:
        label: what it is.
        x: places.
        y: values.
        colour: of line and marks.
        symbol: of the marks.
        said: what is shown when a mark is pointed at.
        dash: of the line.
        spread: half the length of each mark's error bar; empty for none.
        points: single values that the marks are means of, as pairs (x, y).
    """

    label: str
    x: Sequence[Number]
    y: Sequence[Number]
    colour: str
    symbol: str
    said: Sequence[str]
    dash: str = "solid"
    spread: Sequence[Number] = ()
    points: Sequence[tuple[float, float]] = field(default_factory=tuple)


def amounts_figure(
    curves: Sequence[Curve], ticks: Mapping[float, str], x_name: str, y_name: str, *, log_scale: bool = False
) -> go.Figure:
    """Draw curves with a mark at every value, and pale points for what the marks are means of.

    Args:
        curves: from the back to the front.
        ticks: names of places on the horizontal axis; lines are separated by <br>.
        x_name: title of the horizontal axis.
        y_name: title of the vertical axis, with its unit.
        log_scale: whether equal steps to the right are equal factors.
    """
    figure = go.Figure()
    for curve in curves:
        if curve.points:
            figure.add_scatter(
                name=f"{curve.label}, single values",
                x=[x for x, _ in curve.points],
                y=[y for _, y in curve.points],
                mode="markers",
                marker={"color": curve.colour, "symbol": curve.symbol, "size": 6, "opacity": 0.35},
                hoverinfo="skip",
            )
    for curve in curves:
        figure.add_scatter(
            name=curve.label,
            x=list(curve.x),
            y=list(curve.y),
            error_y={"type": "data", "array": list(curve.spread), "thickness": 1.5, "width": 4, "color": curve.colour}
            if any(curve.spread)
            else None,
            mode="lines+markers",
            line={"color": curve.colour, "dash": curve.dash, "width": 2},
            marker={
                "color": curve.colour,
                "symbol": curve.symbol,
                "size": 10,
                "line": {"width": 1, "color": PAPER},
            },
            hovertext=list(curve.said),
            hoverinfo="text",
        )
    lines = max((text.count("<br>") for text in ticks.values()), default=0)
    lay_out(figure, height=320 + 16 * lines, left=10)
    figure.update_xaxes(
        title_text=x_name,
        type="log" if log_scale else "linear",
        tickvals=list(ticks),
        ticktext=list(ticks.values()),
        tickangle=0 if lines else None,
        automargin=True,
    )
    figure.update_yaxes(title_text=y_name, automargin=True, nticks=6)
    if not log_scale:
        figure.update_yaxes(rangemode="tozero")
    return figure


def bars_figure(groups: Mapping[str, tuple[str, Sequence[Mark]]], unit: str) -> go.Figure:
    """Draw values as bars from zero, one row per number, with their intervals as lines.

    Args:
        groups: per group of bars its colour and values; the first stands on top of each row.
        unit: of the values.
    """
    rows = list(dict.fromkeys(mark.row for _, marks in groups.values() for mark in marks))
    figure = go.Figure()
    # Plotly stacks the bars of a row from below.
    for name, (colour, every) in reversed(list(groups.items())):
        # Plotly draws a short line for an interval of no length: values without one are bars of their own.
        for has_interval in (True, False):
            marks = [mark for mark in every if (mark.high > mark.low) == has_interval]
            if not marks:
                continue
            figure.add_bar(
                name=name,
                offsetgroup=name,
                x=[mark.value for mark in marks],
                y=[len(rows) - 1 - rows.index(mark.row) for mark in marks],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [mark.high - mark.value for mark in marks],
                    "arrayminus": [mark.value - mark.low for mark in marks],
                    "thickness": 1.5,
                    "width": 3,
                    "color": INK,
                }
                if has_interval
                else None,
                orientation="h",
                marker={"color": colour},
                hovertext=[mark.said for mark in marks],
                hoverinfo="text",
            )
    lay_out(figure, height=60 + (22 + 16 * len(groups)) * len(rows), left=10)
    figure.update_layout(barmode="group", bargap=0.35)
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=rows[::-1],
        range=[-0.6, len(rows) - 0.4],
        showgrid=False,
        automargin=True,
    )
    figure.update_xaxes(title_text=unit, nticks=6, rangemode="tozero", automargin=True)
    return figure
