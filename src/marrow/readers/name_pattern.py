"""Labels and attributes in the names of files: a regular expression with named groups."""

import re
from difflib import get_close_matches

from marrow.errors import ConfigError


def check_pattern(pattern: str | None) -> None:
    """Check a pattern before any file is looked at.

    Raises:
        ConfigError: it is no regular expression, or a group is called nearly "label" and none is.
    """
    try:
        groups = list(re.compile(pattern or "").groupindex)
    except re.error as error:
        raise ConfigError(f"the pattern {pattern!r} is no regular expression: {error}") from error
    if "label" in groups:
        return
    lowered = {group.casefold(): group for group in groups}
    near = get_close_matches("label", lowered, n=1, cutoff=0.75) or [group for group in lowered if group == "class"]
    if near:
        raise ConfigError(
            f"the pattern {pattern!r} has a group {lowered[near[0]]!r} and none called 'label', which would be the "
            f"class. Did you mean (?P<label>...)? An attribute needs a name that is not so near"
        )


def find_groups(pattern: str | None, path: str) -> dict[str, str] | None:
    """Return what the groups of a pattern are in a path; None where it does not fit.

    Args:
        pattern: None fits everything and has no groups.
        path: of a file below its root, without the extension.
    """
    match = re.search(pattern or "", path)
    return None if match is None else {name: text for name, text in match.groupdict().items() if text is not None}
