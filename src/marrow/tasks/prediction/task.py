"""Motion prediction: from two seconds of motion to the next one, for any encoder.

An encoder and a head (`forecaster.py`) are trained to continue windows of the training recordings, and
continue those of the test recordings; no label is read. Scores are position errors in millimetres at the field's
horizons (`metrics.py`), with the body's way through the room (`mpjpe_80ms_mm`) and without it
(`mpjpe_root_80ms_mm`).

Three forecasts without an encoder stand beside every score: that nothing moves any more (zero velocity), which is hard
to beat at long horizons, that everything goes on as in the last frame (constant velocity), which is hard to beat at
short ones, and a linear regression of the last steps, which is hard to beat at all, and from which the head begins.

On Human3.6M the windows and joints are those of the published protocol, in both of its sets of test windows.

Recordings are resampled to the task's frame rate between neighbouring frames. Where the rates differ, the last observed
frame may therefore hold a share of the recorded frame that follows it, less than one frame ahead.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from marrow.data.augment import AugmentConfig
from marrow.data.recordings import CutLoader, Cuts, Recordings, sliding, uncropped
from marrow.errors import DataError
from marrow.models.blocks import seeded_weights
from marrow.models.encoder import Encoder
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.one_go import choice_for, fit_in_one_go, one_process
from marrow.tasks.prediction.baselines import fit_weights, raw_prediction
from marrow.tasks.prediction.config import PredictionConfig
from marrow.tasks.prediction.forecaster import ForecastHead, Forecasting, TrainedForecaster
from marrow.tasks.prediction.kept import save_forecaster
from marrow.tasks.prediction.metrics import ABOUT
from marrow.tasks.prediction.scoring import EXAMPLES, figures_of, report_of
from marrow.tasks.prediction.windows import centre_of, frames_at, left_out, scored_windows
from marrow.train.run_directory import plain


@dataclass(frozen=True)
class MotionPrediction:
    """Motion prediction: report `motion_prediction`, or `motion_prediction/autoregressive` by its mode.

    On Human3.6M these are scored on the set of 256 windows per action, and a second report on that of 8.

    Args:
        config: the recipe.
    """

    name = "motion_prediction"
    config: PredictionConfig = field(default_factory=PredictionConfig)

    def quick(self) -> "MotionPrediction":
        """Return the same task in its smallest useful size."""
        small = replace(self.config, steps=20, warmup_steps=2, train_stride=10, test_stride=25, hidden_width=64)
        return replace(self, config=small)

    def unsuited(self, data: TaskData) -> str | None:
        """Say that the data has no millimetres, or which half of it has no recording that is long enough."""
        config, store = self.config, data.store
        if store.skeleton.dimensions == 2:
            return "it is scored in millimetres, which recordings in two dimensions do not have"
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
            f"{self.name}/{variant}" if variant else self.name,
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
        reports = [
            report_of(report, windows, trained.forecast, config, context.batch_clips)
            for windows in scored_windows(data, config)
        ]
        if (folder := context.kept_in(self.name)) is not None:
            provenance = {"protocol": data.protocol, "store": data.store.fingerprint}
            save_forecaster(folder, trained, reports[0], provenance)
        return reports

    def raw(self, data: TaskData, context: TaskContext) -> list[Report]:
        """Forecast without an encoder."""
        return raw_prediction(data, context, self.config)

    def pool(self, parts: Sequence[Report]) -> Report:
        """Score the windows of all folds as one."""
        first = parts[0]
        recordings = [recording for part in parts for recording in part.detail["recordings"]]
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


def train_forecaster(
    encoder: Encoder, recordings: Recordings, cuts: Cuts, config: PredictionConfig, context: TaskContext
) -> TrainedForecaster:
    """Train a copy of an encoder and a head.

    The windows, observed and learned frames together, are of recordings at the frame rate of the task.
    """
    fabric, _ = one_process(context, "motion prediction")
    fabric.launch()
    encoder = copy.deepcopy(encoder).to(fabric.device)
    frames = config.observed_frames + config.learned_frames
    augment = _turned_only(config.augment or context.origin.augment or AugmentConfig())
    # Windows are resized to as many frames as they have, which leaves them as they are.
    whole = replace(encoder.input, window_frames=frames, stream="joint", pace="resized")
    batch_windows = min(config.batch_windows, len(cuts))
    choice = choice_for(context, fabric.device.type, config.steps, "Motion prediction")
    cut = {"batch_clips": batch_windows, "seed": context.seed, "device": fabric.device, "fixed": choice.fixed}
    loader = CutLoader(recordings, cuts, whole, augment, aligned_by=config.observed_frames, **cut)

    head = _head_for(encoder, recordings, cuts, config, context.seed).to(fabric.device)
    forecasting = Forecasting(encoder, head, config)
    rate = 1.0 if context.origin.source == "random" else config.encoder_rate
    highest = config.optimizer.learning_rate * config.optimizer.scale(batch_windows)
    fitted = fit_in_one_go(
        *(fabric, forecasting, dict.fromkeys(encoder.parameters(), rate), loader, config, context, choice),
        highest_rate=highest,
        lowest_rate=config.min_learning_rate,
    )
    return TrainedForecaster(forecasting.eval(), fabric, fitted.step, fitted.last["cpu_seconds"], augment)


def _turned_only(augment: AugmentConfig) -> AugmentConfig:
    """Return an augmentation that does to a whole window, observed and future, one and the same linear thing."""
    return replace(uncropped(augment), mirror_probability=0.0, jitter_metres=0.0)


def _head_for(
    encoder: Encoder, recordings: Recordings, cuts: Cuts, config: PredictionConfig, seed: int
) -> ForecastHead:
    """Make a head for the features of an encoder, which begins with what least squares say."""
    centre = centre_of(encoder.skeleton, is_measured=True)
    weights = torch.zeros(2, config.learned_frames, config.recent_frames - 1)
    if config.begins_with == "linear_regression":
        solved = fit_weights(recordings, cuts, config.observed_frames, config.recent_frames, centre)
        weights = torch.from_numpy(solved).float()
    with seeded_weights(seed):
        shape, joints = encoder.feature_shape, len(encoder.skeleton.joints)
        return ForecastHead(shape.joints, shape.dim, joints, centre, weights, config, shape.summary_dim)
