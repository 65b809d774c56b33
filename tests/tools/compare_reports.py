"""Compare what two versions of marrow say of the same runs, number by number.

    python tests/tools/compare_reports.py BEFORE AFTER

Both folders hold the same files: what `marrow evaluate --json`, `compare`, `report` and `grid` have written, and run
directories with their reports, which may be of different versions. Every number of BEFORE must be in AFTER: those of
reports in the same place, to the last bit; those of a page or a table as often as before, as they are written there;
those of other JSON, which may be arranged anew, anywhere in it. What AFTER has besides is told. Times of a computation
are left out: no two are alike.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

# Numbers of a report that are compared one by one, and where settings of either version may stand.
_NUMBERS = ("metrics", "intervals", "per_class", "predictions", "num_labels_used", "seed", "detail")
_SETTINGS = ("settings", "cost", "noted")
_TIMES = re.compile(r"[\d,.]+ (?:processor )?s(?:econds?)?\b|\d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:+]+")


def main(before: Path, after: Path) -> int:
    """Compare two folders; return the number of differences."""
    wrong = 0
    for path in sorted(before.rglob("*")):
        name, other = path.relative_to(before), after / path.relative_to(before)
        if path.suffix in (".json", ".html", ".md", ".txt") and not other.exists():
            print(f"{name}: is not there")
            continue
        if path.suffix == ".json" and path.parent.name == "reports":
            count, missing = _compared_reports(path, other)
        elif path.suffix == ".json" and path.parent.name in (before.name, "grid"):
            old, new = (set(_floats(json.loads(file.read_text()))) for file in (path, other))
            count, missing = len(old), sorted(old - new)
        elif path.suffix in (".html", ".md", ".txt") and "cells" not in path.parts:
            count, missing = _contained(_written(path), _written(other))
        else:
            continue
        print(f"{name}: {count:,} numbers, {len(missing)} not as before")
        print("".join(f"    {each}\n" for each in missing[:20]), end="")
        wrong += len(missing)
    return wrong


def _compared_reports(path: Path, other: Path) -> tuple[int, list[str]]:
    """Compare the numbers of an evaluation report with those of another, place by place."""
    before, after = (json.loads(each.read_text()) for each in (path, other))
    missing = [
        name
        for name in ("protocol", "store", "train_count", "test_rows", "test_labels", "test_copied", "settings")
        if before[name] != after[name]
    ]
    reports = {_key(report): report for report in after["reports"]}
    count = 0
    for report in before["reports"]:
        partner = reports.pop(_key(report), None)
        if partner is None:
            missing.append(f"no report of {_key(report)}")
            continue
        for name in _NUMBERS:
            count += sum(1 for _ in _floats(report[name]))
            if report[name] != partner[name]:
                missing.append(f"{_key(report)}: {name}")
        ours, theirs = _settings(report), _settings(partner)
        missing += [f"{_key(report)}: setting {name}" for name in ours if ours[name] != theirs.get(name)]
    return count, missing + [f"a report of {key} is new" for key in reports]


def _key(report: dict[str, Any]) -> tuple[str, ...]:
    return report["source"], report["task"], str(report["seed"]), report["fingerprints"].get("run", "")


def _settings(report: dict[str, Any]) -> dict[str, Any]:
    """Return everything that a report says of how it came about, wherever it stands."""
    found = {name: value for part in _SETTINGS for name, value in report.get(part, {}).items()}
    asked = {**report.get("asked", {}), **(found.pop("asked", None) or {})}
    found = {name: value for name, value in {**asked, **found}.items() if "seconds" not in name}
    found.pop("shots", None)  # of one report: it is the variant of the task
    return found | {"note": _TIMES.sub("", str(found.get("note", "")))}


def _floats(values: Any) -> Iterator[str]:
    """Yield the numbers of plain values that are no whole ones."""
    if isinstance(values, float):
        yield repr(values)
    elif isinstance(values, dict | list):
        for value in values.values() if isinstance(values, dict) else values:
            yield from _floats(value)


def _written(path: Path) -> Iterator[str]:
    """Yield the numbers of a page's or a table's text, and those of the figures of a page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        given = re.search(r"<script type='application/json' id='figures'>(.*?)</script>", text, re.S)
        yield from _floats(json.loads(unescape(given[1]))) if given else ()
        text = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.S)
        labels = " ".join(re.findall(r"aria-label='([^']*)'", text))
        text = unescape(f"{re.sub('<[^>]*>', ' ', text)} {labels}")
    yield from re.findall(r"[+-]?\d+(?:\.\d+)?", _TIMES.sub("", text))


def _contained(before: Iterator[str], after: Iterator[str]) -> tuple[int, list[str]]:
    """Return how many numbers there were, and which of them are there less often now."""
    old, new = Counter(before), Counter(after)
    more = sum((new - old).values())
    if more:
        print(f"    {more} numbers are new")
    return old.total(), [f"{number} (x {times})" for number, times in (old - new).items()]


if __name__ == "__main__":
    raise SystemExit(min(main(Path(sys.argv[1]), Path(sys.argv[2])), 1))
