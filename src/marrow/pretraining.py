"""Pre-training: a store and a method in, a run directory with an encoder out.

    RUN/config.yaml        every setting; can be given as a recipe again
    RUN/environment.json   versions, machine, precision and why, fingerprint of the store
    RUN/log.jsonl          one entry per line: step, loss, loss of predicting the mean, learning rate, speed, time;
                           now and then what the monitor saw
    RUN/tensorboard/       the same, for TensorBoard
    RUN/checkpoints/       what a resume needs
    RUN/encoder/           what is kept: the encoder, once the run is finished or interrupted
    RUN/result.json        the last numbers; its presence says that the run is finished
    RUN/non_finite/        where a loss was not finite: the state before that step and its batches, for `replay_step`
    RUN/profile.json       with `profile`: where the time of a step goes; profile_trace.json: some steps in detail
    RUN/.lock              which process trains here

The same call goes on where an interrupted run stopped, and does nothing where the run is finished. With a larger limit
it extends the run, interrupted or finished: the learning rate follows the new limit from there on. That is not what one
long run would have been, and log, provenance and report say at which step it was.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from lightning_fabric import Fabric
from lightning_fabric.loggers import TensorBoardLogger

import marrow
from marrow.data.frames import frame_bytes, resident_limit
from marrow.data.loader import ResidentLoader, Schedule, StreamingLoader
from marrow.data.pool import Pool, open_pool
from marrow.data.subsets import protocol_rows
from marrow.errors import CheckpointError, ConfigError
from marrow.files import write_text_whole
from marrow.models.blocks import seeded_weights
from marrow.models.export import encoder_kind, load_encoder, save_encoder
from marrow.objectives import get_objective
from marrow.objectives.base import Objective
from marrow.pretrain_config import (
    LIMITS,
    MAY_CHANGE,
    RESULT,
    PretrainConfig,
    budget_of,
    extension_of,
    finished_result,
    load_config,
    with_batch_size,
)
from marrow.skeleton.layout import Skeleton
from marrow.store.format import Store
from marrow.train.checkpoint import load_latest
from marrow.train.compiled import as_words, choose_compile
from marrow.train.device import PrecisionChoice, find_launch, make_fabric
from marrow.train.interrupt import StoreWatch
from marrow.train.logs import read_log
from marrow.train.loop import FitConfig, FitResult, fit
from marrow.train.monitor import Monitor, TimedLoader
from marrow.train.non_finite import Replay, replay
from marrow.train.optim import Budget, learning_rate, optimizer_of
from marrow.train.processes import is_sharded, leave_at_exit
from marrow.train.run_directory import (
    check_run,
    claim_run,
    describe_environment,
    extensions,
    plain,
    refuse_strangers,
    run_lock,
)

_log = logging.getLogger(__name__)

_REPLAY = "python -c \"from marrow.pretraining import replay_step; print(replay_step('{path}'))\""


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


def pretrain(config: PretrainConfig, *, advice: str = "") -> PretrainResult:
    """Pre-train an encoder, go on with a run that was interrupted, or extend one.

    Args:
        config: every setting of the run.
        advice: what a person is told whose run on a CPU will take hours.

    Raises:
        ConfigError: settings that do not fit each other, the data, or a run that is in the folder already.
        StoreError: the store cannot be used.
        CheckpointError: the run in the folder cannot be resumed, or a checkpoint not be written.
        MarrowError: a loss was not finite.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)

    # The data, the devices, the network. Settings that do not fit each other are refused before anything is written.
    store, rows = open_data(config)
    launch = find_launch(config.processes)
    processes = launch.processes * launch.machines
    follows = config.batch_clips == "auto"
    config = with_batch_size(config, len(rows), processes)
    schedule = Schedule(len(rows), config.clips_per_step, config.seed, 0, processes, config.micro_batches)
    _check_dimensions(config, store)
    budget = budget_of(config, schedule.steps_per_epoch)
    tensorboard = TensorBoardLogger(config.out, name="", version="tensorboard")
    fabric, precision = make_fabric(
        *(config.device, config.precision), processes=config.processes, strategy=config.strategy, loggers=[tensorboard]
    )
    fabric.launch()
    if fabric.world_size > 1:
        leave_at_exit()
    objective = build_objective(config, store.skeleton).to(fabric.device)
    choice = choose_compile(
        *(as_words(config.compile), fabric.device.type, budget.steps, fabric.world_size), sharded=is_sharded(fabric)
    )

    with _run_folder(config, store, fabric, precision, budget) as result:
        encoder = config.out / "encoder"
        if result is not None:
            _log.info("%s is finished already: nothing was done. With a larger limit it goes on", config.out)
            return PretrainResult(config.out, encoder, True, result)
        _log.info(
            "%d clips, %d steps per epoch on %s; %s",
            *(len(rows), schedule.steps_per_epoch, fabric.device, precision.reason),
        )
        if follows:
            _log.info("A step takes %d of the %d clips (batch_clips auto)", config.clips_per_step, len(rows))
        if choice.fixed or config.compile == "on":
            _log.info("%s", choice.reason[0].upper() + choice.reason[1:])
        extended = fabric.broadcast(extensions(config.out) if fabric.is_global_zero else None)
        _log.info("The run %s%s", budget, f". It went on under other limits at step {extended[-1]}" if extended else "")
        limits = FitConfig(
            budget,
            config.checkpoints,
            config.optimizer.clip_norm,
            config.log_every,
            config.profile,
            choice.compiled,
            choice.captured,
            extended_from_step=extended[-1] if extended else None,
            advice=advice if fabric.device.type == "cpu" else "",
            replay_command=_REPLAY,
        )
        fitted = _train(config, store, rows, fabric, objective, limits, fixed=choice.fixed)
        last = fitted.last or [{}, *read_log(config.out / "log.jsonl")][-1]
        if fabric.is_global_zero and fitted.step > 0:
            tensorboard.finalize("success")
            save_encoder(objective.encoder, encoder, _provenance(config, store, len(rows), fitted, last))
            if fitted.finished:
                write_text_whole(config.out / RESULT, json.dumps(last, indent=1) + "\n")
        fabric.barrier()
    return PretrainResult(config.out, encoder, fitted.finished, last)


