"""What trainings inside tasks have in common: one process, limits, and a folder that is gone when they end."""

import logging
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from lightning_fabric import Fabric
from torch import nn

from marrow.errors import ConfigError
from marrow.models.trainable import Trainable
from marrow.tasks.base import TaskContext
from marrow.tasks.detection.config import DetectionConfig
from marrow.tasks.prediction.config import PredictionConfig
from marrow.train.checkpoint import CheckpointConfig
from marrow.train.compiled import CompileChoice, choose_compile
from marrow.train.device import PrecisionChoice, make_fabric
from marrow.train.loop import FitConfig, FitResult, Loader, fit
from marrow.train.optim import Budget, optimizer_of, rise_and_fall

_log = logging.getLogger(__name__)

# For trainings that nothing will resume: the engine saves once, at the end.
AT_THE_END = CheckpointConfig(every_minutes=1e9, keep_last=1)


def one_process(context: TaskContext, what: str) -> tuple[Fabric, PrecisionChoice]:
    """Make the Fabric of a training, and refuse several processes before they write anything."""
    fabric, precision = make_fabric(context.device, context.precision)
    if fabric.world_size > 1:
        raise ConfigError(f"{what} runs in one process, got {fabric.world_size} (start it without torchrun)")
    return fabric, precision


def budget_within(steps: int, context: TaskContext) -> Budget:
    """Return what a training of so many steps may spend, within the limits of the context."""
    return Budget(min(steps, context.max_steps or steps), context.max_minutes)


def choice_for(context: TaskContext, device_type: str, steps: int, what: str) -> CompileChoice:
    """Choose whether to compile and capture the steps of a training, and log why where they are, or were to be."""
    choice = choose_compile(context.compile, device_type, min(steps, context.max_steps or steps))
    if choice.fixed or context.compile == "on":
        _log.info("%s: %s", what, choice.reason)
    return choice


def fit_in_one_go(
    fabric: Fabric,
    trainable: Trainable,
    scales: Mapping[nn.Parameter, float],
    loader: Loader,
    config: DetectionConfig | PredictionConfig,
    context: TaskContext,
    choice: CompileChoice,
    *,
    highest_rate: float,
    lowest_rate: float,
) -> FitResult:
    """Train in place from the beginning to the end of the budget; an interruption ends the task.

    Where steps are captured, the loader gives batches of fixed shapes. Each parameter has its share of the learning
    rate, which rises and falls between two rates.
    """
    optimizer = optimizer_of(trainable, config.optimizer, scales)
    warmup_share = config.warmup_steps / config.steps
    rate = partial(rise_and_fall, base=highest_rate, minimum=lowest_rate, warmup_share=warmup_share)
    settings = FitConfig(
        budget_within(config.steps, context),
        AT_THE_END,
        config.optimizer.clip_norm,
        compiled=choice.compiled,
        captured=choice.captured,
    )
    with tempfile.TemporaryDirectory(prefix="marrow-training-") as folder:
        fitted = fit(fabric, trainable, optimizer, loader, rate, settings, Path(folder))
    if not fitted.finished:
        raise KeyboardInterrupt
    return fitted
