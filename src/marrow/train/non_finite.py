"""A loss that is not finite: which step it was, a file with which that step can be taken again, and what that shows.

Losses are read from the device only now and then, so by the time a bad one is seen, later steps have made nonsense of
the weights. `Recent` therefore keeps a copy of the state as of the last reading that was finite. When a bad one is
seen, the steps since are taken again up to the first bad one (draws are numbers of the step, so these are the same
steps), and the state before it, with its batches, is written to RUN/non_finite/step-XXXXXXXX.pt. `replay` takes the
step of such a file again, and looks where the first number comes from that is not finite.
"""

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from jaxtyping import Int64
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from marrow.data.batch import Batch, made
from marrow.data.draws import Draws
from marrow.errors import CheckpointError, MarrowError
from marrow.files import write_whole
from marrow.models.trainable import Trainable
from marrow.train.device import network_context, uses_bf16
from marrow.train.step import Stepper

_FILE_VERSION = 1


class NonFiniteLoss(MarrowError):
    """A step whose loss or gradient is not finite, or in which nothing counted.

    Args:
        number: of the first such step, counted from 0.
        learning_rate: that it used.
        loss_sum: of its global batch.
        weight: of its global batch.
        gradient_norm: of the mean gradient.
        rows: store rows of the micro-batches of this process.
        rates: learning rates of the steps since the last reading, before it.
    """

    def __init__(
        self,
        number: int,
        learning_rate: float,
        loss_sum: float,
        weight: float,
        gradient_norm: float,
        rows: list[Int64[Tensor, " clip"]],
        rates: list[float],
    ) -> None:
        super().__init__(
            f"step {number}: expected a finite loss over at least one target, got a loss sum of {loss_sum} over "
            f"{weight:g} targets, gradient norm {gradient_norm}, at learning rate {learning_rate:.3g}; rows of the "
            f"store: {[row for part in rows for row in part.tolist()]}. Look at these rows (`marrow inspect`), or "
            "lower optimizer.learning_rate, or set optimizer.clip_norm"
        )
        self.number, self.learning_rate, self.weight, self.rates = number, learning_rate, weight, rates


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
        now = [tensor.detach() for tensor in tensors_in((weights, optimizer))]
        if self._state is not None and [tensor.shape for tensor in kept] == [tensor.shape for tensor in now]:
            torch._foreach_copy_(kept, now)  # a few kernels on a GPU, where a copy of each tensor is hundreds
            weights, optimizer = self._state[0], {**self._state[1], "param_groups": optimizer["param_groups"]}
        else:
            self._state = None  # first, so that there are never two copies
            weights = copy.deepcopy({name: value.detach() for name, value in weights.items()})
            optimizer = copy.deepcopy(optimizer)
        self._state = weights, optimizer, dict(self._loader.state_dict())

    def find_cause(
        self, error: NonFiniteLoss, take_step: Stepper, fabric: Fabric, folder: Path, replay_command: str | None
    ) -> MarrowError:
        """Take the steps since the copy again, leave a file of the bad one, and return an error that says the cause.

        All processes must call this; each leaves a file of its own share of the batch.

        Args:
            error: which step was bad.
            take_step: takes the steps again one operation after the other, for their tensors are others.
            fabric: of the run.
            folder: of the run; the file lies in its `non_finite/`.
            replay_command: what takes the step again, with {path} for the file; None: the error does not tell of it.
        """
        if self._state is None:
            return MarrowError(
                f"{error}. No file to replay was left: with strategy fsdp no process holds all weights; "
                "go on from the checkpoint on one process to find the cause"
            )
        weights, optimizer, loader = self._state
        self._trainable.load_state_dict(weights)
        self._optimizer.state.clear()
        self._optimizer.load_state_dict(copy.deepcopy(optimizer))
        self._loader.load_state_dict(loader)
        for rate in error.rates:
            take_step(self._loader.next_step(), rate)
        micro_batches = self._loader.next_step()
        rank = f"-process-{fabric.global_rank}" if fabric.world_size > 1 else ""
        path = folder / "non_finite" / f"step-{error.number:08d}{rank}.pt"
        state = {
            "version": _FILE_VERSION,
            "step": error.number,
            "learning_rate": error.learning_rate,
            "weight": error.weight,
            "bf16": uses_bf16(fabric),
            "trainable": self._trainable.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "micro_batches": [_plain(made(batch, draws), draws) for batch, draws in micro_batches],
            "message": str(error),
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, lambda partial: torch.save(state, partial))
            cause = str(replay(path, self._trainable))
        except (OSError, RuntimeError) as failure:
            return MarrowError(f"{error}. Looking for the cause failed: {failure}")
        if replay_command is None:
            return MarrowError(f"{error}. {cause}")
        return MarrowError(
            f"{error}. {cause} The state before that step and its batches are in {path}; to take it again: "
            f"{replay_command.format(path=path)}"
        )


