"""What run directories hold, gathered for a page, and which of them are seeds of one experiment."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from marrow.errors import DataError, StoreError
from marrow.files import did_you_mean_path
from marrow.models.export import DESCRIPTION
from marrow.models.packed import is_packed, read_packed
from marrow.objectives import OBJECTIVES
from marrow.pretrain_config import NOT_THE_EXPERIMENT
from marrow.store.format import Store
from marrow.tasks.encoders import distinct_names
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.kept_reports import fullest
from marrow.train.logs import read_log
from marrow.train.run_directory import CONFIG, ENVIRONMENT, dotted, without_neutral


@dataclass(frozen=True)
class Run:
    """A run directory, or an exported encoder.

    Args:
        folder: where it is.
        name: of the folder.
        settings: of its pre-training; empty where they are not known.
        environments: one per start of the run: versions, machine, data.
        log: its entries.
        description: what the exported encoder says of itself; None where there is none yet.
        evaluations: its reports, one per protocol and data: the fullest.
        beside: sentences on what else it keeps under these protocols; they stand among the notes of the reports, too.
    """

    folder: Path
    name: str
    settings: dict[str, Any]
    environments: list[dict[str, Any]]
    log: list[dict[str, Any]]
    description: dict[str, Any] | None
    evaluations: list[EvaluationReport]
    beside: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """Name of the method, as its authors write it."""
        provenance = (self.description or {}).get("provenance", {})
        name = self.settings.get("method", "encoder")
        called = OBJECTIVES[name].called() if name in OBJECTIVES else name
        return str(provenance.get("method") or called)

    @property
    def seed(self) -> int | None:
        """Of the pre-training."""
        if self.evaluations:
            return self.evaluations[0].runs[0].seed
        return self.settings.get("seed")

    @property
    def fingerprints(self) -> set[str]:
        """Fingerprints of the stores that the run learned from or was scored on."""
        opened = [start["store"] for start in self.environments]
        trained_on = {one["fingerprint"] for data in opened for one in (data, *data.get("stores", ()))}
        return trained_on | {evaluation.store for evaluation in self.evaluations}


def read_run(folder: Path | str, evaluations: Sequence[EvaluationReport] | None = None) -> Run:
    """Read what a run directory holds.

    Args:
        folder: the run directory.
        evaluations: its reports, where they are known already: none in the folder is read then.

    Raises:
        DataError: it holds no run, or a damaged one.
    """
    folder = Path(folder)
    if (folder / "head.json").exists():
        raise DataError(
            f"{folder} is a recogniser of `marrow finetune`, which has its own report.json; expected run "
            "directories of `marrow pretrain`. Give the run that it was fine-tuned from"
        )
    inner = folder / "encoder" if (folder / "encoder" / DESCRIPTION).is_file() else folder
    try:
        settings = _text(folder / CONFIG, yaml.safe_load) or {}
        environments = _text(folder / ENVIRONMENT, json.loads) or []
        description = _text(inner / DESCRIPTION, json.loads)
        if description is None and is_packed(folder):
            description = dict(read_packed(folder).encoder)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{folder}: cannot be read as a run: {error}") from error
    reports = any((folder / "reports").glob("*.json"))
    log = read_log(folder / "log.jsonl")
    if not (settings or description or reports or log):
        what = "it holds neither a log nor an encoder nor reports"
        if not folder.exists():
            what = f"there is no such folder{did_you_mean_path(folder)}"
        raise DataError(f"{folder} is not a run directory of `marrow pretrain`: {what}")
    name = folder.resolve().name
    if evaluations is not None:
        return Run(folder, name, settings, environments, log, description, list(evaluations))
    kept = fullest(folder)
    beside = tuple(sentence for _, sentence in kept if sentence)
    reports = [
        replace(report.renamed(name), notes=[*report.notes, *([sentence] if sentence else [])])
        for report, sentence in kept
    ]
    return Run(folder, name, settings, environments, log, description, reports, beside)


def read_runs(folders: Sequence[Path | str]) -> list[Run]:
    """Read several runs, which are named by their folders, or by what tells apart those that bear one name.

    Raises:
        DataError: there is none, one is not a run, or one is given twice.
    """
    names = distinct_names([Path(folder) for folder in folders])
    if not names or len(set(names)) < len(names):
        raise DataError(
            f"expected one or more run directories, each of them once, got {[str(folder) for folder in folders]}"
        )
    runs = [read_run(folder) for folder in folders]
    return [
        run
        if run.name == name
        else replace(run, name=name, evaluations=[report.renamed(name) for report in run.evaluations])
        for run, name in zip(runs, names, strict=True)
    ]


def experiments(runs: Iterable[Run]) -> list[list[Run]]:
    """Group the runs that differ in nothing but their seed, and where and how fast they ran."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(_identity(run), sort_keys=True, default=str), []).append(run)
    return list(groups.values())


