"""What is asked of the scores of a cell, the command that makes them, and whether a report answers."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from marrow.errors import MarrowError
from marrow.grid.plan import Grid, GridRow
from marrow.pretrain_config import PretrainConfig
from marrow.store.format import Store
from marrow.tasks.base import Report
from marrow.tasks.encoders import facts_of
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.train.run_directory import plain


@dataclass(frozen=True)
class Scoring:
    """What is asked of the scores of a row.

    Args:
        protocol: that is scored on.
        store: fingerprint of the data.
        tasks: names of the evaluations.
        settings: of the tasks that have some, by name.
        baselines: whether random initialisation and raw coordinates are scored, too.
    """

    protocol: str
    store: str
    tasks: tuple[str, ...]
    settings: Mapping[str, Any]
    baselines: bool

    def found(self, run: Path) -> EvaluationReport | None:
        """Return the report of a run that holds what is asked for, and nothing besides.

        None where it lacks a task or a baseline, was made of another encoder, with probes of another seed than 0, or by
        tasks with other settings.
        """
        for path in sorted((run / "reports").glob("*.json")):
            try:
                report = self._asked_of(EvaluationReport.load(path))
                if self._answers(report, facts_of(run, 0).fingerprint):
                    return report
            except (MarrowError, OSError, ValueError, TypeError, AttributeError):
                continue  # damaged, or not of marrow: another may be the one
        return None

    def _asked_of(self, report: EvaluationReport) -> EvaluationReport:
        """Leave out what a report holds besides the tasks and raw coordinates, as more was asked for by hand."""
        kept = [
            each
            for each in report.reports
            if each.source == "raw" or (each.about.kind in self.tasks and self._is_set_so(each))
        ]
        return replace(report, reports=kept)

    def _is_set_so(self, report: Report) -> bool:
        """Say whether a task had the settings; one that its marrow did not know yet had its default."""
        if report.about.kind not in self.settings:
            return True
        wanted, asked = self.settings[report.about.kind], report.asked
        if not asked:
            return False
        defaults = plain(type(wanted)())
        groups = {name: value | asked.get(name, {}) for name, value in defaults.items() if isinstance(value, dict)}
        return defaults | asked | groups == plain(wanted)

    def _answers(self, report: EvaluationReport, encoder: str) -> bool:
        """Say whether a report holds what is asked for, about the encoder with this fingerprint."""
        asked = {("trained", task) for task in self.tasks}
        asked |= {("random", task) for task in self.tasks} if self.baselines else set()
        there = {(each.source, each.about.kind) for each in report.reports}
        raw = not self.baselines or any(each.source == "raw" for each in report.reports)
        known = (report.protocol, report.store, report.settings.get("probe_seed"))
        return (
            known == (self.protocol, self.store, 0)
            and asked <= there
            and raw
            and [run.fingerprint for run in report.runs] == [encoder]
        )


def make_scoring(
    grid: Grid, row: GridRow, store: Store, config: PretrainConfig, parse: Callable[[Sequence[str]], Mapping[str, Any]]
) -> Scoring:
    """Return what a row asks for.

    Args:
        grid: the table of experiments.
        row: one of them.
        store: the data.
        config: of its runs.
        parse: turns the words after `marrow` of an evaluation into the settings of its tasks, by name.

    Raises:
        ConfigError: `marrow evaluate` refuses the settings.
    """
    words = evaluate_words(grid, row, store, Path("run"), config)
    settings = {name: config for name, config in parse(words).items() if name in row.tasks}
    return Scoring(grid.protocol, store.fingerprint, row.tasks, settings, row.baselines)


def evaluate_words(grid: Grid, row: GridRow, store: Store, run: Path, config: PretrainConfig) -> tuple[str, ...]:
    """Return what follows `marrow` in the command that scores a run."""
    options = {"store": store.path, "protocol": grid.protocol, "tasks": ",".join(row.tasks)}
    options |= {"baselines": "random,raw" if row.baselines else "none"}
    options |= {name: how for name in ("device", "precision") if (how := getattr(config, name)) != "auto"}
    return ("evaluate", str(run), *as_options(options | row.evaluation))


def as_options(values: dict[str, Any]) -> list[str]:
    """Return settings by dotted names as the command line takes them."""
    return [
        f"--{name}={value if isinstance(value, str | Path) else json.dumps(value, default=str)}"
        for name, value in values.items()
    ]
