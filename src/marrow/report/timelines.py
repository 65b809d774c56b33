"""Detected actions as timelines: what was labelled above what was predicted, one picture per recording."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Int64

from marrow.report.figures import short
from marrow.report.style import INK, PAPER, SERIES, YELLOW, card
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport

# Recordings that can be opened, at most; more of them would make the page slow.
MOST_RECORDINGS = 120
# Heights in pixels: a row, the space between rows, the axis below them.
_ROW, _GAP, _AXIS = 22, 5, 20
# For names in segments: a letter is about so many pixels wide, and a picture at its widest so many.
_LETTER, _WIDTH = 6.4, 940
_MOST_TICKS = 9
# Lines over the colour, for classes beyond the eighth: every eight classes have lines of another kind.
_STROKES = (
    "",
    "M0 8L8 0",
    "M0 0L8 8",
    "M4 0L4 8",
    "M0 4L8 4",
    "M0 8L8 0M0 0L8 8",
    "M4 0L4 8M0 4L8 4",
)
_PALE = ("#e69f00", "#56b4e9", "#cc79a7", YELLOW)


@dataclass(frozen=True)
class Timeline:
    """One recording.

    Args:
        name: its id.
        fps: frames per second.
        frames: how many.
        truth: labelled segments [start, end, class].
        predicted: segments that were predicted.
        agreement: share of the frames with an action, labelled or predicted, whose class is the same in both.
    """

    name: str
    fps: float
    frames: int
    truth: list[tuple[int, int, int]]
    predicted: list[tuple[int, int, int]]
    agreement: float

    @classmethod
    def of(cls, recording: dict[str, Any]) -> "Timeline":
        """Read one of the recordings in a report's detail."""
        frames = int(recording["frames"])
        truth, predicted = (
            [
                (max(0, int(start)), min(frames, int(end)), int(label))
                for start, end, label, *_ in recording[name]
                if int(label) >= 0 and min(frames, int(end)) > max(0, int(start))
            ]
            for name in ("truth", "predicted")
        )
        agreement = _agreement(_painted(truth, frames), _painted(predicted, frames))
        return cls(str(recording["id"]), float(recording["fps"]), frames, truth, predicted, agreement)