def labels(groups: Sequence[Sequence[Run]], most: int = 3) -> list[str]:
    """Name experiments by their method, and by the settings in which those of one method differ from each other.

    Args:
        groups: from `experiments`.
        most: settings that are named, at most.
    """
    named: dict[int, str] = {}
    for method in dict.fromkeys(group[0].method for group in groups):
        places = [place for place, group in enumerate(groups) if group[0].method == method]
        for place, said in zip(places, _differences([groups[place][0] for place in places]), strict=True):
            more = f" and {len(said) - most} more" if len(said) > most else ""
            named[place] = " · ".join([method, *said[:most]]) + more
    names = list(named.values())
    return [
        named[place] if names.count(named[place]) == 1 else f"{named[place]} ({', '.join(run.name for run in group)})"
        for place, group in enumerate(groups)
    ]


def _differences(runs: Sequence[Run]) -> list[list[str]]:
    """Return, of each run, the settings that are not the same in all of them."""
    settings = [dotted(_identity(run)) for run in runs]
    names = list(dict.fromkeys(name for of_run in settings for name in of_run))
    differing = [name for name in names if len({str(of_run.get(name)) for of_run in settings}) > 1]
    differing = [name for name in differing if name not in ("method", "kind", "settings.method")]
    # An encoder's size is both in its own description and in the settings that made it: once is enough.
    sizes = {name.rpartition(".")[2] for name in differing if name.startswith("settings.")}
    differing = [n for n in differing if n.startswith("settings.") or n.rpartition(".")[2] not in sizes]
    return [[f"{name.rpartition('.')[2]} {_short(of_run.get(name, '–'))}" for name in differing] for of_run in settings]


def find_store(run: Run, given: Path | str | None) -> tuple[Store | None, str]:
    """Open the data that a run learned from or was scored on.

    Args:
        run: the run.
        given: where to look; None: where the run found it.

    Returns:
        The store, or None and the reason in a sentence.

    Raises:
        StoreError: the given folder is no store.
    """
    if given is not None:
        store = Store.open(given)
        return _checked(store, run)
    opened = [one for start in run.environments[::-1] for one in start["store"].get("stores", [start["store"]])]
    places = [run.settings.get("store"), *(one.get("path") for one in opened)]
    places = [place for place in dict.fromkeys(places) if place]
    if not places:
        return None, f"{run.name} does not say where its store is; name it with --store."
    for place in places:
        try:
            return _checked(Store.open(place), run)
        except StoreError:
            continue
    return None, f"The store of {run.name} is not at {places[0]} any more; name the place with --store."


def _checked(store: Store, run: Run) -> tuple[Store | None, str]:
    fingerprints = run.fingerprints
    if fingerprints and store.fingerprint not in fingerprints:
        return None, f"The store at {store.path} holds other data than the one that {run.name} used."
    return store, ""


def _identity(run: Run) -> dict[str, Any]:
    description = run.description or (run.evaluations[0].runs[0].description if run.evaluations else {})
    provenance = description.get("provenance", {})
    settings = without_neutral(provenance.get("settings") or run.settings)
    same = {name: description.get(name) for name in ("kind", "config", "input")}
    same["method"] = provenance.get("method", run.settings.get("method"))
    same["extended"] = provenance.get("extended_at_steps", [])
    return {**same, "settings": {name: value for name, value in settings.items() if name not in NOT_THE_EXPERIMENT}}


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(file: Path, read: Any) -> Any:
    return read(file.read_text(encoding="utf-8")) if file.is_file() else None
