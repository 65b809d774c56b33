"""Pickles of plain values are read as they are; whatever asks for more is refused by name and never run."""

import collections
import contextlib
import io
import os
import pickle
import pickletools
import struct
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrow.errors import MarrowError, ParseError
from marrow.importing.arrays.safe_pickle import is_pickle, read_pickle

PLAIN = {
    "half": np.arange(24, dtype=np.float16).reshape(1, 4, 3, 2),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(3, dtype=">i4"),
    "words": np.array(["a", "bcd"]),
    "objects": np.array(["x", None, [1]], dtype=object),
    "zero": np.array(3.0),
    "none": np.zeros((0, 3)),
    "float": np.float32(2.5),
    "int": np.int64(-3),
    "bool": np.bool_(True),
    "bytes": b"a\xff",
    "large": 2**200,
    "sets": [{1, 2}, frozenset("a")],
    "tuples": ((), (1,), (1, 2.5, "ü", None, True)),
}


def same(one, other):
    if isinstance(one, np.ndarray | np.generic):
        return type(one) is type(other) and one.shape == other.shape and np.array_equal(one, other)
    return one == other


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_read_at_every_protocol(tmp_path, protocol):
    file = tmp_path / "a.pkl"
    content = pickle.dumps([PLAIN, PLAIN["half"]], protocol)
    file.write_bytes(content)
    assert is_pickle(content)
    values, again = read_pickle(file)
    assert list(values) == list(PLAIN)
    for name, value in PLAIN.items():
        assert same(value, values[name]), name
    assert again is values["half"]  # what is one array stays one
    assert read_pickle(file) is read_pickle(file)


@pytest.mark.parametrize(("old", "new"), [(b"numpy._core", b"numpy.core"), (b"numpy._core", b"numpy._core")])
def test_both_names_of_numpys_inside_are_known(tmp_path, old, new):
    file = tmp_path / "a.pkl"
    content = pickle.dumps(np.arange(3), 2)
    assert b"numpy._core" in content or b"numpy.core" in content
    file.write_bytes(content.replace(old, new))
    np.testing.assert_array_equal(read_pickle(file), [0, 1, 2])


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def attacks(folder):
    trap = str(folder / "trap")
    yield "system", Calls(os.system, f"touch {trap}")
    yield "eval", Calls(eval, f"open({trap!r}, 'w')")
    yield "Popen", Calls(subprocess.Popen, ["touch", trap])
    yield "getattr", Calls(getattr, "a", "upper")
    yield "OrderedDict", collections.OrderedDict(a=1)
    yield "load", Calls(np.load, trap)
    yield "memmap", Calls(np.memmap, trap)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("at", range(7))
def test_what_could_run_code_is_refused_by_name(tmp_path, protocol, at):
    word, value = list(attacks(tmp_path))[at]
    file = tmp_path / "a.pkl"
    file.write_bytes(pickle.dumps({"annotations": [PLAIN, value]}, protocol))
    with pytest.raises(ParseError, match=word) as error:
        read_pickle(file)
    assert error.value.path == file
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'touch trap'\ntR.",  # a function and its call
        b"(S'touch trap'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch trap'\no.",  # OBJ
        b"\x80\x02cnumpy\nndarray\n(I1000000000000\nt\x81.",  # an array of a terabyte, by its class
        b"\x80\x02cnumpy\nndarray\n(I1000000000000\ntR.",
        b"(cnumpy\nndarray\nI1000000000000\no.",
        b"Pname\n.",  # a persistent object
        b"\x80\x02U\x01aQ.",
        b"\x80\x02\x82\x01.",  # an extension
        b"\x80\x02cbuiltins\nset\n)R}b.",  # the state of something that has none to set
        b"\x80\x02c__builtin__\nexec\nX\x01\x00\x00\x00a\x85R.",
        b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.sort\x93.",
    ],
)
def test_pickles_by_hand_are_refused(tmp_path, content):
    file = tmp_path / "a.pkl"
    file.write_bytes(content)
    with pytest.raises(ParseError):
        read_pickle(file)


