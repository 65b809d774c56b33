"""The one training loop. It trains any `Trainable` and knows no objective and no task."""

import copy
import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricOptimizer
from torch.optim import Optimizer

from marrow.errors import CheckpointError, MarrowError
from marrow.models.trainable import Trainable
from marrow.train import checkpoint
from marrow.train.captured import CapturedStepper, CudaGraphs
from marrow.train.checkpoint import CheckpointConfig
from marrow.train.compiled import one_graph
from marrow.train.device import memory_advice, peak_memory
from marrow.train.interrupt import BrokenOff, StopWish
from marrow.train.logs import Display, Meter, json_lines
from marrow.train.non_finite import NonFiniteLoss, Recent, not_finite
from marrow.train.optim import Budget, Spent
from marrow.train.processes import is_sharded, load_whole_state, move_optimizer, sum_over_processes, whole_state
from marrow.train.profile import Profile
from marrow.train.step import MicroBatches, Stepper

_log = logging.getLogger(__name__)

_FEWER_CLIPS = (
    "Twice the micro_batches halve that and leave a step as it is (but for methods that compare the clips of a batch); "
    "a smaller batch_clips makes it another run. The run goes on from its newest checkpoint"
)


@runtime_checkable
class Loader(Protocol):
    """Where batches come from, without end: epoch after epoch."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the rows."""
        ...

    def next_step(self) -> MicroBatches:
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
        profile: whether to note where the time goes, in `profile.json` and `profile_trace.json`.
        compiled: whether draw and loss are compiled; the loader then gives batches of fixed shapes.
        captured: whether whole steps are captured in CUDA graphs, of fixed shapes too; not where a run is profiled.
        extended_from_step: the step at which the run went on under the present limits, which every entry of the log
            then names; None: it has had no others.
        advice: what to say to a person whose run on a CPU will take hours.
        replay_command: what takes a step again whose loss was not finite, with {path} for the file that holds it; None:
            a message does not tell of that file (there is no such command, or the folder does not last).
    """

    budget: Budget
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    clip_norm: float | None = None
    log_every: int = 20
    profile: bool = False
    compiled: bool = False
    captured: bool = False
    extended_from_step: int | None = None
    advice: str = ""
    replay_command: str | None = None


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
    before_save: Callable[[], None] | None = None,
) -> FitResult:
    """Train until the budget is spent, from the newest checkpoint of the folder where there is one.

    Args:
        fabric: launched; places the module, sets the precision, joins the processes.
        trainable: is trained in place. Every parameter must receive a gradient.
        optimizer: over its parameters.
        loader: gives the micro-batches of this process, on its device.
        learning_rate: as a function of the progress of the run, from 0 to 1.
        config: limits, log, checkpoints.
        folder: receives `log.jsonl` and `checkpoints/`; where a loss is not finite, `non_finite/`.
        monitor: given every entry of the log before it is written, returns further numbers for it.
        before_save: called when a checkpoint is due; raises an error where none must be written any more.
    """
    # A sharded module is a copy, so that `trainable` stays usable; at the end it gets the weights back.
    trained = copy.deepcopy(trainable) if is_sharded(fabric) else trainable
    # Fabric would compile its wrapper too, with what exchanges the gradients.
    module = fabric.setup_module(one_graph(trained) if config.compiled else trained, _reapply_compile=False)
    module.train()
    if trained is not trainable:
        move_optimizer(optimizer, trainable, trained)
    run = _Run(fabric, trained, optimizer, loader, config, folder)
    run.resume()
    profile = Profile(fabric.device, folder if config.profile and fabric.is_global_zero else None)
    wrapped = fabric.setup_optimizers(optimizer)
    assert isinstance(wrapped, _FabricOptimizer)
    captured = config.captured and not config.profile
    direct = Stepper(
        *(fabric, module, wrapped, trained, config.clip_norm, profile), compiled=config.compiled, fixed=captured
    )
    take_step = CapturedStepper(direct, optimizer, CudaGraphs(fabric.device)) if captured else direct
    recent = Recent(trained, optimizer, loader, is_sharded(fabric))
    meter, last = Meter(), dict[str, Any]()
    log = json_lines(folder / "log.jsonl" if fabric.is_global_zero else None, keep_steps=run.step)
    display = Display(config.budget, run.spent(), config.advice, compiled=config.compiled, shown=fabric.is_global_zero)
    alone, waits = fabric.world_size == 1, fabric.device.type == "cpu"
    with StopWish() as stop, log as write, display.live():
        progress, stopping = run.progress(), False
        while progress < 1.0 and not stopping:
            # Where the run is decides the learning rate.
            rate = learning_rate(progress)

            # The next batch, and what is learned from it.
            place = loader.state_dict()
            with profile("load"):
                micro_batches = loader.next_step()
            try:
                with memory_advice(len(micro_batches[0][0]), _FEWER_CLIPS):
                    taken = take_step(micro_batches, rate, stop.may_break_off if alone else nullcontext)
            except BrokenOff:
                # As if it had never begun: what was learned before it is saved below.
                wrapped.zero_grad(set_to_none=True)
                loader.load_state_dict(place)
            else:
                meter.add(run.step, rate, taken)
                run.step += 1

            # Over? Time for a checkpoint?
            progress = run.progress()
            stopping, due = run.agree(stop.requested)
            save = run.step > 0 and (progress >= 1.0 or stopping or due)

            # Now and then the log: here, and only here, the host waits for the device.
            logs = len(meter) > 0 and (save or run.step % config.log_every == 0)
            if logs:
                with profile("log"):
                    try:
                        last = run.place(progress, rate) | meter.read()
                    except NonFiniteLoss as error:
                        raise recent.find_cause(error, direct, fabric, folder, config.replay_command) from None
                    recent.keep()
                    last |= monitor(last) if monitor else {}
                    write(last)
                    fabric.log_dict(last, step=run.step)
                    display.show(last)

            # A checkpoint only after the log has found every loss finite.
            if save:
                with profile("save"):
                    if before_save is not None:
                        before_save()
                    run.save()
            if waits or logs:
                display.step_done(run.spent())
            profile.step_done()
    profile.finish()
    finished = progress >= 1.0
    if not finished:
        _log.info("Interrupted %s", f"after step {run.step}" if run.step else "before the first step was done")
    if trained is not trainable:
        trainable.load_state_dict(whole_state(trained.state_dict()))
    return FitResult(run.step, finished, last)


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

    def spent(self) -> Spent:
        """Return what the run has spent so far, over all its pieces."""
        return self.step, time.monotonic() - self._wall_start, time.process_time() - self._cpu_start

    def progress(self) -> float:
        """Return how much of the budget is spent, the same number in every process."""
        progress = self._config.budget.progress(*self.spent())
        if self._config.budget.limits_time and self._fabric.world_size > 1:
            progress = self._fabric.broadcast(progress)
        return progress

    def place(self, progress: float, learning_rate: float) -> dict[str, Any]:
        """Return where the run is, for the log."""
        step, wall_seconds, cpu_seconds = self.spent()
        extended = self._config.extended_from_step
        return {
            "step": step,
            "epoch": step / self._loader.steps_per_epoch,
            "progress": progress,
            "learning_rate": learning_rate,
            "wall_seconds": round(wall_seconds, 3),
            "cpu_seconds": round(cpu_seconds, 3),
            **peak_memory(self._fabric.device),
            **({} if extended is None else {"extended_from_step": extended}),
        }

    def agree(self, stop: bool) -> tuple[bool, bool]:
        """Tell whether to stop and whether a checkpoint is due, the same in every process.

        Clocks and signals differ between processes, which must leave the loop and save at the same step: they compare
        them now and then. Steps they count alike.
        """
        config = self._config.checkpoints
        by_steps = config.every_steps is not None and self.step % config.every_steps == 0
        by_clock = time.monotonic() - self._last_save >= 60.0 * config.every_minutes
        if self._fabric.world_size > 1:
            if self.step % self._config.log_every:
                return False, by_steps
            wishes = torch.tensor([float(stop), float(by_clock)], device=self._fabric.device)
            stop, by_clock = (wish > 0 for wish in sum_over_processes(self._fabric, wishes).tolist())
        return stop, by_steps or by_clock

    def resume(self) -> None:
        """Go to the newest checkpoint, where there is one: all processes to the same."""
        state = checkpoint.load_latest(self._checkpoints)
        step = 0 if state is None else state["step"]
        first = self._fabric.broadcast(step)
        if step != first:
            raise CheckpointError(
                f"{self._checkpoints}: process {self._fabric.global_rank} finds a checkpoint of step {step} there, the "
                f"first process one of step {first} (0: none); all machines must see the same folder"
            )
        if state is None:
            return
        try:
            load_whole_state(self._trainable, self._optimizer, state["trainable"], state["optimizer"])
        except (RuntimeError, ValueError) as error:
            problem = " ".join(str(error).split())[:400]
            raise CheckpointError(
                f"{self._checkpoints}: made for another network or optimizer than that of this run ({problem}). Put "
                "back the run's own checkpoints, or remove the folder to start afresh"
            ) from error
        self._loader.load_state_dict(state["loader"])
        self.step = step
        self._wall_start -= state["wall_seconds"]
        self._cpu_start -= state["cpu_seconds"]
        _log.info("Going on after step %d", self.step)

    def save(self) -> None:
        """Write a checkpoint, in one process: all of them hold the same, or a part of it."""
        self._last_save = time.monotonic()
        trainable = whole_state(self._trainable.state_dict())
        optimizer = whole_state(self._optimizer.state_dict())
        bad = not_finite(trainable.items())
        if bad:
            raise MarrowError(
                f"after step {self.step - 1} these weights are not finite: {', '.join(bad[:3])}"
                f"{', ...' if len(bad) > 3 else ''}; lower optimizer.learning_rate, or set optimizer.clip_norm. "
                "The checkpoint before it is untouched"
            )
        if self._fabric.is_global_zero:
            step, wall_seconds, cpu_seconds = self.spent()
            state = {
                "version": checkpoint.VERSION,
                "trainable": trainable,
                "optimizer": optimizer,
                "loader": self._loader.state_dict(),
                "step": step,
                "wall_seconds": wall_seconds,
                "cpu_seconds": cpu_seconds,
            }
            checkpoint.save(self._checkpoints, step, state, self._config.checkpoints)
