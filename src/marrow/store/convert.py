"""From raw recordings to a store: in parallel, and to go on with after an interruption of any kind.

A plan is written first: what is read, with which options, and which recordings make up which shard. Shards are then
made in any order by any number of processes; each is whole or absent. The header comes last. So the result depends on
the plan alone, and running the same command again makes only what is missing.
"""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from marrow.errors import ConfigError, DataError, MarrowError, ParseError, StoreError, setting
from marrow.readers import get_reader
from marrow.readers.base import NamesFiles, Reader, SkipRecording, declared_folds, reader_for
from marrow.skeleton.sequence import Record, SkeletonSequence
from marrow.store.format import Store
from marrow.store.plan import Plan, begin, make_plan
from marrow.store.writer import (
    DROPPED_FILE,
    HEADER_FILE,
    INDEX_FILE,
    PART_FILE,
    PLAN_FILE,
    SHARDS_FOLDER,
    Dropped,
    clear_disk_errors,
    finish_store,
    read_part,
    shard_folder,
    write_shard,
)

OnError = Literal["stop", "drop"]
# What a person can mend, or None: how the making of a shard ends.
_Outcome = MarrowError | OSError | None


@dataclass(frozen=True)
class PrepareSummary:
    """What a preparation did.

    Args:
        store: the store's folder.
        clips: clips in the store.
        dropped: recordings that are not in it, with the reason.
        notes: what the reader had to mend or to leave out, by kind, and how often.
        shards: shards in the store.
        kept_shards: those that an earlier run had finished.
        seconds: wall time of this run.
        stored_bytes: size of the store.
        padded_bytes: size of the same clips as float32 arrays of 300 frames and 2 bodies.
        fingerprint: hash of all that the store holds.
    """

    store: Path
    clips: int
    dropped: tuple[Dropped, ...]
    notes: dict[str, int]
    shards: int
    kept_shards: int
    seconds: float
    stored_bytes: int
    padded_bytes: int
    fingerprint: str


