"""Leave out clips that stand on both sides of a protocol, under a name that says so."""

from dataclasses import replace

import numpy as np

from marrow.errors import ConfigError
from marrow.store.copies import Copies, copied_rows
from marrow.tasks.base import TaskData

__all__ = ["Copies", "copied_rows", "without_duplicates"]


def without_duplicates(data: TaskData, half: str = "test", *, near: bool | None = None) -> TaskData:
    """Return a protocol without the clips of one half that are copies of a clip of the other.

    Its name says what was left out ("xview, without 95 test copies"), so that its scores are never ranked with those of
    the whole protocol. Without copies, the protocol is returned as it is.

    Args:
        data: the whole protocol.
        half: "test": fewer clips are scored, by heads that learned from all training clips. "train": all test clips are
            scored, by heads that learned from fewer. What an encoder was pre-trained on is not changed by either.
        near: whether near copies are looked for and left out too; None: where it takes seconds.

    Raises:
        ConfigError: the half is neither.
        DataError: every clip of that half is a copy.
    """
    if half not in ("train", "test"):
        raise ConfigError(f"half must be 'train' or 'test', got {half!r}: leave copies out of one of them")
    sides = (data.test_rows, data.train_rows) if half == "train" else (data.train_rows, data.test_rows)
    copies = copied_rows(data.store, *sides, near=near)
    if not len(copies.rows):
        return data
    count = f"{len(copies.identical)}"
    if copies.near:
        count += f" identical and {len(copies.near)} near"
    protocol = f"{data.protocol}, without {count} {half} cop{'y' if len(copies.rows) == 1 else 'ies'}"
    kept = sides[1][~np.isin(sides[1], copies.rows)]
    return (
        replace(data, protocol=protocol, train_rows=kept)
        if half == "train"
        else replace(data, protocol=protocol, test_rows=kept)
    )
