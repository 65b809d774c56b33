"""Randomness as data: numbers that depend on (seed, stream, step, place in the global batch) and on nothing else.

A clip's crop, rotation and hidden set are therefore the same however the batch is cut into micro-batches or spread
over processes, on every device, in the resident and in the streaming loader, and after a resume. There is no generator
whose state could be lost: a draw is a hash of its coordinates.

Every draw has a name, and names belong to one of four streams (`STREAMS`): the order of the clips, their crops and
augmentation, what the objective hides, and dropout. Different names are independent: to draw more, fewer or other
numbers under one changes nothing under the others. Nothing is drawn outside of them once a run has begun.

The hash is the finaliser of SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014), evaluated in int64 arithmetic that wraps, which PyTorch has on every device.
"""

import math
import zlib
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

# Which stream a name belongs to. Other names, which objectives choose for themselves, count as the objective's.
# The order is drawn once per epoch, by the loader, for all clips at once.
STREAMS: dict[str, tuple[str, ...]] = {
    "order": ("order",),
    "crop and augmentation": (
        "crop",
        "rotation",
        "yaw",
        "mirror",
        "scale",
        "jitter",
        "projected",
        "camera",
        "one_of_each",
        "one_scale",
        "one_shear",
        "one_noisy_joints",
        "one_noise",
        "one_interpolation",
        "one_crop",
    ),
    "objective": ("hidden", "replaced", "moving_clip", "order_swaps"),
    "dropout": ("dropout", "drop_path"),
}


def _signed(value: int) -> int:
    """Return a 64-bit pattern as the Python integer that torch.int64 holds for it."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_GOLDEN_INVERSE = _signed(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
_STEP = _signed(0xDA942042E4DD58B5)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift_right(z: Int64[Tensor, "..."], bits: int) -> Int64[Tensor, "..."]:
    """Shift logically (torch shifts int64 arithmetically)."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mix(z: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
    z = (z ^ _shift_right(z, 30)) * _MIX_1
    z = (z ^ _shift_right(z, 27)) * _MIX_2
    return z ^ _shift_right(z, 31)


@torch.compiler.assume_constant_result
def _stream_key(stream: str, seed: int) -> int:
    return _signed(zlib.crc32(stream.encode()) * 0x9E3779B97F4A7C15 ^ seed * 0xD1342543DE82EF95)


def hashed(key: Int64[Tensor, "*keys"], count: int) -> Int64[Tensor, "... count"]:
    """Return 64 random bits for each number from 1 to a count: a function of a key, or of several ([key 1])."""
    # key + golden * counter, in an order in which no compiler takes it for an index and works it out in large integers.
    counter = torch.arange(1, count + 1, device=key.device)
    return _mix((key * _GOLDEN_INVERSE + counter) * _GOLDEN)


@dataclass
class Draws:
    """The random numbers of some clips of one step.

    Args:
        seed: of the run.
        step: the optimizer step, counted from 0 over the whole run; a tensor where one compiled step serves for all.
        index: each clip's place in the global batch, on the device where the numbers are wanted.
    """

    seed: int
    step: int | Int64[Tensor, ""]
    index: Int64[Tensor, " batch"]

    def with_tensor_step(self) -> "Draws":
        """Return the same, with the step on the device, where it is no constant of a graph; nothing is waited for."""
        if isinstance(self.step, Tensor):
            return self
        return replace(self, step=torch.full((), self.step, dtype=torch.int64, device=self.index.device))

    def key(self, stream: str) -> Int64[Tensor, ""]:
        """Draw one number for all of the clips together, for what is hashed further (24 bits; stays on the device)."""
        return (self.uniform(stream)[0] * 2**24).to(torch.int64)

    def uniform(self, stream: str, *shape: int) -> Float[Tensor, "batch ..."]:
        """Draw numbers uniform on [0, 1), with 24 random bits each (exact in float32).

        Args:
            stream: what they are for ("crop", "rotation", "hidden", ...). Different names are independent.
            shape: what each clip gets.
        """
        count = math.prod(shape)
        # One key per stream and step, then one per clip, then one per number. Only Python's integers must be wrapped.
        key = _stream_key(stream, self.seed)
        if isinstance(self.step, int):
            key = _signed(key + _signed(self.step * _STEP))
        else:
            key = key + self.step * _STEP
        per_clip = _mix(_mix(self.index * _GOLDEN + key))
        bits = hashed(per_clip[:, None], count)
        return (_shift_right(bits, 40).to(torch.float32) * 2.0**-24).reshape(len(self.index), *shape)
