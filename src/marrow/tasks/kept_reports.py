"""Evaluation reports of a run: what is found is added to what is there, and nothing is lost.

RUN/reports/PROTOCOL.json               scores of one encoder on the same clips, all made in one way
RUN/reports/PROTOCOL~2.json             others: of other data or clips, of another encoder, quick, with other settings
RUN/reports/PROTOCOL.json.replaced-1    what `--replace` has put aside
RUN/reports/PROTOCOL.unfinished/KEY.json   reports of one task on one fold, for one source: a command goes on there

KEY stands for all that decides these reports: task and settings, encoder, data, fold, seeds, precision, limits,
version. A finished evaluation removes its own, so that a command that is given again later computes everything anew;
what another evaluation under the same protocol (on another store, in another precision) has left stays for that one.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

import marrow
from marrow.errors import DataError, MarrowError
from marrow.files import write_text_whole
from marrow.tasks import TASKS
from marrow.tasks.encoders import facts_of
from marrow.tasks.evaluation_report import EvaluationReport, Report

_log = logging.getLogger(__name__)

# Settings of an evaluation that decide its scores, and what they were before they were written down.
_WAY = {
    "quick": False,
    "transfer": False,
    "precision": "auto",
    "probe_seed": 0,
    "max_steps": None,
    "max_minutes": None,
}


def keep(folder: Path, report: EvaluationReport, *, anew: bool = False) -> Path:
    """Add a report of one run to those that its folder holds; return the file that it is in now.

    It joins the first report on the same encoder and clips that was made in the same way; what is in both is that of
    the new one. Where there is none, it gets a file of its own.

    Args:
        folder: `reports/` of the run.
        report: of one run.
        anew: put what is there under this protocol and on this data aside instead.
    """
    if anew:
        _put_all_aside(folder, report)
    beside = list[str]()
    for path in _places(folder, report.protocol):
        earlier = _read(path)
        if earlier is None:
            break
        others = _differences(earlier, report)
        if not others:
            report = _joined(earlier, report)
            break
        beside.append(f"{path.name} ({', '.join(others)})")
    report.save(path)
    _log.info("wrote %s%s", path, f", beside {' and '.join(beside)}" if beside else "")
    return path


def fullest(run: Path) -> list[tuple[EvaluationReport, str]]:
    """Read what a run keeps: of each protocol and data the fullest report, and a sentence on what else is there, or "".

    Fullest: on the encoder that the run has now, not quick, with the most results.

    Raises:
        DataError: a report is damaged, or of another version.
    """
    groups: dict[tuple[str, str], list[tuple[Path, EvaluationReport]]] = {}
    for path in sorted((run / "reports").glob("*.json")):
        report = EvaluationReport.load(path)
        groups.setdefault((report.protocol, report.store), []).append((path, report))
    return [_fullest_of(group, run) for group in groups.values()]


def _fullest_of(group: list[tuple[Path, EvaluationReport]], run: Path) -> tuple[EvaluationReport, str]:
    if len(group) == 1:
        return group[0][1], ""
    try:
        encoder = facts_of(run, 0).fingerprint
    except MarrowError:
        encoder = ""

    def fullness(kept: tuple[Path, EvaluationReport]) -> tuple[bool, bool, int]:
        report = kept[1]
        return report.runs[0].fingerprint == encoder, not report.settings.get("quick", False), len(report.reports)

    _, chosen = max(group, key=fullness)
    others = [
        f"{path.name} ({len(report.reports)} results: {', '.join(_differences(report, chosen))})"
        for path, report in group
        if report is not chosen
    ]
    return chosen, f"{run.resolve().name} keeps other results on {chosen.protocol}, not shown: {'; '.join(others)}."


def _places(folder: Path, protocol: str) -> Iterator[Path]:
    """Yield the files that reports under a protocol may be in, one after the other, without end."""
    stem = file_name(protocol)
    yield folder / f"{stem}.json"
    for number in count(2):
        yield folder / f"{stem}~{number}.json"


def _read(path: Path) -> EvaluationReport | None:
    """Read a report; None where there is none. A damaged one is put aside."""
    if not path.exists():
        return None
    try:
        return EvaluationReport.load(path)
    except DataError as error:
        _log.warning("%s; it is kept as %s", error, _put_aside(path, "damaged").name)
        return None


def _put_all_aside(folder: Path, report: EvaluationReport) -> None:
    """Put every report aside that is under the protocol of another one and on its data."""
    for path in sorted(folder.glob("*.json")):
        earlier = _read(path)
        if earlier is not None and (earlier.protocol, earlier.store) == (report.protocol, report.store):
            _log.info("%s is kept as %s", path, _put_aside(path, "replaced").name)


def _put_aside(path: Path, why: str) -> Path:
    """Give a file a name under which it is no report any more, and which no other file has."""
    names = (path.with_name(f"{path.name}.{why}-{number}") for number in count(1))
    aside = next(name for name in names if not name.exists())
    path.replace(aside)
    return aside


def _differences(earlier: EvaluationReport, report: EvaluationReport) -> list[str]:
    """Say in what an earlier report is another one than a later one, so that they cannot be joined."""
    differences = []
    if earlier.store != report.store:
        differences.append("other data")
    elif (earlier.test_rows, earlier.test_labels) != (report.test_rows, report.test_labels):
        differences.append("other clips")
    if earlier.runs[0].fingerprint != report.runs[0].fingerprint:
        differences.append("another encoder")
    for name, default in _WAY.items():
        before = earlier.settings.get(name, default)
        if before != report.settings.get(name, default):
            words = name.replace("_", " ")
            differences.append(words if before is True else f"not {words}" if before is False else f"{words} {before}")
    # A task that was asked for in another way: none of its scores, a baseline's neither, may stand beside the new ones.
    asked = {part.task: part.asked for part in report.reports}
    tasks = (part.task for part in earlier.reports if asked.get(part.task, part.asked) != part.asked)
    differences += [f"{task.partition('/')[0]} with other settings" for task in tasks]
    return list(dict.fromkeys(differences))


def _joined(earlier: EvaluationReport, report: EvaluationReport) -> EvaluationReport:
    """Put two reports on one encoder together; the settings are those of the new one."""
    # The folder may have had another name then: it is one run all the same.
    joined = EvaluationReport.joined([earlier.renamed(report.runs[0].name), report])
    return replace(joined, reports=in_order(joined.reports), settings=report.settings)


def in_order(reports: Sequence[Report]) -> list[Report]:
    """Return reports in one order, whenever a task was added: trained, random, raw, and tasks as in `TASKS`."""
    sources, kinds = ("trained", "random", "raw"), list(TASKS)

    def place(report: Report) -> tuple[int, int]:
        kind = report.about.kind
        return sources.index(report.source), kinds.index(kind) if kind in kinds else len(kinds)

    return sorted(reports, key=place)


def file_name(protocol: str) -> str:
    """Return a protocol as part of a file name."""
    plain = protocol.replace("!=", "-not-")
    return "".join(character if character.isalnum() or character in "-=." else "_" for character in plain)


class Journal:
    """Finished parts of one run's unfinished evaluation.

    Args:
        folder: where they are kept; None: nowhere.
        question: what all of them have in common, as plain values.
    """

    def __init__(self, folder: Path | None, question: Mapping[str, Any]) -> None:
        self._folder, self._question = folder, {**question, "marrow": marrow.__version__}
        self._own: set[Path] = set()

    def reports(self, compute: Callable[[], Sequence[Report]], **part: Any) -> list[Report]:
        """Return the reports of a part: what is kept of it, or what is computed now, and then kept.

        `part` says in plain values what it is.
        """
        if self._folder is None:
            return list(compute())
        text = json.dumps({**self._question, **part}, sort_keys=True)
        path = self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
        self._own.add(path)
        reports = _read_part(path)
        if reports is None:
            reports = list(compute())
            write_text_whole(path, json.dumps([asdict(report) for report in reports]) + "\n")
        else:
            _log.info("kept from the interrupted evaluation: %s", ", ".join(str(value) for value in part.values()))
        return reports

    def close(self) -> None:
        """Forget what this evaluation has found: it is finished."""
        for path in self._own:
            path.unlink(missing_ok=True)
        if self._folder is not None and self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()


def _read_part(path: Path) -> list[Report] | None:
    """Return kept reports; None where there are none, or they are damaged."""
    try:
        return [Report.from_dict(values) for values in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError):
        return None
