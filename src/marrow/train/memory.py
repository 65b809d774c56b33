"""How much memory a run has needed at most."""

import sys

import torch

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
