"""What a store is made of, written before it is made: the same command goes on, another one is refused."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from marrow.errors import DataError, StoreError, setting
from marrow.readers.base import FromFiles, Reader
from marrow.skeleton.sequence import Record
from marrow.store.writer import (
    HEADER_FILE,
    PLAN_FILE,
    SHARDS_FOLDER,
    STORE_VERSION,
    UNFINISHED,
    check_ids,
    replace_durably,
)

# Shards are the unit of work and of what a kill can cost: enough of them to share out, none too small or too large.
_SHARDS_AIMED_AT = 32
_SHARD_CLIPS_MIN = 16
_SHARD_CLIPS_MAX = 512


@dataclass(frozen=True)
class Plan:
    """What decides a store's content, and how it is cut."""

    version: int
    source: str
    options: dict[str, Any]
    recordings: int
    recordings_hash: str
    shard_clips: int

    @property
    def hash(self) -> str:
        """What shards carry to say which plan they are of."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def shard_count(self) -> int:
        """How many shards there are."""
        return -(-self.recordings // self.shard_clips)

    def slice_of(self, shard: int) -> slice:
        """Return which of the recordings make up a shard."""
        return slice(shard * self.shard_clips, (shard + 1) * self.shard_clips)


def reader_options(reader: Reader) -> dict[str, Any]:
    """Return a reader's settings as JSON values: the fields that its constructor takes."""
    if not is_dataclass(reader):
        return {}
    values = {field.name: getattr(reader, field.name) for field in fields(reader) if field.init}
    return json.loads(json.dumps(values, default=str))


def make_plan(reader: Reader, records: Sequence[Record], root: Path, shard_clips: int | None) -> Plan:
    """Return the plan of a store.

    Args:
        reader: that knows its skeleton.
        records: all recordings, in order.
        root: their folder, for messages.
        shard_clips: recordings per shard; chosen from their number if None.

    Raises:
        DataError: there is none, or two have one id.
    """
    if not records:
        raise DataError(f"{root}: the reader {reader.name!r} found no recording there")
    check_ids((record.id, record.path) for record in records)
    digest = hashlib.sha256()
    if isinstance(reader, FromFiles):  # the same options may mean another skeleton by now
        digest.update(json.dumps([reader.skeleton.description(), reader.classes]).encode())
    for record in records:
        line = [record.id, record.path, record.label, dict(record.attributes)]
        digest.update(json.dumps(line, sort_keys=True, default=str).encode())
    if shard_clips is None:
        shard_clips = min(max(-(-len(records) // _SHARDS_AIMED_AT), _SHARD_CLIPS_MIN), _SHARD_CLIPS_MAX)
    return Plan(STORE_VERSION, reader.name, reader_options(reader), len(records), digest.hexdigest(), shard_clips)


def begin(out: Path, plan: Plan) -> None:
    """Write the plan, or find that the folder already follows it."""
    file = out / PLAN_FILE
    if file.exists():
        _check_plan(out, file, plan)
        for unfinished in (out / SHARDS_FOLDER).glob(f"{UNFINISHED}*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        return
    if (out / HEADER_FILE).exists():
        raise StoreError(
            f"{out} already holds a store that was not made by this command. Choose another "
            f"{setting('out')}, or {setting('overwrite')}"
        )
    if out.exists() and (not out.is_dir() or any(not path.name.startswith(UNFINISHED) for path in out.iterdir())):
        raise StoreError(f"{out} already holds something that is not a store. Choose another {setting('out')}")
    (out / SHARDS_FOLDER).mkdir(parents=True, exist_ok=True)
    replace_durably(file, json.dumps(asdict(plan), indent=1).encode())


def _check_plan(out: Path, file: Path, plan: Plan) -> None:
    try:
        begun = json.loads(file.read_bytes())
        differences = [name for name, value in asdict(plan).items() if begun[name] != value]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{file} is damaged ({type(error).__name__}: {error}). Use {setting('overwrite')} to begin anew"
        ) from error
    if not differences:
        return
    changes = []
    for name in differences:
        old, new = begun[name], asdict(plan)[name]
        if name == "options":
            changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
            changes += [f"--options.{key} {old.get(key)} → {new.get(key)}" for key in changed]
        elif name != "recordings_hash":
            changes.append(f"{name} {old} → {new}")
        elif "recordings" not in differences:
            changes.append("other recordings")
    raise StoreError(
        f"{out} was begun with other settings or files ({', '.join(changes)}). "
        f"Choose another {setting('out')}, or {setting('overwrite')} to begin anew"
    )
