import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from marrow.train.allocator import keep_freed_memory

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(2**24)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

default = faults(10)
assert keep_freed_memory()
faults(10)
print(default, faults(10))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are those of glibc")
def test_freed_memory_is_used_again_instead_of_faulted_in_anew() -> None:
    # Ten times 64 MiB in pages of 4 KiB are 163,840 faults, fewer where the system uses larger pages. What is kept may
    # still wander through the heap before it is used again: those faults come in the ten rounds that are not counted.
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    default, kept = map(int, done.stdout.split())
    assert kept < default / 2
