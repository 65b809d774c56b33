"""Semi-supervised evaluation: pre-training saw all training clips, a few of them have labels.

The field's protocol: the whole network is fine-tuned on 1, 5, 10 or 20 % of the labels, and what is reported is the
mean over five draws of them. `readout: linear` asks the same of the frozen encoder, by logistic regression.

Draws depend on `label_seed` and on the data alone: every encoder, and every seed of a pre-training, learns from the
same clips. The field draws uniformly (`scheme: uniform`), which may miss classes; the default leaves each class a clip.

There is no validation split. The score is that of the last epoch; the best epoch, chosen on the test clips in each draw
apart, stands beside it (`top1_best_percent`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float64, Int64

from marrow.data.label_draws import DRAWS, FRACTIONS
from marrow.errors import ConfigError
from marrow.models.encoder import Encoder
from marrow.progress import Parts
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.metrics import best_epoch
from marrow.tasks.recognition.baselines import RawBaseline
from marrow.tasks.recognition.declared import about_of
from marrow.tasks.recognition.finetune_training import Training, processor_seconds, train_in_one_go
from marrow.tasks.recognition.over_draws import (
    DrawnPrediction,
    LabelChoice,
    check_draws,
    label_choices,
    missing_note,
    pooled_over_draws,
    report_over_draws,
)
from marrow.tasks.recognition.readouts import Logistic, LogisticConfig, standardised
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
        check_draws(self, self.fractions, self.scheme)
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

    name = "semi_supervised"
    raw_of_recognition = True
    config: SemiSupervisedConfig = field(default_factory=SemiSupervisedConfig)

    def quick(self) -> "SemiSupervised":
        """Return the task with two shares, one draw and two epochs."""
        config = self.config
        return SemiSupervised(
            replace(config, fractions=config.fractions[:2], draws=1, finetune=config.finetune.two_epochs())
        )

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Learn from every draw of every share, predict, then score."""
        # All draws first: what is wrong with one is said before an hour's training.
        choices_of_share = self._choices(data)
        is_linear = self.config.readout == "linear"
        if is_linear:
            halves = standardised(*(table.pooled for table in context.tables(encoder, data)))
            learned = {share: self._linear(*halves, choices) for share, choices in choices_of_share.items()}
        else:
            parts = Parts([_kind(share) for share, choices in choices_of_share.items() for _ in choices])
            learned = {
                share: self._finetuned(encoder, data, context, choices, parts, _kind(share))
                for share, choices in choices_of_share.items()
            }
        return self._scored(learned, choices_of_share, data, context, is_linear=is_linear, source=context.origin.source)

    def raw(self, data: TaskData, context: TaskContext) -> list[Report]:
        """Learn from aligned coordinates with the same labels, by logistic regression."""
        raw, choices_of_share = RawBaseline(), self._choices(data)
        rows = data.train_rows, data.test_rows
        halves = standardised(*(torch.from_numpy(raw.features(data.store, half)) for half in rows))
        learned = {
            share: self._linear(*halves, choices, "aligned coordinates, 32 frames")
            for share, choices in choices_of_share.items()
        }
        return self._scored(learned, choices_of_share, data, context, is_linear=True, source="raw")

    def _choices(self, data: TaskData) -> Mapping[float, Sequence[LabelChoice]]:
        """Draw the labels of every share."""
        config = self.config
        how = {"draws": config.draws, "label_seed": config.label_seed, "lists": config.lists}
        return label_choices(data, config.scheme, config.fractions, **how)

    def _scored(
        self,
        learned: Mapping[float, _Learned],
        choices_of_share: Mapping[float, Sequence[LabelChoice]],
        data: TaskData,
        context: TaskContext,
        *,
        is_linear: bool,
        source: str,
    ) -> list[Report]:
        # Predictions are made; from here on test labels are read. The best epoch is the one thing they choose.
        clips = data.test_clips()
        reports = []
        for share, (by_draw, settings, cost, noted) in learned.items():
            choices = choices_of_share[share]
            predictions = [
                DrawnPrediction(
                    choice, by_epoch[-1], None if is_linear else by_epoch[best_epoch(by_epoch, clips.label)]
                )
                for choice, by_epoch in zip(choices, by_draw, strict=True)
            ]
            task = f"{self.name}{'_linear' if is_linear else ''}/{100 * share:g} %"
            report = Report(
                task,
                {},
                declared=about_of(task),
                settings=settings,
                asked=self._asked(),
                cost=cost,
                noted={**noted, "note": noted["note"] + missing_note(choices)},
                seed=context.seed,
                source=source,
            )
            reports.append(report_over_draws(report, predictions, clips))
        return reports

    def pool(self, parts: Sequence[Report]) -> Report:
        """Score the predictions of all folds together, draw by draw."""
        return pooled_over_draws(parts)

    def _linear(
        self,
        train_features: Float64[np.ndarray, "train dim"],
        test_features: Float64[np.ndarray, "test dim"],
        choices: Sequence[LabelChoice],
        features: str = "centre crops",
    ) -> _Learned:
        """Predict by logistic regression, which has one epoch."""
        fitted = [
            Logistic.fitted(train_features[choice.places], choice.label, self.config.linear) for choice in choices
        ]
        by_draw = [logistic.predict(test_features)[None] for logistic in fitted]
        settings = {**self._settings(), "features": f"{features}, standardised by all training clips"}
        converged = all(logistic.converged for logistic in fitted)
        return by_draw, settings, {}, {"converged": converged, "note": f"Logistic regression on {_labels(choices)}."}

    def _finetuned(
        self,
        encoder: Encoder,
        data: TaskData,
        context: TaskContext,
        choices: Sequence[LabelChoice],
        parts: Parts,
        kind: str,
    ) -> _Learned:
        """Predict after each fine-tuning on the labels of one draw; `parts` says which one is at hand."""
        by_draw, trainings = [], list[Training]()
        for number, choice in enumerate(choices, start=1):
            parts.begin(kind, f"{kind}, draw {number} of {len(choices)}")
            if len(np.unique(choice.label)) == 1:
                # Nothing to tell apart, and maybe no second clip for the head to normalise over.
                by_draw.append(np.full((1, len(data.test_rows)), choice.label[0]))
                parts.done(kind, 0.0)
                continue
            learned = replace(data, train_rows=choice.rows)
            of_draw = replace(context, seed=context.seed + choice.seed)
            trainings.append(train_in_one_go(encoder, learned, self.config.finetune, of_draw))
            by_draw.append(trainings[-1].predictions)
            parts.done(kind)
        origin, steps = context.origin, sorted({training.steps for training in trainings})
        cpu_seconds, wall_seconds = (
            sum(getattr(training, clock) for training in trainings) for clock in ("cpu_seconds", "wall_seconds")
        )
        settings = {
            **self._settings(),
            "start": origin.start,
            "layer_decay": trainings[0].layer_decay if trainings else None,
            "augment": plain(trainings[0].augment) if trainings else None,
            "epochs": trainings[0].epochs if trainings else 0,
        }
        cost = {
            "steps_done": steps,
            "training_cpu_seconds": round(cpu_seconds, 1),
            "training_wall_seconds": round(wall_seconds, 1),
            "pretraining_steps": origin.steps,
            "pretraining_cpu_seconds": origin.cpu_seconds,
        }
        spent = f", {_range(steps)} steps, {processor_seconds(cpu_seconds)} in all" if trainings else ""
        return by_draw, settings, cost, {"note": f"Fine-tuned {origin.start} on {_labels(choices)}{spent}."}

    def _settings(self) -> dict[str, Any]:
        """Return the settings that decide a score: which other shares were asked for does not."""
        return {name: value for name, value in self._asked().items() if name != "fractions"}

    def _asked(self) -> dict[str, Any]:
        chosen = plain(self.config)
        # What the other readout would need decided nothing.
        chosen.pop("finetune" if self.config.readout == "linear" else "linear")
        return chosen


def _kind(share: float) -> str:
    return f"fine-tuning on {100 * share:g} % of the labels"


def _labels(choices: Sequence[LabelChoice]) -> str:
    counts = sorted({len(choice.rows) for choice in choices})
    labels = f"{_range(counts)} label{'s'[: counts[-1] > 1]}"
    return f"{labels} in each of {len(choices)} draws" if len(choices) > 1 else f"{labels}, one draw"


def _range(values: Sequence[int]) -> str:
    return f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"
