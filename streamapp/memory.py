"""Memory of a process that builds tens of thousands of documents a second and drops them whole.

Documents have no cycles, so that counting references frees them. By default every 700 new dictionaries have Python's
garbage collector look at the young ones, and now and then at everything, the modules of all libraries too: a quarter of
the worker's CPU. It goes on collecting cycles, of which asyncio makes some, but less often.

Fetches and inserts take blocks of up to some megabytes. As soon as such a block is freed, glibc takes the next ones
from heaps, one for each thread, of which it gives back only what lies at their end (mallopt(3)). What the environment
tells glibc of that is overruled.
"""

from __future__ import annotations

import ctypes
import gc

#: New objects more than freed ones, until the young are looked at; and how often that is, until the older are.
THRESHOLDS = (20_000, 20, 20)
#: A larger block is mapped, and given back when it is freed; glibc begins with this, but raises it by what is freed.
MAPPED_FROM_BYTES = 128 * 1024
#: Heaps of all threads together.
HEAPS = 2

# The names of malloc.h.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8


def collect_less() -> None:
    """Leave out what is there by now, which stays, and look at what comes less often."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def keep_less() -> None:
    """Have glibc give back what is freed; to be called before there are threads. Nothing with another libc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
        mallopt(_M_ARENA_MAX, HEAPS)
