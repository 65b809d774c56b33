"""Charts as inline SVG: no script, no font and no library to load, sharp in print."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Int64

from marrow.report.style import INK, LINE, TRAINED

Number = int | float


@dataclass(frozen=True)
class Mark:
    """A value with its interval.

    Args:
        label: what it is, shown when pointed at.
        value: the value.
        low: lower end of the interval.
        high: upper end.
        colour: of the mark.
    """

    label: str
    value: Number
    low: Number
    high: Number
    colour: str


@dataclass(frozen=True)
class Line:
    """A curve.

    Args:
        label: what it is.
        x: places.
        y: values; those that are not finite are left out.
        colour: of the line.
        dashed: whether it is a reference rather than a result.
    """

    label: str
    x: Sequence[Number]
    y: Sequence[Number]
    colour: str
    dashed: bool = False


def ticks(low: Number, high: Number, count: int = 5) -> list[Number]:
    """Return about `count` round numbers that lie within a range."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda size: abs(size - rough))
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def interval_chart(rows: Sequence[tuple[str, Sequence[Mark]]], title: str) -> str:
    """Draw values with their intervals, one row per task, on a common scale of percent.

    Args:
        rows: name of a task, and its marks.
        title: what a screen reader says.
    """
    left, right, width, row_height = 132, 24, 520, 58
    marks = [mark for _, row in rows for mark in row]
    low = max(0.0, 5 * math.floor(min(mark.low for mark in marks) / 5))
    high = min(100.0, 5 * math.ceil(max(mark.high for mark in marks) / 5))
    height = row_height * len(rows) + 34

    def x(value: Number) -> float:
        return left + (value - low) / max(high - low, 1e-9) * (width - left - right)

    parts = [_open(width, height, title)]
    for tick in ticks(low, high):
        parts.append(_line(x(tick), 4, x(tick), height - 30, LINE))
        parts.append(_text(x(tick), height - 12, f"{tick:g} %", "middle", muted=True))
    for number, (name, row) in enumerate(rows):
        top = number * row_height
        for offset, words in enumerate(name.split(" ", 1)):
            parts.append(_text(0, top + 26 + 16 * offset, words, "start", muted=offset > 0, size=13 - offset))
        for place, mark in enumerate(row):
            y = top + 12 + (row_height - 14) * (place + 0.5) / len(row)
            said = f"{mark.label}: {mark.value:.1f} % [{mark.low:.1f}, {mark.high:.1f}]"
            parts.append(f"<g><title>{escape(said)}</title>")
            parts.append(_line(x(mark.low), y, x(mark.high), y, mark.colour, thickness=3, opacity=0.4))
            parts.append(f'<circle cx="{x(mark.value):.1f}" cy="{y:.1f}" r="5" fill="{mark.colour}"/></g>')
            beside = x(mark.high) + 6
            anchor = "start" if beside < width - 26 else "end"
            beside = beside if anchor == "start" else x(mark.low) - 6
            parts.append(_text(beside, y + 4, f"{mark.value:.1f}", anchor, size=11, muted=True))
        if number:
            parts.append(_line(0, top + 5, width, top + 5, LINE))
    return "".join([*parts, "</svg>"])


