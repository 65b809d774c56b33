"""One optimizer step, from micro-batches to new weights: the same code in a run and when its steps are taken again."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor, nn

from marrow.data.batch import Batch, PlannedBatch, Shapes, made
from marrow.data.draws import Draws
from marrow.errors import MarrowError
from marrow.models.trainable import StepOutput, Trainable
from marrow.train.optim import set_learning_rate
from marrow.train.processes import local_part, sum_over_processes, whole
from marrow.train.profile import Profile

_log = logging.getLogger(__name__)

MicroBatches = Sequence[tuple[Batch | PlannedBatch, Draws]]
# Makes the context of all in a step that changes no weight, which may raise in it.
BeforeUpdate = Callable[[], AbstractContextManager[None]]


@dataclass
class TakenStep:
    """What an optimizer step leaves behind, on the device.

    Args:
        totals: loss sum, weight, clips and metric sums of the global batch.
        metric_names: names of the totals behind loss, weight and clips.
        gradient_norm: of the mean gradient, before clipping.
        rows: store rows of each micro-batch of this process.
    """

    totals: Float[Tensor, " total"]
    metric_names: list[str]
    gradient_norm: Float[Tensor, ""]
    rows: list[Int64[Tensor, " clip"]]


class Stepper:
    """Takes optimizer steps.

    Args:
        fabric: joins the processes and sets the precision.
        module: the trainable as Fabric wraps it; or, where it is compiled, its draw and loss (`one_graph`).
        optimizer: as Fabric wraps it, over its parameters.
        trainable: what is inside `module`.
        clip_norm: largest gradient norm; None: no clipping.
        profile: clocks.
        compiled: whether `module` draws for itself.
        fixed: whether batches are computed in the shapes that the host knows, as a step must be that is captured.
    """

    def __init__(
        self,
        fabric: Fabric,
        module: _FabricModule,
        optimizer: _FabricOptimizer,
        trainable: Trainable,
        clip_norm: float | None,
        profile: Profile,
        *,
        compiled: bool = False,
        fixed: bool = False,
    ) -> None:
        self._fabric, self._module, self._optimizer, self._trainable = fabric, module, optimizer, trainable
        self._clip_norm, self._profile, self._compiled, self._fixed = clip_norm, profile, compiled, fixed
        # Shapes of which a graph has been compiled, forward and backward: what fails with them later is no compiler's.
        self._proven: set[Shapes | None] = set()

    def exact_sizes(self) -> None:
        """Compute only what is there from now on, unless steps are compiled."""
        self._fixed = False

    def __call__(
        self,
        micro_batches: MicroBatches,
        learning_rate: float | Float[Tensor, ""],
        before_update: BeforeUpdate = nullcontext,
    ) -> TakenStep:
        """Take one step with the micro-batches of this process."""
        fabric, profile = self._fabric, self._profile
        set_learning_rate(self._optimizer.optimizer, learning_rate)

        # Gradients of loss SUMS add up over the micro-batches; processes exchange them with the last one.
        failure = None
        try:
            with before_update():
                totals, metric_names = self._add_up(micro_batches)
        except (MarrowError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever a compiler says, a run can go on without it
            if not self._compiled or all(batch.shapes in self._proven for batch, _ in micro_batches):
                raise
            failure = first_line(error)
        if failure is not None:
            _log.warning("Steps are not compiled from here on, for that failed: %s", failure)
            self._compiled, self._module = False, fabric.setup_module(self._trainable)
            self._optimizer.zero_grad(set_to_none=True)
            with before_update():
                totals, metric_names = self._add_up(micro_batches)

        # One division, by the weight of the whole global batch: a mean of means is not the mean.
        with profile("exchange"):
            total = sum_over_processes(fabric, torch.stack(totals).sum(0))
            # DDP and FSDP have averaged over the processes: undone here.
            torch._foreach_mul_(_gradients(self._trainable.parameters()), fabric.world_size / total[1])

        with profile("update"):
            norm = whole(nn.utils.clip_grad_norm_(self._trainable.parameters(), self._clip_norm or math.inf)).detach()
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        return TakenStep(total, metric_names, norm, [batch.row for batch, _ in micro_batches])

    def _add_up(self, micro_batches: MicroBatches) -> tuple[list[Tensor], list[str]]:
        """Add up the gradients of the micro-batches; return the totals of each, and the names of their metrics."""
        totals, metric_names = [], list[str]()
        for number, (batch, draws) in enumerate(micro_batches, start=1):
            with self._fabric.no_backward_sync(self._module, enabled=number < len(micro_batches)):
                output = self._loss(batch, draws)
                with self._profile("backward"):
                    self._fabric.backward(output.loss_sum)
            totals.append(_totals_of(output, clips=len(batch)))
            metric_names = list(output.metrics)
            self._proven.add(batch.shapes)
        return totals, metric_names

    def _loss(self, batch: Batch | PlannedBatch, draws: Draws) -> StepOutput:
        """Draw what is random and compute the loss: in one graph, or one operation after the other."""
        if isinstance(batch, PlannedBatch):
            with self._profile("load"):
                batch = made(batch, draws)
        if self._compiled:
            with self._profile("forward"):
                return self._module(batch, draws.with_tensor_step())
        # One after the other, nothing that is not there need be computed.
        if not self._fixed:
            batch = replace(batch, shapes=None)
        with self._profile("sample"):
            draw = self._trainable.sample(batch, draws)
        with self._profile("forward"):
            return self._module(batch, draw)


def first_line(error: Exception) -> str:
    """Return what an error says first, with its kind; of one that a compiler has wrapped, the one inside."""
    error = getattr(error, "inner_exception", None) or error
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line}"


def _gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    return [local_part(parameter.grad) for parameter in parameters if parameter.grad is not None]


def _totals_of(output: StepOutput, clips: int) -> Float[Tensor, " total"]:
    """Lay the sums of a micro-batch side by side (loss, weight, clips, metrics): processes exchange them at once."""
    count = torch.full_like(output.loss_sum, clips, requires_grad=False)
    return torch.stack([output.loss_sum.detach(), output.weight.detach(), count, *output.metrics.values()]).float()
