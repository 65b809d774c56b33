"""Every layout that has a name: those of the readers, and those of pose estimators."""

from functools import cache

from marrow.errors import ConfigError
from marrow.skeleton.layout import SKELETONS, Skeleton


@cache
def known_layouts() -> dict[str, Skeleton]:
    """Return all layouts by name."""
    from marrow.skeleton.estimators import ESTIMATOR_LAYOUTS

    return {**SKELETONS, **ESTIMATOR_LAYOUTS}


def known_layout(name: str) -> Skeleton:
    """Return a layout by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in known_layouts():
        raise ConfigError(f"unknown layout {name!r}. Known layouts: {', '.join(sorted(known_layouts()))}")
    return known_layouts()[name]
