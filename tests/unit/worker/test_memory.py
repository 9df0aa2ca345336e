"""A worker's memory; what it saves is measured by `python -m benchmarks drain` and `footprint`."""

from __future__ import annotations

import ctypes
import gc
import platform
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from streamapp.worker import memory

#: Threads take memory at the same time. Prints from how many heaps.
THREADS = """
import ctypes, threading
from streamapp.worker import memory
memory.limit_malloc_arenas()
taken, seen = threading.Barrier(6), threading.Barrier(6)
def take():
    mine = bytes(10_000)
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

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this is about glibc")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def said_by(code: str) -> str:
    """Run it in a process of its own: the settings are the whole process's."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


class Node:
    """Something that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_documents_of_a_slice_are_not_looked_at() -> None:
    """A batch of 4,000 makes fewer objects than are looked at together; what is there already is left out."""
    memory.relax_gc()

    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] > 4_000 * 4


def test_cycles_are_collected_all_the_same() -> None:
    """Or an outage, whose exceptions hold their frames, would fill the memory."""
    memory.relax_gc()
    gone = weakref.ref(Node())

    for _ in range(gc.get_threshold()[0] * gc.get_threshold()[1] + 1):
        Node()

    assert gone() is None


@needs_glibc
def test_threads_share_two_heaps() -> None:
    """By default each would have its own, and keep in it what is free."""
    assert said_by(THREADS).count("<heap nr=") == 2


def test_a_libc_without_such_settings_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As musl is."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())

    memory.limit_malloc_arenas()
