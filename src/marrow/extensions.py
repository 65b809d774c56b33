"""Parts that other packages add by entry points: readers, objectives, encoders, tasks.

A package of yours names them in its `pyproject.toml`; marrow needs no fork and no import of it:

    [project.entry-points."marrow.objectives"]
    mine = "my_package.my_module:MyObjective"
"""

from collections.abc import Collection
from importlib.metadata import entry_points
from typing import Any

from marrow.errors import ConfigError, did_you_mean


def names(group: str, own: Collection[str]) -> list[str]:
    """Return the names of all parts of a kind, those of other installed packages included.

    Args:
        group: of the entry points, for example "marrow.readers".
        own: the names that marrow itself has.
    """
    return sorted({*own, *entry_points(group=group).names})


def load(group: str, name: str, own: Collection[str]) -> Any:
    """Import what another package offers under a name.

    Args:
        group: of the entry points; its last part, in the plural, says the kind ("marrow.readers": a reader).
        name: as given by a person.
        own: the names that marrow itself has, for the message.

    Raises:
        ConfigError: nobody offers such a thing, or it cannot be imported.
    """
    kind = group.rpartition(".")[2].removesuffix("s")
    for entry_point in entry_points(group=group, name=name):
        try:
            return entry_point.load()
        except Exception as error:  # whatever another package does at import, the person needs its name
            raise ConfigError(
                f"{kind} {name!r} ({entry_point.value}) cannot be imported: {type(error).__name__}: {error}"
            ) from error
    known = names(group, own)
    raise ConfigError(f"unknown {kind} {name!r}.{did_you_mean(name, known)} Known {kind}s: {', '.join(known)}")
