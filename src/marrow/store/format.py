"""A store: many sequences of one skeleton, on disk as flat arrays that are memory-mapped.

Frames of all bodies of all clips lie one behind the other, so that nothing is padded and any window is one slice. What
is known of the clips is a Parquet file that pandas, Polars and DuckDB read too. The format: `docs/store-format.md`.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from marrow.errors import ConfigError, StoreError, did_you_mean
from marrow.skeleton.layout import Skeleton
from marrow.skeleton.retarget import LayoutMap, layout_map
from marrow.skeleton.sequence import Placement, Record, Segment, SkeletonSequence
from marrow.store.header import AGAIN, check_size, read_header, read_parquet
from marrow.store.records import Records
from marrow.store.writer import (
    DROPPED_FILE,
    HEADER_FILE,
    INDEX_FILE,
    JOINTS_FILE,
    PRESENT_FILE,
    Dropped,
    content_hash,
    file_crc32,
    shard_folder,
)

_log = logging.getLogger(__name__)


class Store:
    """Sequences on disk, opened to read.

    Attributes:
        path: the folder.
        version: of the format.
        source: name of the reader that it was made with.
        options: settings of that reader.
        skeleton: layout of the joint axis.
        classes: class names in the order of the labels; empty where the source has none.
        splits: names of the protocols.
        folds: protocols of folds by name, as the source declares them; empty in older stores.
        fingerprint: hash of all that the store holds; the same however it was made.
        label: 0-based class of each clip, -1 where unknown.
        frame_count: frames of each clip.
        body_count: bodies of each clip, at least one.
        fps: frames per second of each clip.
        records: metadata of each clip, made when asked for.
        brought: how positions are brought to the layout, where that is not the one on disk; see `brought_to`.
        read_as: the layout that an encoder reads them in, which may have more dimensions; see `in_dimensions`.
    """

    label: Int64[np.ndarray, " clip"]
    frame_count: Int64[np.ndarray, " clip"]
    body_count: Int64[np.ndarray, " clip"]
    fps: Float64[np.ndarray, " clip"]

    def __init__(self, path: Path, header: Mapping[str, Any] | None = None, index: Any = None) -> None:
        """Use `Store.open`."""
        if header is None:
            raise ConfigError(f"a store is opened by Store.open({str(path)!r})")
        self.path = path
        self.version: int = header["version"]
        self.source: str = header["source"]
        self.options: dict[str, Any] = header["options"]
        self.skeleton = Skeleton.from_description(header["skeleton"])
        self.classes: tuple[str, ...] = tuple(header["classes"])
        self.splits: tuple[str, ...] = tuple(header["splits"])
        self.folds: dict[str, str] = dict(header.get("folds", {}))
        self.fingerprint: str = header["fingerprint"]
        self._shards: list[dict[str, Any]] = header["shards"]
        self._index = index
        self.label = self._integers("label")
        self.frame_count = self._integers("frame_count")
        self.body_count = self._integers("body_count")
        self.fps = index.column("fps").to_numpy()
        self.records: Sequence[Record] = Records(self)
        self._shard_of = self._integers("shard")
        self._first_row = self._integers("first_row")
        self._arrays: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.brought: LayoutMap | None = None
        self.read_as = self.skeleton

    @classmethod
    def open(cls, path: str | Path) -> "Store":
        """Open a store.

        Raises:
            StoreError: it is missing, unfinished, cut short, or of another version.
        """
        path = Path(path)
        header = read_header(path)
        try:
            for number, shard in enumerate(header["shards"]):
                for name, file in shard["files"].items():
                    check_size(path, shard_folder(path, number) / name, file["bytes"])
            check_size(path, path / INDEX_FILE, header["index"]["bytes"])
            if header["index"].get("crc32") not in (None, file_crc32(path / INDEX_FILE)):
                raise StoreError(f"{path / INDEX_FILE} has changed since it was written. {AGAIN}")
            store = cls(path, header, read_parquet(path, path / INDEX_FILE))
            if any(file.get("crc32") is None for shard in header["shards"] for file in shard["files"].values()):
                _log.warning("%s has no check sums: it cannot be told whether it is damaged. %s", path, AGAIN)
        except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
            raise StoreError(f"{path / HEADER_FILE} is damaged ({type(error).__name__}: {error}). {AGAIN}") from error
        if len(store) != header.get("clip_count"):
            raise StoreError(
                f"{path}: expected {header.get('clip_count')} clips in {INDEX_FILE}, got {len(store)}. {AGAIN}"
            )
        return store

    def __len__(self) -> int:
        return len(self.label)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is mapped here: another process maps it itself."""
        return self.__dict__ | {"_arrays": {}}

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {len(self)} clips, {self.skeleton.name}, from {self.source})"

    def frames(
        self, row: int, part: slice | None = None
    ) -> tuple[Float32[np.ndarray, "body frame joint 3"], Bool[np.ndarray, "body frame joint"]]:
        """Return a clip's positions (a view of the file, not writable) and flags; of a part of its frames, if asked."""
        joints, packed = self._shard(int(self._shard_of[row]))
        bodies, frames = int(self.body_count[row]), int(self.frame_count[row])
        rows = slice(int(self._first_row[row]), int(self._first_row[row]) + bodies * frames)
        joint_count = joints.shape[1]
        positions = joints[rows].reshape(bodies, frames, joint_count, 3)
        packed = packed[rows].reshape(bodies, frames, -1)
        if part is not None:
            positions, packed = positions[:, part], packed[:, part]
        present = _unpack(packed, joint_count)
        return (positions, present) if self.brought is None else self.brought.apply(positions, present)

    def layout_of(self, row: int) -> Skeleton:
        """Return the layout of a clip: that of all of them."""
        return self.skeleton

    def brought_to(self, skeleton: Skeleton, joints: Mapping[str, str | None] | None = None) -> "Store":
        """Return the same clips in another layout, to which they are brought as they are read.

        Args:
            skeleton: the layout that is wanted. Joints that the store does not have are absent.
            joints: joint of the store by joint of that layout, where names do not tell.

        Raises:
            ConfigError: the layouts share nothing, or the store has three dimensions and the layout two.
        """
        if self.brought is not None:
            raise ConfigError(f"{self.path} is in another layout already: bring the store as it was opened")
        brought = layout_map(self.skeleton, skeleton, joints)
        view = copy(self)
        view.brought, view.skeleton, view.read_as = brought, brought.skeleton, brought.skeleton
        view.records = Records(view)
        return view

    def in_dimensions(self, dimensions: int) -> "Store":
        """Return the same clips for an encoder that reads so many dimensions, and is told which clips have fewer."""
        view = copy(self)
        view.read_as = replace(self.skeleton, dimensions=dimensions)
        view.records = Records(view)
        return view

    def members_of(self, rows: Int64[np.ndarray, " row"]) -> dict[str, Int64[np.ndarray, " place"]]:
        """Return nothing: this is one store. See `marrow.data.source.ClipSource`."""
        return {}

    def reopened(self) -> "Store":
        """Open the same store anew, in the same layout: for another process."""
        view = Store.open(self.path)
        view.brought, view.skeleton, view.read_as = self.brought, self.skeleton, self.read_as
        return view

    def sequence(self, row: int) -> SkeletonSequence:
        """Return a clip with all that is known of it."""
        joints, present = self.frames(row)
        return SkeletonSequence(
            joints=joints,
            present=present,
            fps=float(self.fps[row]),
            skeleton=self.skeleton,
            record=self.records[row],
            segments=self.segments(row),
            placement=self.placement(row),
            notes=self._notes(row),
            recorded=self.recorded(row),
        )

    def segments(self, row: int) -> tuple[Segment, ...]:
        """Return the labelled intervals of a clip; none where it is trimmed."""
        return tuple(Segment(**segment) for segment in self._value("segments", row))

    def recorded(self, row: int) -> Int64[np.ndarray, " recorded"] | None:
        """Return the frames of a clip that its source recorded, where a reader has filled in others; None: all."""
        if "recorded" not in self._index.column_names:
            return None
        frames = self._value("recorded", row)
        return None if frames is None else np.asarray(frames, np.int64)

    def placement(self, row: int) -> Placement:
        """Return the way back from a clip's stored positions to those of its source."""
        values = np.asarray(self._value("placement", row), np.float64)
        return Placement(values[:9].reshape(3, 3), values[9:12], float(values[12]))

    def split_rows(self, split: str) -> tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " test"]]:
        """Return the rows that a protocol trains on and tests on.

        Raises:
            ConfigError: the store has no such protocol.
        """
        if split not in self.splits:
            hint = did_you_mean(split, [*self.splits, *self.folds], cutoff=0.4)
            named = f"it has {', '.join([*self.splits, *self.folds])}" if self.splits or self.folds else "it has none"
            names = sorted(self.attributes, key=lambda name: name != "subject")  # people first
            folds = [f"leave-one-out:{name}" for name in names[:1]]
            raise ConfigError(
                f"{self.path} has no split {split!r}: {named}.{hint} What cuts any store: "
                f"{', '.join(['k-fold:5', *folds])}, or 'FILTER -> FILTER'"
            )
        members = np.asarray(self._texts(f"split.{split}"))
        return np.flatnonzero(members == "train"), np.flatnonzero(members == "test")

    def flat(
        self,
    ) -> tuple[Float32[np.ndarray, "row joint 3"], Bool[np.ndarray, "row joint"], Int64[np.ndarray, " clip"]]:
        """Read all frames into memory.

        Returns:
            positions, flags, and each clip's first row: body m of clip i with T frames lies in rows first[i] + m * T
            up to, not including, first[i] + (m + 1) * T.
        """
        joint_count = len(self.skeleton.joints)
        row_counts = np.array([shard["row_count"] for shard in self._shards], np.int64)
        starts = np.cumsum(row_counts) - row_counts
        joints = np.empty((row_counts.sum(), joint_count, 3), np.float32)
        present = np.empty((row_counts.sum(), joint_count), np.bool_)
        for number, (start, count) in enumerate(zip(starts, row_counts, strict=True)):
            _, joints[start : start + count], present[start : start + count] = self.shard(number)
        return joints, present, starts[self._shard_of] + self._first_row

    def attribute(self, name: str) -> np.ndarray:
        """Return an attribute of every clip, for example "subject".

        Returns:
            integers or strings; where some clips do not have the attribute, objects with None for those.

        Raises:
            ConfigError: no clip has such an attribute.
        """
        if name not in self.attributes:
            hint = did_you_mean(name, self.attributes, cutoff=0.4)
            raise ConfigError(
                f"{self.path} has no attribute {name!r}. Attributes: {', '.join(self.attributes) or 'none'}.{hint}"
            )
        column = self._index.column(f"attribute.{name}")
        values = column.to_pylist()
        return np.asarray(values, dtype=object if column.null_count else None)

    def subjects(self) -> np.ndarray | None:
        """Return who is in each clip; None where that is not known."""
        return self.attribute("subject") if "subject" in self.attributes else None

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes that clips have."""
        return tuple(
            name.removeprefix("attribute.") for name in self._index.column_names if name.startswith("attribute.")
        )

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Each clip's id, unique within the store."""
        return self._texts("id")

    @cached_property
    def content(self) -> tuple[str, ...]:
        """Each clip's hash: equal where positions and flags are equal to the last bit."""
        return self._texts("content")

    def duplicates(
        self, rows_a: Int64[np.ndarray, " a"], rows_b: Int64[np.ndarray, " b"]
    ) -> Int64[np.ndarray, " duplicate"]:
        """Return the rows of b whose content is bit-identical to that of one of a."""
        contents = {self.content[row] for row in rows_a}
        return np.array([row for row in rows_b if self.content[row] in contents], np.int64)

    @cached_property
    def dropped(self) -> tuple[Dropped, ...]:
        """Recordings that were left out when the store was made, with the reason."""
        return tuple(Dropped(**row) for row in read_parquet(self.path, self.path / DROPPED_FILE).to_pylist())

    @cached_property
    def notes(self) -> dict[str, int]:
        """What the reader had to mend or to leave out, by kind, and how often; the most frequent first."""
        return dict(Counter(note for row in range(len(self)) for note in self._notes(row)).most_common())

    @property
    def shard_count(self) -> int:
        """Number of shards."""
        return len(self._shards)

    def shard(
        self, number: int
    ) -> tuple[Int64[np.ndarray, " clip"], Float32[np.ndarray, "row joint 3"], Bool[np.ndarray, "row joint"]]:
        """Return a shard's clips, in the order of its frames, and its frames: for a pass over all, one at a time."""
        joints, packed = self._shard(number)
        present = _unpack(packed, joints.shape[1])
        if self.brought is not None:
            joints, present = self.brought.apply(joints, present)
        return np.flatnonzero(self._shard_of == number), joints, present

    @cached_property
    def byte_count(self) -> int:
        """Bytes of all files of the store."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def verify(self) -> None:
        """Read every byte of positions and flags, and compare with the check sums of when they were written.

        Reading frames does the same for each shard that is read; this reads all of them.

        Raises:
            StoreError: a shard has changed since; names the clips that are damaged.
        """
        damaged = [number for number in range(self.shard_count) if not self._is_whole(number)]
        if damaged:
            raise self._damaged(damaged)

    def _is_whole(self, number: int) -> bool:
        """Tell whether a shard's files are those that were written; True where the store has no check sums."""
        for name, file in self._shards[number]["files"].items():
            path = shard_folder(self.path, number) / name
            try:
                if file.get("crc32") is not None and file_crc32(path) != file["crc32"]:
                    return False
            except OSError as error:
                raise StoreError(f"{path} cannot be read ({error}). {AGAIN}") from error
        return True

    def _damaged(self, shards: Sequence[int]) -> StoreError:
        """Return an error that names the clips of some shards whose content is not what it was."""
        clips = []
        for number in shards:
            try:
                joints, packed = self._mapped(number)
            except StoreError:  # the damage lies in the header of an array: none of the clips can be read
                clips += [self.ids[row] for row in np.flatnonzero(self._shard_of == number)]
                continue
            for row in np.flatnonzero(self._shard_of == number).tolist():
                bodies, frames = int(self.body_count[row]), int(self.frame_count[row])
                rows = slice(int(self._first_row[row]), int(self._first_row[row]) + bodies * frames)
                shape = (bodies, frames)
                content = content_hash(joints[rows].reshape(*shape, -1, 3), packed[rows].reshape(*shape, -1))
                if content != self.content[row]:
                    clips.append(self.ids[row])
        folders = ", ".join(str(shard_folder(self.path, number).relative_to(self.path)) for number in shards[:3])
        named = ", ".join(clips[:5]) + (", ..." if len(clips) > 5 else "")
        return StoreError(
            f"{self.path} is damaged: {folders}{', ...' if len(shards) > 3 else ''} changed since "
            f"{'it was' if len(shards) == 1 else 'they were'} written ({len(clips)} clips: {named or 'none in use'}). "
            f"Run the command that made the store again: it makes just {'that' if len(shards) == 1 else 'those'} anew"
        )

    def _integers(self, column: str) -> Int64[np.ndarray, " clip"]:
        return self._index.column(column).to_numpy()

    def _value(self, column: str, row: int) -> Any:
        return self._index.column(column)[row].as_py()

    def _notes(self, row: int) -> tuple[str, ...]:
        # Stores that were made before there were notes have no such column.
        return tuple(self._value("notes", row)) if "notes" in self._index.column_names else ()

    def _texts(self, column: str) -> tuple[str, ...]:
        return tuple(self._index.column(column).to_pylist())

    def _shard(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Map a shard's positions and bits; the first time, make sure that they are what was written."""
        if number not in self._arrays:
            if not self._is_whole(number):
                raise self._damaged([number])
            self._arrays[number] = self._mapped(number)
        return self._arrays[number]

    def _mapped(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        folder = shard_folder(self.path, number)
        try:
            joints, packed = (np.load(folder / name, mmap_mode="r") for name in (JOINTS_FILE, PRESENT_FILE))
        except (OSError, ValueError) as error:
            raise StoreError(f"{folder} cannot be read ({error}). {AGAIN}") from error
        # Plain arrays: slicing np.memmap costs several times more.
        return np.asarray(joints), np.asarray(packed)


def _unpack(packed: UInt8[np.ndarray, "... byte"], joint_count: int) -> Bool[np.ndarray, "... joint"]:
    """Return flags from bits."""
    return np.unpackbits(packed, axis=-1, count=joint_count).view(np.bool_)
