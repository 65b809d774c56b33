"""Fine-tuning: the encoder and a head learn the labels together.

The recipe is MAMP's (Mao et al., ICCV 2023): AdamW whose learning rate falls from the head towards the input (layer
decay), residual branches left out at random (drop-path), dropout on the features, label smoothing, crops and rotations
drawn anew every epoch. From scratch everything is the same, but layer decay is off.

There is no validation split in these protocols. The score of the last epoch ("top1_last") is the score; that of the
best epoch on the test clips ("top1_best") stands beside it, for comparison with published figures only.

Deviations: absent bodies and joints take no part in the average before the head (the authors average a skeleton at the
origin in); an epoch leaves out what does not fill a batch, other clips each time.

With few labels ("finetune/10 % of labels") the epochs stay as many, so that the steps become fewer.

Pre-training is not free: every report says what it cost, and `scratch_budget="same_total"` gives training from scratch
the same time in all, as further epochs.

`finetune` does it in a run directory: something to keep, to use, and to go on with. The same call goes on where an
interrupted one stopped, and does nothing where it is finished.

    OUT/config.yaml, environment.json   every setting; versions, machine, fingerprint of the store
    OUT/plan.json, log.jsonl            planned epochs; one entry per epoch: loss, learning rate, time spent
    OUT/checkpoints/, predictions/      what a resume needs; predicted classes of the test clips after every epoch
    OUT/encoder/, head.safetensors, head.json   the recogniser: `marrow.Recogniser.load(OUT)`
    OUT/known.json, known.safetensors   what it knows, by `marrow.use.held_out`
    OUT/report.json                     the scores; its presence says that the run is finished
    OUT/.lock                           which process trains here
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import marrow
from marrow.data.subsets import fold_protocols, protocol_rows
from marrow.errors import ConfigError, setting
from marrow.models.encoder import Encoder
from marrow.models.heads import Recogniser
from marrow.store.format import Store
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.encoders import encoder_for, encoder_of, facts_of, origin_of, store_for
from marrow.tasks.evaluation_report import RunFacts
from marrow.tasks.metrics import best_epoch
from marrow.tasks.one_go import one_process
from marrow.tasks.recognition.declared import about_of
from marrow.tasks.recognition.finetune_training import (
    Training,
    label_seed,
    processor_seconds,
    train,
    train_in_one_go,
    with_labels_used,
)
from marrow.tasks.recognition.trainable import FinetuneConfig
from marrow.train.checkpoint import CheckpointConfig
from marrow.train.run_directory import claim_run, describe_environment, plain, refuse_strangers, run_lock

_log = logging.getLogger(__name__)

# What may differ when a run goes on: it decides where and how fast, not what is learned.
_MAY_CHANGE = ("run", "store", "device")


@dataclass(frozen=True)
class Finetune:
    """Fine-tuning: reports `finetune`, or with few labels a variant that says how many: `finetune/10 % of labels`.

    Args:
        config: the recipe.
    """

    name = "finetune"
    config: FinetuneConfig = field(default_factory=FinetuneConfig)

    def quick(self) -> "Finetune":
        """Return the task with two epochs."""
        return Finetune(self.config.two_epochs())

    def run(self, encoder: Encoder, data: TaskData, context: TaskContext) -> list[Report]:
        """Train a copy of the encoder and a head, predict, then score."""
        learned = with_labels_used(data, self.config, context)
        training = train_in_one_go(encoder, learned, self.config, context)
        return [_report(training, data, len(learned.train_rows), self.config, context)]


def finetune_in(
    folder: Path,
    encoder: Encoder,
    data: TaskData,
    config: FinetuneConfig,
    context: TaskContext,
    checkpoints: CheckpointConfig,
) -> tuple[Recogniser, Report] | None:
    """Fine-tune a copy of an encoder in a folder, or go on there.

    The folder receives `log.jsonl`, `checkpoints/`, `predictions/` and `plan.json`. The encoder is left as it is.

    Returns:
        What came of it, and its report; None where it was interrupted.
    """
    learned = with_labels_used(data, config, context)
    training = train(folder, encoder, learned, config, context, checkpoints)
    if training is None:
        return None
    return training.recogniser, _report(training, data, len(learned.train_rows), config, context)


def _report(training: Training, data: TaskData, labels: int, config: FinetuneConfig, context: TaskContext) -> Report:
    """Score what was predicted after each epoch; so many labels were learned from."""
    # Predictions are made; from here on test labels are read. The best epoch is the one thing they choose. Clean scores
    # leave out copies of all training clips, also of those whose labels are not used: others learn from them.
    clips, by_epoch = data.test_clips(), training.predictions
    best = best_epoch(by_epoch, clips.label)
    share = f"/{100 * config.label_fraction:g} % of labels" if config.label_fraction < 1.0 else ""
    origin = context.origin
    return Report.scored(
        f"finetune{share}",
        {"top1_last": by_epoch[-1], "top1_best": by_epoch[best]},
        clips,
        settings={
            **plain(config),
            "start": origin.start,
            "layer_decay": training.layer_decay,
            "augment": plain(training.augment),
            "epochs": training.epochs,
        },
        asked=plain(config),
        cost={
            "steps_per_epoch": training.steps_per_epoch,
            "steps_done": training.steps,
            "training_cpu_seconds": round(training.cpu_seconds, 1),
            "training_wall_seconds": round(training.wall_seconds, 1),
            "pretraining_steps": origin.steps,
            "pretraining_cpu_seconds": origin.cpu_seconds,
            "pretraining_wall_seconds": origin.wall_seconds,
        },
        noted={
            "best_epoch": training.predicted_after[best],
            "stopped_early": training.steps < training.epochs * training.steps_per_epoch,
            "label_seed_used": label_seed(config, context) if config.label_fraction < 1.0 else None,
            "note": _note(config, context, training, labels),
        },
        seed=context.seed,
        num_labels_used=labels,
        source=origin.source,
        about=about_of(f"finetune{share}"),
    )


def _note(config: FinetuneConfig, context: TaskContext, training: Training, labels: int) -> str:
    """Say in a sentence or two what a score has cost in all."""
    origin, spent = context.origin, training.cpu_seconds
    epochs = f"{training.steps / training.steps_per_epoch:.3g}"
    own = f"{epochs} epoch{'' if epochs == '1' else 's'}, {training.steps} steps, {processor_seconds(spent)}"
    if config.label_fraction < 1.0:
        own += f", with {labels} label{'s'[: labels > 1]}"
    if origin.cpu_seconds is None:
        before = "a pre-training whose cost is not known"
    else:
        before = f"the {processor_seconds(origin.cpu_seconds)} of pre-training ({origin.steps} steps)"
    if origin.source != "random":
        total = "" if origin.cpu_seconds is None else f": {processor_seconds(spent + origin.cpu_seconds)} in all"
        return f"Fine-tuned for {own}, after {before}{total}."
    if config.scratch_budget == "same_total":
        return f"Trained from scratch for {own}. Equal total budget: {before} went into further epochs."
    return f"Trained from scratch for {own}. Equal epochs, not equal total: {before} are not made up for."


@dataclass(frozen=True)
class Start:
    """What a fine-tuning begins with.

    Args:
        encoder: that is trained, adapted to the store, at random initialisation where it is to be from scratch.
        data: as the encoder reads it.
        store: as it was opened.
        context: that of the call, with what is known of the pre-training.
        facts: what the encoder that was given says of itself.
        run: its folder; None: it was in memory.
    """

    encoder: Encoder
    data: TaskData
    store: Store
    context: TaskContext
    facts: RunFacts
    run: Path | None


def start_of(
    encoder: Encoder | Path | str,
    store: Store | Path | str,
    protocol: str,
    config: FinetuneConfig,
    *,
    from_scratch: bool,
    transfer: bool | Mapping[str, str | None],
    context: TaskContext,
) -> Start:
    """Return which encoder learns from which clips; the arguments, and what may be wrong with them, of `finetune`."""
    source = encoder if isinstance(encoder, Encoder) else Path(encoder)
    run = None if isinstance(source, Encoder) else source
    store = store if isinstance(store, Store) else Store.open(store)
    facts = facts_of(source, 0)
    start, adapted = encoder_for(encoder_of(source), store, transfer, context.seed, run or facts.name)
    for note in adapted:
        _log.info("%s", note)
    if from_scratch:
        start = start.fresh(context.seed)
    folds = fold_protocols(store, protocol)
    if len(folds) > 1:
        raise ConfigError(
            f"a recogniser is of one fold: give one such as {folds[0]}, got {protocol!r}. All folds are scored "
            "by `marrow evaluate RUN --tasks finetune`"
        )
    read = store_for(start, store, run or facts.name, transfer if isinstance(transfer, Mapping) else None)
    data = TaskData(read, *protocol_rows(store, protocol), protocol=protocol)
    with_labels_used(data, config, context).train_labels()  # what is wrong with them is said before a folder is taken
    origin = origin_of(run, facts.description.get("provenance", {}))
    context = replace(context, origin=origin.from_scratch() if from_scratch else origin)
    return Start(start, data, store, context, facts, run)


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning leaves behind.

    Args:
        folder: the run directory, which holds the recogniser.
        report: its scores; None where it was interrupted, and the same call goes on.
    """

    folder: Path
    report: Report | None