def line_chart(lines: Sequence[Line], title: str, x_name: str, y_name: str) -> str:
    """Draw curves over a common pair of axes."""
    left, bottom, top, width, height = 54, 44, 18, 980, 300
    points = [(a, b) for line in lines for a, b in zip(line.x, line.y, strict=True) if math.isfinite(b)]
    if not points:
        return ""
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    low_x, high_x, low_y, high_y = min(xs), max(xs), min(ys), max(ys)
    margin = 0.05 * max(high_y - low_y, 1e-9)
    low_y, high_y = low_y - margin, high_y + margin

    def place(a: Number, b: Number) -> tuple[float, float]:
        across = (a - low_x) / max(high_x - low_x, 1e-9)
        upward = (b - low_y) / (high_y - low_y)
        return left + across * (width - left - 12), height - bottom - upward * (height - bottom - top)

    parts = [_open(width, height, title)]
    for tick in ticks(low_y, high_y):
        y = place(low_x, tick)[1]
        parts.append(_line(left, y, width - 12, y, LINE))
        parts.append(_text(left - 8, y + 4, f"{tick:g}", "end", muted=True))
    for tick in ticks(low_x, high_x, count=8):
        x = place(tick, low_y)[0]
        parts.append(_text(x, height - bottom + 18, f"{tick:g}", "middle", muted=True))
    parts.append(_text(width - 12, height - 6, x_name, "end", muted=True))
    parts.append(_text(0, 11, y_name, "start", muted=True))
    for line in lines:
        path = " ".join(
            f"{x:.1f},{y:.1f}"
            for x, y in (place(a, b) for a, b in zip(line.x, line.y, strict=True) if math.isfinite(b))
        )
        dash = ' stroke-dasharray="6 5"' if line.dashed else ""
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="1.8" stroke-linejoin="round"'
            f"{dash}><title>{escape(line.label)}</title></polyline>"
        )
    return "".join([*parts, "</svg>"])


def confusion_chart(matrix: Int64[np.ndarray, "true predicted"], classes: Sequence[str], title: str) -> str:
    """Draw a confusion matrix: rows are true classes, shades and numbers are percent of the row."""
    count = len(classes)
    cell = max(7.0, min(46.0, 720.0 / count))
    letters = max(len(name) for name in classes)
    size = max(5.0, min(12.0, 0.62 * cell + 2))
    left = min(letters, 28) * size * 0.56 + 14
    top = min(letters, 28) * size * 0.42 + 18
    side = cell * count
    parts = [_open(left + side + top, top + side + 26, title)]
    for row, name in enumerate(classes):
        total = int(matrix[row].sum())
        middle = top + (row + 0.5) * cell
        parts.append(_text(left - 8, middle + 0.35 * size, _short(name), "end", size=size))
        x = left + (row + 0.5) * cell
        turned = f'transform="rotate(-42 {x:.1f} {top - 8:.1f})"'
        parts.append(_text(x, top - 8, _short(name), "start", size=size, extra=turned))
        for column in range(count):
            share = matrix[row, column] / total if total else 0.0
            said = f"{name} taken for {classes[column]}: {matrix[row, column]} of {total}"
            parts.append(
                f'<rect x="{left + column * cell:.1f}" y="{top + row * cell:.1f}" width="{cell - 1:.1f}" '
                f'height="{cell - 1:.1f}" rx="2" fill="{_shade(share)}"><title>{escape(said)}</title></rect>'
            )
            if cell >= 24 and share >= 0.005:
                colour = "#ffffff" if share > 0.55 else INK
                parts.append(
                    f'<text x="{left + (column + 0.5) * cell - 0.5:.1f}" y="{middle + 4:.1f}" text-anchor="middle" '
                    f'font-size="11" style="fill:{colour}">{100 * share:.0f}</text>'
                )
    parts.append(
        _text(left, top + side + 18, "rows: true class, columns: predicted, percent of the row", "start", muted=True)
    )
    return "".join([*parts, "</svg>"])


def _shade(share: Number) -> str:
    """Mix white and the colour of trained encoders."""
    target = [int(TRAINED[place : place + 2], 16) for place in (1, 3, 5)]
    base = (243, 245, 248)
    weight = min(1.0, share) ** 0.75
    return "#" + "".join(f"{round(b + (t - b) * weight):02x}" for b, t in zip(base, target, strict=True))


def _short(name: str) -> str:
    return name if len(name) <= 28 else name[:27] + "…"


def _open(width: Number, height: Number, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width:.0f}px" role="img" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>'
    )


def _line(
    x1: Number, y1: Number, x2: Number, y2: Number, colour: str, thickness: Number = 1.0, opacity: Number = 1.0
) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{thickness}" stroke-opacity="{opacity}" stroke-linecap="round"/>'
    )


def _text(
    x: Number, y: Number, words: str, anchor: str, *, size: Number = 12, muted: bool = False, extra: str = ""
) -> str:
    kind = ' class="muted"' if muted else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size:.1f}"'
    return f"<text {place}{kind} {extra}>{escape(words)}</text>"
