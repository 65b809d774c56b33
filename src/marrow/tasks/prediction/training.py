"""Learning to forecast: the training of an encoder and its head on windows of recordings."""

import copy
from dataclasses import replace
from functools import partial

import torch

from marrow.data.augment import AugmentConfig
from marrow.data.recordings import CutLoader, Cuts, Recordings, uncropped
from marrow.models.blocks import seeded_weights
from marrow.models.encoder import Encoder
from marrow.tasks.base import TaskContext
from marrow.tasks.one_go import budget_within, check_one_process, choice_for, fit_in_one_go
from marrow.tasks.prediction.config import PredictionConfig
from marrow.tasks.prediction.forecaster import Forecasting, TrainedForecaster
from marrow.tasks.prediction.head import ForecastHead
from marrow.tasks.prediction.linear import fit_weights
from marrow.tasks.prediction.poses import centre_of
from marrow.train.device import make_fabric
from marrow.train.optim import adamw, rise_and_fall


def train_forecaster(
    encoder: Encoder, recordings: Recordings, cuts: Cuts, config: PredictionConfig, context: TaskContext
) -> TrainedForecaster:
    """Train a copy of an encoder and a head.

    Args:
        encoder: where to start; is left as it is.
        recordings: at the frame rate of the task.
        cuts: training windows, observed and learned frames together.
        config: the recipe.
        context: where to compute, seed, limits, and where the encoder comes from.
    """
    fabric, _ = make_fabric(context.device, context.precision)
    check_one_process(fabric.world_size, "motion prediction")
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
    optimizer = adamw(forecasting, config.optimizer, dict.fromkeys(encoder.parameters(), rate))
    schedule = partial(
        rise_and_fall,
        base=config.optimizer.learning_rate * config.optimizer.scale(batch_windows),
        minimum=config.min_learning_rate,
        warmup_share=config.warmup_steps / config.steps,
    )
    budget, clip_norm = budget_within(config.steps, context), config.optimizer.clip_norm
    fitted = fit_in_one_go(fabric, forecasting, optimizer, loader, schedule, budget, clip_norm, choice)
    return TrainedForecaster(forecasting.eval(), fabric, fitted.step, fitted.last["cpu_seconds"], augment)


def _turned_only(augment: AugmentConfig) -> AugmentConfig:
    """Return an augmentation that does to a whole window, observed and future, one and the same linear thing."""
    return replace(uncropped(augment), mirror_probability=0.0, jitter_metres=0.0)


def _head_for(
    encoder: Encoder, recordings: Recordings, cuts: Cuts, config: PredictionConfig, seed: int
) -> ForecastHead:
    """Make a head for the features of an encoder, which begins with what least squares say."""
    centre = centre_of(encoder.skeleton)
    weights = torch.zeros(2, config.learned_frames, config.recent_frames - 1)
    if config.begins_with == "linear_regression":
        solved = fit_weights(recordings, cuts, config.observed_frames, config.recent_frames, centre)
        weights = torch.from_numpy(solved).float()
    with seeded_weights(seed):
        shape, joints = encoder.feature_shape, len(encoder.skeleton.joints)
        return ForecastHead(shape.joints, shape.dim, joints, centre, weights, config)
