"""Faults, tried for real: what does a person lose who meets one? Prints the table of docs/reliability.md.

    python benchmarks/reliability.py [--quick] [--only NAME]

Every fault is brought about on a run of its own (processes are killed, disks are full, files are cut), then the same
command is given again, and what came out is compared with an uninterrupted run: the encoder's file byte by byte, and
the loss of every step. Linux only: small file systems are mounted in a namespace of their own (`unshare`), slow ones
are made by delaying system calls (`strace`). A fault whose means are missing here is reported as not tried, and the
exit status says so.
"""

# ruff: noqa: D102, D415 (the first line of a fault is its name in the table)

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

MARROW = [sys.executable, "-m", "marrow"]
# Small enough for seconds, with checkpoints and log entries at every turn.
SETTINGS = """
method: mamp
protocol: xsub
encoder: {width: 32, depth: 2, heads: 2, patch_frames: 8}
objective: {decoder_depth: 1, decoder_width: 32, decoder_heads: 2}
input: {window_frames: 32}
batch_clips: 32
max_steps: 150
log_every: 2
checkpoints: {every_steps: 4}
device: cpu
precision: fp32
threads: 1
"""


@dataclass
class Outcome:
    """What came of a fault: how often it was brought about, and what was seen."""

    tries: int
    seen: str


class NotTriedError(Exception):
    """The means to bring about a fault are missing on this machine."""