def finetune(
    encoder: Encoder | Path | str,
    store: Store | Path | str,
    protocol: str,
    out: Path | str,
    config: FinetuneConfig | None = None,
    *,
    from_scratch: bool = False,
    transfer: bool | Mapping[str, str | None] = False,
    context: TaskContext | None = None,
) -> FinetuneResult:
    """Fine-tune an encoder, or go on with a fine-tuning that was interrupted.

    Args:
        encoder: a run directory of `marrow pretrain`, an exported encoder, or an encoder in memory, which is left as it
            is.
        store: the data.
        protocol: a split of the store, one fold (leave-one-out:ATTRIBUTE=VALUE, k-fold:K#0), or "FILTER -> FILTER".
        out: folder of the fine-tuning; made if missing.
        config: the recipe; the paper's by default.
        from_scratch: take the encoder's architecture at random initialisation, by the context's seed.
        transfer: where the store has another skeleton, adapt the encoder to it, joints being matched by name; or joint
            of the encoder by joint of the store.
        context: device, precision, seed, limits.

    Raises:
        ConfigError: settings that do not fit each other, the data, or a run that is in the folder already.
        CheckpointError: the encoder cannot be read, or the fine-tuning in the folder not be resumed.
        DataError: clips without labels, or too few.
        MarrowError: a loss was not finite.
    """
    out, context, config = Path(out), context or TaskContext(), config or FinetuneConfig()
    start = start_of(encoder, store, protocol, config, from_scratch=from_scratch, transfer=transfer, context=context)
    run, facts, store, context = start.run, start.facts, start.store, start.context

    # Where: a folder that is empty or of this very fine-tuning.
    if run is not None and out.resolve() == run.resolve():
        raise ConfigError(
            f"{setting('out')} must be another folder than the run that is fine-tuned, got {out} for both"
        )
    fabric, precision = one_process(context, "fine-tuning")
    settings = {
        "run": str(run or facts.name),
        "store": str(store.path),
        "device": context.device,
        "encoder_fingerprint": facts.fingerprint,
        "from_scratch": from_scratch,
        "transfer": transfer if isinstance(transfer, bool) else dict(transfer),
        "protocol": protocol,
        "seed": context.seed,
        "precision": context.precision,
        "max_steps": context.max_steps,
        "max_minutes": context.max_minutes,
        **plain(config),
    }
    environment = describe_environment(store, str(fabric.device), precision.reason, fabric.world_size)
    refuse_strangers(out)
    with run_lock(out):
        claim_run(out, settings, environment, _MAY_CHANGE)
        if (out / "report.json").exists():
            _log.info("%s is finished already: nothing was done", out)
            return FinetuneResult(out, Report.load(out / "report.json"))

        # Train, then keep the recogniser and its scores.
        done = finetune_in(out, start.encoder, start.data, config, context, CheckpointConfig(keep_last=1))
        if done is None:
            return FinetuneResult(out, None)
        recogniser, report = done
        report.fingerprints = {"run": facts.name, "encoder": facts.fingerprint, "store": store.fingerprint}
        recogniser.save(
            out,
            {
                "marrow": marrow.__version__,
                "method": "fine-tuning from scratch" if from_scratch else f"fine-tuning of {facts.name}",
                "protocol": protocol,
                "num_labels_used": report.num_labels_used,
                "store_fingerprint": store.fingerprint,
                "seed": context.seed,
                "steps": report.cost["steps_done"],
                "finetuning": {**report.settings, **report.cost, **report.noted, "asked": report.asked},
                "before": facts.description.get("provenance", {}),
            },
        )
        report.save(out / "report.json")
        return FinetuneResult(out, report)
