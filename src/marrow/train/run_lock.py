"""One run directory, one run at a time."""

import errno
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marrow.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_log = logging.getLogger(__name__)
LOCK = ".lock"
# What a lock says that another process holds.
_HELD = (errno.EACCES, errno.EAGAIN)


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
