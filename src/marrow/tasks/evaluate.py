"""The whole evaluation of runs: every task, beside its baselines, over seeds and folds, as one report.

Runs that differ only in their seed are evaluated together; each gets its own report in `RUN/reports/`, and what is
printed is the summary over them (`marrow.tasks.summary`).
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from marrow.data.augment import AugmentConfig
from marrow.data.subsets import leave_one_out, protocol_rows
from marrow.errors import CheckpointError, ConfigError, DataError
from marrow.files import write_text_whole
from marrow.models.encoder import Encoder
from marrow.models.export import DESCRIPTION, WEIGHTS, load_encoder
from marrow.pretrain_config import MAY_CHANGE
from marrow.store.format import Store
from marrow.tasks import get_task
from marrow.tasks.base import Report, Task, TaskContext, TaskData, TestClips
from marrow.tasks.baselines import BASELINES, RawBaseline
from marrow.tasks.linear_probe import LinearProbe
from marrow.tasks.origin import origin_of

log = logging.getLogger(__name__)

REPORT_VERSION = 1

# Settings of a run in which the runs of one experiment may differ.
_NOT_THE_EXPERIMENT = (*MAY_CHANGE, "seed")


@dataclass(frozen=True)
class RunFacts:
    """One evaluated encoder.

    Args:
        name: of the run's folder.
        seed: of its pre-training.
        description: what the exported encoder says of itself: kind, size, input, skeleton, provenance.
        fingerprint: SHA-256 of its weights, shortened.
    """

    name: str
    seed: int
    description: dict[str, Any]
    fingerprint: str


@dataclass
class EvaluationReport:
    """All scores of some runs on one protocol.

    Args:
        protocol: name of the protocol.
        store: fingerprint of the data.
        classes: class names.
        train_count: labelled clips that a probe learned from (the largest fold's).
        test_rows: the scored clips' rows in the store.
        test_labels: their classes.
        test_copied: which of them are bit-identical to a training clip.
        runs: the evaluated encoders.
        reports: one per source (trained, random, raw), task, variant and seed; a trained one carries its run's name in
            its fingerprints.
        notes: what a reader has to know about the scores.
        settings: of the evaluation.
        version: of this format.
    """

    protocol: str
    store: str
    classes: list[str]
    train_count: int
    test_rows: list[int]
    test_labels: list[int]
    test_copied: list[bool]
    runs: list[RunFacts]
    reports: list[Report]
    notes: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    version: int = REPORT_VERSION

    @property
    def clean_count(self) -> int:
        """Test clips that are not copies of training clips."""
        return len(self.test_copied) - sum(self.test_copied)

    def of_run(self, name: str) -> "EvaluationReport":
        """Return the part about one run, with the random baseline of its seed and the raw one."""
        [facts] = [run for run in self.runs if run.name == name]
        reports = [
            report
            for report in self.reports
            if report.source == "raw"
            or (report.source == "random" and report.seed == facts.seed)
            or report.fingerprints.get("run") == name
        ]
        return EvaluationReport(**{**self.__dict__, "runs": [facts], "reports": reports})

    @classmethod
    def joined(cls, parts: Sequence["EvaluationReport"]) -> "EvaluationReport":
        """Put the reports of several runs on the same clips together; a baseline that occurs twice counts once."""
        first = parts[0]
        for part in parts[1:]:
            if (part.protocol, part.store, part.test_rows) != (first.protocol, first.store, first.test_rows):
                raise DataError(
                    f"reports of different test clips cannot be joined: {part.protocol!r} on store {part.store[:12]} "
                    f"and {first.protocol!r} on store {first.store[:12]}. Evaluate the runs again on the same store."
                )
        reports = {
            (report.source, report.task, report.seed, report.fingerprints.get("run", "")): report
            for part in parts
            for report in part.reports
        }
        runs = {run.name: run for part in parts for run in part.runs}
        notes = list(dict.fromkeys(note for part in parts for note in part.notes))
        values = {**first.__dict__, "runs": list(runs.values()), "reports": list(reports.values()), "notes": notes}
        return cls(**values)

    def save(self, path: Path) -> None:
        """Write the report as JSON."""
        write_text_whole(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "EvaluationReport":
        """Read a report.

        Raises:
            DataError: the file is damaged or of another version.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["version"] != REPORT_VERSION:
                raise DataError(f"{path}: report version {values['version']}, this marrow reads {REPORT_VERSION}")
            values["runs"] = [RunFacts(**run) for run in values["runs"]]
            values["reports"] = [Report.from_dict(report) for report in values["reports"]]
            return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: cannot be read as an evaluation report: {type(error).__name__}: {error}"
            ) from error


