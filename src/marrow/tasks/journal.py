"""What an evaluation that is not finished yet has found: the same command goes on from there.

    RUN/reports/PROTOCOL.unfinished/KEY.json   the reports of one task on one fold, for one source

The key stands for all that decides them: task and settings, encoder, data, fold, seeds, precision, limits, version. A
finished evaluation removes its own, so that a command that is given again later computes everything anew; what another
evaluation under the same protocol (on another store, in another precision) has left stays for that one.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import marrow
from marrow.files import write_text_whole
from marrow.tasks.base import Report

_log = logging.getLogger(__name__)


class Journal:
    """Finished parts of one run's evaluation.

    Args:
        folder: where they are kept; None: nowhere.
        question: what all of them have in common, as plain values.
    """

    def __init__(self, folder: Path | None, question: Mapping[str, Any]) -> None:
        self._folder, self._question = folder, {**question, "marrow": marrow.__version__}
        self._own: set[Path] = set()

    def reports(self, compute: Callable[[], Sequence[Report]], **part: Any) -> list[Report]:
        """Return the reports of a part: what is kept of it, or what is computed now, and then kept.

        Args:
            compute: makes them.
            part: what the part is, as plain values.
        """
        if self._folder is None:
            return list(compute())
        text = json.dumps({**self._question, **part}, sort_keys=True)
        path = self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
        self._own.add(path)
        known = _read(path)
        if known is None:
            known = list(compute())
            self._folder.mkdir(parents=True, exist_ok=True)
            write_text_whole(path, json.dumps([asdict(report) for report in known]) + "\n")
        else:
            _log.info("kept from the interrupted evaluation: %s", ", ".join(str(value) for value in part.values()))
        return known

    def close(self) -> None:
        """Forget what this evaluation has found: it is finished."""
        for path in self._own:
            path.unlink(missing_ok=True)
        if self._folder is not None and self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()


def _read(path: Path) -> list[Report] | None:
    """Return kept reports; None where there are none, or they are damaged."""
    try:
        return [Report.from_dict(values) for values in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError):
        return None
