"""Shared by all tests: one thread, seeded names of fixtures' folders, and nothing that hides a missing file."""

import logging
import os

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples every time, however busy the machine is.
settings.register_profile("same at any hour", deadline=None, derandomize=True)
settings.load_profile("same at any hour")


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """Undo what a command that was run in this process has done to the library's log level."""
    logger = logging.getLogger("marrow")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of the real recordings: the environment variable MARROW_DATA, or `../shared/data` beside the checkout."""
    folder = Path(os.environ.get("MARROW_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real recordings are not at {folder}; set MARROW_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def fixtures_folder(data_folder: Path) -> Path:
    """Folder of the recorded numbers, beside the real recordings."""
    folder = data_folder.parent / "fixtures"
    if not folder.is_dir():
        pytest.skip(f"recorded numbers are not at {folder}")
    return folder
