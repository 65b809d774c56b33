"""What goes wrong with files: cut, flipped, doubled, re-encoded, absurd numbers, swapped words, or another's bytes.

Everything follows from the generator that is given, so that an input can be made again from its seed.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from random import Random

_NUMBER = re.compile(rb"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WORD = re.compile(rb"[A-Za-z_]\w*|[-+.\w]+|[{}\[\]():,;\"]")
_EXTREMES = (
    *(b"0", b"-1", b"1", b"1e400", b"-1e400", b"nan", b"NaN", b"inf", b"-Infinity", b"1e38", b"3.5e38", b"1e-320"),
    *(b"2147483648", b"-2147483649", b"999999999", b"99999999999999999999", b"9" * 5000, b"1_0", b"0x10", b"1,5"),
    *(b"", b"null", b"true", b'""', b"[]", b"{}", "٣".encode(), b"-0.0", b"1e7", b"65536"),
)
_INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 10**12, 2**63 - 1)
_ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-7", "cp037")
# No input grows beyond this: the limits on memory are tried by what headers say.
_LARGEST = 1 << 20

Change = Callable[[bytes, Random], bytes]


def _range(content: bytes, random: Random) -> tuple[int, int]:
    """Return a start and an end within the content; short ranges are as likely as long ones."""
    longest = max(1, len(content) >> random.randrange(12))
    start = random.randrange(len(content) + 1)
    return start, min(len(content), start + random.randint(1, longest))


def _cut(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _flip(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8, 64)) if changed else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _zero(content: bytes, random: Random) -> bytes:
    start, end = _range(content, random)
    return content[:start] + bytes(end - start) + content[end:]


def _delete(content: bytes, random: Random) -> bytes:
    start, end = _range(content, random)
    return content[:start] + content[end:]


def _double(content: bytes, random: Random) -> bytes:
    start, end = _range(content, random)
    return content[:end] + content[start:end] * random.choice((1, 1, 2, 100)) + content[end:]


def _move(content: bytes, random: Random) -> bytes:
    start, end = _range(content, random)
    rest = content[:start] + content[end:]
    at = random.randrange(len(rest) + 1)
    return rest[:at] + content[start:end] + rest[at:]


def _insert(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content) + 1)
    return content[:at] + random.randbytes(random.choice((1, 4, 100))) + content[at:]


def _integer(content: bytes, random: Random) -> bytes:
    """Put an absurd integer anywhere: counts and sizes in binary headers."""
    size = random.choice((1, 2, 4, 8))
    value = random.choice(_INTEGERS) % (1 << (8 * size))
    # Headers are at the beginning.
    at = random.randrange(1 + min(len(content), random.choice((64, 1024, 1 << 30))))
    return content[:at] + value.to_bytes(size, random.choice(("little", "big"))) + content[at + size :]


def _number(content: bytes, random: Random) -> bytes:
    """Write something else in place of a number, or of all that are equal to it."""
    places = [match.span() for match in _NUMBER.finditer(content[:_LARGEST])]
    if not places:
        return _integer(content, random)
    start, end = random.choice(places[:20] if random.random() < 0.3 else places)
    value = random.choice(_EXTREMES)
    if random.random() < 0.1 and end > start:
        return content.replace(content[start:end], value)
    return content[:start] + value + content[end:]


def _words(content: bytes, random: Random) -> bytes:
    """Exchange two words, write one in place of another, or leave one out."""
    places = [match.span() for match in _WORD.finditer(content[:_LARGEST])]
    if len(places) < 2:
        return _flip(content, random)
    (start, end), (other_start, other_end) = sorted(random.sample(places, 2))
    word, other = content[start:end], content[other_start:other_end]
    before, between, after = content[:start], content[end:other_start], content[other_end:]
    kind = random.randrange(3)
    new, new_other = ((other, word), (other, other), (b"", other))[kind]
    return before + new + between + new_other + after


def _lines(content: bytes, random: Random) -> bytes:
    """Leave out a line, repeat it, move it, or put something between lines."""
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return _double(content, random)
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    kind = random.randrange(5)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[other] * random.choice((1, 1, 50)))
    elif kind == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        lines.insert(at, random.choice((b"\n", b"# x\n", b"\0\n", b"   \n", b"," * 100 + b"\n")))
    else:
        lines[at] = lines[at].rstrip(b"\r\n") + random.choice((b" 1\n", b",1\n", b" \n", b""))
    return b"".join(lines)


def _write_anew(content: bytes, random: Random) -> bytes:
    """Write a text in another encoding, or with other line ends or decimal commas."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return _insert(content, random)
    kind = random.randrange(5)
    if kind == 0:
        return text.replace("\n", random.choice(("\r", "\r\n", "\n\n", " ", "\u2028"))).encode()
    if kind == 1:
        return re.sub(r"(\d)\.(\d)", r"\1,\2", text).encode()
    if kind == 2:
        return text.replace(" ", random.choice(("\t", "\u00a0", ";", ","))).encode()
    return text.encode(random.choice(_ENCODINGS), "replace")


def _inside_zip(content: bytes, random: Random) -> bytes:
    """Change a member of a ZIP archive, and write its check sum anew, so that what it holds is read."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError, NotImplementedError, EOFError):
        return _flip(content, random)
    if not members:
        return _insert(content, random)
    name = random.choice(sorted(members))
    kind = random.randrange(6)
    if kind == 0:
        del members[name]
    elif kind == 1:
        members[random.choice(("x.npy", "y.npy", "x_train.npy", "../x", "a" * 300))] = members[name]
    else:
        members[name] = random.choice(_PLAIN)(members[name], random)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return out.getvalue()


_PLAIN: tuple[Change, ...] = (
    *(_cut, _flip, _zero, _delete, _double, _move, _insert),
    *(_integer, _integer, _number, _number, _number, _words, _words, _lines, _lines),
)


def damaged(case: Mapping[str, bytes], others: Sequence[bytes], random: Random) -> dict[str, bytes]:
    """Return the files of a good case with something wrong in one of them.

    Args:
        case: contents by name.
        others: files of other kinds.
        random: decides.
    """
    files = dict(case)
    name = random.choice(sorted(files))
    content = files[name]
    for _ in range(random.choice((1, 1, 1, 2, 3, 5))):
        lot = random.random()
        if lot < 0.03:
            content = random.choice(others)
        elif lot < 0.05:
            other = random.choice(others)
            content = content[: random.randrange(len(content) + 1)] + other[random.randrange(len(other) + 1) :]
        elif lot < 0.10:
            content = _write_anew(content, random)
        elif content.startswith(b"PK") and lot < 0.7:
            content = _inside_zip(content, random)
        else:
            content = random.choice(_PLAIN)(content, random)
        content = content[:_LARGEST]
    files[name] = content
    if random.random() < 0.02:
        suffix = random.choice((".json", ".txt", ".npy", ".npz", ".pkl", ".bvh", ".mat", ".c3d", ""))
        files[name.rpartition(".")[0] + suffix] = files.pop(name)
    return files
