"""Linear evaluation of a frozen encoder.

Two heads, both on centre crops whose features are extracted once:

- the paper's: BatchNorm without affine (eps 1e-6), then one linear layer (weights truncated normal, std 0.01), trained
  by SGD: learning rate 0.1, momentum 0.9, no weight decay, cosine to zero at every step without warm-up, 100 epochs of
  batches of 256. On features averaged over everything, and on features with the joints kept apart.
- logistic regression on standardised averaged features, to its optimum: quick, and nothing to tune.

With `augmented` the paper's head sees what the paper gives it: every epoch the training clips are cropped and rotated
anew and the encoder runs on each of them (100 passes over the training split instead of one).

There is no validation split in these protocols and the field reports the best epoch on the test split. Here the score
of the last epoch ("top1_last") is the score; that of the best epoch ("top1_best") stands beside it, for comparison
with published figures only. The best epoch is the one with the highest score on all test clips, the first of equals.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from marrow.data.augment import AugmentConfig
from marrow.data.loader import ResidentLoader
from marrow.models.encoder import Encoder
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.features import encode_on
from marrow.tasks.metrics import best_epoch
from marrow.tasks.recognition.declared import about_of
from marrow.tasks.recognition.readouts import Logistic, LogisticConfig, standardised

Views = Mapping[str, Float[Tensor, "clip _"]]
EpochBatches = Callable[[], Iterator[tuple[Views, Int64[Tensor, " clip"]]]]


@dataclass(frozen=True)
class ProbeConfig:
    """The settings of the trained head; the defaults are the paper's.

    Args:
        epochs: passes over the training clips.
        batch_clips: clips per step; a data set with fewer is one batch.
        lr: learning rate at the start.
        momentum: of SGD.
        init_std: of the linear weights.
    """

    epochs: int = 100
    batch_clips: int = 256
    lr: float = 0.1
    momentum: float = 0.9
    init_std: float = 0.01


@dataclass(frozen=True)
class LinearProbe:
    """Linear evaluation: reports `linear_probe/pooled`, `linear_probe/joints`, `logistic/pooled`.

    Args:
        probe: settings of the trained head.
        logistic: settings of the quick head; None leaves it out.
        augmented: crop and rotate the training clips anew in every epoch, as the paper does, and report as
            `linear_probe_augmented/...`; None trains on the cached features of centre crops.
    """

    name = "linear_probe"
    probe: ProbeConfig = ProbeConfig()
    logistic: LogisticConfig | None = field(default_factory=LogisticConfig)
    augmented: AugmentConfig | None = None

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Train the heads, predict, then score."""
        label = torch.from_numpy(data.train_labels())
        test = context.table(encoder, data.store, data.test_rows)
        settings: dict[str, Any] = {**asdict(self.probe), "features": "centre crops, extracted once"}
        prefix = "linear_probe"
        if self.augmented is None:
            train = context.table(encoder, data.store, data.train_rows)
            batches = cached_batches(
                train.views(), label, self.probe.batch_clips, context.seed, context.fabric().device
            )
            steps = len(_splits(label, self.probe.batch_clips))
        else:
            loader = _augmented_loader(encoder, data, context, self.augmented, self.probe.batch_clips)
            batches, steps = _augmented_batches(encoder, loader, context), loader.steps_per_epoch
            prefix = "linear_probe_augmented"
            settings |= {"features": "augmented, extracted in every epoch", "augment": asdict(self.augmented)}
        fit = fit_heads(batches, test.views(), len(data.classes), self.probe, steps_per_epoch=steps, context=context)
        outcomes: dict[str, dict[str, Any]] = {}
        if self.logistic is not None:
            train = context.table(encoder, data.store, data.train_rows)
            train_features, test_features = standardised(train.pooled, test.pooled)
            logistic = Logistic.fitted(train_features, label.numpy(), self.logistic)
            outcomes["logistic/pooled"] = {
                "predictions": {"top1": logistic.predict(test_features)},
                "settings": {**asdict(self.logistic), "features": "centre crops, standardised"},
                "noted": {"converged": logistic.converged},
            }

        # Predictions are made; from here on test labels are read. The best epoch is the one thing they choose.
        clips = data.test_clips()
        for view, by_epoch in fit.predictions.items():
            best = best_epoch(by_epoch, clips.label)
            outcomes[f"{prefix}/{view}"] = {
                "predictions": {"top1_last": by_epoch[-1], "top1_best": by_epoch[best]},
                "settings": settings,
                "cost": {"steps_per_epoch": steps, "steps_done": fit.steps_done},
                "noted": {"stopped_early": fit.stopped_early, "best_epoch": best + 1},
            }
        common = {"seed": context.seed, "num_labels_used": len(label)}
        return [
            Report.scored(task, test=clips, about=about_of(task), **common, **outcome)
            for task, outcome in outcomes.items()
        ]


