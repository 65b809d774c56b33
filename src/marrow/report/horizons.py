"""The card of a page about motion prediction: position errors over the time ahead."""

import re
from collections.abc import Sequence
from html import escape

from marrow.report.figures import Figures, legend
from marrow.report.measure_figures import Curve, amounts_figure
from marrow.report.measure_names import (
    cell,
    column_of,
    look_of,
    number_text,
    numbers_table,
    set_of,
    spread_text,
    title_of,
)
from marrow.report.style import card, table
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.summary import Measure

# What is drawn of forecasts, by whether the root is centred.
_POSITIONS = {False: "Positions in the room", True: "Root-centred: the posture alone"}


def horizons_html(
    family: str, mine: Sequence[Measure], evaluation: EvaluationReport, fresh: str, figures: Figures
) -> str:
    """Draw the errors over the time ahead: with the body's way through the room, and without it.

    Args:
        family: kind of the task.
        mine: its numbers.
        evaluation: that they are of; errors need nothing else of it.
        fresh: what the encoder without pre-training is called.
        figures: of the page.
    """
    sets = list(dict.fromkeys(set_of(each.task) for each in mine))
    parts, shown = [], {}
    for which in sets:
        of_set = [each for each in mine if set_of(each.task) == which]
        heading = f"<h4>Test windows: {escape(which or 'main set')}</h4>" if len(sets) > 1 else ""
        charts = []
        for centred, title in _POSITIONS.items():
            errors = _by_horizon(of_set, centred, fresh)
            curves = []
            for label, by_horizon in errors.items():
                colour, symbol, dash = look_of(next(iter(by_horizon.values())))
                shown[label] = (colour, symbol)
                said = [f"{label}, {ahead} ms ahead: {spread_text(each, 'mm')}" for ahead, each in by_horizon.items()]
                spread = [each.std for each in by_horizon.values()]
                means = [each.mean for each in by_horizon.values()]
                curves.append(Curve(label, list(by_horizon), means, colour, symbol, said, dash, spread))
            if curves:
                horizons = sorted({horizon for by_horizon in errors.values() for horizon in by_horizon})
                ticks = {float(each): f"{each}" for each in horizons}
                figure = amounts_figure(curves[::-1], ticks, "ms ahead", "position error, mm")
                told = "; ".join(line for curve in curves for line in curve.said)
                chart = figures.place(figure, f"{title}: position error by time ahead. {told}")
                charts.append(f"<div><h5>{title}</h5>{chart}</div>")
        parts.append(f"{heading}<div class='pair'>{''.join(charts)}</div>{_horizon_table(of_set, fresh)}")
    rest = [each for each in mine if horizon_of(each.name) is None]
    signs = legend([(label, colour, symbol) for label, (colour, symbol) in shown.items()])
    lead = (
        "Mean distance of joints from where they went, so many milliseconds after the last frame that was seen; the "
        "lower, the better. Zero velocity: nothing moves any more; constant velocity: everything goes on as it did; "
        "linear regression: as the last steps lead one to expect."
    )
    content = signs + "".join(parts) + (numbers_table(rest, fresh) if rest else "")
    return card(title_of(family), content, lead=lead, wide=True)


def _by_horizon(mine: Sequence[Measure], centred: bool, fresh: str) -> dict[str, dict[int, Measure]]:
    """Return errors by source, and by milliseconds ahead."""
    errors: dict[str, dict[int, Measure]] = {}
    for each in mine:
        horizon = horizon_of(each.name)
        if horizon is not None and horizon[1] == centred:
            errors.setdefault(column_of(each, fresh), {})[horizon[0]] = each
    return errors


def _horizon_table(mine: Sequence[Measure], fresh: str) -> str:
    room, posture = (_by_horizon(mine, centred, fresh) for centred in _POSITIONS)
    columns = list(dict.fromkeys([*room, *posture]))
    rows = []
    for horizon in sorted({horizon for each in (*room.values(), *posture.values()) for horizon in each}):
        cells = []
        for column in columns:
            centred = posture.get(column, {}).get(horizon)
            small = f"<small>{number_text(centred)}</small>" if centred else ""
            cells.append(f"{cell(room.get(column, {}).get(horizon))}{small}")
        rows.append([f"{horizon} ms ahead<small>root-centred</small>", *cells])
    return table(["mm", *columns], rows) if rows else ""


def horizon_of(name: str) -> tuple[int, bool] | None:
    """Return milliseconds ahead, and whether the root is centred, of a forecast's error; None of other numbers."""
    found = re.fullmatch(r"mpjpe_(root_)?(\d+)ms_mm", name)
    return (int(found.group(2)), bool(found.group(1))) if found else None
