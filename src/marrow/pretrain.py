"""Pre-training: a store and a method in, a run directory with an encoder out.

    RUN/config.yaml        every setting; can be given as a recipe again
    RUN/environment.json   versions, machine, precision and why, fingerprint of the store
    RUN/log.jsonl          one entry per line: step, loss, loss of predicting the mean, learning rate, speed, time spent
    RUN/tensorboard/       the same, for TensorBoard
    RUN/checkpoints/       what a resume needs
    RUN/encoder/           what is kept: the encoder, once the run is finished or interrupted
    RUN/result.json        the last numbers; its presence says that the run is finished

The same call goes on where an interrupted run stopped, and does nothing where the run is finished.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int64
from lightning_fabric import Fabric
from lightning_fabric.loggers import TensorBoardLogger

import marrow
from marrow.data.augment import AugmentConfig
from marrow.data.loader import ResidentLoader, StreamingLoader
from marrow.data.subsets import protocol_rows
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.models.export import save_encoder
from marrow.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from marrow.objectives import OBJECTIVES
from marrow.objectives.base import Objective
from marrow.objectives.mamp import MAMPConfig
from marrow.skeleton.layout import Skeleton
from marrow.store.format import Store
from marrow.train.checkpoint import CheckpointConfig, write_whole
from marrow.train.logs import read_log
from marrow.train.loop import FitConfig, FitResult, fit
from marrow.train.optim import OptimizerConfig, adamw
from marrow.train.precision import make_fabric
from marrow.train.run_directory import claim_run, describe_environment, plain
from marrow.train.schedule import Budget, ScheduleConfig, warmup_cosine

_log = logging.getLogger(__name__)

# What may differ when a run goes on: it decides where and how fast, not what is learned.
MAY_CHANGE = (
    "store",
    "out",
    "micro_batches",
    "device",
    "processes",
    "threads",
    "loader",
    "workers",
    "checkpoints",
    "log_every",
)
# Frames up to this size are kept in the memory of a CPU without asking.
_RESIDENT_BYTES = 4 * 2**30


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that decides a pre-training run. The defaults are MAMP's for NTU RGB+D 60.

    A run ends at whichever comes first of `epochs`, `max_steps`, `max_minutes` and `max_cpu_seconds`; the learning rate
    follows the share that is spent, so that it ends at its minimum in any case.

    Args:
        store: folder of the data, as made by `marrow prepare`.
        out: folder of the run; made if missing.
        protocol: whose training half to learn from: the name of a split of the store ("xsub", "xview"), or
            leave-one-out:ATTRIBUTE=VALUE, or "FILTER -> FILTER". null: every clip.
        objective: the pretext objective.
        encoder: size of the encoder.
        input: window, stream and alignment of its input.
        augment: what is varied.
        optimizer: AdamW and the highest learning rate.
        schedule: warm-up and the lowest learning rate.
        checkpoints: when to save, and what to keep.
        epochs: passes over the training clips.
        batch_clips: clips per optimizer step, over all micro-batches and processes.
        micro_batches: pieces in which a process computes its share of a step, one after the other, to save memory.
        max_steps: limit in optimizer steps; null: none.
        max_minutes: limit in minutes on the clock; null: none.
        max_cpu_seconds: limit in processor seconds; null: none.
        seed: of the initial weights, the order, the crops, the augmentation and what is hidden.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: fp32, bf16, or auto: bf16 where the hardware multiplies it.
        processes: processes on this machine, one device each; torchrun's setting wins.
        threads: threads per process on the CPU; null: as PyTorch chooses. On a busy machine one is fastest.
        loader: resident: frames stay on the device; streaming: workers read them from the disk; auto: resident where
            they fit.
        workers: reading processes of the streaming loader.
        log_every: optimizer steps between two entries of the log.
    """

    store: Path
    out: Path
    protocol: str | None = None
    objective: MAMPConfig = field(default_factory=MAMPConfig)
    encoder: PatchTransformerConfig = field(default_factory=PatchTransformerConfig)
    input: InputConfig = field(default_factory=InputConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    epochs: int = 400
    batch_clips: int = 128
    micro_batches: int = 1
    max_steps: int | None = None
    max_minutes: float | None = None
    max_cpu_seconds: float | None = None
    seed: int = 0
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    processes: int = 1
    threads: int | None = None
    loader: Literal["auto", "resident", "streaming"] = "auto"
    workers: int = 2
    log_every: int = 20

    def __post_init__(self) -> None:
        for name in ("epochs", "processes", "workers", "log_every", "threads", "max_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")


@dataclass(frozen=True)
class PretrainResult:
    """What a run leaves behind.

    Args:
        folder: the run directory.
        encoder: folder of the exported encoder, in it.
        finished: False where the run was interrupted; the same call goes on.
        last: last entry of the log: step, loss, metrics of the objective, speed, time spent.
    """

    folder: Path
    encoder: Path
    finished: bool
    last: dict[str, Any]


def pretrain(config: PretrainConfig) -> PretrainResult:
    """Pre-train an encoder, or go on with a run that was interrupted.

    Raises:
        ConfigError: settings that do not fit each other, the data, or a run that is in the folder already.
        StoreError: the store cannot be used.
        CheckpointError: the run in the folder cannot be resumed, or a checkpoint not be written.
        MarrowError: a loss was not finite.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)

    # Where: devices, precision, and a run directory that is empty or of this very run.
    store = Store.open(config.store)
    rows = np.arange(len(store)) if config.protocol is None else protocol_rows(store, config.protocol)[0]
    tensorboard = TensorBoardLogger(config.out, name="", version="tensorboard")
    fabric, precision = make_fabric(config.device, config.precision, processes=config.processes, loggers=[tensorboard])
    fabric.launch()
    if fabric.is_global_zero:
        environment = describe_environment(store, str(fabric.device), precision.reason, fabric.world_size)
        claim_run(config.out, plain(config), environment, MAY_CHANGE)
    fabric.barrier()
    result, encoder = config.out / "result.json", config.out / "encoder"
    if result.exists():
        _log.info("%s is finished already: nothing was done", config.out)
        return PretrainResult(config.out, encoder, True, json.loads(result.read_text(encoding="utf-8")))

    # What: the objective around its encoder, the batches, the optimizer, the limits.
    objective = build_objective(config, store.skeleton).to(fabric.device)
    loader = _build_loader(config, store, rows, fabric)
    optimizer = adamw(objective, config.optimizer)
    steps = config.epochs * loader.steps_per_epoch
    budget = Budget(min(steps, config.max_steps or steps), config.max_minutes, config.max_cpu_seconds)
    settings = FitConfig(budget, config.checkpoints, config.optimizer.clip_norm, config.log_every)
    _log.info(
        "%d clips, %d steps per epoch, at most %d steps on %s; %s",
        *(len(rows), loader.steps_per_epoch, budget.steps, fabric.device, precision.reason),
    )

    # Train, then keep the encoder.
    fitted = fit(fabric, objective, optimizer, loader, _learning_rate(config), settings, config.out)
    last = fitted.last or read_log(config.out / "log.jsonl")[-1]
    if fabric.is_global_zero:
        tensorboard.finalize("success")
        save_encoder(objective.encoder, encoder, _provenance(config, store, len(rows), fitted))
        if fitted.finished:
            write_whole(result, lambda path: path.write_text(json.dumps(last, indent=1) + "\n", encoding="utf-8"))
    fabric.barrier()
    return PretrainResult(config.out, encoder, fitted.finished, last)


def build_objective(config: PretrainConfig, skeleton: Skeleton) -> Objective:
    """Make the objective and its encoder, with initial weights that follow from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        encoder = PatchTransformer(config.encoder, config.input, skeleton)
        [method] = [method for settings, method in OBJECTIVES.values() if isinstance(config.objective, settings)]
        return method(config.objective, encoder)


def _build_loader(
    config: PretrainConfig, store: Store, rows: Int64[np.ndarray, " clip"], fabric: Fabric
) -> ResidentLoader | StreamingLoader:
    kind = config.loader
    if kind == "auto":
        needed = store.byte_count * len(rows) / len(store)
        kind = "resident" if needed <= _resident_limit(fabric.device) else "streaming"
    cut = {
        "batch_clips": config.batch_clips,
        "seed": config.seed,
        "device": fabric.device,
        "rank": fabric.global_rank,
        "world_size": fabric.world_size,
        "micro_batches": config.micro_batches,
    }
    if kind == "resident":
        return ResidentLoader(store, rows, config.input, config.augment, **cut)
    return StreamingLoader(store, rows, config.input, config.augment, **cut, workers=config.workers)


def _resident_limit(device: torch.device) -> int:
    """Return how many bytes of frames may stay on a device: half of what a GPU has free; on a CPU, a fixed size."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _RESIDENT_BYTES


def _learning_rate(config: PretrainConfig) -> Callable[[float], float]:
    """Return the learning rate as a function of the progress of the run."""
    scale = config.optimizer.scale(config.batch_clips)
    return partial(
        warmup_cosine,
        base=config.optimizer.learning_rate * scale,
        minimum=config.schedule.min_learning_rate * scale,
        warmup_share=config.schedule.warmup_epochs / config.epochs,
    )


def _provenance(config: PretrainConfig, store: Store, clips: int, fitted: FitResult) -> dict[str, Any]:
    """Say where an encoder came from."""
    return {
        "marrow": marrow.__version__,
        "method": type(config.objective).__name__.removesuffix("Config"),
        "rows": "all clips" if config.protocol is None else f"training half of {config.protocol}",
        "clips": clips,
        "store_fingerprint": store.fingerprint,
        "steps": fitted.step,
        "finished": fitted.finished,
        "seed": config.seed,
        "settings": plain(config),
    }
