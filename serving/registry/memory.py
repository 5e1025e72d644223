"""Memory that a closed version leaves behind."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Give freed memory back to the system.

    A session is made in one thread and freed in another, and glibc keeps what is freed in the arena of the thread
    that took it: after 30 promotions the process held 570 to 660 MB, with this 410 to 420. Where the C library is
    another there is nothing to do.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