def open_data(config: PretrainConfig) -> tuple[Store | Pool, Int64[np.ndarray, " clip"]]:
    """Open what a run learns from, and return the rows of it that are learned from.

    Raises:
        ConfigError, StoreError: it cannot be opened, or nothing is left.
    """
    if config.store is None:
        pool, notes = open_pool(config.stores, config.piece_seconds)
        for note in notes:
            _log.warning("%s", note)
        return pool, np.arange(len(pool))
    store = Store.open(config.store)
    return store, np.arange(len(store)) if config.protocol is None else protocol_rows(store, config.protocol)[0]


def _check_dimensions(config: PretrainConfig, store: Store | Pool) -> None:
    """Refuse clips of two dimensions where the encoder cannot tell them from those of three."""
    if getattr(config.encoder, "takes_flat", False):
        return
    if config.augment.projection_probability > 0:
        raise ConfigError(
            "augment.projection_probability makes clips of two dimensions, which this encoder would take for flat "
            "bodies; set encoder.takes_flat true, or the probability to 0"
        )
    flat = [member.choice.name for member in getattr(store, "members", ()) if member.store.skeleton.dimensions == 2]
    if flat:
        raise ConfigError(f"the recordings of {', '.join(flat)} have two dimensions: set encoder.takes_flat true")


@contextmanager
def _run_folder(
    config: PretrainConfig, store: Store | Pool, fabric: Fabric, precision: PrecisionChoice, budget: Budget
) -> Iterator[dict[str, Any] | None]:
    """Hold a run directory that is empty or of this very run, and of no other process; give the result in it."""
    refuse_strangers(config.out)
    with run_lock(config.out) if fabric.is_global_zero else nullcontext():
        result = None
        if fabric.is_global_zero:
            environment = describe_environment(
                _described(store), str(fabric.device), precision.reason, fabric.world_size
            )
            may_change = (*MAY_CHANGE, *LIMITS, "ends_at_epochs")
            check_run(config.out, plain(config), environment, may_change)
            extension, result = extension_of(config, budget), finished_result(config.out / RESULT, budget)
            environment |= {} if extension is None else {"extension": extension}
            claim_run(config.out, plain(config), environment, may_change)
        # One process looks, and the others wait to be told: all of them must train, or none.
        yield fabric.broadcast(result)


def _train(
    config: PretrainConfig,
    store: Store | Pool,
    rows: Int64[np.ndarray, " clip"],
    fabric: Fabric,
    objective: Objective,
    limits: FitConfig,
    *,
    fixed: bool,
) -> FitResult:
    """Train the objective, from the newest checkpoint of the run directory where there is one."""
    warmup = config.schedule.warmup_epochs
    if warmup >= config.epochs:
        _log.warning(
            "The warm-up takes the whole run (schedule.warmup_epochs %g, of epochs %d): the learning rate never gets "
            "beyond %.0f %% of its highest; set schedule.warmup_epochs to %g, for example",
            *(warmup, config.epochs, 100.0 * config.epochs / warmup, config.epochs / 20),
        )
    loader = _build_loader(config, store, rows, fabric, fixed=fixed, planned=limits.captured)
    opened = [member.store for member in store.members] if isinstance(store, Pool) else [store]
    watches = [StoreWatch(one, needed=isinstance(loader, StreamingLoader)) for one in opened]

    def before_save() -> None:
        for watch in watches:
            watch()
        (config.out / RESULT).unlink(missing_ok=True)  # that of a run which has now been extended

    timed, monitor = TimedLoader(loader), None
    if fabric.is_global_zero:  # one process watches, while the others go on
        about = {"seed": config.seed, "history": read_log(config.out / "log.jsonl"), "sharded": is_sharded(fabric)}
        monitor = Monitor(config.monitor, objective.encoder, fabric, store, rows, timed, **about)
    return fit(
        fabric,
        objective,
        optimizer_of(objective, config.optimizer),
        timed,
        learning_rate(config.optimizer, config.schedule, config.clips_per_step, config.epochs),
        limits,
        config.out,
        monitor=monitor,
        before_save=before_save,
    )


