"""`marrow import` that is killed: the same command goes on, and the store is the one that it would have been."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from marrow.cli.main import main
from marrow.errors import StoreError
from marrow.importing.importer import Recordings
from marrow.store import Store

HEAD = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Chest
  {
    OFFSET 0 40 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 20 0
    }
  }
}
MOTION
"""
FILES, DIFFERENT, FRAMES, SHARD_CLIPS = 320, 16, 700, 16


@pytest.fixture
def source(tmp_path):
    """A folder with many names of a few files, which take a while to read."""
    folder = tmp_path / "raw"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(FILES):
        file = folder / f"{number:03d}.bvh"
        if number >= DIFFERENT:
            os.link(folder / f"{number % DIFFERENT:03d}.bvh", file)
            continue
        rows = "\n".join(" ".join(f"{value:.3f}" for value in row) for row in random.normal(0, 5, (FRAMES, 9)))
        file.write_text(f"{HEAD}Frames: {FRAMES}\nFrame Time: 0.0333333\n{rows}\n")
    return folder


@pytest.mark.slow
def test_after_kill_9_the_same_command_goes_on(source, tmp_path):
    def command(out):
        return ["import", str(source), "--out", str(out), "--jobs", "2", "--unit_metres", "0.01", "--up", "y"]

    assert main(command(tmp_path / "reference")) == 0
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "marrow", *command(out)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("shards/0*"))) < 3:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    with pytest.raises(StoreError, match="not finished"):
        Store.open(out)
    kept = {path.name: path.stat().st_ino for path in out.glob("shards/0*")}
    assert 3 <= len(kept) < FILES // SHARD_CLIPS

    assert main(command(out)) == 0
    after = {path.name: path.stat().st_ino for path in out.glob("shards/0*")}
    assert len(after) == FILES // SHARD_CLIPS
    assert kept.items() <= after.items(), "finished shards are kept, not made again"
    names = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert names == sorted(
        path.relative_to(tmp_path / "reference") for path in (tmp_path / "reference").rglob("*") if path.is_file()
    )
    assert all((out / name).read_bytes() == (tmp_path / "reference" / name).read_bytes() for name in names)


def test_what_is_known_of_a_folder_is_not_looked_for_again(source):
    known = Recordings(unit_metres=0.01, up="y").for_root(source)
    assert known.for_root(source) is known
    assert known.for_root(source.parent) is not known
