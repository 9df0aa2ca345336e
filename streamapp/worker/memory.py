"""Memory of a process that builds tens of thousands of documents a second and drops them whole.

Documents have no cycles, so that counting references frees them. By default every 700 new dictionaries have Python's
garbage collector look at the young ones, and now and then at everything, the modules of all libraries too: a quarter of
the worker's CPU. It goes on collecting cycles, of which asyncio makes some, but less often.

glibc has a heap for each thread, and gives back only what lies at its end (mallopt(3)). What the environment tells it
of that is overruled.
"""

from __future__ import annotations

import ctypes
import gc

#: New objects more than freed ones, until the young are looked at; and how often that is, until the older are.
THRESHOLDS = (20_000, 20, 20)
#: Heaps of all threads together.
HEAPS = 2

# Of malloc.h.
_M_ARENA_MAX = -8


def relax_gc() -> None:
    """Leave out what is there by now, which stays, and look at what comes less often."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def limit_malloc_arenas() -> None:
    """Have glibc keep less of what is freed; to be called before there are threads. Nothing with another libc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, HEAPS)
