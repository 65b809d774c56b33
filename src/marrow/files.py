"""Files that exist whole or not at all, whenever the writing is cut: by a kill, a full disk, a loss of power.

And locks on files, which end with the processes that hold them.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import IO

from marrow.errors import DataError, OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


# With less than this a disk is full for what libraries write, some of which do not say so.
_FULL_BYTES = 64 * 1024


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what goes wrong with the writing of a file or a folder into an OutputError, which says how to mend it."""
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        is_full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or _free_bytes(path) < _FULL_BYTES
        if not isinstance(error, OSError) and not is_full:
            raise
        raise OutputError(path, error, is_full=is_full) from error


def _free_bytes(path: Path) -> float:
    try:
        return float(shutil.disk_usage(path.parent).free)
    except OSError:
        return float("inf")


def did_you_mean_path(path: Path) -> str:
    """Return ". Did you mean 'PATH'?" with what lies where a path goes astray and is spelt most like it, or ""."""
    missing = next((part for part in [*reversed(path.parents), path] if not part.exists()), None)
    if missing is None:
        return ""
    try:
        names = [entry.name for entry in missing.parent.iterdir()]
    except OSError:
        return ""
    near = get_close_matches(missing.name, names, n=1)
    if not near:
        return ""
    whole = missing.with_name(near[0]) / path.relative_to(missing)
    return f". Did you mean {str(whole if whole.exists() else missing.with_name(near[0]))!r}?"


def check_exists(path: Path, what: str) -> None:
    """Raise a DataError where a path does not exist, with the one that may be meant.

    Args:
        path: of a file or a folder.
        what: is expected there.
    """
    if not path.exists():
        raise DataError(f"expected {what}; there is no {path}{did_you_mean_path(path)}")


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they are missing."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def check_writable(path: Path) -> None:
    """Raise an OutputError where a file could not be written: better said before an hour's work than after it."""
    make_folder(path.parent)
    trial = path.with_name(f"{path.name}.trial")
    with writing(path):
        trial.write_bytes(b"")
        trial.unlink()


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that its name exists only once all of it is on the disk.

    Args:
        path: the file.
        write: writes its content to the path it is given.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with writing(path):
            write(partial)
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text_whole(path: Path, text: str) -> None:
    """Write a text as `write_whole` does, in UTF-8; make its folder if missing."""
    make_folder(path.parent)
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
