"""The part of a page that lets others do it again: commands, settings, versions, fingerprints, machine."""

import json
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml

from marrow.data.pool import StoreChoice, choice_in_words
from marrow.errors import MarrowError
from marrow.pretrain_config import LIMITS, PretrainConfig
from marrow.report.runs import Run
from marrow.report.style import card, table
from marrow.store.format import Store
from marrow.tasks import TASKS
from marrow.tasks.base import Quick
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.recognition.declared import AUGMENTED
from marrow.train.run_directory import dotted, plain


def repeat_html(runs: Sequence[Run], store: Store | None, page: Path | None) -> str:
    """Return commands, settings, versions and fingerprints.

    Args:
        runs: of one experiment.
        store: the data, where it is still there.
        page: where the report on these runs is written; None for a page that is not such a report.
    """
    steps = [
        ("Prepare the data", [prepare_command(run, store) for run in runs]),
        ("Pre-train", [command for run in runs for command in pretrain_commands(run)]),
        ("Evaluate", evaluate_commands(runs)),
        (
            "Report",
            [_joined(["marrow", "report", *(str(run.folder) for run in runs), "--out", str(page)])] * bool(page),
        ),
    ]
    commands = "".join(
        f"<h4>{title}</h4><pre>{escape(chr(10).join(lines))}</pre>"
        for title, given in steps
        if (lines := list(dict.fromkeys(line for line in given if line)))
    )
    return (
        card("Commands", commands, lead="Settings that are not named have their defaults.", wide=True)
        + card("Versions, data, machine", _facts(runs), wide=True)
        + card("All settings", _settings(runs), wide=True, screen=True)
    )


def prepare_command(run: Run, store: Store | None) -> str:
    """Return the command that makes the store of a run; empty where nothing is known of it."""
    if store is None:
        return ""
    options = [
        part
        for name, value in store.options.items()
        if value is not None and not isinstance(value, dict)
        for part in (f"--options.{name}", _value(value))
    ]
    root = [] if store.source == "synthetic" else ["RECORDINGS"]
    where = str(run.settings.get("store") or store.path)
    return _joined(["marrow", "prepare", store.source, *root, "--out", where, *options])


def pretrain_commands(run: Run) -> list[str]:
    """Return the commands that train a run: where it was extended, first one under the limits of each time before."""
    extensions = [start["extension"] for start in run.environments if "extension" in start]
    commands = []
    for extension in extensions:
        command = pretrain_command({**run.settings, **extension["limits_before"]})
        commands.append(f"{command}   # ended, or was stopped, at step {extension['from_step']}")
    return [*dict.fromkeys(commands), pretrain_command(run.settings)]


def pretrain_command(settings: Mapping[str, Any]) -> str:
    """Return the command that trains a run: all its settings that are not the defaults of its method."""
    if not {"store", "out"} <= settings.keys():
        return ""
    try:
        defaults = plain(PretrainConfig(Path(), Path(), method=settings.get("method", "mamp")))
    except MarrowError:
        defaults = {}  # a method of another package, which is not installed here: every setting is named
    words = ["marrow", "pretrain", "--method", str(settings.get("method", "mamp"))]
    words += [*_stores(settings), "--out", str(settings["out"])]
    defaults = dotted(defaults)
    # Beside other limits, epochs end a run only where they are named.
    if settings.get("ends_at_epochs", True) and any(settings.get(name) is not None for name in LIMITS[1:]):
        defaults.pop("epochs", None)
    for name, value in dotted(settings).items():
        if name not in ("method", "store", "stores", "out") and (name not in defaults or defaults[name] != value):
            words += [f"--{name}", _value(value)]
    return _joined(words)


def _stores(settings: Mapping[str, Any]) -> list[str]:
    """Return the data of a run as options: its store, or each of its stores."""
    choices = [StoreChoice(**{**choice, "path": Path(choice["path"])}) for choice in settings.get("stores") or ()]
    if any(choice.joints for choice in choices):  # which no word on the command line says
        return ["--stores", json.dumps(settings["stores"])]
    given = [choice_in_words(choice) for choice in choices] or [str(settings["store"])]
    return [word for text in given for word in ("--store", text)]


def evaluate_commands(runs: Sequence[Run]) -> list[str]:
    """Return the commands that score runs: one for each way in which some of them were scored."""
    folders: dict[tuple[str, ...], list[str]] = {}
    for run in runs:
        for evaluation in run.evaluations:
            options = tuple(_evaluate_options(run, evaluation))
            folders.setdefault(options, []).append(str(run.folder))
    return [_joined(["marrow", "evaluate", *of_options, *options]) for options, of_options in folders.items()]


