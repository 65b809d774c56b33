"""Peak memory as the log has it."""

import numpy as np
import torch

from marrow.train.memory import peak_memory


def test_it_grows_by_what_is_needed_and_never_shrinks() -> None:
    before = peak_memory(torch.device("cpu"))["peak_memory_mib"]
    # More than was ever in use: the peak must rise by what lies above it.
    held = np.ones(int((before + 64) * 2**20), np.uint8)
    during = peak_memory(torch.device("cpu"))["peak_memory_mib"]
    assert during >= held.nbytes / 2**20
    del held
    assert peak_memory(torch.device("cpu"))["peak_memory_mib"] >= during