def build_objective(config: PretrainConfig, skeleton: Skeleton) -> Objective:
    """Make the objective and its encoder, with initial weights that follow from the seed."""
    method = get_objective(config.method)
    with seeded_weights(config.seed):
        objective = method(config.objective, method.encoder_type(config.encoder, config.input, skeleton))
    encoder_kind(objective.encoder)  # better told now than after the last step: it could not be kept
    return objective


def load_objective(run: Path | str) -> Objective:
    """Rebuild the whole objective of a run, decoder included, from its newest checkpoint; to look at predictions.

    Raises:
        ConfigError: the folder holds no run.
        CheckpointError: it has no checkpoint, or none that is whole, or its encoder is missing.
    """
    run = Path(run)
    config = load_config(run)
    state = load_latest(run / "checkpoints")
    if state is None:
        raise CheckpointError(f"{run} has no checkpoint: train for at least one step first")
    objective = build_objective(config, load_encoder(run).skeleton)
    try:
        objective.load_state_dict(state["trainable"])
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(f"{run}: the checkpoint does not fit the settings of the run: {error}") from error
    return objective.eval()


def replay_step(file: Path | str) -> Replay:
    """Take a step of a run again whose loss was not finite, from its file in RUN/non_finite, and say where it went bad.

    Raises:
        ConfigError: the file lies in no run directory.
        StoreError: the store of the run is not where it was.
        CheckpointError: the file cannot be read.
    """
    file = Path(file)
    config = load_config(file.resolve().parents[1])
    return replay(file, build_objective(config, open_data(config)[0].skeleton))


def _build_loader(
    config: PretrainConfig,
    store: Store | Pool,
    rows: Int64[np.ndarray, " clip"],
    fabric: Fabric,
    *,
    fixed: bool,
    planned: bool,
) -> ResidentLoader | StreamingLoader:
    kind = config.loader
    if kind == "auto":
        kind = "resident" if frame_bytes(store, rows) <= resident_limit(fabric.device) else "streaming"
    cut = {
        "batch_clips": config.clips_per_step,
        "seed": config.seed,
        "device": fabric.device,
        "rank": fabric.global_rank,
        "world_size": fabric.world_size,
        "micro_batches": config.micro_batches,
        "shares": store.shares if isinstance(store, Pool) else (),
        "fixed": fixed,
    }
    if kind == "resident":
        return ResidentLoader(store, rows, config.input, config.augment, **cut, planned=planned)
    return StreamingLoader(store, rows, config.input, config.augment, **cut, workers=config.workers)


def _described(store: Store | Pool) -> dict[str, Any]:
    """Return what identifies the data of a run."""
    described: dict[str, Any] = {"path": str(store.path), "fingerprint": store.fingerprint, "clips": len(store)}
    return described | ({"stores": store.described()} if isinstance(store, Pool) else {})


def _provenance(
    config: PretrainConfig, store: Store | Pool, clips: int, fitted: FitResult, last: Mapping[str, Any]
) -> dict[str, Any]:
    """Say where an encoder came from, and what it cost."""
    return {
        "marrow": marrow.__version__,
        "method": get_objective(config.method).called(),
        "rows": _rows_in_words(config),
        "clips": clips,
        "store_fingerprint": store.fingerprint,
        **({"stores": store.described()} if isinstance(store, Pool) else {}),
        "steps": fitted.step,
        "extended_at_steps": extensions(config.out),
        "finished": fitted.finished,
        "cpu_seconds": last.get("cpu_seconds"),
        "wall_seconds": last.get("wall_seconds"),
        "seed": config.seed,
        "settings": plain(config),
    }


def _rows_in_words(config: PretrainConfig) -> str:
    if config.stores:
        return ", ".join(f"{choice.name} {choice.rows or 'all clips'}" for choice in config.stores)
    return "all clips" if config.protocol is None else f"training half of {config.protocol}"
