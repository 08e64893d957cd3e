"""How the C library hands out memory in training: it keeps what a step has freed, for the next step.

A step frees and takes hundreds of megabytes again. By default glibc gives large blocks back to the system at once, which
then fills each new page with zeros: up to a fifth of a step on a CPU. See docs/performance.md for the measurement.
"""

from __future__ import annotations

import ctypes
import os
import platform

SWITCH = "MMBAL_KEEP_MEMORY"  # environment variable; 0: the C library's own way
# Numbers of glibc's malloc.h, and their values: no block is taken from the system alone, none is given back, and the
# threads share what is free, so that a batch made by one of them is taken from it too.
OPTIONS = {-4: 0, -1: 2**31 - 1, -8: 1}  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_ARENA_MAX


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees; whether it does now.

    False, and nothing is changed, where the C library is not glibc or the environment has ``MMBAL_KEEP_MEMORY=0``.
    """
    if os.environ.get(SWITCH) == "0" or not is_glibc():
        return False
    set_option = ctypes.CDLL(None).mallopt
    done = [set_option(option, value) for option, value in OPTIONS.items()]
    return all(code == 1 for code in done)


def is_glibc() -> bool:
    """Whether the C library of this Python is glibc."""
    return platform.libc_ver()[0] == "glibc"
