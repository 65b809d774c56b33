"""The verbs of the command line that need a word more in Python."""

from pathlib import Path

from marrow.readers import get_reader
from marrow.readers.base import Reader
from marrow.store import convert
from marrow.store.format import Store


def prepare(reader: str | Reader, root: str | Path, out: str | Path, *, jobs: int = 1) -> Store:
    """Turn the raw recordings below a folder into a store, and open it.

    What was finished by an earlier, interrupted call is kept.

    Args:
        reader: of the source, or its name with its standard settings.
        root: folder of the raw recordings.
        out: folder of the store.
        jobs: number of processes.

    Raises:
        ParseError: a file is malformed.
        StoreError: `out` holds something else, or cannot be written.
        DataError: there is nothing to store.
    """
    convert.prepare(get_reader(reader) if isinstance(reader, str) else reader, root, out, jobs=jobs)
    return Store.open(out)
