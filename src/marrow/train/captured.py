"""A whole step recorded once and replayed: the batch, draw, forward, backward, clipping and AdamW in one CUDA graph.

A graph repeats the same operations on the same memory, so that whatever changes from step to step has to lie where it
looks: which clips (or, where batches come from elsewhere, the batch), the number of the step, the learning rate. They
are written there before each replay, and what a step leaves behind is copied away after it. Nothing else is different:
the weights and the state of the optimizer are the tensors that they were, and the optimizer keeps its settings, so that
checkpoints are the same as without.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import fields, replace
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor
from torch.optim import Optimizer

from marrow.data.batch import Batch, PlannedBatch, Shapes
from marrow.errors import MarrowError
from marrow.train.optim import set_learning_rate
from marrow.train.step import MicroBatches, Stepper, TakenStep, first_line

_log = logging.getLogger(__name__)

T = TypeVar("T")
_Size = tuple[Shapes | None, tuple[int, ...]]
# Steps of each size that are taken one operation at a time first: libraries choose kernels and take memory in them.
_WARM_UPS = 2


@runtime_checkable
class Recorder(Protocol):
    """Records operations on a device, and repeats them."""

    def aside(self, call: Callable[[], T]) -> T:
        """Do something as it will be recorded, to warm up, and return what it returns."""
        ...

    def record(self, call: Callable[[], T]) -> tuple[Callable[[], None], T]:
        """Record the operations of a call without doing them; return what does them, and where the results will be."""
        ...


class CudaGraphs:
    """Records CUDA graphs, which share their memory.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def aside(self, call: Callable[[], T]) -> T:
        """Do something on the stream that is recorded from."""
        usual = torch.cuda.current_stream()
        self._stream.wait_stream(usual)
        try:
            with torch.cuda.stream(self._stream):
                return call()
        finally:  # what was broken off, too, may still be reading memory that is given to somebody else from here on
            usual.wait_stream(self._stream)

    def record(self, call: Callable[[], T]) -> tuple[Callable[[], None], T]:
        """Record a CUDA graph."""
        with self._recording() as graph:
            result = call()
        return graph.replay, result

    @contextmanager
    def _recording(self) -> Iterator[torch.cuda.CUDAGraph]:
        """Record into a new graph; leave nothing of that behind where it fails.

        What reads a number breaks a recording so that ending it is an error too. PyTorch would then tell of that one,
        stay on the stream and (until 2.12) go on taking memory for a graph, and never give back what it took.
        """
        usual, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(graph, pool=self._pool, stream=self._stream)
        try:
            recording.__enter__()
            yield graph
            recording.__exit__(None, None, None)
        except BaseException:
            with suppress(RuntimeError):
                recording.__exit__(None, None, None)
            torch.cuda.set_stream(usual)
            with suppress(RuntimeError):  # it is not taking any more
                torch._C._cuda_endAllocateToPool(self._stream.device_index, self._pool)
                torch._C._cuda_releasePool(self._stream.device_index, self._pool)
            raise


def recorder_for(device: torch.device) -> Recorder | None:
    """Return what records on a device; None where nothing does."""
    return CudaGraphs(device) if device.type == "cuda" else None


