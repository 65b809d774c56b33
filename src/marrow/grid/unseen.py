"""The protocol "unseen set": pre-train on all stores but one, and score the encoder on that one.

Beside it stand its untrained self, raw coordinates with the same labels, and an encoder that was pre-trained on the
set itself for the same time. Every step goes on where it was stopped: the same call finishes what is missing.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marrow.data.pool import StoreChoice, copies_elsewhere
from marrow.data.subsets import fold_protocols
from marrow.errors import ConfigError
from marrow.files import write_text_whole
from marrow.pretrain_config import RESULT, PretrainConfig
from marrow.pretraining import pretrain
from marrow.progress import Parts
from marrow.store.format import Store
from marrow.tasks.base import Task, TaskContext
from marrow.tasks.evaluate import evaluate
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.summary import scores

_log = logging.getLogger(__name__)

# Where the encoder of a column has learned.
COLUMNS = ("other sets", "untrained", "the set itself", "raw coordinates")


@dataclass(frozen=True)
class Unseen:
    """What came of it.

    Args:
        others: scores of the encoders that never saw the set, with their baselines.
        itself: scores of those that were pre-trained on it.
    """

    others: EvaluationReport
    itself: EvaluationReport

    def rows(self) -> list[tuple[str, str, dict[str, str]]]:
        """Return task, clips ("official" or "clean"), and a text for each column that has one."""
        columns = {("others", "trained"): 0, ("others", "random"): 1, ("itself", "trained"): 2, ("others", "raw"): 3}
        table: dict[tuple[str, str], dict[str, str]] = {}
        for name, report in (("others", self.others), ("itself", self.itself)):
            for number in scores(report):
                place = columns.get((name, number.source))
                if place is not None:
                    row = f"{number.task} {number.quantity.reading}".strip(), number.quantity.clips
                    table.setdefault(row, {})[COLUMNS[place]] = number.text
        return [(*row, cells) for row, cells in table.items()]


def held_out(choices: Sequence[StoreChoice], name: str) -> tuple[StoreChoice, list[StoreChoice]]:
    """Return the store that is kept apart, and the others.

    Raises:
        ConfigError: there is none of that name, or no other; or rows of it are named, which the protocol says.
    """
    names = [choice.name for choice in choices]
    if name not in names:
        raise ConfigError(f"no store is called {name!r}; stores are {', '.join(names)}")
    if len(choices) < 2:
        raise ConfigError("expected at least two stores: one to score, and others to learn from")
    apart = choices[names.index(name)]
    if apart.rows is not None:
        raise ConfigError(f"the store {name!r} is scored by --protocol: leave {apart.rows!r} out")
    return apart, [choice for choice in choices if choice.name != name]


def run_unseen(
    make_config: Callable[[Path, tuple[StoreChoice, ...], int], PretrainConfig],
    choices: Sequence[StoreChoice],
    on: str,
    protocol: str,
    out: Path,
    *,
    seeds: Sequence[int],
    tasks: Sequence[str | Task],
    context: TaskContext,
) -> Unseen | None:
    """Pre-train and score; None where it was interrupted.

    Args:
        make_config: the settings of a run from its folder, its stores and its seed.
        choices: all stores.
        on: name of the one that is scored.
        protocol: that it is scored by.
        out: folder of the runs and of `unseen_NAME.json`.
        seeds: of the runs.
        tasks: what is asked of the frozen encoders, and of few labels.
        context: device, precision, seed of the probes.
    """
    apart, others = held_out(choices, on)
    store = Store.open(apart.path)
    # Of folds, every clip is tested in one of them: an encoder of the set itself learns from all clips, without labels.
    whole = len(fold_protocols(store, protocol)) > 1
    itself = StoreChoice(apart.name, apart.path, None if whole else f"{protocol}/train", None, apart.joints)
    runs: dict[str, list[Path]] = {"others": [], "itself": []}
    kinds = {"others": tuple(others), "itself": (itself,)}
    folders = {"others": out / f"without_{on}", "itself": out / f"{on}_itself"}
    configs = {
        (kind, seed): make_config(folders[kind] / f"seed{seed}", stores, seed)
        for seed in seeds
        for kind, stores in kinds.items()
    }
    budgets = {kind: config.max_cpu_seconds or 0.0 for (kind, _), config in configs.items()}
    for note in copies_elsewhere(apart, others):
        _log.warning("%s", note)
    parts = Parts([*(kind for kind, _ in configs), "scores of others", "scores of itself"], budgets)
    for (kind, seed), config in configs.items():
        parts.begin(kind, f"pre-training on {', '.join(choice.name for choice in kinds[kind])}, seed {seed}")
        was_there = (config.out / RESULT).exists()
        if not pretrain(config).finished:
            return None
        parts.done(kind, 0.0 if was_there else None)
        runs[kind].append(config.out)
    parts.begin("scores of others", f"scoring on {on}: encoders that never saw it")
    of_others = evaluate(runs["others"], store, protocol, tasks=tasks, context=context)
    parts.done("scores of others")
    parts.begin("scores of itself", f"scoring on {on}: encoders that learned from it")
    of_itself = evaluate(runs["itself"], store, protocol, tasks=tasks, context=context, baselines=())
    result = Unseen(of_others, of_itself)
    write_text_whole(out / f"unseen_{on}.json", json.dumps(_plain(result, protocol, others), indent=1) + "\n")
    return result


def _plain(result: Unseen, protocol: str, others: Sequence[StoreChoice]) -> dict[str, Any]:
    return {
        "protocol": protocol,
        "learned_from": [choice.name for choice in others],
        "seeds": [run.seed for run in result.others.runs],
        "rows": [{"task": task, "clips": clips, **cells} for task, clips, cells in result.rows()],
    }
