"""Forecast motion: what was observed, then what came and what was forecast, moving side by side and over each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64

from marrow.errors import ConfigError
from marrow.report.figures import legend
from marrow.report.motion import stage, toolbar
from marrow.report.style import card
from marrow.skeleton.layout import Skeleton
from marrow.tasks.base import Report
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.viewer.motion import Reel, pack_motion

_MOST_EXAMPLES = 4
_MOST_FRAMES = 200


@dataclass(frozen=True)
class Example:
    """One window of a recording.

    Args:
        name: id of the recording.
        fps: frames per second.
        observed: the last frames that the forecaster saw, in metres.
        truth: what came.
        forecast: what was said to come.
    """

    name: str
    fps: float
    observed: Float32[np.ndarray, "observed joint 3"]
    truth: Float32[np.ndarray, "future joint 3"]
    forecast: Float32[np.ndarray, "future joint 3"]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Example":
        """Read one of the examples in a report's detail, which are in whole millimetres."""
        parts = (np.asarray(values[name], np.float32) / 1000.0 for name in ("observed", "truth", "forecast"))
        return cls(str(values["id"]), float(values["fps"]), *parts)

    def errors_mm(self, skeleton: Skeleton) -> Float64[np.ndarray, " future"]:
        """Return the mean error of the joints that are there, in each frame; NaN where none is."""
        present = seen(self.truth, skeleton)
        distance = 1000.0 * np.linalg.norm(self.forecast.astype(np.float64) - self.truth, axis=-1)
        count = present.sum(1)
        return np.where(count > 0, np.where(present, distance, 0.0).sum(1) / np.maximum(count, 1), np.nan)


def seen(joints: Float32[np.ndarray, "frame joint 3"], skeleton: Skeleton) -> Bool[np.ndarray, "frame joint"]:
    """Return which joints are there.

    Examples keep positions alone, and put zeros where there is no joint. A whole body may stand at zero as well, where
    a source puts the origin at its centre: then zero is a position.
    """
    somewhere = (joints != 0).any(-1)
    at_origin = ~somewhere[:, skeleton.anchors["centre"]] & (somewhere.sum(1) > 0)
    return somewhere | at_origin[:, None]


def forecasts_html(evaluation: EvaluationReport, name: str) -> tuple[str, Reel | None]:
    """Return the moving forecasts of an evaluation, and what they play; "" and None where there are none.

    Args:
        evaluation: whose reports keep examples.
        name: of the reel on the page.
    """
    report = _report(evaluation, "trained")
    skeleton = _skeleton(evaluation)
    if report is None or skeleton is None:
        return "", None
    examples = [Example.of(values) for values in report.detail["examples"][:_MOST_EXAMPLES]]
    examples = [example for example in examples if example.truth.shape[1:] == (len(skeleton.joints), 3)]
    if not examples:
        return "", None
    others = _of_baselines(evaluation)
    reel = Reel(skeleton)
    rows = "".join(_row(example, others, skeleton, reel) for example in examples)
    signs = legend(
        [
            ("observed", "#a3aab5", "line"),
            ("what came", "#3c4149", "line"),
            ("forecast", "#c2417f", "line"),
        ]
    )
    content = (
        f"<div class='players forecasts' data-reel='{name}' data-together='yes'>{signs}{toolbar(reel)}{rows}</div>"
        f"<p class='note'>This page holds motion of {len(examples)} test windows: mind the terms of the recordings "
        "before you pass it on. With --no-clips it is made without them.</p>"
    )
    lead = (
        f"Test windows spread evenly over all of them, by {_source(report)}: the last observed second in grey, then "
        "what came, what was forecast, and both over each other, in real time or slower. Errors are means over joints, "
        "where they are in the room."
    )
    return card("Forecasts, moving", content, lead=lead, wide=True), reel


def _report(evaluation: EvaluationReport, source: str) -> Report | None:
    return next(
        (report for report in evaluation.reports if report.source == source and report.detail.get("examples")), None
    )


def _source(report: Report) -> str:
    run = report.fingerprints.get("run", "")
    return f"{run}, trained" if run else "the trained encoder"


def _of_baselines(evaluation: EvaluationReport) -> dict[str, list[Example]]:
    """Return the examples of forecasts that need no learning, by their name."""
    examples = {}
    for report in evaluation.reports:
        if report.source == "raw" and report.detail.get("examples"):
            examples.setdefault(report.about.rule, [Example.of(values) for values in report.detail["examples"]])
    return examples


def _row(example: Example, others: Mapping[str, Sequence[Example]], skeleton: Skeleton, reel: Reel) -> str:
    """Put a window on the reel, and return its three pictures."""
    whole, continued = (np.concatenate([example.observed, rest]) for rest in (example.truth, example.forecast))
    there = seen(whole, skeleton)
    # A joint that was never observed cannot be forecast.
    ever = np.asarray(there[: len(example.observed)].any(0))
    told = np.concatenate([there[: len(example.observed)], np.repeat(ever[None], len(example.forecast), 0)])
    tracks = [(whole[None], there[None]), (continued[None], told[None])]
    truth, forecast = (
        reel.add(motion) for motion in pack_motion(tracks, skeleton, example.fps, _MOST_FRAMES, example.fps)
    )
    # Frames may have been thinned out: the player is told the share of them that was observed.
    kept = len(reel.motions[truth].values)
    observed = round(len(example.observed) * kept / len(whole))
    clips = {"clip": truth, "forecast": forecast, "observed": observed}
    stages = "".join(
        stage(f"{example.name}: {words}, moving", words.capitalize(), draws, **clips, draws=draws)
        for draws, words in (("truth", "what came"), ("forecast", "forecast"), ("both", "both"))
    )
    said = escape(_errors(example, others, skeleton))
    return f"<h4>{escape(example.name, quote=True)}</h4><p class='lead'>{said}</p><div class='trio'>{stages}</div>"


def _errors(example: Example, others: Mapping[str, Sequence[Example]], skeleton: Skeleton) -> str:
    """Say how far a forecast is off, and how far those are that need no learning."""
    ours = example.errors_mm(skeleton)
    places = sorted({min(round(0.4 * example.fps), len(ours)), len(ours)})
    same = {
        name: partner.errors_mm(skeleton)
        for name, partners in others.items()
        for partner in partners
        if partner.name == example.name and np.array_equal(partner.truth, example.truth)
    }
    told = []
    for place in places:
        beside = ", ".join(f"{name} {errors[place - 1]:.0f} mm" for name, errors in same.items())
        told.append(
            f"{1000 * place / example.fps:.0f} ms ahead {ours[place - 1]:.0f} mm off"
            + (f" ({beside})" if beside else "")
        )
    return "; ".join(told) + "."


def _skeleton(evaluation: EvaluationReport) -> Skeleton | None:
    """Return the skeleton that the evaluated encoder was made for; None where it says nothing of it, or nonsense."""
    layout = evaluation.runs[0].description.get("skeleton") if evaluation.runs else None
    if not isinstance(layout, dict):
        return None
    try:
        return Skeleton.from_description(layout)
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError):
        return None
