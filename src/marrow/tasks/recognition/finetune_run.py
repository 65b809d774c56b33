"""Fine-tuning in a run directory: something to keep, to use, and to go on with.

    OUT/config.yaml, environment.json   every setting; versions, machine, fingerprint of the store
    OUT/plan.json, log.jsonl            planned epochs; one entry per epoch: loss, learning rate, time spent
    OUT/checkpoints/, predictions/      what a resume needs; predicted classes of the test clips after every epoch
    OUT/encoder/, head.safetensors, head.json   the recogniser: `marrow.Recogniser.load(OUT)`
    OUT/report.json                     the scores; its presence says that the run is finished
    OUT/.lock                           which process trains here

The same call goes on where an interrupted one stopped, and does nothing where it is finished.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import marrow
from marrow.data.subsets import fold_protocols, protocol_rows
from marrow.errors import ConfigError
from marrow.models.encoder import Encoder
from marrow.store.format import Store
from marrow.tasks.base import Report, TaskContext, TaskData
from marrow.tasks.origin import origin_of
from marrow.tasks.recognition.finetune import finetune_in
from marrow.tasks.recognition.finetune_training import make_one_process, with_labels_used
from marrow.tasks.recognition.trainable import FinetuneConfig
from marrow.tasks.run_facts import encoder_of, facts_of
from marrow.tasks.transfer import encoder_for
from marrow.train.checkpoint import CheckpointConfig
from marrow.train.run_directory import claim_run, describe_environment, plain, refuse_strangers, run_lock

_log = logging.getLogger(__name__)

# What may differ when a run goes on: it decides where and how fast, not what is learned.
_MAY_CHANGE = ("run", "store", "device")


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
    source, out = encoder if isinstance(encoder, Encoder) else Path(encoder), Path(out)
    run = None if isinstance(source, Encoder) else source
    config, context = config or FinetuneConfig(), context or TaskContext()
    store = store if isinstance(store, Store) else Store.open(store)

    # Which encoder, which clips.
    facts = facts_of(source, 0)
    start, adapted = encoder_for(encoder_of(source), store, transfer, context.seed, run or facts.name)
    for note in adapted:
        _log.info("%s", note)
    if from_scratch:
        start = start.fresh(context.seed)
    folds = fold_protocols(store, protocol)
    if len(folds) > 1:
        raise ConfigError(
            f"a recogniser is of one fold: give one such as {folds[0]}, got {protocol!r}. All folds are scored by "
            "`marrow evaluate RUN --tasks finetune`"
        )
    data = TaskData(store, *protocol_rows(store, protocol), protocol=protocol)
    with_labels_used(data, config, context).train_labels()  # what is wrong with them is said before a folder is taken
    origin = origin_of(run, facts.description.get("provenance", {}))
    context = replace(context, origin=origin.from_scratch() if from_scratch else origin)

    # Where: a folder that is empty or of this very fine-tuning.
    if run is not None and out.resolve() == run.resolve():
        raise ConfigError(f"--out must be another folder than the run that is fine-tuned, got {out} for both")
    fabric, precision = make_one_process(context)
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
        done = finetune_in(out, start, data, config, context, CheckpointConfig(keep_last=1))
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
