"""Whether the runs of a table were made alike: by one version of marrow, in one precision."""

from collections.abc import Mapping, Sequence
from typing import Any

from marrow.report.runs import Run


def mixed_origins(runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """Say where rows differ in what made them; empty where they do not.

    Args:
        runs: of each row.

    Returns:
        A sentence on versions and one on precisions, each only where there is more than one.
    """
    said = []
    for what, read in (("by different versions of marrow", _version), ("in different precisions", _precision)):
        made: dict[str, list[str]] = {}
        for name, group in runs.items():
            # A run that was stopped and went on has more than one start.
            for origin in dict.fromkeys(read(start) for run in group for start in run.environments):
                if origin is not None:
                    made.setdefault(origin, []).append(name)
        if len(made) > 1:
            listed = "; ".join(f"{origin}: {', '.join(names)}" for origin, names in made.items())
            said.append(f"The runs were made {what} ({listed}).")
    return said


def _version(start: Mapping[str, Any]) -> str | None:
    """Return version and commit, as short as people write them, and whether the checkout had changes besides."""
    if "marrow" not in start:
        return None
    commit = start.get("commit")
    if commit is None:
        return str(start["marrow"])
    number, dirty, _ = str(commit).partition("-dirty")
    return f"{start['marrow']} at {number[:8]}{dirty}"


def _precision(start: Mapping[str, Any]) -> str | None:
    """Return the number format, without the reason that follows it."""
    return str(start["precision"]).split()[0].rstrip(",") if start.get("precision") else None
