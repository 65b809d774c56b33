"""The header and the index of a store, read so that what is wrong with them is said."""

import json
from pathlib import Path
from typing import Any

from marrow.errors import StoreError
from marrow.files import did_you_mean_path
from marrow.store.writer import (
    HEADER_FILE,
    PLAN_FILE,
    STORE_VERSION,
)

_STORES_SHOWN = 12
# How a damaged store is mended.
AGAIN = "Run the `marrow prepare` that made it again: it keeps what is whole and makes the rest"


def read_header(path: Path) -> dict[str, Any]:
    """Return what makes a folder a store.

    Raises:
        StoreError: it is none, unfinished, damaged, or of another version.
    """
    if path.exists() and not path.is_dir():
        raise StoreError(
            f"{path} is a file, not a store: a store is a folder made by `marrow prepare` or `marrow import`"
        )
    if not path.is_dir():
        near = did_you_mean_path(path)
        mend = (
            f". Make a store with `marrow prepare READER ROOT --out {path}`, or from recordings of your own with "
            f"`marrow import PATH --out {path}`"
        )
        raise StoreError(f"{path}: there is no such folder{near or mend}")
    file = path / HEADER_FILE
    if not file.exists():
        if (path / PLAN_FILE).exists():
            raise StoreError(
                f"{path} is not finished. Run the `marrow prepare` that began it again: it goes on from there"
            )
        below = _stores_below(path)
        if below:
            raise StoreError(f"{path} is not a store, but there are stores below it: {', '.join(below)}. Name one")
        raise StoreError(f"{path} is not a store: it has no {HEADER_FILE}. `marrow import` makes a store of recordings")
    try:
        header = json.loads(file.read_bytes())
        version = header["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{file} is damaged ({type(error).__name__}: {error}). {AGAIN}") from error
    if version != STORE_VERSION:
        raise StoreError(
            f"{path} is of store version {version}; this marrow reads version {STORE_VERSION}. "
            f"Prepare it again, or use the marrow that made it"
        )
    return header


def _stores_below(folder: Path) -> list[str]:
    """Return the stores in a folder, and in the folders in it; at most a dozen."""
    try:
        found = {file.parent for pattern in ("*", "*/*") for file in folder.glob(f"{pattern}/{HEADER_FILE}")}
    except OSError:
        return []
    shown = [str(store) for store in sorted(found)]
    return [*shown[:_STORES_SHOWN], "..."] if len(shown) > _STORES_SHOWN else shown


def check_size(store: Path, file: Path, expected_bytes: int) -> None:
    """Raise a StoreError where a file of a store is missing, or has another size than it was written with."""
    if not file.exists():
        raise StoreError(f"{store}: {file.relative_to(store)} is missing. {AGAIN}")
    if file.stat().st_size != expected_bytes:
        raise StoreError(
            f"{store}: {file.relative_to(store)} is cut or changed: expected {expected_bytes} bytes, "
            f"got {file.stat().st_size}. {AGAIN}"
        )


def read_parquet(store: Path, file: Path) -> Any:
    """Return a table of a store, or raise a StoreError that says why it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise StoreError(f"{store}: {file.name} cannot be read ({reason}). {AGAIN}") from error
