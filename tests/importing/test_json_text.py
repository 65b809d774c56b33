"""JSON as text: how deep it may be nested, and that no text takes more time than in proportion to its length."""

import json
import time

import pytest

from marrow.errors import ParseError
from marrow.readers.text_file import MAX_JSON_DEPTH, read_json


@pytest.fixture
def read(tmp_path):
    def read_content(content):
        path = tmp_path / "a.json"
        path.write_text(content)
        return read_json(path)

    return read_content


def test_depth(read):
    read("[" * MAX_JSON_DEPTH + "]" * MAX_JSON_DEPTH)
    with pytest.raises(ParseError, match="deep") as caught:
        read("[\n{}, " * MAX_JSON_DEPTH + "[]" + "]" * MAX_JSON_DEPTH)
    assert caught.value.line == MAX_JSON_DEPTH + 1


def test_brackets_in_strings_are_no_depth(read):
    words = ["[" * 100, '"' + "{" * 100]
    assert read(json.dumps(words)) == words
    with pytest.raises(ParseError, match="deep"):
        read("[" * 70 + json.dumps("]" * 70) + "]" * 70)


@pytest.mark.parametrize("content", ['["' + '\\"' * 1_000_000, '"' * 999_999, "[" * 2_000_000, '{"a":' * 400_000])
def test_no_text_takes_long(read, content):
    start = time.perf_counter()
    with pytest.raises(ParseError):
        read(content)
    assert time.perf_counter() - start < 10  # a quadratic search takes hours
