"""Help for tests of formats in JSON: write, detect, read, and what bad input is."""

import contextlib
import json
import os

from hypothesis import strategies as st

from marrow.errors import MarrowError
from marrow.importing.detect import FORMATS, get_format, read_head
from marrow.importing.recording import ReadOptions


def write(path, document):
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def format_of(path):
    """Return the name of the first of the estimators' formats that accepts a file, in the order of the registry."""
    head = read_head(path)
    names = ("openpose", "alphapose", "mmpose", "coco", "yolo_pose", "mediapipe")
    return next((name for name in FORMATS if name in names and get_format(name).accepts(head)), None)


def read_all(reader, files, **options):
    """Return (contents, recordings by key) of each source that the files make."""
    options = ReadOptions(**options)
    found = []
    for source in reader.gather(sorted(files)):
        contents = reader.peek(source, options)
        found.append((contents, {clip.key: reader.read(source, clip.key, options) for clip in contents.clips}))
    return found


def read_one(reader, path, **options):
    """Return contents and the only recording of a file, after the format has accepted it."""
    assert reader.accepts(read_head(path))
    ((contents, recordings),) = read_all(reader, [path], **options)
    (recording,) = recordings.values()
    return contents, recording


@st.composite
def damaged(draw, good: bytes):
    """Return a good file's bytes cut short, with some of them changed, or with a piece of it twice."""
    content = bytearray(good)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content) - 1))
        content[at] = draw(st.sampled_from(b'0123456789[]{},:."-eEnN \n\x00\xff') | st.integers(0, 255))
    if draw(st.booleans()):
        start, end = sorted((draw(st.integers(0, len(content))), draw(st.integers(0, len(content)))))
        content = content[:end] + content[start:]
    if draw(st.booleans()):
        content = content[: draw(st.integers(0, len(content)))]
    return bytes(content)


def only_our_errors(reader, path, content):
    """Read damaged content; whatever is wrong with it must be one of marrow's errors."""
    path.write_bytes(content)
    os.utime(path, ns=(0, abs(hash(content)) % 10**18))  # files that are written within one tick are told apart
    reader.accepts(read_head(path))
    with contextlib.suppress(MarrowError):
        read_all(reader, [path])


WRONG_FILES = {
    "empty": b"",
    "blank": b" \n ",
    "binary": bytes(range(256)),
    "null": b"null",
    "number": b"3",
    "text": b'"people"',
    "list": b"[]",
    "object": b"{}",
    "lists": b"[[1, 2], [3]]",
    "html": b"<html></html>",
    "deep": b"[" * 100_000,
    "deep pairs": b"[" * 70 + b"]" * 70,
    "digits": b"[" + b"9" * 100_000 + b"]",
    "cut": b'{"people": [{"pose_keypoints_2d": [1, 2',
}
