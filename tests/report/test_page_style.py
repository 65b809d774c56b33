"""What the pages look like: legible on light and dark screens, light on paper; a chart for each of several stores."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from marrow.report.figures import Figures
from marrow.report.runs import read_runs
from marrow.report.style import packaged
from marrow.report.training import training_html

_DARK = "@media screen and (prefers-color-scheme: dark) {"


def _colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]+);", block))


@pytest.fixture(scope="module")
def schemes() -> dict[str, dict[str, str]]:
    """Return the page's colours by name, for a light and for a dark screen."""
    light, dark = packaged("page.css").split(_DARK)
    given = _colours(light)
    return {"light": given, "dark": {**given, **_colours(dark.split("\n}")[0])}}


def _luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2: 0 of black, 1 of white."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_luminance_of_black_white_and_middle_grey() -> None:
    assert (_luminance("#000"), _luminance("#ffffff")) == (0.0, pytest.approx(1.0))
    assert _luminance("#777777") == pytest.approx(0.184, abs=1e-3)  # 4.48 to 1 on white


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_are_legible(schemes: dict[str, dict[str, str]], scheme: str) -> None:
    """WCAG 2 asks for a contrast of 4.5 to 1."""
    colours = schemes[scheme]
    pairs = [(ink, ground) for ink in ("ink", "muted", "blue", "good", "bad") for ground in ("paper", "wash")]
    for ink, ground in [*pairs, ("ink", "alert-wash")]:
        high, low = sorted((_luminance(colours[ink]), _luminance(colours[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)


def test_only_a_dark_screen_turns_ink_and_paper_round(schemes: dict[str, dict[str, str]]) -> None:
    """What is for dark screens stands in one block, which is not for paper."""
    for scheme, ink_is_lighter in (("light", False), ("dark", True)):
        colours = schemes[scheme]
        assert (_luminance(colours["ink"]) > _luminance(colours["paper"])) == ink_is_lighter
    assert packaged("page.css").count("prefers-color-scheme") == 1


def test_each_of_several_stores_has_one_chart_with_chance(make_run: Callable[..., Path]) -> None:
    folder = make_run("a1", 1)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for place, entry in enumerate(log):
        entry |= {"nearest_neighbour_percent.cmu": 80.0 + place, "chance_percent.cmu": 12.5, "monitor_people.cmu": 7}
    (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in log))
    figures = Figures()
    before = len(re.findall("<h4>", training_html(read_runs([make_run("a2", 2)]), Figures())))
    page = training_html(read_runs([folder]), figures)
    assert len(re.findall("<h4>", page)) == before + 1
    (lines,) = [spec["data"] for spec in figures.specs.values() if any(80.0 in line["y"] for line in spec["data"])]
    assert [line["y"] for line in lines] == [[80.0 + place for place in range(len(log))], [12.5] * len(log)]
