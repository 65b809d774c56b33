"""The one training loop. It trains any `Trainable` and knows no objective and no task."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.errors import CheckpointError
from marrow.models.trainable import Trainable
from marrow.train import checkpoint
from marrow.train.checkpoint import CheckpointConfig
from marrow.train.interrupt import StopWish
from marrow.train.logs import JsonLines, Meter, totals_of
from marrow.train.optim import set_learning_rate
from marrow.train.progress import Display
from marrow.train.schedule import Budget

_log = logging.getLogger(__name__)


@runtime_checkable
class Loader(Protocol):
    """Where batches come from, without end: epoch after epoch."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the rows."""
        ...

    def next_step(self) -> list[tuple[Batch, Draws]]:
        """Return the micro-batches of this process for the next optimizer step."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the sequence of steps, as plain numbers."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place in the sequence of steps."""
        ...


@dataclass(frozen=True)
class FitConfig:
    """How a run is cut, logged and kept.

    Args:
        budget: what it may spend.
        checkpoints: when to save, and what to keep.
        clip_norm: largest gradient norm; None: no clipping.
        log_every: optimizer steps between two entries of the log, each of which waits for the device once.
    """

    budget: Budget
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    clip_norm: float | None = None
    log_every: int = 20


@dataclass(frozen=True)
class FitResult:
    """How a run ended.

    Args:
        step: optimizer steps done over the whole run.
        finished: False where it was interrupted.
        last: the last entry of the log; empty where no step was left to do.
    """

    step: int
    finished: bool
    last: dict[str, Any]


def fit(
    fabric: Fabric,
    trainable: Trainable,
    optimizer: Optimizer,
    loader: Loader,
    learning_rate: Callable[[float], float],
    config: FitConfig,
    folder: Path,
    monitor: Callable[[dict[str, Any]], dict[str, float]] | None = None,
) -> FitResult:
    """Train until the budget is spent, from the newest checkpoint of the folder where there is one.

    Args:
        fabric: launched; places the module, sets the precision, joins the processes.
        trainable: is trained in place. Every parameter must receive a gradient.
        optimizer: over its parameters.
        loader: gives the micro-batches of this process, on its device.
        learning_rate: as a function of the progress of the run, from 0 to 1.
        config: limits, log, checkpoints.
        folder: receives `log.jsonl` and `checkpoints/`.
        monitor: given every entry of the log before it is written, returns further numbers for it.
    """
    module, optimizer = fabric.setup(trainable, optimizer)
    module.train()
    run = _Run(fabric, trainable, optimizer, loader, config, folder)
    run.resume()
    meter, last = Meter(), dict[str, Any]()
    log = JsonLines(folder / "log.jsonl" if fabric.is_global_zero else None, keep_steps=run.step)
    with StopWish() as stop, log, Display(run.progress(), shown=fabric.is_global_zero) as display:
        progress, stopping = run.progress(), False
        while progress < 1.0 and not stopping:
            # Where the run is decides the learning rate.
            rate = learning_rate(progress)
            set_learning_rate(optimizer, rate)

            # Gradients of loss SUMS add up over the micro-batches; processes exchange them with the last one.
            micro_batches = loader.next_step()
            totals = []
            for number, (batch, draws) in enumerate(micro_batches, start=1):
                with fabric.no_backward_sync(module, enabled=number < len(micro_batches)):
                    output = module(batch, trainable.sample(batch, draws))
                    fabric.backward(output.loss_sum)
                totals.append(totals_of(output, clips=len(batch)))

            # One division, by the weight of the whole global batch: a mean of means is not the mean.
            total = _sum_over_processes(fabric, torch.stack(totals).sum(0))
            gradients = [parameter.grad for parameter in trainable.parameters() if parameter.grad is not None]
            torch._foreach_mul_(gradients, fabric.world_size / total[1])  # DDP has averaged over processes: undone here

            # The update.
            norm = nn.utils.clip_grad_norm_(trainable.parameters(), config.clip_norm or math.inf)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            meter.add(run.step, rate, total, output.metrics, norm, [batch.row for batch, _ in micro_batches])
            run.step += 1

            # Over? Time for a checkpoint?
            progress, stopping = run.progress(), run.all_agree_on(stop.requested)
            save = progress >= 1.0 or stopping or run.checkpoint_is_due()

            # Now and then the log: here, and only here, the host waits for the device.
            if save or run.step % config.log_every == 0:
                last = run.place(progress, rate) | meter.read()
                last |= monitor(last) if monitor else {}
                log.write(last)
                fabric.log_dict(last, step=run.step)
                display.show(last)

            # A checkpoint only after the log has found every loss finite.
            if save:
                run.save()
    finished = progress >= 1.0
    if not finished:
        _log.info("Interrupted after step %d, which is saved: start the same run again to go on from there", run.step)
    return FitResult(run.step, finished, last)