class Bench:
    """A store, settings, and the result of an uninterrupted run, to compare with."""

    def __init__(self, folder: Path, quick: bool, seed: int) -> None:
        self.folder, self.quick, self.random = folder, quick, random.Random(seed)
        self.recipe, self.store = folder / "small.yaml", folder / "store"
        self.recipe.write_text(SETTINGS)
        self._make_store(self.store)
        began = time.monotonic()
        done = self.pretrain(folder / "whole")
        self.seconds = time.monotonic() - began
        assert done.returncode == 0, done.stderr

    def _make_store(self, out: Path, seed: int = 0) -> None:
        made = run(*self.prepare_command(out, seed))
        assert made.returncode == 0, made.stderr

    def prepare_command(self, out: Path, seed: int = 0) -> list[str]:
        options = ["--options.subjects", "3", "--options.repetitions", "1", "--options.seed", str(seed)]
        return [*MARROW, "prepare", "synthetic", *options, "--out", str(out), "--jobs", "1"]

    def command(self, out: Path, *more: str, store: Path | None = None) -> list[str]:
        given = ["--recipe", str(self.recipe), "--store", str(store or self.store), "--out", str(out)]
        return [*MARROW, "pretrain", *given, *more]

    def pretrain(self, out: Path, *more: str, store: Path | None = None) -> subprocess.CompletedProcess[str]:
        return run(*self.command(out, *more, store=store))

    def start(self, out: Path, *more: str, store: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(out, *more, store=store), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def start_until(self, out: Path, step: int, *more: str, store: Path | None = None) -> subprocess.Popen[str]:
        """Start a run and return once it has logged a step."""
        process = self.start(out, *more, store=store)
        wait_for(lambda: last_step(out) >= step or process.poll() is not None, "the run never got to that step")
        assert process.poll() is None, process.communicate()[1]
        return process

    def must_equal_the_whole(self, out: Path) -> None:
        whole, weights = self.folder / "whole", Path("encoder", "encoder.safetensors")
        assert (whole / weights).read_bytes() == (out / weights).read_bytes(), "the encoder differs"
        # An interruption writes an entry of its own; all others are about the same steps.
        expected, found = losses(whole), losses(out)
        same = expected.keys() & found.keys()
        assert len(same) > len(expected) // 2, "the log lacks entries"
        assert all(expected[steps] == found[steps] for steps in same), "the logged losses differ"

    def finish(self, out: Path, *more: str, store: Path | None = None) -> None:
        """Give the same command again, and compare."""
        done = self.pretrain(out, *more, store=store)
        assert done.returncode == 0, done.stderr
        self.must_equal_the_whole(out)


def run(*command: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=600, **settings)  # pyright: ignore


def losses(out: Path) -> dict[tuple[int, int], float]:
    """Return the logged losses by the steps that each is the mean of: [first, last)."""
    log = out / "log.jsonl"
    entries = [json.loads(line) for line in log.read_text().split("\n")[:-1]] if log.exists() else []
    firsts = [0, *(entry["step"] for entry in entries)]
    return {(first, entry["step"]): entry["loss"] for first, entry in zip(firsts, entries, strict=False)}


def last_step(out: Path) -> int:
    try:
        return max((last for _, last in losses(out)), default=0)
    except ValueError:  # half a line
        return 0


def wait_for(condition: Callable[[], bool], otherwise: str, seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.02)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> str:
    """Check that a command failed with one message for a person, and return the message."""
    assert done.returncode in (1, 2), f"exit status {done.returncode}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    for word in words:
        assert word in done.stderr, f"expected {word!r} in: {done.stderr}"
    message = next(line for line in done.stderr.splitlines() if "error:" in line)
    return message.partition("error: ")[2]


# --- Processes that end -----------------------------------------------------------------------------------------------


def kill_training(bench: Bench) -> Outcome:
    """`kill -9` while training, at random moments, until the run is finished"""
    kills, runs, wanted = 0, 0, 3 if bench.quick else 40
    while kills < wanted:
        out = bench.folder / f"killed{runs}"
        runs += 1
        while not (out / "result.json").exists():
            process = bench.start(out)
            # From the first import to after the last step; what is saved brings the next one further.
            time.sleep(bench.random.uniform(0.1, 1.2) * bench.seconds)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.communicate()
        bench.finish(out)
    return Outcome(kills, f"{runs} runs; every one ended with the same encoder and losses, bit for bit")


def kill_preparing(bench: Bench) -> Outcome:
    """`kill -9` while preparing a store"""
    kills, runs = 0, 1 if bench.quick else 4
    fingerprint = json.loads((bench.store / "store.json").read_text())["fingerprint"]
    for number in range(runs):
        out = bench.folder / f"prepared{number}"
        while not (out / "store.json").exists():
            process = subprocess.Popen(bench.prepare_command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(bench.random.uniform(0.5, 3.0))
            kills += process.poll() is None
            process.kill()
            process.wait()
        assert run(*bench.prepare_command(out)).returncode == 0
        assert json.loads((out / "store.json").read_text())["fingerprint"] == fingerprint
    return Outcome(kills, f"{runs} stores, {kills} kills; the same fingerprint each time")


def kill_evaluating(bench: Bench) -> Outcome:
    """`kill -9` while evaluating"""
    kills = 2 if bench.quick else 8
    command = [*MARROW, "evaluate", str(bench.folder / "whole"), "--store", str(bench.store), "--protocol", "xsub"]
    command += ["--tasks", "knn", "--device", "cpu", "--precision", "fp32", "--json"]
    first = run(*command)
    assert first.returncode == 0, first.stderr
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(bench.random.uniform(2.0, 8.0))
        process.kill()
        process.wait()
    again = run(*command)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["scores"] == json.loads(first.stdout)["scores"]
    return Outcome(kills, "the report is whole or the earlier one; the same scores when run again")


def interrupt_once(bench: Bench) -> Outcome:
    """Ctrl-C while training (SIGINT), the SIGTERM of a job scheduler, a terminal that is closed (SIGHUP)"""
    tries = 0
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        out = bench.folder / f"stopped{kind}"
        process = bench.start_until(out, 10)
        process.send_signal(kind)
        process.communicate(timeout=120)
        assert process.returncode == 130, process.returncode
        saved = max(json.loads(path.read_text())["step"] for path in (out / "checkpoints").glob("*.json"))
        assert saved >= last_step(out), "steps that were logged had not been saved"
        bench.finish(out)
        tries += 1
    return Outcome(tries, "the step in hand is finished and saved; the same command goes on from it")


def interrupt_twice(bench: Bench) -> Outcome:
    """Ctrl-C twice within a moment, and once in a step that takes many seconds"""
    tries = 1 if bench.quick else 4
    for number in range(tries):
        out = bench.folder / f"twice{number}"
        process = bench.start_until(out, 10)
        process.send_signal(signal.SIGINT)
        time.sleep(0.001 * bench.random.random())
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 130, process.returncode
        assert "Traceback" not in said, said
        bench.finish(out)
    slow = ["--encoder.width", "256", "--encoder.depth", "24", "--encoder.heads", "8", "--objective.mask_ratio", "0.1"]
    slow += ["--batch_clips", "90", "--log_every", "1"]
    out = bench.folder / "twice_slow"
    process = bench.start_until(out, 5, *slow)
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, process.returncode
    assert "Traceback" not in said, said
    assert time.monotonic() - asked < 15.0, "the step was not broken off"
    saved = max(json.loads(path.read_text())["step"] for path in (out / "checkpoints").glob("*.json"))
    process = bench.start_until(out, saved + 1, *slow)
    process.kill()
    process.communicate()
    return Outcome(
        tries + 1, "one wish, nothing is done again; the long step is broken off within seconds, and taken anew later"
    )


# --- Disks ------------------------------------------------------------------------------------------------------------


def full_disk_training(bench: Bench) -> Outcome:
    """A full disk while training (a file system of a few MB)"""
    out_on = "$disk/run"
    sizes = (400, 700) if bench.quick else (200, 300, 400, 500, 700, 1000)
    for number, size in enumerate(sizes):
        kept = bench.folder / f"kept{number}"
        done = in_small_disk(size, bench.command(Path(out_on)), kept)
        message = refused(done)
        assert any(word in message.lower() for word in ("space", "cannot be written", "full")), message
        shutil.copytree(kept / "run", target := bench.folder / f"full{number}")
        bench.finish(target)
    return Outcome(len(sizes), f"said: “{shorten(message)}”; with space again, the same command goes on")


def full_disk_preparing(bench: Bench) -> Outcome:
    """A full disk while preparing"""
    sizes = (300,) if bench.quick else (100, 300, 600, 900)
    for number, size in enumerate(sizes):
        kept = bench.folder / f"kept_store{number}"
        message = refused(in_small_disk(size, bench.prepare_command(Path("$disk/store")), kept))
        assert "space" in message.lower(), message
    return Outcome(len(sizes), f"said: “{shorten(message)}”; finished shards are kept")


def in_small_disk(size_kib: int, command: list[str], kept: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with a small file system at $disk, and copy what it left there."""
    need("unshare", "mount")
    disk = kept.with_name(kept.name + "_disk")
    disk.mkdir()
    kept.mkdir()
    inner = " ".join(command).replace("$disk", str(disk))
    script = f"mount -t tmpfs -o size={size_kib}k none {disk} && {inner}; s=$?; cp -r {disk}/. {kept}; exit $s"
    return run("unshare", "-Urm", "sh", "-c", script)


def read_only_place(bench: Bench) -> Outcome:
    """A place without write permission for the run (a file system mounted read-only)"""
    need("unshare", "mount")
    place = bench.folder / "read_only"
    place.mkdir()
    inner = " ".join(bench.command(place / "run"))
    script = f"mount --bind {place} {place} && mount -o remount,ro,bind {place} && {inner}"
    message = refused(run("unshare", "-Urm", "sh", "-c", script), "read_only")
    return Outcome(1, f"said before anything is computed: “{shorten(message)}”")


def read_only_store(bench: Bench) -> Outcome:
    """A store on a file system that is mounted read-only"""
    need("unshare", "mount")
    out = bench.folder / "from_read_only"
    script = f"mount --bind {bench.store} {bench.store} && mount -o remount,ro,bind {bench.store} && "
    done = run("unshare", "-Urm", "sh", "-c", script + " ".join(bench.command(out)))
    assert done.returncode == 0, done.stderr
    bench.must_equal_the_whole(out)
    return Outcome(1, "works: nothing is ever written to a store")


def slow_folder(bench: Bench) -> Outcome:
    """A folder as slow as a busy network share (every open, write, rename and sync takes 20 ms longer)"""
    need("strace")
    out = bench.folder / "slow"
    calls = "openat,rename,fsync,unlink,mkdir,statfs,ftruncate"
    inject = [
        "strace",
        "-f",
        "-qq",
        "-o",
        os.devnull,
        "-e",
        f"trace={calls}",
        "-e",
        f"inject={calls}:delay_enter=20000",
    ]
    # Only the files of this bench: a slow Python start-up would be all that is seen.
    paths = [word for path in (out, bench.store) for word in ("-P", str(path))]
    done = run(*inject, *paths, *bench.command(out))
    assert done.returncode == 0, done.stderr
    bench.must_equal_the_whole(out)
    return Outcome(1, "slower, with the same result")


def odd_paths(bench: Bench) -> Outcome:
    """Names with spaces, accents, Chinese and emoji; a path of over 1,000 characters; the locale C"""
    names = ["with space", "Übung é", "人体 🏃", "/".join(["x" * 200] * 5)]
    for name in names:
        out, store = bench.folder / name / "run", bench.folder / name / "store"
        out.parent.mkdir(parents=True)
        shutil.copytree(bench.store, store)
        done = run(*bench.command(out, store=store), env={**os.environ, "LC_ALL": "C"})
        assert done.returncode == 0, f"{name}: {done.stderr}"
        bench.must_equal_the_whole(out)
    too_long = bench.folder / ("y" * 300)
    message = refused(bench.pretrain(too_long))
    return Outcome(len(names) + 1, f"all work; a name that the system refuses: “{shorten(message)}”")


# --- Data and files that change ---------------------------------------------------------------------------------------


def cut_checkpoint(bench: Bench) -> Outcome:
    """A checkpoint that is cut short, or with a byte changed"""
    tries = 2 if bench.quick else 10
    for number in range(tries):
        out = bench.folder / f"cut{number}"
        process = bench.start_until(out, 14)
        process.kill()
        process.communicate()
        newest = max((out / "checkpoints").glob("step-*.pt"))
        if not newest.with_suffix(".json").exists():  # killed between the two files: it does not count yet
            newest = sorted((out / "checkpoints").glob("step-*.pt"))[-2]
        content = bytearray(newest.read_bytes())
        place = bench.random.randrange(len(content))
        if number % 2:
            content[place] ^= 0xFF
        newest.write_bytes(content if number % 2 else content[:place])
        done = bench.pretrain(out)
        assert done.returncode == 0, done.stderr
        assert "Checkpoint passed over" in done.stderr, done.stderr
        bench.must_equal_the_whole(out)
    return Outcome(tries, "it is named and passed over; the one before it is used; the same result")


def removed_store(bench: Bench) -> Outcome:
    """A store that is removed while the run goes on, and before it is resumed"""
    message = ""
    for loader in ("resident", "streaming"):
        store, out = bench.folder / f"gone_{loader}", bench.folder / f"gone_{loader}_run"
        shutil.copytree(bench.store, store)
        process = bench.start_until(out, 10, "--loader", loader, store=store)
        shutil.rmtree(store)
        _, said = process.communicate(timeout=240)
        assert "Traceback" not in said, said
        if process.returncode != 0 or not (out / "result.json").exists():
            message = refused(bench.pretrain(out, "--loader", loader, store=store), str(store))
            shutil.copytree(bench.store, store)
        bench.finish(out, "--loader", loader, store=store if store.exists() else None)
    return Outcome(2, f"said: “{shorten(message)}”; once it is back, the same command goes on")


def changed_store(bench: Bench) -> Outcome:
    """Another store under the same path, under a run that goes on, and before it is resumed"""
    store, out = bench.folder / "swapped", bench.folder / "swapped_run"
    shutil.copytree(bench.store, store)
    process = bench.start_until(out, 10, "--loader", "streaming", store=store)
    shutil.rmtree(store)
    bench._make_store(store, seed=1)
    _, said = process.communicate(timeout=240)
    assert process.returncode not in (0, None), "the run went on with other data, without a word"
    assert "Traceback" not in said, said
    message = refused(bench.pretrain(out, store=store), "other data")
    bench.finish(out)
    return Outcome(2, f"stops, and a resume says: “{shorten(message)}”; with the right store it goes on")


def two_in_one_folder(bench: Bench) -> Outcome:
    """Two runs in one directory at the same time; another run's directory"""
    out = bench.folder / "shared"
    process = bench.start_until(out, 6)
    message = refused(bench.pretrain(out))
    other = refused(bench.pretrain(out, "--seed", "7"))
    process.communicate(timeout=240)
    assert process.returncode == 0
    bench.finish(out)
    refused(bench.pretrain(out, "--seed", "7"), "seed")
    return Outcome(3, f"the second is told: “{shorten(message)}”; the first goes on ({shorten(other, 40)})")


def foreign_checkpoint(bench: Bench) -> Outcome:
    """A checkpoint of another network, and one of another version"""
    out, other = bench.folder / "foreign", bench.folder / "foreign_other"
    for folder, more in ((out, []), (other, ["--encoder.width", "16"])):
        process = bench.start_until(folder, 10, *more)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    kept = bench.folder / "foreign_kept"
    shutil.move(out / "checkpoints", kept)
    shutil.copytree(other / "checkpoints", out / "checkpoints")
    message = refused(bench.pretrain(out), "another network")
    shutil.rmtree(out / "checkpoints")
    shutil.copytree(kept, out / "checkpoints")
    for seal in (out / "checkpoints").glob("*.json"):
        tensors = seal.with_suffix(".pt")
        state = torch.load(tensors, weights_only=True)
        torch.save({**state, "version": 99}, tensors)
        digest = hashlib.sha256(tensors.read_bytes()).hexdigest()
        seal.write_text(json.dumps({**json.loads(seal.read_text()), "bytes": tensors.stat().st_size, "sha256": digest}))
    refused(bench.pretrain(out), "version 99")
    shutil.rmtree(out / "checkpoints")
    shutil.move(kept, out / "checkpoints")
    bench.finish(out)
    return Outcome(2, f"said: “{shorten(message)}”; nothing is overwritten")


# --- Wishes that cannot be met ----------------------------------------------------------------------------------------


def wrong_wishes(bench: Bench) -> Outcome:
    """A device that is not there, more processes than clips, a batch that cannot be divided, a misspelt option"""
    out = bench.folder / "wishes"
    wishes = [
        ("--device", "cuda"), ("--device", "cuda:7"), ("--device", "tpu"), ("--processes", "64"),
        ("--batch_clips", "99999"), ("--micro_batches", "7"), ("--objective.mask_ration", "0.5"),
        ("--protocol", "xsubb"), ("--method", "mampf"), ("--input.window_frames", "30"), ("--encoder.heads", "5"),
        ("--recipe", "mamp_ntu"), ("--max_steps", "many"),
    ]  # fmt: skip
    said = [refused(bench.pretrain(out, *wish)) for wish in wishes]
    assert not out.exists() or not list(out.glob("checkpoints/*"))
    bench.finish(out)
    return Outcome(len(wishes), f"refused before the first step, for example: “{shorten(said[3])}”")


def not_finite(bench: Bench) -> Outcome:
    """A loss that is not finite (a learning rate of 1e30)"""
    out = bench.folder / "not_finite"
    message = refused(bench.pretrain(out, "--optimizer.learning_rate", "1e30"), "step", "learning rate", "rows")
    left = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.pt") if "checkpoints" not in path.parts)
    assert left, "no file to replay was left"
    return Outcome(1, f"said: “{shorten(message)}”; left to replay: {left[0]}")


FAULTS: dict[str, Callable[[Bench], Outcome]] = {
    fault.__name__: fault
    for fault in (
        kill_training, kill_preparing, kill_evaluating, interrupt_once, interrupt_twice, full_disk_training,
        full_disk_preparing, read_only_place, read_only_store, slow_folder, odd_paths, cut_checkpoint, removed_store,
        changed_store, two_in_one_folder, foreign_checkpoint, wrong_wishes, not_finite,
    )
}  # fmt: skip


def need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise NotTriedError(f"needs {', '.join(missing)}")
    if "unshare" in programs and run("unshare", "-Urm", "true").returncode:
        raise NotTriedError("namespaces are not allowed here")


def shorten(message: str, length: int = 160) -> str:
    """Return the beginning of a message, without the folders of this machine."""
    words = [Path(word).name if word.startswith("/") else word for word in message.split()]
    words = [word if len(word) < 60 else f"{word[:20]}…" for word in words]
    text = " ".join(words)
    return text if len(text) <= length else text[: length - 1] + "…"


def main() -> int:
    """Try every fault, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="each fault once or twice")
    parser.add_argument("--only", choices=FAULTS, action="append", help="this fault alone (may be repeated)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments and places")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    lost = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), arguments.quick, arguments.seed)
        print("| fault | tried | lost | what was seen |\n|---|---|---|---|")
        for name in arguments.only or FAULTS:
            fault = FAULTS[name]
            said = (fault.__doc__ or name).splitlines()[0]
            try:
                outcome = fault(bench)
                print(f"| {said} | {outcome.tries} | nothing | {outcome.seen} |", flush=True)
            except NotTriedError as reason:
                lost += 1
                print(f"| {said} | 0 | – | not tried: {reason} |", flush=True)
            except (AssertionError, subprocess.TimeoutExpired, OSError) as problem:
                lost += 1
                text = " ".join(str(problem).split())[-600:]
                print(f"| {said} | 1 | **see right** | {type(problem).__name__}: {text} |", flush=True)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
