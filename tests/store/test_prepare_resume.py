"""Preparation: the same to the last bit for any number of processes and after any interruption; clear refusals."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_source import STALLS_FROM, Toy, make_sequence, write_files

from marrow.errors import ConfigError, DataError, ParseError, StoreError
from marrow.skeleton.sequence import Record
from marrow.store import Store, convert_recordings, write_store

COUNT = 24


@pytest.fixture
def source(tmp_path):
    write_files(tmp_path / "raw", COUNT)
    return tmp_path / "raw"


@pytest.fixture
def reference(source, tmp_path):
    return convert_recordings(Toy(), source, tmp_path / "reference", shard_clips=2).fingerprint


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_is_prepared_is_what_the_reader_reads(source, tmp_path):
    summary = convert_recordings(Toy(), source, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert (summary.clips, len(store), summary.dropped) == (COUNT, COUNT, ())
    assert summary.padded_bytes == COUNT * 300 * 2 * 20 * 3 * 4
    assert (store.source, store.options) == ("toy", {"seconds_per_clip": 0.0, "scale": 1.0})
    assert [rows.tolist() for rows in store.split_rows("xsub")] == [
        [row for row in range(COUNT) if row % 4 < 2],
        [row for row in range(COUNT) if row % 4 == 2],
    ]
    for row, record in enumerate(Toy().records(source)):
        assert store.sequence(row).joints.tobytes() == Toy().read(source, record).joints.tobytes()
        assert store.records[row] == record
    store.verify()


def test_two_processes_write_the_same_bytes_as_one(source, tmp_path, reference):
    summary = convert_recordings(Toy(), source, tmp_path / "two", jobs=2, shard_clips=2)
    assert summary.fingerprint == reference
    assert contents(tmp_path / "two") == contents(tmp_path / "reference")


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"PAR1"), Path.unlink])
def test_the_same_command_mends_the_list_of_what_was_dropped(source, tmp_path, damage):
    out = tmp_path / "store"
    whole = convert_recordings(Toy(), source, out, shard_clips=2)
    damage(out / "dropped.parquet")
    with pytest.raises(StoreError, match=r"dropped\.parquet"):
        _ = Store.open(out).dropped
    mended = convert_recordings(Toy(), source, out, shard_clips=2)
    assert (mended.fingerprint, mended.kept_shards) == (whole.fingerprint, whole.shards)
    assert Store.open(out).dropped == ()


def test_the_fingerprint_does_not_depend_on_the_shards(source, tmp_path, reference):
    assert convert_recordings(Toy(), source, tmp_path / "one", shard_clips=100).fingerprint == reference


def start(source, out, jobs, seconds=0.0, wait_for_shards=3, stalls_from=None):
    """Start a slow preparation in a session of its own and wait until some shards are there.

    `stalls_from`: the number of the recording at which it stops for ever, however busy the machine is.
    """
    program = Path(__file__).with_name("toy_source.py")
    process = subprocess.Popen(
        [sys.executable, program, source, out, str(jobs), str(seconds)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **({} if stalls_from is None else {STALLS_FROM: str(stalls_from)})},
    )
    deadline = time.monotonic() + 600
    while len(list(Path(out).glob("shards/0*"))) < wait_for_shards:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


@pytest.mark.parametrize("jobs", [1, 2])
def test_after_kill_9_the_rest_is_made(source, tmp_path, jobs):
    expected = convert_recordings(Toy(), source, tmp_path / "reference", shard_clips=2, jobs=2)
    out = tmp_path / "killed"
    process = start(source, out, jobs, stalls_from=COUNT // 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    # A shard that was being written when the power went.
    torn = out / "shards" / "unfinished-00099-0badf00d"
    torn.mkdir()
    (torn / "joints.npy").write_bytes(b"torn")
    with pytest.raises(StoreError, match=r"is not finished. Run the `marrow prepare` that began it again"):
        Store.open(out)

    summary = convert_recordings(Toy(), source, out, shard_clips=2)
    assert 3 <= summary.kept_shards < COUNT // 2
    assert summary.fingerprint == expected.fingerprint
    assert contents(out) == contents(tmp_path / "reference")


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_ends_it_and_keeps_what_is_finished(source, tmp_path, jobs):
    # Long enough that a busy machine does not finish before it is told to stop.
    process = start(source, tmp_path / "store", jobs, seconds=0.2)
    os.killpg(process.pid, signal.SIGINT)  # As a terminal does: to the workers too.
    output, _ = process.communicate(timeout=600)
    assert (process.returncode, output) == (130, "interrupted\n")
    assert convert_recordings(Toy(0.2), source, tmp_path / "store", shard_clips=2).kept_shards >= 3


def test_a_finished_store_is_not_made_again(source, tmp_path):
    first = convert_recordings(Toy(), source, tmp_path / "store", shard_clips=2)
    before = contents(tmp_path / "store")
    again = convert_recordings(Toy(), source, tmp_path / "store", shard_clips=2)
    assert again.kept_shards == again.shards == first.shards == COUNT // 2
    assert contents(tmp_path / "store") == before


@pytest.mark.parametrize("harm", ["remove", "cut", "replace part"])
def test_a_damaged_shard_is_reported_and_made_again(source, tmp_path, harm, reference):
    out = tmp_path / "store"
    convert_recordings(Toy(), source, out, shard_clips=2)
    victim = out / "shards" / "00003" / "joints.npy"
    if harm == "remove":
        victim.unlink()
        message = r"joints.npy is missing. Run the `marrow prepare` that made it again"
    elif harm == "cut":
        victim.write_bytes(victim.read_bytes()[:-4])
        message = r"00003/joints.npy is cut or changed: expected \d+ bytes, got \d+"
    else:
        (victim.parent / "part.json.gz").write_text("{")
        message = None
    if message:
        with pytest.raises(StoreError, match=message) as caught:
            Store.open(out)
        assert "\n" not in str(caught.value)
    summary = convert_recordings(Toy(), source, out, shard_clips=2)
    assert (summary.shards - summary.kept_shards, summary.fingerprint) == (1, reference)


def test_damage_is_found_by_whatever_reads_it_and_mended_by_the_same_command(source, tmp_path, reference):
    out = tmp_path / "store"
    convert_recordings(Toy(), source, out, shard_clips=2)
    victim = out / "shards" / "00003" / "joints.npy"
    data = bytearray(victim.read_bytes())
    data[-4:] = bytes(4)
    data[-1] ^= 1
    victim.write_bytes(data)
    store = Store.open(out)
    last = [row for row in range(len(store)) if store.ids[row] in ("006", "007")]
    for read in (store.verify, store.flat, lambda: store.sequence(last[-1])):
        with pytest.raises(StoreError, match=r"shards/00003 changed .*\(1 clips: 007\)"):
            read()
    store.sequence(0)  # what lies in other shards can be read
    summary = convert_recordings(Toy(), source, out, shard_clips=2)
    assert (summary.shards - summary.kept_shards, summary.fingerprint) == (1, reference)
    Store.open(out).verify()


def test_a_store_without_check_sums_opens_with_a_word(source, tmp_path, caplog):
    out = tmp_path / "store"
    convert_recordings(Toy(), source, out, shard_clips=2)
    header = json.loads((out / "store.json").read_text())
    for shard in header["shards"]:
        for file in shard["files"].values():
            del file["crc32"]
    del header["index"]["crc32"]
    (out / "store.json").write_text(json.dumps(header))
    assert len(Store.open(out).sequence(0).joints)
    assert "no check sums" in caplog.text


def test_a_malformed_file_stops_it_and_the_rest_can_go_on(source, tmp_path, reference):
    (source / "013.toy").write_text("gibberish")
    message = re.escape(f"{source / '013.toy'}:1: expected a seed, got 'gibberish'. Mend the file, or leave it out")
    for jobs in (1, 2):
        with pytest.raises(ParseError, match=message):
            convert_recordings(Toy(), source, tmp_path / f"{jobs}", jobs=jobs, shard_clips=2)
        (source / "013.toy").write_text("13")
        summary = convert_recordings(Toy(), source, tmp_path / f"{jobs}", shard_clips=2)
        assert summary.fingerprint == reference
        assert summary.kept_shards >= 6
        (source / "013.toy").write_text("gibberish")


def test_a_malformed_file_can_be_dropped(source, tmp_path):
    (source / "013.toy").write_text("gibberish")
    (source / "014.toy").write_text("empty")
    summary = convert_recordings(Toy(), source, tmp_path / "store", on_error="drop")
    assert [(one.id, one.path, one.reason) for one in summary.dropped] == [
        ("013", "013.toy", f"{source / '013.toy'}:1: expected a seed, got 'gibberish'"),
        ("014", "014.toy", f"{source / '014.toy'}: nobody is seen"),
    ]
    assert summary.clips == COUNT - 2
    assert Store.open(tmp_path / "store").dropped == summary.dropped


def test_a_full_disk_is_said_and_what_is_finished_is_kept(source, tmp_path, monkeypatch, reference):
    import marrow.store.writer as writer

    whole = writer.write_durably
    calls = []

    def full_after_a_while(path, *pieces):
        calls.append(path)
        if len(calls) > 20:
            path.write_bytes(pieces[0][:10])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        whole(path, *pieces)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "write_durably", full_after_a_while)
        with pytest.raises(
            StoreError, match=r"the disk is full. Free some space and run the same command again"
        ) as caught:
            convert_recordings(Toy(), source, tmp_path / "store", shard_clips=2)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "store").rglob("unfinished*")) == []
    summary = convert_recordings(Toy(), source, tmp_path / "store", shard_clips=2)
    assert summary.kept_shards == 6  # Three files per shard, one plan before them.
    assert summary.fingerprint == reference


def test_another_plan_is_refused_unless_it_may_overwrite(source, tmp_path):
    out = tmp_path / "store"
    convert_recordings(Toy(), source, out)
    with pytest.raises(
        StoreError, match=r"other settings or files \(--options.scale 1.0 → 2.0\). Choose another out \(--out\)"
    ):
        convert_recordings(Toy(scale=2.0), source, out)
    (source / "099.toy").write_text("99")
    with pytest.raises(StoreError, match=r"\(recordings 24 → 25\)"):
        convert_recordings(Toy(), source, out)
    (source / "023.toy").unlink()
    with pytest.raises(StoreError, match=r"\(other recordings\)"):
        convert_recordings(Toy(), source, out)
    assert len(Store.open(out)) == COUNT
    summary = convert_recordings(Toy(scale=2.0), source, out, overwrite=True)
    assert (summary.kept_shards, Store.open(out).records[-1].id) == (0, "099")


def test_what_is_not_ours_is_never_removed(source, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(StoreError, match="already holds something that is not a store"):
            convert_recordings(Toy(), source, other, overwrite=overwrite)
    assert (other / "thesis.tex").read_text() == "years of work"
    write_store(tmp_path / "mine", [make_sequence(1, Record("a"))], source="memory")
    with pytest.raises(StoreError, match="not made by this command"):
        convert_recordings(Toy(), source, tmp_path / "mine")
    assert len(Store.open(tmp_path / "mine")) == 1


def _edit(store, **changes):
    header = json.loads((store / "store.json").read_text())
    (store / "store.json").write_text(json.dumps({**header, **changes}))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda store: _edit(store, version=2), "is of store version 2; this marrow reads version 1"),
        (lambda store: _edit(store, skeleton={"name": "x"}), "store.json is damaged"),
        (lambda store: _edit(store, shards=3), "store.json is damaged"),
        (lambda store: _edit(store, clip_count=7), "expected 7 clips in index.parquet, got 24"),
        (lambda store: (store / "store.json").write_text('{"version": 1'), "store.json is damaged"),
        (lambda store: (store / "store.json").write_text("[]"), "store.json is damaged"),
        (lambda store: (store / "store.json").write_bytes(b"\xff\xfe\x00"), "store.json is damaged"),
        (lambda store: (store / "index.parquet").unlink(), "index.parquet is missing"),
        (
            lambda store: (store / "index.parquet").write_bytes(b"x" * (store / "index.parquet").stat().st_size),
            "has changed",
        ),
    ],
)
def test_a_damaged_store_says_what_is_wrong(source, tmp_path, harm, message):
    convert_recordings(Toy(), source, tmp_path / "store")
    harm(tmp_path / "store")
    with pytest.raises(StoreError, match=message) as caught:
        Store.open(tmp_path / "store")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "store") in str(caught.value)


def test_a_folder_that_is_no_store(tmp_path):
    with pytest.raises(StoreError, match=r"there is no such folder. Make a store with `marrow prepare"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"is not a store: it has no store.json"):
        Store.open(tmp_path)


def test_stores_below_a_folder_that_is_none_are_named(source, tmp_path):
    for name in ("shelf/one", "shelf/deep/two", "shelf/too/deep/three"):
        convert_recordings(Toy(), source, tmp_path / name)
    with pytest.raises(StoreError, match=r"is not a store") as caught:
        Store.open(tmp_path / "shelf")
    said = str(caught.value)
    assert f"{tmp_path}/shelf/deep/two, {tmp_path}/shelf/one" in said
    assert "three" not in said


def test_nothing_to_store(source, tmp_path):
    for file in source.iterdir():
        file.write_text("empty")
    with pytest.raises(DataError, match=r"nothing to store. Dropped:"):
        convert_recordings(Toy(), source, tmp_path / "store")
    with pytest.raises(DataError, match=r"the reader 'toy' found no recording there"):
        convert_recordings(Toy(), tmp_path / "nowhere", tmp_path / "other")
    with pytest.raises(ConfigError, match="jobs must be at least 1, got 0"):
        convert_recordings(Toy(), source, tmp_path / "other", jobs=0)
    assert not (tmp_path / "other").exists()


def test_progress_counts_recordings_and_begins_with_what_is_kept(source, tmp_path):
    (source / "023.toy").write_text("gibberish")
    with pytest.raises(ParseError):
        convert_recordings(Toy(), source, tmp_path / "store", shard_clips=8)
    (source / "023.toy").write_text("23")
    seen: list[tuple[int, int]] = []
    convert_recordings(
        Toy(), source, tmp_path / "store", shard_clips=8, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(16, 24), (24, 24)]
