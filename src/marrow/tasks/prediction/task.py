"""Motion prediction: from two seconds of motion to the next one, for any encoder.

An encoder and a head (`tasks/prediction_forecaster.py`) are trained to continue windows of the training recordings, and
continue those of the test recordings; no label is read. Scores are position errors in millimetres at the field's
horizons (`tasks/prediction_metrics.py`), with the body's way through the room (`mpjpe_80ms_mm`) and without it
(`mpjpe_root_80ms_mm`).

Three forecasts without an encoder stand beside every score: that nothing moves any more (zero velocity), which is hard
to beat at long horizons, that everything goes on as in the last frame (constant velocity), which is hard to beat at
short ones, and a linear regression of the last steps, which is hard to beat at all, and from which the head begins.

On Human3.6M the windows and joints are those of the published protocol, in both of its sets of test windows.

Recordings are resampled to the task's frame rate between neighbouring frames. Where the rates differ, the last observed
frame may therefore hold a share of the recorded frame that follows it, less than one frame ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from marrow.data.recordings import Recordings, sliding
from marrow.errors import DataError
from marrow.models.encoder import Encoder
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.prediction.baselines import raw_prediction
from marrow.tasks.prediction.config import PredictionConfig
from marrow.tasks.prediction.forecaster import TrainedForecaster
from marrow.tasks.prediction.scoring import ABOUT, EXAMPLES, figures_of, report_of
from marrow.tasks.prediction.training import train_forecaster
from marrow.tasks.prediction.windows import frames_at, left_out, scored_windows
from marrow.train.run_directory import plain

_NAME = "motion_prediction"


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
            longest = max(frames_at(store, row, config.fps) for row in rows.tolist())
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
        origin = context.origin
        variant = "" if config.mode == "direct" else "autoregressive"
        note = f"{_cost(context, trained)} {left_out('training', recordings.frame_count, length, config.fps)}".strip()
        report = Report(
            f"{_NAME}/{variant}" if variant else _NAME,
            {},
            declared=replace(ABOUT, variant=variant),
            settings={
                **plain(config),
                "start": origin.start,
                "encoder_rate": 1.0 if origin.source == "random" else config.encoder_rate,
                "augment": plain(trained.augment),
                "training_windows": len(cuts),
                "training_clips": int((recordings.frame_count >= length).sum()),
            },
            asked=plain(config),
            cost={
                "steps_done": trained.steps,
                "training_cpu_seconds": round(trained.cpu_seconds, 1),
                "pretraining_steps": origin.steps,
                "pretraining_cpu_seconds": origin.cpu_seconds,
            },
            noted={"note": note},
            seed=context.seed,
            source=origin.source,
        )
        return [
            report_of(report, windows, trained.forecast, config, context.batch_clips)
            for windows in scored_windows(data, config)
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
            for number in range(EXAMPLES)
            for part in parts
            if number < len(part.detail["examples"])
        ]
        detail = {**first.detail, "recordings": recordings, "examples": examples[:EXAMPLES]}
        settings = {**first.settings, "test_windows": sum(part.settings["test_windows"] for part in parts)}
        return replace(first, **figures_of(detail), detail=detail, settings=settings)


def _cost(context: TaskContext, trained: TrainedForecaster) -> str:
    """Say what a score has cost in all."""
    origin, own = context.origin, f"{trained.steps} steps, {trained.cpu_seconds:.0f} processor seconds"
    if origin.source == "random":
        return f"Trained from scratch for {own}."
    if origin.cpu_seconds is None:
        return f"Trained for {own}, after a pre-training whose cost is not known."
    return f"Trained for {own}, after the {origin.cpu_seconds:.0f} processor seconds of pre-training."
