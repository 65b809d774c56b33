"""Where to compute, in how many processes and in which number format: from the user's words to a Fabric.

bf16 pays only where the hardware multiplies it (AMX tiles or the bf16 instructions of AVX-512 on a CPU, tensor cores on
a GPU): elsewhere a step takes 1.5 to 8 times as long as in fp32. So `auto` looks before it chooses.

What bf16 is for is decided here, for training, replay, monitor and evaluation: the matrix products of a network and its
activations (autocast). Geometry stays in fp32. The batch reaches `forward` as it is (`ExactInput`), so that motion,
energies, statistics, targets and losses are those of the recording; layers that read coordinates or say metres are
`marrow.models.blocks.ExactLinear`; and no fp32 product is cut to TF32. docs/decisions/0007-geometry-in-fp32.md.
"""

import ctypes
import logging
import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import Logger
from lightning_fabric.plugins.precision import MixedPrecision
from lightning_fabric.plugins.precision import Precision as FabricPrecision

from marrow.errors import ConfigError, MarrowError
from marrow.train.processes import find_launch, fsdp_strategy

try:
    import resource
except ImportError:  # Windows
    resource = None

Precision = Literal["auto", "fp32", "bf16"]
StrategyName = Literal["auto", "ddp", "fsdp"]

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_KEEP_BYTES = 2**31 - 1
_GROW_BYTES = 2**28


@dataclass(frozen=True)
class PrecisionChoice:
    """A number format and why.

    Args:
        bf16: whether networks multiply matrices in bf16; otherwise everything is fp32.
        reason: one sentence for the log.
    """

    bf16: bool
    reason: str


def _cpu_bf16() -> str | None:
    """Name what will multiply bf16 matrices: instructions that the chip has and that oneDNN may use; None: nothing."""
    # ONEDNN_MAX_CPU_ISA caps what oneDNN may use: its absence and two values let all through, else names say how much.
    cap = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "ALL")).upper()
    everything = cap in ("ALL", "DEFAULT")
    if torch.cpu._is_amx_tile_supported() and (everything or "AMX" in cap):
        return "AMX tiles"
    # Not every version of torch that is supported can tell.
    has_avx512_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    if has_avx512_bf16 and (everything or any(name in cap for name in ("BF16", "FP16", "AMX", "AVX10"))):
        return "AVX-512 with bf16"
    return None


def choose_precision(precision: Precision, device_type: str) -> PrecisionChoice:
    """Choose the number format for a device.

    Args:
        precision: "fp32", "bf16" (matrix products in bf16, weights in fp32), or "auto".
        device_type: "cpu", "cuda", "mps", ...
    """
    if precision == "fp32":
        return PrecisionChoice(False, "fp32, as asked")
    if precision == "bf16":
        return PrecisionChoice(True, "bf16 matrix products with fp32 weights, as asked")
    if precision != "auto":
        raise ConfigError(f"precision must be auto, fp32 or bf16, got {precision!r}")
    if device_type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return PrecisionChoice(True, "bf16 chosen: this GPU multiplies it in hardware")
        return PrecisionChoice(False, "fp32 chosen: this GPU does not multiply bf16 in hardware")
    if device_type == "cpu":
        if (instructions := _cpu_bf16()) is not None:
            return PrecisionChoice(True, f"bf16 chosen: this CPU has {instructions}")
        slower = "without AMX tiles or AVX-512 with bf16 (or with oneDNN kept from them) bf16 is slower"
        return PrecisionChoice(False, f"fp32 chosen: {slower}")
    return PrecisionChoice(False, f"fp32 chosen: bf16 is not known to pay on {device_type}")


class ExactInput(MixedPrecision):
    """bf16 autocast that leaves what a module is given as it is.

    Fabric's own rounds every floating tensor among the arguments to bf16 before `forward` sees it: to 16 mm at a
    distance of 3 m, where joints move by a few millimetres from frame to frame.
    """

    def __init__(self, device_type: str) -> None:
        super().__init__("bf16-mixed", device_type)

    def convert_input(self, data: Any) -> Any:
        """Return the arguments unchanged."""
        return data


def number_format(bf16: bool, device_type: str) -> FabricPrecision:
    """Return how a network computes on a device: in fp32, or with bf16 matrix products on exact coordinates."""
    return ExactInput(device_type) if bf16 else FabricPrecision()


def network_context(bf16: bool, device_type: str) -> AbstractContextManager[Any]:
    """Return the context in which a network computes as it does in a run of this format."""
    return number_format(bf16, device_type).forward_context()


