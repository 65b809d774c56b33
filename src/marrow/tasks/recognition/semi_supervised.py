"""Semi-supervised evaluation: pre-training saw all training clips, a few of them have labels.

The field's protocol: the whole network is fine-tuned on 1, 5, 10 or 20 % of the labels, and what is reported is the
mean over five draws of them. `readout: linear` asks the same of the frozen encoder, by logistic regression.

Draws depend on `label_seed` and on the data alone: every encoder, and every seed of a pre-training, learns from the
same clips. The field draws uniformly (`scheme: uniform`), which may miss classes; the default leaves each class a clip.

There is no validation split. The score is that of the last epoch; the best epoch, chosen on the test clips in each draw
apart, stands beside it (`top1_best_percent`).
"""

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64

from marrow.data.label_draws import DRAWS, FRACTIONS, check_amount
from marrow.errors import ConfigError
from marrow.models.encoder import Encoder
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.numbers import About, label_of
from marrow.tasks.one_go import AT_THE_END
from marrow.tasks.recognition.finetune_training import Training, train
from marrow.tasks.recognition.linear_probe import LogisticConfig
from marrow.tasks.recognition.over_draws import (
    DrawnPrediction,
    LabelChoice,
    check_draws,
    label_choices,
    missing_note,
    pooled_over_draws,
    report_over_draws,
)
from marrow.tasks.recognition.readouts import Logistic, standardised
from marrow.tasks.recognition.trainable import FinetuneConfig
from marrow.train.run_directory import plain

# Predictions after each epoch of each draw, and what is to be known: settings, cost, what is noted.
_Learned = tuple[list[Int64[np.ndarray, "epoch test"]], dict[str, Any], dict[str, Any], dict[str, Any]]


@dataclass(frozen=True)
class SemiSupervisedConfig:
    """Settings of the evaluation with few labels.

    Args:
        fractions: shares of the labels, each of which becomes a report.
        draws: of each share, over which scores are averaged.
        scheme: stratified: a share of every class, at least one clip each. uniform: a share of all clips, rounded down,
            as most papers draw; it may miss classes.
        label_seed: of the first draw; each further one has the next.
        lists: file of `marrow labels` with the draws; null: draw here, which gives the same ones.
        readout: finetune: encoder and head learn together. linear: logistic regression on frozen features.
        finetune: the recipe. Its test clips are predicted every tenth epoch, since with few labels the predictions cost
            more than the training.
        linear: settings of the logistic regression.
    """

    fractions: tuple[float, ...] = FRACTIONS
    draws: int = DRAWS
    scheme: Literal["stratified", "uniform"] = "stratified"
    label_seed: int = 0
    lists: Path | None = None
    readout: Literal["finetune", "linear"] = "finetune"
    finetune: FinetuneConfig = field(default_factory=lambda: FinetuneConfig(predict_every=10))
    linear: LogisticConfig = field(default_factory=LogisticConfig)

    def __post_init__(self) -> None:
        check_draws(self.draws, self.label_seed, self.fractions)
        for share in self.fractions:
            check_amount(self.scheme, share)
        if self.finetune.label_fraction != 1.0 or self.finetune.label_seed is not None:
            raise ConfigError(
                "semi_supervised.finetune.label_fraction and label_seed are not for this task; set "
                "semi_supervised.fractions and semi_supervised.label_seed"
            )