def evaluate(
    runs: Sequence[Path | str] | Path | str,
    store: Store | Path | str,
    protocol: str,
    *,
    tasks: Sequence[str | Task] = ("linear_probe", "knn"),
    baselines: Sequence[str] = BASELINES,
    augmented: bool | AugmentConfig = False,
    context: TaskContext | None = None,
    save: bool = True,
) -> EvaluationReport:
    """Score encoders on a protocol, beside their baselines.

    Args:
        runs: run directories or exported encoders: one, or one per seed.
        store: the data.
        protocol: a split of the store ("xview"), "leave-one-out:ATTRIBUTE=VALUE", or "leave-one-out:ATTRIBUTE" for all
            folds, whose predictions are pooled to one score over all clips.
        tasks: names of tasks, or tasks with settings of their own.
        baselines: "random": the same encoder at random initialisation, with each run's seed; "raw": coordinates.
        augmented: besides, train the linear probe as the paper does, with the clips augmented anew in every epoch, by
            these settings or (True) by those of each run's pre-training. The trained encoders only: it costs 100 passes
            over the training clips.
        context: device, precision, seed of the probes, limits.
        save: write `RUN/reports/PROTOCOL.json` in each run directory; what is in it of other tasks on the same
            encoder and clips is kept.
    """
    folders = [Path(runs)] if isinstance(runs, str | Path) else [Path(run) for run in runs]
    store = store if isinstance(store, Store) else Store.open(store)
    context = context or TaskContext()
    unknown = [name for name in baselines if name not in BASELINES]
    if unknown:
        raise ConfigError(f"unknown baseline {unknown[0]!r}; baselines are {', '.join(BASELINES)}")
    if not folders or not tasks:
        raise ConfigError(f"expected at least one run and one task, got {len(folders)} runs and {len(tasks)} tasks")
    chosen = [get_task(task) if isinstance(task, str) else task for task in tasks]
    folds = _folds(store, protocol)
    facts = [facts_of(folder, index) for index, folder in enumerate(folders)]
    if len({run.name for run in facts}) < len(facts):
        given = ", ".join(map(str, folders))
        raise ConfigError(f"each run must be given once, and its folder have a name of its own; got {given}")

    reports: list[Report] = []
    random_done: set[int] = set()
    for folder, run in zip(folders, facts, strict=True):
        log.info("evaluating %s on %s", run.name, protocol)
        encoder = load_encoder(folder)
        check_skeleton(encoder, store, folder)
        extra: list[Task] = []
        if augmented:
            settings = augmented if isinstance(augmented, AugmentConfig) else _augment_of(run)
            extra.append(LinearProbe(logistic=None, augmented=settings))
        origin = origin_of(folder, run.description.get("provenance", {}))
        context = replace(context, origin=origin)
        marks = {"run": run.name, "encoder": run.fingerprint, "store": store.fingerprint}
        reports += _over_folds([*chosen, *extra], encoder, folds, context, "trained", run.seed, marks)
        if "random" in baselines and run.seed not in random_done:
            random_done.add(run.seed)
            fresh = encoder.fresh(run.seed)
            scratch = replace(context, origin=origin.from_scratch())
            reports += _over_folds(chosen, fresh, folds, scratch, "random", run.seed, {"store": store.fingerprint})
    if "raw" in baselines:
        raw = RawBaseline()
        reports += _pooled([raw.run(fold, context) for fold in folds], folds, "raw", 0, {"store": store.fingerprint})

    test = _all_test_clips(folds)
    whole = EvaluationReport(
        protocol=protocol,
        store=store.fingerprint,
        classes=list(test.classes),
        train_count=max(len(fold.train_rows) for fold in folds),
        test_rows=test.row.tolist(),
        test_labels=test.label.tolist(),
        test_copied=test.copied.tolist(),
        runs=facts,
        reports=reports,
        notes=_notes(protocol, folds, test, facts, store) + _notes_of(reports, len(folds)),
        settings={"folds": len(folds), "probe_seed": context.seed, "precision": context.precision},
    )
    if save:
        for folder, run in zip(folders, facts, strict=True):
            path = folder / "reports" / f"{_file_name(protocol)}.json"
            _with_earlier(path, whole.of_run(run.name)).save(path)
            log.info("wrote %s", path)
    return whole


