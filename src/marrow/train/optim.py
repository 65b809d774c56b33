"""What a run may spend, the learning rate that follows from it, and the optimizer with the papers' settings.

A run ends at whichever of its limits it meets first: epochs, steps, wall-clock minutes or processor seconds. Its
progress is the largest share of any of them that is spent, a number from 0 to 1, and the learning rate is a function of
the progress alone. So a run of 900 processor seconds warms up and ends at its smallest learning rate just as one of 400
epochs does.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from marrow.errors import ConfigError
from marrow.train.muon import MuonAdamW, block_matrices

Fall = Literal["cosine", "linear"]
# Steps, seconds on the clock, processor seconds.
Spent = tuple[int, float, float]


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, alone or beside Muon.

    Args:
        learning_rate: highest learning rate of the schedule.
        scaling: what the learning rates (base and minimum) refer to. absolute: to a step, as they are. per_256_clips:
            to a batch of 256 clips; a batch of B clips uses B / 256 of them.
        betas: decay of the running means of the gradient and of its square.
        weight_decay: decoupled.
        decays: what weight decay is for. matrices: all parameters but one-dimensional ones (biases, gains) and biases;
            linear: the weights of linear layers, and so no embedding of a place and no token.
        clip_norm: largest gradient norm, beyond which the gradient is scaled down; None: never.
        name: adamw: the papers'. muon: the matrices of blocks move by orthogonal steps, as large as AdamW's, and
            everything else by AdamW; a step costs more, and fewer are needed.
    """

    learning_rate: float = 1e-3
    scaling: Literal["absolute", "per_256_clips"] = "absolute"
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.05
    decays: Literal["matrices", "linear"] = "matrices"
    clip_norm: float | None = None
    name: Literal["adamw", "muon"] = "adamw"

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ConfigError(f"optimizer.learning_rate must be positive, got {self.learning_rate}")
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ConfigError(f"optimizer.betas must lie in [0, 1), got {list(self.betas)}")
        if self.weight_decay < 0:
            raise ConfigError(f"optimizer.weight_decay must not be negative, got {self.weight_decay}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ConfigError(f"optimizer.clip_norm must be positive or null, got {self.clip_norm}")

    def scale(self, batch_clips: int) -> float:
        """Return the factor from the configured learning rates to those of a step of so many clips."""
        return 1.0 if self.scaling == "absolute" else batch_clips / 256


def optimizer_of(
    module: nn.Module, config: OptimizerConfig, lr_scale: Mapping[nn.Parameter, float] | None = None
) -> torch.optim.AdamW | MuonAdamW:
    """Make the optimizer of the trained parameters of a module, already on its device.

    Tensors with one axis or none, and biases, do not decay; of everything else, embeddings and tokens included, what
    `config.decays` says.

    Args:
        module: what is trained.
        config: settings.
        lr_scale: share of the learning rate that a parameter gets; 1 for those that are not in it. None: 1 for all.
    """
    # Groups by (share, whether it decays, whether Muon moves it), as they come.
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {(1.0, True, False): [], (1.0, False, False): []}
    by_muon = block_matrices(module) if config.name == "muon" else set()
    linear = {layer.weight for layer in module.modules() if isinstance(layer, nn.Linear)}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            scale = 1.0 if lr_scale is None else lr_scale.get(parameter, 1.0)
            decays = parameter.ndim > 1 and not name.endswith("bias")
            decays &= config.decays == "matrices" or parameter in linear
            groups.setdefault((scale, decays, parameter in by_muon), []).append(parameter)
    listed = [
        {"params": parameters, "weight_decay": config.weight_decay if decays else 0.0, "lr_scale": scale}
        | ({"muon": moved_by_muon} if by_muon else {})
        for (scale, decays, moved_by_muon), parameters in groups.items()
    ]
    return (MuonAdamW if by_muon else torch.optim.AdamW)(
        listed,
        lr=config.learning_rate,
        betas=config.betas,
        # One kernel over all tensors: unfused, the update costs as much as a small batch.
        fused=all(parameter.device.type in ("cpu", "cuda") for group in groups.values() for parameter in group),
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float | Float[Tensor, ""]) -> None:
    """Give every group its learning rate: the common one times the group's own `lr_scale`, where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("lr_scale", 1.0)


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate over a run: a linear rise, then half a cosine or a straight fall.

    Args:
        warmup_epochs: length of the rise from 0, in epochs; where another limit than `epochs` ends the run, the same
            share of the run (20 of 400 epochs are 5 % of it).
        min_learning_rate: where the fall ends, under the same rule of scaling as the base learning rate.
        fall: cosine, or linear.
        share_of_fall: at which share of the fall the run ends; 1 is its end. (Hi-TRS plans 50,000 steps, and goes on
            with the weights of step 30,000.)
    """

    warmup_epochs: float = 20.0
    min_learning_rate: float = 5e-4
    fall: Fall = "cosine"
    share_of_fall: float = 1.0

    def __post_init__(self) -> None:
        if self.warmup_epochs < 0:
            raise ConfigError(f"schedule.warmup_epochs must not be negative, got {self.warmup_epochs}")
        if self.min_learning_rate < 0:
            raise ConfigError(f"schedule.min_learning_rate must not be negative, got {self.min_learning_rate}")
        if self.fall not in get_args(Fall):
            raise ConfigError(f"schedule.fall must be one of {', '.join(get_args(Fall))}, got {self.fall!r}")
        if not 0.0 < self.share_of_fall <= 1.0:
            raise ConfigError(f"schedule.share_of_fall must lie in (0, 1], got {self.share_of_fall}")


@dataclass(frozen=True)
class Budget:
    """What a run may spend; it ends at whichever limit comes first.

    Args:
        steps: optimizer steps; None: no limit.
        wall_minutes: minutes on the clock, counted over all the pieces of an interrupted run; None: no limit.
        cpu_seconds: processor seconds of one process, all its threads, counted likewise; None: no limit.
    """

    steps: int | None
    wall_minutes: float | None = None
    cpu_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.steps is None and not self.limits_time:
            raise ConfigError("a run needs a limit: of steps, of minutes or of processor seconds")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"a run needs at least one optimizer step, got {self.steps}")
        for name, limit in (("minutes", self.wall_minutes), ("processor seconds", self.cpu_seconds)):
            if limit is not None and limit <= 0:
                raise ConfigError(f"the limit of {name} must be positive, got {limit}")

    @property
    def limits_time(self) -> bool:
        """Whether progress depends on a clock (and differs, therefore, from one run to the next)."""
        return self.wall_minutes is not None or self.cpu_seconds is not None

    def _shares(self, spent: Spent) -> list[float]:
        """Return the share of each limit that is spent."""
        steps, wall_seconds, cpu_seconds = spent
        pairs = ((steps, self.steps), (wall_seconds / 60.0, self.wall_minutes), (cpu_seconds, self.cpu_seconds))
        return [part / limit for part, limit in pairs if limit is not None]

    def progress(self, steps: int, wall_seconds: float, cpu_seconds: float) -> float:
        """Return the largest share spent of any limit, at most 1."""
        return min(1.0, max(self._shares((steps, wall_seconds, cpu_seconds))))

    def seconds_left(self, spent: Spent, pace: Spent) -> float:
        """Return how many seconds on the clock a run has left at the pace of a part of it.

        Args:
            spent: since the beginning of the run.
            pace: in that part.
        """
        shares = zip(self._shares(spent), self._shares(pace), strict=True)
        return min((1.0 - done) / max(share, 1e-12) * pace[1] for done, share in shares)

    def __str__(self) -> str:
        """Say what ends the run and what the learning rate follows."""
        limits = [f"{self.steps:,} step{'' if self.steps == 1 else 's'}"] if self.steps is not None else []
        limits += [f"{self.wall_minutes:g} minutes on the clock"] if self.wall_minutes is not None else []
        limits += [f"{self.cpu_seconds:g} processor seconds"] if self.cpu_seconds is not None else []
        several = len(limits) > 1
        ends = f"ends after {' or '.join(limits)}{', whichever comes first' if several else ''}"
        follows = "whichever of them is nearest" if several else "the clock" if self.limits_time else "the steps"
        varies = "; the same command again gives other weights, for clocks are never the same"
        return f"{ends}; the learning rate follows {follows}{varies if self.limits_time else ''}"


