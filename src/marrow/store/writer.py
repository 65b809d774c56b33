"""How frames come onto the disk: one shard at a time, each whole or not at all.

A shard is made in a folder of its own beside the others, forced to the disk, and renamed. A reader, or a preparation
that goes on after a kill, therefore finds either the whole shard or none.
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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from marrow.errors import DataError, StoreError
from marrow.files import sync_folder
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.sequence import Record, SkeletonSequence

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


def content_hash(
    joints: Float32[np.ndarray, "body frame joint 3"], packed: UInt8[np.ndarray, "body frame byte"]
) -> str:
    """Return a hash that two sequences share only when they are identical to the last bit, shape included."""
    digest = hashlib.blake2b(repr(joints.shape).encode(), digest_size=16)
    digest.update(joints.tobytes())
    digest.update(packed.tobytes())
    return digest.hexdigest()


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
            raise DataError(f"{clip.record.id}: expected the skeleton {skeleton.name!r}, got {clip.skeleton.name!r}")
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
            "dropped": [asdict(one) for one in dropped],
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


def read_part(folder: Path, plan: str) -> dict[str, Any] | None:
    """Return what a finished shard says of itself, or None where it is missing, cut short, or of another plan."""
    try:
        part = json.loads(gzip.decompress((folder / PART_FILE).read_bytes()))
        sizes_fit = all((folder / name).stat().st_size == file["bytes"] for name, file in part["files"].items())
        return part if sizes_fit and part["plan"] == plan else None
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


def unpack(packed: UInt8[np.ndarray, "... byte"], joint_count: int) -> Bool[np.ndarray, "... joint"]:
    """Return flags from bits."""
    return np.unpackbits(packed, axis=-1, count=joint_count).view(np.bool_)
