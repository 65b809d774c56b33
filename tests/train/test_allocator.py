import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from marrow.train.allocator import keep_freed_memory
assert sys.argv[1] == "default" or keep_freed_memory()
for round in range(40):
    if round == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MiB, freed at once
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are those of glibc")
def test_freed_memory_is_used_again_instead_of_faulted_in_anew() -> None:
    # Thirty times 64 MiB in pages of 4 KiB are 491,520 faults, fewer where the system uses larger pages. What is kept
    # may still wander through the heap before it is used again: those faults came in the first ten rounds.
    assert page_faults("keep") < page_faults("default") / 2
