"""Pickles of arrays and plain values, read without running anything that they ask for.

A pickle is a program. This reader knows what arrays, numbers, words, lists, tuples, sets and dictionaries are made of,
does that itself, and refuses the rest by name. What it makes is no larger than some times the file: sizes are held
against the bytes that are there. Python's own reader in Python is taken, not the one in C: that one allocates what a
number in the file says.
"""

import mmap
import pickle
import pickletools
import re
import struct
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from marrow.errors import ParseError
from marrow.importing.arrays.file import are_words

_DTYPE = re.compile(r"[<>=|]?([?biufUSO]\d{0,6}|bool|u?int\d{1,2}|float\d{2})")
# Old protocols write bytes as words, of which first bytes and then an array are made.
_MOST_TIMES = 4
_BROKEN = (
    *(pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError),
    *(MemoryError, RecursionError, UnicodeError, struct.error, AssertionError),
)


def is_pickle(head: bytes) -> bool:
    """Tell by a file's beginning whether it is a pickle: by its mark, or, where old ones have none, by what it does."""
    if head[:1] == b"\x80":
        return len(head) > 1 and 2 <= head[1] <= 5
    if head[:1] not in (b"(", b"]", b"}", b"c"):
        return False
    try:
        return len(list(islice(pickletools.genops(head), 8))) >= 4
    except _BROKEN:
        return False


def read_pickle(path: Path) -> Any:
    """Return what a pickle holds; read once per process and state of the file.

    Raises:
        ParseError: it cannot be read, is damaged, or asks for something that is not a plain value (named).
    """
    try:
        state = path.stat()
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2)
def _read(path: Path, changed: int, size: int) -> Any:
    if not size:
        raise ParseError(path, 0, "expected a pickle, got an empty file")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Reader(content, path, size).load()
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error
    except ParseError:
        raise
    except _BROKEN as error:
        problem = f"expected a whole pickle, got a damaged one or no pickle ({type(error).__name__}: {str(error)[:80]})"
        raise ParseError(path, 0, problem) from error


class _Type:
    """The type of an array, as a pickle builds it up."""

    def __init__(self, spec: Any, align: Any = False, copy: Any = False) -> None:
        text = spec.decode("latin-1") if isinstance(spec, bytes) else spec
        if not isinstance(text, str) or _DTYPE.fullmatch(text) is None:
            raise ValueError(f"an array of type {str(spec)[:40]!r}")
        self.dtype = np.dtype(text)

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "=", "|"):
            raise ValueError("a type of arrays without a byte order")
        if any(part is not None for part in state[2:5]):
            raise ValueError("an array of records")
        if state[1] in "<>":
            self.dtype = self.dtype.newbyteorder(state[1])


def _empty(*_: Any) -> np.ndarray:
    return np.ndarray((0,), "b")