def _evaluate_options(run: Run, evaluation: EvaluationReport) -> list[str]:
    """Return how a run was scored: the options of `marrow evaluate` that are not the defaults."""
    settings = evaluation.settings
    trained = [report for report in evaluation.reports if report.source == "trained"]
    tasks = list(dict.fromkeys(report.about.kind for report in trained))
    sources = [name for name in ("random", "raw") if any(report.source == name for report in evaluation.reports)]
    words = ["--store", str(run.settings.get("store") or "STORE")]
    # The name of a protocol from which copies were dropped is none that can be asked for.
    words += ["--protocol", str(settings.get("asked_protocol") or evaluation.protocol)]
    words += ["--tasks", ",".join(tasks), "--baselines", ",".join(sources) or "none"]
    words += ["--augmented"] if any(report.about.way == AUGMENTED for report in trained) else []
    words += ["--quick"] if settings.get("quick") else []
    if settings.get("drop_duplicates", "none") != "none":
        words += ["--drop_duplicates", str(settings["drop_duplicates"])]
    transfer = settings.get("transfer", False)
    if transfer is not False:
        words += ["--transfer"] if transfer is True else ["--joints", json.dumps(transfer)]
    if settings.get("precision", "auto") != "auto":
        words += ["--precision", str(settings["precision"])]
    if settings.get("probe_seed"):
        words += ["--seed", str(settings["probe_seed"])]
    for name in tasks:
        asked = next((report.asked for report in trained if report.about.kind == name and report.asked), {})
        words += _task_options(name, asked, quick=bool(settings.get("quick")))
    return words


def _task_options(name: str, asked: Mapping[str, Any], *, quick: bool) -> list[str]:
    """Return the settings of a task that are not its defaults, or not those of its smallest size."""
    task = TASKS.get(name)
    if quick and isinstance(task, Quick):
        task = task.quick()
    default = getattr(task, "config", None)
    if default is None:
        return []  # a task of another package has no options
    defaults = dotted(plain(default))
    words = []
    for option, value in dotted(asked).items():
        if option not in defaults or defaults[option] != value:
            words += [f"--{name}.{option}", _value(value)]
    return words


def _facts(runs: Sequence[Run]) -> str:
    """List what runs rest on: one line per run, and what the machine was."""
    rows = []
    for run in runs:
        encoders = dict.fromkeys(facts.fingerprint for part in run.evaluations for facts in part.runs)
        stores = dict.fromkeys([*(start["store"]["fingerprint"] for start in run.environments), *run.fingerprints])
        started = [start["started"] for start in run.environments]
        cells = [run.name, run.seed, " ".join(text[:16] for text in encoders), " ".join(text[:16] for text in stores)]
        rows.append([*(escape(str(cell)) for cell in cells), escape(", ".join(started))])
    parts = [table(["run", "seed", "encoder", "data", "started"], rows, numbers_from=9)]
    machines: dict[str, list[str]] = {}
    for run in runs:
        for start in run.environments:
            packages = ", ".join(f"{name} {number}" for name, number in start["packages"].items())
            commit = f" (commit {start['commit'][:12]})" if start.get("commit") else ""
            said = f"marrow {start['marrow']}{commit}, Python {start['python']}, {packages}; {start['platform']}"
            machines.setdefault(said, []).append(run.name)
    parts += [f"<p class='lead'>{escape(said)}.</p>" for said in machines]
    return "".join(parts)


def _settings(runs: Sequence[Run]) -> str:
    found: list[tuple[str, str]] = [
        (f"{run.name}: config.yaml", yaml.safe_dump(run.settings, sort_keys=False)) for run in runs if run.settings
    ]
    for run in runs:
        for evaluation in run.evaluations:
            heads = {
                f"{report.source}: {report.task}": {**report.settings, **report.cost, **report.noted}
                | ({"asked": report.asked} if report.asked else {})
                for report in evaluation.reports
            }
            text = json.dumps({"evaluation": evaluation.settings, "heads": heads}, indent=1, default=str)
            found.append((f"{run.name}: evaluation on {evaluation.protocol}", text))
    return "".join(
        f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>" for title, text in found
    )


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _joined(words: Sequence[str]) -> str:
    """Return a command as a shell takes it, broken into lines of readable length."""
    lines, line = [], ""
    for word in words:
        quoted = shlex.quote(word)
        # An option and its value stay together.
        if len(line) + len(quoted) > 96 and word.startswith("--"):
            lines, line = [*lines, line.rstrip()], "    "
        line += quoted + " "
    return " \\\n".join([*lines, line.rstrip()])
