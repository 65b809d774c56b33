"""From rows of a store to the batches of every optimizer step, and of an evaluation.

`ResidentLoader` keeps all frames on the device, `StreamingLoader` lets workers read the raw frames of each step from
the store's memory map. What happens to those frames is the same code on the same device (`TrainingLoader`), so both
yield the same batches, bit for bit. A position in the training is one integer: order, crops and augmentations follow
from (seed, step, place in the global batch).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from marrow.data.augment import AugmentConfig, draw_augmentation
from marrow.data.batch import Batch, PlannedBatch, Shapes, made
from marrow.data.draws import Draws
from marrow.data.frames import FlatFrames, flat_frames, flat_from_sequences
from marrow.data.sampling import as_stream, finish, gather, linear_part
from marrow.data.schedule import Schedule
from marrow.data.shapes import FixedShapes, training_shapes
from marrow.data.window import InputConfig, centre_windows, frames_at_pace
from marrow.errors import ConfigError, DataError, MarrowError, StoreError
from marrow.skeleton.sequence import SkeletonSequence
from marrow.store.format import Store

MicroBatches = list[tuple[Batch, Draws]]
PlannedBatches = list[tuple[PlannedBatch, Draws]]


def training_batch(
    frames: FlatFrames,
    clips: Int64[Tensor, " batch"],
    draws: Draws,
    input: InputConfig,
    augment: AugmentConfig,
    shapes: Shapes | None = None,
) -> Batch:
    """Draw what is random in one batch, then make it; `shapes` are what the host knows of it."""
    augmentation = draw_augmentation(
        *(draws, augment, frames.frame_count[clips]),
        bodies=frames.max_bodies,
        window_frames=input.window_frames,
        joints=len(frames.skeleton.joints),
    )
    times, frame_count = frames_at_pace(augmentation.windows, input, fixed=shapes is not None)
    matrix = linear_part(augmentation, frames.skeleton)
    joints, present = gather(frames, clips, augmentation.windows, times, matrix, frame_count)
    joints, present = finish(joints, present, augmentation, frames.skeleton)
    joints, present = as_stream(joints, present, frame_count, frames.skeleton, input.stream)
    return Batch(joints, present, frames.label[clips], frames.row[clips], frame_count, shapes)


def evaluation_batch(
    frames: FlatFrames, clips: Int64[Tensor, " batch"], input: InputConfig, shapes: Shapes | None = None
) -> Batch:
    """Cut, resize and align the centred windows of some clips, nothing random; `shapes` as in `training_batch`."""
    windows = centre_windows(frames.frame_count[clips], input.test_crop)
    times, frame_count = frames_at_pace(windows, input, fixed=shapes is not None)
    joints, present = gather(frames, clips, windows, times, frame_count=frame_count)
    joints, present = as_stream(joints, present, frame_count, frames.skeleton, input.stream)
    return Batch(joints, present, frames.label[clips], frames.row[clips], frame_count, shapes)


def batch_from_sequences(
    sequences: Sequence[SkeletonSequence], input: InputConfig, device: torch.device | str = "cpu"
) -> Batch:
    """Make one evaluation batch of sequences in memory.

    Args:
        sequences: in metres, of one skeleton, any length.
        input: of the encoder that is to read the batch (`encoder.input`).
        device: of the batch.
    """
    frames = flat_from_sequences(sequences, input, device)
    bodies = sum(len(sequence.joints) for sequence in sequences)
    shapes = Shapes(bodies, whole=False) if frames.device.type == "cuda" else None
    return evaluation_batch(frames, torch.arange(len(frames), device=frames.device), input, shapes)


def evaluation_batches(
    source: Store | FlatFrames,
    rows: Int64[np.ndarray, " clip"],
    input: InputConfig,
    batch_clips: int,
    device: torch.device | str,
) -> Iterator[Batch]:
    """Yield centred windows of some rows, in their order; the last batch may be smaller.

    On a CUDA device their shapes are known beforehand (`Batch.shapes`).

    Args:
        source: a store, of which one batch at a time is read, or frames that are already on a device.
        rows: rows of the store, all of which must be in `source`.
        input: window, stream, alignment and test crop. Frames on a device were aligned when they were put there.
        batch_clips: clips per batch.
        device: where the batches are wanted.
    """
    if batch_clips < 1:
        raise ConfigError(f"batch_clips must be at least 1, got {batch_clips}")
    fixed = torch.device(device).type == "cuda" and len(rows) > 0
    if isinstance(source, FlatFrames):
        clip_of_row = {row: clip for clip, row in enumerate(source.row.tolist())}
        unknown = [row for row in rows.tolist() if row not in clip_of_row]
        if unknown:
            raise ConfigError(f"these rows are not among the {len(source)} clips on the device: {unknown[:10]}")
        clips = np.array([clip_of_row[row] for row in rows.tolist()], dtype=np.int64)
        shapes = None
        if fixed:
            body_count, whole = source.body_count.cpu().numpy()[clips], bool(source.present.all())
            shapes = FixedShapes(body_count, min(batch_clips, len(rows)), source.max_bodies, whole=whole)
        for batch in resident_batches(source, clips, input, batch_clips, shapes):
            yield batch.to(device)
        return
    body_count = np.asarray(source.body_count, dtype=np.int64)[rows]
    max_bodies = int(body_count.max(initial=1))
    shapes = FixedShapes(body_count, min(batch_clips, len(rows)), max_bodies, whole=False) if fixed else None
    for begin in range(0, len(rows), batch_clips):
        frames = flat_frames(source, rows[begin : begin + batch_clips], input, device, max_bodies)
        of_batch = None if shapes is None else shapes.of(np.arange(begin, begin + len(frames)))
        yield evaluation_batch(frames, torch.arange(len(frames), device=frames.device), input, of_batch)


def resident_batches(
    frames: FlatFrames,
    clips: Int64[np.ndarray, " clip"],
    input: InputConfig,
    batch_clips: int,
    shapes: FixedShapes | None,
) -> Iterator[Batch]:
    """Yield centred windows of clips that are on a device, of which nothing is read there where `shapes` are given.

    Args:
        frames: where to cut.
        clips: which of them, in the order of the batches.
        input: as in `evaluation_batches`.
        batch_clips: clips per batch.
        shapes: chosen for these clips, in their order; None: exact sizes.
    """
    on_device = torch.from_numpy(clips).to(frames.device)
    for begin in range(0, len(clips), batch_clips):
        chosen = on_device[begin : begin + batch_clips]
        of_batch = None if shapes is None else shapes.of(np.arange(begin, begin + len(chosen)))
        yield evaluation_batch(frames, chosen, input, of_batch)


class TrainingLoader(ABC):
    """Training batches, step after step without end: what is the same wherever the frames come from.

    Args:
        schedule: which clips a step takes.
        rows: what each of the clips is called in the batches.
        input: window, stream and alignment.
        augment: what is varied.
        shapes: chosen for the clips (`Batch.shapes`); None: exact sizes.
    """

    def __init__(
        self,
        schedule: Schedule,
        rows: Int64[np.ndarray, " clip"],
        input: InputConfig,
        augment: AugmentConfig,
        shapes: FixedShapes | None,
    ) -> None:
        self._schedule, self._rows = schedule, rows
        self._input, self._augment, self._shapes = input, augment, shapes
        self.position = 0

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the clips."""
        return self._schedule.steps_per_epoch

    @property
    def epoch(self) -> float:
        """Passes done."""
        return self.position / self.steps_per_epoch

    @abstractmethod
    def _frames(self) -> Iterator[tuple[FlatFrames, Int64[Tensor, " batch"]]]:
        """Yield frames for each micro-batch of the step at this position, and which of their clips it takes."""

    def __iter__(self) -> Iterator[tuple[Batch, Draws]]:
        """Yield this process's micro-batches one after the other, of all steps to come, without end."""
        while True:
            yield from self.next_step()

    def next_step(self) -> MicroBatches:
        """Return this process's micro-batches of the next optimizer step."""
        return [(made(batch, draws), draws) for batch, draws in self._next_step()]

    def _next_step(self) -> PlannedBatches:
        """Return the same, yet to be made."""
        schedule, step = self._schedule, PlannedBatches()
        micro_batches = zip(schedule.places(), schedule.clips_of(self.position), self._frames(), strict=True)
        for (begin, end), clips, (frames, places) in micro_batches:
            shapes = None if self._shapes is None else self._shapes.of(clips)
            batch = PlannedBatch(places, torch.from_numpy(self._rows[clips]), shapes, partial(self._make, frames))
            step.append((batch, Draws(schedule.seed, self.position, torch.arange(begin, end, device=frames.device))))
        self.position += 1
        return step

    def _make(self, frames: FlatFrames, clips: Int64[Tensor, " batch"], draws: Draws, shapes: Shapes | None) -> Batch:
        return training_batch(frames, clips, draws, self._input, self._augment, shapes)

    def state_dict(self) -> dict[str, int]:
        """Return the position, and what it is a position in."""
        return self._schedule.state(self.position)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where a state was saved."""
        self.position = self._schedule.position_in(state)


class ResidentLoader(TrainingLoader):
    """Training batches from frames that stay on the device; with `fixed`, all of a few shapes (`Batch.shapes`)."""

    def __init__(
        self,
        store: Store,
        rows: Int64[np.ndarray, " clip"],
        input: InputConfig,
        augment: AugmentConfig,
        *,
        batch_clips: int,
        seed: int,
        device: torch.device | str,
        rank: int = 0,
        world_size: int = 1,
        micro_batches: int = 1,
        fixed: bool = False,
    ) -> None:
        augment.check_layout(store.skeleton)
        schedule = Schedule(len(rows), batch_clips, seed, rank, world_size, micro_batches)
        self.frames = flat_frames(store, rows, input, device)
        shapes = None
        if fixed:
            whole = bool(self.frames.present.all())
            shapes = _shapes_of_rows(store, rows, schedule, input, self.frames.max_bodies, whole=whole)
        super().__init__(schedule, np.asarray(rows, dtype=np.int64), input, augment, shapes)
        self._order: tuple[int, Tensor] | None = None

    def _frames(self) -> Iterator[tuple[FlatFrames, Int64[Tensor, " batch"]]]:
        epoch, step_in_epoch = divmod(self.position, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, torch.from_numpy(self._schedule.order(epoch)).to(self.frames.device))
        offset = step_in_epoch * self._schedule.batch_clips
        for begin, end in self._schedule.places():
            yield self.frames, self._order[1][offset + begin : offset + end]

    def plan_step(self) -> PlannedBatches:
        """Return the next step, yet to be made: where a whole step is captured, its batches are made in it."""
        return self._next_step()


class PlannedSteps:
    """The steps of a resident loader, whose batches are made when a step is taken.

    Args:
        loader: that is asked.
    """

    def __init__(self, loader: ResidentLoader) -> None:
        self._loader = loader

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the rows."""
        return self._loader.steps_per_epoch

    def next_step(self) -> PlannedBatches:
        """Return this process's micro-batches of the next optimizer step."""
        return self._loader.plan_step()

    def state_dict(self) -> dict[str, int]:
        """Return the place in the sequence of steps."""
        return self._loader.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a place in the sequence of steps."""
        self._loader.load_state_dict(state)


class StreamingLoader(TrainingLoader):
    """Training batches from frames that workers read from the store step by step; `fixed` as in `ResidentLoader`."""

    def __init__(
        self,
        store: Store,
        rows: Int64[np.ndarray, " clip"],
        input: InputConfig,
        augment: AugmentConfig,
        *,
        batch_clips: int,
        seed: int,
        device: torch.device | str,
        rank: int = 0,
        world_size: int = 1,
        micro_batches: int = 1,
        workers: int = 2,
        fixed: bool = False,
    ) -> None:
        augment.check_layout(store.skeleton)
        schedule = Schedule(len(rows), batch_clips, seed, rank, world_size, micro_batches)
        max_bodies = int(np.asarray(store.body_count)[rows].max())
        # Whether anything is absent in any clip is not known without reading all of them.
        shapes = _shapes_of_rows(store, rows, schedule, input, max_bodies, whole=False) if fixed else None
        super().__init__(schedule, np.asarray(rows, dtype=np.int64), input, augment, shapes)
        self._device, self._workers = torch.device(device), workers
        self._blocks = _StepBlocks(store, rows, input, schedule, max_bodies)
        self._stream: Iterator[list[FlatFrames] | MarrowError] | None = None

    def _frames(self) -> Iterator[tuple[FlatFrames, Int64[Tensor, " batch"]]]:
        if self._stream is None:
            steps = _StepsFrom(self.position)
            workers = DataLoader(self._blocks, None, sampler=steps, num_workers=self._workers, pin_memory=False)
            self._stream = iter(workers)
        for block in self._next_blocks(self._stream):
            yield block.to(self._device), torch.arange(len(block), device=self._device)

    @staticmethod
    def _next_blocks(stream: Iterator[list[FlatFrames] | MarrowError]) -> list[FlatFrames]:
        """Wait for the workers; what went wrong in one of them goes wrong here, in its own words."""
        try:
            blocks = next(stream)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise DataError(
                f"{str(error).splitlines()[0]} It read the store of this run: memory may have run out (use fewer "
                "--workers), or the store have been cut while it was read. The run goes on from its newest checkpoint"
            ) from error
        if isinstance(blocks, MarrowError):
            raise blocks
        return blocks

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where a state was saved; what workers have read ahead is dropped."""
        super().load_state_dict(state)
        self._stream = None


