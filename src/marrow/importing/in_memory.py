"""Recordings of any known format, read into memory."""

import logging
from pathlib import Path
from typing import Any, Literal

from marrow.errors import DataError
from marrow.files import check_exists
from marrow.importing.importer import Recordings
from marrow.readers.base import SkipRecording
from marrow.skeleton.sequence import SkeletonSequence

_log = logging.getLogger(__name__)


def read(path: str | Path, *, on_error: Literal["stop", "drop"] = "stop", **options: Any) -> list[SkeletonSequence]:
    """Read the recordings of a file or a folder, of any known format, into memory.

    Args:
        path: a file, or a folder of files of one format.
        on_error: at a recording that cannot be read, stop; or leave it out, and log why.
        options: of `Recordings`, where the files do not say it: fps, unit_metres, up, layout, ...

    Returns:
        the recordings in the order of their paths; their labels are indices of `Recordings.classes`. Recordings in
        which nobody is seen are left out.

    Raises:
        DataError: there is nothing to read, or it is of no known format.
        ParseError: a file does not follow its format, or has another layout than most, and `on_error` is "stop".
    """
    path = Path(path)
    check_exists(path, "a file or a folder of recordings")
    root, paths = (path, None) if path.is_dir() else (path.parent, [path.name])
    reader = Recordings(paths=paths, **options).for_root(root)
    sequences = []
    for record in reader.records(root):
        try:
            sequences.append(reader.read(root, record))
        except SkipRecording:
            continue
        except DataError as error:
            if on_error == "stop":
                raise
            _log.warning("! left out: %s", error)
    return sequences
