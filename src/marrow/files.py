"""Files that exist whole or not at all, whenever the writing is cut: by a kill, a full disk, a loss of power.

And locks on files, which end with the processes that hold them.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that its name exists only once all of it is on the disk.

    Args:
        path: the file.
        write: writes its content to the path it is given.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_text_whole(path: Path, text: str) -> None:
    """Write a text as `write_whole` does, in UTF-8; make its folder if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def lock_file(file: IO[bytes], wait: bool) -> bool:
    """Lock an open file, until it is closed here and in every process that was started with it.

    Where the system or a network folder has no such locks, nothing is locked.

    Args:
        file: open for writing.
        wait: for another process that holds it.

    Returns:
        False where another process holds it.
    """
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can (Windows and some network folders cannot)."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
