"""Let the C library keep freed memory: on a CPU, half of a training step can otherwise go into page faults."""

import ctypes
import platform

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_KEEP_BYTES = 2**31 - 1
_GROW_BYTES = 2**28


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large blocks instead of returning them to the system after every step.

    The effect is that of MALLOC_MMAP_MAX_=0, MALLOC_TRIM_THRESHOLD_ and MALLOC_TOP_PAD_ in the environment, for this
    process from now on; what it computes does not change. Elsewhere than on glibc nothing is done.

    Returns:
        Whether it was done.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _KEEP_BYTES), (_M_TOP_PAD, _GROW_BYTES))
    return all(mallopt(option, value) == 1 for option, value in settings)