class CapturedCall:
    """Calls a function of a batch, from the third call of each size on by replaying a recording.

    Args:
        call: returns tensors on the device of the batch, and changes nothing.
        recorder: for that device; None: nothing is recorded.
    """

    def __init__(self, call: Callable[[Batch], tuple[Tensor, ...]], recorder: Recorder | None) -> None:
        self._call, self._recorder = call, recorder
        self._recorded: dict[_Size, tuple[Batch, Callable[[], None], tuple[Tensor, ...]]] = {}
        self._calls = Counter[_Size]()

    def __call__(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return what the function returns; a batch whose sizes are not known beforehand is not recorded."""
        recorder, size = self._recorder, (batch.shapes, tuple(batch.joints.shape))
        if recorder is None or batch.shapes is None:
            return self._call(batch)
        self._calls[size] += 1
        if self._calls[size] <= _WARM_UPS:
            return recorder.aside(lambda: self._call(batch))
        failure = None
        if size not in self._recorded:
            held = batch.copied()
            try:
                self._recorded[size] = held, *recorder.record(lambda: self._call(held))
            except Exception as error:  # whatever a device says, it can be done without
                failure = first_line(error)
        if failure is not None:
            _log.warning("The encoder is not captured from here on, for that failed: %s", failure)
            self._recorder = None
            self._recorded.clear()
            return self._call(batch)
        held, replay, results = self._recorded[size]
        _fill(held, batch)
        replay()
        return tuple(result.clone() for result in results)


class CapturedStepper:
    """Takes optimizer steps as `Stepper` does, from the third of each size on by replaying a recording.

    What cannot be recorded is taken one operation at a time from then on, with one warning.

    Args:
        direct: takes the steps that are recorded.
        optimizer: its optimizer.
        recorder: for its device.
    """

    def __init__(self, direct: Stepper, optimizer: Optimizer, recorder: Recorder) -> None:
        self._direct, self._optimizer = direct, optimizer
        self._recorder: Recorder | None = recorder
        self._recorded: dict[tuple[Shapes | None, ...], _Recorded] = {}
        self._warm_ups = Counter[tuple[Shapes | None, ...]]()

    def __call__(
        self,
        micro_batches: MicroBatches,
        learning_rate: float,
        before_update: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> TakenStep:
        """Take one step; see `Stepper`. A replay cannot be broken off."""
        recorder, sizes = self._recorder, tuple(batch.shapes for batch, _ in micro_batches)
        if recorder is None:
            return self._direct(micro_batches, learning_rate, before_update)
        failure = None
        if sizes not in self._recorded and self._warm_ups[sizes] < _WARM_UPS:
            self._warm_ups[sizes] += 1
            as_recorded = [(batch, draws.with_tensor_step()) for batch, draws in micro_batches]
            try:
                return recorder.aside(lambda: self._direct(as_recorded, learning_rate, before_update))
            except torch.OutOfMemoryError as error:
                if not self._recorded:
                    raise
                failure = first_line(error)  # recordings of other sizes hold the memory of a step
        elif sizes not in self._recorded:
            try:
                self._recorded[sizes] = _Recorded(micro_batches, self._direct, self._optimizer, recorder)
            except MarrowError:
                raise
            except Exception as error:  # whatever a device says, a run can go on without it
                failure = first_line(error)
        if failure is None:
            return self._recorded[sizes](micro_batches, learning_rate)
        # The error is gone from here on, and with it what it held: the memory of a whole step.
        _log.warning("Steps are not captured from here on, for that failed: %s", failure)
        self._recorder = None
        self._recorded.clear()
        self._optimizer.zero_grad(set_to_none=True)
        self._direct.exact_sizes()
        return self._direct(micro_batches, learning_rate, before_update)


class _Recorded:
    """The recording of steps of one size."""

    def __init__(self, micro_batches: MicroBatches, direct: Stepper, optimizer: Optimizer, recorder: Recorder) -> None:
        device, self._optimizer = micro_batches[0][1].index.device, optimizer
        self._step = torch.zeros((), dtype=torch.int64, device=device)
        self._rate = torch.zeros((), device=device)
        self._held = [(_copied(batch), replace(draws, step=self._step)) for batch, draws in micro_batches]
        with _settings_kept(optimizer):
            self._replay, self._taken = recorder.record(lambda: direct(self._held, self._rate))

    def __call__(self, micro_batches: MicroBatches, learning_rate: float) -> TakenStep:
        """Take one step of the same size."""
        for (held, _), (batch, draws) in zip(self._held, micro_batches, strict=True):
            _fill(held, batch)
            self._step.fill_(int(draws.step))
        self._rate.fill_(learning_rate)
        set_learning_rate(self._optimizer, learning_rate)  # for what is saved of it
        self._replay()
        # The next replay writes its own results to where these are.
        return TakenStep(
            self._taken.totals.clone(),
            self._taken.metric_names,
            self._taken.gradient_norm.clone(),
            [batch.row for batch, _ in micro_batches],
        )


def _tensors(batch: Batch | PlannedBatch) -> list[Tensor]:
    """Return what of a batch changes from step to step and lies on the device."""
    if isinstance(batch, PlannedBatch):
        return [batch.clips]
    return [value for field in fields(batch) if isinstance(value := getattr(batch, field.name), Tensor)]


def _fill(held: Batch | PlannedBatch, batch: Batch | PlannedBatch) -> None:
    """Copy what changes to where a recording looks."""
    for static, given in zip(_tensors(held), _tensors(batch), strict=True):
        static.copy_(given)


def _copied(batch: Batch | PlannedBatch) -> Batch | PlannedBatch:
    """Return a batch in memory of its own."""
    if isinstance(batch, PlannedBatch):
        return replace(batch, clips=batch.clips.clone())
    return batch.copied()


@contextmanager
def _settings_kept(optimizer: Optimizer) -> Iterator[None]:
    """Let an optimizer be recorded, and give it its settings back, as they are without: a CPU can resume them."""
    kept = [dict(group) for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, before in zip(optimizer.param_groups, kept, strict=True):
            group.update({name: before[name] for name in ("lr", "capturable")})
