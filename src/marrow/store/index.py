"""What is known of the clips, written last: the index, the list of what was dropped, and the header.

Only the header makes a folder a store; as long as it is missing, the store is not finished.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from marrow.errors import DataError
from marrow.readers.base import Split
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import Record
from marrow.store.writer import Dropped, replace_durably

STORE_VERSION = 1
HEADER_FILE = "store.json"
INDEX_FILE = "index.parquet"
DROPPED_FILE = "dropped.parquet"


def finish_store(
    store: Path,
    parts: Sequence[Mapping[str, Any]],
    skeleton: Skeleton,
    *,
    source: str,
    options: Mapping[str, Any],
    classes: Sequence[str],
    splits: Mapping[str, Split],
) -> None:
    """Write the index, the list of what was dropped, and last the header that makes the folder a store.

    Raises:
        DataError: there is no clip, an id occurs twice, or the labels, attributes or splits contradict themselves.
    """
    import pyarrow as pa

    entries = [{**entry, "shard": number} for number, part in enumerate(parts) for entry in part["clips"]]
    dropped = [Dropped(**one) for part in parts for one in part["dropped"]]
    if not entries:
        reasons = sorted({one.reason for one in dropped})
        raise DataError(
            f"{store}: nothing to store. " + (f"Dropped: {'; '.join(reasons[:3])}" if reasons else "No clip.")
        )
    _check_entries(entries, classes)
    memberships = {name: [_membership(name, split, entry) for entry in entries] for name, split in splits.items()}
    table = pa.table(_index_columns(entries, memberships))
    index = _parquet(table)
    replace_durably(store / INDEX_FILE, index)
    text = pa.string()
    replace_durably(
        store / DROPPED_FILE,
        _parquet(
            pa.table(
                {name: pa.array([getattr(one, name) for one in dropped], text) for name in ("id", "path", "reason")}
            )
        ),
    )
    header = {
        "version": STORE_VERSION,
        "source": source,
        "options": dict(options),
        "skeleton": asdict(skeleton),
        "classes": list(classes),
        "splits": list(splits),
        "fingerprint": _fingerprint(source, skeleton, classes, entries, memberships),
        "clip_count": len(entries),
        "dropped_count": len(dropped),
        "index": {"bytes": len(index), "crc32": zlib.crc32(index)},
        "shards": [{"row_count": part["row_count"], "files": part["files"]} for part in parts],
    }
    replace_durably(store / HEADER_FILE, json.dumps(header, indent=1).encode())


def _check_entries(entries: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    path_of: dict[str, str] = {}
    for entry in entries:
        if entry["id"] in path_of:
            paths = f"{path_of[entry['id']] or 'one'} and {entry['path'] or 'another'}"
            raise DataError(f"two recordings have the id {entry['id']!r}: {paths}")
        path_of[entry["id"]] = entry["path"]
        labels = [entry["label"], *(segment["label"] for segment in entry["segments"])]
        if classes and not all(-1 <= label < len(classes) for label in labels):
            raise DataError(
                f"{entry['id']}: expected labels from -1 (unknown) to {len(classes) - 1} ({len(classes)} classes), "
                f"got {sorted(set(labels))}"
            )


def _membership(name: str, split: Split, entry: Mapping[str, Any]) -> str:
    record = Record(entry["id"], entry["path"], entry["label"], entry["attributes"])
    train, test = split.train(record), split.test(record)
    if train and test:
        raise DataError(f"{record.id}: the split {name!r} puts it into train and into test")
    return "train" if train else "test" if test else ""


def _index_columns(entries: Sequence[Mapping[str, Any]], memberships: Mapping[str, list[str]]) -> dict[str, Any]:
    import pyarrow as pa

    segment = pa.struct([("start_frame", pa.int64()), ("end_frame", pa.int64()), ("label", pa.int64())])
    types = {
        "id": pa.string(),
        "path": pa.string(),
        "label": pa.int64(),
        "shard": pa.int64(),
        "first_row": pa.int64(),
        "frame_count": pa.int64(),
        "body_count": pa.int64(),
        "fps": pa.float64(),
        "content": pa.string(),
        "placement": pa.list_(pa.float64(), 13),
        "segments": pa.list_(segment),
    }
    columns = {name: pa.array([entry[name] for entry in entries], kind) for name, kind in types.items()}
    # Shards that were made before there were notes have none.
    columns["notes"] = pa.array([entry.get("notes", []) for entry in entries], pa.list_(pa.string()))
    if any(entry.get("recorded") is not None for entry in entries):
        columns["recorded"] = pa.array([entry.get("recorded") for entry in entries], pa.list_(pa.int64()))
    for name in sorted({name for entry in entries for name in entry["attributes"]}):
        values = [entry["attributes"].get(name) for entry in entries]
        kinds = {type(value) for value in values} - {type(None)}
        if len(kinds) > 1:
            raise DataError(f"the attribute {name!r} must be an int everywhere or a str everywhere, got both")
        columns[f"attribute.{name}"] = pa.array(values, pa.string() if kinds == {str} else pa.int64())
    for name, members in memberships.items():
        columns[f"split.{name}"] = pa.array(members, pa.string())
    return columns


def _parquet(table: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def _fingerprint(
    source: str,
    skeleton: Skeleton,
    classes: Sequence[str],
    entries: Sequence[Mapping[str, Any]],
    memberships: Mapping[str, list[str]],
) -> str:
    """Hash what a store holds, not how it is cut into shards or where its raw files lay."""
    digest = hashlib.sha256(json.dumps([source, asdict(skeleton), list(classes), list(memberships)]).encode())
    kept = ("id", "label", "fps", "content", "placement", "segments", "attributes")
    for row, entry in enumerate(entries):
        line = [[entry[name] for name in kept], [members[row] for members in memberships.values()]]
        if entry.get("recorded") is not None:
            line.append(entry["recorded"])
        digest.update(json.dumps(line, sort_keys=True).encode())
    return digest.hexdigest()
