"""What the C library does with memory that torch frees on a CPU."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h."""


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory for the rest of the process; False where there is no glibc.

    By default it gives the pages of every large tensor back and has them zeroed anew for the
    next, at every step of a training on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))