@dataclass(frozen=True)
class HeadFit:
    """What came of training heads.

    Args:
        predictions: predicted class of every test clip after every epoch, by kind of feature.
        steps_done: optimizer steps.
        stopped_early: whether `max_minutes` ended the training.
    """

    predictions: dict[str, Int64[np.ndarray, "epoch test"]]
    steps_done: int
    stopped_early: bool


def fit_heads(
    epoch_batches: EpochBatches,
    test: Views,
    class_count: int,
    config: ProbeConfig,
    *,
    steps_per_epoch: int,
    context: TaskContext,
) -> HeadFit:
    """Train one head per kind of feature, side by side on the same batches, and predict after every epoch.

    Args:
        epoch_batches: makes the batches of the next epoch: features by kind, and labels, on the device.
        test: features to predict, by kind.
        class_count: outputs of the heads.
        config: the recipe.
        steps_per_epoch: batches per epoch.
        context: seed and limits. `max_steps` shortens the schedule with the training; `max_minutes` cuts it.
    """
    device = context.fabric().device
    generator = torch.Generator().manual_seed(context.seed)
    heads = nn.ModuleDict(
        {view: _head(x.shape[1], class_count, config.init_std, generator) for view, x in test.items()}
    )
    heads.to(device)
    optimizer = torch.optim.SGD(heads.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=0.0)
    total = config.epochs * steps_per_epoch
    total = total if context.max_steps is None else min(total, context.max_steps)
    deadline = math.inf if context.max_minutes is None else time.monotonic() + 60.0 * context.max_minutes
    on_device = {view: features.to(device) for view, features in test.items()}
    by_epoch: dict[str, list[Tensor]] = {view: [] for view in test}
    step, late = 0, False
    while step < total and not late:
        heads.train()
        for views, label in epoch_batches():
            for group in optimizer.param_groups:
                group["lr"] = 0.5 * config.lr * (1.0 + math.cos(math.pi * step / total))
            probe_step(heads, optimizer, views, label)
            step += 1
            late = time.monotonic() > deadline
            if step == total or late:
                break
        heads.eval()
        with torch.inference_mode():
            for view, features in on_device.items():
                by_epoch[view].append(heads[view](features).argmax(dim=1))
    predictions = {view: torch.stack(epochs).cpu().numpy() for view, epochs in by_epoch.items()}
    return HeadFit(predictions, step, step < total)


def probe_step(heads: nn.ModuleDict, optimizer: torch.optim.SGD, views: Views, label: Int64[Tensor, " clip"]) -> None:
    """Take one step with every head; all is on one device, and nothing is read from there."""
    # The heads share no weight: the gradient of the sum is each one's own.
    losses = [nn.functional.cross_entropy(heads[view](x), label) for view, x in views.items()]
    optimizer.zero_grad()
    torch.stack(losses).sum().backward()
    optimizer.step()


def _head(dim: int, class_count: int, init_std: float, generator: torch.Generator) -> nn.Sequential:
    linear = nn.Linear(dim, class_count)
    nn.init.trunc_normal_(linear.weight, std=init_std, generator=generator)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.BatchNorm1d(dim, affine=False, eps=1e-6), linear)


def _splits(order: Int64[Tensor, " clip"], batch_clips: int) -> list[Tensor]:
    """Cut clips into batches; a last batch of one clip is left out, for it has no variance to normalise by."""
    return [part for part in order.split(batch_clips) if len(part) > 1]


def cached_batches(
    views: Views, label: Int64[Tensor, " clip"], batch_clips: int, seed: int, device: torch.device
) -> EpochBatches:
    """Return what shuffles clips anew in every epoch; features are copied to the device once, an order per epoch."""
    generator = torch.Generator().manual_seed(seed)
    views, label = {view: features.to(device) for view, features in views.items()}, label.to(device)

    def epoch() -> Iterator[tuple[Views, Int64[Tensor, " clip"]]]:
        for index in _splits(torch.randperm(len(label), generator=generator).to(device), batch_clips):
            yield {view: features[index] for view, features in views.items()}, label[index]

    return epoch


def _augmented_loader(
    encoder: Encoder, data: TaskData, context: TaskContext, augment: AugmentConfig, batch_clips: int
) -> ResidentLoader:
    device = context.fabric().device
    return ResidentLoader(
        data.store,
        data.train_rows,
        encoder.input,
        augment,
        batch_clips=min(batch_clips, len(data.train_rows)),
        seed=context.seed,
        device=device,
        fixed=device.type == "cuda",
    )


def _augmented_batches(encoder: Encoder, loader: ResidentLoader, context: TaskContext) -> EpochBatches:
    fabric = context.fabric()
    encode = encode_on(fabric, encoder.to(fabric.device), captured=context.compile != "off")

    def epoch() -> Iterator[tuple[Views, Int64[Tensor, " clip"]]]:
        was_training = encoder.training
        encoder.eval()
        try:
            for batch, _ in islice(loader, loader.steps_per_epoch):
                pooled, joints_kept = encode(batch)
                yield {"pooled": pooled, "joints": joints_kept}, batch.label
        finally:
            encoder.train(was_training)

    return epoch
