"""A loss that is not finite: which step it was, and a file with which that step can be taken again.

Losses are read from the device only now and then, so by the time a bad one is seen, later steps have made nonsense of
the weights. `Recent` therefore keeps a copy of the state as of the last reading that was finite. When a bad one is
seen, the steps since are taken again up to the first bad one (draws are numbers of the step, so these are the same
steps), and the state before it, with its batches, is written to RUN/non_finite/step-XXXXXXXX.pt.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer

from marrow.data.batch import Batch, made
from marrow.data.draws import Draws
from marrow.errors import MarrowError
from marrow.files import write_whole
from marrow.models.trainable import Trainable
from marrow.train.device import uses_bf16
from marrow.train.replay import FILE_VERSION, replay, tensors_in
from marrow.train.step import Stepper


@dataclass(frozen=True)
class StepNumbers:
    """The numbers of one step.

    Args:
        number: of the step, counted from 0.
        learning_rate: that it used.
        loss_sum: of the global batch.
        weight: of the global batch.
        gradient_norm: of the mean gradient.
        rows: store rows of the micro-batches of this process.
    """

    number: int
    learning_rate: float
    loss_sum: float
    weight: float
    gradient_norm: float
    rows: list[Int64[Tensor, " clip"]]


class NonFiniteLoss(MarrowError):
    """A step whose loss or gradient is not finite, or in which nothing counted.

    Args:
        step: the first such step.
        rates: learning rates of the steps since the last reading, before it.
    """

    def __init__(self, step: StepNumbers, rates: list[float]) -> None:
        rows = [row for rows in step.rows for row in rows.tolist()]
        super().__init__(
            f"step {step.number}: expected a finite loss over at least one target, got a loss sum of {step.loss_sum} "
            f"over {step.weight:g} targets, gradient norm {step.gradient_norm}, at learning rate "
            f"{step.learning_rate:.3g}; rows of the store: {rows}. Look at these rows (`marrow inspect`), or lower "
            "optimizer.learning_rate, or set optimizer.clip_norm"
        )
        self.step, self.rates = step, rates


class Recent:
    """A copy of the state of a run, as of the last entry of its log.

    Args:
        trainable: what is trained.
        optimizer: over its parameters.
        loader: gives the batches.
        sharded: whether the weights are spread over processes: then no copy is kept.
    """

    def __init__(self, trainable: Trainable, optimizer: Optimizer, loader: Any, sharded: bool) -> None:
        self._trainable, self._optimizer, self._loader, self._sharded = trainable, optimizer, loader, sharded
        self._state: tuple[dict[str, Any], dict[str, Any], dict[str, Any]] | None = None
        self.keep()

    def keep(self) -> None:
        """Copy the state as it is now, on its device; without waiting for the device."""
        if self._sharded:
            return
        weights, optimizer = self._trainable.state_dict(), self._optimizer.state_dict()
        kept = [] if self._state is None else list(tensors_in(self._state[:2]))
        now = [each.detach() for each in tensors_in((weights, optimizer))]
        if [each.shape for each in kept] == [each.shape for each in now]:
            assert self._state is not None
            torch._foreach_copy_(kept, now)  # a few kernels on a GPU, where a copy of each tensor is hundreds
            weights, optimizer = self._state[0], {**self._state[1], "param_groups": optimizer["param_groups"]}
        else:
            self._state = None  # first, so that there are never two copies
            weights, optimizer = (
                copy.deepcopy({name: value.detach() for name, value in weights.items()}),
                copy.deepcopy(optimizer),
            )
        self._state = weights, optimizer, dict(self._loader.state_dict())

    def restore(self) -> bool:
        """Go back to the copy; tell whether there was one."""
        if self._state is None:
            return False
        weights, optimizer, loader = self._state
        self._trainable.load_state_dict(weights)
        self._optimizer.state.clear()
        self._optimizer.load_state_dict(copy.deepcopy(optimizer))
        self._loader.load_state_dict(loader)
        return True

    def find_cause(
        self, error: NonFiniteLoss, take_step: Stepper, fabric: Fabric, folder: Path, replay_command: str | None
    ) -> MarrowError:
        """Take the steps since the copy again, leave a file of the bad one, and return an error that says the cause.

        All processes must call this; each leaves a file of its own share of the batch.

        Args:
            error: what was found.
            take_step: takes the steps again one operation after the other, for their tensors are others.
            fabric: of the run.
            folder: of the run; the file lies in its `non_finite/`.
            replay_command: what takes the step again, with {path} for the file; None: the error does not tell of it.
        """
        if not self.restore():
            return MarrowError(
                f"{error}. No file to replay was left: with strategy fsdp no process holds all weights; "
                "go on from the checkpoint on one process to find the cause"
            )
        for rate in error.rates:
            take_step(self._loader.next_step(), rate)
        micro_batches = self._loader.next_step()
        rank = f"-process-{fabric.global_rank}" if fabric.world_size > 1 else ""
        path = folder / "non_finite" / f"step-{error.step.number:08d}{rank}.pt"
        state = {
            "version": FILE_VERSION,
            "step": error.step.number,
            "learning_rate": error.step.learning_rate,
            "weight": error.step.weight,
            "bf16": uses_bf16(fabric),
            "trainable": self._trainable.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "micro_batches": [_plain(made(batch, draws), draws) for batch, draws in micro_batches],
            "message": str(error),
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, lambda partial: torch.save(state, partial))
            found = str(replay(path, self._trainable))
        except (OSError, RuntimeError) as failure:
            return MarrowError(f"{error}. Looking for the cause failed: {failure}")
        if replay_command is None:
            return MarrowError(f"{error}. {found}")
        return MarrowError(
            f"{error}. {found} The state before that step and its batches are in {path}; to take it again: "
            f"{replay_command.format(path=path)}"
        )


def not_finite(named: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return the names of the tensors that hold a number that is not finite. Waits for the device once."""
    tensors = [(name, tensor) for name, tensor in named if tensor.is_floating_point()]
    if not tensors:
        return []
    finite = torch.stack([tensor.detach().isfinite().all() for _, tensor in tensors]).tolist()
    return [name for (name, _), good in zip(tensors, finite, strict=True) if not good]


def _plain(batch: Batch, draws: Draws) -> dict[str, Any]:
    """Return what `torch.load` accepts under `weights_only`."""
    tensors = {field.name: value for field in fields(batch) if isinstance(value := getattr(batch, field.name), Tensor)}
    return {**tensors, "seed": draws.seed, "step": draws.step, "index": draws.index}