def timelines_html(evaluation: EvaluationReport) -> str:
    """Return pictures of the best, the median and the worst recording, and all others to be opened; "" without any."""
    report = _report(evaluation)
    if report is None:
        return ""
    lines = [Timeline.of(recording) for recording in report.detail["recordings"] if int(recording["frames"]) > 0]
    lines.sort(key=lambda line: -line.agreement)
    if not lines:
        return ""
    number = 1 + evaluation.reports.index(report)
    prefix = f"lines-{evaluation.store[:6]}-{_plain(evaluation.protocol)}-{number}"
    chosen = {"Best": 0, "Median": (len(lines) - 1) // 2, "Worst": len(lines) - 1}
    if len(lines) < 3:
        chosen = dict(zip(("Best", "Worst") if len(lines) == 2 else ("",), range(len(lines)), strict=True))
    used = sorted({label for line in lines[:MOST_RECORDINGS] for _, _, label in [*line.truth, *line.predicted]})
    classes = evaluation.classes
    shown = "".join(_figure(lines[place], classes, prefix, title) for title, place in chosen.items())
    more = ""
    if len(lines) > len(chosen):
        opened = "".join(_figure(line, classes, prefix) for line in lines[:MOST_RECORDINGS])
        cut = f" (the best {MOST_RECORDINGS} of them)" if len(lines) > MOST_RECORDINGS else ""
        summary = f"All {len(lines)} recordings, from the best to the worst{cut}"
        more = f"<details><summary>{summary}</summary>{opened}</details>"
    lead = (
        "Above: what was labelled; below: what the trained encoder says; blank: no action. Percent: share of the "
        "frames with an action, labelled or predicted, whose class is the same in both. Point at a segment, or tap it, "
        "for its name."
    )
    content = (
        f"{_definitions(used, prefix)}{_legend(used, classes, prefix)}<div class='timelines'>{shown}{more}"
        "<p class='pointed screen' aria-live='polite'></p></div>"
    )
    return card("Detected actions over time", content, lead=lead, wide=True)


def ticks(seconds: float, most: int = _MOST_TICKS) -> list[float]:
    """Return round places on a time axis from 0 on: at most so many, and no fewer than half as many steps."""
    rough = max(seconds, 1e-3) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    steps = [1, 2, 5, 10] if rough < 10 else [1, 1.5, 2, 3, 6, 10]
    step = next(factor * power for factor in steps if factor * power >= rough * (1 - 1e-9))
    return [round(number * step, 6) for number in range(int(seconds / step + 1e-9) + 1)]


def _report(evaluation: EvaluationReport) -> Report | None:
    """Return the first report of the trained encoders that keeps what was found in each recording."""
    for report in evaluation.reports:
        kept = report.detail.get("recordings")
        if report.source == "trained" and kept and "predicted" in kept[0] and "truth" in kept[0]:
            return report
    return None


def _painted(segments: Sequence[tuple[int, int, int]], frames: int) -> Int64[np.ndarray, " frame"]:
    """Return the class of each frame, -1 where there is none; of segments that overlap, the later one counts."""
    label = np.full(frames, -1, np.int64)
    for start, end, its in segments:
        label[start:end] = its
    return label


def _agreement(truth: Int64[np.ndarray, " frame"], predicted: Int64[np.ndarray, " frame"]) -> float:
    action = (truth >= 0) | (predicted >= 0)
    return float((truth == predicted)[action].mean()) if action.any() else 1.0


def _figure(line: Timeline, classes: Sequence[str], prefix: str, title: str = "") -> str:
    """Draw one recording. Places are in percent of the width: letters keep their size on every screen."""
    seconds = line.frames / line.fps
    floor = 2 * _ROW + _GAP
    parts = [f"<rect class='lane' y='{y}' width='100%' height='{_ROW}'></rect>" for y in (0, _ROW + _GAP)]
    for y, name, segments in ((0, "labelled", line.truth), (_ROW + _GAP, "predicted", line.predicted)):
        parts += [_segment(segment, y, name, line, classes, prefix) for segment in segments]
    for place in ticks(seconds):
        share = 100.0 * place / seconds
        anchor = "start" if share < 2 else "end" if share > 96 else "middle"
        parts.append(
            f"<line x1='{share:.2f}%' x2='{share:.2f}%' y1='{floor}' y2='{floor + 4}'></line>"
            f"<text class='tick' x='{share:.2f}%' y='{floor + 17}' text-anchor='{anchor}'>{place:g} s</text>"
        )
    said = (
        f"{line.name}: {len(line.truth)} labelled and {len(line.predicted)} predicted segments in {seconds:.0f} seconds"
    )
    what = f"<b>{escape(title)}</b> · " if title else ""
    return (
        f"<figure><figcaption>{what}{escape(line.name)} · {100 * line.agreement:.0f} %</figcaption>"
        f"<div class='scroll'><svg class='timeline' width='100%' height='{floor + _AXIS}' role='img' "
        f"aria-label='{escape(said, quote=True)}'>{''.join(parts)}</svg></div></figure>"
    )


def _segment(
    segment: tuple[int, int, int], y: int, kind: str, line: Timeline, classes: Sequence[str], prefix: str
) -> str:
    start, end, label = segment
    left, width = 100.0 * start / line.frames, 100.0 * (end - start) / line.frames
    name = _name(label, classes)
    said = f"{name}, {kind}, {start / line.fps:.1f} to {end / line.fps:.1f} s"
    room = int((width / 100.0 * _WIDTH - 8) / _LETTER)
    words = short(name, room) if room >= min(10, len(name)) else ""
    # On lines of two colours a name needs a rim.
    rim = f" stroke='{PAPER}' stroke-width='3' paint-order='stroke'" if _kind(label) else ""
    text = f"<text x='5' y='15' fill='{_ink(label)}'{rim}>{escape(words)}</text>" if words else ""
    # A picture within the picture cuts what does not fit.
    return (
        f"<svg x='{left:.2f}%' y='{y}' width='{width:.2f}%' height='{_ROW}'><title>{escape(said)}</title>"
        f"<rect class='segment' width='100%' height='100%' fill='{_fill(label, prefix)}'></rect>{text}</svg>"
    )


def _definitions(used: Sequence[int], prefix: str) -> str:
    """Return the fills of the classes beyond the eighth, once for all pictures of a card."""
    patterns = "".join(
        f"<pattern id='{prefix}-{label}' width='8' height='8' patternUnits='userSpaceOnUse'>"
        f"<rect width='8' height='8' fill='{SERIES[label % len(SERIES)]}'></rect>"
        f"<path d='{_STROKES[_kind(label)]}' stroke='{PAPER}' stroke-opacity='0.6' stroke-width='1.6'></path></pattern>"
        for label in used
        if _kind(label)
    )
    return (
        f"<svg class='hidden' width='0' height='0' aria-hidden='true'><defs>{patterns}</defs></svg>" if patterns else ""
    )


def _legend(used: Sequence[int], classes: Sequence[str], prefix: str) -> str:
    items = "".join(
        f"<span><svg viewBox='0 0 13 13' aria-hidden='true'><rect width='13' height='13' rx='2' "
        f"fill='{_fill(label, prefix)}'></rect></svg>{escape(_name(label, classes))}</span>"
        for label in used
    )
    words = f"<div class='legend'>{items}</div>"
    if len(used) <= 24:
        return words
    return f"<details><summary>Colours of the {len(used)} classes</summary>{words}</details>"


def _kind(label: int) -> int:
    return label // len(SERIES) % len(_STROKES)


def _fill(label: int, prefix: str) -> str:
    return f"url(#{prefix}-{label})" if _kind(label) else SERIES[label % len(SERIES)]


def _ink(label: int) -> str:
    """Return the colour of a name on the colour of its class."""
    return INK if _kind(label) or SERIES[label % len(SERIES)] in _PALE else PAPER


def _name(label: int, classes: Sequence[str]) -> str:
    return classes[label] if label < len(classes) else f"class {label}"


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