def _sum_over_processes(fabric: Fabric, tensor: Tensor) -> Tensor:
    total = fabric.all_reduce(tensor, reduce_op="sum")
    assert isinstance(total, Tensor)
    return total


class _Run:
    """The state of a run around the loop: its step, what it has spent, its checkpoints."""

    def __init__(
        self,
        fabric: Fabric,
        trainable: Trainable,
        optimizer: Optimizer,
        loader: Loader,
        config: FitConfig,
        folder: Path,
    ) -> None:
        self._fabric, self._trainable, self._optimizer, self._loader = fabric, trainable, optimizer, loader
        self._config, self._checkpoints = config, folder / "checkpoints"
        self.step = 0
        # Clocks are read as differences to these, so that what earlier pieces of the run have spent counts.
        self._wall_start, self._cpu_start = time.monotonic(), time.process_time()
        self._last_save = time.monotonic()

    def _wall_seconds(self) -> float:
        return time.monotonic() - self._wall_start

    def _cpu_seconds(self) -> float:
        return time.process_time() - self._cpu_start

    def progress(self) -> float:
        """Return how much of the budget is spent, the same number in every process."""
        progress = self._config.budget.progress(self.step, self._wall_seconds(), self._cpu_seconds())
        if self._config.budget.limits_time and self._fabric.world_size > 1:
            progress = self._fabric.broadcast(progress)
        return progress

    def place(self, progress: float, learning_rate: float) -> dict[str, Any]:
        """Return where the run is, for the log."""
        return {
            "step": self.step,
            "epoch": self.step / self._loader.steps_per_epoch,
            "progress": progress,
            "learning_rate": learning_rate,
            "wall_seconds": round(self._wall_seconds(), 3),
            "cpu_seconds": round(self._cpu_seconds(), 3),
        }

    def checkpoint_is_due(self) -> bool:
        """Tell whether the clock or the number of steps asks for a checkpoint."""
        config = self._config.checkpoints
        by_steps = config.every_steps is not None and self.step % config.every_steps == 0
        return by_steps or time.monotonic() - self._last_save >= 60.0 * config.every_minutes

    def all_agree_on(self, stop: bool) -> bool:
        """Tell whether to stop: processes must leave the loop at the same step, so they compare now and then."""
        if self._fabric.world_size == 1:
            return stop
        if self.step % self._config.log_every:
            return False
        wishes = torch.tensor(float(stop), device=self._fabric.device)
        return bool(_sum_over_processes(self._fabric, wishes) > 0)

    def resume(self) -> None:
        """Go to the newest checkpoint, where there is one."""
        state = checkpoint.load_latest(self._checkpoints)
        if state is None:
            return
        try:
            self._trainable.load_state_dict(state["trainable"])
            self._optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"{self._checkpoints}: made for another network or optimizer: {error}") from error
        self._loader.load_state_dict(state["loader"])
        self.step = state["step"]
        self._wall_start -= state["wall_seconds"]
        self._cpu_start -= state["cpu_seconds"]
        _log.info("Going on after step %d", self.step)

    def save(self) -> None:
        """Write a checkpoint, in one process: all of them hold the same."""
        self._last_save = time.monotonic()
        if self._fabric.is_global_zero:
            state = {
                "trainable": self._trainable.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "loader": self._loader.state_dict(),
                "step": self.step,
                "wall_seconds": self._wall_seconds(),
                "cpu_seconds": self._cpu_seconds(),
            }
            checkpoint.save(self._checkpoints, self.step, state, self._config.checkpoints)
