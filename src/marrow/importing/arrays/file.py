"""Arrays in NPY and NPZ files, opened without believing their headers and read a row at a time.

A header's shape is held against the bytes that are there before anything is allocated. Rows of arrays as large as
disks are read in the memory of one row: where they lie as they are (NPY, members of an NPZ that are only stored) from
their place in the file, where they are compressed by going forward through them.
"""

import ast
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from marrow.errors import ParseError

NPY_MAGIC = b"\x93NUMPY"
# What is held in memory at once: one row, or an array whose rows do not lie one after the other.
MAX_BYTES_AT_ONCE = 1 << 30

_MAX_HEADER_BYTES = 10_000
_MAX_MEMBERS = 100_000
_MAX_DIMENSIONS = 8
# Deflate cannot make anything smaller than this.
_LARGEST_RATIO = 1032
_STEP_BYTES = 1 << 20
_LONG = re.compile(r"(?<=\d)L\b")  # how Python 2 wrote large numbers


class _NoArray(Exception):
    """What a header says wrong."""


@dataclass(frozen=True)
class Rows:
    """An array in a file. Indexing reads one row: what lies at one index of its first axis.

    Args:
        path: of the file.
        member: name within an archive, without ".npy"; "" for a file that is one array.
        shape: as its header says and its bytes confirm.
        dtype: of its values.
        is_fortran: whether the first index runs fastest.
        offset: of its first byte: in the file, or in what a compressed member holds.
        compressed: where and how long a compressed member is in the file; None where the array lies there as it is.
        content_bytes: how much a compressed member holds, its header included.
        crc: checksum of what a compressed member holds.
        changed: when the file was changed, in nanoseconds; what was decompressed before is not used after.
        held: the array itself, where it has been read already.
    """

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype
    is_fortran: bool
    offset: int
    compressed: tuple[int, int] | None = None
    content_bytes: int = 0
    crc: int = 0
    changed: int = 0
    held: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"array {self.member!r}" if self.member else "the array"

    @property
    def byte_count(self) -> int:
        """Size of its values."""
        return prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, row: int) -> np.ndarray:
        return self.block(row, 1)[0]

    def block(self, first: int, count: int) -> np.ndarray:
        """Return rows one after the other.

        Raises:
            ParseError: the file is cut, damaged or was changed, or the rows do not fit into memory.
        """
        if first < 0 or first + count > len(self):
            raise ParseError(
                self.path, 0, f"expected a row of {self.name} below {len(self):,}, got {first + count - 1}"
            )
        if self.held is not None or (self.is_fortran and len(self.shape) > 1):
            return np.array(self.whole()[first : first + count])
        row_bytes = prod(self.shape[1:]) * self.dtype.itemsize
        content = self._content(self.offset + first * row_bytes, count * row_bytes)
        return self._array(content).reshape(count, *self.shape[1:])

    def whole(self) -> np.ndarray:
        """Return all of it: mapped where it lies as it is, else in memory.

        Raises:
            ParseError: as in `block`.
        """
        if self.held is not None:
            return self.held
        order = "F" if self.is_fortran else "C"
        if self.compressed is None and self.byte_count and self.dtype.kind != "U":
            try:
                return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order)
            except (OSError, ValueError) as error:
                raise ParseError(self.path, 0, f"expected a readable file: {error}") from error
        return self._array(self._content(self.offset, self.byte_count)).reshape(self.shape, order=order)

    def _array(self, content: bytes) -> np.ndarray:
        if not are_words(content, self.dtype):
            raise ParseError(self.path, 0, f"expected words in {self.name}, got numbers that are no characters")
        return np.frombuffer(content, self.dtype)

    def _content(self, start: int, count: int) -> bytes:
        if count > MAX_BYTES_AT_ONCE:
            problem = f"expected what is read of {self.name} at once to fit into {MAX_BYTES_AT_ONCE:,} bytes"
            raise ParseError(self.path, 0, f"{problem}, got {count:,}: give the order of its axes, or save it unpacked")
        try:
            if self.compressed is not None:
                return _forward(self).read(start, count)
            with self.path.open("rb") as file:
                content = os.pread(file.fileno(), count, start) if count else b""
                while 0 < len(content) < count:  # the system gives at most 2 GB at once, and may give less
                    more = os.pread(file.fileno(), count - len(content), start + len(content))
                    if not more:
                        break
                    content += more
        except OSError as error:
            raise ParseError(self.path, 0, f"expected a readable file: {error.strerror or error}") from error
        if len(content) != count:
            raise ParseError(self.path, 0, f"expected {count:,} bytes of {self.name}, got {len(content):,}")
        return content


