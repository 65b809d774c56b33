"""From rows of a store to the batches of every optimizer step.

`ResidentLoader` keeps all frames on the device, `StreamingLoader` lets workers read the raw frames of each step from
the store's memory map. What happens to those frames is the same code on the same device (`TrainingLoader`), so both
yield the same batches, bit for bit. A position in the training is one integer: which clips a step takes (`Schedule`),
crops and augmentations follow from (seed, step, place in the global batch).
"""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from marrow.data.augment import AugmentConfig
from marrow.data.batch import Batch, FixedShapes, PlannedBatch, Shapes, made
from marrow.data.draws import Draws
from marrow.data.frames import FlatFrames, flat_frames
from marrow.data.sampling import training_batch
from marrow.data.source import ClipSource
from marrow.data.window import InputConfig
from marrow.errors import CheckpointError, ConfigError, DataError, MarrowError, StoreError

MicroBatches = list[tuple[Batch | PlannedBatch, Draws]]


@dataclass(frozen=True)
class Schedule:
    """Which clips make up each micro-batch of each step: a pure function of the step.

    Args:
        clip_count: clips of the training set.
        batch_clips: clips of the global batch: all micro-batches of all processes of one optimizer step.
        seed: of the run.
        rank: of this process.
        world_size: number of processes.
        micro_batches: pieces into which a process cuts its share of a step.
        shares: (clips, weight) of each group of clips, which lie one behind the other: an epoch takes as many clips of
            a group as its weight says, each as often as the others of its group. Empty: every clip once.
    """

    clip_count: int
    batch_clips: int
    seed: int
    rank: int = 0
    world_size: int = 1
    micro_batches: int = 1
    shares: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        pieces = self.world_size * self.micro_batches
        if self.micro_batches < 1 or not 0 <= self.rank < self.world_size:
            raise ConfigError(
                "expected micro_batches >= 1 and 0 <= rank < world_size, got "
                f"micro_batches={self.micro_batches}, rank={self.rank}, world_size={self.world_size}"
            )
        if self.batch_clips < 1 or self.batch_clips % pieces:
            raise ConfigError(
                f"batch_clips={self.batch_clips} must be a positive multiple of {pieces} "
                f"({self.world_size} processes x {self.micro_batches} micro-batches)"
            )
        if self.batch_clips > self.clip_count:
            raise ConfigError(
                f"batch_clips={self.batch_clips} is more than the {self.clip_count} clips of the training set; "
                f"the largest possible is {self.clip_count // pieces * pieces} (`marrow pretrain "
                "--batch_clips auto` takes as many as there are, up to 64)"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Full global batches in one pass; what is left over is dropped (other clips each time)."""
        return self.clip_count // self.batch_clips

    def order(self, epoch: int) -> Int64[np.ndarray, " clip"]:
        """Return the order in which an epoch visits the clips."""
        if all(clips == weight for clips, weight in self.shares):
            return _order(self.seed, epoch, self.clip_count)
        return _weighted_order(self.seed, epoch, self.shares)

    @property
    def micro_batch_clips(self) -> int:
        """Clips of a micro-batch."""
        return self.batch_clips // (self.world_size * self.micro_batches)

    def places(self) -> list[tuple[int, int]]:
        """Return [begin, end) in the global batch for each micro-batch of this process."""
        size = self.micro_batch_clips
        begins = [(micro * self.world_size + self.rank) * size for micro in range(self.micro_batches)]
        return [(begin, begin + size) for begin in begins]

    def clips_of(self, step: int) -> list[Int64[np.ndarray, " batch"]]:
        """Return the clips of each micro-batch of this process, of a step that is counted from 0 over the whole run."""
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        order, offset = self.order(epoch), step_in_epoch * self.batch_clips
        return [order[offset + begin : offset + end] for begin, end in self.places()]

    def state(self, position: int) -> dict[str, int]:
        """Return the position, and the settings that a resumed run must share."""
        return {
            "position": position,
            "seed": self.seed,
            "batch_clips": self.batch_clips,
            "clip_count": self.clip_count,
        }

    def position_in(self, state: dict[str, int]) -> int:
        """Return the position of a saved state, once it is certain that it is of this schedule.

        The number of processes and micro-batches may differ: the global batches are the same.
        """
        for name, value in self.state(0).items():
            if name not in state:
                raise CheckpointError(f"the loader's saved state lacks {name!r}; it holds {sorted(state)}")
            if name != "position" and state[name] != value:
                raise CheckpointError(
                    f"the loader's saved state was made with {name}={state[name]}, this run has {name}={value}; "
                    "resume with the settings and the data that the run was started with"
                )
        return state["position"]


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, clip_count: int) -> Int64[np.ndarray, " clip"]:
    return np.random.default_rng([seed, zlib.crc32(b"order"), epoch]).permutation(clip_count)


@lru_cache(maxsize=4)
def _weighted_order(seed: int, epoch: int, shares: tuple[tuple[int, float], ...]) -> Int64[np.ndarray, " clip"]:
    """Return the order of an epoch in which groups of clips come by their weights.

    The clips of a group come in one permutation after the other, over all epochs, so that none is left behind.
    """
    total = sum(clips for clips, _ in shares)
    # Largest remainders: as many as there are places in all.
    wanted = np.array([weight for _, weight in shares]) * (total / sum(weight for _, weight in shares))
    counts = np.floor(wanted).astype(np.int64)
    counts[np.argsort(counts - wanted, kind="stable")[: total - int(counts.sum())]] += 1
    drawn, first = [], 0
    for group, ((clips, _), taken) in enumerate(zip(shares, counts.tolist(), strict=True)):
        begin, end = epoch * taken, (epoch + 1) * taken
        rounds = [
            np.random.default_rng([seed, zlib.crc32(b"group"), group, turn]).permutation(clips)
            for turn in range(begin // clips, -(-end // clips))
        ]
        if rounds:
            skipped = begin - begin // clips * clips
            drawn.append(first + np.concatenate(rounds)[skipped : skipped + taken])
        first += clips
    order = np.concatenate(drawn)
    return order[np.random.default_rng([seed, zlib.crc32(b"order"), epoch]).permutation(total)]


class TrainingLoader(ABC):
    """Training batches, step after step without end: what is the same wherever the frames come from.

    Args:
        schedule: which clips a step takes.
        rows: what each of the clips is called in the batches.
        input: window, stream and alignment.
        augment: what is varied.
        shapes: chosen for the clips (`Batch.shapes`); None: exact sizes.
        planned: whether batches are left to be made as a step is taken (`PlannedBatch`).
    """

    def __init__(
        self,
        schedule: Schedule,
        rows: Int64[np.ndarray, " clip"],
        input: InputConfig,
        augment: AugmentConfig,
        shapes: FixedShapes | None,
        *,
        planned: bool = False,
    ) -> None:
        self._schedule, self._rows, self._planned = schedule, rows, planned
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
            for batch, draws in self.next_step():
                yield made(batch, draws), draws

    def next_step(self) -> MicroBatches:
        """Return this process's micro-batches of the next optimizer step; where they are planned, yet to be made."""
        schedule = self._schedule
        step: MicroBatches = []
        for (begin, end), clips, (frames, places) in zip(
            schedule.places(), schedule.clips_of(self.position), self._frames(), strict=True
        ):
            shapes = None if self._shapes is None else self._shapes.of(clips)
            batch = PlannedBatch(places, torch.from_numpy(self._rows[clips]), shapes, partial(self._make, frames))
            draws = Draws(schedule.seed, self.position, torch.arange(begin, end, device=frames.device))
            step.append((batch if self._planned else made(batch, draws), draws))
        self.position += 1
        return step

    def _make(self, frames: FlatFrames, clips: Int64[Tensor, " batch"], draws: Draws, shapes: Shapes | None) -> Batch:
        return training_batch(frames, clips, draws, self._input, self._augment, shapes)

    def state_dict(self) -> dict[str, int]:
        """Return the position, and the settings of the schedule that it counts in."""
        return self._schedule.state(self.position)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where a state was saved."""
        self.position = self._schedule.position_in(state)


class ResidentLoader(TrainingLoader):
    """Training batches from frames that stay on the device.

    With `fixed`, all are of a few shapes (`Batch.shapes`). With `planned`, they are made when their step is taken:
    where a whole step is captured, that is a part of it.
    """

    def __init__(
        self,
        store: ClipSource,
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
        shares: tuple[tuple[int, float], ...] = (),
        fixed: bool = False,
        planned: bool = False,
    ) -> None:
        augment.check_layout(store.skeleton)
        schedule = Schedule(len(rows), batch_clips, seed, rank, world_size, micro_batches, shares)
        self.frames = flat_frames(store, rows, input, device)
        shapes = None
        if fixed:
            known = {"whole": bool(self.frames.present.all()), "joints": self.frames.most_joints}
            shapes = _shapes_of_rows(store, rows, schedule, input, self.frames.max_bodies, **known)
        super().__init__(schedule, np.asarray(rows, dtype=np.int64), input, augment, shapes, planned=planned)
        self._order: tuple[int, Tensor] | None = None

    def _frames(self) -> Iterator[tuple[FlatFrames, Int64[Tensor, " batch"]]]:
        epoch, step_in_epoch = divmod(self.position, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, torch.from_numpy(self._schedule.order(epoch)).to(self.frames.device))
        offset = step_in_epoch * self._schedule.batch_clips
        for begin, end in self._schedule.places():
            yield self.frames, self._order[1][offset + begin : offset + end]


class StreamingLoader(TrainingLoader):
    """Training batches from frames that workers read from the store step by step; `fixed` as in `ResidentLoader`."""

    def __init__(
        self,
        store: ClipSource,
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
        shares: tuple[tuple[int, float], ...] = (),
        workers: int = 2,
        fixed: bool = False,
    ) -> None:
        augment.check_layout(store.skeleton)
        schedule = Schedule(len(rows), batch_clips, seed, rank, world_size, micro_batches, shares)
        max_bodies = int(np.asarray(store.body_count)[rows].max())
        # Whether anything is absent in any clip is not known without reading all of them.
        shapes = _shapes_of_rows(store, rows, schedule, input, max_bodies, whole=False) if fixed else None
        super().__init__(schedule, np.asarray(rows, dtype=np.int64), input, augment, shapes)
        self._device, self._workers = torch.device(device), workers
        self._blocks = _StepBlocks(store, rows, input, schedule, max_bodies)
        self._stream: Iterator[list[FlatFrames] | MarrowError] | None = None

    def _frames(self) -> Iterator[tuple[FlatFrames, Int64[Tensor, " batch"]]]:
        if self._stream is None:
            steps = count(self.position)
            self._stream = iter(DataLoader(self._blocks, None, sampler=steps, num_workers=self._workers))
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
    store: ClipSource,
    rows: Int64[np.ndarray, " clip"],
    schedule: Schedule,
    input: InputConfig,
    max_bodies: int,
    *,
    whole: bool,
    joints: int | None = None,
) -> FixedShapes:
    bodies, frames, fps = (np.asarray(of)[rows] for of in (store.body_count, store.frame_count, store.fps))
    known = {"whole": whole, "joints": joints}
    return FixedShapes.of_windows(bodies, frames, fps, input, schedule.micro_batch_clips, max_bodies, **known)


class _StepBlocks(Dataset[list[FlatFrames] | MarrowError]):
    """Raw frames of the micro-batches of a step, by the number of the step. Runs in the workers.

    An error is returned, not raised: PyTorch would wrap it in the traceback of the worker.
    """

    def __init__(
        self,
        store: ClipSource,
        rows: Int64[np.ndarray, " clip"],
        input: InputConfig,
        schedule: Schedule,
        max_bodies: int,
    ) -> None:
        # A worker opens the store itself: what is sent to it must not contain what is mapped here.
        self._source, self._store = store, None
        self._rows, self._input = rows, input
        self._schedule, self._max_bodies = schedule, max_bodies

    def __getitem__(self, step: int) -> list[FlatFrames] | MarrowError:
        try:
            store = self._store = self._store or self._source.reopened()
            return [
                flat_frames(store, self._rows[clips], self._input, "cpu", self._max_bodies)
                for clips in self._schedule.clips_of(step)
            ]
        except MarrowError as error:
            return error
        except OSError as error:
            return StoreError(f"{self._source} cannot be read any more: {error}")
