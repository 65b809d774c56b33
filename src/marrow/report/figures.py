"""The page's charts, made with plotly: values with intervals in rows, curves, scores against their cost."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import plotly.graph_objects as go

from marrow.report.style import BLUE, DASHES, INK, LINE, MUTED, PAPER, SERIES, SYMBOLS

Number = int | float
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
_POINTS_PER_CURVE = 400


@dataclass
class Figures:
    """The figures of a page: each leaves a place in the HTML and is drawn there by the page's script.

    Args:
        specs: data and layout by the id of the place.
        data: what else the page's scripts are given, by name.
    """

    specs: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    def place(self, figure: go.Figure, said: str, *, name: str = "") -> str:
        """Keep a figure and return the HTML of its place.

        Args:
            figure: what is to be drawn.
            said: what a screen reader says of it.
            name: its id, where a script has to find it.
        """
        name = name or f"plot-{len(self.specs) + 1}"
        self.specs[name] = json.loads(figure.to_json() or "")
        self.specs[name]["layout"].pop("template", None)
        height = int(figure.layout.height)  # pyright: ignore[reportAttributeAccessIssue]
        return (
            f"<div class='plot' id='{name}' role='img' aria-label='{escape(said, quote=True)}' "
            f"style='min-height:{height}px'><span class='waiting'>Drawn when scripts may run.</span></div>"
        )


@dataclass(frozen=True)
class Mark:
    """A value with its interval.

    Args:
        row: name of its row; lines are separated by <br>.
        value: the value.
        low: lower end of the interval.
        high: upper end.
        said: what is shown when pointed at.
    """

    row: str
    value: float
    low: float
    high: float
    said: str


@dataclass(frozen=True)
class Line:
    """A curve.

    Args:
        label: what it is.
        x: places.
        y: values; those that are not finite leave a gap.
        colour: of line and marks.
        dash: of the line; a reference is dotted.
        markers: whether single values are marked.
        symbol: of the marks.
        said: what is shown when a mark is pointed at.
        spread: half the length of each mark's error bar; empty for none.
        points: single values that the marks are means of, as pairs (x, y).
    """

    label: str
    x: Sequence[Number]
    y: Sequence[Number]
    colour: str
    dash: str = "solid"
    markers: bool = False
    symbol: str = "circle"
    said: Sequence[str] = ()
    spread: Sequence[Number] = ()
    points: Sequence[tuple[float, float]] = ()


def interval_figure(
    groups: Mapping[str, tuple[str, str, Sequence[Mark]]], *, unit: str = "%", zero: bool = False
) -> go.Figure:
    """Draw values with their intervals, one row per task.

    Args:
        groups: per group of marks its colour, symbol and marks. Groups are set a little apart within a row.
        unit: of the values.
        zero: whether zero is what matters, and is drawn as a line.
    """
    rows = list(dict.fromkeys(mark.row for _, _, marks in groups.values() for mark in marks))
    figure = go.Figure()
    for place, (name, (colour, symbol, marks)) in enumerate(groups.items()):
        shift = 0.22 * ((len(groups) - 1) / 2 - place)
        figure.add_scatter(
            name=name,
            x=[mark.value for mark in marks],
            y=[len(rows) - 1 - rows.index(mark.row) + shift for mark in marks],
            error_x=_interval(marks, colour, thickness=2, width=4),
            mode="markers",
            marker=marker(colour, symbol, 11),
            hovertext=[mark.said for mark in marks],
            hoverinfo="text",
        )
    _lay_out_rows(figure, rows, height=64 + 62 * len(rows))
    figure.update_xaxes(ticksuffix=f" {unit}", nticks=6, zeroline=zero, zerolinecolor=INK, zerolinewidth=1.5)
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
    for name, (colour, of_group) in reversed(list(groups.items())):
        # Plotly draws a short line for an interval of no length: values without one are bars of their own.
        for has_interval in (True, False):
            marks = [mark for mark in of_group if (mark.high > mark.low) == has_interval]
            if marks:
                figure.add_bar(
                    name=name,
                    offsetgroup=name,
                    x=[mark.value for mark in marks],
                    y=[len(rows) - 1 - rows.index(mark.row) for mark in marks],
                    error_x=_interval(marks, INK, thickness=1.5, width=3) if has_interval else None,
                    orientation="h",
                    marker={"color": colour},
                    hovertext=[mark.said for mark in marks],
                    hoverinfo="text",
                )
    _lay_out_rows(figure, rows, height=60 + (22 + 16 * len(groups)) * len(rows))
    figure.update_layout(barmode="group", bargap=0.35)
    figure.update_xaxes(title_text=unit, nticks=6, rangemode="tozero", automargin=True)
    return figure


def amounts_figure(
    curves: Sequence[Line], ticks: Mapping[float, str], x_name: str, y_name: str, *, log_scale: bool = False
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
            marker=marker(curve.colour, curve.symbol, 10),
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


def curves_figure(lines: Sequence[Line], y_name: str, *, log_scale: bool = False) -> go.Figure:
    """Draw curves over optimizer steps."""
    figure = go.Figure()
    for line in lines:
        every = max(1, math.ceil(len(line.x) / _POINTS_PER_CURVE))
        kept = sorted({*range(0, len(line.x), every), len(line.x) - 1})
        figure.add_scatter(
            name=line.label,
            x=[line.x[place] for place in kept],
            y=[line.y[place] if math.isfinite(line.y[place]) else None for place in kept],
            mode="lines+markers" if line.markers or len(kept) == 1 else "lines",
            line={"color": line.colour, "dash": line.dash, "width": 2},
            marker={"size": 7, "symbol": "circle" if line.dash != "dot" else "line-ew-open"},
            hovertemplate=f"{escape(line.label)}<br>step %{{x}}: %{{y:.4~g}}<extra></extra>",
        )
    lay_out(figure, height=250, left=10)
    figure.update_xaxes(title_text="optimizer steps", nticks=6, automargin=True)
    figure.update_yaxes(automargin=True, nticks=6, type="log" if log_scale else "linear", exponentformat="power")
    figure.update_xaxes(range=[0, 1.02 * max(max(line.x) for line in lines)])
    return figure


def costs_html(
    title: str, points: Mapping[str, Sequence[tuple[float, Mark]]], figures: Figures, *, joined: bool = False
) -> str:
    """Draw scores against what they cost, below their title; "" where there is no point.

    Args:
        title: of the scores, which are in percent.
        points: per experiment, pairs of processor seconds and the score.
        figures: of the page.
        joined: whether the points of an experiment are joined by a line.
    """
    points = {name: of_name for name, of_name in points.items() if of_name}
    if not points:
        return ""
    said = "; ".join(
        f"{mark.row}: {mark.value:.1f} % after {cost:.0f} s" for of_name in points.values() for cost, mark in of_name
    )
    chart = figures.place(_cost_figure(points, joined=joined), f"{title} against processor seconds. {said}")
    return f"<div><h4>{escape(title)}</h4>{chart}</div>"


def _cost_figure(points: Mapping[str, Sequence[tuple[float, Mark]]], *, joined: bool) -> go.Figure:
    figure = go.Figure()
    for place, (name, runs) in enumerate(points.items()):
        colour, symbol = SERIES[place % len(SERIES)], SYMBOLS[place % len(SYMBOLS)]
        figure.add_scatter(
            name=escape(short(name, 52)),
            x=[cost for cost, _ in runs],
            y=[mark.value for _, mark in runs],
            error_y=_interval([mark for _, mark in runs], colour, thickness=1.5, width=4),
            mode="lines+markers" if joined and len(runs) > 1 else "markers",
            marker=marker(colour, symbol, 12),
            hovertext=[mark.said for _, mark in runs],
            hoverinfo="text",
        )
    lay_out(figure, height=380, left=10)
    figure.update_xaxes(title_text="processor seconds of pre-training", rangemode="tozero", automargin=True, nticks=6)
    figure.update_yaxes(title_text="top-1 accuracy, %", automargin=True)
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.28, "x": 0, "xanchor": "left"})
    return figure


def run_line(index: int) -> tuple[str, str]:
    """Return colour and dash of the line of a run."""
    return SERIES[index % len(SERIES)], DASHES[(index // len(SERIES)) % len(DASHES)]


def symbol_svg(colour: str, symbol: str) -> str:
    """Return a small picture of a mark, for a legend in HTML."""
    shapes = {
        "circle": "<circle cx='6' cy='6' r='5'/>",
        "ring": "<circle cx='6' cy='6' r='4.5' fill='#fff' stroke='#98a0ac' stroke-width='2'/>",
        "square": "<rect x='1.5' y='1.5' width='9' height='9'/>",
        "diamond": "<path d='M6 0L12 6L6 12L0 6Z'/>",
        "triangle-up": "<path d='M6 1L12 11L0 11Z'/>",
        "triangle-down": "<path d='M6 11L12 1L0 1Z'/>",
        "x": "<path d='M2 0L6 4L10 0L12 2L8 6L12 10L10 12L6 8L2 12L0 10L4 6L0 2Z'/>",
        "star": "<path d='M6 0L7.5 4.2L12 4.4L8.4 7.1L9.7 11.5L6 9L2.3 11.5L3.6 7.1L0 4.4L4.5 4.2Z'/>",
        "hexagon2": "<path d='M0 6L3 0.8H9L12 6L9 11.2H3Z'/>",
        "pentagon": "<path d='M6 0L12 4.5L9.7 11.5H2.3L0 4.5Z'/>",
        "cross": "<path d='M4 1H8V4H11V8H8V11H4V8H1V4H4Z'/>",
        "line": "<rect x='0' y='4.5' width='12' height='3'/>",
        "dotted": "<rect x='0' y='4.5' width='3' height='3'/><rect x='4.5' y='4.5' width='3' height='3'/>"
        "<rect x='9' y='4.5' width='3' height='3'/>",
    }
    return f"<svg viewBox='0 0 12 12' aria-hidden='true' fill='{colour}'>{shapes[symbol]}</svg>"


def legend(entries: Sequence[tuple[str, str, str]]) -> str:
    """Return a legend in HTML: name, colour and shape of each entry."""
    items = "".join(f"<span>{symbol_svg(colour, symbol)}{escape(name)}</span>" for name, colour, symbol in entries)
    return f"<div class='legend'>{items}</div>"


def short(name: str, letters: int) -> str:
    """Cut a name to some letters."""
    return name if len(name) <= letters else name[: letters - 1] + "…"


def lay_out(figure: go.Figure, *, height: int, left: int) -> None:
    """Give a figure the look that all share. Nothing is dragged: on a phone, a finger scrolls the page."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": left, "r": 14, "t": 8, "b": 44, "pad": 2},
        font={"family": _FONT, "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        dragmode=False,
        bargap=0.25,
        hoverlabel={"bgcolor": PAPER, "bordercolor": BLUE, "font": {"family": _FONT, "size": 13, "color": INK}},
    )
    grid: dict[str, Any] = {
        "gridcolor": LINE,
        "zeroline": False,
        "fixedrange": True,
        "linecolor": LINE,
        "tickcolor": LINE,
    }
    titles: dict[str, Any] = {"title_font": {"size": 12, "color": MUTED}, "tickfont": {"size": 12, "color": MUTED}}
    titles["title_standoff"] = 10  # from the names of the places, which it would otherwise lie on
    figure.update_xaxes(**grid, **titles, automargin=True)
    figure.update_yaxes(**grid, **titles)


def marker(colour: str, symbol: str, size: int) -> dict[str, Any]:
    """Return a mark with a pale rim, as plotly takes it."""
    return {"color": colour, "symbol": symbol, "size": size, "line": {"width": 1, "color": PAPER}}


def _interval(marks: Sequence[Mark], colour: str, *, thickness: Number, width: int) -> dict[str, Any]:
    """Return the lines that show the intervals of values."""
    lengths = {"array": [m.high - m.value for m in marks], "arrayminus": [m.value - m.low for m in marks]}
    return {"type": "data", "symmetric": False, **lengths, "thickness": thickness, "width": width, "color": colour}


def _lay_out_rows(figure: go.Figure, rows: Sequence[str], *, height: int) -> None:
    """Name the rows of a figure, the first on top."""
    lay_out(figure, height=height, left=10)
    names = {"tickvals": list(range(len(rows))), "ticktext": [*rows][::-1], "range": [-0.6, len(rows) - 0.4]}
    figure.update_yaxes(**names, showgrid=False, automargin=True)
