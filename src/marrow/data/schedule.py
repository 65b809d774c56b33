"""Which clips make up each micro-batch of each optimizer step, in each process."""

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int64

from marrow.errors import CheckpointError, ConfigError


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
    """

    clip_count: int
    batch_clips: int
    seed: int
    rank: int = 0
    world_size: int = 1
    micro_batches: int = 1

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
                f"the largest possible is {self.clip_count // pieces * pieces}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Full global batches in one pass; what is left over is dropped (other clips each time)."""
        return self.clip_count // self.batch_clips

    def order(self, epoch: int) -> Int64[np.ndarray, " clip"]:
        """Return the order in which an epoch visits the clips."""
        return _order(self.seed, epoch, self.clip_count)

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
        """Return what a resumed run must agree on, and where it goes on."""
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
