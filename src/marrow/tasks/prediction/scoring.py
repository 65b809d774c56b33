"""The report of motion prediction: forecasts of test windows, how far they are from what came, and some to look at."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from marrow.data.frames import ClipArrays
from marrow.skeleton.derived import measured
from marrow.tasks.base import Report
from marrow.tasks.prediction.config import PredictionConfig
from marrow.tasks.prediction.metrics import (
    MEASURES,
    QUANTITIES,
    h36m_completed,
    horizons_within,
    mean_error_mm,
    window_errors_mm,
)
from marrow.tasks.prediction.windows import ForecastWindows, centre_of, side_by_side

# Windows that are kept to be looked at, and how many of their observed frames.
EXAMPLES = 4
_EXAMPLE_FRAMES = 25
# From observed windows to what follows them, in metres of the source: [window body frame joint 3].
Forecast = Callable[[Sequence[ClipArrays]], Float64[np.ndarray, "window body frame joint 3"]]


def report_of(
    report: Report, windows: ForecastWindows, forecast: Forecast, config: PredictionConfig, batch_windows: int
) -> Report:
    """Forecast all test windows, then score them."""
    horizons = horizons_within(config.predicted_frames, config.fps)
    frames = np.array(list(horizons.values())) - 1
    sums = {measure: np.zeros((len(windows.recordings), len(frames))) for measure in MEASURES}
    counts = {measure: np.zeros((len(windows.recordings), len(frames)), np.int64) for measure in MEASURES}
    counted = measured(windows.recordings.skeleton)
    shown = set(np.linspace(0, len(windows.cuts) - 1, EXAMPLES).round().astype(int).tolist())
    examples = []
    for begin in range(0, len(windows.cuts), batch_windows):
        cuts = windows.cuts[begin : begin + batch_windows]
        # The forecaster is given what was observed, and nothing else.
        observed = [windows.recordings.cut(where, start, config.observed_frames) for where, start, _ in cuts.tolist()]
        forecasts = forecast(observed)

        # What came. A joint that was never observed cannot be forecast.
        future = [
            windows.recordings.cut(where, start + config.observed_frames, config.predicted_frames)
            for where, start, _ in cuts.tolist()
        ]
        truth, present = side_by_side(future)
        before, seen = side_by_side(observed)
        present &= seen.any(2, keepdims=True)
        if windows.group is not None:
            forecasts = h36m_completed(forecasts, before[:, :, -1])
        for measure, centre in (("global", None), ("root_centred", centre_of(windows.recordings.skeleton))):
            errors, scored = window_errors_mm(
                forecasts[:, :, frames], truth[:, :, frames], present[:, :, frames], centre, counted
            )
            np.add.at(sums[measure], cuts[:, 0], np.where(scored, errors, 0.0))
            np.add.at(counts[measure], cuts[:, 0], scored)
        for place in sorted(shown & set(range(begin, begin + len(cuts)))):
            at = place - begin
            examples.append(
                _example(windows, int(cuts[at, 0]), config.fps, before[at], truth[at], forecasts[at], seen[at])
            )

    detail: dict[str, Any] = {
        "horizons_ms": list(horizons),
        "fps": config.fps,
        "recordings": [
            {
                "row": int(windows.recordings.row[number]),
                "id": windows.ids[number],
                "group": None if windows.group is None else windows.group[number],
                "windows": int((windows.cuts[:, 0] == number).sum()),
                **{
                    measure: {"sums_mm": sums[measure][number].tolist(), "windows": counts[measure][number].tolist()}
                    for measure in MEASURES
                },
            }
            for number in np.unique(windows.cuts[:, 0]).tolist()
        ],
        "examples": examples,
    }
    average = "windows" if windows.group is None else "actions"
    between = ", " if "/" in report.task else "/"
    return replace(
        report,
        task=f"{report.task}{between}{windows.name}" if windows.name else report.task,
        declared=replace(report.about, test_set=windows.name),
        **figures_of(detail),
        settings={**report.settings, "test_windows": len(windows.cuts), "average": average},
        noted={"note": f"{report.noted.get('note', '')} {windows.left_out}".strip()},
        detail=detail,
    )


def figures_of(detail: dict[str, Any]) -> dict[str, Any]:
    """Average over recordings (`Report.detail`): the fields of a report that say how good the forecasts are."""
    recordings = detail["recordings"]
    group = None
    if recordings[0]["group"] is not None:
        group = np.unique([recording["group"] for recording in recordings], return_inverse=True)[1].astype(np.int64)
    scores: dict[str, float] = {}
    for measure, name in MEASURES.items():
        sums = np.array([recording[measure]["sums_mm"] for recording in recordings], np.float64)
        windows = np.array([recording[measure]["windows"] for recording in recordings], np.int64)
        for horizon, error in zip(detail["horizons_ms"], mean_error_mm(sums, windows, group).tolist(), strict=True):
            if np.isfinite(error):
                scores[f"{name}_{horizon}ms_mm"] = error
    return {"metrics": scores, "quantities": {name: QUANTITIES[name] for name in scores}}


def _example(
    windows: ForecastWindows,
    recording: int,
    fps: float,
    observed: Float64[np.ndarray, "body before joint 3"],
    truth: Float64[np.ndarray, "body after joint 3"],
    forecast: Float64[np.ndarray, "body after joint 3"],
    seen: Bool[np.ndarray, "body before joint"],
) -> dict[str, Any]:
    """Return the body of a window that was seen most, in whole millimetres [frame joint 3], for the viewer."""
    body = int(seen.sum((1, 2)).argmax())

    def millimetres(positions: Float64[np.ndarray, "frame joint 3"]) -> list[list[list[int]]]:
        return np.rint(1000.0 * positions).astype(np.int64).tolist()

    return {
        "row": int(windows.recordings.row[recording]),
        "id": windows.ids[recording],
        "fps": fps,
        "observed": millimetres(observed[body, -_EXAMPLE_FRAMES:]),
        "truth": millimetres(truth[body]),
        "forecast": millimetres(forecast[body]),
    }