def uses_bf16(fabric: Fabric) -> bool:
    """Tell whether a Fabric lets networks multiply in bf16."""
    return isinstance(fabric.strategy.precision, ExactInput)


def make_fabric(
    device: str,
    precision: Precision,
    *,
    processes: int = 1,
    strategy: StrategyName = "auto",
    loggers: Sequence[Logger] = (),
) -> tuple[Fabric, PrecisionChoice]:
    """Make the Fabric that places modules, sets autocast and joins processes. Launch it before use.

    Args:
        device: "auto" (a CUDA device where there is one, else the CPU), "cpu", "cuda", "cuda:1", "mps".
        precision: see `choose_precision`.
        processes: processes on this machine, one device each; under torchrun and Slurm's srun, those decide.
        strategy: how several processes share the work. ddp: each holds all weights. fsdp: each holds a part of the
            weights and of the optimizer's state. auto: ddp.
        loggers: receive what `Fabric.log_dict` is given.
    """
    kind, number = _device(device)
    launch = find_launch(processes)
    if launch.processes > 1 and number is not None:
        raise ConfigError(f"device={device!r} names one device, but there are {launch.processes} processes; say cuda")
    if kind == "cuda" and launch.processes > torch.cuda.device_count():
        raise ConfigError(
            f"expected a GPU for each of {launch.processes} processes, PyTorch sees {torch.cuda.device_count()}"
        )
    if kind == "mps" and launch.processes * launch.machines > 1:
        raise ConfigError("device mps computes in one process only; got several")
    if strategy not in ("auto", "ddp", "fsdp"):
        raise ConfigError(f"strategy must be auto, ddp or fsdp, got {strategy!r}")
    if kind == "cpu":
        keep_freed_memory()
    if kind == "cuda":
        # TF32 has 10 bits of mantissa: 2 mm at 3 m. What may be rounded is multiplied in bf16 already.
        torch.set_float32_matmul_precision("highest")
    # Fabric would ask for TF32, and say once per Fabric that it multiplies in bf16: both are decided, and said, here.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    choice = choose_precision(precision, kind)
    world_size = launch.processes * launch.machines
    how = "auto" if world_size == 1 else fsdp_strategy(world_size) if strategy == "fsdp" else "ddp"
    fabric = Fabric(
        accelerator=kind,
        devices=launch.processes if number is None else [number],
        num_nodes=launch.machines,
        strategy=how,
        plugins=[launch.environment, number_format(choice.bf16, kind)],
        loggers=list(loggers),
    )
    return fabric, choice


def _device(device: str) -> tuple[str, int | None]:
    """Return the kind and the number of a device that is there."""
    kind, _, number = device.partition(":")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cpu", "cuda", "mps") or (number and not (number.isdecimal() and kind == "cuda")):
        raise ConfigError(f"device must be auto, cpu, cuda, cuda:N or mps, got {device!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device is {device}, but PyTorch sees no CUDA device here; use --device cpu or auto")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device is mps, but PyTorch sees no such device here; use --device cpu or auto")
    if number and int(number) >= torch.cuda.device_count():
        raise ConfigError(
            f"device is {device}, but PyTorch sees {torch.cuda.device_count()} CUDA devices here, counted from 0"
        )
    return kind, int(number) if number else None


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large blocks instead of returning them to the system after every step.

    On a CPU, half of a training step can otherwise go into page faults. The effect is that of MALLOC_MMAP_MAX_=0,
    MALLOC_TRIM_THRESHOLD_ and MALLOC_TOP_PAD_ in the environment, for this process from now on; what it computes does
    not change. Elsewhere than on glibc nothing is done.

    Returns:
        Whether it was done.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _KEEP_BYTES), (_M_TOP_PAD, _GROW_BYTES))
    return all(mallopt(option, value) == 1 for option, value in settings)


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
    message = str(error)
    on_gpu = re.search(r"Tried to allocate ([\d.]+ \w+)\.(?:.*?of which ([\d.]+ \w+) is free)?", message, re.DOTALL)
    if isinstance(error, torch.OutOfMemoryError):
        free = f" ({on_gpu[2]} are free on the device)" if on_gpu and on_gpu[2] else ""
        return f": {on_gpu[1]} more were wanted{free}" if on_gpu else ""
    on_cpu = re.search(r"can't allocate memory: you tried to allocate (\d+) bytes", message)
    return f": {int(on_cpu[1]) / 2**20:,.0f} MiB more were wanted" if on_cpu else None
