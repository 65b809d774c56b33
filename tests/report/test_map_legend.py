"""The legend of the map names every class by the mark that it has there; curves begin with the untrained encoder."""

import re
from pathlib import Path

import pytest

from marrow.report.motion import _map_figure, _map_legend
from marrow.report.runs import Run
from marrow.report.training import _values


@pytest.mark.parametrize("count", [3, 32, 33])
def test_every_class_is_in_the_legend_with_its_colour(count: int) -> None:
    names = [f"class {number:02d}" for number in range(count)]
    html = _map_legend(names, is_hollow=False)
    entries = re.findall(r"fill='(#\w+)'>.*?</svg>([^<]*)</span>", html)
    figure = _map_figure([(0.0, 0.0)] * count, names, [None] * count, [""] * count)
    drawn = [(trace.marker.color, trace.name) for trace in figure.data if trace.name in names]
    assert entries == drawn
    assert ("<details>" in html) == (count > 32)
    assert "hollow" in _map_legend(names, is_hollow=True)


def test_a_curve_begins_at_the_untrained_encoder() -> None:
    log = [
        {"step": 20, "loss": 1.0},
        {"step": 40, "loss": 0.9, "effective_rank": 7.0, "effective_rank_random": 5.0},
        {"step": 60, "loss": 0.8, "effective_rank": 8.0, "effective_rank_random": 5.0},
    ]
    run = Run(Path("run"), "run", {}, [], log, None, [])
    assert _values(run, "effective_rank") == ([0.0, 40.0, 60.0], [5.0, 7.0, 8.0])
    assert _values(run, "effective_rank_random") == ([0.0, 40.0, 60.0], [5.0, 5.0, 5.0])
    assert _values(run, "loss") == ([20.0, 40.0, 60.0], [1.0, 0.9, 0.8])
