"""The machine around the packages: processor, memory, disk, threads, names and permissions. No torch."""

import locale
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from marrow.doctor import Finding, Level, finding_of

_GIB = 2**30
_INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX-512 bf16",
    "amx_bf16": "AMX bf16",
    "amx_tile": "AMX tiles",
}


def examine_machine() -> list[Finding]:
    """Look at everything that can be seen from the current folder without importing a package."""
    try:
        folder = Path.cwd()
    except OSError as error:
        text, mend = f"cannot be looked at ({error.strerror}): it may have been removed", "go to another folder"
        return [Finding("FAIL", "this folder", text, mend)]
    temporary = Path(tempfile.gettempdir())
    return [
        _processor(),
        _memory(),
        *([_shared_memory(Path("/dev/shm"))] if sys.platform == "linux" else []),
        _disk("disk", folder),
        *([_disk("temporary disk", temporary)] if temporary.resolve() != folder else []),
        _writable("this folder", folder, "WARN"),
        _writable("temporary folder", temporary, "FAIL"),
        _names(temporary),
        _load(),
    ]


def usable_cores() -> int:
    """Return how many cores this process may use: of the machine, of its affinity, of a container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(Path("/sys/fs/cgroup/cpu.max")).strip().partition(" ")
    if quota.isdecimal() and period.isdecimal():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def _read(path: Path) -> str:
    """Return the text of a file of the system; nothing where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _facts(path: Path) -> dict[str, str]:
    """Return the lines `name: value` of a file of the system."""
    lines = (line.partition(":") for line in _read(path).splitlines())
    return {name.strip(): value.strip() for name, colon, value in lines if colon}


def _processor() -> Finding:
    facts = _facts(Path("/proc/cpuinfo"))
    name = facts.get("model name") or platform.processor() or platform.machine()
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    instructions = ", ".join(shown for flag, shown in _INSTRUCTIONS.items() if flag in flags)
    text = f"{name}, {usable_cores()} of {os.cpu_count()} cores usable" + (f", {instructions}" if instructions else "")
    if platform.machine() in ("x86_64", "AMD64") and flags and "avx2" not in flags:
        mend = "use a newer machine: without AVX2, training is several times slower"
        return Finding("WARN", "processor", f"{text}; no AVX2", mend)
    return Finding("PASS", "processor", text)


def _memory() -> Finding:
    facts = _facts(Path("/proc/meminfo"))
    if "MemAvailable" not in facts:
        return Finding("PASS", "memory", "not known on this system")
    free, total = (1024 * int(facts[name].split()[0]) for name in ("MemAvailable", "MemTotal"))
    limit, used = (_read(Path("/sys/fs/cgroup", name)).strip() for name in ("memory.max", "memory.current"))
    if limit.isdecimal() and used.isdecimal() and int(limit) < total:
        total, free = int(limit), min(free, int(limit) - int(used))
    text = f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB free"
    mend = "close other programs, or train with fewer clips at a time (--micro_batches) and --loader streaming"
    return finding_of("memory", text, free < 2 * _GIB, mend)


def _shared_memory(folder: Path) -> Finding:
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        text, mend = f"{folder} is missing", "mount it, or use --loader resident: workers hand batches over through it"
        return Finding("WARN", "shared memory", text, mend)
    mend = "use --loader resident, or give a container more of it (docker run --shm-size=4g)"
    return finding_of("shared memory", f"{free / _GIB:.2f} GiB free in {folder}", free < _GIB, mend)


def _disk(subject: str, folder: Path) -> Finding:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("FAIL", subject, f"{folder}: {error.strerror}", "go to a folder that exists")
    text = f"{free / _GIB:.1f} GiB free in {folder}"
    mend = "free some space, or work on another disk: a store takes 1 to 10 GB"
    return finding_of(subject, text, free < 5 * _GIB, mend, "WARN" if free > _GIB / 5 else "FAIL")


def _writable(subject: str, folder: Path, level: Level) -> Finding:
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"marrow")
    except OSError as error:
        where = "set TMPDIR to a folder" if level == "FAIL" else "go to one, or give --out in one"
        text, mend = f"cannot be written to: {folder} ({error.strerror})", f"{where} that you may write to"
        return Finding(level, subject, text, mend)
    return Finding("PASS", subject, f"can be written to: {folder}")


def _names(folder: Path) -> Finding:
    """Try a file name beyond ASCII, and look at how text is read and shown."""
    encodings = {
        "file names": sys.getfilesystemencoding(),
        "text files": locale.getpreferredencoding(False),
        "output": getattr(sys.stdout, "encoding", None) or "utf-8",
    }
    text = ", ".join(f"{name} {encoding}" for name, encoding in encodings.items())
    mend = "set PYTHONUTF8=1 (and, on Linux, LANG=C.UTF-8)"
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="Läufe-走る-"):
            pass
    except (OSError, UnicodeError) as error:
        return Finding("WARN", "encoding", f"{text}; a file name beyond ASCII fails: {str(error)!a}", mend)
    is_other = any(encoding.lower().replace("-", "").replace("_", "") != "utf8" for encoding in encodings.values())
    return finding_of("encoding", text, is_other, mend)


def _load() -> Finding:
    if not hasattr(os, "getloadavg"):
        return Finding("PASS", "load", "not known on this system")
    load, cores = os.getloadavg()[0], usable_cores()
    text = f"{load:.1f} programs at work on average, {cores} cores"
    return finding_of("load", text, load > cores, "train with --threads 1: on a busy machine that is fastest")
