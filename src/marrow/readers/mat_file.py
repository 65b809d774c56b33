"""MATLAB 5 files: the variables that are numbers or words; cells, structures and objects are left out by name.

`scipy.io.loadmat` allocates what a header asks for before it looks at what is there, and reads all kinds of variables.
Here sizes are held against the bytes first: a variable is read only where all of it is there.
"""

import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np

from marrow.errors import ParseError

# What is decompressed at most: more than any recording, less than what fills the memory.
MAX_BYTES = 1 << 30

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_STORED_AS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXT_AS = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_TEXT_CLASS = 4
_OTHER_CLASSES = {1: "cells", 2: "a structure", 3: "an object", 5: "a sparse matrix"}


class _Damaged(Exception):
    """What is wrong with a variable."""


def is_mat(head: bytes) -> bool:
    """Tell by a file's beginning whether MATLAB wrote it."""
    return head.startswith((b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file", b"MATLAB 7.0 MAT-file"))


def read_mat(path: Path) -> tuple[dict[str, np.ndarray | list[str]], tuple[str, ...]]:
    """Return the variables of a file by name, numbers as arrays and words as a list, and the names of the others.

    Raises:
        ParseError: it cannot be read, is damaged, or is of a version that is not read.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, size: int) -> tuple[dict[str, np.ndarray | list[str]], tuple[str, ...]]:
    if size > MAX_BYTES:
        raise ParseError(path, 0, f"expected at most {MAX_BYTES:,} bytes in a MAT file, got {size:,}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error
    order = _check_header(path, content)
    variables: dict[str, np.ndarray | list[str]] = {}
    left_out = []
    try:
        for kind, part in _elements(content, _HEADER_BYTES, order, len(content)):
            if kind == _COMPRESSED:
                inner = _inflated(content, part, MAX_BYTES)
                elements = list(_elements(inner, 0, order, len(inner)))
                if len(elements) != 1:
                    raise _Damaged(f"one compressed variable, got {len(elements)}")
                kind, part = elements[0]
            else:
                inner = content
            if kind != _MATRIX or not part:
                raise _Damaged(f"a variable, got an element of type {kind}")
            name, values, other = _variable(inner, part, order)
            if other:
                left_out.append(f"{name} ({other})")
            elif values is not None:
                variables[name] = values
    except (_Damaged, zlib.error, struct.error, UnicodeError, ValueError, OverflowError) as error:
        wanted = str(error) if isinstance(error, _Damaged) else f"whole variables ({error})"
        raise ParseError(path, 0, f"expected a MAT file of {wanted[:200]}") from error
    return variables, tuple(left_out)


def _check_header(path: Path, content: bytes) -> str:
    """Return how numbers are written, "<" or ">"."""
    if content[:8] == b"\x89HDF\r\n\x1a\n" or b"MATLAB 7.3" in content[:116]:
        problem = "expected a MAT file of version 7 or earlier, got version 7.3, which is HDF5"
        raise ParseError(
            path, 0, f'{problem}: save it with save(..., "-v7"), or its arrays as NPZ (read them with h5py)'
        )
    if not content:
        raise ParseError(path, 0, "expected a MAT file, got an empty file")
    orders = {b"IM": "<", b"MI": ">"}
    if len(content) < _HEADER_BYTES or content[126:128] not in orders:
        raise ParseError(path, 0, f"expected a MAT file of version 5 to 7, got one that begins with {content[:20]!r}")
    order = orders[content[126:128]]
    (version,) = struct.unpack(order + "H", content[124:126])
    if version != 0x100:
        raise ParseError(path, 0, f"expected a MAT file of version 5 to 7, got version number {version:#x}")
    return order


def _elements(content: bytes, start: int, order: str, end: int) -> Iterator[tuple[int, range]]:
    """Yield type and place of each element; a place is empty where it is too short to have one."""
    at = start
    while at < end:
        if end - at < 8:
            if any(content[at:end]):
                raise _Damaged(f"whole variables, got {end - at} bytes after the last")
            return
        kind, size = struct.unpack(order + "II", content[at : at + 8])
        if kind >> 16:  # a small element: its size and type share four bytes, its content follows in four
            kind, size = kind & 0xFFFF, kind >> 16
            place = range(at + 4, at + 4 + size)
            if size > 4:
                raise _Damaged(f"small elements of at most 4 bytes, got {size}")
            at += 8
        else:
            place = range(at + 8, at + 8 + size)
            at += 8 + size
            if kind != _COMPRESSED:
                at += -size % 8
        if place.stop > end:
            raise _Damaged(f"an element of {size:,} bytes, got {max(0, end - place.start):,}")
        yield kind, place


def _inflated(content: bytes, place: range, most: int) -> bytes:
    inflate = zlib.decompressobj()
    inner = inflate.decompress(memoryview(content)[place.start : place.stop], most)
    if inflate.unconsumed_tail:
        raise _Damaged(f"variables of at most {most:,} bytes, got a larger one")
    return inner  # MATLAB leaves the end of some streams out; whether the variable is whole, its own sizes tell


def _variable(content: bytes, place: range, order: str) -> tuple[str, np.ndarray | list[str] | None, str]:
    """Return name and values of a variable, or what else it is."""
    parts = []
    for element in _elements(content, place.start, order, place.stop):
        parts.append(element)
        if len(parts) == 4:
            break
    if len(parts) < 3 or len(parts[0][1]) != 8 or parts[1][0] != 5 or len(parts[1][1]) % 4:
        raise _Damaged("variables with a type, sizes and a name, got another")
    (flags,) = struct.unpack(order + "I", _bytes(content, parts[0][1])[:4])
    sizes = tuple(int(size) for size in np.frombuffer(_bytes(content, parts[1][1]), order + "i4"))
    name = _bytes(content, parts[2][1]).rstrip(b"\0").decode("latin-1")
    kind, is_complex = flags & 0xFF, bool(flags & 0x800)
    if is_complex or kind in _OTHER_CLASSES or kind not in (*_CLASSES, _TEXT_CLASS):
        return name, None, "complex numbers" if is_complex else _OTHER_CLASSES.get(kind, f"class {kind}")
    if not 2 <= len(sizes) <= 8 or min(sizes) < 0:
        raise _Damaged(f"sizes of at least 0 for variable {name!r}, got {sizes[:8]}")
    stored, values_at = parts[3] if len(parts) > 3 else (2, range(0))
    raw = _bytes(content, values_at)
    if kind == _TEXT_CLASS:
        return name, _words(name, raw, stored, sizes, order), ""
    if stored not in _STORED_AS:
        raise _Damaged(f"numbers in variable {name!r}, got type {stored}")
    dtype = np.dtype(order + _STORED_AS[stored])
    if prod(sizes) * dtype.itemsize != len(raw):
        shown = " × ".join(f"{size:,}" for size in sizes)
        raise _Damaged(f"{shown} numbers in variable {name!r}, got {len(raw):,} bytes")
    return name, np.frombuffer(raw, dtype).reshape(sizes, order="F").astype(_CLASSES[kind]), ""


def _words(name: str, raw: bytes, stored: int, sizes: tuple[int, ...], order: str) -> list[str]:
    """Return the rows of a matrix of characters."""
    if stored in _TEXT_AS:
        codec = _TEXT_AS[stored] + ({"<": "-le", ">": "-be"}[order] if stored > 16 else "")
        text = raw.decode(codec)
    elif stored in (1, 2, 4):
        text = "".join(map(chr, np.frombuffer(raw, order + _STORED_AS[stored]) & 0xFFFF))
    else:
        raise _Damaged(f"characters in variable {name!r}, got type {stored}")
    if len(text) != prod(sizes) or len(sizes) != 2:
        raise _Damaged(f"{sizes} characters in variable {name!r}, got {len(text)}")
    return [text[row :: sizes[0]].rstrip(" \0") for row in range(sizes[0])]


def _bytes(content: bytes, place: range) -> bytes:
    return content[place.start : place.stop]
