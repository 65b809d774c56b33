"""How a store comes onto the disk: shard by shard, each whole or not at all, and last the header.

A shard is made in a folder of its own beside the others, forced to the disk, and renamed. A reader, or a preparation
that goes on after a kill, therefore finds either the whole shard or none. Then come the index of the clips and the list
of what was dropped. Only the header makes a folder a store; as long as it is missing, the store is not finished.
"""

import errno
import gzip
import hashlib
import io
import json
import os
import shutil
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from marrow.errors import ConfigError, DataError, StoreError
from marrow.files import sync_folder
from marrow.readers.base import Split
from marrow.readers.folds import check_declared_folds
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.places import full_description
from marrow.skeleton.sequence import Record, SkeletonSequence

STORE_VERSION = 1
HEADER_FILE = "store.json"
PLAN_FILE = "plan.json"
INDEX_FILE = "index.parquet"
DROPPED_FILE = "dropped.parquet"
SHARDS_FOLDER = "shards"
JOINTS_FILE = "joints.npy"
PRESENT_FILE = "present.npy"
PART_FILE = "part.json.gz"
# Folders of shards in the making start with this; they are never read.
UNFINISHED = "unfinished-"


@dataclass(frozen=True)
class Dropped:
    """A recording that is not in the store, and why."""

    id: str
    path: str
    reason: str


def shard_folder(store: Path, number: int) -> Path:
    """Return where a shard lies."""
    return store / SHARDS_FOLDER / f"{number:05d}"


