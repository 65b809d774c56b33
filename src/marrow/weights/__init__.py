"""Encoders that come with marrow: trained on what may be given away, each in a folder with a card."""

from pathlib import Path

SHIPPED = ("general",)


def shipped_folder(name: Path | str) -> Path | None:
    """Return the folder of an encoder that comes with marrow, by its name; None where a folder of that name is meant.

    Whatever lies at the place that the name says wins.
    """
    if str(name) not in SHIPPED or Path(name).exists():
        return None
    return Path(__file__).parent / str(name)