@dataclass
class _Forward:
    """A compressed member that is gone through from its beginning; going back begins anew."""

    rows: Rows
    position: int = 0
    _taken: int = 0
    _waiting: bytes = b""
    _crc: int = 0
    _inflate: "zlib._Decompress" = field(default_factory=lambda: zlib.decompressobj(-zlib.MAX_WBITS))

    def read(self, start: int, count: int) -> bytes:
        if start < self.position:
            self.position, self._taken, self._waiting, self._crc = 0, 0, b"", 0
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        with self.rows.path.open("rb") as file:
            while self.position < start:
                self._next(file, min(_STEP_BYTES, start - self.position))
            content = bytearray()
            while len(content) < count:
                content += self._next(file, min(_STEP_BYTES, count - len(content)))
        return bytes(content)

    def _next(self, file: IO[bytes], most: int) -> bytes:
        assert self.rows.compressed is not None
        start, size = self.rows.compressed
        while True:
            if not self._waiting and self._taken < size:
                file.seek(start + self._taken)
                self._waiting = file.read(min(_STEP_BYTES, size - self._taken))
                self._taken += len(self._waiting)
            had = len(self._waiting)
            try:
                content = self._inflate.decompress(self._waiting, most)
            except zlib.error as error:
                raise self._damaged(str(error)) from error
            self._waiting = self._inflate.unconsumed_tail
            if content:
                break
            if not had or self._inflate.eof:
                raise self._damaged("it ends early")
        self.position += len(content)
        self._crc = zlib.crc32(content, self._crc)
        if self.position == self.rows.content_bytes and self._crc != self.rows.crc:
            raise self._damaged("its checksum differs")
        return content

    def _damaged(self, how: str) -> ParseError:
        problem = f"expected {self.rows.content_bytes:,} bytes in {self.rows.name}, got a damaged archive"
        return ParseError(self.rows.path, 0, f"{problem} ({how}, {self.position:,} bytes in)")


@lru_cache(maxsize=8)
def _forward(rows: Rows) -> _Forward:
    return _Forward(rows)


def are_words(content: bytes | bytearray, dtype: np.dtype) -> bool:
    """Tell whether bytes may become an array of a type: of words, each number must be that of a character.

    Python ends with a SystemError where NumPy makes a string of other numbers.
    """
    if dtype.kind != "U":
        return True
    codes = np.frombuffer(content, np.dtype(np.uint32).newbyteorder(dtype.byteorder))
    return not ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any()


def open_arrays(path: Path) -> Mapping[str, Rows]:
    """Return the arrays of a file by name: those of an NPZ, or that of an NPY under "".

    An archive's members that hold Python objects, or are no arrays, are left out (`left_out_of` names them).

    Raises:
        ParseError: it is neither, or its headers say what its bytes do not hold.
    """
    return _opened(path)[0]


def left_out_of(path: Path) -> tuple[str, ...]:
    """Return the names of members of an archive that are no arrays of numbers or words, with the reason.

    Raises:
        ParseError: as in `open_arrays`.
    """
    return _opened(path)[1]


