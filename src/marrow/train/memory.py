"""How much memory a run has needed at most, and what to do where there is too little."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from marrow.errors import MarrowError

try:
    import resource
except ImportError:  # Windows
    resource = None


def peak_memory(device: torch.device) -> dict[str, float]:
    """Return the largest amount so far, in MiB, for the log; nothing where the system does not tell.

    On a GPU it is what tensors took there; otherwise all that this process had in memory, shared libraries included.
    """
    if device.type == "cuda":
        return {"peak_memory_mib": round(torch.cuda.max_memory_allocated(device) / 2**20, 1)}
    if resource is None:
        return {}
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # KiB on Linux, bytes on macOS.
    return {"peak_memory_mib": round(largest / (2**20 if sys.platform == "darwin" else 2**10), 1)}


@contextmanager
def memory_advice(clips: int, remedy: str) -> Iterator[None]:
    """Say how much was wanted and what to change where memory runs out.

    Args:
        clips: that are computed at a time.
        remedy: one sentence: which setting makes them fewer.

    Raises:
        MarrowError: memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        wanted = _wanted(error)
        if wanted is None:
            raise
        raise MarrowError(f"out of memory{wanted}, with {clips} clips computed at a time. {remedy}") from error


def _wanted(error: Exception) -> str | None:
    """Return what an error says of the memory that was not there; None where it is about something else."""
    if isinstance(error, MemoryError):
        return ""
    said = str(error)
    on_gpu = re.search(r"Tried to allocate ([\d.]+ \w+)\.(?:.*?of which ([\d.]+ \w+) is free)?", said, re.DOTALL)
    if isinstance(error, torch.OutOfMemoryError):
        free = f" ({on_gpu[2]} are free on the device)" if on_gpu and on_gpu[2] else ""
        return f": {on_gpu[1]} more were wanted{free}" if on_gpu else ""
    on_cpu = re.search(r"can't allocate memory: you tried to allocate (\d+) bytes", said)
    return f": {int(on_cpu[1]) / 2**20:,.0f} MiB more were wanted" if on_cpu else None