def prepare(reader: str | Reader, root: str | Path, out: str | Path, *, jobs: int = 1) -> Store:
    """Turn the raw recordings below a folder into a store, and open it.

    What was finished by an earlier, interrupted call is kept, but for what was made of files that changed since.

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
    convert_recordings(get_reader(reader) if isinstance(reader, str) else reader, root, out, jobs=jobs)
    return Store.open(out)


def convert_recordings(
    reader: Reader,
    root: str | Path,
    out: str | Path,
    *,
    jobs: int = 1,
    shard_clips: int | None = None,
    on_error: OnError = "stop",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PrepareSummary:
    """Do what `prepare` does with more settings, and return what was kept and dropped in place of the store.

    The result is the same to the last bit for any number of jobs and after any interruption. Where `out` holds an
    unfinished store of the same plan, its finished shards are kept, but for those with a file that was written since.

    Args:
        reader: of the source.
        root: folder of the raw recordings.
        out: folder of the store.
        jobs: number of processes.
        shard_clips: recordings per shard; chosen from their number if None.
        on_error: what to do with a malformed file: stop there, or leave it out and list it with its error.
        overwrite: remove a store that is already there.
        progress: is called with the number of recordings that are done and of all, whenever a shard is finished.

    Raises:
        ParseError: a file is malformed, and `on_error` is "stop".
        StoreError: `out` holds something else, or cannot be written.
        DataError: there is nothing to store.
    """
    started = time.perf_counter()
    root, out = Path(root), Path(out)
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1, got {jobs}")
    if shard_clips is not None and shard_clips < 1:
        raise ConfigError(f"shard_clips must be at least 1, got {shard_clips}")
    reader = reader_for(reader, root)
    records = list(reader.records(root))
    fault = next((record.fault for record in records if isinstance(record.fault, ParseError)), None)
    if fault is not None and on_error == "stop":
        mend = f"Mend the file, or leave it out with {setting('on_error', 'drop')}"
        raise ParseError(fault.path, fault.line, f"{fault.problem}. {mend}")
    plan = make_plan(reader, records, root, shard_clips)
    with clear_disk_errors(out):
        if overwrite:
            _remove(out)
        begin(out, plan)
        shards = range(plan.shard_count)
        missing = [shard for shard in shards if read_part(shard_folder(out, shard), plan.hash) is None]
        stale = [
            shard
            for shard in shards
            if shard not in missing and _is_older(out, shard, reader, root, records[plan.slice_of(shard)])
        ]
        missing = sorted([*missing, *stale])
        if missing:
            # A store with a hole is no store, even if it was one before.
            (out / HEADER_FILE).unlink(missing_ok=True)
            for shard in stale:
                shutil.rmtree(shard_folder(out, shard))
            make = partial(_make_shard, reader, root, out, plan.hash, on_error)
            _make_shards(make, records, plan, missing, jobs, progress)
        store = None if missing else _opened(out)
        if store is None:
            parts = [read_part(shard_folder(out, shard), plan.hash) for shard in range(plan.shard_count)]
            if None in parts:
                raise StoreError(
                    f"{out}: shard {parts.index(None)} vanished while preparing. Run the same command again"
                )
            finish_store(
                out,
                [part for part in parts if part is not None],
                reader.skeleton,
                source=reader.name,
                options=plan.options,
                classes=reader.classes,
                splits=reader.splits,
                folds=declared_folds(reader),
            )
            store = Store.open(out)
    return PrepareSummary(
        store=out,
        clips=len(store),
        dropped=store.dropped,
        notes=store.notes,
        shards=plan.shard_count,
        kept_shards=plan.shard_count - len(missing),
        seconds=time.perf_counter() - started,
        stored_bytes=store.byte_count,
        padded_bytes=len(store) * 300 * 2 * len(store.skeleton.joints) * 3 * 4,
        fingerprint=store.fingerprint,
    )


def _is_older(out: Path, shard: int, reader: Reader, root: Path, records: Sequence[Record]) -> bool:
    """Tell whether a file was written after the finished shard that was made of it."""
    finished = (shard_folder(out, shard) / PART_FILE).stat().st_mtime_ns
    files = {file for record in records for file in _files_of(reader, root, record)}
    return any(file.is_file() and file.stat().st_mtime_ns > finished for file in files)


def _files_of(reader: Reader, root: Path, record: Record) -> tuple[Path, ...]:
    """Return the files of a recording, as far as its reader or its path tells."""
    if isinstance(reader, NamesFiles):
        return reader.files_of(root, record)
    return (root / record.path,) if record.path else ()


def _remove(out: Path) -> None:
    """Remove a store, and nothing else; the plan last, so that what is left after a kill is still known as a store."""
    if not (out / PLAN_FILE).exists() and not (out / HEADER_FILE).exists():
        return
    (out / HEADER_FILE).unlink(missing_ok=True)
    shutil.rmtree(out / SHARDS_FOLDER, ignore_errors=True)
    for name in (INDEX_FILE, DROPPED_FILE, PLAN_FILE):
        (out / name).unlink(missing_ok=True)


def _opened(out: Path) -> Store | None:
    try:
        store = Store.open(out)
        _ = store.dropped  # a file of its own, which opening does not read
        return store
    except StoreError:
        return None


def _make_shards(
    make: Callable[[int, Sequence[Record]], _Outcome],
    records: Sequence[Record],
    plan: Plan,
    shards: Sequence[int],
    jobs: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Make shards; on the first failure, finish those that are in work and raise it."""
    failure: _Outcome = None
    done = len(records) - sum(len(records[plan.slice_of(shard)]) for shard in shards)

    def tasks() -> Iterator[tuple[int, Sequence[Record]]]:
        for shard in shards:
            if failure is not None:
                return
            yield shard, records[plan.slice_of(shard)]

    if progress is not None:
        progress(done, len(records))
    for shard, outcome in zip(shards, _outcomes(make, tasks(), min(jobs, len(shards))), strict=False):
        if outcome is not None:
            failure = failure or outcome
            continue
        done += len(records[plan.slice_of(shard)])
        if progress is not None:
            progress(done, len(records))
    if isinstance(failure, ParseError):
        leave = f"leave it out with {setting('on_error', 'drop')}"
        mend = f"Mend the file, or {leave}, and run again: finished shards are kept"
        raise ParseError(failure.path, failure.line, f"{failure.problem}. {mend}")
    if failure is not None:
        raise failure


def _outcomes(
    make: Callable[[int, Sequence[Record]], _Outcome], tasks: Iterator[tuple[int, Sequence[Record]]], jobs: int
) -> Iterator[_Outcome]:
    """Make a shard of each task, in this process or in others; yield the outcomes in order."""
    if jobs == 1:
        for task in tasks:
            yield make(*task)
        return
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=jobs, return_as="generator", pre_dispatch="2*n_jobs")
    with _interrupts_for_this_process_only():
        outcomes: Any = parallel(delayed(make)(*task) for task in tasks)
    try:
        yield from outcomes
    finally:
        outcomes.close()


@contextmanager
def _interrupts_for_this_process_only() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C, which a terminal sends to all: this process ends them itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _make_shard(
    reader: Reader, root: Path, out: Path, plan: str, on_error: OnError, shard: int, records: Sequence[Record]
) -> _Outcome:
    """Make one shard; return what a user can mend, raise anything else."""
    try:
        write_shard(out, shard, _read(reader, root, records, on_error), reader.skeleton, plan)
    except (MarrowError, OSError) as error:
        return error
    return None


def _read(
    reader: Reader, root: Path, records: Sequence[Record], on_error: OnError
) -> Iterator[SkeletonSequence | Dropped]:
    for record in records:
        try:
            if record.fault is not None:
                raise record.fault
            yield reader.read(root, record)
        except SkipRecording as skipped:
            yield Dropped(record.id, record.path, str(skipped))
        except DataError as error:
            if on_error == "stop":
                raise
            yield Dropped(record.id, record.path, str(error))


def default_jobs() -> int:
    """Return how many processes this one may keep busy."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
