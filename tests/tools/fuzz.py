"""Feed damaged files to every format and reader: each is read, or refused by one sentence; anything else is a finding.

    python tests/tools/fuzz.py --seconds 60 [--only bvh,c3d] [--seed 0] [--out fuzz-findings]

For each format, good files (tests/importing/samples.py) are damaged (mutations.py), found, and read as `marrow
import` does it, in a process of its own with little memory and little time per input. A finding is an exception that is
no `MarrowError`, a message of several lines, positions that are not finite, a process that dies, or an input that takes
too long. Its files and traceback are kept, with the command that makes it again.
"""

import argparse
import math
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
_TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(_TESTS / "importing")]

import numpy as np  # noqa: E402
from mutations import damaged  # noqa: E402
from samples import FORMAT_SAMPLES, READER_SAMPLES, Case  # noqa: E402

from marrow.errors import MarrowError  # noqa: E402
from marrow.importing.detect import FORMATS, detect  # noqa: E402
from marrow.importing.importer import Recordings  # noqa: E402
from marrow.readers import get_reader, reader_for  # noqa: E402
from marrow.skeleton.sequence import SkeletonSequence  # noqa: E402

# Beyond what Python and its modules take.
_MEMORY_BYTES = 2_000_000_000
# On a machine that does other work besides; an idle one needs milliseconds.
_LIMIT_SECONDS = 20.0
# Recordings of an input that are read.
_READ_AT_MOST = 8
# Findings of one kind after which it is not looked further.
_FINDINGS_AT_MOST = 20
# Characters of a message, with the path of a temporary file.
_LONGEST_MESSAGE = 1500
# Fields of the array that a worker shares: what it counts, and the input that it is at.
_INPUTS, _REFUSED, _READ, _FINDINGS, _SLOWEST, _SLOWEST_INPUT, _AT, _SINCE = range(8)


@dataclass(frozen=True)
class Kind:
    """What is fed: a format as `marrow import` finds it, or the reader of a data set.

    Args:
        name: for the table and for `--only`.
        reader: its name, or "" for a format.
        cases: good files.
    """

    name: str
    reader: str
    cases: tuple[Case, ...]


class Finding(Exception):
    """Something that is no exception and yet wrong."""


def kinds() -> list[Kind]:
    """Return all formats, then all readers of data sets."""
    formats = [Kind(name, "", tuple(make())) for name, make in FORMAT_SAMPLES.items() if name in FORMATS]
    return [
        *formats,
        *(Kind(f"reader {name}", name, tuple(make())) for name, make in READER_SAMPLES.items()),
    ]


def make_input(kind: Kind, others: Sequence[bytes], seed: int, number: int) -> tuple[dict[str, bytes], bool]:
    """Return the files of one input, and whether its format is told rather than found."""
    random = Random(f"{seed}/{kind.name}/{number}")
    case = random.choice(kind.cases)
    return damaged(case, others, random), random.random() < 0.5


def read_files(kind: Kind, folder: Path, told: bool) -> bool:
    """Read what is in a folder; return whether anything could be read.

    Raises:
        MarrowError: it was refused.
        Finding: what was read is wrong.
    """
    if kind.reader:
        reader = reader_for(get_reader(kind.reader), folder)
    else:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                detect(path)
        reader = Recordings(format=kind.name if told else None).for_root(folder)
    was_read = False
    failure: MarrowError | None = None
    for record in list(reader.records(folder))[:_READ_AT_MOST]:
        try:
            sequence = reader.read(folder, record)
        except MarrowError as error:
            failure = failure or error
            _check_message(error)
            continue
        _check_sequence(sequence)
        was_read = True
    if failure is not None and not was_read:
        raise failure
    return was_read


def try_to_read(kind: Kind, folder: Path, told: bool) -> bool:
    """Return whether what is in a folder can be read; anything but a sentence that says why not is raised."""
    try:
        return read_files(kind, folder, told)
    except MarrowError as error:
        _check_message(error)
        return False


def _check_sequence(sequence: SkeletonSequence) -> None:
    if not np.isfinite(sequence.joints).all():
        raise Finding("positions are not finite")
    if not (math.isfinite(sequence.fps) and sequence.fps > 0):
        raise Finding(f"{sequence.fps} frames per second")
    if sequence.joints.dtype != np.float32 or sequence.joints.shape[:3] != sequence.present.shape:
        raise Finding(f"positions are {sequence.joints.dtype} {sequence.joints.shape}")


def _check_message(error: MarrowError) -> None:
    if len(str(error).splitlines()) > 1 or len(str(error)) > _LONGEST_MESSAGE:
        raise Finding(f"a message of several lines, or too long: {error}") from error


