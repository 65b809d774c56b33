"""Text and JSON as people's systems write them: any line ends, byte-order marks, UTF-16; and no more than fits.

What a text means is never guessed here: bytes that are no text are an error that says so.
"""

import codecs
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from marrow.errors import ParseError

# A text file of one recording is smaller; what is larger is a mistake or an attack on the memory.
MAX_TEXT_BYTES = 1 << 29
# What JSON says takes about 15 times its size in memory.
MAX_JSON_BYTES = 1 << 27
MAX_JSON_DEPTH = 64

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as UTF-16's mark does, so it is looked for first
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PIECE = 1 << 20
# Possessive, and with a string that does not end: the time stays in proportion to the text, whatever it is.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_STRING_OR_BRACKET = re.compile(rf"{_STRING.pattern}|[\[{{\]}}]", re.DOTALL)


def decode(content: bytes) -> str | None:
    """Return text with LF as the end of its lines; None if the bytes are no text.

    UTF-8, UTF-16 and UTF-32 by their mark, UTF-16 without one by its zeros, Latin-1 where nothing else fits. A cut in
    the middle of a character is overlooked, so that the beginning of a file can be decoded. Zeros and Ctrl-Z at the
    end, which some systems write, are dropped.
    """
    encoding = None
    for mark, name in _MARKS:
        if content.startswith(mark):
            content, encoding = content[len(mark) :], name
            break
    if encoding is None and len(content) >= 8:
        even, odd = content[0:64:2], content[1:64:2]
        if not any(odd) and all(even):
            encoding = "utf-16-le"
        elif not any(even) and all(odd):
            encoding = "utf-16-be"
    if encoding is None:
        content = content.rstrip(b"\0\x1a")
        if b"\0" in content:
            return None
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(content)
        except UnicodeDecodeError:
            text = content.decode("latin-1")
            if sum(character < " " and character not in "\t\r\n\f" for character in text) > len(text) // 100:
                return None
    else:
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(content)
        except UnicodeDecodeError:
            return None
    text = text.rstrip("\0\x1a")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def to_plain(content: bytes) -> bytes:
    """Return text as UTF-8 without a mark, its lines ended by LF, without zeros and Ctrl-Z at its end.

    What is no text is returned as it is: whoever parses it says so with the line.
    """
    marks = tuple(mark for mark, _ in _MARKS)
    if content.startswith(marks) or b"\0" in content[:64]:
        text = decode(content)
        if text is not None:
            return text.encode("utf-8", "replace")
    if content.endswith((b"\0", b"\x1a")):
        content = content.rstrip(b"\0\x1a")
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in content else content


def read_bytes(path: Path, largest: int = MAX_TEXT_BYTES) -> bytes:
    """Return a file's bytes.

    Raises:
        ParseError: it cannot be read, or has more bytes than `largest`.
    """
    try:
        size = path.stat().st_size
        if size > largest:
            raise ParseError(path, 0, f"expected at most {largest:,} bytes in such a file, got {size:,}")
        return path.read_bytes()
    except OSError as error:
        raise ParseError(path, 0, f"expected a readable file: {error.strerror or error}") from error


def read_text(path: Path, largest: int = MAX_TEXT_BYTES) -> str:
    """Return a file's text, its lines ended by LF.

    Raises:
        ParseError: it cannot be read, is empty, or is no text.
    """
    text = decode(read_bytes(path, largest))
    if text is None:
        raise ParseError(path, 0, "expected text, got binary data")
    if not text.strip():
        raise ParseError(path, 0, "expected text, got an empty file")
    return text


def read_json(path: Path) -> Any:
    """Return what a JSON file says. Not-a-numbers are taken as such; what is nested deeper than 64 is refused.

    Raises:
        ParseError: it cannot be read or is no JSON, with the line.
    """
    text = read_text(path, MAX_JSON_BYTES)
    if _is_deep(text):
        depth = 0
        for token in _STRING_OR_BRACKET.finditer(text):
            depth += (token[0] in "[{") - (token[0] in "]}")
            if depth > MAX_JSON_DEPTH:
                line = text.count("\n", 0, token.start()) + 1
                raise ParseError(path, line, f"expected JSON nested at most {MAX_JSON_DEPTH} deep, got deeper")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ParseError(path, error.lineno, f"expected JSON, got something else ({error.msg})") from error
    except (ValueError, RecursionError) as error:  # a number of more digits than Python turns into an int
        raise ParseError(path, 0, f"expected JSON, got something else ({error})") from error


def _is_deep(text: str) -> bool:
    """Tell JSON that is nested deeper than is taken."""
    bare = _STRING.sub("", text)
    depth = 0
    for start in range(0, len(bare), _PIECE):
        codes = np.frombuffer(bare[start : start + _PIECE].encode("utf-32-le"), np.uint32)
        opens, closes = (codes == ord("[")) | (codes == ord("{")), (codes == ord("]")) | (codes == ord("}"))
        depths = depth + np.cumsum(opens.astype(np.int32) - closes)
        if depths.max() > MAX_JSON_DEPTH:
            return True
        depth = int(depths[-1])
    return False
