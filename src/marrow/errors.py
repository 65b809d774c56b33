"""Everything marrow raises on purpose.

MarrowError
├── DataError            something is wrong with the data
│   ├── ParseError       a raw file does not follow its format (carries path and line)
│   └── StoreError       a store is missing, cut short, or of another version
├── ConfigError          a setting is unknown or does not fit the others
└── CheckpointError      a checkpoint or an exported encoder cannot be used

A message says what was expected, what came, where, and how to mend it. The command line prints it without a traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class MarrowError(Exception):
    """Base of all errors that a user can mend."""


class DataError(MarrowError):
    """Data that cannot be used as asked."""


class ParseError(DataError):
    """A raw file that does not follow its format.

    Args:
        path: the file.
        line: 1-based line number; 0 when the fault lies in no line (the file's name, or that it cannot be read).
        problem: what was expected and what came.
    """

    def __init__(self, path: str | Path, line: int, problem: str) -> None:
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


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return " Did you mean 'NAME'?" with the name that is spelt most like one, for a message; "" where none is."""
    nearest = get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""
