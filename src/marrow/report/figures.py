"""The page's charts, made with plotly: intervals, differences, bars, curves, the confusion matrix, maps of points."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Int64

from marrow.report.style import BLUE, DASHES, INK, LINE, MUTED, PAPER, SERIES, SYMBOLS

Number = int | float
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
_POINTS_PER_CURVE = 400


@dataclass
class Figures:
    """The figures of a page: each leaves a place in the HTML and is drawn there by the page's script.

    Args:
        specs: data and layout by the id of the place.
    """

    specs: dict[str, Any] = field(default_factory=dict)

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
        colour: of the line.
        dash: of the line; a reference is dotted.
        markers: whether single values are marked.
    """

    label: str
    x: Sequence[Number]
    y: Sequence[Number]
    colour: str
    dash: str = "solid"
    markers: bool = False


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
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [mark.high - mark.value for mark in marks],
                "arrayminus": [mark.value - mark.low for mark in marks],
                "thickness": 2,
                "width": 4,
                "color": colour,
            },
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 11, "line": {"width": 1, "color": PAPER}},
            hovertext=[mark.said for mark in marks],
            hoverinfo="text",
        )
    axis = {"tickvals": list(range(len(rows))), "ticktext": rows[::-1], "range": [-0.6, len(rows) - 0.4]}
    lay_out(figure, height=64 + 62 * len(rows), left=10)
    figure.update_yaxes(**axis, showgrid=False, automargin=True)
    figure.update_xaxes(ticksuffix=f" {unit}", nticks=6, zeroline=zero, zerolinecolor=INK, zerolinewidth=1.5)
    return figure


def confusion_figure(matrix: Int64[np.ndarray, "true predicted"], classes: Sequence[str]) -> go.Figure:
    """Draw a confusion matrix: rows are true classes, shades are percent of the row, numbers where they fit."""
    count = len(classes)
    total = matrix.sum(1, keepdims=True)
    percent = np.round(100 * matrix / np.maximum(total, 1), 1)
    said = (
        [
            [
                f"{classes[true]}<br>taken for {classes[taken]}<br>{matrix[true, taken]} of {int(total[true, 0])}"
                for taken in range(count)
            ]
            for true in range(count)
        ]
        if count <= 60
        else None
    )
    names = [short(name, 22 if count <= 30 else 16) for name in classes]
    heat: dict[str, Any] = {
        "showscale": count > 16,
        "z": percent.tolist(),
        "colorscale": [[0, "#f6f8fb"], [0.15, "#cfe1f0"], [0.5, "#5b9fcb"], [1, "#00375c"]],
        "zmin": 0,
        "zmax": 100,
        "xgap": 1 if count <= 60 else 0,
        "ygap": 1 if count <= 60 else 0,
        "colorbar": {"title": {"text": "%"}, "thickness": 10, "len": 0.6, "outlinewidth": 0, "x": 1.01},
    }
    if said:
        heat |= {"hovertext": said, "hoverinfo": "text"}
    else:
        heat |= {"hovertemplate": "true class %{y}<br>taken for %{x}<br>%{z} %<extra></extra>"}
    if count <= 16:
        texts = [[f"{value:.0f}" if value >= 0.5 else "" for value in row] for row in percent]
        heat |= {"text": texts, "texttemplate": "%{text}", "textfont": {"size": 11}}
    places = list(range(count))
    figure = go.Figure(go.Heatmap(x=places, y=places, **heat))
    # Many classes need their width on any screen, and are scrolled; few of them shrink with it.
    figure.update_layout(meta={"square": count <= 40, "min_width": 0 if count <= 40 else 8 * count + 170})
    size = 12 if count <= 20 else 9 if count <= 40 else 7
    cell = max(8, min(34, 760 // count))
    lay_out(figure, height=max(380, cell * count + 150), left=10)
    labels = {"tickvals": places, "ticktext": names, "tickfont": {"size": size}, "showgrid": False, "automargin": True}
    figure.update_xaxes(**labels, tickangle=-50 if count <= 40 else -90, title_text="predicted")
    figure.update_yaxes(**labels, autorange="reversed", title_text="true class")
    return figure


def gains_figure(classes: Sequence[str], gains: Mapping[str, tuple[str, str, Sequence[float]]]) -> go.Figure:
    """Draw per-class gains: bars for the first baseline, sorted by it, and marks for the others.

    Args:
        classes: class names.
        gains: per baseline its colour, symbol and the gain of each class, in percentage points.
    """
    first = next(iter(gains.values()))[2]
    order = sorted(range(len(classes)), key=lambda index: first[index])
    names = [short(classes[index], 26) for index in order]
    figure = go.Figure()
    for place, (name, (colour, symbol, values)) in enumerate(gains.items()):
        shown = [values[index] for index in order]
        said = [f"{classes[index]}<br>{name}: {values[index]:+.1f} points" for index in order]
        common = {"name": name, "x": shown, "y": list(range(len(order))), "hovertext": said, "hoverinfo": "text"}
        if place == 0:
            figure.add_bar(**common, orientation="h", marker={"color": colour}, opacity=0.85)
        else:
            marker = {"color": colour, "symbol": symbol, "size": 9, "line": {"width": 1, "color": PAPER}}
            figure.add_scatter(**common, mode="markers", marker=marker)
    lay_out(figure, height=70 + (20 if len(order) <= 40 else 15) * len(order), left=10)
    size = 12 if len(order) <= 40 else 10
    figure.update_yaxes(
        tickvals=list(range(len(order))), ticktext=names, tickfont={"size": size}, showgrid=False, automargin=True
    )
    figure.update_yaxes(range=[-0.7, len(order) - 0.3])
    figure.update_xaxes(title_text="percentage points", zeroline=True, zerolinecolor=INK, nticks=7)
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
        f"{name}: {', '.join(f'{mark.value:.1f} % after {cost:.0f} s' for cost, mark in of_name)}"
        for name, of_name in points.items()
    )
    chart = figures.place(_cost_figure(points, joined=joined), f"{title} against processor seconds. {said}")
    return f"<div><h4>{escape(title)}</h4>{chart}</div>"


def _cost_figure(points: Mapping[str, Sequence[tuple[float, Mark]]], *, joined: bool) -> go.Figure:
    figure = go.Figure()
    for place, (name, runs) in enumerate(points.items()):
        colour, symbol = SERIES[place % len(SERIES)], SYMBOLS[place % len(SYMBOLS)]
        figure.add_scatter(
            name=escape(name),
            x=[cost for cost, _ in runs],
            y=[mark.value for _, mark in runs],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [mark.high - mark.value for _, mark in runs],
                "arrayminus": [mark.value - mark.low for _, mark in runs],
                "thickness": 1.5,
                "width": 4,
                "color": colour,
            },
            mode="lines+markers" if joined and len(runs) > 1 else "markers",
            marker={"color": colour, "symbol": symbol, "size": 12, "line": {"width": 1, "color": PAPER}},
            hovertext=[mark.said for _, mark in runs],
            hoverinfo="text",
        )
    lay_out(figure, height=380, left=10)
    figure.update_xaxes(title_text="processor seconds of pre-training", rangemode="tozero", automargin=True, nticks=6)
    figure.update_yaxes(title_text="top-1 accuracy, %", automargin=True)
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.28, "x": 0, "xanchor": "left"})
    return figure


