"""Motion prediction: from two seconds of motion to the next one, for any encoder.

An encoder and a head (`tasks/prediction_training.py`) are trained to continue windows of the training recordings, and
continue those of the test recordings; no label is read. Scores are position errors in millimetres at the field's
horizons (`tasks/prediction_metrics.py`), with the body's way through the room (`mpjpe_80ms_mm`) and without it
(`mpjpe_root_80ms_mm`).

Two forecasts that need no learning stand beside every score: that nothing moves any more (zero velocity), which is hard
to beat at long horizons, and that everything goes on as in the last frame (constant velocity), which is hard to beat at
short ones.

On Human3.6M the windows and joints are those of the published protocol, in both of its sets of test windows.

Recordings are resampled to the task's frame rate between neighbouring frames. Where the rates differ, the last observed
frame may therefore hold a share of the recorded frame that follows it, less than one frame ahead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from marrow.data.frames import ClipArrays
from marrow.data.recordings import Cuts, Recordings, sliding
from marrow.errors import ConfigError, DataError
from marrow.models.encoder import Encoder
from marrow.skeleton.layout import H36M_32
from marrow.store.format import Store
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.prediction_metrics import (
    H36M_SETS,
    h36m_completed,
    h36m_window_starts,
    horizons_within,
    mean_error_mm,
    window_errors_mm,
)
from marrow.tasks.prediction_training import PredictionConfig, TrainedForecaster, centre_of, held, train_forecaster
from marrow.train.run_directory import plain

_NAME = "motion_prediction"
_EXAMPLES, _EXAMPLE_FRAMES = 4, 25
_MEASURES = {"global": "mpjpe", "root_centred": "mpjpe_root"}

# From observed windows to what follows them, in metres of the source: [window body frame joint 3].
Forecast = Callable[[Sequence[ClipArrays]], Float64[np.ndarray, "window body frame joint 3"]]


@dataclass(frozen=True)
class MotionPrediction:
    """Motion prediction: report `motion_prediction`, or `motion_prediction/autoregressive` by its mode.

    On Human3.6M these are scored on the set of 256 windows per action, and a second report on that of 8.

    Args:
        config: the recipe.
    """

    config: PredictionConfig = field(default_factory=PredictionConfig)

    @property
    def name(self) -> str:
        """How the task is called."""
        return _NAME

    def quick(self) -> "MotionPrediction":
        """Return the same task in its smallest useful size."""
        small = replace(self.config, steps=20, warmup_steps=2, train_stride=10, test_stride=25, hidden_width=64)
        return replace(self, config=small)

    def unsuited(self, data: TaskData) -> str | None:
        """Say which half of the data has no recording that is long enough."""
        config, store = self.config, data.store
        needed = {
            "training": (data.train_rows, config.observed_frames + config.learned_frames),
            "test": (data.test_rows, config.observed_frames + config.predicted_frames),
        }
        for half, (rows, frames) in needed.items():
            longest = max(_frames_at(store, row, config.fps) for row in rows.tolist())
            if longest < frames:
                return (
                    f"it observes {config.observed_frames} frames and forecasts {frames - config.observed_frames}, "
                    f"{frames / config.fps:.1f} s at {config.fps:g} frames per second, and the longest {half} clip "
                    f"has {longest}, {longest / config.fps:.1f} s (lower motion_prediction.observed_frames)"
                )
        return None

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Train a copy of the encoder and a head, forecast, then score."""
        config = self.config
        reason = self.unsuited(data)
        if reason is not None:
            raise DataError(f"motion prediction is not for protocol {data.protocol!r}: {reason}")
        recordings = Recordings.of(data.store, data.train_rows, config.fps)
        length = config.observed_frames + config.learned_frames
        cuts = sliding(recordings, length, config.train_stride, whole=False)
        trained = train_forecaster(encoder, recordings, cuts, config, context)
        name = _NAME if config.mode == "direct" else f"{_NAME}/autoregressive"
        facts = _facts(config, context, trained, recordings.frame_count, length, len(cuts))
        note = f"{_cost(context, trained)} {_left_out('training', recordings.frame_count, length, config.fps)}".strip()
        return [
            _report(windows, name, trained.forecast, config, facts, note, context)
            for windows in _test_windows(data, config)
        ]

    def raw(self, data: TaskData, context: TaskContext) -> list[Report]:
        """Forecast without an encoder."""
        return raw_prediction(data, context, self.config)

    def pool(self, parts: Sequence[Report]) -> Report:
        """Score the windows of all folds as one."""
        first = parts[0]
        recordings = [one for part in parts for one in part.detail["recordings"]]
        examples = [
            part.detail["examples"][number]
            for number in range(_EXAMPLES)
            for part in parts
            if number < len(part.detail["examples"])
        ]
        detail = {**first.detail, "recordings": recordings, "examples": examples[:_EXAMPLES]}
        settings = {**first.settings, "test_windows": sum(part.settings["test_windows"] for part in parts)}
        return replace(first, metrics=_scores(detail), detail=detail, settings=settings)