@dataclass(frozen=True)
class Replay:
    """What taking a step again shows.

    Args:
        step: its number, counted from 0.
        learning_rate: that it used.
        loss_sum: of the share of the batch that is in the file.
        weight: how many targets of that share counted.
        reproduced: whether loss or gradient was not finite again, or nothing counted again.
        rows: store rows of the batch.
        rows_with_bad_positions: those that come with positions that are not finite.
        guilty_rows: those whose loss or gradient is not finite when they are alone.
        bad_weights: names of the weights that were not finite already before the step.
        module: the first module with an output that is not finite; None: all are finite.
        bad_gradients: names of the parameters whose gradient is not finite.
    """

    step: int
    learning_rate: float
    loss_sum: float
    weight: float
    reproduced: bool
    rows: list[int]
    rows_with_bad_positions: list[int]
    guilty_rows: list[int]
    bad_weights: list[str]
    module: str | None
    bad_gradients: list[str]

    def __str__(self) -> str:
        """Say it in sentences."""
        if not self.reproduced:
            return (
                f"Taken again, step {self.step} has a finite loss ({self.loss_sum:.6g} over {self.weight:g} targets)."
            )
        sentences = []
        if self.weight == 0:
            sentences.append("In none of these rows is anything present that the loss could count.")
        if self.rows_with_bad_positions:
            sentences.append(f"Positions that are not finite came with the rows {self.rows_with_bad_positions}.")
        if self.bad_weights:
            sentences.append(f"Weights were not finite already before the step: {_some(self.bad_weights)}.")
        if self.module is not None:
            sentences.append(f"The first output that is not finite is that of the module {self.module!r}.")
        if self.bad_gradients:
            sentences.append(f"Gradients that are not finite: {_some(self.bad_gradients)}.")
        if self.guilty_rows and len(self.guilty_rows) < len(self.rows):
            sentences.append(f"Alone, the rows {self.guilty_rows} do the same.")
        elif self.guilty_rows:
            sentences.append(
                "Alone, every row does the same: look at the weights and the learning rate, not at the data."
            )
        return " ".join(sentences)