def map_figure(
    places: Sequence[tuple[float, float]],
    class_of: Sequence[str],
    right: Sequence[bool | None],
    said: Sequence[str],
) -> go.Figure:
    """Draw a map of clips: colour and shape by class, hollow where the class was not recognised.

    Args:
        places: of the clips.
        class_of: class names.
        right: whether a clip's class was recognised; None where nobody asked.
        said: what is shown when pointed at.
    """
    names = sorted(set(class_of))
    figure = go.Figure()
    for index, name in enumerate(names):
        colour = SERIES[index % len(SERIES)]
        symbol = SYMBOLS[(index + index // len(SERIES)) % len(SYMBOLS)]
        mine = [clip for clip, its in enumerate(class_of) if its == name]
        figure.add_scatter(
            name=name,
            x=[places[clip][0] for clip in mine],
            y=[places[clip][1] for clip in mine],
            mode="markers",
            marker={
                "color": colour,
                "symbol": [symbol + ("-open" if right[clip] is False else "") for clip in mine],
                "size": 9,
                "line": {"width": 1.2, "color": colour},
            },
            customdata=mine,
            hovertext=[said[clip] for clip in mine],
            hoverinfo="text",
        )
        if len(names) <= 12:
            x, y = (sorted(places[clip][axis] for clip in mine)[len(mine) // 2] for axis in (0, 1))
            words = {"text": f"<b>{escape(short(name, 24))}</b>", "font": {"size": 12, "color": INK}}
            figure.add_annotation(x=x, y=y, showarrow=False, bgcolor="rgba(255,255,255,0.75)", yshift=16, **words)
    # The clip that is playing: a ring around its point.
    ring = {"symbol": "circle-open", "size": 20, "color": INK, "line": {"width": 2.5}}
    figure.add_scatter(name="playing", x=[None], y=[None], mode="markers", marker=ring, hoverinfo="skip")
    lay_out(figure, height=460, left=8)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    figure.update_layout(plot_bgcolor="#fafbfc", margin={"l": 4, "r": 4, "t": 4, "b": 4}, hovermode="closest")
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
    figure.update_xaxes(**grid, **titles, automargin=True)
    figure.update_yaxes(**grid, **titles)