def raw_prediction(data: TaskData, context: TaskContext, config: PredictionConfig) -> list[Report]:
    """Score the forecasts that need no learning: `motion_prediction/zero velocity` and `.../constant velocity`."""
    baselines = {"zero velocity": 0.0, "constant velocity": 1.0}
    return [
        _report(windows, f"{_NAME}/{name}", _straight_on(config, share), config, {}, "", context, source="raw")
        for windows in _test_windows(data, config)
        for name, share in baselines.items()
    ]


def _straight_on(config: PredictionConfig, share: float) -> Forecast:
    """Forecast a share of the last displacement in every frame; a joint that was not seen twice stays."""

    def forecast(observed: Sequence[ClipArrays]) -> Float64[np.ndarray, "window body frame joint 3"]:
        joints, present = _side_by_side(observed)
        last = held(torch.from_numpy(joints), torch.from_numpy(present)).numpy()[:, :, -1:]
        seen_twice = (present[:, :, -1:] & present[:, :, -2:-1])[..., None]
        velocity = np.where(seen_twice, joints[:, :, -1:] - joints[:, :, -2:-1], 0.0)
        frame = np.arange(1, config.predicted_frames + 1)[:, None, None]
        return last + share * frame * velocity

    return forecast


@dataclass(frozen=True)
class _TestWindows:
    """What is forecast and scored.

    Args:
        recordings: at the frame rate of the task.
        cuts: observed and future frames together.
        ids: of the recordings.
        name: of the set of windows, where there are several; "" for the first.
        left_out: what is not scored, in a sentence.
        group: of each recording; groups have equal weight. None: windows have.
    """

    recordings: Recordings
    cuts: Cuts
    ids: tuple[str, ...]
    name: str
    left_out: str
    group: tuple[str, ...] | None = None


def _test_windows(data: TaskData, config: PredictionConfig) -> list[_TestWindows]:
    """Cut the test recordings, as the protocol of Human3.6M says where they are of it."""
    store = data.store
    recordings = Recordings.of(store, data.test_rows, config.fps)
    ids = tuple(store.ids[row] for row in data.test_rows.tolist())
    if store.source == "h36m" and store.skeleton.joints == H36M_32.joints:
        return _h36m_windows(store, recordings, ids, config)
    length = config.observed_frames + config.predicted_frames
    cuts = sliding(recordings, length, config.test_stride, whole=False)
    if not len(cuts):
        raise DataError(
            f"motion prediction: no test clip of protocol {data.protocol!r} has {length} frames at {config.fps:g} per "
            f"second (the longest has {recordings.frame_count.max()}); lower motion_prediction.observed_frames"
        )
    return [_TestWindows(recordings, cuts, ids, "", _left_out("test", recordings.frame_count, length, config.fps))]


