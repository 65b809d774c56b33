"""Write sequences that are already in memory, or made one after the other, as a store."""

import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from marrow.errors import DataError, StoreError
from marrow.readers.base import Split
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import SkeletonSequence, as_sequences
from marrow.store.format import Store
from marrow.store.writer import UNFINISHED, clear_disk_errors, finish_store, read_part, shard_folder, write_shard

_log = logging.getLogger(__name__)
_SHARD_CLIPS = 512


def write_store(
    path: str | Path,
    sequences: Iterable[SkeletonSequence],
    *,
    source: str,
    classes: Sequence[str] = (),
    splits: Mapping[str, Split] | None = None,
    folds: Mapping[str, str] | None = None,
) -> Store:
    """Write sequences that are made or read in this process.

    Args:
        path: the new store's folder; it must not exist, or be empty.
        sequences: of one skeleton, with unique ids. One without any joint present is dropped, and listed as such.
        source: what to call where they come from.
        classes: class names in the order of the labels.
        splits: protocols by name.
        folds: protocols of folds by name, for example {"loso": "leave-one-out:subject"}.

    Raises:
        StoreError: the folder is in use, or the disk is full.
        DataError: the sequences contradict each other.
    """
    path = Path(path)
    if isinstance(sequences, SkeletonSequence):
        as_sequences(sequences)  # says that one alone is no list
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise StoreError(f"{path} is already there. Choose another folder, or remove it first")
    unfinished = path.with_name(f"{UNFINISHED}{path.name}")
    with clear_disk_errors(path):
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir(parents=True)
            parts, skeleton = _write_shards(unfinished, sequences)
            finish_store(
                unfinished,
                parts,
                skeleton,
                source=source,
                options={},
                classes=classes,
                splits=splits or {},
                folds=folds,
            )
            if path.exists():
                path.rmdir()
            unfinished.rename(path)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    store = Store.open(path)
    for recording in store.dropped:
        _log.warning("%s is not in %s: %s", recording.id, path, recording.reason)
    return store


def _write_shards(folder: Path, sequences: Iterable[SkeletonSequence]) -> tuple[list[dict[str, Any]], Skeleton]:
    """Write all sequences; return what the shards say of themselves, and the skeleton."""
    remaining = iter(sequences)
    parts: list[dict[str, Any]] = []
    skeleton: Skeleton | None = None
    while batch := list(islice(remaining, _SHARD_CLIPS)):
        skeleton = skeleton or batch[0].skeleton
        write_shard(folder, len(parts), batch, skeleton, plan="")
        part = read_part(shard_folder(folder, len(parts)), plan="")
        assert part is not None
        parts.append(part)
    if skeleton is None:
        raise DataError("there is no sequence to store")
    return parts, skeleton
