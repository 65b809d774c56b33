"""Headers of NPY and NPZ are held against the bytes that are there; rows of large arrays are read alone."""

import io
import resource
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marrow.errors import DataError, MarrowError, ParseError
from marrow.importing.arrays.file import left_out_of, open_arrays
from marrow.importing.importer import Recordings


def npy_header(shape, descr="<f4", fortran=False):
    text = str({"descr": descr, "fortran_order": fortran, "shape": shape})
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">i2", "<i8", "u1", "?", "<U3"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_plain_type_and_order_is_read_row_by_row(tmp_path, dtype, order):
    values = np.arange(24).reshape(4, 3, 2).astype(dtype)
    np.save(tmp_path / "a.npy", np.asarray(values, order=order))
    np.savez(tmp_path / "b.npz", a=np.asarray(values, order=order), other=np.ones(2))
    np.savez_compressed(tmp_path / "c.npz", other=np.ones(2), a=np.asarray(values, order=order))
    for name, member in (("a.npy", ""), ("b.npz", "a"), ("c.npz", "a")):
        rows = open_arrays(tmp_path / name)[member]
        assert rows.shape == (4, 3, 2)
        for row in (2, 0, 3, 1):  # going back begins a compressed member anew
            np.testing.assert_array_equal(rows[row], values[row])
        np.testing.assert_array_equal(rows.whole(), values)


def test_members_that_are_no_plain_arrays_are_left_out_by_name(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, a=np.ones((2, 2)), names=np.array([{"code": print}], dtype=object))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("readme.txt", "hello")
    assert list(open_arrays(file)) == ["a"]
    assert [name.split()[0] for name in left_out_of(file)] == ["names", "readme.txt"]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"hello", "NPY"),
        (b"\x93NUMPY\x01\x00", "header"),
        (npy_header((10**12, 25, 3)) + bytes(300), "1,000,000,000,000"),
        (npy_header((10**30,)) + bytes(300), "bytes in all"),
        (npy_header((4, -1)) + bytes(300), "at least 0"),
        (npy_header((2, 2)) + bytes(15), "15 bytes"),
        (npy_header((2,), "|O") + bytes(300), "Python objects"),
        (npy_header((2,), "<c8") + bytes(300), "real numbers"),
        (npy_header((2,), [("x", "<f4")]) + bytes(300), "real numbers"),
        (npy_header((1,) * 40) + bytes(300), "axes"),
        (npy_header((2,)).replace(b"descr", b"dscer") + bytes(300), "type, order and shape"),
    ],
)
def test_headers_that_the_bytes_do_not_bear_out_are_refused(tmp_path, content, word):
    file = tmp_path / "a.npy"
    file.write_bytes(content)
    with pytest.raises(ParseError, match=word) as error:
        open_arrays(file)
    assert error.value.path == file


def test_a_compressed_member_of_a_terabyte_is_refused(tmp_path):
    file = tmp_path / "bomb.npz"
    header = npy_header((10**12,), "|u1")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header + bytes(10_000_000))
    with pytest.raises(ParseError, match="1,000,000,000,000"):
        open_arrays(file)
    # The directory may tell the same lie.
    content = file.read_bytes()
    honest = struct.pack("<I", len(header) + 10_000_000)
    file.write_bytes(content.replace(honest, struct.pack("<I", 0xFFFF0000)))
    with pytest.raises(ParseError):
        open_arrays(file)


def test_a_damaged_compressed_member_says_so_and_where(tmp_path):
    file = tmp_path / "a.npz"
    values = np.random.default_rng(0).normal(size=(1000, 30))
    np.savez_compressed(file, x=values)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(ParseError, match="damaged"):
        open_arrays(file)["x"][999]


def test_other_compressions_and_passwords_are_refused(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    file = tmp_path / "a.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", buffer.getvalue())
    with pytest.raises(ParseError, match="savez_compressed"):
        open_arrays(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", buffer.getvalue())
    content = bytearray(file.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(content)
    with pytest.raises(ParseError, match="encrypted"):
        open_arrays(file)


def sparse_npz(file, member, shape, rows):
    """Write an archive with one stored member of any size, whose rows are zero but for a few; it takes no room."""
    header = npy_header(shape)
    row_bytes = 4 * int(np.prod(shape[1:]))
    size = len(header) + shape[0] * row_bytes
    name = member.encode()
    both = struct.pack("<HHQQ", 1, 16, size, size)
    with file.open("wb") as out:
        local = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 45, 0, 0, 0, 33, 0, 2**32 - 1, 2**32 - 1, len(name), 20)
        out.write(local + name + both + header)
        start = out.tell()
        for row, value in rows.items():
            out.seek(start + row * row_bytes)
            out.write(np.full(shape[1:], value, np.float32).tobytes())
        out.seek(start - len(header) + size)
        directory = out.tell()
        out.write(
            struct.pack(
                "<4s6H3I5H2I", b"PK\x01\x02", 45, 45, 0, 0, 0, 33, 0, 2**32 - 1, 2**32 - 1, len(name), 20, 0, 0, 0, 0, 0
            )
        )
        out.write(name + both)
        length = out.tell() - directory
        end64 = out.tell()
        out.write(struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, length, directory))
        out.write(struct.pack("<4sIQI", b"PK\x06\x07", 0, end64, 1))
        out.write(struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, 2**32 - 1, 2**32 - 1, 0))


