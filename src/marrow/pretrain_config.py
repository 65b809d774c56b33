"""The settings of a pre-training run: as a dataclass, as options of a command line, and as the file of a run.

And what its limits amount to: when it ends, and what becomes of it when it is asked to go on under others.
"""

import json
from argparse import ArgumentError
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentParser, Namespace

from marrow.data.augment import AugmentConfig
from marrow.data.pool import StoreChoice
from marrow.data.window import InputConfig
from marrow.errors import ConfigError
from marrow.objectives import get_objective
from marrow.train.checkpoint import CheckpointConfig, load_latest
from marrow.train.compiled import as_words
from marrow.train.logs import read_log
from marrow.train.monitor import MonitorConfig
from marrow.train.optim import Budget, OptimizerConfig, ScheduleConfig
from marrow.train.run_directory import CONFIG, recorded, without_removed

# What may differ when a run goes on: it decides where and how fast, not what is learned.
MAY_CHANGE = (
    "store",
    "stores",
    "out",
    "micro_batches",
    "device",
    "processes",
    "strategy",
    "threads",
    "loader",
    "workers",
    "compile",
    "checkpoints",
    "monitor",
    "log_every",
    "profile",
)
# What ends a run, with `ends_at_epochs`. Those that a person gives take the place of a recipe's.
LIMITS = ("epochs", "max_steps", "max_minutes", "max_cpu_seconds")
# In what runs of one experiment may differ. (Where another limit is the same, epochs hardly ever come before it.)
NOT_THE_EXPERIMENT = (*MAY_CHANGE, "seed", "ends_at_epochs")
RESULT = "result.json"
# What a step takes where the batch size follows the number of clips, as far as there are so many.
AUTO_BATCH_CLIPS = 64


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that decides a pre-training run. The defaults are MAMP's for NTU RGB+D 60.

    A run ends at whichever comes first of `epochs`, `max_steps`, `max_minutes` and `max_cpu_seconds`; the learning rate
    follows the share that is spent, so that it ends at its minimum in any case. Under limits of steps or epochs alone,
    the same settings and seed give the same weights; a clock is never the same twice.

    Args:
        store: folder of the data, as made by `marrow prepare`; null where several are given.
        stores: several stores that are learned from together, each brought to the general layout: on the command line,
            --store NAME=FOLDER, or NAME=FOLDER:SPLIT/train (or a filter), with *WEIGHT behind if need be, once for
            each; or --store FILE.yaml, which lists them.
        piece_seconds: of several stores, recordings longer than that count as pieces of about that length; null: none.
        out: folder of the run; made if missing.
        protocol: whose training half to learn from: the name of a split of the store ("xsub", "xview"), or
            one fold (leave-one-out:ATTRIBUTE=VALUE, k-fold:K#0), or "FILTER -> FILTER". null: every clip.
        method: name of the pretext objective (`marrow.objectives`).
        objective: settings of the objective, of the kind that the method has; null: its defaults.
        encoder: size of the encoder, of the kind that the method trains; null: its defaults.
        input: window, stream and alignment of its input.
        augment: what is varied.
        optimizer: AdamW, or Muon beside it, and the highest learning rate.
        schedule: warm-up and the lowest learning rate.
        checkpoints: when to save, and what to keep.
        monitor: how the run is watched.
        epochs: passes over the training clips; warm-up is a share of them.
        ends_at_epochs: whether `epochs` end the run. False where another limit was given in their place: then they only
            say what the warm-up is a share of.
        batch_clips: clips per optimizer step, over all micro-batches and processes; auto: 64, or all where there are
            fewer.
        micro_batches: pieces in which a process computes its share of a step, one after the other, to save memory.
        max_steps: limit in optimizer steps; null: none.
        max_minutes: limit in minutes on the clock; null: none.
        max_cpu_seconds: limit in processor seconds; null: none.
        seed: of the initial weights, the order, the crops, the augmentation and what is hidden.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: fp32, bf16, or auto: bf16 where the hardware multiplies it.
        processes: processes on this machine, one device each; torchrun's and Slurm's setting wins.
        strategy: how several processes share the work. ddp: each holds all weights; fsdp: each holds a part of the
            weights and of the optimizer's state (for networks that are too large otherwise); auto: ddp.
        threads: threads per process on the CPU; null: as PyTorch chooses. On a busy machine one is fastest.
        loader: resident: frames stay on the device; streaming: workers read them from the disk; auto: resident where
            they fit.
        workers: reading processes of the streaming loader.
        compile: whether draw and loss of a step become one compiled graph: on, off, or auto, where it is known to pay.
        log_every: optimizer steps between two entries of the log.
        profile: whether to note where the time of a step goes: a table at the end, RUN/profile.json, and three steps in
            detail in RUN/profile_trace.json (for ui.perfetto.dev).
    """

    store: Path | None
    out: Path
    protocol: str | None = None
    stores: tuple[StoreChoice, ...] = ()
    piece_seconds: float | None = None
    method: str = "mamp"
    objective: Any = None
    encoder: Any = None
    input: InputConfig = field(default_factory=InputConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    epochs: int = 400
    ends_at_epochs: bool = True
    batch_clips: int | Literal["auto"] = 128
    micro_batches: int = 1
    max_steps: int | None = None
    max_minutes: float | None = None
    max_cpu_seconds: float | None = None
    seed: int = 0
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    processes: int = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    threads: int | None = None
    loader: Literal["auto", "resident", "streaming"] = "auto"
    workers: int = 2
    compile: Literal["auto", "on", "off"] | bool = "auto"
    log_every: int = 20
    profile: bool = False

    def __post_init__(self) -> None:
        if (self.store is None) == (not self.stores):
            raise ConfigError("give the data to learn from: --store FOLDER, or several as --store NAME=FOLDER")
        if self.stores and self.protocol is not None:
            raise ConfigError(
                f"of several stores, each says itself which rows are learned from: write --store "
                f"{self.stores[0].name}={self.stores[0].path}:{self.protocol}/train, and --protocol null"
            )
        for name in ("epochs", "processes", "workers", "log_every", "threads", "max_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        object.__setattr__(self, "compile", as_words(self.compile))
        for name in ("max_minutes", "max_cpu_seconds"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"{name} must be positive or null, got {value}")
        if not self.ends_at_epochs and all(getattr(self, name) is None for name in LIMITS[1:]):
            raise ConfigError("nothing would end this run: give epochs, max_steps, max_minutes or max_cpu_seconds")
        if self.strategy == "fsdp" and self.optimizer.name == "muon":
            raise ConfigError(
                "optimizer.name muon turns whole matrices, and strategy fsdp gives every process a part of them: set "
                "strategy to ddp, or optimizer.name to adamw"
            )
        if self.seed < 0:
            raise ConfigError(f"seed must not be negative, got {self.seed}")
        objective = get_objective(self.method)
        for name, kind in (("objective", objective.config_type), ("encoder", objective.encoder_type.config_type)):
            value = getattr(self, name)
            if value is None:
                object.__setattr__(self, name, kind())
            elif not isinstance(value, kind):
                raise ConfigError(
                    f"the method {self.method!r} takes {kind.__name__} as its {name}, got {type(value).__name__}"
                )

    @property
    def clips_per_step(self) -> int:
        """The number of clips of a step, once it is settled (`with_batch_size`)."""
        assert self.batch_clips != "auto"
        return self.batch_clips


def add_settings(parser: ArgumentParser, method: str) -> None:
    """Give a parser every setting of a run: the common ones, and those of one method and its encoder."""
    objective = get_objective(method)
    parser.add_class_arguments(PretrainConfig, as_group=False, skip={"objective", "encoder"})
    parser.set_defaults(method=method)
    parser.add_class_arguments(objective.config_type, "objective")
    parser.add_class_arguments(objective.encoder_type.config_type, "encoder")


def config_of(parser: ArgumentParser, arguments: Namespace) -> PretrainConfig:
    """Return the settings that the arguments of such a parser amount to."""
    settings = parser.instantiate(arguments).as_dict()
    return PretrainConfig(**{field.name: settings[field.name] for field in fields(PretrainConfig)})


def with_batch_size(config: PretrainConfig, clips: int, processes: int) -> PretrainConfig:
    """Return settings whose `batch_clips` is a number: that of the run in the folder, or what the clips allow.

    Args:
        config: of a run.
        clips: that are learned from.
        processes: that share a step, on all machines.

    Raises:
        ConfigError: there are fewer clips than pieces of a batch.
    """
    if config.batch_clips != "auto":
        return config
    before = recorded(config.out, ["batch_clips"])
    if before is not None:
        return replace(config, batch_clips=before["batch_clips"])
    pieces = processes * config.micro_batches
    if clips < pieces:
        raise ConfigError(
            f"a step is shared by {pieces} pieces ({processes} processes x {config.micro_batches} micro-batches), each "
            f"of which needs a clip, and there are {clips} clips to learn from"
        )
    return replace(config, batch_clips=min(AUTO_BATCH_CLIPS, clips) // pieces * pieces)


def load_config(run: Path | str) -> PretrainConfig:
    """Read the settings of a run from its directory.

    Raises:
        ConfigError: the folder holds no run, or one of another version of marrow that asks for what is no more.
    """
    file = Path(run) / CONFIG
    try:
        values = without_removed(yaml.safe_load(file.read_text(encoding="utf-8")), file)
        parser = ArgumentParser(exit_on_error=False)
        add_settings(parser, values["method"])
        return config_of(parser, parser.parse_object(values))
    except OSError as error:
        raise ConfigError(f"{run} is not a run directory of `marrow pretrain`: {file} cannot be read") from error
    except (ArgumentError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{file} does not hold the settings of a run of this marrow: {error}") from error


def budget_of(config: PretrainConfig, steps_per_epoch: int) -> Budget:
    """Return what the limits of a run amount to."""
    of_epochs = config.epochs * steps_per_epoch if config.ends_at_epochs else None
    steps = min((limit for limit in (of_epochs, config.max_steps) if limit is not None), default=None)
    return Budget(steps, config.max_minutes, config.max_cpu_seconds)


def finished_result(file: Path, budget: Budget) -> dict[str, Any] | None:
    """Return the result of a run that is finished under its limits, which may be larger than they were."""
    if not file.exists():
        return None
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        spent = result["step"], result["wall_seconds"], result["cpu_seconds"]
        return result if budget.progress(*spent) >= 1.0 else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} is damaged ({error}); remove it, and the run goes on from its checkpoint") from error


def extension_of(config: PretrainConfig, budget: Budget) -> dict[str, Any] | None:
    """Return from which step on, and under which limits before, the run in the folder is to go on under others.

    None: it is a new run, it has the same limits, or it has ended just where these end it.

    Raises:
        ConfigError: it has gone beyond the limits, or has left nothing to go on from.
        CheckpointError: no checkpoint is whole.
    """
    names = (*LIMITS, "ends_at_epochs")
    limits_before = recorded(config.out, names)
    if limits_before is None:
        return None
    before = {"ends_at_epochs": True, **limits_before}
    if before == {name: getattr(config, name) for name in names}:
        return None
    changed = [f"{name} {getattr(config, name)}" for name in LIMITS if before.get(name) != getattr(config, name)]
    state = load_latest(config.out / "checkpoints")
    if state is None:
        if changed and any((config.out / name).exists() for name in (RESULT, "encoder")):
            raise ConfigError(
                f"{config.out} holds a run that has no checkpoint to go on from under {', '.join(changed)}: put its "
                "checkpoints back, or choose another --out"
            )
        return None
    spent = state["step"], state["wall_seconds"], state["cpu_seconds"]
    log = [entry for entry in read_log(config.out / "log.jsonl") if entry["step"] < spent[0]]
    clocks = [(0, entry.get("wall_seconds", 0.0), entry.get("cpu_seconds", 0.0)) for entry in log]
    is_beyond = (budget.steps or spent[0]) < spent[0] or any(budget.progress(*clock) >= 1.0 for clock in clocks)
    if changed and is_beyond:
        raise ConfigError(
            f"{config.out} holds a run that has done {spent[0]} steps in {spent[1]:.0f} s, {spent[2]:.0f} s of the "
            f"processor; {', '.join(changed)} would have ended it before. Give larger limits to go on, or choose "
            "another --out"
        )
    return None if budget.progress(*spent) >= 1.0 else {"from_step": spent[0], "limits_before": before}
