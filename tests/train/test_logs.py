import pytest

from marrow.errors import DataError
from marrow.train.logs import read_log


def test_a_log_without_its_last_line_is_read_and_a_damaged_one_is_named(tmp_path):
    log = tmp_path / "log.jsonl"
    assert read_log(log) == []
    log.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_log(log) == [{"step": 1}, {"step": 2}]
    for junk in (b"\xff\xfe{\n", b'{"step" 1}\n'):
        log.write_bytes(junk)
        with pytest.raises(DataError, match=r"log\.jsonl: cannot be read as a log"):
            read_log(log)