def test_twenty_gigabytes_are_read_in_little_memory(tmp_path):
    file = tmp_path / "huge.npz"
    shape = (112_000, 300, 150)  # 20.2 GB
    sparse_npz(file, "x_train.npy", shape, {0: 1.0, 77_777: 2.0, 111_999: 3.0})
    code = f"""
import resource
import numpy as np
from pathlib import Path
from marrow.importing.arrays.file import open_arrays
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = open_arrays(Path({str(file)!r}))["x_train"]
assert rows.shape == {shape}
for row, value in ((0, 1), (77_777, 2), (111_999, 3), (5, 0)):
    assert (rows[row] == value).all()
for row in range(0, 112_000, 200):
    rows[row]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    memory = 2 << 30  # of addresses: also what is only mapped would count
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory)),
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 50_000  # kilobytes


def test_compressed_rows_are_read_in_little_memory(tmp_path):
    file = tmp_path / "large.npz"
    shape, rows = (4000, 300, 150), 4000  # 720 MB
    block = np.zeros((100, *shape[1:]), np.float32)
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x_train.npy", "w", force_zip64=True) as out,
    ):
        out.write(npy_header(shape))
        for first in range(0, rows, 100):
            block[:, 0, 0] = np.arange(first, first + 100)
            out.write(block.tobytes())
    code = f"""
import resource
from pathlib import Path
from marrow.importing.arrays.file import open_arrays
rows = open_arrays(Path({str(file)!r}))["x_train"]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for row in (0, 1, 2500, 3999, 7):
    assert rows[row][0, 0] == row, row
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 50_000  # kilobytes


def test_a_file_that_has_changed_is_opened_anew(tmp_path):
    file = tmp_path / "a.npz"
    np.savez_compressed(file, x=np.ones((3, 2)))
    assert open_arrays(file)["x"][2][0] == 1
    np.savez_compressed(file, x=np.full((4, 2), 7.0))
    assert open_arrays(file)["x"][3][0] == 7


def good_files():
    values = np.arange(60, dtype=np.float32).reshape(5, 4, 3)
    contents = []
    for save in (np.savez, np.savez_compressed, lambda file, x: np.save(file, x)):
        buffer = io.BytesIO()
        save(buffer, x=values)
        contents.append(buffer.getvalue())
    return contents


GOOD = good_files()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_damage_brings_another_error(tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(GOOD)))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    file = tmp_path_factory.mktemp("damaged") / "a.npz"
    file.write_bytes(content)
    try:
        for rows in open_arrays(file).values():
            for row in range(min(len(rows), 5) if rows.shape else 0):
                rows[row]
            rows.whole()
    except MarrowError:
        pass


def test_the_checksum_of_what_was_gone_through_is_held(tmp_path):
    file = tmp_path / "a.npz"
    np.savez_compressed(file, x=np.ones((10, 10)))
    content = bytearray(file.read_bytes())
    at = content.index(b"PK\x01\x02") + 16
    content[at : at + 4] = struct.pack("<I", zlib.crc32(b"other"))
    content[14:18] = content[at : at + 4]
    file.write_bytes(content)
    with pytest.raises(ParseError, match="checksum"):
        open_arrays(file)["x"].whole()


def test_a_stream_that_ends_before_what_is_declared_says_so(tmp_path):
    file = tmp_path / "a.npz"
    header = npy_header((1000, 30))
    whole = len(header) + 1000 * 30 * 4
    short = header + np.random.default_rng(0).bytes(60_000)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", short)
    sizes = struct.pack("<I", len(short)), struct.pack("<I", whole)
    file.write_bytes(file.read_bytes().replace(*sizes))
    rows = open_arrays(file)["x"]
    assert rows[0].shape == (30,)
    with pytest.raises(ParseError, match="ends early"):
        rows[999]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["<", ">"])
def test_words_must_be_characters(tmp_path, save, order):
    file = tmp_path / "a.npz"
    save(file, x=np.array(["ab", "cd"], f"{order}U2"))
    assert open_arrays(file)["x"].whole().tolist() == ["ab", "cd"]
    for code in (0x110000, 0xFFFFFFFF, 0xD800):
        codes = np.array([97, 98, code, 100], f"{order}u4")
        save(file, x=codes.view(f"{order}U2"))
        for read in (open_arrays(file)["x"].whole, lambda: open_arrays(file)["x"][1]):
            with pytest.raises(ParseError, match="characters"):
                read()


def test_a_file_in_which_nobody_is_seen_is_named(tmp_path):
    np.save(tmp_path / "nobody.npy", np.full((90, 1, 25, 3), np.nan, np.float32))
    with pytest.raises(DataError, match=r"nobody\.npy: .*nobody is seen"):
        Recordings(layout="kinect_v2_25", paths=["nobody.npy"], fps=30.0, unit_metres=1.0, up="y").for_root(tmp_path)