def _folds(store: Store, protocol: str) -> list[TaskData]:
    """Return the train and test halves of a protocol: one, or one per held-out value."""
    kind, _, attribute = protocol.partition(":")
    names = leave_one_out(store, attribute) if kind == "leave-one-out" and "=" not in attribute else [protocol]
    return [TaskData(store, *protocol_rows(store, name), protocol=name) for name in names]


def _over_folds(
    tasks: Sequence[Task],
    encoder: Encoder,
    folds: Sequence[TaskData],
    context: TaskContext,
    source: str,
    seed: int,
    fingerprints: Mapping[str, str],
) -> list[Report]:
    """Run tasks on every fold; the shared context encodes each clip once."""
    reports: list[Report] = []
    for task in tasks:
        reports += _pooled([task.run(encoder, fold, context) for fold in folds], folds, source, seed, fingerprints)
    return reports


def _pooled(
    by_fold: Sequence[Sequence[Report]],
    folds: Sequence[TaskData],
    source: str,
    seed: int,
    fingerprints: Mapping[str, str],
) -> list[Report]:
    """Score the predictions of all folds as one set of clips, and mark whose they are."""
    clips = _all_test_clips(folds)
    pooled = []
    for parts in zip(*by_fold, strict=True):
        predictions = {
            name: np.concatenate([np.asarray(part.predictions[name], np.int64) for part in parts])
            for name in parts[0].predictions
        }
        report = Report.scored(
            parts[0].task,
            predictions,
            clips,
            settings=parts[0].settings if len(parts) == 1 else {**parts[0].settings, "folds": len(parts)},
            seed=seed,
            num_labels_used=max(part.num_labels_used for part in parts),
            source=source,
        )
        report.fingerprints = dict(fingerprints)
        pooled.append(report)
    return pooled


def _all_test_clips(folds: Sequence[TaskData]) -> TestClips:
    return TestClips.joined([fold.test_clips() for fold in folds])


def facts_of(folder: Path, index: int) -> RunFacts:
    """Read what the encoder of a run says of itself; where it names no seed, `index` is taken for it."""
    inner = folder / "encoder" if (folder / "encoder" / DESCRIPTION).is_file() else folder
    try:
        description = json.loads((inner / DESCRIPTION).read_text(encoding="utf-8"))
        digest = hashlib.sha256((inner / WEIGHTS).read_bytes()).hexdigest()[:16]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} holds no finished encoder: {_why_unreadable(folder, inner, error)}") from error
    seed = description.get("provenance", {}).get("seed")
    return RunFacts(folder.resolve().name, index if seed is None else int(seed), description, digest)


def _why_unreadable(folder: Path, inner: Path, error: Exception) -> str:
    if not folder.is_dir():
        return "there is no such folder"
    if (folder / "checkpoints").is_dir() and not (inner / DESCRIPTION).exists():
        return "its training was not finished; give `marrow pretrain` the same settings again, and it goes on"
    if (inner / DESCRIPTION).exists():
        return f"{inner} is damaged ({error})"
    return f"expected a run directory of `marrow pretrain`, or a folder with {DESCRIPTION} and {WEIGHTS}"


def check_skeleton(encoder: Encoder, store: Store, folder: Path) -> None:
    """Raise a ConfigError where an encoder and a store have different skeletons."""
    if encoder.skeleton.joints != store.skeleton.joints:
        raise ConfigError(
            f"{folder} was trained on the skeleton {encoder.skeleton.name!r} ({len(encoder.skeleton.joints)} joints), "
            f"the store holds {store.skeleton.name!r} ({len(store.skeleton.joints)} joints)"
        )


