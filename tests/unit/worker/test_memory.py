"""Memory settings of a worker; `python -m benchmarks drain` and `footprint` measure their effect."""

from __future__ import annotations

import ctypes
import gc
import platform
import subprocess
import sys
import weakref
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from streamapp.worker import memory

LIMIT = """
from streamapp.worker import memory
memory.limit_malloc_arenas()
"""
BUILD_DEPENDENCIES = """
from streamapp.worker.app import dependencies
dependencies()
"""
#: Six threads allocate memory at the same time; prints glibc's report on its heaps.
ALLOCATE = """
import ctypes, threading
taken, seen = threading.Barrier(6), threading.Barrier(6)
def take():
    memory = bytes(10_000)
    taken.wait()
    seen.wait()
for _ in range(5):
    threading.Thread(target=take).start()
taken.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
seen.wait()
"""

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="requires glibc")


@pytest.fixture(autouse=True)
def _restore_gc() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def output(code: str) -> str:
    """Run the code in a process of its own: the settings apply to the whole process."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


class Node:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_one_batch_starts_no_collection() -> None:
    """A batch of 4,000 records allocates fewer objects than the threshold; present objects are excluded."""
    memory.relax_gc()

    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] > 4_000 * 4


def test_app_is_imported_with_few_collections() -> None:
    """With Python's own thresholds they take a twelfth of the time of `faust -A streamapp --help`."""
    printed = output("import gc, streamapp; streamapp.app; print(*gc.get_threshold())")

    assert memory.THRESHOLDS == tuple(map(int, printed.split()))


def test_later_accesses_of_the_app_exempt_nothing_from_collection() -> None:
    """What is garbage by then would stay for ever."""
    count = "gc.get_freeze_count()"
    printed = output(f"import gc, streamapp; streamapp.app; print({count}); streamapp.app; print({count})")

    assert len({*printed.split()}) == 1


def test_cycles_are_still_collected() -> None:
    """Exceptions hold their frames, so that a long outage would fill the memory otherwise."""
    memory.relax_gc()
    reference = weakref.ref(Node())

    for _ in range(gc.get_threshold()[0] * gc.get_threshold()[1] + 1):
        Node()

    assert reference() is None


@needs_glibc
@pytest.mark.parametrize("setup", [LIMIT, BUILD_DEPENDENCIES])
def test_threads_share_two_heaps(setup: str) -> None:
    """By default each thread has a heap of its own; building the dependencies of a worker sets the limit."""
    assert output(setup + ALLOCATE).count("<heap nr=") == 2


def test_glibc_gets_the_number_of_heaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its parameter M_ARENA_MAX, -8."""
    reported: list[tuple[int, int]] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=lambda *values: reported.append(values)))

    memory.limit_malloc_arenas()

    assert [(-8, memory.HEAPS)] == reported


def test_another_libc_is_left_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """musl has no mallopt."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())

    memory.limit_malloc_arenas()
