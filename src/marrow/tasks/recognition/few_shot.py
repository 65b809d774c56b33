"""Few-shot evaluation: 1, 2, 5 or 10 labelled clips per class, on frozen features.

Two readouts that have nothing to tune: logistic regression, and the nearest class mean by cosine. The mean is taken
rather than the nearest clip because it uses all shots (with one they are the same; the nearest of all training clips is
the task `knn`). Scores are means over several draws of the clips, which depend on `label_seed` and on the data alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64

from marrow.data.label_draws import DRAWS, SHOTS
from marrow.models.encoder import Encoder
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.recognition.baselines import RawBaseline
from marrow.tasks.recognition.declared import about_of
from marrow.tasks.recognition.over_draws import (
    DrawnPrediction,
    check_draws,
    label_choices,
    pooled_over_draws,
    report_over_draws,
)
from marrow.tasks.recognition.readouts import Logistic, LogisticConfig, nearest_class_mean, standardised
from marrow.train.run_directory import plain


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
        check_draws(self, [float(shots) for shots in self.shots], "per_class")


@dataclass(frozen=True)
class FewShot:
    """A few clips per class: reports `few_shot_logistic/5 per class` and `few_shot_nearest_mean/5 per class`.

    Args:
        config: how many, and which.
    """

    name = "few_shot"
    raw_of_recognition = True
    config: FewShotConfig = field(default_factory=FewShotConfig)

    def quick(self) -> "FewShot":
        """Return the task with two numbers of shots and one draw."""
        return FewShot(replace(self.config, shots=self.config.shots[:2], draws=1))

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Learn from every draw, predict, then score."""
        train, test = standardised(*(table.pooled for table in context.tables(encoder, data)))
        of = "centre crops, standardised by all training clips"
        return self._reports(train, test, data, context, of, context.origin.source)

    def raw(self, data: TaskData, context: TaskContext) -> list[Report]:
        """Learn from aligned coordinates with the same labels, predict, then score."""
        raw = RawBaseline()
        rows = data.train_rows, data.test_rows
        train, test = standardised(*(torch.from_numpy(raw.features(data.store, half)) for half in rows))
        of = "aligned coordinates, 32 frames, standardised by all training clips"
        return self._reports(train, test, data, context, of, "raw")

    def _reports(
        self,
        train: Float64[np.ndarray, "train dim"],
        test: Float64[np.ndarray, "test dim"],
        data: TaskData,
        context: TaskContext,
        features: str,
        source: str,
    ) -> list[Report]:
        config, asked = self.config, plain(self.config)
        shots_of_draws = label_choices(
            data,
            "per_class",
            [float(shots) for shots in config.shots],
            draws=config.draws,
            label_seed=config.label_seed,
            lists=config.lists,
        )
        # Where features go to another device, distances are in fp32, which every device has.
        device = context.fabric().device
        number = torch.float64 if device.type == "cpu" else torch.float32
        gallery, query = (torch.from_numpy(half).to(device, number) for half in (train, test))
        counts = np.bincount(data.train_labels(), minlength=len(data.classes))
        # Which other numbers of shots were asked for decides no score.
        settings = {name: value for name, value in asked.items() if name != "shots"}
        settings |= {"features": features}
        of_mean = {name: value for name, value in settings.items() if name != "logistic"} | {"distance": "cosine"}
        learned: list[tuple[Report, list[DrawnPrediction]]] = []
        for shots, choices in zip(config.shots, shots_of_draws.values(), strict=True):
            by_logistic: list[DrawnPrediction] = []
            by_mean: list[DrawnPrediction] = []
            converged = True
            for choice in choices:
                fitted = Logistic.fitted(train[choice.places], choice.label, config.logistic)
                converged &= fitted.converged
                by_logistic.append(DrawnPrediction(choice, fitted.predict(test)))
                places = torch.from_numpy(choice.places).to(device)
                by_mean.append(DrawnPrediction(choice, nearest_class_mean(gallery[places], choice.label, query)))
            noted = _fewer(counts, shots, data.classes)
            for kind, how, note, predictions in (
                ("few_shot_logistic", settings, {**noted, "converged": converged}, by_logistic),
                ("few_shot_nearest_mean", of_mean, noted, by_mean),
            ):
                task = f"{kind}/{shots} per class"
                report = Report(
                    task,
                    {},
                    declared=about_of(task),
                    settings=how,
                    asked=asked,
                    noted=note,
                    seed=context.seed,
                    source=source,
                )
                learned.append((report, predictions))

        # Predictions are made; from here on test labels are read.
        clips = data.test_clips()
        return [report_over_draws(report, predictions, clips) for report, predictions in learned]

    def pool(self, parts: Sequence[Report]) -> Report:
        """Score the predictions of all folds together, draw by draw."""
        return pooled_over_draws(parts)


def _fewer(counts: Int64[np.ndarray, " class"], shots: int, classes: tuple[str, ...]) -> dict[str, str]:
    """Say which classes have fewer clips than there are shots; nothing where none has. Some are not in the protocol."""
    fewer = [f"{classes[number]} ({counts[number]})" for number in np.flatnonzero((counts > 0) & (counts < shots))]
    if not fewer:
        return {}
    shown = ", ".join(fewer[:5]) + (", ..." if len(fewer) > 5 else "")
    which = "One class has" if len(fewer) == 1 else f"{len(fewer)} classes have"
    return {"note": f"{which} fewer than {shots} training clips, all of which are used: {shown}."}
