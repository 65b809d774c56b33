"""Where commands print: as wide as the terminal, or unfolded for a file and for other programs."""

import sys

from rich.console import Console

_WIDTH_OF_FILES = 200


def output() -> Console:
    """Return standard output; text that leads to a file is folded at 200 columns, not at the 80 that rich assumes."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
