"""A run directory says by itself what made it: every setting, and the versions and data behind it.

It belongs to one run, and to one process at a time. Whoever comes with other settings is told which differ, and nothing
is overwritten.
"""

import errno
import json
import logging
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

import marrow
from marrow.errors import ConfigError
from marrow.files import write_text_whole
from marrow.store.format import Store

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_log = logging.getLogger(__name__)

CONFIG, ENVIRONMENT, LOCK = "config.yaml", "environment.json", ".lock"
# What a lock says that another process holds.
_HELD = (errno.EACCES, errno.EAGAIN)
# Settings of a method that are no more, with the value that marrow goes by since; and single values that are no more.
_REMOVED = {"amr": {"fusion": "weights", "reduction": "mean", "queries": "shared", "self_attention": False}}
_REMOVED_VALUES = {"amr": {"normalise_target": "axis"}}
_REMOVED_ON = "2026-11-30"
_PACKAGES = ("torch", "numpy", "lightning-fabric", "numba", "pyarrow", "safetensors", "jsonargparse")


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Keep other processes from starting in a run directory while this lasts.

    The lock is the system's, on a file RUN/.lock that also says who holds it: it ends with the process, however that
    ends. Where the system or a network folder has no such locks, a warning says so, and the run goes on.

    Raises:
        ConfigError: another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot write there ({error.strerror}); choose another --out") from error
    try:
        _take(file, folder)
        yield
    finally:
        os.close(file)


