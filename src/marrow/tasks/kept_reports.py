"""Evaluation reports of a run: what is found is added to what is there, and nothing is lost.

RUN/reports/PROTOCOL.json               scores of one encoder on the same clips, all made in one way
RUN/reports/PROTOCOL~2.json             others: of other data or clips, of another encoder, quick, with other settings
RUN/reports/PROTOCOL.json.replaced-1    what `--replace` has put aside
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from marrow.errors import DataError, MarrowError
from marrow.tasks.evaluation_report import EvaluationReport
from marrow.tasks.run_facts import facts_of

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
    aside = next(each for number in count(1) if not (each := path.with_name(f"{path.name}.{why}-{number}")).exists())
    path.replace(aside)
    return aside


def _differences(earlier: EvaluationReport, report: EvaluationReport) -> list[str]:
    """Say in what an earlier report is another one than a later one, so that they cannot be joined."""
    found = []
    if earlier.store != report.store:
        found.append("other data")
    elif (earlier.test_rows, earlier.test_labels) != (report.test_rows, report.test_labels):
        found.append("other clips")
    if earlier.runs[0].fingerprint != report.runs[0].fingerprint:
        found.append("another encoder")
    for name, default in _WAY.items():
        before = earlier.settings.get(name, default)
        if before != report.settings.get(name, default):
            words = name.replace("_", " ")
            found.append(words if before is True else f"not {words}" if before is False else f"{words} {before}")
    # A task that was asked for in another way: none of its scores, a baseline's neither, may stand beside the new ones.
    asked = {each.task: each.asked for each in report.reports}
    tasks = (each.task for each in earlier.reports if asked.get(each.task, each.asked) != each.asked)
    found += [f"{task.partition('/')[0]} with other settings" for task in tasks]
    return list(dict.fromkeys(found))


def _joined(earlier: EvaluationReport, report: EvaluationReport) -> EvaluationReport:
    """Put two reports on one encoder together; the settings are those of the new one."""
    # The folder may have had another name then: it is one run all the same.
    for each in earlier.reports:
        each.fingerprints |= {name: report.runs[0].name for name in each.fingerprints if name == "run"}
    joined = EvaluationReport.joined([replace(earlier, runs=report.runs), report])
    return replace(joined, settings=report.settings)


def file_name(protocol: str) -> str:
    """Return a protocol as part of a file name."""
    plain = protocol.replace("!=", "-not-")
    return "".join(character if character.isalnum() or character in "-=." else "_" for character in plain)
