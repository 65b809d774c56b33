"""Where to compute and in which number format: from the user's words to a Fabric.

bf16 pays only where the hardware multiplies it (AMX tiles on a CPU, tensor cores on a GPU): elsewhere a step takes 1.5
to 8 times as long as in fp32. So `auto` looks before it chooses.
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

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class PrecisionChoice:
    """A number format and why.

    Args:
        fabric: the name that Fabric gives it.
        reason: one sentence for the log.
    """

    fabric: Literal["32-true", "bf16-mixed"]
    reason: str


def _cpu_multiplies_bf16() -> bool:
    """Tell whether bf16 matrix products will run on AMX tiles: the chip has them and oneDNN may use them."""
    # ONEDNN_MAX_CPU_ISA caps what oneDNN may use; only its absence, these two values and names of AMX let AMX through.
    cap = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "ALL")).upper()
    return torch.cpu._is_amx_tile_supported() and (cap in ("ALL", "DEFAULT") or "AMX" in cap)


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
        if _cpu_multiplies_bf16():
            return PrecisionChoice("bf16-mixed", "bf16 chosen: this CPU has AMX tiles")
        return PrecisionChoice(
            "32-true", "fp32 chosen: without AMX tiles (or with oneDNN kept from them) bf16 is slower"
        )
    return PrecisionChoice("32-true", f"fp32 chosen: bf16 is not known to pay on {device_type}")


def make_fabric(
    device: str, precision: Precision, *, processes: int = 1, loggers: Sequence[Logger] = ()
) -> tuple[Fabric, PrecisionChoice]:
    """Make the Fabric that places modules, sets autocast and joins processes. Launch it before use.

    Args:
        device: "auto" (a CUDA device where there is one, else the CPU), "cpu", "cuda", "cuda:1", "mps".
        precision: see `choose_precision`.
        processes: processes on this machine, one device each; under torchrun, torchrun decides.
        loggers: receive what `Fabric.log_dict` is given.
    """
    kind, _, number = device.partition(":")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdecimal()):
        raise ConfigError(f"device must be auto, cpu, cuda, cuda:N or mps, got {device!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is cuda, but PyTorch sees no CUDA device here; use --device cpu or auto")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device is mps, but PyTorch sees no such device here; use --device cpu or auto")
    machines = 1
    if "TORCHELASTIC_RUN_ID" in os.environ:
        processes = int(os.environ["LOCAL_WORLD_SIZE"])
        machines = int(os.environ["WORLD_SIZE"]) // processes
    if kind == "cpu":
        keep_freed_memory()
    choice = choose_precision(precision, kind)
    fabric = Fabric(
        accelerator=kind,
        devices=[int(number)] if number else processes,
        num_nodes=machines,
        strategy="ddp" if processes * machines > 1 else "auto",
        precision=choice.fabric,
        loggers=list(loggers),
    )
    return fabric, choice