@dataclass(frozen=True)
class SemiSupervised:
    """Few labels: reports `semi_supervised/10 %`, or `semi_supervised_linear/10 %` of a frozen encoder.

    Args:
        config: shares, draws, and how the labels are learned.
    """

    config: SemiSupervisedConfig = field(default_factory=SemiSupervisedConfig)

    @property
    def name(self) -> str:
        """How the task is called."""
        return "semi_supervised"

    def quick(self) -> "SemiSupervised":
        """Return the task with two shares, one draw and two epochs."""
        config = self.config
        schedule = replace(config.finetune.schedule, warmup_epochs=0.0)
        finetune = replace(config.finetune, epochs=2, schedule=schedule)
        return SemiSupervised(replace(config, fractions=config.fractions[:2], draws=1, finetune=finetune))

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Learn from every draw of every share, predict, then score."""
        config = self.config
        # All draws first: what is wrong with one is said before an hour's training.
        chosen = label_choices(
            data,
            config.scheme,
            config.fractions,
            draws=config.draws,
            label_seed=config.label_seed,
            lists=config.lists,
        )
        linear = config.readout == "linear"
        learn = self._linear if linear else self._finetuned
        learned = {share: learn(encoder, data, context, choices) for share, choices in chosen.items()}

        # Predictions are made; from here on test labels are read. The best epoch is the one thing they choose.
        clips = data.test_clips()
        reports = []
        for share, (by_draw, settings, cost, noted) in learned.items():
            found = [
                DrawnPrediction(choice, by_epoch[-1], None if linear else _best(by_epoch, clips.label))
                for choice, by_epoch in zip(chosen[share], by_draw, strict=True)
            ]
            task = f"{self.name}{'_linear' if linear else ''}/{100 * share:g} %"
            report = Report(
                task,
                {},
                declared=about_of(task),
                settings=settings,
                asked=self._asked(),
                cost=cost,
                noted={**noted, "note": noted["note"] + missing_note(chosen[share])},
                seed=context.seed,
                source=context.origin.source,
            )
            reports.append(report_over_draws(report, found, clips))
        return reports

    def pool(self, parts: Sequence[Report]) -> Report:
        """Score the predictions of all folds together, draw by draw."""
        return pooled_over_draws(parts)

    def _linear(
        self, encoder: Encoder, data: TaskData, context: TaskContext, choices: Sequence[LabelChoice]
    ) -> _Learned:
        """Predict by logistic regression, which has one epoch."""
        train_table = context.table(encoder, data.store, data.train_rows)
        train_features, test_features = standardised(
            train_table.pooled, context.table(encoder, data.store, data.test_rows).pooled
        )
        by_draw, converged = [], True
        for choice in choices:
            features = train_features[choice.places]
            fitted = Logistic.fitted(features, choice.label, self.config.linear)
            converged &= fitted.converged
            by_draw.append(fitted.predict(test_features)[None])
        settings = {
            **self._settings(),
            "features": "centre crops, standardised by all training clips",
        }
        return by_draw, settings, {}, {"converged": converged, "note": f"Logistic regression on {_labels(choices)}."}

    def _finetuned(
        self, encoder: Encoder, data: TaskData, context: TaskContext, choices: Sequence[LabelChoice]
    ) -> _Learned:
        """Predict after each fine-tuning on the labels of one draw."""
        by_draw, trainings = [], list[Training]()
        for choice in choices:
            if len(np.unique(choice.label)) == 1:
                # Nothing to tell apart, and maybe no second clip for the head to normalise over.
                by_draw.append(np.full((1, len(data.test_rows)), choice.label[0]))
                continue
            learned = replace(data, train_rows=choice.rows)
            trainings.append(self._trained(encoder, learned, replace(context, seed=context.seed + choice.seed)))
            by_draw.append(trainings[-1].predictions)
        seconds = sum(training.cpu_seconds for training in trainings)
        start = context.origin.start
        steps = sorted({training.steps for training in trainings})
        spent = (
            f", {_range(steps)} steps, {seconds:.0f} processor second{'s'[: f'{seconds:.0f}' != '1']} in all"
            if trainings
            else ""
        )
        settings = {
            **self._settings(),
            "start": start,
            "layer_decay": trainings[0].layer_decay if trainings else None,
            "augment": plain(trainings[0].augment) if trainings else None,
            "epochs": trainings[0].epochs if trainings else 0,
        }
        cost = {
            "steps_done": steps,
            "training_cpu_seconds": round(seconds, 1),
            "training_wall_seconds": round(sum(training.wall_seconds for training in trainings), 1),
            "pretraining_steps": context.origin.steps,
            "pretraining_cpu_seconds": context.origin.cpu_seconds,
        }
        return by_draw, settings, cost, {"note": f"Fine-tuned {start} on {_labels(choices)}{spent}."}

    def _trained(self, encoder: Encoder, learned: TaskData, context: TaskContext) -> Training:
        with tempfile.TemporaryDirectory(prefix="marrow-semi-supervised-") as folder:
            training = train(Path(folder), copy.deepcopy(encoder), learned, self.config.finetune, context, AT_THE_END)
        if training is None:
            raise KeyboardInterrupt
        return training

    def _settings(self) -> dict[str, Any]:
        """Return the settings that decide a score: which other shares were asked for does not."""
        return {name: value for name, value in self._asked().items() if name != "fractions"}

    def _asked(self) -> dict[str, Any]:
        chosen = plain(self.config)
        # What the other readout would need decided nothing.
        chosen.pop("finetune" if self.config.readout == "linear" else "linear")
        return chosen


def about_of(task: str) -> About:
    """Say what a report on a share of the labels is about."""
    kind, _, variant = task.partition("/")
    way = "Logistic regression on frozen features" if kind == "semi_supervised_linear" else "Fine-tuned"
    title, label = "Learning from a share of the labels", label_of(task)
    return About("semi_supervised", title, plot="labels", way=way, variant=variant, label=label)


def _best(by_epoch: Int64[np.ndarray, "epoch test"], label: Int64[np.ndarray, " test"]) -> Int64[np.ndarray, " test"]:
    """Return the predictions with the most correct ones, the first of equals."""
    return by_epoch[int((by_epoch == label).mean(axis=1).argmax())]


def _labels(choices: Sequence[LabelChoice]) -> str:
    counts = sorted({len(choice.rows) for choice in choices})
    labels = f"{_range(counts)} label{'s'[: counts[-1] > 1]}"
    return f"{labels} in each of {len(choices)} draws" if len(choices) > 1 else f"{labels}, one draw"


def _range(values: Sequence[int]) -> str:
    return f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"
