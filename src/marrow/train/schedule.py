"""How far a run is, and the learning rate that belongs there. Pure functions of numbers.

A run ends at whichever of its limits it meets first: epochs, steps, wall-clock minutes or processor seconds. Its
progress is the largest share of any of them that is spent, a number from 0 to 1, and the learning rate is a function of
the progress alone. So a run of 900 processor seconds warms up and ends at its smallest learning rate just as one of 400
epochs does.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from marrow.errors import ConfigError

Fall = Literal["cosine", "linear"]


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

    def progress(self, step: int, wall_seconds: float, cpu_seconds: float) -> float:
        """Return the largest share spent of any limit, at most 1."""
        return min(1.0, max(self._shares(step, wall_seconds, cpu_seconds)))

    def seconds_left(self, spent: tuple[int, float, float], pace: tuple[int, float, float]) -> float:
        """Return how long a run will go on, by the clock on the wall, where it goes on as it did for a while.

        Args:
            spent: steps, wall seconds and processor seconds since the beginning of the run.
            pace: of each, how much that while took.
        """
        shares = zip(self._shares(*spent), self._shares(*pace), strict=True)
        return min((1.0 - done) / max(share, 1e-12) * pace[1] for done, share in shares)

    def _shares(self, step: int, wall_seconds: float, cpu_seconds: float) -> list[float]:
        """Return what is spent of each limit that there is."""
        spent = (step, wall_seconds / 60.0, cpu_seconds)
        limits = (self.steps, self.wall_minutes, self.cpu_seconds)
        return [part / limit for part, limit in zip(spent, limits, strict=True) if limit is not None]

    def __str__(self) -> str:
        """Say what ends the run and what the learning rate follows."""
        limits = [f"{self.steps:,} step{'' if self.steps == 1 else 's'}"] if self.steps is not None else []
        limits += [f"{self.wall_minutes:g} minutes on the clock"] if self.wall_minutes is not None else []
        limits += [f"{self.cpu_seconds:g} processor seconds"] if self.cpu_seconds is not None else []
        several = len(limits) > 1
        ends = f"ends after {' or '.join(limits)}{', whichever comes first' if several else ''}"
        follows = "whichever of them is nearest" if several else "the clock" if self.limits_time else "the steps"
        again = (
            "; the same command again gives other weights, for clocks are never the same" if self.limits_time else ""
        )
        return f"{ends}; the learning rate follows {follows}{again}"


def rise_and_fall(
    progress: float,
    base: float,
    minimum: float,
    warmup_share: float,
    fall: Fall = "cosine",
    share_of_fall: float = 1.0,
) -> float:
    """Return the learning rate: linear from 0 to `base` over the warm-up, then down to `minimum`.

    Args:
        progress: share of the run that is done, from 0 to 1.
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