class _Reader(pickle._Unpickler):
    """Reads plain values, and counts what it makes of the file's bytes."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    stack: list[Any]
    read: Callable[[int], bytes]
    append: Callable[[Any], None]

    def __init__(self, content: mmap.mmap, path: Path, size: int) -> None:
        super().__init__(content, encoding="latin1")  # pyright: ignore[reportArgumentType]
        self._content, self._path, self._size, self._made = content, path, size, 0

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("__builtin__", "builtins").replace("numpy.core", "numpy._core")
        makers = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): _Type,
            ("numpy._core.multiarray", "_reconstruct"): _empty,
            ("numpy._core.multiarray", "scalar"): self._scalar,
            ("numpy._core.numeric", "_frombuffer"): self._from_buffer,
            ("_codecs", "encode"): self._encode,
            ("builtins", "set"): self._set,
            ("builtins", "frozenset"): self._frozen_set,
            ("builtins", "bytearray"): self._byte_array,
            ("builtins", "bytes"): self._bytes,
        }
        if (module, name) in makers:
            return makers[module, name]
        raise self._refused(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise self._refused(f"the persistent object {str(pid)[:60]!r}")

    def get_extension(self, code: int) -> None:
        raise self._refused(f"the extension {code}")

    def _refused(self, what: str) -> ParseError:
        allowed = "arrays, numbers, words, lists, tuples, sets and dictionaries"
        problem = f"expected a pickle of {allowed}; got one that asks for {what[:120]!r}, which could run code"
        return ParseError(self._path, 0, problem)

    def _spend(self, count: int) -> None:
        self._made += count
        if self._made > _MOST_TIMES * self._size:
            raise ValueError("more values than the file has bytes")

    def _array(self, raw: Any, dtype: Any, shape: Any, is_fortran: bool) -> np.ndarray:
        """Build an array whose size its bytes confirm."""
        if not isinstance(dtype, _Type) or not isinstance(shape, tuple):
            raise ValueError("an array without a type or a shape")
        if not all(type(size) is int and size >= 0 for size in shape) or len(shape) > 8:
            raise ValueError(f"an array of shape {str(shape)[:40]}")
        count = 1
        for size in shape:
            count *= size
        order = "F" if is_fortran else "C"
        if dtype.dtype.hasobject:
            if not isinstance(raw, list) or len(raw) != count:
                raise ValueError(f"an array of {count} values with other values")
            self._spend(count)
            values = np.empty(count, object)
            for index, value in enumerate(raw):
                values[index] = value
            return values.reshape(shape, order=order)
        content = raw.encode("latin-1") if isinstance(raw, str) else raw
        if not isinstance(content, bytes | bytearray) or len(content) != count * dtype.dtype.itemsize:
            raise ValueError(f"an array of {count} values of {dtype.dtype} with other bytes")
        if not are_words(content, dtype.dtype):
            raise ValueError("an array of words with numbers that are no characters")
        self._spend(len(content))
        return np.frombuffer(content, dtype.dtype).reshape(shape, order=order)

    def _scalar(self, dtype: Any, raw: Any = b"") -> Any:
        return self._array(raw, dtype, (), False)[()]

    def _from_buffer(self, buffer: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> np.ndarray:
        return self._array(buffer, dtype, shape, order == "F")

    def _encode(self, text: Any, encoding: Any = "latin1") -> bytes:
        self._spend(len(text))
        if encoding not in ("latin1", "latin-1"):
            raise ValueError(f"words in {str(encoding)[:40]!r}")
        return text.encode("latin-1")

    def _set(self, values: Any = ()) -> set[Any]:
        self._spend(len(values))
        return set(values)

    def _frozen_set(self, values: Any = ()) -> frozenset[Any]:
        self._spend(len(values))
        return frozenset(values)

    def _byte_array(self, values: Any = b"", encoding: Any = "latin-1") -> bytes:
        content = values.encode("latin-1") if isinstance(values, str) else values
        if not isinstance(content, bytes | bytearray):
            raise ValueError("bytes made of something else")
        self._spend(len(content))
        return bytes(content)

    def _bytes(self, *arguments: Any) -> bytes:
        return self._byte_array(*arguments)

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        make = self.stack[-1]
        if not isinstance(arguments, tuple):
            raise ValueError("arguments that are no tuple")
        if make is not _Type and make is not _empty and getattr(make, "__self__", None) is not self:
            raise self._refused(f"calling {make!r}")
        self.stack[-1] = make(*arguments)

    def _build(self) -> None:
        state = self.stack.pop()
        value = self.stack[-1]
        if isinstance(value, _Type):
            value.set_state(state)
            return
        if type(value) is not np.ndarray or not isinstance(state, tuple) or len(state) != 5:
            raise self._refused(f"setting the state of {type(value).__name__}")
        _, shape, dtype, is_fortran, raw = state
        array = self._array(raw, dtype, shape, bool(is_fortran))
        if array.dtype.hasobject:
            content: Any = raw
        else:
            content = raw.encode("latin-1") if isinstance(raw, str) else bytes(raw)
        state = (1, shape, array.dtype, bool(is_fortran), content)
        value.__setstate__(cast(Any, state))  # the same array, as others refer to it

    def _instantiate(self, klass: Any, args: Any) -> None:
        raise self._refused(f"an object of {klass!r}")

    def _new_object(self) -> None:
        raise self._refused("an object of a class")

    def _byte_array_here(self) -> None:
        (count,) = struct.unpack("<Q", self.read(8))
        if count > self._size:
            raise ValueError(f"{count} bytes in a file of {self._size}")
        content = self.read(count)
        if len(content) != count:
            raise EOFError(f"{count} bytes, got {len(content)}")
        self.append(content)

    dispatch[pickle.REDUCE[0]] = _reduce
    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.BYTEARRAY8[0]] = _byte_array_here
    dispatch[pickle.NEWOBJ[0]] = dispatch[pickle.NEWOBJ_EX[0]] = _new_object
