"""Take a step again whose loss was not finite, and look where the first such number comes from."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.errors import CheckpointError
from marrow.models.trainable import Trainable
from marrow.train.device import network_context

FILE_VERSION = 1


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
        said = []
        if self.weight == 0:
            said.append("In none of these rows is anything present that the loss could count.")
        if self.rows_with_bad_positions:
            said.append(f"Positions that are not finite came with the rows {self.rows_with_bad_positions}.")
        if self.bad_weights:
            said.append(f"Weights were not finite already before the step: {_some(self.bad_weights)}.")
        if self.module is not None:
            said.append(f"The first output that is not finite is that of the module {self.module!r}.")
        if self.bad_gradients:
            said.append(f"Gradients that are not finite: {_some(self.bad_gradients)}.")
        if self.guilty_rows and len(self.guilty_rows) < len(self.rows):
            said.append(f"Alone, the rows {self.guilty_rows} do the same.")
        elif self.guilty_rows:
            said.append("Alone, every row does the same: look at the weights and the learning rate, not at the data.")
        return " ".join(said)


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
    bad_weights = [name for name, value in trainable.state_dict().items() if _has_bad(value)]

    # All together.
    trainable.zero_grad()
    with _first_bad_output(trainable) as found:
        outputs = [_loss_and_gradient(trainable, batch, draws, state["bf16"]) for batch, draws in micro_batches]
    module = found[0] if found else None
    bad_gradients = [
        name
        for name, parameter in trainable.named_parameters()
        if parameter.grad is not None and _has_bad(parameter.grad)
    ]
    loss_sum, weight = (float(torch.stack(values).sum()) for values in zip(*outputs, strict=True))
    reproduced = bool(bad_gradients) or not torch.isfinite(torch.tensor(loss_sum)).item() or state["weight"] == 0

    # One by one: a clip's draws depend on its place in the global batch alone.
    guilty = [] if not reproduced else [
        int(one.row)
        for batch, draws in micro_batches
        for one, its_draws in _clips(batch, draws)
        if _is_guilty(trainable, one, its_draws, state["bf16"])
    ]  # fmt: skip
    trainable.zero_grad()
    return Replay(
        step=state["step"],
        learning_rate=state["learning_rate"],
        loss_sum=loss_sum,
        weight=weight,
        reproduced=reproduced,
        rows=[row for batch, _ in micro_batches for row in batch.row.tolist()],
        rows_with_bad_positions=[
            int(one.row) for batch, draws in micro_batches for one, _ in _clips(batch, draws) if _bad_positions(one)
        ],
        guilty_rows=guilty,
        bad_weights=bad_weights,
        module=module,
        bad_gradients=bad_gradients,
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        version = state["version"]
    except (OSError, RuntimeError, UnpicklingError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: expected the file of a step that was not finite: {error}") from error
    if version != FILE_VERSION:
        raise CheckpointError(f"{path} is of version {version}; this marrow reads version {FILE_VERSION}")
    return state


def _batch(plain: Mapping[str, Any], device: torch.device) -> tuple[Batch, Draws]:
    values: dict[str, Any] = {field.name: plain.get(field.name) for field in fields(Batch)}
    batch = Batch(**values).to(device)
    return batch, Draws(plain["seed"], plain["step"], plain["index"].to(device))


def _clips(batch: Batch, draws: Draws) -> Iterator[tuple[Batch, Draws]]:
    """Yield the clips of a batch one by one."""
    for place in range(len(batch)):
        one = slice(place, place + 1)
        yield batch.take(one), Draws(draws.seed, draws.step, draws.index[one])


def _loss_and_gradient(trainable: Trainable, batch: Batch, draws: Draws, bf16: bool) -> tuple[Tensor, Tensor]:
    draw = trainable.sample(batch, draws)
    with network_context(bf16, batch.joints.device.type):
        output = trainable(batch, draw)
    output.loss_sum.backward()
    return output.loss_sum.detach(), output.weight.detach()


def _is_guilty(trainable: Trainable, batch: Batch, draws: Draws, bf16: bool) -> bool:
    if trainable.couples_samples:
        return False
    trainable.zero_grad()
    loss_sum, _ = _loss_and_gradient(trainable, batch, draws, bf16)
    return _has_bad(loss_sum) or any(_has_bad(each.grad) for each in trainable.parameters() if each.grad is not None)


def _bad_positions(clip: Batch) -> bool:
    return _has_bad(clip.joints[clip.present])


@contextmanager
def _first_bad_output(module: nn.Module) -> Iterator[list[str]]:
    """Give a list that receives the names of modules with outputs that are not finite, the first one first."""
    found: list[str] = []

    def note(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if any(_has_bad(tensor) for tensor in tensors_in(output)):
                found.append(name or type(module).__name__)

        return hook

    handles = [part.register_forward_hook(note(name)) for name, part in module.named_modules()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def tensors_in(output: Any) -> Iterator[Tensor]:
    """Yield the tensors of whatever a module is given or returns."""
    if isinstance(output, Tensor):
        yield output
    elif is_dataclass(output) and not isinstance(output, type):
        yield from tensors_in([getattr(output, each.name) for each in fields(output)])
    elif isinstance(output, Mapping):
        yield from tensors_in(list(output.values()))
    elif isinstance(output, list | tuple):
        for each in output:
            yield from tensors_in(each)


def _has_bad(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not bool(tensor.detach().isfinite().all())


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
