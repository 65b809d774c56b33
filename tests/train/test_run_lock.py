import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from marrow.errors import ConfigError
from marrow.train import run_directory as module
from marrow.train.run_directory import LOCK, run_lock

HOLD = """
import sys
from pathlib import Path
from marrow.train.run_directory import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()  # until it is killed
"""


def _holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_told_who_is_there_and_a_kill_frees_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with _holder(folder) as process:
        try:
            with (
                pytest.raises(ConfigError, match=rf"process {process.pid} on .*choose another --out"),
                run_lock(folder),
            ):
                pass
            with pytest.raises(ConfigError), run_lock(folder):  # the refusal has not freed it
                pass
        finally:
            process.kill()
            process.wait()
        with run_lock(folder):
            assert (folder / LOCK).read_text().startswith(f"process {os.getpid()} on ")
    with run_lock(folder):
        pass


def test_where_there_are_no_locks_the_run_goes_on_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "fcntl", None)
    with caplog.at_level(logging.WARNING), run_lock(tmp_path):
        pass
    assert "no second run" in caplog.text


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write there"), run_lock(tmp_path / "file" / "run"):
        pass