def _work(
    kind: Kind, others: Sequence[bytes], seed: int, first: int, last: int, until: float, out: Path, shared: Any
) -> None:
    """Feed inputs from `first` on; the counts are shared with the process that watches."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + _MEMORY_BYTES, taken + _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", RuntimeWarning)  # NumPy's: numbers that nobody has looked at
    home = Path(tempfile.mkdtemp(prefix="marrow-fuzz-"))
    try:
        for number in range(first, last):
            if time.monotonic() > until:
                break
            files, told = make_input(kind, others, seed, number)
            folder = home / str(number)
            write_files(folder, files)
            started = time.perf_counter()
            shared[_AT], shared[_SINCE] = number, time.monotonic()
            try:
                shared[_READ if try_to_read(kind, folder, told) else _REFUSED] += 1
            except BaseException:
                shared[_FINDINGS] += 1
                keep_finding(out, kind, seed, number, files, traceback.format_exc())
            seconds = time.perf_counter() - started
            shared[_SINCE] = 0
            shared[_INPUTS] += 1
            if seconds > shared[_SLOWEST]:
                shared[_SLOWEST], shared[_SLOWEST_INPUT] = seconds, number
            shutil.rmtree(folder)
            if shared[_FINDINGS] >= _FINDINGS_AT_MOST:
                break
    finally:
        shutil.rmtree(home, ignore_errors=True)


def warm_up(kind: Kind) -> None:
    """Read good files once, so that what is imported and compiled for that is there in the processes that follow."""
    for case in kind.cases:
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), case)
            assert try_to_read(kind, Path(folder), told=True), f"good files of {kind.name} are not read"


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of an input."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def keep_finding(out: Path, kind: Kind, seed: int, number: int, files: Mapping[str, bytes], what: str) -> None:
    """Write an input, what came of it, and how to make it again."""
    folder = out / f"{kind.name.replace(' ', '_')}-{seed}-{number}"
    write_files(folder / "input", files)
    again = f"python tests/tools/fuzz.py --only '{kind.name}' --seed {seed} --first {number} --inputs 1"
    (folder / "finding.txt").write_text(f"{again}\n\n{what}\n", errors="backslashreplace")


def feed(
    kind: Kind, others: Sequence[bytes], seed: int, first: int, last: int, seconds: float, out: Path
) -> list[float]:
    """Feed one kind in a process that is watched and, where it dies or hangs, begun again behind that input."""
    context = multiprocessing.get_context("fork")
    shared = context.Array("d", 8, lock=False)
    until = time.monotonic() + seconds
    while True:
        shared[_AT], shared[_SINCE] = first, 0
        worker = context.Process(target=_work, args=(kind, others, seed, first, last, until, out, shared))
        worker.start()
        what = ""
        while worker.is_alive():
            worker.join(0.1)
            since = shared[_SINCE]
            if since and time.monotonic() - since > _LIMIT_SECONDS:
                what = f"longer than {_LIMIT_SECONDS:g} s"
                worker.kill()
                worker.join()
        if worker.exitcode and not what:
            what = f"the process ended with {worker.exitcode}"
        if not what:
            return list(shared)
        number = int(shared[_AT])
        shared[_FINDINGS] += 1
        shared[_INPUTS] += 1
        keep_finding(out, kind, seed, number, make_input(kind, others, seed, number)[0], what)
        first = number + 1
        if shared[_FINDINGS] >= _FINDINGS_AT_MOST or time.monotonic() > until:
            return list(shared)


def main(arguments: Sequence[str] | None = None) -> int:
    """Feed all kinds, print a table, and return 1 if there was any finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="per format")
    parser.add_argument("--inputs", type=int, default=1 << 40, help="at most, per format")
    parser.add_argument("--only", default="", help="names, comma separated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"), help="where findings are kept")
    options = parser.parse_args(arguments)
    every = kinds()
    wanted = [name.strip() for name in options.only.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in {kind.name for kind in every}]
    if unknown:
        parser.error(f"unknown {unknown[0]!r}; known: {', '.join(kind.name for kind in every)}")
    for kind in every:
        warm_up(kind)
    contents = {kind.name: [content for case in kind.cases for content in case.values()] for kind in every}
    total = np.zeros(4, np.int64)
    print(f"{'kind':18}{'inputs':>9}{'refused':>9}{'read':>9}{'findings':>9}{'per s':>8}  slowest", flush=True)
    for kind in every:
        if wanted and kind.name not in wanted:
            continue
        others = [content for name, some in contents.items() if name != kind.name for content in some]
        started = time.monotonic()
        counts = feed(
            kind, others, options.seed, options.first, options.first + options.inputs, options.seconds, options.out
        )
        total += np.array(counts[: _FINDINGS + 1], np.int64)
        inputs, refused, read, findings = (int(count) for count in counts[: _FINDINGS + 1])
        rate = inputs / max(time.monotonic() - started, 1e-9)
        slowest = f"{counts[_SLOWEST]:.2f} s (input {int(counts[_SLOWEST_INPUT])})"
        print(f"{kind.name:18}{inputs:9,}{refused:9,}{read:9,}{findings:9,}{rate:8,.0f}  {slowest}", flush=True)
    print(f"{'all':18}" + "".join(f"{count:9,}" for count in total))
    if total[_FINDINGS]:
        print(f"findings are in {options.out}")
    return int(total[_FINDINGS] > 0)


if __name__ == "__main__":
    sys.exit(main())