def _shapes_of_rows(
    store: Store,
    rows: Int64[np.ndarray, " clip"],
    schedule: Schedule,
    input: InputConfig,
    max_bodies: int,
    *,
    whole: bool,
) -> FixedShapes:
    bodies, frames = (np.asarray(count, np.int64)[rows] for count in (store.body_count, store.frame_count))
    return training_shapes(bodies, frames, input, schedule.micro_batch_clips, max_bodies, whole=whole)


class _StepBlocks(Dataset[list[FlatFrames] | MarrowError]):
    """Raw frames of the micro-batches of a step, by the number of the step. Runs in the workers.

    An error is returned, not raised: PyTorch would wrap it in the traceback of the worker.
    """

    def __init__(
        self,
        store: Store,
        rows: Int64[np.ndarray, " clip"],
        input: InputConfig,
        schedule: Schedule,
        max_bodies: int,
    ) -> None:
        # A worker opens the store itself: what is sent to it must not contain what is mapped here.
        self._path = store.path
        self._store: Store | None = None
        self._rows, self._input = rows, input
        self._schedule, self._max_bodies = schedule, max_bodies

    def __getitem__(self, step: int) -> list[FlatFrames] | MarrowError:
        try:
            store = self._store = self._store or Store.open(self._path)
            return [
                flat_frames(store, self._rows[clips], self._input, "cpu", self._max_bodies)
                for clips in self._schedule.clips_of(step)
            ]
        except MarrowError as error:
            return error
        except OSError as error:
            return StoreError(f"{self._path} cannot be read any more: {error}")


class _StepsFrom(Sampler[int]):
    """All steps from one on, without end."""

    def __init__(self, first_step: int) -> None:
        self._first_step = first_step

    def __iter__(self) -> Iterator[int]:
        step = self._first_step
        while True:
            yield step
            step += 1
