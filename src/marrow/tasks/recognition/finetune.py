"""Fine-tuning: the encoder and a head learn the labels together.

The recipe is MAMP's (Mao et al., ICCV 2023): AdamW whose learning rate falls from the head towards the input (layer
decay), residual branches left out at random (drop-path), dropout on the features, label smoothing, crops and rotations
drawn anew every epoch. From scratch everything is the same, but layer decay is off.

There is no validation split in these protocols. The score of the last epoch ("top1_last") is the score; that of the
best epoch on the test clips ("top1_best") stands beside it, for comparison with published figures only.

Deviations: absent bodies and joints take no part in the average before the head (the authors average a skeleton at the
origin in); an epoch leaves out what does not fill a batch, other clips each time.

With few labels ("finetune/10 % of labels") the epochs stay as many, so that the steps become fewer.

Pre-training is not free: every report says what it cost, and `scratch_budget="same_total"` gives training from scratch
the same time in all, as further epochs.
"""

import copy
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from marrow.models.encoder import Encoder
from marrow.models.heads import Recogniser
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.numbers import About
from marrow.tasks.one_go import AT_THE_END
from marrow.tasks.recognition.finetune_training import Training, label_seed, train, with_labels_used
from marrow.tasks.recognition.trainable import FinetuneConfig
from marrow.train.checkpoint import CheckpointConfig
from marrow.train.run_directory import plain


@dataclass(frozen=True)
class Finetune:
    """Fine-tuning: reports `finetune`, or with few labels a variant that says how many: `finetune/10 % of labels`.

    Args:
        config: the recipe.
    """

    config: FinetuneConfig = field(default_factory=FinetuneConfig)

    @property
    def name(self) -> str:
        """How the task is called."""
        return "finetune"

    def quick(self) -> "Finetune":
        """Return the task with two epochs."""
        schedule = replace(self.config.schedule, warmup_epochs=0.0)
        return Finetune(replace(self.config, epochs=2, schedule=schedule))

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Train a copy of the encoder and a head, predict, then score."""
        with tempfile.TemporaryDirectory(prefix="marrow-finetune-") as folder:
            finished = finetune_in(Path(folder), encoder, data, self.config, context, AT_THE_END)
        if finished is None:
            raise KeyboardInterrupt
        return [finished[1]]


def finetune_in(
    folder: Path,
    encoder: Encoder,
    data: TaskData,
    config: FinetuneConfig,
    context: TaskContext,
    checkpoints: CheckpointConfig,
) -> tuple[Recogniser, Report] | None:
    """Fine-tune a copy of an encoder in a folder, or go on there.

    Args:
        folder: receives `log.jsonl`, `checkpoints/`, `predictions/` and `plan.json`.
        encoder: where to start; is left as it is.
        data: what to learn from, and what to score.
        config: the recipe.
        context: where to compute, seed, limits, and where the encoder comes from.
        checkpoints: when to save.

    Returns:
        What came of it, and its report; None where it was interrupted.
    """
    learned = with_labels_used(data, config, context)
    training = train(folder, copy.deepcopy(encoder), learned, config, context, checkpoints)
    if training is None:
        return None
    # Predictions are made; from here on test labels are read. The best epoch is the one thing they choose. Clean scores
    # leave out copies of all training clips, also of those whose labels are not used: others learn from them.
    clips = data.test_clips()
    by_epoch: Int64[np.ndarray, "epoch test"] = training.predictions
    best = int((by_epoch == clips.label).mean(axis=1).argmax())
    share = f"/{100 * config.label_fraction:g} % of labels" if config.label_fraction < 1.0 else ""
    origin = context.origin
    report = Report.scored(
        f"finetune{share}",
        {"top1_last": by_epoch[-1], "top1_best": by_epoch[best]},
        clips,
        settings={
            **plain(config),
            "start": origin.start,
            "layer_decay": training.layer_decay,
            "augment": plain(training.augment),
            "epochs": training.epochs,
        },
        asked=plain(config),
        cost={
            "steps_per_epoch": training.steps_per_epoch,
            "steps_done": training.steps,
            "training_cpu_seconds": round(training.cpu_seconds, 1),
            "training_wall_seconds": round(training.wall_seconds, 1),
            "pretraining_steps": origin.steps,
            "pretraining_cpu_seconds": origin.cpu_seconds,
            "pretraining_wall_seconds": origin.wall_seconds,
        },
        noted={
            "best_epoch": training.predicted_after[best],
            "stopped_early": training.steps < training.epochs * training.steps_per_epoch,
            "label_seed_used": label_seed(config, context) if config.label_fraction < 1.0 else None,
            "note": _note(config, context, training, len(learned.train_rows)),
        },
        seed=context.seed,
        num_labels_used=len(learned.train_rows),
        source=origin.source,
        about=about_of(f"finetune{share}"),
    )
    return training.recogniser, report


def about_of(task: str) -> About:
    """Say what a report of fine-tuning is about; heads on raw coordinates learn from all labels, not from a share."""
    about = About.of_recognition(task)
    return about if not about.variant else replace(about, beside="")


def _note(config: FinetuneConfig, context: TaskContext, training: Training, labels: int) -> str:
    """Say in a sentence or two what a score has cost in all."""
    origin, spent = context.origin, training.cpu_seconds
    epochs = f"{training.steps / training.steps_per_epoch:.3g}"
    own = f"{epochs} epoch{'' if epochs == '1' else 's'}, {training.steps} steps, {_seconds(spent)}"
    if config.label_fraction < 1.0:
        own += f", with {labels} label{'s'[: labels > 1]}"
    if origin.cpu_seconds is None:
        before = "a pre-training whose cost is not known"
    else:
        before = f"the {_seconds(origin.cpu_seconds)} of pre-training ({origin.steps} steps)"
    if origin.source != "random":
        total = "" if origin.cpu_seconds is None else f": {_seconds(spent + origin.cpu_seconds)} in all"
        return f"Fine-tuned for {own}, after {before}{total}."
    if config.scratch_budget == "same_total":
        return f"Trained from scratch for {own}. Equal total budget: {before} went into further epochs."
    return f"Trained from scratch for {own}. Equal epochs, not equal total: {before} are not made up for."


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} processor second{'' if f'{seconds:.0f}' == '1' else 's'}"