def replay(path: Path | str, trainable: Trainable) -> Replay:
    """Take again the step that a file of RUN/non_finite holds.

    Args:
        path: the file.
        trainable: of the same kind and size as that of the run; gets the weights of the file.

    Raises:
        CheckpointError: the file cannot be read, or was made for another network.
    """
    state = _load(Path(path))
    try:
        trainable.load_state_dict(state["trainable"])
    except RuntimeError as error:
        raise CheckpointError(f"{path}: made for another network: {error}") from error
    trainable.train()
    device = next(trainable.parameters()).device
    micro_batches = [_batch(plain, device) for plain in state["micro_batches"]]
    bad_weights = not_finite(trainable.state_dict().items())

    # All together.
    trainable.zero_grad()
    with _bad_outputs(trainable) as bad_modules:
        outputs = [_loss_and_gradient(trainable, batch, draws, state["bf16"]) for batch, draws in micro_batches]
    bad_gradients = _bad_gradients(trainable)
    loss_sum, weight = (float(torch.stack(values).sum()) for values in zip(*outputs, strict=True))
    reproduced = bool(bad_gradients) or not math.isfinite(loss_sum) or state["weight"] == 0

    # One by one: a clip's draws depend on its place in the global batch alone.
    bad_positions, guilty = list[int](), list[int]()
    for batch, draws in micro_batches:
        for place in range(len(batch)):
            clip = batch.take(slice(place, place + 1))
            if _has_bad(clip.joints[clip.present]):
                bad_positions.append(int(clip.row))
            if reproduced and not trainable.couples_samples:
                trainable.zero_grad()
                clip_draws = Draws(draws.seed, draws.step, draws.index[place : place + 1])
                clip_loss, _ = _loss_and_gradient(trainable, clip, clip_draws, state["bf16"])
                if _has_bad(clip_loss) or _bad_gradients(trainable):
                    guilty.append(int(clip.row))
    trainable.zero_grad()
    return Replay(
        step=state["step"],
        learning_rate=state["learning_rate"],
        loss_sum=loss_sum,
        weight=weight,
        reproduced=reproduced,
        rows=[row for batch, _ in micro_batches for row in batch.row.tolist()],
        rows_with_bad_positions=bad_positions,
        guilty_rows=guilty,
        bad_weights=bad_weights,
        module=bad_modules[0] if bad_modules else None,
        bad_gradients=bad_gradients,
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        version = state["version"]
    except (OSError, RuntimeError, UnpicklingError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: expected the file of a step that was not finite: {error}") from error
    if version != _FILE_VERSION:
        raise CheckpointError(f"{path} is of version {version}; this marrow reads version {_FILE_VERSION}")
    return state


def _plain(batch: Batch, draws: Draws) -> dict[str, Any]:
    """Return what `torch.load` accepts under `weights_only`."""
    tensors = {field.name: value for field in fields(batch) if isinstance(value := getattr(batch, field.name), Tensor)}
    return {**tensors, "seed": draws.seed, "step": draws.step, "index": draws.index}


def _batch(plain: Mapping[str, Any], device: torch.device) -> tuple[Batch, Draws]:
    """Return what `_plain` was given."""
    values: dict[str, Any] = {field.name: plain.get(field.name) for field in fields(Batch)}
    return Batch(**values).to(device), Draws(plain["seed"], plain["step"], plain["index"].to(device))


def _loss_and_gradient(trainable: Trainable, batch: Batch, draws: Draws, bf16: bool) -> tuple[Tensor, Tensor]:
    draw = trainable.sample(batch, draws)
    with network_context(bf16, batch.joints.device.type):
        output = trainable(batch, draw)
    output.loss_sum.backward()
    return output.loss_sum.detach(), output.weight.detach()


@contextmanager
def _bad_outputs(module: nn.Module) -> Iterator[list[str]]:
    """Give a list that receives the names of modules with outputs that are not finite, the first one first."""
    names: list[str] = []

    def note(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if any(_has_bad(tensor) for tensor in tensors_in(output)):
                names.append(name or type(module).__name__)

        return hook

    handles = [part.register_forward_hook(note(name)) for name, part in module.named_modules()]
    try:
        yield names
    finally:
        for handle in handles:
            handle.remove()


def tensors_in(output: Any) -> Iterator[Tensor]:
    """Yield the tensors of whatever a module is given or returns."""
    if isinstance(output, Tensor):
        yield output
    elif is_dataclass(output) and not isinstance(output, type):
        yield from tensors_in([getattr(output, field.name) for field in fields(output)])
    elif isinstance(output, Mapping):
        yield from tensors_in(list(output.values()))
    elif isinstance(output, list | tuple):
        for part in output:
            yield from tensors_in(part)


def not_finite(named: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return the names of the tensors that hold a number that is not finite. Waits for the device once."""
    tensors = [(name, tensor) for name, tensor in named if tensor.is_floating_point()]
    if not tensors:
        return []
    finite = torch.stack([tensor.detach().isfinite().all() for _, tensor in tensors]).tolist()
    return [name for (name, _), good in zip(tensors, finite, strict=True) if not good]


def _bad_gradients(module: nn.Module) -> list[str]:
    return not_finite((name, weight.grad) for name, weight in module.named_parameters() if weight.grad is not None)


def _has_bad(tensor: Tensor) -> bool:
    return bool(not_finite([("", tensor)]))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