def _h36m_windows(
    store: Store, recordings: Recordings, ids: tuple[str, ...], config: PredictionConfig
) -> list[_TestWindows]:
    """Return the official sets of windows, the larger one first."""
    if config.fps != 25.0 or config.predicted_frames > 100:
        raise ConfigError(
            "the test windows of Human3.6M are defined at 25 frames per second, with up to 100 forecast frames; got "
            f"motion_prediction.fps {config.fps:g} and motion_prediction.predicted_frames {config.predicted_frames}"
        )
    subject, action, take = (store.attribute(name)[recordings.row] for name in ("subject", "action", "take"))
    group = tuple(f"S{who} {what}" for who, what in zip(subject.tolist(), action.tolist(), strict=True))
    pairs: dict[str, dict[int, int]] = {}
    for recording, (name, number) in enumerate(zip(group, take.tolist(), strict=True)):
        pairs.setdefault(name, {})[int(number)] = recording
    whole = {name: (takes[1], takes[2]) for name, takes in pairs.items() if {1, 2} <= takes.keys()}
    if not whole:
        raise DataError("the test windows of Human3.6M are drawn from both takes of an action; no action here has both")
    missing = sorted(pairs.keys() - whole.keys())
    left_out = f"Left out, as one of two takes is missing: {', '.join(missing)}." if missing else ""
    length, frames = config.observed_frames + config.predicted_frames, recordings.frame_count.tolist()
    sets = []
    for name, draws in sorted(H36M_SETS.items(), key=lambda each: -each[1]):
        cuts = [
            (recording, start, length)
            for takes in whole.values()
            for recording, starts in zip(
                takes,
                h36m_window_starts((frames[takes[0]], frames[takes[1]]), config.observed_frames, draws),
                strict=True,
            )
            for start in starts.tolist()
        ]
        sets.append(_TestWindows(recordings, np.array(cuts, np.int64), ids, "" if not sets else name, left_out, group))
    return sets


def _report(
    windows: _TestWindows,
    task: str,
    forecast: Forecast,
    config: PredictionConfig,
    facts: dict[str, Any],
    note: str,
    context: TaskContext,
    source: str | None = None,
) -> Report:
    """Forecast all test windows, then score them."""
    horizons = horizons_within(config.predicted_frames, config.fps)
    frames = np.array(list(horizons.values())) - 1
    sums = {measure: np.zeros((len(windows.recordings), len(frames))) for measure in _MEASURES}
    counts = {measure: np.zeros((len(windows.recordings), len(frames)), np.int64) for measure in _MEASURES}
    shown = set(np.linspace(0, len(windows.cuts) - 1, _EXAMPLES).round().astype(int).tolist())
    examples = []
    for begin in range(0, len(windows.cuts), context.batch_clips):
        cuts = windows.cuts[begin : begin + context.batch_clips]
        # The forecaster is given what was observed, and nothing else.
        observed = [windows.recordings.cut(where, start, config.observed_frames) for where, start, _ in cuts.tolist()]
        said = forecast(observed)

        # What came. A joint that was never observed cannot be forecast.
        future = [
            windows.recordings.cut(where, start + config.observed_frames, config.predicted_frames)
            for where, start, _ in cuts.tolist()
        ]
        truth, present = _side_by_side(future)
        before, seen = _side_by_side(observed)
        present &= seen.any(2, keepdims=True)
        if windows.group is not None:
            said = h36m_completed(said, before[:, :, -1])
        for measure, centre in (("global", None), ("root_centred", centre_of(windows.recordings.skeleton))):
            errors, scored = window_errors_mm(said[:, :, frames], truth[:, :, frames], present[:, :, frames], centre)
            np.add.at(sums[measure], cuts[:, 0], np.where(scored, errors, 0.0))
            np.add.at(counts[measure], cuts[:, 0], scored)
        for place in sorted(shown & set(range(begin, begin + len(cuts)))):
            at = place - begin
            examples.append(_example(windows, int(cuts[at, 0]), config.fps, before[at], truth[at], said[at], seen[at]))

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
                    for measure in _MEASURES
                },
            }
            for number in np.unique(windows.cuts[:, 0]).tolist()
        ],
        "examples": examples,
    }
    between = ", " if "/" in task else "/"
    return Report(
        task=f"{task}{between}{windows.name}" if windows.name else task,
        metrics=_scores(detail),
        settings={
            **plain(config),
            **facts,
            "test_windows": len(windows.cuts),
            "average": "windows" if windows.group is None else "actions",
            "note": f"{note} {windows.left_out}".strip(),
        },
        seed=context.seed,
        num_labels_used=0,
        source=source or context.origin.source,
        detail=detail,
    )