def _take(file: int, folder: Path) -> None:
    """Lock an open file and write into it whose it is."""
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, "the system has none")
        # A record lock belongs to this process alone: workers that outlive it for a moment do not hold it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            holder = os.read(file, 200).decode(errors="replace").strip()
            raise ConfigError(
                f"{folder}: another process trains there{f' ({holder})' if holder else ''}; wait for it, or choose "
                "another --out"
            ) from error
        _log.warning(
            "%s has no locks (%s): see to it yourself that no second run starts in this folder", folder, error.strerror
        )
        return
    os.ftruncate(file, 0)
    os.write(file, f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%F %T')}\n".encode())


def plain(settings: Any) -> dict[str, Any]:
    """Turn a dataclass of settings into what YAML and JSON can hold: paths as text, tuples as lists."""
    return json.loads(json.dumps(asdict(settings), default=str))


def without_removed(settings: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Leave out what marrow no longer has of the settings in a file, where they ask for what it does anyway.

    Raises:
        ConfigError: they ask for something else.
    """
    method, objective = str(settings.get("method")), settings.get("objective")
    if not isinstance(objective, Mapping):
        return dict(settings)
    removed = _REMOVED.get(method, {})
    gone = [name for name in objective if name in removed and objective[name] != removed[name]]
    gone += [name for name, value in _REMOVED_VALUES.get(method, {}).items() if objective.get(name) == value]
    if gone:
        raise ConfigError(
            f"{file}: objective.{gone[0]}: {objective[gone[0]]} was removed from {method!r} on {_REMOVED_ON}; leave it "
            f"out and train anew, or read this run with the marrow that made it (its commit stands in {ENVIRONMENT})"
        )
    return without_neutral(settings)


def without_neutral(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what marrow no longer has, where it asks for what marrow does anyway; the rest stays as it is."""
    removed, objective = _REMOVED.get(str(settings.get("method")), {}), settings.get("objective")
    if not isinstance(objective, Mapping):
        return dict(settings)
    kept = {name: value for name, value in objective.items() if name not in removed or value != removed[name]}
    return {**settings, "objective": kept}


def claim_run(
    folder: Path, settings: Mapping[str, Any], environment: Mapping[str, Any], may_change: Collection[str]
) -> None:
    """Make a run directory, or check that the one that is there is of the same run.

    Args:
        folder: the run directory.
        settings: plain; nested mappings for groups.
        environment: from `describe_environment`.
        may_change: names of settings that do not decide what is learned, and may differ when a run goes on.

    Raises:
        ConfigError: the folder holds another run, or something else.
    """
    check_run(folder, settings, environment, may_change)
    starts = _read(folder / ENVIRONMENT, json.loads, list) if (folder / CONFIG).exists() else []
    # The environment first: a folder with a config has both.
    write_text_whole(folder / ENVIRONMENT, json.dumps([*starts, environment], indent=1) + "\n")
    write_text_whole(folder / CONFIG, yaml.safe_dump(dict(settings), sort_keys=False))


def check_run(
    folder: Path, settings: Mapping[str, Any], environment: Mapping[str, Any], may_change: Collection[str]
) -> None:
    """Check what `claim_run` does, and raise what it raises, and change nothing."""
    if not (folder / CONFIG).exists():
        refuse_strangers(folder)
        return
    differing = differences(folder, settings, environment["store"]["fingerprint"], may_change)
    extensions(folder)
    if differing:
        raise ConfigError(
            f"{folder} holds a run with other settings ({'; '.join(differing)}); "
            "choose another --out, or remove that folder, or give the same settings to go on"
        )


def recorded(folder: Path, names: Collection[str]) -> dict[str, Any] | None:
    """Return some settings of the run in a folder, those that it knows; None where there is no run.

    Raises:
        ConfigError: the run directory is damaged.
    """
    if not (folder / CONFIG).exists():
        return None
    settings = _read(folder / CONFIG, yaml.safe_load, dict)
    return {name: settings[name] for name in names if name in settings}


def extensions(folder: Path) -> list[int]:
    """Return the steps at which the run in a folder went on under other limits than before, in their order.

    Raises:
        ConfigError: the run directory is damaged.
    """
    if not (folder / ENVIRONMENT).exists():
        return []
    starts = _read(folder / ENVIRONMENT, json.loads, list)
    try:
        steps = [int(start["extension"]["from_step"]) for start in starts if "extension" in start]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{folder / ENVIRONMENT} is damaged (where the run was extended); put it back") from error
    # A start that was killed before it changed the settings says the same once more.
    return list(dict.fromkeys(steps))


def differences(
    folder: Path,
    settings: Mapping[str, Any],
    store_fingerprint: str,
    may_change: Collection[str],
    defaults: Mapping[str, Any] | None = None,
) -> list[str]:
    """Say how the run in a folder differs from the one that is asked for; empty where it is the same.

    Args:
        folder: a run directory.
        settings: that are asked for; plain; nested mappings for groups.
        store_fingerprint: of the data that is asked for.
        may_change: names of settings that are not compared.
        defaults: what a setting stands for that the run did not know, as it was made by an older marrow; None: such a
            setting is a difference.

    Raises:
        ConfigError: the folder holds no run, a damaged one, or one of settings that are no more.
    """
    recorded = without_removed(_read(folder / CONFIG, yaml.safe_load, dict), folder / CONFIG)
    starts = _read(folder / ENVIRONMENT, json.loads, list)
    there, here = dotted(defaults or {}) | dotted(recorded), dotted(settings)
    differing = [
        f"{name}: {there.get(name)} there, {here.get(name)} here"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name) and name.partition(".")[0] not in may_change
    ]
    try:
        began_with = starts[0]["store"]["fingerprint"]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{folder / ENVIRONMENT} is damaged (it does not name the data); put it back") from error
    if began_with != store_fingerprint:
        differing.append("the store holds other data than the one that the run began with")
    return differing


def refuse_strangers(folder: Path) -> None:
    """Refuse a folder with files but no run; what a start leaves that was killed at once is no stranger.

    Raises:
        ConfigError: names one of the files.
    """
    ours = (LOCK, ENVIRONMENT, CONFIG)
    strangers = [path.name for path in folder.glob("*") if path.name not in ours and path.suffix != ".partial"]
    if strangers and not (folder / CONFIG).exists():
        raise ConfigError(f"{folder} holds files ({strangers[0]}, ...) but no run; choose an empty folder for --out")


def _read(file: Path, parse: Callable[[str], Any], kind: type) -> Any:
    """Read a file of a run, or say that it is damaged."""
    try:
        content = parse(file.read_text(encoding="utf-8"))
        if isinstance(content, kind) and content:
            return content
        problem = f"expected a {kind.__name__} with content"
    except (OSError, ValueError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
    raise ConfigError(
        f"{file} is damaged ({problem}); put it back, or choose another --out. The encoder and the checkpoints beside "
        "it are untouched"
    )


def describe_environment(
    store: Store | Mapping[str, Any], device: str, precision: str, processes: int
) -> dict[str, Any]:
    """Return what a run rests on besides its settings; `precision` is the number format, and why.

    Data that are no single store describe themselves: path, fingerprint, number of clips.
    """
    if isinstance(store, Store):
        store = {"path": str(store.path), "fingerprint": store.fingerprint, "clips": len(store)}
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "marrow": marrow.__version__,
        "commit": _commit(),
        "python": sys.version.split()[0],
        "packages": {name: version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "device": device,
        "precision": precision,
        "processes": processes,
        "store": dict(store),
    }


def _commit() -> str | None:
    """Return the commit of the checkout that this package runs from; None where it is installed without one."""
    checkout = Path(marrow.__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    try:
        git = subprocess.run(
            ["git", "-C", str(checkout), "describe", "--always", "--abbrev=40", "--dirty"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return git.stdout.strip()


def dotted(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings under dotted names: {"a": {"b": 1}} as {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= dotted(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
