"""`marrow import` that is killed: the same command goes on, and the store is the one that it would have been."""

import json
import os
import shutil
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
from marrow.store.convert import convert_recordings

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


@pytest.mark.parametrize("changed", ["newer", "as it was", "mended", "a later frame"])
def test_what_was_made_of_files_that_changed_since_is_made_anew(tmp_path, changed):
    raw, out = tmp_path / "raw", tmp_path / "store"
    raw.mkdir()
    body = np.random.default_rng(0).normal(0, 0.3, (10, 25, 3)).cumsum(axis=0) / 10
    for number in range(2 * SHARD_CLIPS):
        np.save(raw / f"{number:02d}.npy", body.astype(np.float32))
    if changed == "mended":
        (raw / "03.npy").write_bytes(b"")
    if changed == "a later frame":
        shutil.rmtree(raw)
        raw.mkdir()
        for number in range(3):
            points = [100.0 + number, 50.0, 0.9] * 25
            document = {"version": 1.3, "people": [{"pose_keypoints_2d": points}]}
            (raw / f"clip_{number:012d}_keypoints.json").write_text(json.dumps(document))

    def run():
        reader = Recordings(format="array" if changed != "a later frame" else None).for_root(raw)
        return convert_recordings(reader, raw, out, on_error="drop", shard_clips=SHARD_CLIPS)

    before = run()
    assert len(before.dropped) == (changed == "mended")
    future = time.time_ns() + 10**9
    if changed == "a later frame":
        file = raw / "clip_000000000002_keypoints.json"
        file.write_text(file.read_text().replace("102.0", "150.0"))
        os.utime(file, ns=(future, future))
    elif changed != "as it was":
        np.save(raw / "03.npy", body.astype(np.float32) * 1.5)
        os.utime(raw / "03.npy", ns=(future, future))
    after = run()
    assert after.kept_shards == {"newer": 1, "mended": 1, "as it was": 2, "a later frame": 0}[changed]
    assert (after.fingerprint == before.fingerprint) == (changed == "as it was")
    assert after.dropped == ()
