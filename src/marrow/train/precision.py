"""Where to compute and in which number format: from the user's words to a Fabric.

bf16 pays only where the hardware multiplies it (AMX tiles or the bf16 instructions of AVX-512 on a CPU, tensor cores on
a GPU): elsewhere a step takes 1.5 to 8 times as long as in fp32. So `auto` looks before it chooses.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import Logger

from marrow.errors import ConfigError
from marrow.train.allocator import keep_freed_memory
from marrow.train.launch import find_launch
from marrow.train.sharding import fsdp_strategy

Precision = Literal["auto", "fp32", "bf16"]
StrategyName = Literal["auto", "ddp", "fsdp"]


@dataclass(frozen=True)
class PrecisionChoice:
    """A number format and why.

    Args:
        fabric: the name that Fabric gives it.
        reason: one sentence for the log.
    """

    fabric: Literal["32-true", "bf16-mixed"]
    reason: str


def _cpu_bf16() -> str | None:
    """Name what will multiply bf16 matrices: instructions that the chip has and that oneDNN may use; None: nothing."""
    # ONEDNN_MAX_CPU_ISA caps what oneDNN may use: its absence and two values let all through, else names say how much.
    cap = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "ALL")).upper()
    everything = cap in ("ALL", "DEFAULT")
    if torch.cpu._is_amx_tile_supported() and (everything or "AMX" in cap):
        return "AMX tiles"
    if _has_avx512_bf16() and (everything or any(name in cap for name in ("BF16", "FP16", "AMX", "AVX10"))):
        return "AVX-512 with bf16"
    return None


def _has_avx512_bf16() -> bool:
    # Not every version of torch that is supported can tell.
    return getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()


def choose_precision(precision: Precision, device_type: str) -> PrecisionChoice:
    """Choose the number format for a device.

    Args:
        precision: "fp32", "bf16" (matrix products in bf16, weights in fp32), or "auto".
        device_type: "cpu", "cuda", "mps", ...
    """
    if precision == "fp32":
        return PrecisionChoice("32-true", "fp32, as asked")
    if precision == "bf16":
        return PrecisionChoice("bf16-mixed", "bf16 matrix products with fp32 weights, as asked")
    if precision != "auto":
        raise ConfigError(f"precision must be auto, fp32 or bf16, got {precision!r}")
    if device_type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return PrecisionChoice("bf16-mixed", "bf16 chosen: this GPU multiplies it in hardware")
        return PrecisionChoice("32-true", "fp32 chosen: this GPU does not multiply bf16 in hardware")
    if device_type == "cpu":
        if (found := _cpu_bf16()) is not None:
            return PrecisionChoice("bf16-mixed", f"bf16 chosen: this CPU has {found}")
        return PrecisionChoice(
            "32-true",
            "fp32 chosen: without AMX tiles or AVX-512 with bf16 (or with oneDNN kept from them) bf16 is slower",
        )
    return PrecisionChoice("32-true", f"fp32 chosen: bf16 is not known to pay on {device_type}")


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
    choice = choose_precision(precision, kind)
    world_size = launch.processes * launch.machines
    how = "auto" if world_size == 1 else fsdp_strategy(world_size) if strategy == "fsdp" else "ddp"
    fabric = Fabric(
        accelerator=kind,
        devices=launch.processes if number is None else [number],
        num_nodes=launch.machines,
        strategy=how,
        precision=choice.fabric,
        plugins=[launch.environment],
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
