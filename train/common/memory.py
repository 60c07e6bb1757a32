"""How the C library hands out memory while a network trains."""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of mallopt, as malloc.h numbers them."""


def keep_freed_memory() -> None:
    """Lets the process keep the memory that it frees, where the C library is glibc; elsewhere nothing happens.

    The maps of a step are large. glibc would get each from the kernel and give it back, and a quarter of the time went
    into filling fresh pages with zeros.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl and macOS have none; Windows cannot load None
        return
    mallopt(MMAP_MAX, 0)
    mallopt(TRIM_THRESHOLD, -1)
