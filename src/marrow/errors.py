"""Everything marrow raises on purpose.

MarrowError
├── DataError            something is wrong with the data
│   ├── ParseError       a raw file does not follow its format (carries path and line)
│   └── StoreError       a store is missing, cut short, or of another version
├── ConfigError          a setting is unknown or does not fit the others
├── CheckpointError      a checkpoint or an exported encoder cannot be used
└── OutputError          a file cannot be written (an OSError, too)

A message says what was expected, what came, where, and how to mend it. The command line prints it without a traceback.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

# Characters of what is wrong with a file. A sentence has fewer; what is longer has repeated the file.
_LONGEST_PROBLEM = 1000


class MarrowError(Exception):
    """Base of all errors that a user can mend."""


class DataError(MarrowError):
    """Data that cannot be used as asked."""


class ParseError(DataError):
    """A raw file that does not follow its format.

    Args:
        path: the file.
        line: 1-based line number; 0 when the fault lies in no line (the file's name, or that it cannot be read).
        problem: what was expected and what came; what cannot be printed is escaped, and the
            middle of what is very long left out.
    """

    def __init__(self, path: str | Path, line: int, problem: str) -> None:
        problem = _presentable(problem)
        super().__init__(f"{path}:{line}: {problem}" if line else f"{path}: {problem}")
        self.path = Path(path)
        self.line = line
        self.problem = problem

    def __reduce__(self) -> tuple[type["ParseError"], tuple[Path, int, str]]:
        """Survive the way back from a worker process (exceptions are rebuilt from `args` otherwise)."""
        return (ParseError, (self.path, self.line, self.problem))


class StoreError(DataError):
    """A store that is missing, unfinished, cut short, or of another version."""


class ConfigError(MarrowError):
    """A setting that is unknown, out of range, or at odds with another."""


class CheckpointError(MarrowError):
    """A checkpoint or exported encoder that is missing, damaged, or made for something else."""


class OutputError(MarrowError, OSError):
    """A file or a folder that cannot be written: the disk is full, or nothing may be written there.

    Args:
        path: of the file or folder.
        cause: what the system said.
        is_full: whether the disk is full.
    """

    def __init__(self, path: Path, cause: Exception, *, is_full: bool) -> None:
        reason = getattr(cause, "strerror", None) or "No space left on device"
        mend = "Free some space, or name another place" if is_full else "Name another place, or see to its permissions"
        self._message = f"{path}: cannot be written ({reason}). {mend}, and give the same command again"
        super().__init__(self._message)
        self.errno, self.strerror, self.filename = getattr(cause, "errno", None), reason, str(path)

    def __str__(self) -> str:
        return self._message


def damaged(folder: Path, kind: str, cause: Exception) -> CheckpointError:
    """Return the error of a folder whose files cannot be read.

    Args:
        folder: that holds them.
        kind: what it should hold: "an encoder".
        cause: what went wrong.
    """
    return CheckpointError(
        f"{folder}: cannot be read as {kind} ({type(cause).__name__}: {cause}). A file in it is damaged, cut short or "
        "of something else: copy the folder anew from where it was made, or make it again"
    )


@dataclass(frozen=True)
class Range:
    """Which values a setting may have, in words that follow "must", and as a condition."""

    words: str
    holds: Callable[[Any], bool]


POSITIVE = Range("be positive", lambda value: value > 0)
NOT_NEGATIVE = Range("not be negative", lambda value: value >= 0)
BELOW_1 = Range("lie in [0, 1)", lambda value: 0.0 <= value < 1.0)
UP_TO_1 = Range("lie in (0, 1]", lambda value: 0.0 < value <= 1.0)


def at_least(least: int) -> Range:
    """Return the range of the numbers from this one on."""
    return Range(f"be at least {least}", lambda value: value >= least)


def one_of(*choices: str) -> Range:
    """Return the range of some words."""
    return Range(f"be {' or '.join(choices)}", lambda value: value in choices)


def check_ranges(settings: object, prefix: str = "", **ranges: Range) -> None:
    """Raise a ConfigError for the first setting outside of its range; None is in every one.

    Args:
        settings: have an attribute for each range.
        prefix: of the settings' names, as the command line has them: "action_detection.".
        ranges: by name of the setting.
    """
    for name, allowed in ranges.items():
        value = getattr(settings, name)
        if value is not None and not allowed.holds(value):
            raise ConfigError(f"{prefix}{name} must {allowed.words}, got {value!r}")


def setting(name: str, value: str = "", typed: str = "") -> str:
    """Return how a setting is given in Python, and on the command line: "fps=RATE (--fps RATE)".

    Args:
        name: of the argument.
        value: that it may have; "" where the name is enough.
        typed: name of the option, where that is another.
    """
    typed = typed or name
    return f"{name}={value} (--{typed} {value})" if value else f"{name} (--{typed})"


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return " Did you mean 'NAME'?" with the name that is spelt most like one, for a message; "" where none is."""
    nearest = get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


def _presentable(text: str) -> str:
    """Return a text on one line and of bounded length: pieces of files hold line ends, orders to terminals."""
    if not text.isprintable():
        text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    if len(text) <= _LONGEST_PROBLEM:
        return text
    half = _LONGEST_PROBLEM // 2
    return f"{text[:half]} … {text[-half:]}"