def _opened(path: Path) -> tuple[Mapping[str, Rows], tuple[str, ...]]:
    try:
        state = path.stat()
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error
    return _open(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _open(path: Path, changed: int, size: int) -> tuple[Mapping[str, Rows], tuple[str, ...]]:
    if not size:
        raise ParseError(path, 0, "expected an NPY or NPZ file, got an empty file")
    try:
        with path.open("rb") as file:
            start = file.read(len(NPY_MAGIC))
            file.seek(0)
            if start == NPY_MAGIC:
                return {"": _open_npy(path, file, size, changed)}, ()
            if start[:2] == b"PK":
                return _open_npz(path, file, size, changed)
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error
    raise ParseError(path, 0, f"expected an NPY or NPZ file, got one that begins with {start!r}")


def _open_npy(path: Path, file: IO[bytes], size: int, changed: int) -> Rows:
    try:
        shape, dtype, is_fortran = _read_header(file)
        if dtype.hasobject:
            raise _NoArray("numbers; got Python objects, which could run code: save each as an array of numbers")
        start = file.tell()
        _check_size(shape, dtype, size - start, exact=False)
    except _NoArray as problem:
        raise ParseError(path, 0, f"expected an array of {problem}") from problem
    return Rows(path, "", shape, dtype, is_fortran, start, changed=changed)


def _open_npz(path: Path, file: IO[bytes], size: int, changed: int) -> tuple[Mapping[str, Rows], tuple[str, ...]]:
    arrays: dict[str, Rows] = {}
    left_out = []
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                raise ParseError(path, 0, f"expected at most {_MAX_MEMBERS:,} arrays, got {len(members):,}")
            for member in members:
                name = member.filename.removesuffix(".npy")
                if member.is_dir() or name == member.filename:
                    left_out.append(f"{member.filename} (no array)")
                    continue
                try:
                    arrays[name] = _open_member(path, file, archive, member, size, changed)
                except _NoArray as problem:
                    raise ParseError(path, 0, f"array {name!r}: expected an array of {problem}") from problem
                if arrays[name].dtype.hasobject:
                    del arrays[name]
                    left_out.append(f"{name} (Python objects)")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, struct.error, zlib.error) as error:
        raise ParseError(path, 0, f"expected an NPZ file, got a damaged archive: {error}") from error
    except (EOFError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise ParseError(path, 0, "expected an NPZ file, got a damaged archive") from error
    return arrays, tuple(left_out)


def _open_member(
    path: Path, file: IO[bytes], archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int, changed: int
) -> Rows:
    if member.flag_bits & 1:
        raise _NoArray("numbers, got an encrypted member")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _NoArray("numbers stored or deflated, got another compression: save it with numpy.savez_compressed")
    is_stored = member.compress_type == zipfile.ZIP_STORED
    most = member.compress_size if is_stored else member.compress_size * _LARGEST_RATIO
    if member.compress_size > size or member.file_size > most:
        raise _NoArray(f"numbers, got {member.file_size:,} bytes declared for {member.compress_size:,} in the archive")
    with archive.open(member) as content:
        shape, dtype, is_fortran = _read_header(content)
        offset = content.tell()
    if not dtype.hasobject:
        _check_size(shape, dtype, member.file_size - offset, exact=True)
    # A member's place is behind its own header, whose two lengths may differ from those in the directory.
    file.seek(member.header_offset + 26)
    name_bytes, extra_bytes = struct.unpack("<HH", file.read(4))
    start = member.header_offset + 30 + name_bytes + extra_bytes
    if start + member.compress_size > size:
        raise _NoArray(f"{member.compress_size:,} bytes, got {max(0, size - start):,}")
    name = member.filename.removesuffix(".npy")
    if is_stored:
        return Rows(path, name, shape, dtype, is_fortran, start + offset, changed=changed)
    place = (start, member.compress_size)
    return Rows(path, name, shape, dtype, is_fortran, offset, place, member.file_size, member.CRC, changed)


def _read_header(file: IO[bytes] | zipfile.ZipExtFile) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Return shape, type and order as the header of an array says, and leave the file where its values begin."""
    start = file.read(8)
    if len(start) < 8 or start[:6] != NPY_MAGIC or start[6] not in (1, 2, 3):
        raise _NoArray(f"NumPy's format, got one that begins with {start!r}")
    form = "<H" if start[6] == 1 else "<I"
    length_bytes = file.read(struct.calcsize(form))
    length = struct.unpack(form, length_bytes)[0] if len(length_bytes) == struct.calcsize(form) else 0
    if not 0 < length <= 1 << 16:
        raise _NoArray(f"NumPy's format, got a header of {length:,} bytes")
    text = file.read(length).decode("latin-1").strip()
    try:
        header: Any = ast.literal_eval(_LONG.sub("", text)) if len(text) <= _MAX_HEADER_BYTES else None
        descr, is_fortran, shape = (header[key] for key in ("descr", "fortran_order", "shape"))
        dtype = np.dtype(descr) if isinstance(descr, str) else None
    except (ValueError, TypeError, KeyError, SyntaxError, MemoryError, RecursionError) as error:
        raise _NoArray("NumPy's format, got a header that does not say type, order and shape") from error
    if dtype is None or dtype.kind not in "fiubUSO" or (dtype.kind != "O" and not dtype.itemsize):
        raise _NoArray(f"real numbers or words, got values of type {str(descr)[:60]!r}")
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise _NoArray(f"sizes of at least 0, got {str(shape)[:60]!r}")
    if len(shape) > _MAX_DIMENSIONS:
        raise _NoArray(f"at most {_MAX_DIMENSIONS} axes, got {len(shape)}")
    return shape, dtype, bool(is_fortran)


def _check_size(shape: tuple[int, ...], dtype: np.dtype, there: int, *, exact: bool) -> None:
    wanted = prod(shape) * dtype.itemsize
    if wanted > there or (exact and wanted != there):
        shown = " × ".join(f"{size:,}" for size in shape)
        raise _NoArray(f"{shown} values of {dtype.itemsize} bytes as its header says, got {there:,} bytes in all")