def _scores(detail: dict[str, Any]) -> dict[str, float]:
    """Average what `Report.detail` has of every recording."""
    recordings = detail["recordings"]
    group = None
    if recordings[0]["group"] is not None:
        group = np.unique([one["group"] for one in recordings], return_inverse=True)[1].astype(np.int64)
    scores: dict[str, float] = {}
    for measure, name in _MEASURES.items():
        sums = np.array([one[measure]["sums_mm"] for one in recordings], np.float64)
        windows = np.array([one[measure]["windows"] for one in recordings], np.int64)
        for horizon, error in zip(detail["horizons_ms"], mean_error_mm(sums, windows, group).tolist(), strict=True):
            if np.isfinite(error):
                scores[f"{name}_{horizon}ms_mm"] = error
    return scores


def _side_by_side(
    clips: Sequence[ClipArrays],
) -> tuple[Float64[np.ndarray, "window body frame joint 3"], Bool[np.ndarray, "window body frame joint"]]:
    """Stack clips of one length; bodies that a clip does not have are absent."""
    bodies = max(present.shape[0] for _, present in clips)
    frames, joint_count = clips[0][1].shape[1:]
    joints = np.zeros((len(clips), bodies, frames, joint_count, 3))
    present = np.zeros(joints.shape[:-1], bool)
    for clip, (its_joints, its_present) in enumerate(clips):
        joints[clip, : len(its_joints)] = np.where(its_present[..., None], its_joints, 0.0)
        present[clip, : len(its_present)] = its_present
    return joints, present


def _example(
    windows: _TestWindows,
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


def _frames_at(store: Store, row: int, fps: float) -> int:
    """Return how many frames a clip has at a frame rate, without reading it."""
    return max(1, round(int(store.frame_count[row]) * fps / float(store.fps[row])))


def _left_out(half: str, frame_count: Int64[np.ndarray, " recording"], length: int, fps: float) -> str:
    """Say how many recordings are too short for one window."""
    short = int((frame_count < length).sum())
    if not short:
        return ""
    return f"{short} of {len(frame_count)} {half} clips are shorter than a window ({length / fps:.1f} s) and left out."


def _facts(
    config: PredictionConfig,
    context: TaskContext,
    trained: TrainedForecaster,
    frame_count: Int64[np.ndarray, " recording"],
    length: int,
    windows: int,
) -> dict[str, Any]:
    """Return what a training was, for the report's settings."""
    origin = context.origin
    return {
        "start": "from scratch" if origin.source == "random" else "from pre-training",
        "encoder_rate": 1.0 if origin.source == "random" else config.encoder_rate,
        "augment": plain(trained.augment),
        "steps_done": trained.steps,
        "training_windows": windows,
        "training_clips": int((frame_count >= length).sum()),
        "training_cpu_seconds": round(trained.cpu_seconds, 1),
        "pretraining_steps": origin.steps,
        "pretraining_cpu_seconds": origin.cpu_seconds,
        "asked": plain(config),
    }


def _cost(context: TaskContext, trained: TrainedForecaster) -> str:
    """Say what a score has cost in all."""
    origin, own = context.origin, f"{trained.steps} steps, {trained.cpu_seconds:.0f} processor seconds"
    if origin.source == "random":
        return f"Trained from scratch for {own}."
    if origin.cpu_seconds is None:
        return f"Trained for {own}, after a pre-training whose cost is not known."
    return f"Trained for {own}, after the {origin.cpu_seconds:.0f} processor seconds of pre-training."
