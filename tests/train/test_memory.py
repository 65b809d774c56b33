"""Peak memory as the log has it, and what is said where there is too little."""

import re

import numpy as np
import pytest
import torch

from marrow.errors import MarrowError
from marrow.train.memory import memory_advice, peak_memory


def test_it_grows_by_what_is_needed_and_never_shrinks() -> None:
    before = peak_memory(torch.device("cpu"))["peak_memory_mib"]
    # More than was ever in use: the peak must rise by what lies above it.
    held = np.ones(int((before + 64) * 2**20), np.uint8)
    during = peak_memory(torch.device("cpu"))["peak_memory_mib"]
    assert during >= held.nbytes / 2**20
    del held
    assert peak_memory(torch.device("cpu"))["peak_memory_mib"] >= during


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 139.81 GiB of which "
                "1.25 GiB is free. Including non-PyTorch memory, this process has 138.56 GiB memory in use."
            ),
            "out of memory: 2.50 GiB more were wanted (1.25 GiB are free on the device), with 64 clips",
        ),
        (torch.OutOfMemoryError("of another kind"), "out of memory, with 64 clips computed at a time. Take fewer"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
                "to allocate 2097152 bytes. Error code 12 (Cannot allocate memory)"
            ),
            "out of memory: 2 MiB more were wanted, with 64 clips",
        ),
        (MemoryError(), "out of memory, with 64 clips"),
    ],
)
def test_where_there_is_too_little_it_is_said_how_much_and_what_to_set(error: Exception, said: str) -> None:
    with pytest.raises(MarrowError, match=re.escape(said)), memory_advice(64, "Take fewer"):
        raise error


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes do not fit"), memory_advice(64, "Take fewer"):
        raise RuntimeError("shapes do not fit")


def test_memory_of_this_machine_can_run_out() -> None:
    with pytest.raises(MarrowError, match="out of memory"), memory_advice(1, ""):
        torch.zeros(2**60)
