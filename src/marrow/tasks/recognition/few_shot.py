"""Few-shot evaluation: 1, 2, 5 or 10 labelled clips per class, on frozen features.

Two readouts that have nothing to tune: logistic regression, and the nearest class mean by cosine. The mean is taken
rather than the nearest clip because it uses all shots (with one they are the same; the nearest of all training clips is
the task `knn`). Scores are means over several draws of the clips, which depend on `label_seed` and on the data alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from marrow.data.label_draws import DRAWS, SHOTS, check_amount
from marrow.models.encoder import Encoder
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.numbers import About, label_of
from marrow.tasks.recognition.linear_probe import LogisticConfig
from marrow.tasks.recognition.over_draws import (
    DrawnPrediction,
    check_draws,
    label_choices,
    pooled_over_draws,
    report_over_draws,
)
from marrow.tasks.recognition.readouts import Logistic, nearest_class_mean, standardised
from marrow.train.device import make_fabric
from marrow.train.run_directory import plain

WAYS = {
    "few_shot_logistic": "Logistic regression on frozen features",
    "few_shot_nearest_mean": "Nearest class mean of frozen features",
}


@dataclass(frozen=True)
class FewShotConfig:
    """Settings of the few-shot evaluation.

    Args:
        shots: labelled clips per class, each number of which becomes two reports; of a class with fewer, all.
        draws: of each number, over which scores are averaged.
        label_seed: of the first draw; each further one has the next.
        lists: file of `marrow labels --scheme per_class` with the draws; null: draw here, which gives the same ones.
        logistic: settings of the logistic regression.
    """

    shots: tuple[int, ...] = SHOTS
    draws: int = DRAWS
    label_seed: int = 0
    lists: Path | None = None
    logistic: LogisticConfig = field(default_factory=LogisticConfig)

    def __post_init__(self) -> None:
        check_draws(self.draws, self.label_seed, [float(shots) for shots in self.shots])
        for shots in self.shots:
            check_amount("per_class", float(shots))


@dataclass(frozen=True)
class FewShot:
    """A few clips per class: reports `few_shot_logistic/5 per class` and `few_shot_nearest_mean/5 per class`.

    Args:
        config: how many, and which.
    """

    config: FewShotConfig = field(default_factory=FewShotConfig)

    @property
    def name(self) -> str:
        """How the task is called."""
        return "few_shot"

    def quick(self) -> "FewShot":
        """Return the task with two numbers of shots and one draw."""
        return FewShot(replace(self.config, shots=self.config.shots[:2], draws=1))

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Learn from every draw, predict, then score."""
        config = self.config
        chosen = label_choices(
            data,
            "per_class",
            [float(shots) for shots in config.shots],
            draws=config.draws,
            label_seed=config.label_seed,
            lists=config.lists,
        )
        train, test = standardised(
            context.table(encoder, data.store, data.train_rows).pooled,
            context.table(encoder, data.store, data.test_rows).pooled,
        )
        # Where features go to another device, distances are in fp32, which every device has.
        device = make_fabric(context.device, context.precision)[0].device
        number = torch.float64 if device.type == "cpu" else torch.float32
        gallery, query = (torch.from_numpy(each).to(device, number) for each in (train, test))
        counts = np.bincount(data.train_labels(), minlength=len(data.classes))
        asked = plain(config)
        learned: list[tuple[Report, list[DrawnPrediction]]] = []
        for shots, choices in zip(config.shots, chosen.values(), strict=True):
            by_logistic: list[DrawnPrediction] = []
            by_mean: list[DrawnPrediction] = []
            converged = True
            for choice in choices:
                fitted = Logistic.fitted(train[choice.places], choice.label, config.logistic)
                places = torch.from_numpy(choice.places).to(device)
                converged &= fitted.converged
                by_logistic.append(DrawnPrediction(choice, fitted.predict(test)))
                by_mean.append(DrawnPrediction(choice, nearest_class_mean(gallery[places], choice.label, query)))
            # Which other numbers of shots were asked for decides no score.
            settings = {name: value for name, value in asked.items() if name != "shots"}
            settings |= {"features": "centre crops, standardised by all training clips"}
            mean = {name: value for name, value in settings.items() if name != "logistic"} | {"distance": "cosine"}
            noted, variant = _fewer(counts, shots, data.classes), f"{shots} per class"
            learned += [
                (_report(f"few_shot_logistic/{variant}", settings, {**noted, "converged": converged}), by_logistic),
                (_report(f"few_shot_nearest_mean/{variant}", mean, noted), by_mean),
            ]

        # Predictions are made; from here on test labels are read.
        clips = data.test_clips()
        known = {"asked": asked, "seed": context.seed, "source": context.origin.source}
        return [report_over_draws(replace(report, **known), found, clips) for report, found in learned]

    def pool(self, parts: Sequence[Report]) -> Report:
        """Score the predictions of all folds together, draw by draw."""
        return pooled_over_draws(parts)


def _report(task: str, settings: dict[str, Any], noted: dict[str, Any]) -> Report:
    """Return a report without its scores."""
    return Report(task, {}, declared=about_of(task), settings=settings, noted=noted)


def about_of(task: str) -> About:
    """Say what a report on few shots is about."""
    kind, _, variant = task.partition("/")
    title, label = "Learning from a few clips of each class", label_of(task)
    return About("few_shot", title, plot="labels", way=WAYS[kind], variant=variant, label=label)


def _fewer(counts: Int64[np.ndarray, " class"], shots: int, classes: tuple[str, ...]) -> dict[str, str]:
    """Say which classes have fewer clips than there are shots; nothing where none has."""
    fewer = [f"{classes[each]} ({counts[each]})" for each in np.flatnonzero(counts < shots)]
    if not fewer:
        return {}
    shown = ", ".join(fewer[:5]) + (", ..." if len(fewer) > 5 else "")
    which = "One class has" if len(fewer) == 1 else f"{len(fewer)} classes have"
    return {"note": f"{which} fewer than {shots} training clips, all of which are used: {shown}."}