def _notes(
    protocol: str, folds: Sequence[TaskData], test: TestClips, runs: Sequence[RunFacts], store: Store
) -> list[str]:
    """Say what a reader of the scores has to know."""
    notes = []
    if test.copied.any():
        kept = len(test.copied) - int(test.copied.sum())
        notes.append(
            f"{int(test.copied.sum())} of the {len(test.copied)} test clips are bit-identical to a training clip. "
            f"Official scores count them; clean scores are over the other {kept}."
        )
    if len(folds) > 1:
        notes.append(
            f"{len(folds)} folds, pooled: every clip is predicted once, by heads that saw none of its fold's labels. "
            "The best epoch is chosen in each fold apart."
        )
    notes += list(dict.fromkeys(_seen_in_pretraining(run, test, store) for run in runs))
    notes += _unequal(runs)
    return notes


def _unequal(runs: Sequence[RunFacts]) -> list[str]:
    """Say where runs that are averaged as seeds of one experiment are not."""
    described = [_settings_of(run) for run in runs]
    names = sorted({name for settings in described for name in settings})
    differing = [name for name in names if len({json.dumps(settings.get(name)) for settings in described}) > 1]
    notes = []
    if differing:
        shown = ", ".join(differing[:4]) + (", ..." if len(differing) > 4 else "")
        notes.append(
            f"These runs differ in more than their seed ({shown}): their mean and spread are not those of one "
            "experiment. `marrow compare` puts different experiments side by side."
        )
    if len({run.seed for run in runs}) < len(runs):
        notes.append("Some of these runs have the same seed: the spread over seeds is understated.")
    return notes


def _settings_of(run: RunFacts) -> dict[str, Any]:
    """Return what decides the outcome of a run, flat, without its seed."""
    settings = run.description.get("provenance", {}).get("settings") or {}
    parts = {name: value if isinstance(value, dict) else {"": value} for name, value in settings.items()}
    return {
        ".".join(filter(None, (name, inner))): value
        for name, part in parts.items()
        if name not in _NOT_THE_EXPERIMENT
        for inner, value in part.items()
    }


def _notes_of(reports: Sequence[Report], folds: int) -> list[str]:
    """Gather what tasks say of their scores."""
    first = ", first fold" if folds > 1 else ""
    return [
        f"{report.task} ({report.source}, seed {report.seed}{first}): {report.settings['note']}"
        for report in reports
        if "note" in report.settings
    ]


def _seen_in_pretraining(run: RunFacts, test: TestClips, store: Store) -> str:
    """Say how many test clips the pre-training saw, without their labels, as far as the run tells."""
    provenance = run.description.get("provenance", {})
    if "num_labels_used" in provenance:
        return f"The encoder was fine-tuned with the labels of {provenance['num_labels_used']} clips before."
    if "settings" not in provenance or provenance.get("store_fingerprint") != store.fingerprint:
        return "The encoder was pre-trained on other data, or does not say on which."
    pretrained_on = provenance["settings"]["protocol"]
    rows = np.arange(len(store)) if pretrained_on is None else protocol_rows(store, pretrained_on)[0]
    seen = int(np.isin(test.row, rows).sum())
    if seen == 0:
        return f"Pre-training learned from {len(rows)} clips without labels; no test clip was among them."
    return (
        f"Pre-training learned from {len(rows)} clips without labels, {seen} of the {len(test.row)} test clips "
        "among them: these scores are transductive (no label was seen, the motion was)."
    )


def _augment_of(run: RunFacts) -> AugmentConfig:
    settings = run.description.get("provenance", {}).get("settings", {})
    return AugmentConfig(**settings["augment"]) if "augment" in settings else AugmentConfig()


def _with_earlier(path: Path, report: EvaluationReport) -> EvaluationReport:
    """Keep what an earlier evaluation of the same encoder on the same clips has found, unless it was found anew."""
    if not path.exists():
        return report
    earlier = EvaluationReport.load(path)
    same = all(
        getattr(earlier, name) == getattr(report, name) for name in ("store", "protocol", "test_rows", "test_labels")
    )
    if not same or earlier.runs[0].fingerprint != report.runs[0].fingerprint:
        log.warning("%s was about another encoder or other clips and is replaced", path)
        return report
    return EvaluationReport.joined([earlier, report])


def _file_name(protocol: str) -> str:
    return "".join(character if character.isalnum() or character in "-=." else "_" for character in protocol)