def write_shard(
    store: Path, number: int, clips: Iterable[SkeletonSequence | Dropped], skeleton: Skeleton, plan: str
) -> None:
    """Write one shard, whole or not at all.

    Args:
        store: the store's folder.
        number: the shard's number.
        clips: its sequences in order, and what was dropped between them.
        skeleton: the layout that all sequences must have.
        plan: hash of the plan that the shard belongs to; a shard of another plan is replaced.

    Raises:
        DataError: a sequence has another layout.
    """
    entries: list[dict[str, Any]] = []
    dropped: list[Dropped] = []
    joints_of: list[Float32[np.ndarray, "row joint 3"]] = []
    packed_of: list[UInt8[np.ndarray, "row byte"]] = []
    joint_count = len(skeleton.joints)
    row_count = 0
    for clip in clips:
        if isinstance(clip, Dropped):
            dropped.append(clip)
            continue
        if clip.skeleton != skeleton:
            differs = skeleton.name == clip.skeleton.name
            wanted, got = (
                f"{layout.name!r}{f' in {layout.dimensions} dimensions' if differs else ''}"
                for layout in (skeleton, clip.skeleton)
            )
            raise DataError(f"{clip.record.id}: expected the skeleton {wanted}, got {got}")
        bodies = clip.present.any(axis=(1, 2))
        if not bodies.any():
            dropped.append(Dropped(clip.record.id, clip.record.path, "no joint of any body is present in any frame"))
            continue
        present = clip.present[bodies]
        # Zero where absent, whatever the reader left there, so that equal sequences have equal bytes.
        joints = np.where(present[..., None], clip.joints[bodies], np.float32(0))
        packed = np.packbits(present, axis=-1)
        entries.append(_entry(clip, row_count, joints.shape[0], content_hash(joints, packed)))
        joints_of.append(joints.reshape(-1, joint_count, 3))
        packed_of.append(packed.reshape(-1, packed.shape[-1]))
        row_count += len(joints_of[-1])

    joints_of.append(np.empty((0, joint_count, 3), np.float32))
    packed_of.append(np.empty((0, (joint_count + 7) // 8), np.uint8))
    target = shard_folder(store, number)
    folder = target.with_name(f"{UNFINISHED}{target.name}-{uuid.uuid4().hex[:8]}")
    folder.mkdir(parents=True)
    try:
        files = {
            JOINTS_FILE: _write_array(folder / JOINTS_FILE, np.concatenate(joints_of)),
            PRESENT_FILE: _write_array(folder / PRESENT_FILE, np.concatenate(packed_of)),
        }
        part = {
            "plan": plan,
            "row_count": row_count,
            "files": files,
            "clips": entries,
            "dropped": [asdict(recording) for recording in dropped],
        }
        write_durably(folder / PART_FILE, gzip.compress(json.dumps(part).encode(), mtime=0))
        sync_folder(folder)
        _put_in_place(folder, target, plan)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _entry(clip: SkeletonSequence, first_row: int, body_count: int, content: str) -> dict[str, Any]:
    """Return what the index says of a clip, as plain values."""
    placement = clip.placement
    return {
        "id": clip.record.id,
        "path": clip.record.path,
        "label": int(clip.record.label),
        "first_row": first_row,
        "frame_count": clip.frame_count,
        "body_count": body_count,
        "fps": float(clip.fps),
        "content": content,
        "placement": [*placement.rotation.ravel().tolist(), *placement.translation.tolist(), float(placement.scale)],
        "segments": [asdict(segment) for segment in clip.segments],
        "notes": list(clip.notes),
        "recorded": None if clip.recorded is None else clip.recorded.tolist(),
        "attributes": {name: _plain(clip.record, name, value) for name, value in clip.record.attributes.items()},
    }


def content_hash(
    joints: Float32[np.ndarray, "body frame joint 3"], packed: UInt8[np.ndarray, "body frame byte"]
) -> str:
    """Return a hash that two sequences share only when they are identical to the last bit, shape included."""
    digest = hashlib.blake2b(repr(joints.shape).encode(), digest_size=16)
    digest.update(joints.tobytes())
    digest.update(packed.tobytes())
    return digest.hexdigest()


def _plain(record: Record, name: str, value: Any) -> int | str:
    """Return an attribute as a Python int or str."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int | np.integer):
        return int(value)
    raise DataError(f"{record.id}: the attribute {name!r} must be an int or a str, got {value!r}")


def _write_array(path: Path, array: np.ndarray) -> dict[str, int]:
    """Write an array durably; return its file's size and check sum.

    Not `np.save`: where the disk is full that raises an OSError without a reason in it.
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    data = array.tobytes()
    write_durably(path, header.getvalue(), data)
    return {"bytes": path.stat().st_size, "crc32": zlib.crc32(data, zlib.crc32(header.getvalue()))}


def write_durably(path: Path, *pieces: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def replace_durably(path: Path, data: bytes) -> None:
    """Put a file in place, whole or not at all."""
    unfinished = path.with_name(f"{UNFINISHED}{path.name}")
    write_durably(unfinished, data)
    unfinished.replace(path)
    sync_folder(path.parent)


def _put_in_place(folder: Path, target: Path, plan: str) -> None:
    """Rename a finished shard. A whole shard of the same plan that is already there is the same to the last bit."""
    if read_part(target, plan) is not None:
        shutil.rmtree(folder)
        return
    if target.exists():
        shutil.rmtree(target)
    folder.rename(target)
    sync_folder(target.parent)


def file_crc32(path: Path) -> int:
    """Return the check sum of a file, read in pieces.

    Raises:
        OSError: it cannot be read.
    """
    check_sum = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            check_sum = zlib.crc32(piece, check_sum)
    return check_sum


def read_part(folder: Path, plan: str) -> dict[str, Any] | None:
    """Return what a finished shard says of itself, or None where it is missing, damaged, or of another plan."""
    try:
        part = json.loads(gzip.decompress((folder / PART_FILE).read_bytes()))
        sizes_fit = all((folder / name).stat().st_size == file["bytes"] for name, file in part["files"].items())
        if not sizes_fit or part["plan"] != plan:
            return None
        whole = all(file_crc32(folder / name) == file["crc32"] for name, file in part["files"].items())
        return part if whole else None
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
        return None


@contextmanager
def clear_disk_errors(store: Path) -> Iterator[None]:
    """Turn what a disk has to say into a StoreError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            problem = "the disk is full. Free some space"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            problem = f"may not write ({error.strerror}: {error.filename}). Choose another folder"
        else:
            problem = f"cannot write ({error.strerror or error}: {error.filename}). See to the folder"
        raise StoreError(f"{store}: {problem} and run the same command again: finished shards are kept") from error


def finish_store(
    store: Path,
    parts: Sequence[Mapping[str, Any]],
    skeleton: Skeleton,
    *,
    source: str,
    options: Mapping[str, Any],
    classes: Sequence[str],
    splits: Mapping[str, Split],
    folds: Mapping[str, str] | None = None,
) -> None:
    """Write the index, the list of what was dropped, and last the header that makes the folder a store.

    Raises:
        DataError: there is no clip, an id occurs twice, or the labels, attributes, splits or folds contradict
            themselves.
    """
    import pyarrow as pa

    entries = [{**entry, "shard": number} for number, part in enumerate(parts) for entry in part["clips"]]
    dropped = [Dropped(**recording) for part in parts for recording in part["dropped"]]
    if not entries:
        reasons = sorted({recording.reason for recording in dropped})
        raise DataError(
            f"{store}: nothing to store. " + (f"Dropped: {'; '.join(reasons[:3])}" if reasons else "No clip.")
        )
    _check_entries(entries, classes)
    try:
        check_declared_folds(folds or {}, splits, {name for entry in entries for name in entry["attributes"]})
    except ConfigError as error:
        raise DataError(f"{store}: {error}") from error
    memberships = {name: [_membership(name, split, entry) for entry in entries] for name, split in splits.items()}
    index = _parquet(_index_columns(entries, memberships))
    replace_durably(store / INDEX_FILE, index)
    texts = {
        name: pa.array([getattr(recording, name) for recording in dropped], pa.string())
        for name in ("id", "path", "reason")
    }
    replace_durably(store / DROPPED_FILE, _parquet(texts))
    header = {
        "version": STORE_VERSION,
        "source": source,
        "options": dict(options),
        "skeleton": full_description(skeleton),
        "classes": list(classes),
        "splits": list(splits),
        **({"folds": dict(folds)} if folds else {}),
        "fingerprint": _fingerprint(source, skeleton, classes, entries, memberships),
        "clip_count": len(entries),
        "dropped_count": len(dropped),
        "index": {"bytes": len(index), "crc32": zlib.crc32(index)},
        "shards": [{"row_count": part["row_count"], "files": part["files"]} for part in parts],
    }
    replace_durably(store / HEADER_FILE, json.dumps(header, indent=1).encode())


def check_ids(recordings: Iterable[tuple[str, str]]) -> None:
    """Raise a DataError where two recordings, given by id and path, have one id."""
    path_of: dict[str, str] = {}
    for name, path in recordings:
        if name in path_of:
            raise DataError(f"two recordings have the id {name!r}: {path_of[name] or 'one'} and {path or 'another'}")
        path_of[name] = path


def _check_entries(entries: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    check_ids((entry["id"], entry["path"]) for entry in entries)
    for entry in entries:
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


def _parquet(columns: Mapping[str, Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def _fingerprint(
    source: str,
    skeleton: Skeleton,
    classes: Sequence[str],
    entries: Sequence[Mapping[str, Any]],
    memberships: Mapping[str, list[str]],
) -> str:
    """Hash what a store holds, not how it is cut into shards or where its raw files lay."""
    digest = hashlib.sha256(json.dumps([source, skeleton.description(), list(classes), list(memberships)]).encode())
    kept = ("id", "label", "fps", "content", "placement", "segments", "attributes")
    for row, entry in enumerate(entries):
        line = [[entry[name] for name in kept], [members[row] for members in memberships.values()]]
        if entry.get("recorded") is not None:
            line.append(entry["recorded"])
        digest.update(json.dumps(line, sort_keys=True).encode())
    return digest.hexdigest()
