"""Memory that is freed and at once wanted again."""

from __future__ import annotations

import ctypes

# glibc's numbers of what `mallopt` sets.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_GREATEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Have this process keep what it frees, for its next allocation.

    A training frees and takes the same tensors at every step. Left alone, glibc gives each large one back to the
    kernel, which has to clear its pages again: 1 to 13 % of a training's time, and half of it on a virtual machine
    where that is dear. The process then holds its greatest size to its end. Where the C library is another there is
    nothing to do.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _GREATEST)
        mallopt(_M_TOP_PAD, 256 * 2**20)
