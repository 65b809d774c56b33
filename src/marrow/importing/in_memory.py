"""Recordings of any known format, read into memory."""

from pathlib import Path
from typing import Any

from marrow.files import check_exists
from marrow.importing.importer import Recordings
from marrow.readers.base import SkipRecording
from marrow.skeleton.sequence import SkeletonSequence


def read(path: str | Path, **options: Any) -> list[SkeletonSequence]:
    """Read the recordings of a file or a folder, of any known format, into memory.

    Args:
        path: a file, or a folder of files of one format.
        options: of `Recordings`, where the files do not say it: fps, unit_metres, up, layout, ...

    Returns:
        the recordings in the order of their paths; their labels are indices of `Recordings.classes`. Recordings in
        which nobody is seen are left out.

    Raises:
        DataError: there is nothing to read, or it is of no known format.
        ParseError: a file does not follow its format.
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
    return sequences