def test_arrays_must_have_the_bytes_that_their_shape_says(tmp_path):
    file = tmp_path / "a.pkl"
    good = pickle.dumps(np.arange(4, dtype="u1").reshape(2, 2), 2)
    file.write_bytes(good)
    np.testing.assert_array_equal(read_pickle(file), [[0, 1], [2, 3]])
    shape = pickle.dumps((2, 2), 2)[2:-1].split(b"q")[0]
    assert shape in good
    for wrong in (b"K\x02K\x09\x86", b"J\xff\xff\xff\x7fK\x02\x86", b"J\xff\xff\xff\xffK\x02\x86"):
        file.write_bytes(good.replace(shape, wrong))
        with pytest.raises(ParseError):
            read_pickle(file)


@pytest.mark.parametrize("code", [0x110000, 0xFFFFFFFF, 0xD800])
def test_words_must_be_characters(tmp_path, code):
    file = tmp_path / "a.pkl"
    good = pickle.dumps(np.array(["ab", "cd"]), 4)
    file.write_bytes(good)
    assert read_pickle(file).tolist() == ["ab", "cd"]
    place = "c".encode("utf-32-le")
    assert good.count(place) == 1
    file.write_bytes(good.replace(place, struct.pack("<I", code)))
    with pytest.raises(ParseError, match="characters"):
        read_pickle(file)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"a.",  # a frame of a terabyte
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"a.",  # bytes of a terabyte
        b"\x80\x05\x8e" + struct.pack("<Q", 1 << 40) + b"a.",
        b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"a.",
        b"\x80\x02]r\xff\xff\xff\xff.",  # the four billionth place of the memo
        b"\x80\x02\x8b" + struct.pack("<I", 0x7FFFFFFF) + b"a.",
        b"I" + b"9" * 100_000 + b"\n.",
        b"(" * 100_000,
        b"]" * 100_000 + b"a" * 99_999 + b".",
        # The same list made into a set a hundred thousand times.
        b"\x80\x02]q\x00(" + b"K\x01" * 20_000 + b"e(" + b"c__builtin__\nset\nh\x00\x85R" * 20_000 + b"t.",
    ],
)
def test_what_numbers_in_the_file_ask_for_is_not_allocated(tmp_path, content):
    import resource

    file = tmp_path / "a.pkl"
    file.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(MarrowError):
        read_pickle(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


@pytest.mark.parametrize(
    "content", [b"", b"\x80", b"\x80\x04.", b"hello\n", b"{}", b"PK\x03\x04abc", b"\x80\x09K\x01."]
)
def test_what_is_no_pickle_is_refused(tmp_path, content):
    file = tmp_path / "a.pkl"
    file.write_bytes(content)
    with pytest.raises(ParseError):
        read_pickle(file)


@pytest.mark.parametrize(
    "content", [b'{"a": 1}', b"(1, 2)\n(3, 4)\n", b"[1, 2]", b"x,y\n1,2\n", b"", b"\x93NUMPY\x01\x00"]
)
def test_text_and_arrays_are_not_taken_for_pickles(content):
    assert not is_pickle(content)


GOOD = [pickle.dumps(PLAIN, protocol) for protocol in (0, 2, 4, 5)]


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_no_damage_brings_another_error(tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(GOOD)))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    file = tmp_path_factory.mktemp("damaged") / "a.pkl"
    file.write_bytes(content)
    is_pickle(bytes(content))
    with contextlib.suppress(MarrowError):
        read_pickle(file)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([code.code.encode("latin-1") for code in pickletools.opcodes]), max_size=30), st.binary()
)
def test_no_order_of_instructions_brings_another_error(tmp_path_factory, codes, argument):
    file = tmp_path_factory.mktemp("codes") / "a.pkl"
    out = io.BytesIO()
    for code in codes:
        out.write(code + argument[:4])
    file.write_bytes(out.getvalue() + b".")
    with contextlib.suppress(MarrowError):
        read_pickle(file)
