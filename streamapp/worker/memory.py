"""Memory settings of a process that builds tens of thousands of documents a second and frees them in batches.

Documents have no reference cycles, so reference counting frees them. By default CPython's garbage collector examines
the youngest objects after every 700 allocations, and sometimes all objects, including the modules of all libraries: a
quarter of the worker's CPU time. The collector stays on, because asyncio makes some cycles, but it runs less often.

glibc has a heap (arena) per thread, and returns only the free memory at a heap's end to the system (mallopt(3)).
`limit_malloc_arenas` overrides the environment variables that set this.
"""

from __future__ import annotations

import ctypes
import gc

#: Arguments of gc.set_threshold.
THRESHOLDS = (20_000, 20, 20)
#: Number of heaps for all threads together.
HEAPS = 2

# From malloc.h.
_M_ARENA_MAX = -8


def relax_gc() -> None:
    """Exclude all present objects from garbage collection, and collect newer objects less often."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def limit_malloc_arenas() -> None:
    """Limit the number of glibc's heaps; call it before the first thread starts. Does nothing with another libc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, HEAPS)
