"""Is this machine ready for marrow? Findings, each with what to do about it.

Nothing heavy is imported here: other Python processes are asked, since what they import may crash.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import marrow
from marrow.errors import MarrowError

Level = Literal["PASS", "WARN", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        level: PASS; WARN: something will be slow or not work, marrow itself does; FAIL: marrow will not work.
        subject: what was looked at, in a word or two.
        text: what was found.
        mend: what to do; empty where there is nothing to do.
    """

    level: Level
    subject: str
    text: str
    mend: str = ""


def finding_of(subject: str, text: str, is_bad: bool, mend: str, level: Level = "WARN") -> Finding:
    """Return what was found: with the level and what to do where it is bad, else PASS."""
    return Finding(level, subject, text, mend) if is_bad else Finding("PASS", subject, text)


class Unanswered(MarrowError):
    """Another process that was asked something failed; the message is its last line."""


def ask(code: str, *arguments: str, timeout_seconds: float = 120.0) -> Any:
    """Run a Python program in a process of its own and return the JSON that is its last line.

    A package that crashes, hangs or exits takes only that process with it.

    Raises:
        Unanswered: it failed, hung, or printed no JSON.
    """
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    # The program finds the marrow that asks, also where that was started from its source folder.
    paths.append(str(Path(marrow.__file__).parents[1]))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
    # -P: a file of the current folder that is called like a package is none of this examination's business.
    command: Sequence[str] = (sys.executable, "-P", "-c", code, *arguments)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", timeout=timeout_seconds, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise Unanswered(f"no answer within {timeout_seconds:.0f} s") from error
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        how = f"killed by signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        raise Unanswered(lines[-1].strip() if lines else how)
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise Unanswered(f"expected JSON, got {done.stdout[-200:]!r}") from error