def rise_and_fall(
    progress: float,
    base: float,
    minimum: float,
    warmup_share: float,
    fall: Fall = "cosine",
    share_of_fall: float = 1.0,
) -> float:
    """Return the learning rate at a progress from 0 to 1: a linear rise from 0 to `base`, then a fall to `minimum`.

    Args:
        progress: share of the run that is done.
        base: highest learning rate.
        minimum: learning rate at the end of the fall.
        warmup_share: share of the run that the rise takes.
        fall: half a cosine, or linear.
        share_of_fall: at which share of the fall the run ends.
    """
    if progress < warmup_share:
        return base * progress / warmup_share
    if warmup_share >= 1.0:
        return base
    share = share_of_fall * (progress - warmup_share) / (1.0 - warmup_share)
    left = 1.0 - share if fall == "linear" else 0.5 * (1.0 + math.cos(math.pi * share))
    return minimum + (base - minimum) * left


def learning_rate(
    config: OptimizerConfig, schedule: ScheduleConfig, batch_clips: int, epochs: int
) -> Callable[[float], float]:
    """Return the learning rate as a function of the progress of a run.

    Args:
        config: the highest learning rate and what it refers to.
        schedule: the warm-up, which keeps its share of the planned epochs, and the lowest learning rate.
        batch_clips: clips per step.
        epochs: that are planned.
    """
    scale = config.scale(batch_clips)
    return partial(
        rise_and_fall,
        base=config.learning_rate * scale,
        minimum=schedule.min_learning_rate * scale,
        warmup_share=schedule.warmup_epochs / epochs,
        fall=schedule.fall,
        share_of_fall=schedule.share_of_fall,
    )
