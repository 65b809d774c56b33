"""A whole step recorded once and replayed: the batch, draw, forward, backward, clipping and AdamW in one CUDA graph.

A graph repeats the same operations on the same memory, so that whatever changes from step to step has to lie where it
looks: which clips (or, where batches come from elsewhere, the batch), the number of the step, the learning rate. They
are written there before each replay, and what a step leaves behind is copied away after it. Nothing else is different:
the weights and the state of the optimizer are the tensors that they were, and the optimizer keeps its settings, so that
checkpoints are the same as without.
"""

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import fields, replace
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor
from torch.optim import Optimizer

from marrow.data.batch import Batch, PlannedBatch
from marrow.errors import MarrowError
from marrow.train.optim import set_learning_rate
from marrow.train.step import BeforeUpdate, MicroBatches, Stepper, TakenStep, first_line

_log = logging.getLogger(__name__)

T = TypeVar("T")
# Calls of each size that are made one operation at a time first: libraries choose kernels and take memory in them.
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


class _Captured(Generic[T]):
    """Calls a function, from the third call of each size on by replaying a recording.

    Where recording fails, the function is called directly from then on, with one warning: whatever a device says, it
    can be done without.

    Args:
        recorder: for the device; None: nothing is recorded.
        what: is recorded, for the warning: "Steps are", ...
        direct: the function.
        warm_up: the function, called as it will be recorded.
        record: given a recorder and the arguments of a call, returns what replays it with others of the same size.
        give_up: makes ready for direct calls after a failure.
    """

    def __init__(
        self,
        recorder: Recorder | None,
        what: str,
        direct: Callable[..., T],
        warm_up: Callable[..., T],
        record: Callable[..., Callable[..., T]],
        give_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._recorder, self._what, self._give_up = recorder, what, give_up
        self._direct, self._warm_up, self._record = direct, warm_up, record
        self._recorded: dict[Hashable, Callable[..., T]] = {}
        self._warm_ups = Counter[Hashable]()

    def __call__(self, size: Hashable, *args: Any) -> T:
        """Make one call of a size."""
        if self._recorder is None:
            return self._direct(*args)
        failure = None
        if size not in self._recorded and self._warm_ups[size] < _WARM_UPS:
            self._warm_ups[size] += 1
            try:
                return self._recorder.aside(lambda: self._warm_up(*args))
            except torch.OutOfMemoryError as error:
                if not self._recorded:
                    raise
                failure = first_line(error)  # recordings of other sizes hold memory
        elif size not in self._recorded:
            try:
                self._recorded[size] = self._record(self._recorder, *args)
            except MarrowError:
                raise
            except Exception as error:
                failure = first_line(error)
        if failure is None:
            return self._recorded[size](*args)
        # The error is gone from here on, and with it what it held: the memory of a whole step.
        _log.warning("%s not captured from here on, for that failed: %s", self._what, failure)
        self._recorder = None
        self._recorded.clear()
        self._give_up()
        return self._direct(*args)


class CapturedCall:
    """Calls a function of a batch, from the third call of each size on by replaying a recording.

    Args:
        call: returns tensors on the device of the batch, and changes nothing.
        recorder: for that device; None: nothing is recorded.
    """

    def __init__(self, call: Callable[[Batch], tuple[Tensor, ...]], recorder: Recorder | None) -> None:
        self._call = call
        self._captured = _Captured(recorder, "The encoder is", call, call, self._record)

    def __call__(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return what the function returns; a batch whose sizes are not known beforehand is not recorded."""
        if batch.shapes is None:
            return self._call(batch)
        return self._captured((batch.shapes, tuple(batch.joints.shape)), batch)

    def _record(self, recorder: Recorder, batch: Batch) -> Callable[[Batch], tuple[Tensor, ...]]:
        held = batch.copied()
        replay, results = recorder.record(lambda: self._call(held))

        def call(batch: Batch) -> tuple[Tensor, ...]:
            _fill(held, batch)
            replay()
            return tuple(result.clone() for result in results)

        return call


class CapturedStepper:
    """Takes optimizer steps as `Stepper` does, from the third of each size on by replaying a recording.

    Args:
        direct: takes the steps that are recorded.
        optimizer: its optimizer.
        recorder: for its device.
    """

    def __init__(self, direct: Stepper, optimizer: Optimizer, recorder: Recorder) -> None:
        self._direct, self._optimizer = direct, optimizer
        self._captured = _Captured(recorder, "Steps are", direct, self._warm_up, self._record, self._give_up)

    def __call__(
        self, micro_batches: MicroBatches, learning_rate: float, before_update: BeforeUpdate = nullcontext
    ) -> TakenStep:
        """Take one step; see `Stepper`. A replay cannot be broken off."""
        sizes = tuple(batch.shapes for batch, _ in micro_batches)
        return self._captured(sizes, micro_batches, learning_rate, before_update)

    def _warm_up(self, micro_batches: MicroBatches, learning_rate: float, before_update: BeforeUpdate) -> TakenStep:
        as_recorded = [(batch, draws.with_tensor_step()) for batch, draws in micro_batches]
        return self._direct(as_recorded, learning_rate, before_update)

    def _record(self, recorder: Recorder, micro_batches: MicroBatches, *_: Any) -> Callable[..., TakenStep]:
        optimizer, device = self._optimizer, micro_batches[0][1].index.device
        step, rate = torch.zeros((), dtype=torch.int64, device=device), torch.zeros((), device=device)
        held = [(_copied(batch), replace(draws, step=step)) for batch, draws in micro_batches]
        with _settings_kept(optimizer):
            replay, taken = recorder.record(lambda: self._direct(held, rate))

        def take_step(micro_batches: MicroBatches, learning_rate: float, *_: Any) -> TakenStep:
            for (static, _draws), (batch, draws) in zip(held, micro_batches, strict=True):
                _fill(static, batch)
                step.fill_(int(draws.step))
            rate.fill_(learning_rate)
            set_learning_rate(optimizer, learning_rate)  # for what is saved of it
            replay()
            # The next replay writes its own results to where these are.
            rows = [batch.row for batch, _ in micro_batches]
            return TakenStep(taken.totals.clone(), taken.metric_names, taken.gradient_norm.clone(), rows)

        return take_step

    def _give_up(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        self._direct.exact_sizes()


def _copied(batch: Batch | PlannedBatch) -> Batch | PlannedBatch:
    """Return a batch in memory of its own."""
    return replace(batch, clips=batch.clips.clone()) if isinstance(batch, PlannedBatch) else batch.copied()


def _fill(held: Batch | PlannedBatch, batch: Batch | PlannedBatch) -> None:
    """Copy what changes from step to step, and lies on the device, to where a recording looks."""
    names = ["clips"] if isinstance(batch, PlannedBatch) else [field.name for field in fields(batch)]
    for name in names:
        if isinstance(value := getattr(batch, name), Tensor):
            getattr(held, name).copy_(value)


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
