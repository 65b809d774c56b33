"""What happens inside a fine-tuning: how long it lasts, its steps, and the predictions after each epoch."""

import copy
import json
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from lightning_fabric import Fabric

from marrow.data.augment import AugmentConfig
from marrow.data.frames import flat_frames
from marrow.data.label_draws import draw_labels
from marrow.data.loader import ResidentLoader
from marrow.data.sampling import evaluation_batches
from marrow.errors import ConfigError, DataError
from marrow.files import write_text_whole, write_whole
from marrow.models.encoder import Encoder
from marrow.models.heads import Recogniser
from marrow.tasks.base import TaskContext, TaskData
from marrow.tasks.one_go import AT_THE_END, budget_within, choice_for, one_process
from marrow.tasks.recognition.first_head import first_head
from marrow.tasks.recognition.trainable import FinetuneConfig, Recognition, layer_scales
from marrow.train.checkpoint import CheckpointConfig
from marrow.train.compiled import CompileChoice
from marrow.train.logs import read_log
from marrow.train.loop import FitConfig, fit
from marrow.train.optim import Budget, learning_rate, optimizer_of

_log = logging.getLogger(__name__)
# Steps that are timed to learn what an epoch costs; the one before them warms up.
_TIMED_STEPS = 5


@dataclass
class Training:
    """What came of a training.

    Args:
        recogniser: the encoder and its head, as they are after the last step.
        predictions: predicted class of every test clip after every epoch, or every so many.
        predicted_after: how many epochs had been begun then, counted from 1.
        epochs: that were planned.
        steps_per_epoch: optimizer steps in one of them.
        steps: that were done.
        cpu_seconds: processor seconds of the training, without the predictions after each epoch.
        wall_seconds: likewise on the clock.
        layer_decay: that was used.
        augment: that was used.
    """

    recogniser: Recogniser
    predictions: Int64[np.ndarray, "epoch test"]
    predicted_after: tuple[int, ...]
    epochs: int
    steps_per_epoch: int
    steps: int
    cpu_seconds: float
    wall_seconds: float
    layer_decay: float
    augment: AugmentConfig


