"""Draw and loss of a step as one graph: whether to compile (and capture) it, and the module that is compiled.

A compiled step needs shapes that are known beforehand (`Batch.shapes`) and the number of the step as a tensor, so that
one graph serves for all steps. Everything else is the same: weights, optimizer, checkpoints. A run that began compiled
goes on eagerly, and the other way round.
"""

import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from marrow.data.batch import Batch
from marrow.data.draws import Draws
from marrow.models.trainable import StepOutput, Trainable

Compile = Literal["auto", "on", "off"]

# Compiling takes a minute. On one H200 it makes a captured step of AMR 5 ms shorter, which pays it back after so many.
_FEWEST_STEPS = 12_000
_MOST_GRAPHS = 200


def as_words(wish: Compile | bool) -> Compile:
    """Return on and off where YAML took these words for true and false."""
    return ("on" if wish else "off") if isinstance(wish, bool) else wish


@dataclass(frozen=True)
class CompileChoice:
    """Whether steps are compiled and captured, and why.

    Args:
        compiled: whether draw and loss become one compiled graph.
        captured: whether whole steps are recorded and replayed (`marrow.train.captured`).
        reason: one sentence for the log.
    """

    compiled: bool
    captured: bool
    reason: str

    @property
    def fixed(self) -> bool:
        """Whether batches must have shapes that are known beforehand."""
        return self.compiled or self.captured


def choose_compile(
    wish: Compile, device_type: str, steps: int | None, processes: int = 1, *, sharded: bool = False
) -> CompileChoice:
    """Choose whether to compile and to capture the steps of a run.

    Args:
        wish: on, off, or auto: where it pays.
        device_type: "cpu", "cuda", ...
        steps: of the run; None: only a clock ends it.
        processes: that share the work.
        sharded: whether each of them holds a part of the weights only.
    """
    if wish == "off":
        return CompileChoice(False, False, "steps are neither compiled nor captured, as asked")
    # A recording cannot wait for other processes.
    captured = device_type == "cuda" and processes == 1
    otherwise = "steps are captured and not compiled" if captured else "steps are not compiled"
    missing = "weights are gathered between its layers (strategy fsdp)" if sharded else _missing(device_type)
    if missing is not None:
        return CompileChoice(False, captured, f"{otherwise}: {missing}")
    if wish == "auto" and device_type != "cuda":
        return CompileChoice(False, captured, f"{otherwise}: it is not known to pay on {device_type}")
    if wish == "auto" and steps is not None and steps < _FEWEST_STEPS:
        return CompileChoice(False, captured, f"{otherwise}: that pays from {_FEWEST_STEPS:,} steps on")
    how = "compiled and captured" if captured else "compiled"
    asked = ", as asked" if wish == "on" else ""
    return CompileChoice(True, captured, f"steps are {how}{asked}: the first one takes a minute or more")


def _missing(device_type: str) -> str | None:
    """Say what compiling needs and is not there."""
    if device_type not in ("cpu", "cuda"):
        return f"PyTorch does not compile for {device_type}"
    if device_type == "cuda" and not importlib.util.find_spec("triton"):
        return "the package triton is missing (pip install triton)"
    compiler = os.environ.get("CXX", "g++")
    if device_type == "cpu" and not shutil.which(compiler):
        return f"there is no C++ compiler {compiler!r} here (CXX names another)"
    # Of what has been compiled, so that it is found again.
    cache = Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR") or tempfile.gettempdir())
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            return None
    except OSError as error:
        return f"{cache} cannot be written to ({error.strerror}; TORCHINDUCTOR_CACHE_DIR names another folder)"


class DrawnLoss(nn.Module):
    """A trainable that draws for itself: what is compiled.

    Args:
        trainable: whose draw and loss become one graph.
    """

    def __init__(self, trainable: Trainable) -> None:
        super().__init__()
        self.trainable = trainable

    def forward(self, batch: Batch, draws: Draws) -> StepOutput:
        """Draw what is random, and compute the loss."""
        with torch.autocast(batch.joints.device.type, enabled=False):
            draw: Any = self.trainable.sample(batch, draws)
        return self.trainable(batch, draw)


def one_graph(trainable: Trainable, backend: str = "inductor") -> nn.Module:
    """Return draw and loss of a trainable as one graph, which is compiled when it is first called."""
    # All runs of a process count together (a graph for each seed, size and number format), and 8 are soon reached.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _MOST_GRAPHS)
    compiled = torch.compile(DrawnLoss(trainable), fullgraph=True, dynamic=False, backend=backend)
    assert isinstance(compiled, nn.Module)
    return compiled