def train(
    folder: Path,
    encoder: Encoder,
    data: TaskData,
    config: FinetuneConfig,
    context: TaskContext,
    checkpoints: CheckpointConfig,
) -> Training | None:
    """Train a copy of an encoder and a head, or go on in a folder where that was interrupted; None if it is again."""
    # What to learn from. Clips without a label are an error here, not a class.
    data.train_labels()
    if len(data.train_rows) < 2:
        raise DataError("fine-tuning needs at least 2 training clips: the head normalises over the clips of a batch")
    fabric, _ = one_process(context, "fine-tuning")
    fabric.launch()
    device, encoder = fabric.device, copy.deepcopy(encoder)
    augment = config.augment or context.origin.augment or AugmentConfig()
    batch_clips = min(config.batch_clips, len(data.train_rows))
    steps = config.epochs * (len(data.train_rows) // batch_clips)
    choice = choice_for(context, device.type, steps, "Fine-tuning")
    cut = {"batch_clips": batch_clips, "seed": context.seed, "device": device, "fixed": choice.fixed}
    loader = ResidentLoader(data.store, data.train_rows, encoder.input, augment, **cut, planned=choice.captured)

    # What learns, and how fast each layer of it does.
    recognition = Recognition(encoder, first_head(encoder, data, config, context), config).to(device)
    layer_decay = 1.0 if context.origin.source == "random" else config.layer_decay
    optimizer = optimizer_of(recognition, config.optimizer, layer_scales(encoder, layer_decay))

    # How long.
    plan = folder / "plan.json"
    if not plan.exists():
        further = _further_epochs(fabric, recognition, loader, config, context, choice)
        write_text_whole(plan, json.dumps({"epochs": config.epochs + further}) + "\n")
    epochs = int(json.loads(plan.read_text(encoding="utf-8"))["epochs"])
    budget = budget_within(epochs * loader.steps_per_epoch, context)

    # Train; after every epoch, or every so many, predict.
    steps_between = loader.steps_per_epoch * config.predict_every
    watch = _Predictions(folder, recognition, data, fabric, context.batch_clips, steps_between)
    settings = FitConfig(
        budget,
        checkpoints,
        config.optimizer.clip_norm,
        log_every=loader.steps_per_epoch,
        compiled=choice.compiled,
        captured=choice.captured,
    )
    rate = learning_rate(config.optimizer, config.schedule, batch_clips, config.epochs)
    fitted = fit(fabric, recognition, optimizer, loader, rate, settings, folder, watch)
    if not fitted.finished:
        return None
    log = read_log(folder / "log.jsonl")
    recognition.eval()
    return Training(
        recogniser=Recogniser(encoder, recognition.head, data.classes),
        predictions=watch.until(fitted.step),
        predicted_after=tuple(-(-step // loader.steps_per_epoch) for step in watch.steps(fitted.step)),
        epochs=epochs,
        steps_per_epoch=loader.steps_per_epoch,
        steps=fitted.step,
        cpu_seconds=training_seconds(log, "cpu"),
        wall_seconds=training_seconds(log, "wall"),
        layer_decay=layer_decay,
        augment=augment,
    )


def train_in_one_go(encoder: Encoder, data: TaskData, config: FinetuneConfig, context: TaskContext) -> Training:
    """Train a copy of an encoder and a head in a folder that is gone afterwards; an interruption ends the task."""
    with tempfile.TemporaryDirectory(prefix="marrow-finetune-") as folder:
        training = train(Path(folder), encoder, data, config, context, AT_THE_END)
    if training is None:
        raise KeyboardInterrupt
    return training


def with_labels_used(data: TaskData, config: FinetuneConfig, context: TaskContext) -> TaskData:
    """Return the data with the training clips alone whose labels are used."""
    if config.label_fraction == 1.0:
        return data
    seed = label_seed(config, context)
    rows = draw_labels(data.store, data.train_rows, "stratified", config.label_fraction, seed)
    return replace(data, train_rows=rows)


def label_seed(config: FinetuneConfig, context: TaskContext) -> int:
    """Return the seed of the draw of labels: the one that is set, else that of the run, else that of the task."""
    # The first that is known: 0 is a seed.
    return next(seed for seed in (config.label_seed, context.origin.seed, context.seed) if seed is not None)


def training_seconds(log: Sequence[Mapping[str, Any]], clock: str) -> float:
    """Return what a training has taken by its log ("cpu" or "wall"), without the predictions after each epoch."""
    # An entry's clock is read before its own predictions: it contains those that the entry before it counts.
    before, last = [{}, *log][-2:]
    return last[f"{clock}_seconds"] - before.get(f"prediction_{clock}_seconds", 0.0)


def processor_seconds(seconds: float) -> str:
    """Return a time in words."""
    return f"{seconds:.0f} processor second{'' if f'{seconds:.0f}' == '1' else 's'}"


def _further_epochs(
    fabric: Fabric,
    recognition: Recognition,
    loader: ResidentLoader,
    config: FinetuneConfig,
    context: TaskContext,
    choice: CompileChoice,
) -> int:
    """Return how many epochs of training from scratch the time of the pre-training is worth."""
    if config.scratch_budget == "same_epochs" or context.origin.source != "random":
        return 0
    spent = context.origin.seconds(fabric.device.type)
    if spent is None:
        raise ConfigError(
            "scratch_budget is same_total, but what the pre-training cost is not known (it is in log.jsonl of its run "
            "directory); give the run directory, or choose same_epochs"
        )
    # Some steps of a copy, by the engine itself. The loader's place is put back.
    place, twin = loader.state_dict(), copy.deepcopy(recognition)
    clock = "cpu_seconds" if fabric.device.type == "cpu" else "wall_seconds"
    settings = FitConfig(
        Budget(1 + _TIMED_STEPS), AT_THE_END, log_every=1, compiled=choice.compiled, captured=choice.captured
    )
    with tempfile.TemporaryDirectory(prefix="marrow-timing-") as folder:
        timed = fit(fabric, twin, optimizer_of(twin, config.optimizer), loader, lambda _: 0.0, settings, Path(folder))
        if not timed.finished:
            raise KeyboardInterrupt  # there is nothing yet to go on with
        seconds = [entry[clock] for entry in read_log(Path(folder) / "log.jsonl")]
    loader.load_state_dict(place)
    # The first of two neighbouring entries is written after its own step: differences are whole steps.
    per_step = float(np.median(np.diff(seconds)))
    return round(spent / max(per_step * loader.steps_per_epoch, 1e-9))


class _Predictions:
    """Predicts the test clips every so many epochs and keeps what came of it, so that a resumed run has all of it.

    Called by the engine with every entry of its log.
    """

    def __init__(
        self,
        folder: Path,
        recognition: Recognition,
        data: TaskData,
        fabric: Fabric,
        batch_clips: int,
        steps_between: int,
    ) -> None:
        self._folder, self._recognition, self._fabric = folder / "predictions", recognition, fabric
        self._rows, self._batch_clips, self._steps_between = data.test_rows, batch_clips, steps_between
        self._frames = flat_frames(data.store, data.test_rows, recognition.encoder.input, fabric.device)
        self._history = read_log(folder / "log.jsonl")
        self._cpu_seconds = self._wall_seconds = 0.0

    def __call__(self, entry: dict[str, Any]) -> dict[str, float]:
        """Predict where epochs, or the run, have ended; return the time that all predictions have taken so far."""
        self._go_on(entry["step"])
        if entry["step"] % self._steps_between == 0 or entry["progress"] >= 1.0:
            wall, cpu = time.monotonic(), time.process_time()
            predicted = self._predict()
            path = self._folder / f"step-{entry['step']:08d}.npy"
            path.parent.mkdir(exist_ok=True)
            write_whole(path, partial(_save_array, predicted))
            self._wall_seconds += time.monotonic() - wall
            self._cpu_seconds += time.process_time() - cpu
        return {
            "prediction_cpu_seconds": round(self._cpu_seconds, 3),
            "prediction_wall_seconds": round(self._wall_seconds, 3),
        }

    def _go_on(self, step: int) -> None:
        """Take up what was spent before a step; the log may tell of later ones, which a resumed run lives anew."""
        before = [entry for entry in self._history if entry["step"] < step]
        self._history = []
        if before:
            self._cpu_seconds = before[-1]["prediction_cpu_seconds"]
            self._wall_seconds = before[-1]["prediction_wall_seconds"]

    def until(self, step: int) -> Int64[np.ndarray, "epoch test"]:
        """Return what was predicted up to a step, in the order of time."""
        return np.stack([np.load(self._folder / f"step-{number:08d}.npy") for number in self.steps(step)])

    def steps(self, last: int) -> list[int]:
        """Return the steps up to one after which there was a prediction."""
        steps = sorted(int(path.stem.removeprefix("step-")) for path in self._folder.glob("step-*.npy"))
        return [step for step in steps if step <= last]

    @torch.no_grad()
    def _predict(self) -> Int64[np.ndarray, " test"]:
        recognition, frames = self._recognition, self._frames
        recognition.eval()
        predicted = []
        batches = evaluation_batches(
            frames, self._rows, recognition.encoder.input, self._batch_clips, self._fabric.device
        )
        with self._fabric.autocast():
            for batch in batches:
                predicted.append(recognition.head(recognition.encoder(batch)).argmax(1))
        recognition.train()
        return torch.cat(predicted).cpu().numpy()


def _save_array(array: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, array)
